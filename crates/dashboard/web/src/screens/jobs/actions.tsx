// Actions on many jobs: on the selected ones, or on all that match the search. Each asks first and names the number.
import { useState } from "preact/hooks";
import { preview, STEP, stepsOf, targetsOf, type Result, type Targets, type Verb } from "../../bulk";
import { useMay } from "../../context";
import { number, several } from "../../format";
import { useDialogs } from "../../parts/dialog";
import { Link } from "../../parts/basics";
import { Progress, useSteps } from "../../parts/progress";
import type { Filter } from "../../search";
import type { Status } from "../../types";

const VERBS: { verb: Verb; label: string; past: string; on: Status[]; danger: boolean; meaning: string }[] = [
  { verb: "retry", label: "Retry", past: "queued again", on: ["failed", "cancelled"], danger: false, meaning: "Failed and cancelled jobs are queued again, with all their attempts." },
  { verb: "promote", label: "Run now", past: "queued", on: ["scheduled"], danger: false, meaning: "Scheduled jobs and jobs that wait for a retry are queued now." },
  { verb: "cancel", label: "Cancel", past: "cancelled", on: ["blocked", "scheduled", "queued", "running"], danger: true, meaning: "Waiting jobs never start. Workers are asked to stop running ones." },
  { verb: "delete", label: "Delete", past: "deleted", on: ["completed", "failed", "cancelled"], danger: true, meaning: "Final jobs are deleted with their results, attempts and logs. This cannot be undone." },
];

interface Properties {
  filter: Filter;
  /** The filter of the search now: `2h` refers to the time of the action. `null` if it cannot be known. */
  filterNow: () => Filter | null;
  ids: string[];
  shown: number;
  onDone: () => void;
  onClear: () => void;
}

export function Actions({ filter, filterNow, ids, shown, onDone, onClear }: Properties) {
  const may = useMay("admin");
  const { confirm, say } = useDialogs();
  const [busy, setBusy] = useState("");
  const [report, setReport] = useState<Result | null>(null);
  const steps = useSteps();
  if (!may) return null;
  const selected = ids.length > 0;
  const possible = (on: Status[]): boolean => selected || filter.status.length === 0 ? !filter.retrying || on.includes("scheduled") : filter.status.some((status) => on.includes(status));
  const start = async ({ verb, label, past, on, danger, meaning }: (typeof VERBS)[number]): Promise<void> => {
    const all = filterNow();
    if (!selected && !all) return;
    const targets: Targets | null = selected || !all ? { ids } : targetsOf(all, on);
    if (!targets) return say("No job can be changed like this.");
    setReport(null);
    setBusy(verb);
    try {
      const { count, exact, agreed } = await preview(verb, targets, steps.left);
      if (count === 0) return say("No job can be changed like this.");
      const jobs = several(count, "job", exact);
      const yes = await confirm({
        title: `${label} ${jobs}?`,
        body: <><p>{selected ? `${several(ids.length, "job")} ${ids.length === 1 ? "is" : "are"} selected, and ${number(count)} can be changed. ` : "All jobs that match the search. "}{meaning}</p></>,
        action: `${label} ${jobs}`,
        danger,
      });
      if (!yes) return;
      const result: Result = { changed: 0, failures: [], failed: 0 };
      await steps.go({ label, past, agreed: count, exact, most: STEP, step: stepsOf(verb, agreed, result), not: () => result.failed });
      setReport(result.failed > 0 ? result : null);
      onDone();
    } catch (error) {
      if (!steps.left.aborted) say(error instanceof Error ? error.message : String(error), true);
    } finally {
      setBusy("");
    }
  };
  return (
    <div class="actions" role="group" aria-label="Actions on jobs">
      <span class="whom">{selected ? <>{several(ids.length, "job")} selected <button type="button" class="link" onClick={onClear}>clear</button></> : "All that match:"}</span>
      {VERBS.filter(({ on }) => possible(on)).map((entry) => (
        <button key={entry.verb} type="button" class={entry.danger ? "danger-outline" : ""} disabled={busy !== "" || (shown === 0 && !selected)} onClick={() => void start(entry)}>
          {busy === entry.verb && !steps.running ? "Counting…" : entry.label}
        </button>
      ))}
      <Progress of={steps} />
      {report ? (
        <details class="note bad">
          <summary>{several(report.failed, "job")} could not be changed</summary>
          <ul>{report.failures.map((failure) => <li key={failure.id}><Link to={`jobs/${failure.id}`} class="id">{failure.id}</Link> {failure.code}</li>)}</ul>
        </details>
      ) : null}
    </div>
  );
}
