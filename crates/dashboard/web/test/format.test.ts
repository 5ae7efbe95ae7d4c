import assert from "node:assert/strict";
import { test } from "node:test";
import { ago, atLeast, bytes, duration, entryOf, percent, rate, several, short, withClocks } from "../src/format";

test("durations have one or two units", () => {
  for (const [seconds, text] of [[0.0004, "400 µs"], [0.85, "850 ms"], [4.24, "4.2 s"], [59, "59 s"], [60, "1 min"], [185, "3 min 5 s"], [3_600, "1 h"], [7_500, "2 h 5 min"], [36_000, "10 h"], [100_800, "1 d 4 h"], [0, "0 s"], [-1, "0 s"]] as const) {
    assert.equal(duration(seconds), text);
  }
});

test("numbers say when they are bounds", () => {
  assert.equal(atLeast(10_000, false), "10,000+");
  assert.equal(several(1, "job"), "1 job");
  assert.equal(several(1, "job", false), "1+ jobs");
  assert.equal(several(12_345, "job"), "12,345 jobs");
  assert.deepEqual([percent(0), percent(0.0004), percent(0.034), percent(0.12)], ["0 %", "<0.1 %", "3.4 %", "12 %"]);
  assert.deepEqual([rate(0, 60), rate(7, 120), rate(300, 60), rate(6_000, 60)], ["0/min", "3.5/min", "5.0/s", "100/s"]);
  assert.deepEqual([bytes(0), bytes(1_536), bytes(1_048_576 * 200)], ["0 B", "1.5 KiB", "200 MiB"]);
});

test("times are relative", () => {
  const now = Date.parse("2026-11-30T12:00:00Z");
  assert.equal(ago(now - 240_000, now), "4 min ago");
  assert.equal(ago(now + 7_200_000, now), "in 2 h");
  assert.equal(ago(now, now), "now");
  assert.equal(short("0198c1a2-3b4c-7d5e-8f60-718293a4b5c6"), "…93a4b5c6");
  assert.ok(!withClocks("It is scheduled for 2026-11-30T14:00:00.000Z.", now).includes("2026"));
});

test("a name that only a newer API has is no mistake", () => {
  assert.equal(entryOf({ fired: "yes" }, "fired", "?"), "yes");
  for (const name of ["new", "constructor", "__proto__"]) assert.equal(entryOf({ fired: "yes" }, name, "?"), "?", name);
});
