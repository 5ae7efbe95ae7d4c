// Real data: 10,000 jobs, 40 queues, 12 kinds, dead letters, a paused queue, jobs that wait without a worker. The workers run the rest.
import { api, becomes, sql } from "./harness.mjs";

/** Some jobs were submitted this long ago, but not before midnight, when the table of the day began. */
const AGO_S = 250;

export async function seed() {
  // 40 queues without a worker, and kinds of which one fifth is long
  await sql(`SELECT count(jobqueue.enqueue((ARRAY['mail.send','mail.digest','image.resize','invoice.pdf','sync.user','search.index'])[1 + n % 6],
    json_build_object('n', n), queue => 'bulk-' || n % 36, tags => CASE WHEN n % 10 = 0 THEN ARRAY['vip'] END)) FROM generate_series(1, 9500) n`);
  await sql(`SELECT set_config('jobqueue.clock_offset', '-' || least(${AGO_S}, floor(extract(epoch FROM now() - date_trunc('day', now(), 'UTC'))))::int || ' seconds', true),
    (SELECT count(jobqueue.enqueue('report.build', json_build_object('user', n), queue => 'reports', tags => ARRAY['vip'])) FROM generate_series(1, 12) n)`);
  const jobs = [];
  for (let n = 0; n < 60; n += 1) jobs.push({ kind: "text.words", queue: "default", payload: `three little words ${n}` });
  for (let n = 0; n < 25; n += 1) jobs.push({ kind: "card.charge", queue: "default", max_attempts: 1, payload: { user: n, amount: 12.5 }, tags: n % 5 === 0 ? ["vip"] : [] });
  for (let n = 0; n < 12; n += 1) jobs.push({ kind: "refund.pay", queue: "default", max_attempts: 1, payload: { order: n } });
  for (let n = 0; n < 6; n += 1) jobs.push({ kind: "file.upload", queue: "default", max_attempts: 3, payload: { user: 42, file: `a-${n}.bin` }, retry: { strategy: "fixed", delay_seconds: 3600 } });
  for (let n = 0; n < 5; n += 1) jobs.push({ kind: "newsletter.send", queue: "default", delay_seconds: 3600 * (n + 1) });
  await api("POST", "jobs/batch", { jobs });
  await becomes("SELECT count(*) FROM jobs WHERE kind = 'text.words' AND status = 'completed'", 60);
  await becomes("SELECT count(*) FROM jobs WHERE kind = 'card.charge' AND status = 'failed'", 25);
  await api("PUT", "schedules/nightly-report", { cron: "30 2 * * *", time_zone: "America/New_York", dst: "skip", owner: "shop", description: "The report of the day before", job: { kind: "report.build", queue: "reports", payload: { days: 1 } } });
  await api("PUT", "schedules/five-words", { interval_seconds: 1, max_runs: 5, overlap: "skip", missed: "all", job: { kind: "text.words", queue: "default", payload: "words of a schedule" } });
  await becomes("SELECT count(*) FROM jobs WHERE kind = 'refund.pay' AND status = 'failed'", 12);
  await becomes("SELECT count(*) FROM jobs WHERE kind = 'file.upload' AND status = 'scheduled' AND attempt = 1", 6);
  await api("POST", "queues/bulk-7/pause");
  await api("POST", "api-keys", { name: "grafana", scopes: ["read"], hide: ["payload", "/user/email"], rate: { requests: 600, per_seconds: 60 }, description: "Panels of the team" });
  await api("POST", "api-keys", { name: "shop", scopes: ["write"], kinds: ["card.*", "refund.*"], queues: ["default"] });
  // the reaper has counted all of it
  const from = new Date(Date.now() - 3_600_000).toISOString();
  while ((await api("GET", `stats?from=${from}`)).total.failed < 25) await new Promise((resolve) => setTimeout(resolve, 200));
}
