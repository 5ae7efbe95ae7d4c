import assert from "node:assert/strict";
import { test } from "node:test";
import { spreadMs, waitMs } from "../src/again";

test("waits grow, have a bound, and obey the server", () => {
  assert.deepEqual([1, 2, 3, 4, 50].map((failures) => waitMs(failures, null, 0)), [3_000, 6_000, 12_000, 20_000, 20_000]);
  assert.equal(waitMs(1, 60, 0), 60_000);
  assert.equal(waitMs(4, 1, 0), 20_000);
  assert.equal(waitMs(1, 1e9, 0), 300_000);
  assert.ok(waitMs(1, null, 0.99) > 3_000);
});

test("pages that were opened together spread out", () => {
  assert.deepEqual([0, 0.5, 1].map((random) => spreadMs(120_000, random)), [108_000, 120_000, 132_000]);
});
