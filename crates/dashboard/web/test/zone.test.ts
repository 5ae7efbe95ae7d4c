import assert from "node:assert/strict";
import { test } from "node:test";
import { changeInWords, local, nextChange, offset } from "../src/zone";

test("offsets and changes of clocks follow the zone", () => {
  const winter = Date.parse("2026-11-30T12:00:00Z");
  assert.equal(offset(winter, "Europe/Berlin"), 60);
  assert.equal(offset(Date.parse("2026-07-01T12:00:00.500Z"), "Europe/Berlin"), 120);
  assert.equal(offset(winter, "America/St_Johns"), -210);
  assert.equal(offset(winter, "No/Such"), null);
  assert.deepEqual(nextChange("Europe/Berlin", winter), { at: Date.parse("2027-03-28T01:00:00Z"), minutes: 60 });
  assert.deepEqual(nextChange("Europe/Berlin", Date.parse("2027-03-28T01:00:00Z")), { at: Date.parse("2027-10-31T01:00:00Z"), minutes: -60 });
  assert.deepEqual(nextChange("Australia/Lord_Howe", winter)?.minutes, -30);
  assert.equal(nextChange("UTC", winter), null);
  assert.equal(nextChange("Asia/Tokyo", winter), null);
  assert.equal(nextChange("No/Such", winter), null);
});

test("what happens to a schedule at a change is said in words", () => {
  const spring = { at: Date.parse("2027-03-28T01:00:00Z"), minutes: 60 };
  assert.equal(local(spring.at, "Europe/Berlin"), "Sun, 28 Mar 2027, 03:00");
  assert.equal(local(spring.at + 1_000, "UTC"), "Sun, 28 Mar 2027, 01:00:01");
  assert.match(changeInWords("Europe/Berlin", spring, "skip"), /go forward by 1 h at Sun, 28 Mar 2027, 03:00\. .* has no tick/);
  assert.match(changeInWords("Europe/Berlin", spring, "shift"), /shifted forward/);
  const autumn = { at: Date.parse("2027-10-31T01:00:00Z"), minutes: -30 };
  assert.match(changeInWords("Europe/Berlin", autumn, "both"), /go back by 30 min .* two ticks/);
  assert.match(changeInWords("Europe/Berlin", autumn, "shift"), /one tick, the first/);
});
