// What can be done with one job in its status.
import { useState } from "preact/hooks";
import { useLocation } from "preact-iso";
import { act } from "../../api";
import { href } from "../../base";
import { useMay } from "../../context";
import { mergePatch, problemOf, read, write } from "../../json";
import { Modal, useDialogs } from "../../parts/dialog";
import type { Job } from "../../types";

export function JobActions({ job, onChange }: { job: Job; onChange: () => void }) {
  const may = useMay("write");
  const admin = useMay("admin");
  const { confirm, say } = useDialogs();
  const { route } = useLocation();
  const [editing, edit] = useState<"retry" | "change" | null>(null);
  const [busy, setBusy] = useState(false);
  if (!may) return null;
  const perform = async (request: () => Promise<unknown>, done: string): Promise<void> => {
    setBusy(true);
    try {
      await request();
      say(done);
      onChange();
    } catch (error) {
      say(error instanceof Error ? error.message : String(error), true);
    } finally {
      setBusy(false);
    }
  };
  const path = `jobs/${job.id}`;
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
    if (!yes) return;
    await perform(() => act("DELETE", path), "Deleted.");
    route(href("jobs"));
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
      {editing ? <Editor job={job} mode={editing} onClose={() => edit(null)} onDone={(id) => { edit(null); if (id && id !== job.id) route(href(`jobs/${id}`)); else onChange(); }} /> : null}
    </div>
  );
}

/** Edits the payload as text, so numbers stay as they are written. */
function Editor({ job, mode, onClose, onDone }: { job: Job; mode: "retry" | "change"; onClose: () => void; onDone: (id: string | null) => void }) {
  const [text, set] = useState(() => write(job.payload));
  const [problem, setProblem] = useState("");
  const { say } = useDialogs();
  const invalid = problemOf(text);
  const send = async (event: Event): Promise<void> => {
    event.preventDefault();
    try {
      if (mode === "retry") {
        const answer = await act<{ id: string }>("POST", `dead-letters/${job.id}/retry`, `{"payload":${text}}`);
        say("A new job with this payload takes its place.");
        onDone(answer.id);
      } else {
        const patch = mergePatch(job.payload, read(text));
        if (patch === undefined) return setProblem("A member cannot be changed to null here, because null removes it. Cancel this job and submit another one.");
        await act("PATCH", `jobs/${job.id}`, `{"payload":${write(patch, "")}}`);
        say("The payload was changed.");
        onDone(null);
      }
    } catch (error) {
      setProblem(error instanceof Error ? error.message : String(error));
    }
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
          <button type="submit" class="primary" disabled={invalid !== null}>{mode === "retry" ? "Retry 1 job" : "Change 1 job"}</button>
        </div>
      </form>
    </Modal>
  );
}
