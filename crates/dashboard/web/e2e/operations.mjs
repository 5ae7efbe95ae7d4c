// The scenarios of queues, workers, schedules and dead letters. Each action is verified in the database.
import assert from "node:assert/strict";
import { api, becomes, execute, sql, ui } from "./harness.mjs";

const row = (page, text) => page.getByRole("row").filter({ hasText: text });
const button = (page, name) => page.getByRole("button", { name, exact: typeof name === "string" });
/** Agrees to the question with this title by the button with this text. */
async function agree(page, title, action) {
  const dialog = page.getByRole("dialog", { name: title, exact: true });
  await dialog.getByRole("button", { name: action, exact: true }).click();
  await dialog.waitFor({ state: "detached" });
}
const one = async (query) => Object.values((await sql(query))[0] ?? {})[0];
const paused = (table, name) => `SELECT paused_at IS NOT NULL FROM jobqueue.${table} WHERE name = '${name}'`;

async function queues(page) {
  await page.goto(ui("queues"));
  await row(page, "bulk-10").waitFor();
  await page.getByLabel("Name contains").fill("bulk-3");
  await page.keyboard.press("Enter");
  await page.waitForURL(/filter=bulk-3/);
  await row(page, "bulk-10").waitFor({ state: "detached" });
  const n = await one("SELECT count(*) FROM jobs WHERE queue = 'bulk-3' AND status = 'queued'");
  // by keyboard only
  await button(page, "Pause bulk-3").press("Enter");
  const dialog = page.getByRole("dialog", { name: "Pause bulk-3?" });
  await dialog.getByText(`${n} queued jobs`).waitFor();
  await page.keyboard.press("Escape");
  await dialog.waitFor({ state: "detached" });
  await becomes(paused("queue", "bulk-3"), false);
  await button(page, "Pause bulk-3").press("Enter");
  await dialog.waitFor();
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await becomes(paused("queue", "bulk-3"), true);
  await page.getByLabel("Show").selectOption("paused");
  await page.waitForURL(/show=paused/);
  await page.reload();
  await button(page, "Resume bulk-3").waitFor();
  await row(page, "bulk-30").waitFor({ state: "detached" });
  await button(page, "Resume bulk-3").click();
  await becomes(paused("queue", "bulk-3"), false);
  await page.getByText("No queue matches").waitFor();
}

async function queue(page) {
  await page.goto(ui("queues/bulk-4"));
  await page.getByText("no worker", { exact: true }).waitFor();
  await page.getByText(/jobs submitted, 0 completed/).waitFor();
  const kept = "SELECT extract(epoch FROM completed_retention)::float8 FROM jobqueue.queue WHERE name = 'bulk-4'";
  await button(page, "Change").click();
  await page.getByLabel("Completed jobs").fill("a week");
  assert.ok(await button(page, "Change 1 queue").isDisabled());
  await page.getByLabel("Completed jobs").fill("7d");
  await button(page, "Change 1 queue").click();
  await page.getByRole("dialog").getByText("No completed job ended more than 7 d ago, so none is deleted now.").waitFor();
  assert.equal(await page.getByRole("dialog").getByText("cannot be undone").count(), 0);
  await agree(page, "Change how long jobs of bulk-4 are kept?", "Change 1 queue");
  await becomes(kept, 604_800);
  await page.getByText("7 d", { exact: true }).waitFor();
  await button(page, "Change").click();
  // the default may be shorter
  await page.getByLabel("Completed jobs").fill("");
  await button(page, "Change 1 queue").click();
  await page.getByRole("dialog").getByText("There is no completed job now.").waitFor();
  await becomes(kept, 604_800);
  await agree(page, "Change how long jobs of bulk-4 are kept?", "Change 1 queue");
  await becomes(kept, null);
  await page.goto(ui("queues/default"));
  await button(page, "Change").click();
  await page.getByLabel("Completed jobs").fill("1s");
  await button(page, "Change 1 queue").click();
  // at least those of the seed
  await page.getByRole("dialog").getByText(/^\d\d+ completed jobs ended more than 1 s ago/).waitFor();
  await page.keyboard.press("Escape");
  await becomes("SELECT completed_retention IS NULL FROM jobqueue.queue WHERE name = 'default'", true);
  await page.goto(ui("queues/bulk-4"));
  // a blocked job waits as well
  await api("POST", "jobs", { kind: "sync.user", queue: "bulk-4", delay_seconds: 3_600 });
  await execute("UPDATE jobqueue.scheduled s SET pending = 1 FROM jobqueue.lane l JOIN jobqueue.queue q ON q.id = l.queue_id WHERE l.id = s.lane AND q.name = 'bulk-4'");
  const n = await one("SELECT count(*) FROM jobs WHERE queue = 'bulk-4'");
  await button(page, /^Delete waiting jobs/).click();
  await page.getByRole("dialog").getByText("cannot be undone").waitFor();
  await page.keyboard.press("Escape");
  await becomes("SELECT count(*) FROM jobs WHERE queue = 'bulk-4'", n);
  await button(page, /^Delete waiting jobs/).click();
  await page.getByRole("dialog", { name: `Delete ${n} waiting jobs?` }).waitFor();
  // these came after the count, and run first
  await sql("SELECT count(jobqueue.enqueue('sync.user', queue => 'bulk-4', priority => 9)) FROM generate_series(1, 3)");
  const after = "SELECT count(*) FROM jobs WHERE queue = 'bulk-4' AND priority = 9";
  await agree(page, `Delete ${n} waiting jobs?`, `Delete ${n} waiting jobs`);
  await becomes("SELECT count(*) FROM jobs WHERE queue = 'bulk-4'", 3);
  assert.equal(await one(after), 3);
  await page.getByText(`${n} jobs deleted.`).waitFor();
}

