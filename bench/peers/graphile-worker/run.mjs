// graphile-worker in its fastest documented set-up (local queue, batched completion), and by default for latency.
// DATABASE_URL names an empty database. Prints one JSON object a line: {"what", "unit", "value"}.
import pg from "pg";
import { run, makeWorkerUtils, Logger } from "graphile-worker";

const connectionString = process.env.DATABASE_URL;
const jobs = Number(process.env.JOBS ?? 200_000);
const seconds = Number(process.env.SECONDS ?? 10);
const silent = new Logger(() => () => {});
const tell = (what, unit, value) => console.log(JSON.stringify({ what, unit, value }));

const fast = {
  worker: {
    connectionString,
    maxPoolSize: 13,
    concurrentJobs: 24,
    localQueue: { size: 500, refetchDelay: { durationMs: 10 } },
    completeJobBatchDelay: 0,
    failJobBatchDelay: 0,
    logger: silent,
  },
};

const pool = new pg.Pool({ connectionString, max: 4 });
const utils = await makeWorkerUtils({ preset: fast, logger: silent });
await utils.migrate();

// burn-down: jobs wait, one process starts
for (let at = 0; at < jobs; at += 10_000) {
  await pool.query(
    `SELECT graphile_worker.add_jobs(array_agg(json_populate_record(null::graphile_worker.job_spec, json_build_object(
       'identifier', 'noop', 'payload', json_build_object('to', 'someone@example.com', 'subject', 'hello',
       'body', 'a hundred bytes of text, more or less'))))) FROM generate_series(1, $1)`,
    [Math.min(10_000, jobs - at)],
  );
}
await pool.query("CHECKPOINT");
let ran = 0;
let finished;
const all = new Promise((resolve) => { finished = resolve; });
const began = performance.now();
const drain = await run({
  preset: fast,
  taskList: { noop: () => { if (++ran === jobs) finished(); } },
});
await all;
for (;;) {
  const { rows } = await pool.query("SELECT count(*)::int AS n FROM graphile_worker._private_jobs");
  if (rows[0].n === 0) break;
  await new Promise((resolve) => setTimeout(resolve, 5));
}
tell(`burn-down of ${jobs}`, "jobs/s", jobs / ((performance.now() - began) / 1000));
await drain.stop();

// latency: open loop at 50 a second, from the moment it was due; SQL to handler start
const micros = [];
const worker = await run({
  preset: { worker: { connectionString, concurrentJobs: 24, maxPoolSize: 13, logger: silent } },
  taskList: { timed: (payload) => { micros.push((performance.now() - payload.due) * 1000); } },
});
await new Promise((resolve) => setTimeout(resolve, 500));
const start = performance.now();
const sends = [];
for (let n = 0; n < seconds * 50; n++) {
  const due = start + n * 20;
  await new Promise((resolve) => setTimeout(resolve, Math.max(0, due - performance.now() - 2)));
  while (performance.now() < due) { /* timers are a millisecond coarse */ }
  sends.push(pool.query("SELECT graphile_worker.add_job('timed', $1)", [JSON.stringify({ due })]));
}
await Promise.all(sends);
while (micros.length < seconds * 50) await new Promise((resolve) => setTimeout(resolve, 20));
await worker.stop();
micros.sort((a, b) => a - b);
for (const [name, share] of [["p50", 0.5], ["p99", 0.99]])
  tell(`SQL to start, 50/s, ${name}`, "ms", micros[Math.floor((micros.length - 1) * share)] / 1000);
await utils.release();
await pool.end();
