import assert from "node:assert/strict";
import { test } from "node:test";
import { errorShare, findings, oldestOf, type Facts } from "../src/abnormal";
import type { Explanation, QueueNow, Statistics, WorkerNow } from "../src/types";

const NOW = Date.parse("2026-11-30T12:00:00Z");
const before = (seconds: number): string => new Date(NOW - seconds * 1_000).toISOString();

const queue = (name: string, more: Partial<QueueNow>): QueueNow => ({
  queue: name, paused: false, scheduled: 0, queued: 0, running: 0, oldest_at: null, created: 0, completed: 0, failed: 0, cancelled: 0, retried: 0, ...more,
});
const statistics = (completed: number, failed: number, p95: number | null = null): Statistics => ({
  from: before(3_600), to: before(0), step_seconds: 60, counted_until: before(5), has_others: false, points: [],
  total: { created: 0, completed, failed, retried: 0, cancelled: 0, snoozed: 0, wait: { count: 1, p50_seconds: null, p95_seconds: p95, p99_seconds: null }, run: { count: 0, p50_seconds: null, p95_seconds: null, p99_seconds: null } },
});
const worker = (more: Partial<WorkerNow>): WorkerNow => ({
  worker_id: "w", name: "w-1", host: null, version: null, language: null, remote: false, queues: [], slots: 1, running: 0, jobs_per_minute: null, paused: false, draining: false, started_at: before(60), ...more,
});
const quiet: Facts = { now: NOW, queues: [], workers: [worker({})], seesAllWorkers: true, groups: [], explanations: new Map(), hour: statistics(100, 0), hourAt: NOW, day: statistics(1_000, 1) };
const texts = (facts: Partial<Facts>): string[] => findings({ ...quiet, ...facts }).map((finding) => finding.text);

test("a quiet system has no finding", () => {
  assert.deepEqual(texts({}), []);
  assert.deepEqual(texts({ queues: [queue("a", { queued: 5, oldest_at: before(3) })] }), []);
});

test("a queue that waits says since when and why", () => {
  const explanation = { reasons: [{ code: "behind", message: "", resolution: "", facts: {} }, { code: "no_worker", message: "x", resolution: "", facts: { last_seen_at: before(7_080) } }] } as unknown as Explanation;
  const [text] = texts({ queues: [queue("reports", { queued: 3, oldest_at: before(240) })], explanations: new Map([["reports", explanation]]) });
  assert.match(text ?? "", /^`reports` waits 4 min: no worker has taken it since \d\d:\d\d\.$/);
  assert.deepEqual(texts({ queues: [queue("a", { queued: 3, oldest_at: before(60) })] }), ["`a` waits 1 min: 3 jobs are queued."]);
  assert.deepEqual(texts({ queues: [queue("a", { queued: 1, oldest_at: before(60) })] }), ["`a` waits 1 min: 1 job is queued."]);
  const paused = { reasons: [{ code: "queue_paused", message: "", resolution: "", facts: { paused_at: before(60) } }] } as unknown as Explanation;
  assert.match(texts({ queues: [queue("a", { queued: 1, oldest_at: before(60), paused: true })], explanations: new Map([["a", paused]]) })[0] ?? "", /: it has been paused since \d\d:\d\d\.$/);
  const long = texts({ queues: [queue("a", { queued: 1, oldest_at: before(100) }), queue("b", { queued: 1, oldest_at: before(9_000) })] });
  assert.match(long[0] ?? "", /^`b` waits 2 h 30 min/);
});

