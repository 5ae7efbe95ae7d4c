// The progress of an action in steps, with a button that stops it. Leaving the screen stops it as well.
import { useEffect, useRef, useState } from "preact/hooks";
import { number, several } from "../format";
import { Interrupted, inSteps, type Steps } from "../steps";
import { useDialogs } from "./dialog";

interface Running {
  label: string;
  done: number;
  agreed: number;
  exact: boolean;
}

interface Stepping {
  running: Running | null;
  stop: () => void;
  /** Runs it; says how many are `past`, such as "deleted", also after a failure. `agreed` is as counted; `exact` is false if there are more. */
  go: (what: { label: string; past: string; agreed: number | null; exact: boolean; most: number; step: Steps["step"]; not?: () => number }) => Promise<void>;
}

export function useSteps(): Stepping {
  const { say } = useDialogs();
  const [running, set] = useState<Running | null>(null);
  const stop = useRef(new AbortController());
  useEffect(() => () => stop.current.abort(), []);
  const go: Stepping["go"] = async ({ label, past, agreed, exact, most, step, not = () => 0 }) => {
    stop.current = new AbortController();
    const signal = stop.current.signal;
    const show = (done: number): void => set({ label, done, agreed: agreed ?? done, exact: exact && agreed !== null });
    const words = (done: number): string => `${several(done - not(), "job")} ${past}${not() > 0 ? `, ${number(not())} not` : ""}`;
    show(0);
    try {
      const done = await inSteps({ agreed: exact ? agreed : null, most, step, onProgress: show, stop: signal });
      say(`${words(done)}${signal.aborted ? "; then it was stopped" : ""}.`, not() > 0);
    } catch (error) {
      if (!(error instanceof Interrupted)) throw error;
      say(`${error.message} ${words(error.done)} before that.`, true);
    } finally {
      set(null);
    }
  };
  return { running, stop: () => stop.current.abort(), go };
}

export const Progress = ({ of: { running, stop } }: { of: Stepping }) => running && (
  <div class="progress" role="status">
    <progress max={Math.max(running.agreed, running.done, 1)} value={running.done} aria-label={running.label} />
    <span>{number(running.done)} of {several(running.agreed, "job", running.exact)}</span>
    <button type="button" onClick={stop}>Stop</button>
  </div>
);
