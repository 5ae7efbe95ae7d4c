// The search language of the list of jobs: `kind:report.* status:failed tag:vip error:Timeout payload.user=42 before:2h`. Pure.
import type { Status } from "./types";

const STATUSES: Status[] = ["blocked", "scheduled", "queued", "running", "completed", "failed", "cancelled"];
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
/** A kind with `*` stands for up to so many kinds. */
const MAX_KINDS = 100;
const UNITS: Record<string, number> = { s: 1_000, m: 60_000, min: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };

/** A filter as the API takes it, except that kinds may have `*` and `?`. */
export interface Filter {
  status: Status[];
  queue: string[];
  kind: string[];
  tag: string[];
  error_type: string[];
  unique_key: string[];
  metadata: string[];
  payload: string[];
  created_after?: string;
  created_before?: string;
  finished_after?: string;
  finished_before?: string;
  /** Only jobs that wait for a retry. */
  retrying?: boolean;
}

export interface Search {
  filter: Filter;
  /** The id of one job, if the text is one. */
  id: string | null;
  /** What is wrong with the text, a sentence each. */
  problems: string[];
}

/** What can be written, for the help of the screen. */
export const HELP: [string, string][] = [
  ["status:failed,cancelled", "one of these statuses"],
  ["is:retrying", "failed before and waits for its next attempt"],
  ["queue:mail", "in this queue"],
  ["kind:report.*", "of a kind that matches; * is any text, ? one character"],
  ["tag:vip", "with this tag; several must all be there"],
  ["error:Timeout", "failed with this type of error"],
  ["payload.user=42", "this value at this path of the payload"],
  ["metadata.team=billing", "this value at this path of the metadata"],
  ["key:user-7", "with this unique key"],
  ["after:2h, before:2026-11-30", "submitted in the last 2 hours; before a day"],
  ["ended-after:1d, ended-before:1h", "ended in the last day; more than an hour ago"],
];

const empty = (): Filter => ({ status: [], queue: [], kind: [], tag: [], error_type: [], unique_key: [], metadata: [], payload: [] });

/** Reads a search. `now` is the time to which `2h` refers. */
export function parse(text: string, now: number): Search {
  const search: Search = { filter: empty(), id: null, problems: [] };
  const all = words(text, search.problems);
  for (const word of all) term(word, now, search);
  // an id names one job, so other words would have no effect
  if (search.id !== null && all.length > 1) {
    search.id = null;
    search.problems.push("Search for an id on its own.");
  }
  return search;
}

/** A character, and whether it stood in quotes: then it separates nothing. */
interface Letter {
  text: string;
  quoted: boolean;
}

/** Words are separated by spaces. A part in quotes may contain some, and commas; in it `\"` and `\\` are a quote and a backslash. */
function words(text: string, problems: string[]): Letter[][] {
  const found: Letter[][] = [];
  let word: Letter[] | null = null;
  let quoted = false;
  const all = [...text];
  for (let at = 0; at < all.length; at += 1) {
    const character = all[at] ?? "";
    const next = all[at + 1] ?? "";
    if (character === '"') {
      quoted = !quoted;
      word ??= [];
    } else if (/\s/.test(character) && !quoted) {
      if (word) found.push(word);
      word = null;
    } else {
      const escaped = quoted && character === "\\" && (next === '"' || next === "\\");
      if (escaped) at += 1;
      word = [...(word ?? []), { text: escaped ? next : character, quoted }];
    }
  }
  if (quoted) problems.push("A quote is not closed.");
  if (word) found.push(word);
  return found;
}

const textOf = (letters: Letter[]): string => letters.map((letter) => letter.text).join("");

/** The values of a list: commas separate them, except in quotes. */
function list(letters: Letter[]): string[] {
  const values = [""];
  for (const { text, quoted } of letters) {
    if (text === "," && !quoted) values.push("");
    else values[values.length - 1] += text;
  }
  return values.filter(Boolean);
}

function term(letters: Letter[], now: number, search: Search): void {
  const { filter, problems } = search;
  const word = textOf(letters);
  if (UUID.test(word)) {
    search.id = word.toLowerCase();
    return;
  }
  const path = /^(payload|metadata|meta)[./]([^=]+)=(.*)$/s.exec(word);
  if (path) {
    const [, where, steps, value] = path as unknown as [string, string, string, string];
    // a path with a slash is a JSON pointer
    const pointer = word[where.length] === "/" ? `/${steps}` : steps;
    (where === "payload" ? filter.payload : filter.metadata).push(`${pointer}=${value}`);
    return;
  }
  const colon = letters.findIndex((letter) => letter.text === ":");
  const name = textOf(letters.slice(0, Math.max(colon, 0))).toLowerCase();
  const value = letters.slice(colon + 1);
  if (colon < 1) {
    problems.push(`\`${word}\` needs a qualifier, such as kind:${word || "name"} or queue:${word || "name"}.`);
  } else if (list(value).length === 0) {
    problems.push(`\`${name}:\` needs a value.`);
  } else qualifier(name, textOf(value), list(value), now, search);
}

// maps, because an object also has the names of its prototype, such as `constructor`
const TIMES = new Map<string, "created_before" | "created_after" | "finished_before" | "finished_after">([
  ["before", "created_before"],
  ["after", "created_after"],
  ["ended-before", "finished_before"],
  ["ended-after", "finished_after"],
]);
const LISTS = new Map<string, "queue" | "kind" | "tag" | "error_type">([["queue", "queue"], ["kind", "kind"], ["tag", "tag"], ["error", "error_type"]]);

