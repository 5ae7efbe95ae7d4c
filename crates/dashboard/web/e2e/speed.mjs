// How long each screen takes with very many jobs: scripts/dashboard-speed. It measures and prints; it asserts nothing about time.
import { api, becomes, browser, signedIn, sql, ui } from "./harness.mjs";

/** The goals, in milliseconds: the answer of a list, and the first paint. */
const LIST_MS = 300;
const PAINT_MS = 100;
const ROUNDS = 5;
/** Jobs of one transaction, and requests of one filler. */
const CHUNK = 20_000;
const FILLERS = 8;
/** Of a hundred jobs so many wait, and so many are scheduled. The others have ended, every twelfth of them failed. */
const WAITING = 24;
const SCHEDULED = 3;
const KINDS = ["mail.send", "mail.digest", "image.resize", "invoice.pdf", "sync.user", "search.index", "report.build", "report.mail", "card.charge", "refund.pay", "file.upload", "push.send"];
const ERRORS = ["Timeout", "ConnectionReset", "OutOfMemory", "BadRequest", "Unavailable"];

const seconds = (since) => ((Date.now() - since) / 1000).toFixed(0);

/** Submits the jobs. Ten queues wait, thirty are worked off. */
async function submit(total) {
  const kinds = KINDS.map((kind) => `'${kind}'`).join(",");
  for (let from = 0; from < total; from += CHUNK) {
    const to = Math.min(total, from + CHUNK) - 1;
    await sql(`SELECT count(jobqueue.enqueue((ARRAY[${kinds}])[1 + n / 100 % ${KINDS.length}], json_build_object('user', n % 1000, 'n', n),
      queue => CASE WHEN n % 100 < ${WAITING + SCHEDULED} THEN 'wait-' || n % 10 ELSE 'done-' || n % 30 END,
      run_at => CASE WHEN n % 100 >= ${WAITING} AND n % 100 < ${WAITING + SCHEDULED} THEN now() + interval '1 day' END,
      tags => CASE WHEN n % 50 = 0 THEN ARRAY['vip'] END)) FROM generate_series(${from}, ${to}) n`);
  }
}

/** Ends the jobs of these queues, as a remote worker does. */
async function work(queues, at) {
  let ended = 0;
  for (;;) {
    const { leases } = await api("POST", "leases", { worker: `filler-${at}`, queues, limit: 100 });
    if (leases.length === 0) return ended;
    const items = leases.map(({ lease }, place) => {
      ended += 1;
      if (place % 12 !== 0) return { lease, outcome: "completed", result: { rows: place } };
      return { lease, outcome: "discarded", error: { type: ERRORS[ended % ERRORS.length], message: `host ${ended % 7 === 0 ? "a" : "b"} did not answer` } };
    });
    await api("POST", "leases/settle", { items });
  }
}

async function fill(total) {
  let began = Date.now();
  await submit(total);
  console.log(`${total} jobs submitted in ${seconds(began)} s`);
  began = Date.now();
  const mine = (at) => Array.from({ length: 30 }, (_, n) => n).filter((n) => n % FILLERS === at).map((n) => `done-${n}`);
  const ended = await Promise.all(Array.from({ length: FILLERS }, (_, at) => work(mine(at), at)));
  const all = ended.reduce((sum, count) => sum + count, 0);
  console.log(`${all} of them ended in ${seconds(began)} s`);
  for (let n = 0; n < 200; n += 1) await api("PUT", `schedules/nightly-${n}`, { cron: "30 2 * * *", time_zone: "America/New_York", job: { kind: "report.build", queue: `wait-${n % 10}` } });
  for (let n = 0; n < 50; n += 1) await api("POST", "api-keys", { name: `team-${n}`, scopes: ["read"], queues: [`done-${n % 30}`] });
  for (let n = 0; n < 100; n += 1) await api("POST", `queues/wait-9/${n % 2 === 0 ? "pause" : "resume"}`);
  // the reaper has counted all of it
  const from = new Date(Date.now() - 23 * 3_600_000).toISOString();
  while ((await api("GET", `stats?from=${from}`)).total.completed + (await api("GET", `stats?from=${from}`)).total.failed < all) await new Promise((resolve) => setTimeout(resolve, 500));
  await becomes("SELECT count(*) = 0 FROM jobqueue.dead_letter_tally", true);
}

const rows = (page) => page.getByRole("row").nth(2).waitFor();
const text = (wanted) => (page) => page.getByText(wanted).first().waitFor();

