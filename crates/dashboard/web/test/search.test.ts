import assert from "node:assert/strict";
import { test } from "node:test";
import { body, expand, instant, isEmpty, isIndexed, matches, parameters, parse, quote, withStatus } from "../src/search";

const NOW = Date.parse("2026-11-30T12:00:00Z");

test("the search of the documentation is a filter", () => {
  const { filter, problems, id } = parse("kind:report.* status:failed tag:vip error:Timeout payload.user=42 before:2h", NOW);
  assert.deepEqual(problems, []);
  assert.equal(id, null);
  assert.deepEqual(body(filter), {
    status: ["failed"], kind: ["report.*"], tag: ["vip"], error_type: ["Timeout"], payload: ["user=42"], created_before: "2026-11-30T10:00:00.000Z",
  });
  assert.equal(parameters(filter).toString(), "status=failed&kind=report.*&tag=vip&error_type=Timeout&payload=user%3D42&created_before=2026-11-30T10%3A00%3A00.000Z");
});

test("values are listed, quoted and repeated", () => {
  const { filter } = parse('status:failed,cancelled tag:"a b" tag:c metadata.owner.team=x=y payload/a.b/c=1 key:k:1', NOW);
  assert.deepEqual(body(filter), {
    status: ["failed", "cancelled"], tag: ["a b", "c"], metadata: ["owner.team=x=y"], payload: ["/a.b/c=1"], unique_key: ["k:1"],
  });
  assert.deepEqual(body(parse("is:retrying queue:mail", NOW).filter), { queue: ["mail"], retrying: true });
});

test("an id leads to its job", () => {
  const { id, filter } = parse(" 0198C1A2-3b4c-7d5e-8f60-718293a4b5c6 ", NOW);
  assert.equal(id, "0198c1a2-3b4c-7d5e-8f60-718293a4b5c6");
  assert.ok(isEmpty(filter));
  assert.ok(isEmpty(parse("", NOW).filter));
});

test("mistakes are named", () => {
  for (const [text, part] of [
    ["report", "needs a qualifier"],
    ["status:done", "`done` is no status"],
    ["kind:", "needs a value"],
    ["before:soon", "is no time"],
    ["colour:red", "`colour:` is unknown"],
    ["is:odd", "is:retrying"],
    ['tag:"a', "quote"],
    [":x", "needs a qualifier"],
    ["constructor:x", "`constructor:` is unknown"],
    ["__proto__:x", "`__proto__:` is unknown"],
    ["queue:,", "`queue:` needs a value"],
    ["tag:,,", "`tag:` needs a value"],
    ['tag:""', "`tag:` needs a value"],
    ["status:,", "`status:` needs a value"],
    ["status:failed,retrying", "use is:retrying"],
    ["before:1h before:2h", "`before:` may be given only once"],
    ["ended-after:1h queue:a ended-after:2026-11-30", "`ended-after:` may be given only once"],
    ["0198c1a2-3b4c-7d5e-8f60-718293a4b5c6 queue:a", "Search for an id on its own."],
    ["0198c1a2-3b4c-7d5e-8f60-718293a4b5c6 0198c1a2-3b4c-7d5e-8f60-718293a4b5c7", "Search for an id on its own."],
  ] as const) {
    const { problems } = parse(text, NOW);
    assert.equal(problems.length, 1, text);
    assert.ok(problems[0]?.includes(part), problems[0]);
  }
});

test("times are durations, days and timestamps", () => {
  for (const [text, at] of [
    ["90s", "2026-11-30T11:58:30.000Z"], ["30m", "2026-11-30T11:30:00.000Z"], ["1.5h", "2026-11-30T10:30:00.000Z"], ["2w", "2026-11-16T12:00:00.000Z"],
    ["2026-11-29", "2026-11-29T00:00:00.000Z"], ["2026-11-29T10:00+02:00", "2026-11-29T08:00:00.000Z"],
  ] as const) {
    assert.equal(new Date(instant(text, NOW) ?? 0).toISOString(), at, text);
  }
  for (const text of ["", "h", "-1h", "2026-13-40", "2026-11-29T10:00", "999999999d"]) assert.equal(instant(text, NOW), null, text);
});

test("patterns match like those of the API", () => {
  for (const [pattern, name, is] of [["report.*", "report.a.b", true], ["report.*", "reportxa", false], ["*", "", true], ["a?c", "abc", true], ["a?c", "ac", false], ["a.c", "abc", false]] as const) {
    assert.equal(matches(pattern, name), is, `${pattern} ${name}`);
  }
});

test("a tab replaces the status and keeps the rest", () => {
  assert.equal(withStatus('queue:a status:failed tag:"x y"', "queued"), 'status:queued queue:a tag:"x y"');
  assert.equal(withStatus("is:retrying queue:a", null), "queue:a");
  assert.deepEqual(parse(withStatus('tag:"x y"', "retrying"), NOW).filter.tag, ["x y"]);
});

test("quotes protect spaces, commas and quotes", () => {
  const { filter, problems } = parse('error:"A,B",C tag:"x y" "tag:c d"', NOW);
  assert.deepEqual(problems, []);
  assert.deepEqual(body(filter), { tag: ["x y", "c d"], error_type: ["A,B", "C"] });
  for (const value of ["a", "a b", "A,B", 'say "no"', "C:\\dir\\", 'a\\"b, c']) {
    assert.deepEqual(parse(`error:${quote(value)}`, NOW).filter.error_type, [value], value);
    const text = withStatus(`status:failed error:${quote(value)},x`, "queued");
    assert.deepEqual(parse(text, NOW).filter.error_type, [value, "x"], text);
  }
  assert.deepEqual(parse(withStatus('payload.a="x y:z"', "queued"), NOW).filter.payload, ["a=x y:z"]);
  assert.deepEqual(parse(withStatus("payload.a=x,y", "queued"), NOW).filter.payload, ["a=x,y"]);
});

test("a pattern is the kinds that match it", () => {
  const { filter } = parse("kind:report.*,mail", NOW);
  assert.deepEqual(expand(filter, ["report.a", "mail", "other"]).filter?.kind, ["mail", "report.a"]);
  assert.deepEqual(expand(parse("kind:none.*", NOW).filter, ["a"]), { filter: null, problems: ["No kind matches none.*."] });
  assert.match(expand(parse("kind:*", NOW).filter, Array.from({ length: 101 }, (_, n) => `k-${n}`)).problems[0] ?? "", /^101 kinds match/);
});

test("a search without an index is one that looks into jobs", () => {
  for (const text of ["", "status:failed queue:a kind:b tag:c after:1h", "is:retrying"]) assert.ok(isIndexed(parse(text, NOW).filter), text);
  for (const text of ["error:A", "payload.a=1", "metadata.a=1", "key:k", "ended-after:1h", "ended-before:1h queue:a"]) assert.ok(!isIndexed(parse(text, NOW).filter), text);
});
