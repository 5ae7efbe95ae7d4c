import assert from "node:assert/strict";
import { test } from "node:test";
import { preview, stepsOf, targetsOf, type Targets } from "../src/bulk";
import { inSteps } from "../src/steps";
import { body, parse } from "../src/search";
import type { Bulk } from "../src/types";

/** When the count begins. */
const AS_OF = "2026-11-30T12:00:00.123456Z";

interface Sent {
  verb: string;
  filter?: Record<string, unknown>;
  ids?: string[];
  limit?: number;
  cursor?: string;
  dry_run: boolean;
}

/** An API with these jobs, newest first, that an action leaves as they are. Of the `ended` ones none can be changed. */
function jobs(all: string[], ended: string[] = []): Sent[] {
  const sent: Sent[] = [];
  const answer = ({ ids, limit = 1_000, cursor, dry_run }: Sent): Bulk => {
    const from = cursor === undefined ? 0 : Number(cursor);
    const found = ids ?? all.slice(from, from + limit);
    const can = found.filter((id) => !ended.includes(id));
    const cannot = found.filter((id) => ended.includes(id)).map((id) => ({ id, status: 409, code: "wrong-status" }));
    const more = !ids && from + limit < all.length;
    return { dry_run, matched: found.length, changed: dry_run ? 0 : can.length, ids: can, failures: cannot, as_of: dry_run ? AS_OF : null, more, next_cursor: more ? String(from + limit) : null };
  };
  Object.assign(globalThis, {
    fetch: async (url: string, request: RequestInit) => {
      const one: Sent = { verb: url.split("/").at(-1) ?? "", ...JSON.parse(String(request.body)) };
      sent.push(one);
      return new Response(JSON.stringify(answer(one)));
    },
  });
  return sent;
}

const named = (count: number, prefix = "job"): string[] => Array.from({ length: count }, (_, at) => `${prefix}-${at}`);
const search = (text: string): Targets => ({ filter: parse(text, Date.parse("2026-11-30T12:00:00Z")).filter });
const result = () => ({ changed: 0, failures: [], failed: 0 });

/** Acts on what was agreed to; the requests. */
async function acted(sent: Sent[], verb: "cancel" | "delete" | "retry" | "promote", count: number, exact: boolean, agreed: Targets, done = result()): Promise<Sent[]> {
  sent.length = 0;
  await inSteps({ agreed: exact ? count : null, most: 1_000, step: stepsOf(verb, agreed, done), onProgress: () => {}, stop: new AbortController().signal });
  return sent;
}

test("an action is on the jobs that were counted, and not on those that came after", async () => {
  const before = named(2_300);
  const sent = jobs(before);
  const { count, exact, agreed } = await preview("cancel", search("queue:a"));
  assert.deepEqual([count, exact], [2_300, true]);
  const after = jobs([...named(50, "new"), ...before]);
  const requests = await acted(after, "cancel", count, exact, agreed);
  assert.deepEqual(requests.flatMap(({ ids }) => ids), before);
  assert.deepEqual(requests.map(({ ids, dry_run, filter }) => [ids?.length, dry_run, filter]), [[1_000, false, undefined], [1_000, false, undefined], [300, false, undefined]]);
  assert.equal(sent.every(({ dry_run }) => dry_run), true);
});

test("a selection is the jobs of it that can be changed", async () => {
  const all = named(1_200);
  const sent = jobs(all, ["job-1", "job-1100"]);
  const { count, exact, agreed } = await preview("retry", { ids: all });
  assert.deepEqual([count, exact, sent.map(({ ids }) => ids?.length)], [1_198, true, [1_000, 200]]);
  const requests = await acted(sent, "retry", count, exact, agreed);
  assert.deepEqual(requests.flatMap(({ ids }) => ids), all.filter((id) => id !== "job-1" && id !== "job-1100"));
});

test("what cannot be changed any more is reported, and a refused step is sent again", async () => {
  const all = named(3);
  jobs(all);
  const { agreed } = await preview("cancel", search("queue:a"));
  const sent = jobs(all, ["job-2"]);
  const done = result();
  const step = stepsOf("cancel", agreed, done);
  const { fetch } = globalThis;
  globalThis.fetch = async () => new Response("{}", { status: 429 });
  await assert.rejects(step(2));
  globalThis.fetch = fetch;
  assert.deepEqual(await step(2), { done: 2, more: true });
  assert.deepEqual(await step(2), { done: 1, more: false });
  assert.deepEqual(sent.map(({ ids }) => ids), [["job-0", "job-1"], ["job-2"]]);
  assert.deepEqual([done.changed, done.failed, done.failures], [2, 1, [{ id: "job-2", status: 409, code: "wrong-status" }]]);
});

test("more jobs than are counted are those that were there when the count began", async () => {
  const sent = jobs(named(10_500));
  const bounds = async (verb: "cancel" | "delete", text: string) => {
    const { count, exact, agreed } = await preview(verb, search(text));
    assert.deepEqual([count, exact], [10_000, false]);
    const requests = await acted(sent, verb, count, exact, agreed);
    assert.equal(requests.length, 11);
    assert.equal(requests[1]?.cursor, "1000");
    const { created_before, finished_before } = requests[0]?.filter ?? {};
    return [created_before, finished_before];
  };
  assert.deepEqual(await bounds("cancel", "queue:a"), [AS_OF, undefined]);
  assert.deepEqual(await bounds("delete", "queue:a"), [AS_OF, AS_OF]);
  assert.deepEqual(await bounds("delete", "before:2h ended-before:1h"), ["2026-11-30T10:00:00.000Z", "2026-11-30T11:00:00.000Z"]);
  assert.deepEqual(await bounds("cancel", "before:2099-01-01"), [AS_OF, undefined]);
});

test("a count that is stopped sends no more", async () => {
  const sent = jobs(named(5_000));
  const stop = new AbortController();
  const { fetch } = globalThis;
  globalThis.fetch = async (url, request) => {
    const response = await fetch(url, request);
    stop.abort();
    request?.signal?.throwIfAborted();
    return response;
  };
  await assert.rejects(preview("cancel", search("queue:a"), stop.signal), { name: "AbortError" });
  assert.equal(sent.length, 1);
});

test("only statuses that the action can change are counted", () => {
  const filterOf = (text: string): unknown => {
    const targets = targetsOf(parse(text, 0).filter, ["failed", "cancelled"]);
    return targets && "filter" in targets ? body(targets.filter) : null;
  };
  assert.deepEqual(filterOf("queue:a status:completed,failed"), { status: ["failed"], queue: ["a"] });
  assert.deepEqual(filterOf(""), { status: ["failed", "cancelled"] });
  assert.deepEqual(filterOf("kind:x"), { status: ["failed", "cancelled"], kind: ["x"] });
  assert.equal(filterOf("queue:a status:completed,running"), null, "the API would take its usual statuses");
});
