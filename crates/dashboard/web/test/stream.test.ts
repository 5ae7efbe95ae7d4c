import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import * as live from "../src/live";
import { follow, fresh, type Heard } from "../src/screens/job/stream";
import { beginAgain, pass, problem, settled, Source, visible } from "./source";

let answer: () => Response | Promise<Response>;
let state: Heard;
let stop: () => void;
const mine = (): Source[] => Source.all.filter((source) => source.url.includes("/jobs/"));

beforeEach(() => {
  beginAgain(() => answer());
  answer = () => new Response("", { status: 200 });
  state = fresh();
  stop = follow("a", () => state, () => {});
});

/** An answer that comes when the test says so. */
function later(): (response: Response) => Promise<void> {
  let come: (response: Response) => void = () => {};
  const response = new Promise<Response>((resolve) => (come = resolve));
  answer = () => response;
  return async (response) => {
    come(response);
    await settled();
  };
}

const pause = (paused: boolean): void => {
  live.pause(paused);
  pass(1_000);
};

test("a pause while it asks why it was refused does not end the log", async () => {
  const come = later();
  mine()[0]?.refuse();
  pause(true);
  assert.equal(state.connection, "paused");
  await come(problem(503));
  pass(60_000);
  assert.equal(mine().length, 1);
  pause(false);
  assert.equal(mine().length, 2);
  stop();
});

test("while it asks why, and until its wait is over, nothing connects", async () => {
  const come = later();
  mine()[0]?.refuse();
  live.pause(false);
  pass(1_000);
  visible(true);
  assert.equal(mine().length, 1);
  await come(problem(503));
  live.pause(false);
  pass(1_000);
  assert.equal(mine().length, 1);
  pass(10_000);
  assert.equal(mine().length, 2);
  stop();
});

test("a hidden page does not connect again", async () => {
  visible(false);
  pass(29_000);
  const come = later();
  mine()[0]?.refuse();
  pass(2_000);
  await come(problem(503));
  pass(60_000);
  assert.equal(mine().length, 1);
  visible(true);
  assert.equal(mine().length, 2);
  stop();
});

test("a refusal that will not change keeps its words after a pause, and is not asked again", async () => {
  answer = () => problem(403);
  mine()[0]?.refuse();
  await settled();
  pause(true);
  pause(false);
  pass(600_000);
  visible(false);
  visible(true);
  assert.deepEqual([mine().length, state.connection, state.problem], [1, "lost", "Too many requests: slow down"]);
  stop();
});

test("a 401 of a proxy, or of a replica that does not know the key yet, is no end", async () => {
  answer = () => new Response("<html>", { status: 401 });
  mine()[0]?.refuse();
  await settled();
  pass(10_000);
  assert.equal(mine().length, 2);
  stop();
});

test("after it is left nothing connects", async () => {
  const come = later();
  mine()[0]?.refuse();
  stop();
  await come(problem(503));
  pass(60_000);
  visible(true);
  assert.equal(mine().length, 1);
});
