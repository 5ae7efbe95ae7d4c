// Questions before an action, and messages after it. A destructive action asks and names the number.
import { createContext } from "preact";
import type { ComponentChildren } from "preact";
import { useCallback, useContext, useEffect, useMemo, useRef, useState } from "preact/hooks";

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
  /** Asks; `true` if the user agrees. */
  confirm: (question: Question) => Promise<boolean>;
  /** Shows a message for some seconds, and says it to screen readers. */
  say: (text: string, bad?: boolean) => void;
}

const Context = createContext<Dialogs>({ confirm: () => Promise.resolve(false), say: () => {} });
export const useDialogs = (): Dialogs => useContext(Context);

const SAY_MS = 6_000;

export function DialogProvider({ children }: { children: ComponentChildren }) {
  const [asked, ask] = useState<(Question & { answer: (yes: boolean) => void }) | null>(null);
  const [said, set] = useState<{ text: string; bad: boolean } | null>(null);
  const timer = useRef<number | undefined>(undefined);
  const confirm = useCallback((question: Question) => new Promise<boolean>((answer) => ask({ ...question, answer })), []);
  const say = useCallback((text: string, bad = false) => {
    window.clearTimeout(timer.current);
    set({ text, bad });
    timer.current = window.setTimeout(() => set(null), SAY_MS);
  }, []);
  const dialogs = useMemo(() => ({ confirm, say }), [confirm, say]);
  const answer = (yes: boolean): void => {
    asked?.answer(yes);
    ask(null);
  };
  return (
    <Context.Provider value={dialogs}>
      {children}
      {asked ? (
        <Modal title={asked.title} onClose={() => answer(false)}>
          <div class="text">{asked.body}</div>
          <div class="buttons">
            <button type="button" onClick={() => answer(false)}>Keep as it is</button>
            <button type="button" class={asked.danger ? "danger" : "primary"} onClick={() => answer(true)}>{asked.action}</button>
          </div>
        </Modal>
      ) : null}
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
