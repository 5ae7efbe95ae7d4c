// What can be done with one job in its status.
import { useState } from "preact/hooks";
import { useLocation } from "preact-iso";
import { act } from "../../api";
import { href } from "../../base";
import { useMay } from "../../context";
import { mergePatch, problemOf, read, write } from "../../json";
import { Modal, useDialogs } from "../../parts/dialog";
import { usePerform } from "../../perform";
import type { Job } from "../../types";

export function JobActions({ job, onChange }: { job: Job; onChange: () => void }) {
  const may = useMay("write");
  const admin = useMay("admin");
  const { confirm } = useDialogs();
  const { route } = useLocation();
  const { busy, perform } = usePerform(onChange);
  const [editing, edit] = useState<"retry" | "change" | null>(null);
  if (!may) return null;
  const path = `jobs/${job.id}`;
  // the user may be on another screen by now
  const goTo = (screen: string): void => {
    if (location.pathname === href(path)) route(href(screen));
  };
  const cancel = async (): Promise<void> => {
    const running = job.status === "running";
    const yes = await confirm({
      title: "Cancel 1 job?",
      body: <p>{running ? "Its worker is asked to stop. The job may complete before that." : "It never starts."}</p>,
      action: "Cancel 1 job",
      danger: true,
    });
    if (yes) await perform(() => act("POST", `${path}/cancel`), running ? "The worker was asked to stop." : "Cancelled.");
  };
  const remove = async (): Promise<void> => {
    const yes = await confirm({
      title: "Delete 1 job?",
      body: <p>The job is deleted with its result, attempts and logs. This cannot be undone.</p>,
      action: "Delete 1 job",
      danger: true,
    });
    if (yes && (await perform(() => act("DELETE", path), "Deleted."))) goTo("jobs");
  };
  const { status } = job;
  const waits = status === "queued" || status === "scheduled" || status === "blocked";
  return (
    <div class="actions" role="group" aria-label="Actions on this job">
      {status === "failed" || status === "cancelled" ? <button type="button" disabled={busy} onClick={() => void perform(() => act("POST", `${path}/retry`), "Queued again.")}>Retry</button> : null}
      {status === "failed" ? <button type="button" disabled={busy} onClick={() => edit("retry")}>Retry with another payload…</button> : null}
      {status === "scheduled" ? <button type="button" disabled={busy} onClick={() => void perform(() => act("POST", `${path}/promote`), "Queued.")}>Run now</button> : null}
      {waits ? <button type="button" disabled={busy} onClick={() => edit("change")}>Change the payload…</button> : null}
      {waits || status === "running" ? <button type="button" class="danger-outline" disabled={busy || job.cancel_requested} onClick={() => void cancel()}>Cancel</button> : null}
      {admin && !waits && status !== "running" ? <button type="button" class="danger-outline" disabled={busy} onClick={() => void remove()}>Delete</button> : null}
      {editing ? <Editor job={job} mode={editing} onClose={() => edit(null)} onDone={(id) => { edit(null); if (id !== job.id) goTo(`jobs/${id}`); else onChange(); }} /> : null}
    </div>
  );
}

/** Edits the payload as text, so numbers stay as they are written. */
function Editor({ job, mode, onClose, onDone }: { job: Job; mode: "retry" | "change"; onClose: () => void; onDone: (id: string) => void }) {
  const [text, set] = useState(() => write(job.payload));
  const { busy, problem, perform } = usePerform(undefined, { inForm: true });
  const invalid = problemOf(text);
  const request = async (): Promise<{ id: string }> => {
    if (mode === "retry") return act("POST", `dead-letters/${job.id}/retry`, `{"payload":${text}}`);
    const patch = mergePatch(job.payload, read(text));
    if (patch === undefined) throw new Error("A member cannot be changed to null here, because null removes it. Cancel this job and submit another one.");
    return act("PATCH", `jobs/${job.id}`, `{"payload":${write(patch, "")}}`);
  };
  const send = async (event: Event): Promise<void> => {
    event.preventDefault();
    const answer = await perform(request, mode === "retry" ? "A new job with this payload takes its place." : "The payload was changed.");
    if (answer) onDone(answer.id);
  };
  return (
    <Modal title={mode === "retry" ? "Retry with another payload" : "Change the payload"} onClose={onClose}>
      <form onSubmit={(event) => void send(event)}>
        <p class="quiet">{mode === "retry" ? "A new job with this payload takes the place of the failed one. It is like it in everything else." : "No attempt begins with the old payload once this is stored."}</p>
        <label for="payload">Payload (JSON)</label>
        <textarea id="payload" rows={14} value={text} spellcheck={false} autofocus onInput={(event) => set(event.currentTarget.value)} aria-invalid={invalid !== null} aria-describedby="payload-problem" />
        <p id="payload-problem" class={invalid || problem ? "note bad" : "quiet"} role="status">{invalid ?? problem}</p>
        <div class="buttons">
          <button type="button" onClick={onClose}>Keep as it is</button>
          <button type="submit" class="primary" disabled={busy || invalid !== null}>{mode === "retry" ? "Retry 1 job" : "Change 1 job"}</button>
        </div>
      </form>
    </Modal>
  );
}
