import assert from "node:assert/strict";
import { test } from "node:test";
import { mergePatch, problemOf, read, write } from "../src/json";

test("numbers stay as they were sent", () => {
  const text = '{"id":18446744073709551616,"price":1.50,"n":42,"e":1E400,"list":[0.10,-0]}';
  assert.equal(write(read(text), ""), text);
  assert.equal(JSON.stringify(JSON.parse('{"id":18446744073709551616}')), '{"id":18446744073709552000}', "which JavaScript does not do");
});

test("a text that is no JSON says why", () => {
  assert.equal(problemOf('{"a":1}'), null);
  for (const text of ["", "{", '{"a":1,}', "nul", "01"]) assert.ok(problemOf(text), text);
});

test("a merge patch has what changed", () => {
  for (const [old, next, patch] of [
    ['{"a":1,"b":2}', '{"a":1,"b":3}', '{"b":3}'],
    ['{"a":{"x":1,"y":2},"n":null}', '{"a":{"x":1},"n":null}', '{"a":{"y":null}}'],
    ['{"a":1.50}', '{"a":1.5}', '{"a":1.5}'],
    ['{"a":1}', "[1]", "[1]"],
    ["[1]", '{"a":{"b":1}}', '{"a":{"b":1}}'],
    ['{"a":1}', '{"a":1}', "{}"],
    ['{"constructor":1,"toString":2,"__proto__":3}', '{"valueOf":4}', '{"constructor":null,"toString":null,"__proto__":null,"valueOf":4}'],
    ["{}", '{"constructor":{"a":1},"__proto__":{"b":2}}', '{"constructor":{"a":1},"__proto__":{"b":2}}'],
  ] as const) {
    assert.equal(write(mergePatch(read(old), read(next)) ?? "none", ""), patch, `${old} → ${next}`);
  }
  for (const [old, next] of [['{"a":1}', '{"a":null}'], ["1", '{"a":{"b":null}}']] as const) {
    assert.equal(mergePatch(read(old), read(next)), undefined, next);
  }
});
