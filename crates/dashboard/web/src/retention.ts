// What a new retention of a queue deletes. Pure.
import { duration, number, several } from "./format";
import type { Count, Queue, Status } from "./types";

export const KEEP = [
  { field: "completed_retention_seconds", label: "Completed jobs", noun: "completed job", statuses: ["completed"] },
  { field: "failed_retention_seconds", label: "Failed and cancelled jobs", noun: "failed or cancelled job", statuses: ["failed", "cancelled"] },
] as const satisfies { field: keyof Queue; label: string; noun: string; statuses: Status[] }[];

/** A change of one retention. `null` is the default of the reaper, which the API does not know. */
export interface Change {
  noun: string;
  statuses: readonly Status[];
  to: number | null;
}

/** The changes that may delete jobs: all but those from a known time to a longer one. */
export function deleting(queue: Queue, values: (number | null)[]): Change[] {
  return KEEP.flatMap(({ field, noun, statuses }, at) => {
    const [from, to] = [queue[field], values[at] ?? null];
    const isSafe = from === to || (from !== null && to !== null && to > from);
    return isSafe ? [] : [{ noun, statuses, to }];
  });
}

/** The jobs that it may delete, for `GET /v1/jobs/count`. */
export function countOf(name: string, { statuses, to }: Change, now: number): string {
  const query = new URLSearchParams([["queue", name], ...statuses.map((status) => ["status", status])]);
  if (to !== null) query.set("finished_before", new Date(now - to * 1_000).toISOString());
  return `jobs/count?${query}`;
}

/** What it does, with the number. */
export function meaning({ noun, to }: Change, { count, exact }: Count): string {
  if (to === null) {
    const jobs = exact ? `Up to ${several(count, noun)}` : `${number(count)} or more ${noun}s`;
    return `How long the reaper keeps jobs by default is not known here. ${count === 0 ? `There is no ${noun} now` : `${jobs} may be deleted`}.`;
  }
  const age = `ended more than ${duration(to)} ago`;
  if (count === 0) return `No ${noun} ${age}, so none is deleted now.`;
  const jobs = exact ? several(count, noun) : `${number(count)} or more ${noun}s`;
  return `${jobs} ${age} and ${count === 1 && exact ? "is" : "are"} deleted with the next pass of the reaper.`;
}
