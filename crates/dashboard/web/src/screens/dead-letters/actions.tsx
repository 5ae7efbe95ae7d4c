// Retries or deletes all dead letters that match. Each counts first, and names the number.
import { useState } from "preact/hooks";
import { act } from "../../api";
import { useMay } from "../../context";
import { duration, number, several } from "../../format";
import { Modal, Refused, useDialogs } from "../../parts/dialog";
import { Progress, useSteps } from "../../parts/progress";
import { usePerform } from "../../perform";
import type { Redrive } from "../../types";

/** As the API takes it. */
export interface DeadLetterFilter {
  all?: boolean;
  group?: string;
  queue?: string[];
  kind?: string[];
  error_type?: string[];
  text?: string;
  failed_before?: string;
}

/** What the number is called if it could not be counted in time. */
const jobsOf = (total: number | null): string => (total === null ? "all matching jobs" : several(total, "job"));

/** Dead letters of one purge request. */
const STEP = 1_000;

interface Counted {
  /** Those that had failed when they were counted, so that the action hits none that fails later. */
  filter: DeadLetterFilter;
  /** `null` if there are too many to count them in time. */
  total: number | null;
}

/** Counts those that match now, by the clock of the database. */
async function count(filter: DeadLetterFilter): Promise<Counted> {
  const { total, as_of } = await act<{ total: number | null; as_of: string }>("POST", "dead-letters/redrives", { filter, dry_run: true });
  const { all: _, ...rest } = filter;
  return { filter: { ...rest, failed_before: as_of }, total };
}

export function DeadLetterActions({ filter, label, onDone }: { filter: DeadLetterFilter; label: string; onDone: () => void }) {
  const may = useMay("admin");
  const { confirm, say } = useDialogs();
  const { busy, perform } = usePerform();
  const [asked, ask] = useState<Counted | null>(null);
  const steps = useSteps();
  if (!may) return null;
  const counted = async (): Promise<Counted | undefined> => {
    const found = await perform(() => count(filter));
    if (found?.total === 0) return void say("No dead letter matches.");
    return found;
  };
  const purge = async (): Promise<void> => {
    const found = await counted();
    if (!found) return;
    const jobs = jobsOf(found.total);
    if (!(await confirm({ title: `Delete ${jobs}?`, body: <p>These dead letters are deleted with their payloads, attempts and logs. This cannot be undone.</p>, action: `Delete ${jobs}`, danger: true }))) return;
    const step = async (limit: number): Promise<{ done: number; more: boolean }> => {
      const { deleted, more } = await act<{ deleted: number; more: boolean }>("POST", "dead-letters/purge", { filter: found.filter, limit });
      return { done: deleted, more: more && deleted > 0 };
    };
    await steps.go({ label: "Purge", past: "deleted", agreed: found.total, exact: found.total !== null, most: STEP, step });
    onDone();
  };
  const isBusy = busy || steps.running !== null;
  return (
    <div class="actions" role="group" aria-label="Actions on dead letters">
      <span class="whom">{label}</span>
      <button type="button" disabled={isBusy} onClick={() => void counted().then((found) => found && ask(found))}>Redrive…</button>
      <button type="button" class="danger-outline" disabled={isBusy} onClick={() => void purge()}>Purge…</button>
      <Progress of={steps} />
      {asked ? <RedriveForm filter={asked.filter} total={asked.total} onClose={() => ask(null)} onDone={onDone} /> : null}
    </div>
  );
}

/** What the redrive may have, with the smallest and the largest value. */
const FIELDS = [
  { name: "rate", label: "Jobs per second", from: 0.01, to: 1_000, begin: "10" },
  { name: "share", label: "Stop when so many percent of the last results failed", from: 0.1, to: 100, begin: "25" },
  { name: "window", label: "Last results that count", from: 1, to: 1_000, begin: "20" },
] as const;

function RedriveForm({ filter, total, onClose, onDone }: { filter: DeadLetterFilter; total: number | null; onClose: () => void; onDone: () => void }) {
  const [texts, set] = useState<string[]>(FIELDS.map((field) => field.begin));
  const { busy, problem, perform } = usePerform(onDone, { inForm: true });
  const values = texts.map(Number);
  const wrong = FIELDS.map(({ from, to }, at) => !((values[at] ?? NaN) >= from && (values[at] ?? NaN) <= to) || texts[at]?.trim() === "");
  wrong[2] ||= !Number.isInteger(values[2]);
  const send = async (event: Event): Promise<void> => {
    event.preventDefault();
    const [rate = 0, share = 0, window = 0] = values;
    const started = await perform(() => act<Redrive>("POST", "dead-letters/redrives", { filter, rate, stop_share: share / 100, stop_window: window }), `A redrive of ${jobsOf(total)} has begun.`);
    if (started) {
      onClose();
      globalThis.dispatchEvent(new Event("redrive"));
    }
  };
  return (
    <Modal title={`Redrive ${jobsOf(total)}?`} onClose={onClose}>
      <form onSubmit={(event) => void send(event)}>
        <p class="quiet">The reaper retries them, the oldest failure first, and stops by itself when the failures return. Jobs that fail from now on are not retried.</p>
        {FIELDS.map((field, at) => (
          <label key={field.name}>
            <span>{field.label}</span>
            <input inputMode="decimal" value={texts[at] ?? ""} autofocus={at === 0} aria-invalid={wrong[at] ?? false} onInput={(event) => set(texts.map((text, other) => (other === at ? event.currentTarget.value : text)))} />
          </label>
        ))}
        <p class="quiet" role="status">{wrong.includes(true) ? FIELDS.filter((_, at) => wrong[at]).map(({ label, from, to }) => `${label}: ${number(from)} to ${number(to)}.`).join(" ") : took(total, values[0] ?? 1)}</p>
        <Refused problem={problem} />
        <div class="buttons">
          <button type="button" onClick={onClose}>Keep as it is</button>
          <button type="submit" class="primary" disabled={busy || wrong.includes(true)}>Redrive {jobsOf(total)}</button>
        </div>
      </form>
    </Modal>
  );
}

const took = (total: number | null, rate: number): string => (total === null ? "" : `At this rate it takes ${duration(Math.ceil(total / rate))} or more.`);
