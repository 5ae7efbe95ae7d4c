import assert from "node:assert/strict";
import { test } from "node:test";
import { Problem } from "../src/api";
import { inSteps, Interrupted, type Steps } from "../src/steps";

/** Acts on `there` objects; more arrive with each step. */
function acting(there: number, more: Partial<Steps> = {}) {
  const limits: number[] = [];
  const progress: number[] = [];
  let left = there;
  const run = inSteps({
    agreed: null, most: 1_000, stop: new AbortController().signal, onProgress: (done) => progress.push(done),
    step: async (limit) => {
      limits.push(limit);
      const done = Math.min(limit, left);
      left -= done;
      return { done, more: left > 0 };
    },
    ...more,
  });
  return { run, limits, progress };
}

test("no more than the user agreed to are hit", async () => {
  const { run, limits, progress } = acting(9_999, { agreed: 2_300 });
  assert.deepEqual(await run, { done: 2_300, stopped: false });
  assert.deepEqual(limits, [1_000, 1_000, 300]);
  assert.deepEqual(progress, [1_000, 2_000, 2_300]);
});

test("without a number it goes on until none is left, or until it is stopped", async () => {
  assert.deepEqual(await acting(2_001).run, { done: 2_001, stopped: false });
  const stop = new AbortController();
  const { run, limits } = acting(9_999, { stop: stop.signal, onProgress: () => stop.abort() });
  assert.deepEqual(await run, { done: 1_000, stopped: true });
  assert.equal(limits.length, 1);
});

test("a refused step waits as the server asks, and is sent again", async () => {
  const waits: number[] = [];
  const answers: (number | Problem)[] = [10, new Problem(429, "rate-limited", "slow down", [], 7), 20];
  const step = async () => {
    const answer = answers.shift() ?? 0;
    if (typeof answer !== "number") throw answer;
    return { done: answer, more: answers.length > 0 };
  };
  const said: number[] = [];
  const wait = async (seconds: number): Promise<void> => void waits.push(seconds);
  const run = inSteps({ agreed: null, most: 1_000, step, onProgress: () => {}, onWait: (seconds) => said.push(seconds), stop: new AbortController().signal, wait });
  assert.deepEqual(await run, { done: 30, stopped: false });
  assert.deepEqual([waits, said], [[7], [7]]);
});

test("a failure says what was done before it", async () => {
  let calls = 0;
  const step = async () => {
    calls += 1;
    if (calls === 3) throw new Problem(503, "unavailable", "no database", [], 2);
    return { done: 1_000, more: true };
  };
  const steps = { agreed: 5_000, most: 1_000, step, onProgress: () => {}, stop: new AbortController().signal };
  await assert.rejects(inSteps(steps), (error: Interrupted) => error.done === 2_000 && error.message === "no database");
  assert.equal(calls, 3, "a step that may have had an effect is not sent again");
  const refused = async () => Promise.reject(new Problem(429, "rate-limited", "slow down"));
  await assert.rejects(inSteps({ ...steps, step: refused, wait: async () => {} }), (error: Interrupted) => error.done === 0);
});

test("a wait that the server asks for can be stopped", { timeout: 20_000 }, async () => {
  const stop = new AbortController();
  let calls = 0;
  const step = async () => {
    calls += 1;
    throw new Problem(429, "rate-limited", "slow down", [], 60);
  };
  const run = inSteps({ agreed: 5, most: 1_000, step, onProgress: () => {}, onWait: () => setImmediate(() => stop.abort()), stop: stop.signal });
  assert.deepEqual(await run, { done: 0, stopped: true });
  assert.equal(calls, 1);
});

test("what is done when it is stopped was not stopped", async () => {
  for (const [there, agreed, stopped] of [[1_000, 1_000, false], [900, 1_000, false], [900, null, false], [1_001, null, true], [1_001, 1_001, true]] as const) {
    const stop = new AbortController();
    const { run } = acting(there, { agreed, stop: stop.signal, onProgress: () => stop.abort() });
    assert.deepEqual(await run, { done: Math.min(there, 1_000), stopped }, `${agreed} of ${there}`);
  }
});
