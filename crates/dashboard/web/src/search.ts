// The search language of the list of jobs: `kind:report.* status:failed tag:vip error:Timeout payload.user=42 before:2h`. Pure.
import type { Status } from "./types";

const STATUSES: Status[] = ["blocked", "scheduled", "queued", "running", "completed", "failed", "cancelled"];
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
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
  for (const word of words(text, search.problems)) term(word, now, search);
  return search;
}

/** Words are separated by spaces; a part in quotes may contain some. */
export function words(text: string, problems: string[] = []): string[] {
  const found: string[] = [];
  let word = "";
  let quoted = false;
  let some = false;
  for (const character of text) {
    if (character === '"') {
      quoted = !quoted;
      some = true;
    } else if (/\s/.test(character) && !quoted) {
      if (word || some) found.push(word);
      word = "";
      some = false;
    } else word += character;
  }
  if (quoted) problems.push("A quote is not closed.");
  if (word || some) found.push(word);
  return found;
}

function term(word: string, now: number, search: Search): void {
  const { filter, problems } = search;
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
  const colon = word.indexOf(":");
  const name = word.slice(0, colon).toLowerCase();
  const value = word.slice(colon + 1);
  if (colon < 1) {
    problems.push(`\`${word}\` needs a qualifier, such as kind:${word || "name"} or queue:${word || "name"}.`);
  } else if (value === "") {
    problems.push(`\`${name}:\` needs a value.`);
  } else qualifier(name, value, now, search);
}

function qualifier(name: string, value: string, now: number, { filter, problems }: Search): void {
  const values = value.split(",").filter(Boolean);
  switch (name) {
    case "status":
      for (const status of values) {
        if (status === "retrying") retrying(filter);
        else if (STATUSES.includes(status as Status)) filter.status.push(status as Status);
        else problems.push(`\`${status}\` is no status; there are ${STATUSES.join(", ")}.`);
      }
      return;
    case "is":
      if (value === "retrying") retrying(filter);
      else problems.push(`\`is:${value}\` is unknown; there is is:retrying.`);
      return;
    case "queue":
      return void filter.queue.push(...values);
    case "kind":
      return void filter.kind.push(...values);
    case "tag":
      return void filter.tag.push(...values);
    case "error":
      return void filter.error_type.push(...values);
    case "key":
      return void filter.unique_key.push(value);
    case "before":
      return time("created_before", name, value, now, filter, problems);
    case "after":
      return time("created_after", name, value, now, filter, problems);
    case "ended-before":
      return time("finished_before", name, value, now, filter, problems);
    case "ended-after":
      return time("finished_after", name, value, now, filter, problems);
    default:
      problems.push(`\`${name}:\` is unknown; there are status, is, queue, kind, tag, error, key, before, after, ended-before and ended-after.`);
  }
}

function retrying(filter: Filter): void {
  filter.retrying = true;
}

function time(
  field: "created_before" | "created_after" | "finished_before" | "finished_after",
  name: string,
  value: string,
  now: number,
  filter: Filter,
  problems: string[],
): void {
  const at = instant(value, now);
  if (at === null) problems.push(`\`${name}:${value}\` is no time: write 30m, 2h, 14d, 2026-11-30 or 2026-11-30T10:00:00Z.`);
  else filter[field] = new Date(at).toISOString();
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

/** The text with another status, for the tabs of the screen. */
export function withStatus(text: string, status: string | null): string {
  const rest = words(text).filter((word) => !/^(status|is):/i.test(word)).map(quote);
  if (status) rest.unshift(status === "retrying" ? "is:retrying" : `status:${status}`);
  return rest.join(" ");
}

const quote = (word: string): string => (/\s/.test(word) || word === "" ? `"${word}"` : word);
