// The adapter of graphile-worker for `jobqueue-bench run peers`. DATABASE_URL is the URL of an empty database. The first line of
// the output is "ready", the last one is JSON.
//   WHAT=drain    drains JOBS waiting jobs with its fastest documented set-up (local queue, batched completion): {"rate": jobs per second}
//   WHAT=latency  runs JOBS jobs that another process submits, with its default set-up: {"micros": [from due to start, monotonic clock]}
import pg from "pg";
import { run, makeWorkerUtils, Logger } from "graphile-worker";

const connectionString = process.env.DATABASE_URL;
const jobs = Number(process.env.JOBS ?? 200_000);
const silent = new Logger(() => () => {});
const CONCURRENT = 24;
// as in its own performance test: one connection per job, and one more
const normal = { connectionString, maxPoolSize: CONCURRENT + 1, concurrentJobs: CONCURRENT, logger: silent };
const fast = {
  ...normal,
  localQueue: { size: 500, refetchDelay: { durationMs: 10 } },
  completeJobBatchDelay: 0,
  failJobBatchDelay: 0,
};

const pool = new pg.Pool({ connectionString, max: 4 });
const utils = await makeWorkerUtils({ preset: { worker: fast }, logger: silent });
await utils.migrate();

async function drain() {
  for (let at = 0; at < jobs; at += 10_000) {
    await pool.query(
      `SELECT graphile_worker.add_jobs(array_agg(json_populate_record(null::graphile_worker.job_spec, json_build_object(
         'identifier', 'noop', 'payload', json_build_object('to', 'someone@example.com', 'subject', 'hello',
         'body', 'a hundred bytes of text, more or less'))))) FROM generate_series(1, $1)`,
      [Math.min(10_000, jobs - at)],
    );
  }
  // what autovacuum would have done by then; without statistics the plan of its lease is bad, and it drains less than half as fast
  await pool.query("VACUUM (ANALYZE)");
  await pool.query("CHECKPOINT");
  console.log("ready");
  let ran = 0;
  let finished;
  const all = new Promise((resolve) => { finished = resolve; });
  const began = performance.now();
  const worker = await run({
    preset: { worker: fast },
    taskList: { noop: () => { if (++ran === jobs) finished(); } },
  });
  await all;
  for (;;) {
    const { rows } = await pool.query("SELECT count(*)::int AS n FROM graphile_worker._private_jobs");
    if (rows[0].n === 0) break;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  const rate = jobs / ((performance.now() - began) / 1000);
  await worker.stop();
  return { rate };
}

async function latency() {
  const micros = [];
  let finished;
  const all = new Promise((resolve) => { finished = resolve; });
  const worker = await run({
    preset: { worker: normal },
    taskList: {
      timed: (payload) => {
        micros.push(Number(process.hrtime.bigint() / 1000n) - payload.sent_micros);
        if (micros.length === jobs) finished();
      },
    },
  });
  await new Promise((resolve) => setTimeout(resolve, 500));
  console.log("ready");
  await all;
  await worker.stop();
  return { micros };
}

const told = process.env.WHAT === "latency" ? await latency() : await drain();
console.log(JSON.stringify(told));
await utils.release();
await pool.end();
