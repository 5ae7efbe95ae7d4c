import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { whenSignedOut } from "../src/api";
import * as live from "../src/live";

/** An `EventSource` that the test speaks through. */
class Source extends EventTarget {
  static readonly CLOSED = 2;
  static all: Source[] = [];
  readyState = 0;
  onerror = (): void => {};
  constructor(readonly url: string) {
    super();
    Source.all.push(this);
  }
  close(): void {
    this.readyState = Source.CLOSED;
  }
  say(event: string, data: unknown = {}): void {
    this.dispatchEvent(new MessageEvent(event, { data: JSON.stringify(data) }));
  }
  /** As after a response that is no stream. */
  refuse(): void {
    this.close();
    this.onerror();
  }
  static last(): Source {
    const source = Source.all.at(-1);
    assert.ok(source);
    return source;
  }
}

/** Timers that run when the test says so. */
const timers = new Map<number, { at: number; run: () => void }>();
let clock = 0;
let ids = 0;
function pass(ms: number): void {
  clock += ms;
  for (const [id, timer] of [...timers]) {
    if (timer.at > clock) continue;
    timers.delete(id);
    timer.run();
  }
}
const page = document as unknown as { hidden: boolean } & EventTarget;
function visible(is: boolean): void {
  page.hidden = !is;
  page.dispatchEvent(new Event("visibilitychange"));
}
let answer: () => Response;
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

beforeEach(() => {
  Object.assign(globalThis, {
    EventSource: Source,
    window: {
      setTimeout: (run: () => void, ms: number) => (timers.set(++ids, { at: clock + ms, run }), ids),
      clearTimeout: (id: number) => timers.delete(id),
    },
    fetch: async () => answer(),
  });
  live.stop();
  timers.clear();
  Source.all = [];
  page.hidden = false;
  answer = () => new Response("", { status: 200 });
});

const problem = (status: number, headers = {}): Response => new Response(JSON.stringify({ type: "urn:x:rate-limited", title: "Too many requests", detail: "slow down" }), { status, headers });

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

test("a key that is not valid any more signs out", async () => {
  let out = 0;
  live.start(() => (out += 1));
  answer = () => new Response(JSON.stringify({ type: "urn:x:unauthorized", title: "t", detail: "d" }), { status: 401 });
  Source.last().refuse();
  await settled();
  pass(600_000);
  assert.deepEqual([out, Source.all.length], [1, 1]);
  whenSignedOut(() => {});
});
