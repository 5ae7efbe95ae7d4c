// How many slots of a worker run a job.
import { number, several } from "../../format";
import type { Worker } from "../../types";

export function Slots({ worker }: { worker: Worker }) {
  if (worker.slots === null) return <span title="This worker does not say how many slots it has">{number(worker.running)} running</span>;
  const text = `${number(worker.running)} of ${several(worker.slots, "slot")}`;
  return (
    <span class="meter">
      <progress max={worker.slots} value={Math.min(worker.running, worker.slots)} aria-label={text} />
      <span>{number(worker.running)}/{number(worker.slots)}</span>
    </span>
  );
}