async function workers(page) {
  const mine = "FROM jobqueue.worker WHERE name = 'worker-2'";
  await page.goto(ui("workers?filter=worker-2"));
  await row(page, "worker-2").getByRole("progressbar", { name: "0 of 2 slots" }).waitFor();
  assert.equal(await row(page, "worker-1").count(), 0);
  await button(page, "Pause worker-2").click();
  await agree(page, "Pause worker-2?", "Pause 1 worker");
  await becomes(`SELECT paused ${mine}`, true);
  await page.getByText("worker-2 is paused.").waitFor();
  await button(page, "Resume worker-2").click();
  await becomes(`SELECT paused ${mine}`, false);
  await page.getByText("worker-2 is resumed.").waitFor();
  await row(page, "worker-2").getByRole("link", { name: "worker-2" }).click();
  await button(page, /^Resize/).click();
  await page.getByLabel(/^Slots/).fill("0");
  assert.ok(await button(page, "Resize 1 worker").isDisabled());
  await page.getByLabel(/^Slots/).fill("3");
  await button(page, "Resize 1 worker").click();
  await becomes(`SELECT slots ${mine}`, 3);
  await page.getByText("worker-2 has 3 slots.").waitFor();
  await row(page, "resize").getByText("acknowledged").waitFor();
  await button(page, "Drain worker-2").click();
  await agree(page, "Drain worker-2?", "Drain 1 worker");
  await becomes(`SELECT count(*) ${mine}`, 0);
  await page.getByText(/^(ended|There is no such worker any more\.)$/).first().waitFor();
}

async function schedules(page) {
  await page.goto(ui("schedules"));
  await row(page, "nightly-report").getByText("At 02:30").waitFor();
  await button(page, "Run now: nightly-report").click();
  const jobs = "SELECT count(*) FROM jobqueue.body WHERE metadata->>'schedule' = 'nightly-report'";
  const before = await one(jobs);
  await agree(page, "Run nightly-report now?", "Submit 1 job");
  await becomes(jobs, before + 1);
  await row(page, "nightly-report").getByRole("link", { name: "nightly-report" }).click();
  const next = page.getByRole("region", { name: "Next runs" }).getByRole("rowheader");
  await next.nth(4).waitFor();
  assert.equal(await next.count(), 5);
  for (const text of await next.allInnerTexts()) assert.match(text, /02:30/);
  await page.getByText(/^Clocks in America\/New_York go .* by 1 h/).waitFor();
  await button(page, "Pause nightly-report").click();
  await agree(page, "Pause nightly-report?", "Pause 1 schedule");
  await becomes(paused("schedule", "nightly-report"), true);
  await page.goto(ui("schedules?paused=true"));
  await row(page, "nightly-report").waitFor();
  assert.equal(await row(page, "five-words").count(), 0);
  await button(page, "Resume nightly-report").click();
  await becomes(paused("schedule", "nightly-report"), false);
  await page.goto(ui("schedules/five-words"));
  await page.getByText("fired", { exact: true }).nth(4).waitFor();
  await page.getByText("It has no more runs.").waitFor();
}

