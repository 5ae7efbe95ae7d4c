// Questions before an action, and messages after it. A destructive action asks and names the number.
import { createContext } from "preact";
import type { ComponentChildren } from "preact";
import { useCallback, useContext, useEffect, useMemo, useRef, useState } from "preact/hooks";
import { useLocation } from "preact-iso";

interface Question {
  title: string;
  /** What will happen, with the number. */
  body?: ComponentChildren;
  /** The text of the button, a verb with its object: `Cancel 12 jobs`. */
  action: string;
  /** Whether something is lost by it. */
  danger?: boolean;
}

interface Dialogs {
  /** Asks; `true` if the user agrees, `false` also if what asks is left before the answer. */
  confirm: (question: Question) => Promise<boolean>;
  /** Shows a message for some seconds, and says it to screen readers. */
  say: (text: string, bad?: boolean) => void;
}

interface Provided {
  ask: (question: Question, left: AbortSignal) => Promise<boolean>;
  say: Dialogs["say"];
}

const Context = createContext<Provided>({ ask: () => Promise.resolve(false), say: () => {} });

/** The questions of a component end with it: an action whose screen was left must not begin on another one. */
export function useDialogs(): Dialogs {
  const { ask, say } = useContext(Context);
  const left = useRef(new AbortController());
  useEffect(() => () => left.current.abort(), []);
  return useMemo(() => ({ confirm: (question) => ask(question, left.current.signal), say }), [ask, say]);
}

const SAY_MS = 6_000;

/** `url` is the screen on which it was asked. */
type Asked = Question & { url: string; answer: (yes: boolean) => void };

export function DialogProvider({ children }: { children: ComponentChildren }) {
  const { url } = useLocation();
  // one after the other: a question must not take the place of another one under the pointer
  const [questions, set] = useState<Asked[]>([]);
  const latest = useRef({ url, questions });
  latest.current = { url, questions };
  const [said, setSaid] = useState<{ text: string; bad: boolean } | null>(null);
  const timer = useRef<number | undefined>(undefined);
  const ask = useCallback<Provided["ask"]>((question, left) => new Promise((resolve) => {
    if (left.aborted) return resolve(false);
    const asked: Asked = {
      ...question,
      url: latest.current.url,
      answer: (yes) => {
        resolve(yes);
        set((all) => all.filter((one) => one !== asked));
      },
    };
    left.addEventListener("abort", () => asked.answer(false), { once: true });
    set((all) => [...all, asked]);
  }), []);
  useEffect(() => latest.current.questions.filter((one) => one.url !== url).forEach((one) => one.answer(false)), [url]);
  const say = useCallback((text: string, bad = false) => {
    window.clearTimeout(timer.current);
    setSaid({ text, bad });
    timer.current = window.setTimeout(() => setSaid(null), SAY_MS);
  }, []);
  const provided = useMemo(() => ({ ask, say }), [ask, say]);
  return (
    <Context.Provider value={provided}>
      {children}
      {questions.slice(0, 1).map(({ title, body, action, danger, answer }) => (
        <Modal key={answer} title={title} onClose={() => answer(false)}>
          <div class="text">{body}</div>
          <div class="buttons">
            <button type="button" onClick={() => answer(false)}>Keep as it is</button>
            <button type="button" class={danger ? "danger" : "primary"} onClick={() => answer(true)}>{action}</button>
          </div>
        </Modal>
      ))}
      <div class="toast" role="status" aria-live="polite">{said ? <p class={said.bad ? "bad" : ""}>{said.text}</p> : null}</div>
    </Context.Provider>
  );
}

/** Why a form was refused, inside of its dialog: what is outside cannot be reached while it is open. */
export const Refused = ({ problem }: { problem: string }) => (problem ? <p class="note bad" role="alert">{problem}</p> : null);

/** A dialog. The browser keeps the focus inside, closes it with Escape, and returns the focus. */
export function Modal({ title, onClose, children }: { title: string; onClose: () => void; children: ComponentChildren }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const before = document.activeElement;
    dialog.current?.showModal();
    return () => before instanceof HTMLElement && before.focus();
  }, []);
  return (
    <dialog ref={dialog} aria-label={title} onCancel={(event) => { event.preventDefault(); onClose(); }}>
      <h2>{title}</h2>
      {children}
    </dialog>
  );
}
