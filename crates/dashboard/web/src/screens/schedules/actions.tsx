// Runs a schedule now, pauses it, resumes it.
import { act } from "../../api";
import { useMay } from "../../context";
import { useDialogs } from "../../parts/dialog";
import { usePerform } from "../../perform";
import type { Job, Schedule } from "../../types";

export function ScheduleActions({ schedule, onDone }: { schedule: Schedule; onDone: () => void }) {
  const may = useMay("write");
  const admin = useMay("admin");
  const { confirm } = useDialogs();
  const { busy, perform } = usePerform(onDone);
  const { name } = schedule;
  const path = `schedules/${encodeURIComponent(name)}`;
  const run = async (): Promise<void> => {
    const body = <p>1 job of kind <code>{schedule.spec.job.kind}</code> is submitted now. No tick moves, and a pause does not matter.</p>;
    if (await confirm({ title: `Run ${name} now?`, body, action: "Submit 1 job" })) await perform(() => act<Job>("POST", `${path}/run`), (job) => `Job …${job.id.slice(-8)} is ${job.status}.`);
  };
  const pause = async (): Promise<void> => {
    const body = <p>There are no ticks until it is resumed, and none of them is made up for then.</p>;
    if (await confirm({ title: `Pause ${name}?`, body, action: "Pause 1 schedule", danger: true })) await perform(() => act("POST", `${path}/pause`), `${name} is paused.`);
  };
  return (
    <div class="actions tight" role="group" aria-label={`Actions on ${name}`}>
      {may ? <button type="button" disabled={busy || schedule.status === "failed"} aria-label={`Run now: ${name}`} onClick={() => void run()}>Run now</button> : null}
      {!admin ? null : schedule.paused_at ? (
        <button type="button" disabled={busy} aria-label={`Resume ${name}`} onClick={() => void perform(() => act("POST", `${path}/resume`), `${name} is resumed.`)}>Resume</button>
      ) : (
        <button type="button" disabled={busy} aria-label={`Pause ${name}`} onClick={() => void pause()}>Pause</button>
      )}
    </div>
  );
}