async function deadLetters(page) {
  const failed = "SELECT count(*) FROM jobs WHERE kind = 'refund.pay' AND status = 'failed'";
  const state = "SELECT state FROM jobqueue.redrive ORDER BY created_at DESC LIMIT 1";
  await page.goto(ui("dead-letters"));
  await row(page, "card.charge").waitFor();
  await page.getByLabel("Kind is").fill("refund.pay");
  await page.keyboard.press("Enter");
  await page.waitForURL(/kind=refund.pay/);
  await row(page, "card.charge").waitFor({ state: "detached" });
  await redrive(page, { rate: "0.1", share: "100" });
  await row(page, "refund.pay").getByText("running").waitFor();
  await row(page, "refund.pay").getByRole("button", { name: "Stop" }).click();
  await agree(page, "Stop 1 redrive?", "Stop 1 redrive");
  await becomes(`SELECT (${state})::text`, "stopped");
  await becomes(failed, 12);
  await becomes("SELECT count(*) FROM jobqueue.dead_letter d JOIN jobqueue.kind k ON k.id = d.kind WHERE k.name = 'refund.pay'", 12);
  // the gate: the handler still fails
  await redrive(page, { rate: "2", share: "5" });
  await becomes(`SELECT (${state})::text`, "failing");
  await page.getByText("stopped: failures returned").waitFor();
  await becomes(failed, 12);
  await page.getByRole("link", { name: "refund.pay" }).first().click();
  await page.getByRole("heading", { level: 1, name: /refund.pay/ }).waitFor();
  await page.getByText("account 77 is closed").first().waitFor();
  // its own trend, and whose the other one is
  const own = page.getByRole("region", { name: "This group, 24 h" });
  await own.getByText("12 dead letters of the last 24 h").waitFor();
  await page.getByRole("region", { name: "All failures of refund.pay" }).getByText(/^With every error/).waitFor();
  await page.getByText(/^the newest 12 within/).waitFor();
  await button(page, /^Purge/).click();
  await page.getByRole("dialog", { name: "Delete 12 jobs?" }).waitFor();
  await page.keyboard.press("Escape");
  await becomes(failed, 12);
  const count = page.waitForResponse("**/v1/dead-letters/redrives");
  await button(page, /^Purge/).click();
  const counted = await (await count).json();
  assert.ok(Date.parse(counted.as_of) > 0);
  const purge = page.waitForRequest("**/v1/dead-letters/purge");
  await agree(page, "Delete 12 jobs?", "Delete 12 jobs");
  const { filter, limit } = (await purge).postDataJSON();
  assert.equal(filter.failed_before, counted.as_of, "not those that fail after the count, by the clock of the database");
  assert.equal(limit, 12);
  await becomes(failed, 0);
  await page.getByText("12 jobs deleted.").waitFor();
  await page.getByText("no dead letters any more").waitFor();
}

async function redrive(page, { rate, share }) {
  await button(page, /^Redrive/).click();
  const dialog = page.getByRole("dialog", { name: "Redrive 12 jobs?" });
  await dialog.getByLabel("Jobs per second").fill("0");
  assert.ok(await dialog.getByRole("button", { name: "Redrive 12 jobs" }).isDisabled());
  await dialog.getByLabel("Jobs per second").fill(rate);
  await dialog.getByLabel(/^Stop when/).fill(share);
  await dialog.getByRole("button", { name: "Redrive 12 jobs" }).click();
  await dialog.waitFor({ state: "detached" });
}

