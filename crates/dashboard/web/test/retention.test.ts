import assert from "node:assert/strict";
import { test } from "node:test";
import { countOf, deleting, meaning } from "../src/retention";
import type { Queue } from "../src/types";

const NOW = Date.parse("2026-11-30T12:00:00Z");
const queue = (completed: number | null, failed: number | null) => ({ completed_retention_seconds: completed, failed_retention_seconds: failed }) as Queue;

test("only a longer time than a known one deletes nothing", () => {
  const asks = (from: number | null, to: number | null): boolean => deleting(queue(from, null), [to, null]).length > 0;
  assert.deepEqual([asks(60, 60), asks(null, null), asks(60, 90)], [false, false, false]);
  assert.deepEqual([asks(60, 30), asks(null, 90), asks(60, null)], [true, true, true]);
  assert.deepEqual(deleting(queue(60, 60), [30, null]).map((change) => change.noun), ["completed job", "failed or cancelled job"]);
});

test("the question names the number", () => {
  const [shorter, standard] = deleting(queue(86_400, 86_400), [3_600, null]);
  assert.ok(shorter && standard);
  assert.equal(countOf("a b", shorter, NOW), "jobs/count?queue=a+b&status=completed&finished_before=2026-11-30T11%3A00%3A00.000Z");
  assert.equal(countOf("a", standard, NOW), "jobs/count?queue=a&status=failed&status=cancelled");
  assert.equal(meaning(shorter, { count: 1, exact: true }), "1 completed job ended more than 1 h ago and is deleted with the next pass of the reaper.");
  assert.equal(meaning(standard, { count: 10_000, exact: false }), "How long the reaper keeps jobs by default is not known here. 10,000 or more failed or cancelled jobs may be deleted.");
  assert.equal(meaning(standard, { count: 2, exact: true }), "How long the reaper keeps jobs by default is not known here. Up to 2 failed or cancelled jobs may be deleted.");
  assert.equal(meaning(standard, { count: 0, exact: true }), "How long the reaper keeps jobs by default is not known here. There is no failed or cancelled job now.");
  assert.equal(meaning(shorter, { count: 10_000, exact: false }), "10,000 or more completed jobs ended more than 1 h ago and are deleted with the next pass of the reaper.");
  assert.equal(meaning(shorter, { count: 0, exact: true }), "No completed job ended more than 1 h ago, so none is deleted now.");
});
