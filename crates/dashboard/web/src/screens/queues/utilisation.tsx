// How many slots of its workers a queue uses.
import type { Capacity } from "../../capacity";
import { number, several } from "../../format";

export function Utilisation({ running, of }: { running: number; of: Capacity | undefined }) {
  if (!of || of.workers === 0) return <span class="quiet">no worker</span>;
  if (of.slots === 0) return <span class="quiet">{several(of.workers, "worker")}</span>;
  const text = `${number(running)} of ${several(of.slots, "slot")}${of.unknown > 0 ? " or more" : ""}`;
  return (
    <span class="meter" title={`Slots of ${several(of.workers, "worker")} that take jobs from this queue. They share them between all their queues.`}>
      <progress max={of.slots} value={Math.min(running, of.slots)} aria-label={text} />
      <span>{number(running)}/{number(of.slots)}{of.unknown > 0 ? "+" : ""}</span>
    </span>
  );
}
