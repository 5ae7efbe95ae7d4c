// One action on many objects, in steps: shows progress, can be stopped, and acts on no more than the user agreed to.
import { Problem } from "./api";

/** A refused step is sent again so often. */
const MAX_AGAIN = 5;
/** The longest wait before that. */
const MAX_WAIT_S = 60;

export interface Steps {
  /** How many the user agreed to; `null` if they could not be counted: then it goes on until none is left. */
  agreed: number | null;
  /** Most in one request. */
  most: number;
  /** Acts on up to `limit`. `done` is on how many; `more` is whether others are left. */
  step: (limit: number) => Promise<{ done: number; more: boolean }>;
  onProgress: (done: number) => void;
  /** Ends it after the step that is under way. */
  stop: AbortSignal;
  wait?: (seconds: number) => Promise<void>;
}

/** A step failed after others had their effect. */
export class Interrupted extends Error {
  constructor(
    readonly done: number,
    readonly reason: unknown,
  ) {
    super(reason instanceof Error ? reason.message : String(reason));
  }
}

const pause = (seconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, seconds * 1_000));

/** Acts in steps, and returns on how many. Throws `Interrupted`. */
export async function inSteps({ agreed, most, step, onProgress, stop, wait = pause }: Steps): Promise<number> {
  let done = 0;
  let refusals = 0;
  while (!stop.aborted && (agreed === null || done < agreed)) {
    try {
      const answer = await step(agreed === null ? most : Math.min(most, agreed - done));
      refusals = 0;
      done += answer.done;
      onProgress(done);
      if (!answer.more) break;
    } catch (error) {
      // only a request that was refused has surely changed nothing, so only that is sent again
      const seconds = error instanceof Problem && error.status === 429 ? (error.retryAfter ?? 1) : null;
      refusals += 1;
      if (seconds === null || seconds > MAX_WAIT_S || refusals > MAX_AGAIN) throw new Interrupted(done, error);
      await wait(seconds);
    }
  }
  return done;
}
