import assert from "node:assert/strict";
import { test } from "node:test";
import { seconds, span } from "../src/span";

test("durations are read as people write them, and written so that they can be read", () => {
  for (const [text, count] of [["90s", 90], ["1.5 h", 5_400], ["7d", 604_800], ["2 w", 1_209_600], ["10min", 600], [" 5m ", 300]] as const) assert.equal(seconds(text), count, text);
  for (const text of ["", "7", "d", "-1d", "1y", "1d2h", "1 d x"]) assert.equal(seconds(text), null, text);
  for (const [count, text] of [[604_800, "7d"], [5_400, "90m"], [3_600, "1h"], [90, "90s"], [0.5, "0.5s"], [86_401, "86401s"]] as const) {
    assert.equal(span(count), text);
    assert.equal(seconds(text), count);
  }
});
