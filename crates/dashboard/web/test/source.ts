// What the tests of streams share: an `EventSource` that they speak through, timers that run when they say so, and answers of the API.
import assert from "node:assert/strict";
import * as live from "../src/live";

/** An `EventSource` that the test speaks through. */
export class Source extends EventTarget {
  static readonly CLOSED = 2;
  static all: Source[] = [];
  readyState = 0;
  onopen = (): void => {};
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

const timers = new Map<number, { at: number; run: () => void }>();
let clock = 0;
let ids = 0;

/** Lets time pass: what is due by then runs. */
export function pass(ms: number): void {
  clock += ms;
  for (const [id, timer] of [...timers]) {
    if (timer.at > clock) continue;
    timers.delete(id);
    timer.run();
  }
}

const page = document as unknown as { hidden: boolean } & EventTarget;
export function visible(is: boolean): void {
  page.hidden = !is;
  page.dispatchEvent(new Event("visibilitychange"));
}

export const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** A new page, whose requests get these answers. */
export function begin(answer: (url: string, request: RequestInit) => Response | Promise<Response>): void {
  Object.assign(globalThis, {
    EventSource: Source,
    window: {
      setTimeout: (run: () => void, ms: number) => (timers.set(++ids, { at: clock + ms, run }), ids),
      clearTimeout: (id: number) => timers.delete(id),
    },
    fetch: async (url: string, request: RequestInit) => answer(url, request),
  });
  timers.clear();
  Source.all = [];
  page.hidden = false;
}

/** The same when the stream of the page before it has ended, and what it had to draw is drawn. */
export function beginAgain(answer: () => Response | Promise<Response>): void {
  begin(answer);
  live.stop();
  pass(1_000_000);
  begin(answer);
}

/** A refusal of the API. */
export const problem = (status: number, headers = {}, code = "rate-limited"): Response =>
  new Response(JSON.stringify({ type: `urn:x:${code}`, title: "Too many requests", detail: "slow down" }), { status, headers });
