// The scenarios of the dashboard, in a real browser against real processes.
import assert from "node:assert/strict";
import { createServer, request as forward } from "node:http";
import { audit } from "./audit.mjs";
import { accessible, api, BASE, becomes, context, control, fits, KEY, scenarios, signedIn, sql, ui } from "./harness.mjs";
import { keys } from "./keys.mjs";
import { operations, readOnly } from "./operations.mjs";
import { screenshots, SCREENS } from "./screens.mjs";
import { seed } from "./seed.mjs";
import { speed } from "./speed.mjs";

const BIG = "18446744073709551616";
const HOSTILE = `<img src=x onerror=alert(1)><script>alert(2)</script>`;
let main;

const row = (page, text) => page.getByRole("row").filter({ hasText: text });
const button = (page, name) => page.getByRole("button", { name, exact: typeof name === "string" });

async function submit(job) {
  return (await api("POST", "jobs", typeof job === "string" ? job : { queue: "manual", kind: "manual.step", ...job })).id;
}

/** The ids of the jobs that meet a condition. */
const ids = async (condition) => (await sql(`SELECT id FROM jobs WHERE ${condition} ORDER BY id`)).map(({ id }) => id);

async function search(page, text) {
  const box = page.getByLabel("Search jobs");
  await box.fill(text);
  await box.press("Enter");
  await page.waitForURL((url) => (url.searchParams.get("q") ?? "") === text);
}

