// Pauses a queue, or resumes it.
import { act } from "../../api";
import { several } from "../../format";
import { useDialogs } from "../../parts/dialog";
import { usePerform } from "../../perform";
import type { QueueNow } from "../../types";

/** What a pause means for the jobs of a queue. */
const meaning = ({ queued, scheduled, running }: QueueNow): string =>
  `${several(queued, "queued job")} and ${several(scheduled, "scheduled job")} wait until it is resumed. ${running === 0 ? "None runs now." : `${several(running, "running job")} ${running === 1 ? "goes" : "go"} on.`}`;

export function PauseButton({ queue, onDone }: { queue: QueueNow; onDone?: () => void }) {
  const { confirm } = useDialogs();
  const { busy, perform } = usePerform(onDone);
  const name = queue.queue;
  const path = `queues/${encodeURIComponent(name)}`;
  const pause = async (): Promise<void> => {
    if (await confirm({ title: `Pause ${name}?`, body: <p>{meaning(queue)}</p>, action: "Pause 1 queue", danger: true })) {
      await perform(() => act("POST", `${path}/pause`), `${name} is paused.`);
    }
  };
  return queue.paused ? (
    <button type="button" disabled={busy} aria-label={`Resume ${name}`} onClick={() => void perform(() => act("POST", `${path}/resume`), `${name} is resumed.`)}>Resume</button>
  ) : (
    <button type="button" disabled={busy} aria-label={`Pause ${name}`} onClick={() => void pause()}>Pause</button>
  );
}
