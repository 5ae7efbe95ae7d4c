// One action on many jobs: counts them first, then acts in steps, so that the screen can show progress and stop.
import { act } from "./api";
import type { Bulk, Status } from "./types";
import type { Filter } from "./search";
import { body } from "./search";

export type Verb = "retry" | "cancel" | "promote" | "delete";

/** Jobs in one request. */
export const STEP = 1_000;
/** A preview counts so many jobs at most. */
export const MAX_PREVIEW = 10_000;
/** Ids of jobs that could not be changed which are kept for the report. */
const MAX_FAILURES = 100;

/** The jobs to act on. */
export type Targets = { ids: string[] } | { filter: Filter };

/** What an action would change. */
export interface Preview {
  count: number;
  /** `false` if there are more. */
  exact: boolean;
  /** What to act on if the user agrees: the jobs that were counted, or those that match and were there when the count began. */
  agreed: Targets;
}

export interface Result {
  changed: number;
  failures: Bulk["failures"];
  /** How many could not be changed; more than `failures` may have. */
  failed: number;
}

/** Counts the jobs that the action would change. */
export async function preview(verb: Verb, targets: Targets, stop?: AbortSignal): Promise<Preview> {
  const ids: string[] = [];
  if ("ids" in targets) {
    for (let from = 0; from < targets.ids.length; from += STEP) {
      ids.push(...(await send(verb, { ids: targets.ids.slice(from, from + STEP), dry_run: true }, stop)).ids);
    }
    return { count: ids.length, exact: true, agreed: { ids } };
  }
  const filter = body(targets.filter);
  let began: string | null = null;
  for (let cursor: string | null = null; ; ) {
    const answer: Bulk = await send(verb, { filter, limit: STEP, ...(cursor ? { cursor } : {}), dry_run: true }, stop);
    began ??= answer.as_of;
    ids.push(...answer.ids);
    cursor = answer.next_cursor;
    if (!answer.more || cursor === null) return { count: ids.length, exact: true, agreed: { ids } };
    if (ids.length >= MAX_PREVIEW) return { count: ids.length, exact: false, agreed: { filter: until(targets.filter, began, verb) } };
  }
}

/** The filter without jobs that were submitted at this time or later, and without those that ended then, if the action is on jobs that have ended. */
function until(filter: Filter, at: string | null, verb: Verb): Filter {
  if (at === null) return filter;
  const first = (bound: string | undefined): string => (bound !== undefined && Date.parse(bound) < Date.parse(at) ? bound : at);
  const isOfEnded = verb === "retry" || verb === "delete";
  return { ...filter, created_before: first(filter.created_before), ...(isOfEnded ? { finished_before: first(filter.finished_before) } : {}) };
}

/** The jobs of a search that an action can change; `null` if it can change none of its statuses. Others would only make its number too high. */
export function targetsOf(filter: Filter, on: Status[]): Targets | null {
  const status = filter.status.length === 0 ? on : filter.status.filter((one) => on.includes(one));
  return status.length === 0 ? null : { filter: { ...filter, status } };
}

/** The steps of an action. The result is in `done` after each one. */
export function stepsOf(verb: Verb, agreed: Targets, done: Result): (limit: number) => Promise<{ done: number; more: boolean }> {
  let cursor: string | null = null;
  let from = 0;
  return async (limit) => {
    const part = "ids" in agreed ? { ids: agreed.ids.slice(from, from + limit) } : { filter: body(agreed.filter), limit, ...(cursor ? { cursor } : {}) };
    const answer = await send(verb, { ...part, dry_run: false });
    done.changed += answer.changed;
    done.failed += answer.failures.length;
    done.failures.push(...answer.failures.slice(0, MAX_FAILURES - done.failures.length));
    cursor = answer.next_cursor;
    from += limit;
    return { done: answer.changed + answer.failures.length, more: "ids" in agreed ? from < agreed.ids.length : answer.more && cursor !== null };
  };
}

const send = (verb: Verb, request: unknown, stop?: AbortSignal): Promise<Bulk> => act("POST", `jobs/${verb}`, request, stop ? { signal: stop } : {});