const tests = [
  ["signs in with a key that no script can read", async () => {
    const made = await context();
    const page = await made.newPage();
    await page.goto(ui("jobs?q=kind:a"));
    await page.getByLabel("API key").fill("a-wrong-key-a-wrong-key-a-wrong-key");
    await button(page, "Sign in").click();
    await page.getByText("This key is not valid").waitFor();
    assert.deepEqual(await made.cookies(), []);
    await page.getByLabel("API key").fill(KEY);
    await page.getByLabel("API key").press("Enter");
    await page.getByRole("heading", { level: 1, name: "Jobs" }).waitFor();
    const [cookie] = await made.cookies();
    assert.deepEqual([cookie.httpOnly, cookie.sameSite, cookie.path, cookie.expires], [true, "Strict", "/", -1]);
    const seen = await page.evaluate(() => JSON.stringify([document.cookie, { ...localStorage }, { ...sessionStorage }]));
    assert.equal(seen, JSON.stringify(["", {}, {}]));
    assert.equal(await page.getByLabel("Search jobs").inputValue(), "kind:a", "the link that was shared");
    await page.route("**/ui/session", (route) => (route.request().method() === "DELETE" ? route.abort() : route.continue()));
    await button(page, "Sign out").click();
    await page.getByText("You are still signed in.").waitFor();
    await page.unrouteAll({ behavior: "ignoreErrors" });
    await button(page, "Sign out").click();
    await page.getByLabel("API key").waitFor();
    assert.deepEqual(await made.cookies(), []);
    await made.close();
  }],

  ["seeds", async () => {
    await seed();
    main = await signedIn();
  }],

  ["says in words what is abnormal", async () => {
    const { page } = main;
    // the page takes the time from the responses: here the jobs have waited five minutes more
    await page.route((url) => /\/(v1|ui)\//.test(url.pathname) && !url.pathname.endsWith("/stream") && !url.pathname.includes("assets"), async (route) => {
      const response = await route.fetch();
      const headers = { ...response.headers(), date: new Date(Date.now() + 300_000).toUTCString() };
      await route.fulfill({ response, headers });
    });
    // the newest job of the queue does not say why the oldest one waits
    const newest = await submit({ queue: "reports", kind: "report.build" });
    const asked = [];
    page.on("request", (request) => request.url().endsWith("/explain") && asked.push(new URL(request.url()).pathname.split("/")[3]));
    await page.goto(ui());
    await page.getByText(/reports waits \d+ min.*: no worker/).first().waitFor();
    await page.getByText(/bulk-7 waits .*: it has been paused since/).first().waitFor();
    await page.getByText(/other queues wait more than a minute/).first().waitFor();
    const oldest = "SELECT id FROM jobs WHERE queue = 'reports' AND status = 'queued' AND created_at < (SELECT min(created_at) + interval '1 s' FROM jobs WHERE queue = 'reports')";
    const oldestIds = (await sql(oldest)).map(({ id }) => id);
    assert.ok(asked.some((id) => oldestIds.includes(id)), "an oldest job is explained");
    assert.ok(!asked.includes(newest), "the newest job is not");
    await page.unrouteAll({ behavior: "ignoreErrors" });
    await page.goto(ui());
    await page.getByText("New failure since").first().waitFor();
    await page.getByRole("link", { name: /^Oldest waiting job/ }).waitFor();
    await page.getByRole("link", { name: /^Failed/ }).waitFor();
    await button(page, "24 h").click();
    await page.waitForURL(/range=24h/);
    await page.getByRole("heading", { name: "Rates and times, 24 h" }).waitFor();
  }],

  ["paints at once", async () => {
    const { page } = main;
    await page.goto(ui());
    await page.getByRole("heading", { level: 1, name: "Overview" }).waitFor();
    const paint = await page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime);
    console.log(`first contentful paint after ${Math.round(paint)} ms`);
    const loaded = await page.evaluate(() => performance.getEntriesByType("resource").filter((entry) => entry.name.includes("/assets/")).reduce((sum, entry) => sum + entry.encodedBodySize, 0));
    assert.ok(loaded > 10_000 && loaded < 250_000, `${loaded} bytes`);
  }],

  ["finds jobs by qualifiers, and the address has the search", async () => {
    const { page } = main;
    await page.goto(ui("jobs"));
    await search(page, "kind:card.* status:failed payload.user=7 before:2026-01-01T00:00:00Z");
    await page.getByText("No job matches").waitFor();
    await search(page, "kind:card.* status:failed payload.user=7 error:exit_1 after:2h");
    await row(page, "card.charge").waitFor();
    assert.equal(await row(page, "card.charge").count(), 1);
    await page.reload();
    await row(page, "card.charge").waitFor();
    await search(page, "colour:red");
    await page.getByText("`colour:` is unknown").waitFor();
    // with more kinds than the page reads, a pattern is refused instead of compared with some of them
    const listed = [];
    const note = (request) => request.url().includes("/v1/jobs?") && listed.push(request.url());
    page.on("request", note);
    await page.route("**/v1/kinds?*", async (route) => route.fulfill({ json: { kinds: [{ name: "card.charge" }], next_cursor: "more" } }));
    await page.goto(ui("jobs?q=kind:card.? status:failed"));
    await page.getByText("There are more than 10,000 kinds").waitFor();
    assert.deepEqual(listed.filter((url) => url.includes("card")), []);
    assert.equal(await page.getByRole("group", { name: "Actions on jobs" }).count(), 0);
    await page.unrouteAll({ behavior: "ignoreErrors" });
    page.off("request", note);
    // the names of a prototype are no qualifiers
    await search(page, "constructor:x __proto__:y");
    await page.getByText("`constructor:` is unknown").waitFor();
    await page.getByText("`__proto__:` is unknown").waitFor();
    await search(page, "");
    await button(page, /^retrying now/).click();
    await row(page, "file.upload").first().waitFor();
    assert.equal(await row(page, "file.upload").count(), 6);
    assert.match(page.url(), /is%3Aretrying/);
    await page.goBack();
    const [{ n }] = await sql("SELECT count(*) AS n FROM jobs WHERE status = 'queued'");
    await button(page, /^queued/).getByText(n.toLocaleString("en"), { exact: true }).waitFor();
    const [{ id }] = await sql("SELECT id FROM jobs WHERE kind = 'card.charge' LIMIT 1");
    await page.keyboard.press("/");
    await page.keyboard.type(id);
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { level: 1, name: /card.charge/ }).waitFor();
  }],

  ["acts on many jobs after naming their number", async () => {
    const { page } = main;
    await page.goto(ui("jobs?q=queue:bulk-1"));
    await button(page, "Cancel").click();
    const [{ n }] = await sql("SELECT count(*) AS n FROM jobs WHERE queue = 'bulk-1' AND status = 'queued'");
    const dialog = page.getByRole("dialog", { name: `Cancel ${n} jobs?` });
    await dialog.waitFor();
    await page.keyboard.press("Escape");
    await dialog.waitFor({ state: "hidden" });
    await becomes("SELECT count(*) FROM jobs WHERE queue = 'bulk-1' AND status = 'cancelled'", 0);
    await button(page, "Cancel").click();
    await button(page, `Cancel ${n} jobs`).click();
    await page.getByText(`${n} jobs cancelled.`).waitFor();
    await becomes("SELECT count(*) FROM jobs WHERE queue = 'bulk-1' AND status = 'cancelled'", n);
    await page.goto(ui("jobs?q=queue:bulk-1 status:cancelled"));
    await page.getByRole("checkbox", { name: /^Select job/ }).nth(0).check();
    await page.getByRole("checkbox", { name: /^Select job/ }).nth(1).check();
    await page.getByText("2 jobs selected").waitFor();
    await button(page, "Retry").click();
    await button(page, "Retry 2 jobs").click();
    await becomes("SELECT count(*) FROM jobs WHERE queue = 'bulk-1' AND status = 'queued'", 2);
    await page.getByText("2 jobs queued again.").waitFor();
    await button(page, "Delete").click();
    await button(page, `Delete ${n - 2} jobs`).click();
    await becomes("SELECT count(*) FROM jobs WHERE queue = 'bulk-1'", 2);
    // of two statuses only one can be retried, and the number says so
    await page.goto(ui("jobs?q=queue:bulk-2"));
    await row(page, "bulk-2").first().waitFor();
    const before = await ids("queue = 'bulk-2'");
    const two = before.length;
    await button(page, "Cancel").click();
    await page.getByRole("dialog", { name: `Cancel ${two} jobs?` }).waitFor();
    // jobs that arrive before the answer are none of those that were named
    await sql("SELECT count(jobqueue.enqueue('mail.send', queue => 'bulk-2')) FROM generate_series(1, 5)");
    await button(page, `Cancel ${two} jobs`).click();
    await page.getByText(`${two} jobs cancelled.`).waitFor();
    assert.deepEqual(await ids("queue = 'bulk-2' AND status = 'cancelled'"), before);
    await becomes("SELECT count(*) FROM jobs WHERE queue = 'bulk-2' AND status = 'queued'", 5);
    await page.goto(ui("jobs?q=queue:bulk-2 status:cancelled,queued"));
    await button(page, "Retry").click();
    await page.getByRole("dialog", { name: `Retry ${two} jobs?` }).waitFor();
    await page.keyboard.press("Escape");
    await page.goto(ui("jobs?q=kind:newsletter.send"));
    await button(page, "Run now").click();
    await button(page, "Run now 5 jobs").click();
    await becomes("SELECT count(*) FROM jobs WHERE kind = 'newsletter.send' AND status = 'scheduled'", 0);
  }],

  ["stops an action on many jobs when its screen is left", async () => {
    const { page } = main;
    const cancelled = "SELECT count(*) FROM jobs WHERE kind = 'mail.digest' AND status = 'cancelled'";
    const [{ n }] = await sql("SELECT count(*) AS n FROM jobs WHERE kind = 'mail.digest' AND status = 'queued'");
    const before = Object.values((await sql(cancelled))[0])[0];
    assert.ok(n > 1_000, "it needs two steps");
    let steps = 0;
    let release;
    const left = new Promise((resolve) => (release = resolve));
    await page.route("**/v1/jobs/cancel", async (route) => {
      const response = await route.fetch();
      if (!route.request().postDataJSON().dry_run) {
        steps += 1;
        await left;
      }
      await route.fulfill({ response });
    });
    await page.goto(ui("jobs?q=kind:mail.digest status:queued"));
    await button(page, "Cancel").click();
    await page.getByRole("dialog").getByRole("button", { name: /^Cancel 1,\d+ jobs$/ }).click();
    await button(page, "Stop").waitFor();
    await page.getByRole("link", { name: "Schedules", exact: true }).click();
    await page.getByRole("heading", { level: 1, name: "Schedules" }).waitFor();
    release();
    await page.getByText("1,000 jobs cancelled; then it was stopped.").waitFor();
    await becomes(cancelled, before + 1_000);
    assert.equal(steps, 1);
    await page.unrouteAll({ behavior: "ignoreErrors" });
  }],

  ["begins no action whose screen was left before", async () => {
    const { page } = main;
    const sent = [];
    let release = () => {};
    let held = Promise.resolve();
    await page.route("**/v1/jobs/cancel", async (route) => {
      sent.push(route.request().postDataJSON().dry_run);
      await held;
      await route.continue().catch(() => {});
    });
    const leave = async () => {
      await page.goBack();
      await page.getByRole("heading", { level: 1, name: "Schedules" }).waitFor();
    };
    const toJobs = async () => {
      await page.goto(ui("schedules"));
      await page.getByRole("link", { name: "Jobs", exact: true }).click();
      await row(page, "mail").first().waitFor();
    };
    const dialogs = page.getByRole("dialog");
    // while it counts
    await toJobs();
    held = new Promise((resolve) => (release = resolve));
    await button(page, "Cancel").click();
    await button(page, "Counting…").waitFor();
    const given = page.waitForEvent("requestfailed", (request) => request.url().endsWith("/v1/jobs/cancel"));
    await leave();
    await given;
    release();
    // while it asks
    await toJobs();
    await button(page, "Cancel").click();
    await dialogs.getByText("All jobs that match the search.").waitFor();
    await leave();
    await dialogs.waitFor({ state: "detached" });
    await row(page, "nightly-report").waitFor();
    assert.equal(await dialogs.count(), 0);
    assert.ok(sent.length > 2 && sent.every((dry_run) => dry_run), "nothing but counts");
    await page.unrouteAll({ behavior: "ignoreErrors" });
  }],

  ["shows a job with exact numbers, and changes it", async () => {
    const { page } = main;
    const id = await submit(`{"kind":"manual.step","queue":"manual","payload":{"id":${BIG},"price":1.50,"html":${JSON.stringify(HOSTILE)}},"tags":[${JSON.stringify(HOSTILE.slice(0, 40))}]}`);
    await page.goto(ui(`jobs/${id}`));
    await page.getByText(BIG).waitFor();
    await page.getByText("1.50", { exact: true }).waitFor();
    await page.getByText("alert(2)").waitFor();
    await page.getByText("No live worker").first().waitFor();
    await button(page, /^Change the payload/).click();
    const text = page.getByLabel("Payload (JSON)");
    assert.match(await text.inputValue(), new RegExp(BIG));
    await text.fill("{");
    assert.ok(await button(page, "Change 1 job").isDisabled());
    await text.fill(`{"id": ${BIG}, "price": 1.50}`);
    await button(page, "Change 1 job").click();
    await page.getByText("The payload was changed.").waitFor();
    await becomes(`SELECT payload::text FROM jobs WHERE id = '${id}'`, `{"id":${BIG},"price":1.50}`);
    await button(page, "Cancel").click();
    await button(page, "Cancel 1 job").click();
    await becomes(`SELECT status FROM jobs WHERE id = '${id}'`, "cancelled");
    await page.getByText("cancelled", { exact: true }).first().waitFor();
    await button(page, "Retry").click();
    await becomes(`SELECT status FROM jobs WHERE id = '${id}'`, "queued");
  }],

  ["follows a running job and cancels it", async () => {
    const { page } = main;
    const id = await submit({ queue: "default", kind: "log.slow" });
    await page.goto(ui(`jobs/${id}`));
    await page.getByLabel("Log", { exact: true }).getByText("line 3", { exact: false }).waitFor();
    await page.getByText("Attempt 1").first().waitFor();
    await page.getByText("running", { exact: true }).first().waitFor();
    const log = page.getByRole("region", { name: "Log and progress" });
    await log.getByText("live", { exact: true }).waitFor();
    await button(page, /^Live/).click();
    await log.getByText("paused", { exact: true }).waitFor();
    await button(page, /^Paused/).click();
    await log.getByText("live", { exact: true }).waitFor();
    await button(page, "Cancel").click();
    await button(page, "Cancel 1 job").click();
    await becomes(`SELECT status FROM jobs WHERE id = '${id}'`, "cancelled");
    await page.getByText("cancelled", { exact: true }).first().waitFor();
    await button(page, "Delete").click();
    await button(page, "Delete 1 job").click();
    await becomes(`SELECT count(*) FROM jobs WHERE id = '${id}'`, 0);
    await page.waitForURL(/\/ui\/jobs$/);
  }],

  ["retries a dead letter with another payload", async () => {
    const { page } = main;
    const [{ id }] = await sql("SELECT id FROM jobs WHERE kind = 'card.charge' AND status = 'failed' LIMIT 1");
    await page.goto(ui(`jobs/${id}`));
    await page.getByRole("heading", { name: /Error: exit_1/ }).waitFor();
    await page.getByText("the bank said no").first().waitFor();
    await button(page, /^Retry with another payload/).click();
    await page.getByLabel("Payload (JSON)").fill(`{"pay": true, "amount": ${BIG}}`);
    await button(page, "Retry 1 job").click();
    await page.waitForURL((url) => !url.pathname.endsWith(id));
    await page.getByText("Retry of").waitFor();
    await becomes(`SELECT payload::text FROM jobqueue.body WHERE metadata->>'retry_of' = '${id}'`, `{"pay": true, "amount": ${BIG}}`);
    await page.getByText("completed", { exact: true }).first().waitFor();
  }],

  ["shows hostile texts as texts", async () => {
    const { page } = main;
    const id = await submit({ queue: "hostile", kind: "hostile.job", max_attempts: 1, tags: [HOSTILE.slice(0, 40)], metadata: { [HOSTILE]: HOSTILE } });
    const { leases } = await api("POST", "leases", { worker: "hostile-1", queues: ["hostile"] });
    const error = { type: "<b>bold</b>", message: HOSTILE, details: { [HOSTILE]: [HOSTILE] } };
    await api("POST", "leases/heartbeat", { leases: [{ lease: leases[0].lease, log: `${HOSTILE}\n`, progress: { percent: HOSTILE } }] });
    await api("POST", "leases/settle", { items: [{ lease: leases[0].lease, outcome: "discarded", error }] });
    await becomes(`SELECT status FROM jobs WHERE id = '${id}'`, "failed");
    while (!(await api("GET", "dead-letters/groups?kind=hostile.job")).groups.length) await new Promise((resolve) => setTimeout(resolve, 200));
    for (const path of [`jobs/${id}`, "jobs?q=status:failed queue:hostile", ""]) {
      await page.goto(ui(path));
      await page.getByText("<b>bold</b>").first().waitFor();
      await page.getByText("<script>").first().waitFor();
    }
    await page.goto(ui(`jobs?q=${encodeURIComponent(HOSTILE)}`));
    await page.getByText("needs a qualifier").first().waitFor();
  }],

  ["shows nothing to change to a key that may only read", async () => {
    const { page } = main;
    await page.route("**/ui/session", async (route) => {
      const response = await route.fetch();
      await route.fulfill({ response, json: { ...(await response.json()), scopes: ["read"] } });
    });
    await page.goto(ui("jobs?q=status:failed"));
    await row(page, "card.charge").first().waitFor();
    assert.equal(await page.getByRole("checkbox").count(), 0);
    assert.equal(await page.getByRole("group", { name: "Actions on jobs" }).count(), 0);
    await readOnly(page);
    await page.unrouteAll({ behavior: "ignoreErrors" });
  }],

  ...operations(() => main.page),
  ["says who changed what", () => audit(main.page)],
  ["creates, changes, rotates and revokes a key", () => keys(main.page)],

  ["shows a limited key its queues, and what it cannot know", async () => {
    // the workers lease from other queues, so the key does not see them
    const { key } = await api("POST", "api-keys", { name: "one-queue", scopes: ["read"], queues: ["bulk-5"] });
    const { context: made, page } = await signedIn({}, BASE, key);
    await button(page, /^Live/).waitFor();
    await page.getByRole("link", { name: /^Oldest waiting job.*in bulk-5/ }).waitFor();
    await page.getByText("in the queues of your key").waitFor();
    assert.equal(await page.getByText("No worker is alive").count(), 0);
    await page.goto(ui("queues"));
    await row(page, "bulk-5").waitFor();
    assert.equal(await row(page, "bulk-6").count(), 0);
    assert.equal(await page.getByText("no worker", { exact: true }).count(), 0);
    await page.goto(ui("queues/bulk-5"));
    await page.getByText("not known: your key does not see all workers").first().waitFor();
    await page.goto(ui("workers"));
    await page.getByText("Your key sees no worker.").waitFor();
    await made.close();
    // the counts of a queue are those of all its kinds
    const { key: ofKind } = await api("POST", "api-keys", { name: "one-kind", scopes: ["read"], kinds: ["mail.*"] });
    const second = await signedIn({}, BASE, ofKind);
    await button(second.page, /^Not live/).waitFor();
    await second.page.getByText(/there are no live counts of queues and workers/).waitFor();
    await second.page.goto(ui("queues"));
    await second.page.getByRole("alert").getByText(/Forbidden/).waitFor();
    // a list of queues has no waits, and one button for more of it
    const many = Array.from({ length: 60 }, (_, at) => ({ name: `many-${at}`, paused: false, paused_at: null, queued: 0, running: 0, scheduled: 0 }));
    let list = { queues: many, next_cursor: "more" };
    await second.page.route("**/v1/queues?limit=200*", (route) => route.fulfill({ json: list }));
    await button(second.page, "Try again").click();
    await row(second.page, "many-1").first().waitFor();
    assert.equal(await button(second.page, "Show more").count(), 1);
    assert.equal(await second.page.getByRole("option", { name: "Longest wait first" }).count(), 0);
    list = { queues: [], next_cursor: null };
    await button(second.page, "Refresh").click();
    await second.page.getByText("This key sees no queue.").waitFor();
    await second.page.goto(ui("jobs?q=status:queued"));
    await row(second.page, "mail.send").first().waitFor();
    assert.equal(await row(second.page, "search.index").count(), 0);
    await second.context.close();
  }],

  ["keeps nothing that a key saw after its sign-out", async () => {
    const made = await signedIn();
    await made.page.getByRole("link", { name: "Queues", exact: true }).click();
    await row(made.page, "bulk-5").getByRole("img").first().waitFor();
    await button(made.page, "Sign out").click();
    const { key } = await api("POST", "api-keys", { name: "many-queues", scopes: ["read"], queues: ["bulk-*"] });
    await made.page.getByLabel("API key").fill(key);
    const again = made.page.waitForRequest((request) => request.url().includes("/v1/stats?queue=bulk-5&"));
    await button(made.page, "Sign in").click();
    await again;
    await made.context.close();
  }],

  ["pauses", async () => {
    const { page } = main;
    await page.goto(ui("jobs"));
    const count = button(page, /^queued/);
    await count.getByText(/\d/).waitFor();
    await button(page, /^Live/).click();
    await button(page, /^Paused/).waitFor();
    const before = await count.innerText();
    const [{ at }] = await sql("SELECT max(taken_at) AS at FROM jobqueue.census");
    await sql("SELECT count(jobqueue.enqueue('manual.step', queue => 'paused-page')) FROM generate_series(1, 3)");
    await becomes(`SELECT count(*) > 0 FROM jobqueue.census WHERE taken_at > '${at}'`, true);
    await page.waitForTimeout(2_500);
    assert.equal(await count.innerText(), before);
    await button(page, /^Paused/).click();
    await button(page, /^Live/).waitFor();
    await page.waitForFunction(([name, text]) => [...document.querySelectorAll("button.tab")].some((tab) => tab.textContent.startsWith(name) && tab.innerText !== text), ["queued", before]);
  }],

  ["works under the prefix of a proxy", async () => {
    const { port } = new URL(BASE);
    const proxy = createServer((incoming, outgoing) => {
      const path = incoming.url.replace(/^\/team\/jobs/, "");
      const headers = { ...incoming.headers, "x-forwarded-prefix": "/team/jobs" };
      const onward = forward({ port, host: "127.0.0.1", method: incoming.method, path, headers }, (answer) => {
        outgoing.writeHead(answer.statusCode, answer.headers);
        answer.pipe(outgoing);
      });
      onward.on("error", () => outgoing.destroy());
      incoming.pipe(onward);
    }).listen(0, "127.0.0.1");
    await new Promise((resolve) => proxy.once("listening", resolve));
    const { context: made, page } = await signedIn({}, `http://127.0.0.1:${proxy.address().port}/team/jobs`);
    const [cookie] = await made.cookies();
    assert.equal(cookie.path, "/team/jobs");
    await page.getByRole("link", { name: "Jobs", exact: true }).click();
    await row(page, "text.words").first().waitFor();
    await row(page, "text.words").first().getByRole("link").first().click();
    await page.waitForURL(/\/team\/jobs\/ui\/jobs\/[0-9a-f-]{36}$/);
    await page.reload();
    await page.getByRole("heading", { level: 1, name: /text.words/ }).waitFor();
    await button(page, /^Live/).waitFor();
    await made.close();
    proxy.closeAllConnections();
    proxy.close();
  }],

  ["survives a restart of the API and of Postgres", async () => {
    const { page } = main;
    await page.goto(ui("jobs?q=queue:late"));
    await page.getByText("No job matches").waitFor();
    await control("stop-api");
    await page.getByText("The API cannot be reached").first().waitFor();
    await control("start-api");
    await button(page, /^Live/).waitFor();
    await control("stop-postgres");
    await page.getByText(/The database cannot be reached|The API cannot be reached/).first().waitFor();
    await control("start-postgres");
    await button(page, /^Live/).waitFor();
    await page.getByRole("alert").first().waitFor({ state: "detached" });
    let id;
    for (;;) {
      id = await submit({ queue: "late" }).catch(() => null);
      if (id) break;
    }
    await button(page, "Refresh").click();
    await row(page, "manual.step").waitFor();
    await page.goto(ui("jobs"));
  }],

  ["can be used with a screen reader, at 360 px, in light and dark", async () => {
    const { page } = main;
    const found = [];
    for (const { name, path, ready } of SCREENS) {
      await page.goto(ui(await path()));
      await ready(page);
      for (const colorScheme of ["light", "dark"]) {
        await page.emulateMedia({ colorScheme });
        // colours do not depend on the width
        for (const width of colorScheme === "light" ? [1280, 360] : [1280]) {
          await page.setViewportSize({ width, height: 800 });
          found.push(...(await accessible(page, `${name}, ${colorScheme}, ${width} px`)), ...(await fits(page, `${name}, ${width} px`)));
        }
      }
      await page.setViewportSize({ width: 1280, height: 800 });
    }
    await page.goto(ui("queues/bulk-5"));
    await button(page, "Pause bulk-5").click();
    await page.getByRole("dialog").waitFor();
    found.push(...(await accessible(page, "a question")));
    await page.keyboard.press("Escape");
    await page.goto(ui("api-keys"));
    await button(page, /^Create a key/).click();
    await page.getByRole("dialog").waitFor();
    found.push(...(await accessible(page, "a form")));
    await page.keyboard.press("Escape");
    await button(page, "Change grafana").click();
    await page.getByRole("dialog").waitFor();
    await page.setViewportSize({ width: 360, height: 740 });
    found.push(...(await accessible(page, "a form of an existing key")), ...(await fits(page, "a form of an existing key")));
    await page.setViewportSize({ width: 1280, height: 800 });
    const made = await context();
    const outside = await made.newPage();
    await outside.goto(ui());
    await outside.getByLabel("API key").waitFor();
    found.push(...(await accessible(outside, "sign-in")), ...(await fits(outside, "sign-in")));
    await made.close();
    assert.deepEqual(found, []);
    await page.goto(ui());
    await page.getByRole("heading", { level: 1, name: "Overview" }).waitFor();
    await page.keyboard.press("Tab");
    assert.equal(await page.evaluate(() => document.activeElement.textContent), "Skip to content");
    await page.keyboard.press("Enter");
    assert.equal(await page.evaluate(() => document.activeElement.id), "main");
  }],
];

const pictures = [["seeds", seed], ["takes screenshots", screenshots]];
const measured = [["measures", () => speed(Number(process.env.DASHBOARD_JOBS))]];
await scenarios(process.env.DASHBOARD_JOBS ? measured : process.env.DASHBOARD_SCREENSHOTS ? pictures : tests);
