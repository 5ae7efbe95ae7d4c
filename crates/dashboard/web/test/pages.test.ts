import assert from "node:assert/strict";
import { test } from "node:test";
import { joined, readPages } from "../src/pages";

interface Row {
  id: string;
}

/** A list of the API, newest first, with pages of two. */
function list(rows: string[]) {
  return async (path: string) => {
    const after = new URL(path, "http://x/").searchParams.get("cursor");
    const from = after === null ? 0 : rows.indexOf(after) + 1;
    const page = rows.slice(from, from + 2);
    return { jobs: page.map((id) => ({ id })), next_cursor: from + 2 < rows.length ? page[1] ?? null : null };
  };
}
const ids = ({ entries }: { entries: Row[] }): string => entries.map((row) => row.id).join("");

test("a list that is read again has no gap between its pages", async () => {
  const rows = ["d", "c", "b", "a"];
  const before = await readPages<Row>(list(rows), "jobs?limit=2", "jobs", 2);
  assert.equal(ids(before), "dcba");
  assert.equal(before.cursor, null);
  // two new rows push all of the first page to the second one
  rows.unshift("f", "e");
  const after = await readPages<Row>(list(rows), "jobs?limit=2", "jobs", 2);
  assert.equal(ids(after), "fedc");
  assert.equal(after.cursor, "c");
  const more = await readPages<Row>(list(rows), "jobs?limit=2", "jobs", 1, after.cursor);
  assert.equal(ids(joined(after, more, (row) => row.id)), "fedcba");
  assert.equal(joined(after, more, (row) => row.id).cursor, null);
});

test("an entry that moves to the next page is shown once", () => {
  const page = (entries: string[], cursor: string | null) => ({ entries: entries.map((id) => ({ id })), cursor, pages: 1 });
  assert.equal(ids(joined(page(["b", "a"], "x"), page(["a", "c"], null), (row) => row.id)), "bac");
});

test("all pages are read if they are asked for", async () => {
  const read = await readPages<Row>(list(["e", "d", "c", "b", "a"]), "kinds", "jobs", 20);
  assert.deepEqual([ids(read), read.pages, read.cursor], ["edcba", 3, null]);
});
