import assert from "node:assert/strict";
import { test } from "node:test";
import { pace } from "../src/pace";

test("the pace of a group is that of its newest failures", () => {
  assert.equal(pace([]), null);
  assert.equal(pace(["2026-11-30T12:00:00Z"]), null);
  assert.equal(pace(["2026-11-30T12:04:00Z", "2026-11-30T12:03:00Z", "2026-11-30T12:00:00Z"]), "the newest 3 within 4 min");
  assert.equal(pace(["2026-11-30T12:00:00.400Z", "2026-11-30T12:00:00.100Z"]), "the newest 2 within 1 s");
});
