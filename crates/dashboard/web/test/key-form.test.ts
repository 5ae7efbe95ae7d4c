import assert from "node:assert/strict";
import { test } from "node:test";
import { changedNames, changes, creation, DAY, isIncomplete, mistakes, NEW_KEY, rateOf, rateText, textsOf } from "../src/key-form";
import type { ApiKey } from "../src/types";

const NOW = Date.parse("2026-11-30T12:00:00Z");
const KEY: ApiKey = {
  id: "4f1d", name: "billing", scopes: ["read", "write"], queues: ["mail", "report-*"], kinds: null, hide: ["log", "/user name/a,b"], rate: { requests: 600, per_seconds: 60 },
  expires_at: "2027-01-01T00:00:00Z", revoked_at: null, previous_until: null, last_used_at: null, owner: null, description: "the shop", created_by: "root", created_at: "2026-11-01T00:00:00Z",
};

test("a new key has what is written and no more", () => {
  assert.deepEqual(creation({ ...NEW_KEY, name: " billing ", queues: "mail,  report-*", hide: "log\n\n /user name/a,b ", rate: "10/s", expiry: "30" }, NOW), {
    name: "billing", scopes: ["read"], queues: ["mail", "report-*"], hide: ["log", "/user name/a,b"], rate: { requests: 10, per_seconds: 1 }, expires_at: "2026-12-30T12:00:00.000Z",
  });
  assert.deepEqual(creation({ ...NEW_KEY, name: "a", expiry: "" }, NOW), { name: "a", scopes: ["read"] });
});

test("a change has only what the user changed", () => {
  const texts = textsOf(KEY);
  assert.deepEqual(changes(KEY, texts, NOW), {});
  assert.deepEqual(changes(KEY, { ...texts, scopes: ["write", "read"], rate: " 600/1m ", description: "the shop " }, NOW), {});
  assert.deepEqual(changes(KEY, { ...texts, queues: "", kinds: "report.*", rate: "", description: "", hide: "log" }, NOW), { queues: null, kinds: ["report.*"], rate: null, description: null, hide: ["log"] });
  assert.deepEqual(changes(KEY, { ...texts, name: "shop", scopes: ["read"], expiry: "" }, NOW), { name: "shop", scopes: ["read"], expires_at: null });
  assert.deepEqual(changes(KEY, { ...texts, hide: "" }, NOW), { hide: null });
  assert.deepEqual(changes({ ...KEY, expires_at: null }, { ...texts, expiry: "" }, NOW), {}, "never, as before");
  assert.deepEqual(changes(KEY, { ...texts, expiry: DAY, day: "2026-12-30" }, NOW), { expires_at: "2026-12-31T00:00:00.000Z" }, "the whole day");
  assert.deepEqual(changes(KEY, { ...texts, expiry: DAY, day: "2026-12-31" }, NOW), {}, "the same end");
  assert.equal(changedNames(changes(KEY, { ...texts, hide: "", expiry: "" }, NOW)), "what is hidden, expiry");
});

test("a rate is read as it is written", () => {
  for (const [text, expected] of [["600", [600, 60]], ["600/1m", [600, 60]], ["10/s", [10, 1]], ["5 / 2h", [5, 7_200]], ["1000000/1d", [1_000_000, 86_400]]] as const) {
    assert.deepEqual(rateOf(text), { requests: expected[0], per_seconds: expected[1] }, text);
  }
  for (const text of ["0", "-1", "a", "10/", "10/x", "10/0s", "10/1.5s", "10/2d", "1000001", "1e3", "10/s/s"]) assert.equal(rateOf(text), null, text);
  for (const rate of [{ requests: 7, per_seconds: 90 }, { requests: 600, per_seconds: 86_400 }]) assert.deepEqual(rateOf(rateText(rate)), rate);
});

test("mistakes are named before anything is sent", () => {
  assert.deepEqual(mistakes(textsOf(KEY), NOW), []);
  assert.match(mistakes({ ...NEW_KEY, rate: "many" }, NOW).join(), /rate/);
  assert.deepEqual(mistakes({ ...NEW_KEY, expiry: DAY, day: "2026-11-30" }, NOW), [], "today has not ended");
  assert.match(mistakes({ ...NEW_KEY, expiry: DAY, day: "2026-11-29" }, NOW).join(), /day/);
  assert.match(mistakes({ ...NEW_KEY, expiry: DAY, day: "soon" }, NOW).join(), /day/);
  assert.ok(isIncomplete(NEW_KEY) && isIncomplete({ ...NEW_KEY, name: "a", scopes: [] }) && isIncomplete({ ...NEW_KEY, name: "a", expiry: DAY }));
  assert.ok(!isIncomplete({ ...NEW_KEY, name: "a" }));
});
