import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { whenSignedOut } from "../src/api";
import * as live from "../src/live";
import { beginAgain, pass, problem, settled, Source, visible } from "./source";

let answer: () => Response;

beforeEach(() => {
  beginAgain(() => answer());
  answer = () => new Response("", { status: 200 });
});

test("what a key saw is gone when it signs out, also if the old stream goes on", () => {
  live.start(() => {});
  const old = Source.last();
  old.say("queue", { queue: "secret" });
  old.say("ready");
  assert.equal(live.current().queues.size, 1);
  live.stop();
  assert.deepEqual([live.current().queues.size, live.current().ready, old.readyState], [0, false, Source.CLOSED]);
  old.say("queue", { queue: "secret" });
  assert.equal(live.current().queues.size, 0);
});

test("after a stop nothing connects again", async () => {
  live.start(() => {});
  Source.last().refuse();
  live.stop();
  await settled();
  pass(60_000);
  visible(false);
  visible(true);
  assert.equal(Source.all.length, 1);
});

test("each start listens to the page once", () => {
  for (let round = 0; round < 3; round += 1) {
    live.start(() => {});
    live.stop();
  }
  live.start(() => {});
  const before = Source.all.length;
  visible(false);
  pass(31_000);
  assert.equal(Source.last().readyState, Source.CLOSED);
  visible(true);
  assert.equal(Source.all.length, before + 1);
});

test("a hidden page does not connect again", async () => {
  live.start(() => {});
  visible(false);
  pass(29_000);
  answer = () => problem(503);
  Source.last().refuse();
  await settled();
  pass(2_000);
  pass(60_000);
  assert.equal(Source.all.length, 1);
  visible(true);
  assert.equal(Source.all.length, 2);
});

test("a refusal has its words and its wait", async () => {
  live.start(() => {});
  answer = () => problem(429, { "Retry-After": "30" });
  Source.last().refuse();
  await settled();
  assert.equal(live.current().connection, "lost");
  assert.equal(live.current().reason, "Too many requests: slow down");
  pass(29_000);
  assert.equal(Source.all.length, 1);
  pass(10_000);
  assert.equal(Source.all.length, 2);
});

test("a key that becomes limited keeps no counts of others, and does not ask again", async () => {
  live.start(() => {});
  Source.last().say("queue", { queue: "secret" });
  answer = () => problem(403);
  Source.last().refuse();
  await settled();
  assert.deepEqual([live.current().connection, live.current().queues.size], ["limited", 0]);
  pass(600_000);
  assert.equal(Source.all.length, 1);
});

test("a 401 of a proxy, or of a replica that does not know the key yet, is no end", async () => {
  let asked = 0;
  live.start(() => (asked += 1));
  for (const [unauthorized, expected] of [[new Response("<html>", { status: 401 }), 0], [problem(401, {}, "unauthorized"), 1]] as const) {
    const before = Source.all.length;
    answer = () => unauthorized;
    Source.last().refuse();
    await settled();
    assert.deepEqual([live.current().connection, asked], ["lost", expected]);
    pass(30_000);
    assert.equal(Source.all.length, before + 1);
  }
});

test("a page that is opened in the background stops after a while", () => {
  visible(false);
  live.start(() => {});
  pass(31_000);
  assert.equal(Source.last().readyState, Source.CLOSED);
  visible(true);
  assert.equal(Source.all.length, 2);
});

test("a key that is not valid any more signs out", async () => {
  let out = 0;
  live.start(() => {
    out += 1;
    live.stop();
  });
  answer = () => problem(401, {}, "unauthorized");
  Source.last().refuse();
  await settled();
  pass(600_000);
  assert.deepEqual([out, Source.all.length], [1, 1]);
  whenSignedOut(() => {});
});