function qualifier(name: string, value: string, values: string[], now: number, { filter, problems }: Search): void {
  const listed = LISTS.get(name);
  const time = TIMES.get(name);
  if (listed) filter[listed].push(...values);
  else if (name === "key") filter.unique_key.push(value);
  else if (name === "status") statuses(values, filter, problems);
  else if (time) {
    const at = instant(value, now);
    if (at === null) problems.push(`\`${name}:${value}\` is no time: write 30m, 2h, 14d, 2026-11-30 or 2026-11-30T10:00:00Z.`);
    else if (filter[time] !== undefined) problems.push(`\`${name}:\` may be given only once.`);
    else filter[time] = new Date(at).toISOString();
  } else if (name !== "is") {
    problems.push(`\`${name}:\` is unknown; there are status, is, queue, kind, tag, error, key, before, after, ended-before and ended-after.`);
  } else if (value === "retrying") filter.retrying = true;
  else problems.push(`\`is:${value}\` is unknown; there is is:retrying.`);
}

function statuses(values: string[], filter: Filter, problems: string[]): void {
  for (const status of values) {
    if (status === "retrying" && values.length === 1) filter.retrying = true;
    else if (status === "retrying") problems.push("`retrying` cannot be part of a list; use is:retrying.");
    else if (STATUSES.includes(status as Status)) filter.status.push(status as Status);
    else problems.push(`\`${status}\` is no status; there are ${STATUSES.join(", ")}.`);
  }
}

/** A time: how long ago, a day in UTC, or a timestamp with an offset. */
export function instant(text: string, now: number): number | null {
  const past = /^(\d+(?:\.\d+)?)(s|m|min|h|d|w)$/.exec(text);
  if (past) {
    const at = now - Number(past[1]) * (UNITS[past[2] ?? ""] ?? 0);
    return at >= 0 ? at : null;
  }
  if (!/^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d))?$/.test(text)) return null;
  const at = Date.parse(text);
  return Number.isNaN(at) ? null : at;
}

/** Whether nothing is asked for. */
export const isEmpty = (filter: Filter): boolean =>
  Object.values(filter).every((value) => value === undefined || (Array.isArray(value) && value.length === 0));

/** Whether no word of a search needs to look into the jobs that the others leave over. Such a search can take seconds. */
export const isIndexed = ({ error_type, unique_key, metadata, payload, finished_after, finished_before }: Filter): boolean =>
  [error_type, unique_key, metadata, payload].every((values) => values.length === 0) && finished_after === undefined && finished_before === undefined;

/** The filter as query parameters. */
export function parameters(filter: Filter): URLSearchParams {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(filter)) {
    if (Array.isArray(value)) for (const one of value) query.append(name, one);
    else if (value !== undefined) query.append(name, String(value));
  }
  return query;
}

/** The filter as the body of a bulk action. */
export const body = (filter: Filter): Partial<Filter> =>
  Object.fromEntries(Object.entries(filter).filter(([, value]) => value !== undefined && !(Array.isArray(value) && value.length === 0)));

/** Whether a name matches a pattern with `*` and `?`. */
export function matches(pattern: string, name: string): boolean {
  const escaped = pattern.replace(/[.+^${}()|[\]\\]/g, "\\$&").replace(/\*+/g, ".*").replace(/\?/g, ".");
  return new RegExp(`^${escaped}$`, "s").test(name);
}

/** The filter with the names of the kinds that match its patterns; `null` if none matches or too many do. */
export function expand(filter: Filter, kinds: string[]): { filter: Filter | null; problems: string[] } {
  const isPattern = (kind: string): boolean => /[*?]/.test(kind);
  const patterns = filter.kind.filter(isPattern);
  if (patterns.length === 0) return { filter, problems: [] };
  const exact = filter.kind.filter((kind) => !isPattern(kind));
  const found = kinds.filter((name) => !exact.includes(name) && patterns.some((pattern) => matches(pattern, name)));
  if (exact.length + found.length === 0) return { filter: null, problems: [`No kind matches ${patterns.join(", ")}.`] };
  if (found.length > MAX_KINDS) return { filter: null, problems: [`${found.length} kinds match ${patterns.join(", ")}; write a longer pattern.`] };
  return { filter: { ...filter, kind: [...exact, ...found] }, problems: [] };
}

/** The text with another status, for the tabs of the screen. */
export function withStatus(text: string, status: string | null): string {
  const rest = words(text, []).map(textOfWord).filter((word) => !/^"?(status|is):/i.test(word));
  if (status) rest.unshift(status === "retrying" ? "is:retrying" : `status:${status}`);
  return rest.join(" ");
}

/** A word that `parse` reads like these letters. */
function textOfWord(letters: Letter[]): string {
  const colon = letters.findIndex((letter) => letter.text === ":");
  const value = letters.slice(colon + 1);
  // a comma outside of quotes separates values, so each value has its own quotes
  const parts: Letter[][] = [[]];
  for (const letter of value) {
    if (letter.text === "," && !letter.quoted) parts.push([]);
    else parts[parts.length - 1]?.push(letter);
  }
  const head = textOf(letters.slice(0, colon + 1));
  return /[\s"]/.test(head) ? quote(textOf(letters)) : head + parts.map((part) => quote(textOf(part))).join(",");
}

/** A value as it is written in a search: in quotes if a part of it would separate words or values. */
export const quote = (value: string): string => (/[\s,"]/.test(value) ? `"${value.replace(/["\\]/g, "\\$&")}"` : value);
