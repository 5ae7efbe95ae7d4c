// The progress of an action in steps, with a button that stops it. Leaving the screen stops it as well, also before the first step.
import { useEffect, useRef, useState } from "preact/hooks";
import { duration, number, several } from "../format";
import { Interrupted, inSteps, type Steps } from "../steps";
import { useDialogs } from "./dialog";

interface Running {
  label: string;
  done: number;
  agreed: number;
  exact: boolean;
  /** The server asked to wait so many seconds before the next step. */
  waits: number | null;
}

interface Stepping {
  running: Running | null;
  stop: () => void;
  /** Aborted when the screen is left. */
  left: AbortSignal;
  /** Runs it; says how many are `past`, such as "deleted", also after a failure. `agreed` is as counted; `exact` is false if there are more. */
  go: (what: { label: string; past: string; agreed: number | null; exact: boolean; most: number; step: Steps["step"]; not?: () => number }) => Promise<void>;
}

export function useSteps(): Stepping {
  const { say } = useDialogs();
  const [running, set] = useState<Running | null>(null);
  const stop = useRef(new AbortController());
  const left = useRef(new AbortController());
  useEffect(() => () => left.current.abort(), []);
  const go: Stepping["go"] = async ({ label, past, agreed, exact, most, step, not = () => 0 }) => {
    if (left.current.signal.aborted) return;
    stop.current = new AbortController();
    const signal = AbortSignal.any([stop.current.signal, left.current.signal]);
    const show = (done: number): void => set({ label, done, agreed: agreed ?? done, exact: exact && agreed !== null, waits: null });
    const wait = (seconds: number): void => set((old) => old && { ...old, waits: seconds });
    const words = (done: number): string => `${several(done - not(), "job")} ${past}${not() > 0 ? `, ${number(not())} not` : ""}`;
    show(0);
    try {
      const { done, stopped } = await inSteps({ agreed: exact ? agreed : null, most, step, onProgress: show, onWait: wait, stop: signal });
      say(`${words(done)}${stopped ? "; then it was stopped" : ""}.`, not() > 0);
    } catch (error) {
      if (!(error instanceof Interrupted)) throw error;
      say(`${error.message} ${words(error.done)} before that.`, true);
    } finally {
      set(null);
    }
  };
  return { running, stop: () => stop.current.abort(), left: left.current.signal, go };
}

export const Progress = ({ of: { running, stop } }: { of: Stepping }) => running && (
  <div class="progress" role="status">
    <progress max={Math.max(running.agreed, running.done, 1)} value={running.done} aria-label={running.label} />
    <span>{number(running.done)} of {several(running.agreed, "job", running.exact)}{running.waits === null ? "" : `; waits ${duration(running.waits)}, as the server asked`}</span>
    <button type="button" onClick={stop}>Stop</button>
  </div>
);
