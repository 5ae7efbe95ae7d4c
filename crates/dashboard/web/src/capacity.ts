// How much of what could run does run. Pure.
import type { WorkerNow } from "./types";

export interface Capacity {
  /** Workers that lease from the queue now. */
  workers: number;
  /** Their slots, which they share between all their queues; remote workers may not say theirs. */
  slots: number;
  /** How many of these workers did not say their slots. */
  unknown: number;
}

/** Who serves a queue. Workers that are paused or drain lease nothing. */
export function capacity(queue: string, workers: Iterable<WorkerNow>): Capacity {
  const sum: Capacity = { workers: 0, slots: 0, unknown: 0 };
  for (const worker of workers) {
    if (worker.paused || worker.draining || !worker.queues.includes(queue)) continue;
    sum.workers += 1;
    if (worker.slots === null) sum.unknown += 1;
    else sum.slots += worker.slots;
  }
  return sum;
}
