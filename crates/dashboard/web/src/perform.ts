// One action of a user: sends it, says what came of it, and reads again.
import { useState } from "preact/hooks";
import { useDialogs } from "./parts/dialog";

interface Performing {
  /** Whether a request is on its way. */
  busy: boolean;
  /** Resolves to the answer, or to `undefined` after a failure, which was said. */
  perform: <T>(request: () => Promise<T>, done?: string | ((answer: T) => string)) => Promise<T | undefined>;
}

export function usePerform(onDone: () => void = () => {}): Performing {
  const [busy, setBusy] = useState(false);
  const { say } = useDialogs();
  return {
    busy,
    perform: async (request, done) => {
      setBusy(true);
      try {
        const answer = await request();
        if (done !== undefined) say(typeof done === "string" ? done : done(answer));
        onDone();
        return answer;
      } catch (error) {
        say(error instanceof Error ? error.message : String(error), true);
        return undefined;
      } finally {
        setBusy(false);
      }
    },
  };
}
