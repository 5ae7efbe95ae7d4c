import assert from "node:assert/strict";
import { test } from "node:test";
import { whyUnknown } from "../src/unknown";

test("a page that is live does not say that it is not", () => {
  assert.doesNotMatch(whyUnknown("live"), /live/);
  assert.match(whyUnknown("paused"), /paused/);
  assert.match(whyUnknown("limited"), /this key/);
  for (const connection of ["lost", "down"] as const) assert.equal(whyUnknown(connection), "not known without live updates");
});
