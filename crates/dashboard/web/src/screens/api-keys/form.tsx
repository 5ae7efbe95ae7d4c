// The fields of a key: for a new one, with as little as it needs, and for one that exists.
import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { act, now as serverNow } from "../../api";
import { useSession } from "../../context";
import { changedNames, changes, creation, DAY, EXPIRIES, isIncomplete, KEEP, mistakes, NEW_KEY, textsOf, type KeyTexts } from "../../key-form";
import { Modal, Refused } from "../../parts/dialog";
import { usePerform } from "../../perform";
import type { ApiKey } from "../../types";
import type { NewKey } from "./shown";

const SCOPES = [
  ["read", "see jobs, queues and statistics"],
  ["write", "submit jobs, and act on single jobs"],
  ["worker", "lease jobs and settle them"],
  ["admin", "act on queues and on many jobs, and manage keys"],
] as const;
const TEXTS = [
  ["queues", "Queues, with * and ?; empty for all", "mail, report-*"],
  ["kinds", "Kinds, with * and ?; empty for all", "report.*"],
  ["rate", "Most requests in a time; empty for no limit", "600/1m"],
  ["description", "Note", ""],
] as const;

interface Fields {
  texts: KeyTexts;
  set: (texts: KeyTexts) => void;
}

export function CreateForm({ onClose, onDone }: { onClose: () => void; onDone: (key: NewKey) => void }) {
  const [texts, set] = useState(NEW_KEY);
  const { busy, problem, perform } = usePerform(undefined, { inForm: true });
  const wrong = mistakes(texts, serverNow());
  const send = async (event: Event): Promise<void> => {
    event.preventDefault();
    const made = await perform(() => act<NewKey>("POST", "api-keys", creation(texts, serverNow())));
    if (made) onDone(made);
  };
  return (
    <Modal title="Create a key" onClose={onClose}>
      <form onSubmit={(event) => void send(event)}>
        <KeyFields texts={texts} set={set} options={EXPIRIES} />
        <Foot wrong={wrong} problem={problem} onClose={onClose}>
          <button type="submit" class="primary" disabled={busy || wrong.length > 0 || isIncomplete(texts)}>Create 1 key</button>
        </Foot>
      </form>
    </Modal>
  );
}

export function EditForm({ of, onClose, onDone }: { of: ApiKey; onClose: () => void; onDone: () => void }) {
  // what another user changes while the form is open is not shown in it, and stays
  const [key] = useState(of);
  const [texts, set] = useState(() => textsOf(key));
  const { busy, problem, perform } = usePerform(onDone, { inForm: true });
  const now = serverNow();
  const wrong = mistakes(texts, now);
  const body = changes(key, texts, now);
  const what = changedNames(body);
  const send = async (event: Event): Promise<void> => {
    event.preventDefault();
    if (await perform(() => act<ApiKey>("PATCH", `api-keys/${key.id}`, body), `${key.name} is changed: ${what}.`)) onClose();
  };
  const until = key.expires_at ? `as it is: ${key.expires_at.slice(0, 16).replace("T", " ")} UTC` : "as it is: never";
  return (
    <Modal title={`Change ${key.name}?`} onClose={onClose}>
      <form onSubmit={(event) => void send(event)}>
        <p class="quiet">Its text stays. Within seconds its requests are checked by the new values, and its open streams end.</p>
        {key.owner ? <p class="note">It is managed by <code>{key.owner}</code>, whose next <code>jobqueue api-key apply</code> may set other values.</p> : null}
        <KeyFields texts={texts} set={set} options={[[KEEP, until], ...EXPIRIES]} />
        <p class="quiet" role="status">{what === "" ? "Nothing is changed yet." : `Changes: ${what}.`}</p>
        <Foot wrong={wrong} problem={problem} onClose={onClose}>
          <button type="submit" class="primary" disabled={busy || wrong.length > 0 || isIncomplete(texts) || what === ""}>Change 1 key</button>
        </Foot>
      </form>
    </Modal>
  );
}

function Foot({ wrong, problem, onClose, children }: { wrong: string[]; problem: string; onClose: () => void; children: ComponentChildren }) {
  return (
    <>
      {wrong.map((sentence) => <p key={sentence} class="note bad" role="alert">{sentence}</p>)}
      <Refused problem={problem} />
      <div class="buttons">
        <button type="button" onClick={onClose}>Keep as it is</button>
        {children}
      </div>
    </>
  );
}

function KeyFields({ texts, set, options }: Fields & { options: readonly (readonly [value: string, label: string])[] }) {
  return (
    <>
      <Text name="name" label="Name" example="billing" texts={texts} set={set} focus />
      <Scopes texts={texts} set={set} />
      {TEXTS.slice(0, 2).map(([name, label, example]) => <Text key={name} name={name} label={label} example={example} texts={texts} set={set} />)}
      <label>
        <span>Hidden in answers, one in a line: payload, result, metadata, progress, log, error, or a JSON pointer</span>
        <textarea name="hide" rows={2} value={texts.hide} placeholder={"log\n/user/email"} autocomplete="off" spellcheck={false} onInput={(event) => set({ ...texts, hide: event.currentTarget.value })} />
      </label>
      {TEXTS.slice(2).map(([name, label, example]) => <Text key={name} name={name} label={label} example={example} texts={texts} set={set} />)}
      <label>
        <span>Expires</span>
        <select value={texts.expiry} onChange={(event) => set({ ...texts, expiry: event.currentTarget.value })}>{options.map(([value, label]) => <option key={value} value={value}>{label}</option>)}</select>
      </label>
      {texts.expiry === DAY ? (
        <label>
          <span>Last day</span>
          <input type="date" value={texts.day} onInput={(event) => set({ ...texts, day: event.currentTarget.value })} />
        </label>
      ) : null}
    </>
  );
}

function Scopes({ texts, set }: Fields) {
  const { scopes: mine } = useSession();
  const change = (scope: string, on: boolean): void => set({ ...texts, scopes: on ? [...texts.scopes, scope] : texts.scopes.filter((other) => other !== scope) });
  return (
    <fieldset>
      <legend>Scopes: what it may do. None includes another.</legend>
      {SCOPES.map(([scope, meaning]) => (
        <label key={scope} class="check">
          <input type="checkbox" checked={texts.scopes.includes(scope)} disabled={!mine.includes(scope)} onChange={(event) => change(scope, event.currentTarget.checked)} />
          <span><code>{scope}</code> <span class="quiet">{meaning}</span></span>
        </label>
      ))}
    </fieldset>
  );
}

function Text({ name, label, example, texts, set, focus = false }: Fields & { name: "name" | (typeof TEXTS)[number][0]; label: string; example: string; focus?: boolean }) {
  return (
    <label>
      <span>{label}</span>
      <input name={name} value={texts[name]} placeholder={example} autocomplete="off" spellcheck={false} autofocus={focus} onInput={(event) => set({ ...texts, [name]: event.currentTarget.value })} />
    </label>
  );
}
