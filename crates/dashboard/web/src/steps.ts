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
  /** Called before a wait of so many seconds that the server asks for. */
  onWait?: (seconds: number) => void;
  /** Ends it after the step that is under way. */
  stop: AbortSignal;
  wait?: (seconds: number, stop: AbortSignal) => Promise<void>;
}

export interface Ended {
  done: number;
  /** Whether others are left because it was stopped. */
  stopped: boolean;
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

/** Ends after so many seconds, or when it is stopped. */
const pause = (seconds: number, stop: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (stop.aborted) return resolve();
    const end = (): void => {
      clearTimeout(timer);
      stop.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, seconds * 1_000);
    stop.addEventListener("abort", end);
  });

/** Acts in steps, and returns on how many. Throws `Interrupted`. */
export async function inSteps({ agreed, most, step, onProgress, onWait, stop, wait = pause }: Steps): Promise<Ended> {
  let done = 0;
  let refusals = 0;
  let more = true;
  while (!stop.aborted && more && (agreed === null || done < agreed)) {
    try {
      const answer = await step(agreed === null ? most : Math.min(most, agreed - done));
      refusals = 0;
      done += answer.done;
      more = answer.more;
      onProgress(done);
    } catch (error) {
      // only a request that was refused has surely changed nothing, so only that is sent again
      const seconds = error instanceof Problem && error.status === 429 ? (error.retryAfter ?? 1) : null;
      refusals += 1;
      if (seconds === null || seconds > MAX_WAIT_S || refusals > MAX_AGAIN) throw new Interrupted(done, error);
      onWait?.(seconds);
      await wait(seconds, stop);
    }
  }
  return { done, stopped: stop.aborted && more && (agreed === null || done < agreed) };
}
