// One action of a user: sends it, says what came of it, and reads again.
import { useEffect, useRef, useState } from "preact/hooks";
import { useDialogs } from "./parts/dialog";

interface Performing {
  /** Whether a request is on its way. */
  busy: boolean;
  /** Why the last request failed, for a form, which shows it beside its button. */
  problem: string;
  /** Resolves to the answer, or to `undefined` after a failure, which was said. */
  perform: <T>(request: () => Promise<T>, done?: string | ((answer: T) => string)) => Promise<T | undefined>;
}

/**
 * With `inForm` a failure is not said at the edge of the page, which a dialog covers: the form shows `problem`. After the form was closed the
 * failure is said there.
 */
export function usePerform(onDone: () => void = () => {}, { inForm = false }: { inForm?: boolean } = {}): Performing {
  const [problem, setProblem] = useState("");
  const [busy, setBusy] = useState(false);
  const { say } = useDialogs();
  const isOpen = useRef(true);
  useEffect(() => () => void (isOpen.current = false), []);
  return {
    busy,
    problem,
    perform: async (request, done) => {
      setBusy(true);
      setProblem("");
      try {
        const answer = await request();
        if (done !== undefined) say(typeof done === "string" ? done : done(answer));
        onDone();
        return answer;
      } catch (error) {
        const message = error instanceof Error ? error.message : String(error);
        if (inForm && isOpen.current) setProblem(message);
        else say(message, true);
        return undefined;
      } finally {
        setBusy(false);
      }
    },
  };
}