/** Each screen, with what shows that it is complete. */
async function screens() {
  // not with the view `jobs`, whose order would have to sort all of them
  const newest = async (filter) => (await api("GET", `jobs?${filter}&limit=1`)).jobs[0].id;
  const failed = await newest("status=failed");
  const waiting = await newest("queue=wait-0&status=queued");
  const { groups } = await api("GET", "dead-letters/groups?limit=1");
  const { workers } = await api("GET", "workers?limit=1");
  return [
    ["Overview", "", (page) => page.getByRole("cell", { name: /\d/ }).first().waitFor()],
    ["Jobs", "jobs", rows],
    ["Jobs, `status:failed kind:report.*`", "jobs?q=status:failed kind:report.*", rows],
    ["Jobs, `queue:done-3`", "jobs?q=queue:done-3", rows],
    ["Jobs, `status:queued tag:vip`", "jobs?q=status:queued tag:vip", rows],
    ["Jobs, `status:failed payload.user=42`", "jobs?q=status:failed payload.user=42", rows],
    ["Jobs, `after:1h error:Timeout`", "jobs?q=after:1h error:Timeout", rows],
    ["Job that failed", `jobs/${failed}`, text(/did not answer/)],
    ["Job that waits", `jobs/${waiting}`, text("Why it waits")],
    ["Queues", "queues", rows],
    ["Queue", "queues/wait-0", text(/jobs submitted/)],
    ["Workers", "workers", (page) => page.getByRole("row").nth(1).waitFor()],
    ["Worker", `workers/${workers[0]?.id}`, text("Commands of the last day")],
    ["Schedules", "schedules", rows],
    ["Schedule", "schedules/nightly-1", text("Next runs")],
    ["Dead letters", "dead-letters", rows],
    ["Group of dead letters", `dead-letters/${groups[0].group}`, rows],
    ["Audit", "audit", rows],
    ["API keys", "api-keys", rows],
  ];
}

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;

/** First paint, time until the screen is complete, and the requests to the API, in milliseconds since the navigation. */
async function visit(page, path, ready) {
  await page.goto(ui(path));
  await ready(page);
  const shown = await page.evaluate(() => performance.now());
  // counts and lines that follow
  await page.waitForTimeout(2_000);
  return page.evaluate((shown) => ({
    shown,
    paint: performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? NaN,
    requests: performance.getEntriesByType("resource").filter((entry) => entry.name.includes("/v1/") && !/\/stream$/.test(entry.name) && entry.responseEnd > 0)
      .map((entry) => ({ ms: entry.responseEnd - entry.startTime, name: entry.name.replace(/^.*\/v1\//, "").replace(/[0-9a-f]{8}-[0-9a-f-]{27}/, "ID").slice(0, 70) })),
  }), shown);
}

/** Fills and measures; prints tables as docs/dashboard.md has them. */
export async function speed(total) {
  await fill(total);
  const first = await signedIn();
  const cookies = await first.context.cookies();
  // a browser that was never here
  const paints = [];
  for (let round = 0; round < 2 * ROUNDS; round += 1) {
    const made = await browser.newContext();
    await made.addCookies(cookies);
    const page = await made.newPage();
    paints.push((await visit(page, "", (one) => one.getByRole("heading", { level: 1 }).waitFor())).paint);
    await made.close();
  }
  console.log(`\nFirst paint of a browser without the files: median ${median(paints).toFixed(0)} ms, at most ${Math.max(...paints).toFixed(0)} ms (goal ${PAINT_MS} ms)\n`);
  console.log("| screen | first paint | complete | slowest count | slowest other request |\n|---|---|---|---|---|");
  let over = 0;
  const slowest = (visits, isCount) => visits.flatMap((one) => one.requests).filter((one) => one.name.startsWith("jobs/count") === isCount).sort((a, b) => b.ms - a.ms)[0];
  const cell = (request) => (request ? `${request.ms.toFixed(0)} ms, \`${request.name}\`` : "none");
  for (const [name, path, ready] of await screens()) {
    const found = [];
    for (let round = 0; round < ROUNDS; round += 1) found.push(await visit(first.page, path, ready));
    const [count, other] = [slowest(found, true), slowest(found, false)];
    over += other && other.ms > LIST_MS ? 1 : 0;
    console.log(`| ${name} | ${median(found.map((one) => one.paint)).toFixed(0)} ms | ${median(found.map((one) => one.shown)).toFixed(0)} ms | ${cell(count)} | ${cell(other)} |`);
  }
  console.log(`\n${over} of them have a request other than a count that took more than ${LIST_MS} ms.`);
}
