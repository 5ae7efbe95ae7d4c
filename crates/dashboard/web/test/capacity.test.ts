import assert from "node:assert/strict";
import { test } from "node:test";
import { capacity } from "../src/capacity";
import type { WorkerNow } from "../src/types";

const worker = (over: Partial<WorkerNow>): WorkerNow => ({ queues: ["mail"], slots: 4, paused: false, draining: false, ...over }) as WorkerNow;

test("a queue is served by workers that lease from it now", () => {
  const workers = [worker({}), worker({ slots: null }), worker({ paused: true }), worker({ draining: true }), worker({ queues: ["other"] })];
  assert.deepEqual(capacity("mail", workers), { workers: 2, slots: 4, unknown: 1 });
  assert.deepEqual(capacity("none", workers), { workers: 0, slots: 0, unknown: 0 });
});
