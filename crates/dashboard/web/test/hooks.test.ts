import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { usePages } from "../src/pages";
import { useSteps } from "../src/parts/progress";
import { useTurn } from "../src/use";
import { hook } from "./hook";
import { begin, pass, problem } from "./source";

interface Row {
  id: string;
}

/** What the API has, newest first, in pages of two. */
let rows: string[];
/** Requests that wait for their answer. */
let waiting: { url: URL; come: (response?: Response) => void }[];

function answer(url: URL): Response {
  const after = url.searchParams.get("cursor");
  const from = after === null ? 0 : rows.indexOf(after) + 1;
  const page = rows.slice(from, from + 2);
  return new Response(JSON.stringify({ rows: page.map((id) => ({ id })), next_cursor: from + 2 < rows.length ? page[1] : null }));
}

beforeEach(() => {
  rows = ["f", "e", "d", "c", "b", "a"];
  waiting = [];
  begin((path, { signal }) => new Promise((resolve, reject) => {
    const url = new URL(path, "http://x");
    const read = answer(url);
    waiting.push({ url, come: (response = read) => resolve(response) });
    signal?.addEventListener("abort", () => reject(signal.reason));
  }));
});

const asked = (): string[] => waiting.map(({ url }) => url.searchParams.get("cursor") ?? "first");

async function list(pathNow?: () => string) {
  const used = await hook(() => usePages<Row>("rows?limit=2", "rows", (row) => row.id, { everyMs: 30_000, ...(pathNow ? { pathNow } : {}) }));
  const come = async (response?: Response): Promise<void> => {
    waiting.shift()?.come(response);
    await used.settle();
  };
  const text = (): string => used.now.entries.map((row) => row.id).join("");
  return { used, come, text, later: async (ms: number) => { pass(ms); await used.settle(); } };
}

test("a reading at intervals that ends after the next page has come keeps both pages", async () => {
  const { used, come, text, later } = await list();
  await come();
  await later(40_000);
  assert.deepEqual(asked(), ["first"]);
  used.now.load();
  await used.settle();
  const [reading, page] = waiting;
  page?.come();
  await used.settle();
  assert.equal(text(), "fedc");
  reading?.come();
  await used.settle();
  assert.equal(text(), "fedc");
  waiting = [];
  // and the next reading is of both
  await later(40_000);
  await come();
  assert.deepEqual(asked(), ["e"]);
  await come();
  assert.equal(text(), "fedc");
  used.leave();
});

test("a reading at intervals that ends before the next page has come does not lose that page", async () => {
  const { used, come, text, later } = await list();
  await come();
  await later(40_000);
  rows.unshift("h", "g");
  used.now.load();
  await used.settle();
  const [reading, page] = waiting;
  reading?.come(answer(new URL("http://x/rows")));
  await used.settle();
  page?.come();
  await used.settle();
  assert.equal(text(), "fedc");
  assert.equal(used.now.loading, false);
  waiting = [];
  await later(40_000);
  await come();
  await come();
  assert.equal(text(), "hgfe");
  used.leave();
});

test("while the next page is on its way the list is not read again", async () => {
  const { used, come, later } = await list();
  await come();
  used.now.load();
  used.now.load();
  await used.settle();
  await later(120_000);
  assert.deepEqual(asked(), ["e"]);
  used.leave();
});

test("a page that failed is not counted", async () => {
  const { used, come, text, later } = await list();
  await come();
  used.now.load();
  await used.settle();
  await come(problem(400));
  assert.ok(used.now.problem);
  await later(40_000);
  await come();
  assert.deepEqual([asked(), text()], [[], "fe"]);
  used.leave();
});

test("a list that begins again has one page, also while another one is on its way", async () => {
  const { used, come, text } = await list();
  await come();
  used.now.load();
  await used.settle();
  await come();
  assert.equal(text(), "fedc");
  rows.unshift("g");
  used.now.load();
  used.now.refresh();
  await used.settle();
  used.now.load();
  await used.settle();
  const last = waiting.at(-1);
  assert.deepEqual([waiting.length, last?.url.searchParams.get("cursor")], [2, null], "another page does not fit to the list that begins again");
  last?.come();
  await used.settle();
  assert.equal(text(), "gf");
  used.leave();
});

test("five pages stay as they are", async () => {
  rows = Array.from({ length: 20 }, (_, at) => `${at}`);
  const { used, come, later } = await list();
  await come();
  for (let page = 2; page <= 5; page += 1) {
    assert.equal(used.now.isFollowed, true);
    used.now.load();
    await used.settle();
    await come();
  }
  assert.deepEqual([used.now.entries.length, used.now.isFollowed], [10, false]);
  await later(600_000);
  assert.deepEqual(asked(), []);
  used.leave();
});

test("a relative time refers to each reading, and the next page to the reading before it", async () => {
  let minute = 0;
  const { used, come, later } = await list(() => `rows?limit=2&after=${minute}`);
  const after = (): (string | null)[] => waiting.map(({ url }) => url.searchParams.get("after"));
  assert.deepEqual(after(), ["0"]);
  await come();
  minute = 1;
  used.now.load();
  await used.settle();
  assert.deepEqual([after(), asked()], [["0"], ["e"]]);
  await come();
  await later(40_000);
  assert.deepEqual(after(), ["1"]);
  await come();
  assert.deepEqual([after(), asked()], [["1"], ["e"]]);
  used.leave();
});

test("an action does not begin after its screen was left", async () => {
  let steps = 0;
  const what = { label: "Cancel", past: "cancelled", agreed: 1, exact: true, most: 1_000, step: async () => ({ done: (steps += 1), more: false }) };
  const used = await hook(useSteps);
  const { go, left } = used.now;
  assert.equal(left.aborted, false);
  used.leave();
  assert.equal(left.aborted, true);
  await go(what);
  assert.equal(steps, 0);
  const stays = await hook(useSteps);
  await stays.now.go(what);
  assert.equal(steps, 1);
});

test("turns begin with the page, not at a minute that all pages share, and stop with the page", async () => {
  const used = await hook(() => useTurn(120_000));
  pass(100_000);
  await used.settle();
  assert.equal(used.now, 0);
  pass(40_000);
  await used.settle();
  assert.equal(used.now, 1);
  (document as unknown as { hidden: boolean }).hidden = true;
  pass(140_000);
  await used.settle();
  assert.equal(used.now, 1);
  (document as unknown as { hidden: boolean }).hidden = false;
  pass(140_000);
  await used.settle();
  assert.equal(used.now, 2);
  await used.draw(() => useTurn(null));
  pass(1_000_000);
  await used.settle();
  assert.equal(used.now, 2);
  used.leave();
});
