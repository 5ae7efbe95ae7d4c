import assert from "node:assert/strict";
import { test } from "node:test";
import { targetsOf } from "../src/bulk";
import { body, parse } from "../src/search";

test("only statuses that the action can change are counted", () => {
  const filterOf = (text: string): unknown => {
    const targets = targetsOf(parse(text, 0).filter, ["failed", "cancelled"]);
    return "filter" in targets ? body(targets.filter) : null;
  };
  assert.deepEqual(filterOf("queue:a status:completed,failed"), { status: ["failed"], queue: ["a"] });
  assert.deepEqual(filterOf(""), { status: ["failed", "cancelled"] });
  assert.deepEqual(filterOf("kind:x"), { status: ["failed", "cancelled"], kind: ["x"] });
});