/** What screens say without entries, and when a request fails. */
async function nothing(page) {
  const gone = "00000000-0000-4000-8000-000000000000";
  for (const [path, text] of [
    ["queues?filter=none", "No queue matches."], ["queues/none", "There is no such queue."], ["workers?filter=none", "No worker matches."], [`workers/${gone}`, "There is no such worker any more."],
    ["schedules?owner=none", "No schedule matches."], ["schedules/none", "There is no such schedule."], ["dead-letters?kind=none", "No dead letter matches."], [`dead-letters/${gone}`, "This group has no dead letters any more."],
  ]) {
    await page.goto(ui(path));
    await page.getByText(text).waitFor();
  }
  const problem = { type: "urn:jobqueue:problem:bad-request", title: "Bad request", detail: "not today" };
  await page.route("**/v1/schedules?*", (route) => route.fulfill({ status: 400, contentType: "application/problem+json", body: JSON.stringify(problem) }));
  await page.goto(ui("schedules"));
  await page.getByRole("alert").getByText("Bad request: not today").waitFor();
  await page.unrouteAll({ behavior: "ignoreErrors" });
  await button(page, "Try again").click();
  await row(page, "nightly-report").waitFor();
  // an answer that the page cannot draw
  await page.route("**/v1/schedules?*", (route) => route.fulfill({ json: { schedules: [{ name: "half" }], next_cursor: null } }));
  await page.goto(ui("schedules"));
  await page.getByRole("heading", { level: 1, name: "This screen cannot be shown" }).waitFor();
  await page.getByRole("link", { name: "Workers", exact: true }).click();
  await row(page, "worker-1").waitFor();
  await page.goBack();
  await button(page, "Reload this screen").waitFor();
  await page.unrouteAll({ behavior: "ignoreErrors" });
  await button(page, "Reload this screen").click();
  await row(page, "nightly-report").waitFor();
}

/** A refusal is said inside of the form, which covers the rest of the page. */
async function refused(page) {
  const problem = { type: "urn:jobqueue:problem:bad-request", title: "Bad request", detail: "not today" };
  await page.route("**/v1/dead-letters/redrives", (route) => (route.request().postDataJSON()?.rate ? route.fulfill({ status: 400, contentType: "application/problem+json", body: JSON.stringify(problem) }) : route.continue()));
  await page.goto(ui("dead-letters?kind=card.charge"));
  await button(page, /^Redrive/).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByRole("button", { name: /^Redrive/ }).click();
  await dialog.getByRole("alert").getByText("Bad request: not today").waitFor();
  // a form that was closed meanwhile cannot say it
  let answer = () => {};
  const closed = new Promise((resolve) => (answer = resolve));
  await page.route("**/v1/dead-letters/redrives", async (route) => {
    if (route.request().postDataJSON()?.rate) await closed;
    await route.fallback();
  });
  await dialog.getByRole("button", { name: /^Redrive/ }).click();
  await page.keyboard.press("Escape");
  await dialog.waitFor({ state: "detached" });
  answer();
  await page.getByRole("status").getByText("Bad request: not today").waitFor();
  await page.unrouteAll({ behavior: "ignoreErrors" });
}

/** A key without `write` and `admin` sees all, and no button that changes something. */
export async function readOnly(page) {
  const { id } = (await api("GET", "workers")).workers.find((worker) => worker.name === "worker-1");
  const [{ group }] = (await api("GET", "dead-letters/groups")).groups;
  for (const [path, text] of [["queues", "bulk-10"], ["queues/bulk-5", "no worker"], ["workers", "worker-1"], [`workers/${id}`, "worker-1"], ["schedules", "nightly-report"], ["schedules/nightly-report", "Next runs"], ["dead-letters", "card.charge"], [`dead-letters/${group}`, "Last failure"]]) {
    await page.goto(ui(path));
    await page.getByText(text).first().waitFor();
    assert.equal(await page.getByRole("button", { name: /^(Pause (?!the)|Resume|Drain|Resize|Run now|Redrive|Purge|Stop|Change$|Delete)/ }).count(), 0, path);
  }
  assert.equal(await page.getByRole("navigation").getByRole("link", { name: /Audit|API keys/ }).count(), 0);
}

/** `get` returns the page that is signed in. */
export const operations = (get) => [
  ["pauses and resumes a queue, by keyboard", () => queues(get())],
  ["changes a queue, and deletes what waits in it", () => queue(get())],
  ["pauses, resizes and drains a worker", () => workers(get())],
  ["runs and pauses a schedule, and says when it runs next", () => schedules(get())],
  ["redrives dead letters with a rate and a gate, and purges them", () => deadLetters(get())],
  ["says a refusal inside of the form", () => refused(get())],
  ["says what is missing and what failed", () => nothing(get())],
];
