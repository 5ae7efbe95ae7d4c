// A new key, with as little as it needs.
import { useState } from "preact/hooks";
import { act, now } from "../../api";
import { useSession } from "../../context";
import { Modal, Refused } from "../../parts/dialog";
import { usePerform } from "../../perform";
import type { NewKey } from "./shown";

const SCOPES = [
  ["read", "see jobs, queues and statistics"],
  ["write", "submit jobs, and act on single jobs"],
  ["worker", "lease jobs and settle them"],
  ["admin", "act on queues and on many jobs, and manage keys"],
] as const;
const EXPIRIES = [["", "never"], ["30", "in 30 days"], ["90", "in 90 days"], ["365", "in a year"]] as const;
const TEXTS = [
  ["name", "Name", "billing"],
  ["queues", "Queues, with * and ?; empty for all", "mail, report-*"],
  ["kinds", "Kinds, with * and ?; empty for all", "report.*"],
  ["hide", "Hidden in answers: payload, result, log …, or JSON pointers", "log, /user/email"],
  ["rate", "Most requests in a minute; empty for no limit", "600"],
  ["description", "Note", ""],
] as const;

/** The patterns of a list with commas; nothing if there is none. */
const list = (text: string): string[] | undefined => {
  const parts = text.split(/[,\s]+/).filter(Boolean);
  return parts.length > 0 ? parts : undefined;
};

export function CreateForm({ onClose, onDone }: { onClose: () => void; onDone: (key: NewKey) => void }) {
  const { scopes: mine } = useSession();
  const [texts, set] = useState<Record<string, string>>({});
  const [scopes, setScopes] = useState<string[]>(["read"]);
  const [expiry, setExpiry] = useState("90");
  const { busy, problem, perform } = usePerform(undefined, { inForm: true });
  const text = (name: string): string => (texts[name] ?? "").trim();
  const wrong = text("rate") !== "" && !/^[1-9]\d{0,5}$/.test(text("rate"));
  const send = async (event: Event): Promise<void> => {
    event.preventDefault();
    const body = {
      name: text("name"),
      scopes,
      queues: list(text("queues")),
      kinds: list(text("kinds")),
      hide: list(text("hide")),
      rate: text("rate") ? { requests: Number(text("rate")), per_seconds: 60 } : undefined,
      description: text("description") || undefined,
      expires_at: expiry ? new Date(now() + Number(expiry) * 86_400_000).toISOString() : undefined,
    };
    const made = await perform(() => act<NewKey>("POST", "api-keys", body));
    if (made) onDone(made);
  };
  return (
    <Modal title="Create a key" onClose={onClose}>
      <form onSubmit={(event) => void send(event)}>
        {TEXTS.slice(0, 1).map((field) => <Text key={field[0]} field={field} texts={texts} set={set} focus />)}
        <fieldset>
          <legend>Scopes: what it may do. None includes another.</legend>
          {SCOPES.map(([scope, meaning]) => (
            <label key={scope} class="check">
              <input type="checkbox" checked={scopes.includes(scope)} disabled={!mine.includes(scope)} onChange={(event) => setScopes(event.currentTarget.checked ? [...scopes, scope] : scopes.filter((other) => other !== scope))} />
              <span><code>{scope}</code> <span class="quiet">{meaning}</span></span>
            </label>
          ))}
        </fieldset>
        {TEXTS.slice(1).map((field) => <Text key={field[0]} field={field} texts={texts} set={set} />)}
        <label>
          <span>Expires</span>
          <select value={expiry} onChange={(event) => setExpiry(event.currentTarget.value)}>{EXPIRIES.map(([value, label]) => <option key={value} value={value}>{label}</option>)}</select>
        </label>
        {wrong ? <p class="note bad" role="alert">Requests in a minute: a whole number from 1 to 999,999.</p> : null}
        <Refused problem={problem} />
        <div class="buttons">
          <button type="button" onClick={onClose}>Keep as it is</button>
          <button type="submit" class="primary" disabled={busy || wrong || text("name") === "" || scopes.length === 0}>Create 1 key</button>
        </div>
      </form>
    </Modal>
  );
}

function Text({ field: [name, label, example], texts, set, focus = false }: { field: (typeof TEXTS)[number]; texts: Record<string, string>; set: (texts: Record<string, string>) => void; focus?: boolean }) {
  return (
    <label>
      <span>{label}</span>
      <input name={name} value={texts[name] ?? ""} placeholder={example} autocomplete="off" spellcheck={false} autofocus={focus} onInput={(event) => set({ ...texts, [name]: event.currentTarget.value })} />
    </label>
  );
}