test("many queues that wait are summed up, and paused ones come after", () => {
  const many = Array.from({ length: 30 }, (_, n) => queue(`q-${n}`, { queued: 1, oldest_at: before(100 + n), paused: n === 3 }));
  const found = texts({ queues: many });
  assert.deepEqual(found.map((text) => text.split(":")[0]), ["`q-29` waits 2 min 9 s", "`q-28` waits 2 min 8 s", "`q-27` waits 2 min 7 s", "`q-26` waits 2 min 6 s", "25 other queues wait more than a minute, up to 2 min 5 s.", "`q-3` waits 1 min 43 s"]);
  assert.deepEqual(texts({ queues: [queue("p", { queued: 1, oldest_at: before(90), paused: true })] }), ["`p` waits 1 min 30 s: it is paused."]);
});

test("a missing reaper, no worker, failures, waits and pauses are found", () => {
  assert.match(texts({ hour: { ...statistics(1, 0), counted_until: before(600) } })[0] ?? "", /^The reaper has not counted since/);
  assert.match(texts({ hour: { ...statistics(1, 0), counted_until: null } })[0] ?? "", /^The reaper has never counted/);
  assert.deepEqual(texts({ workers: [], queues: [queue("a", { queued: 1 })] }), ["No worker is alive, and 1 job waits."]);
  assert.deepEqual(texts({ workers: [], queues: [queue("a", { queued: 2 })] }), ["No worker is alive, and 2 jobs wait."]);
  assert.deepEqual(texts({ hour: statistics(80, 20) }), ["20 % of the jobs that ended in the last hour failed, over 24 h <0.1 %."]);
  assert.deepEqual(texts({ hour: statistics(80, 20), day: statistics(80, 20) }), [], "as usual");
  assert.deepEqual(texts({ hour: statistics(9, 0, 12), day: statistics(9, 0, 0.4) }), ["Jobs waited longer than usual in the last hour: p95 12 s, over 24 h 400 ms."]);
  assert.deepEqual(texts({ workers: [worker({ paused: true })] }), ["Worker `w-1` is paused by an operator."]);
  const group = { group: "g", kind: "k", error_type: "Boom x", message: "m <n>", count: 3, first_failed_at: before(600), last_failed_at: before(1) };
  const found = findings({ ...quiet, groups: [group] });
  assert.match(found[0]?.text ?? "", /^New failure since \d\d:\d\d: `k` ended 3 times with `Boom x`: m <n>$/);
  assert.equal(decodeURIComponent(found[0]?.to ?? ""), 'jobs?q=status:failed kind:k error:"Boom x"');
  const [comma] = findings({ ...quiet, groups: [{ ...group, error_type: "A,B" }] });
  assert.match(decodeURIComponent(comma?.to ?? ""), /error:"A,B"$/);
});

test("the worst is first", () => {
  const found = findings({ ...quiet, workers: [worker({ paused: true })], hour: statistics(80, 20) });
  assert.deepEqual(found.map((finding) => finding.severity), ["bad", "warn"]);
});

test("an answer is as old as it is: a minute later it says nothing against the reaper", () => {
  const hour = { ...statistics(100, 0), counted_until: before(65) };
  assert.deepEqual(texts({ hour, hourAt: NOW - 58_000 }), []);
  assert.equal(texts({ hour, hourAt: NOW }).length, 1);
  assert.deepEqual(texts({ hour, hourAt: null }), [], "the API did not answer");
});

test("without a job that ended there is no share of failures", () => {
  assert.equal(errorShare(statistics(0, 0)), null);
  assert.equal(errorShare(statistics(3, 1)), 0.25);
});

test("the oldest job is asked for, whose time has microseconds", () => {
  assert.equal(oldestOf(queue("a b", { oldest_at: "2026-11-30T11:00:00.123456Z" })), "jobs?queue=a%20b&status=queued&created_before=2026-11-30T11:00:00.124Z&limit=1");
});

test("a key that does not see all workers does not say that none is alive", () => {
  const facts = { workers: [], queues: [queue("a", { queued: 3, oldest_at: before(1) })] };
  assert.deepEqual(texts(facts), ["No worker is alive, and 3 jobs wait."]);
  assert.deepEqual(texts({ ...facts, seesAllWorkers: false }), []);
});
