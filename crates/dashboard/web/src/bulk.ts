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

export interface Result {
  changed: number;
  failures: Bulk["failures"];
  /** How many could not be changed; more than `failures` may have. */
  failed: number;
}

/** How many jobs the action would change; `exact` is false if there are more. */
export async function preview(verb: Verb, targets: Targets): Promise<{ count: number; exact: boolean }> {
  let count = 0;
  for (let cursor: string | null = null; ; ) {
    const answer: Bulk = await step(verb, targets, cursor, true, STEP);
    count += answer.ids.length;
    cursor = answer.next_cursor;
    if (!answer.more || cursor === null) return { count, exact: true };
    if (count >= MAX_PREVIEW) return { count, exact: false };
  }
}

/** The statuses of a search that an action can change. Others would only make its number too high. */
export const targetsOf = (filter: Filter, on: Status[]): Targets => ({
  filter: { ...filter, status: filter.status.length === 0 ? on : filter.status.filter((status) => on.includes(status)) },
});

/** The steps of an action. The result is in `done` after each one. */
export function stepsOf(verb: Verb, targets: Targets, done: Result): (limit: number) => Promise<{ done: number; more: boolean }> {
  let cursor: string | null = null;
  return async (limit) => {
    const answer: Bulk = await step(verb, targets, cursor, false, limit);
    done.changed += answer.changed;
    done.failed += answer.failures.length;
    done.failures.push(...answer.failures.slice(0, MAX_FAILURES - done.failures.length));
    cursor = answer.next_cursor;
    return { done: answer.changed + answer.failures.length, more: answer.more && cursor !== null };
  };
}

const step = (verb: Verb, targets: Targets, cursor: string | null, dry_run: boolean, limit: number): Promise<Bulk> =>
  act("POST", `jobs/${verb}`, {
    ...("ids" in targets ? { ids: targets.ids } : { filter: body(targets.filter), limit }),
    ...(cursor ? { cursor } : {}),
    dry_run,
  });
