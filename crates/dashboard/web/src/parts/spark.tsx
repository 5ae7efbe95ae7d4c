// Small lines of the last 24 hours, one for each row of a table. They are read one after the other, and again after half an hour, so that
// a table of fifty rows costs the server little.
import { useEffect, useState } from "preact/hooks";
import { get, now } from "../api";
import { useSession } from "../context";
import { number } from "../format";
import type { Session, Statistics } from "../types";
import { useTurn } from "../use";
import { Chart } from "./chart";

/** As long as a step: fifty rows of a hundred pages are then three small requests a second. */
const KEEP_MS = 1_800_000;
const STEP_S = 1_800;
const RANGE_S = 86_400;
/** A line of this age is read again: turns come a little earlier or later. */
const OLD_MS = 0.8 * KEEP_MS;
/** Rows that have a line at most. */
const MAX_LINES = 50;

/** What was read, by session: the next key may see less. */
const sessions = new WeakMap<Session, Known>();
type Known = Map<string, { at: number; data: Statistics }>;

function knownTo(session: Session): Known {
  const known: Known = sessions.get(session) ?? new Map();
  sessions.set(session, known);
  return known;
}

/** The statistics of 24 hours of these queues or kinds. */
export function useSparks(by: "queue" | "kind", names: string[]): Map<string, Statistics> {
  const session = useSession();
  const turn = useTurn(KEEP_MS);
  const wanted = names.slice(0, MAX_LINES).join("\n");
  const [found, set] = useState(new Map<string, Statistics>());
  useEffect(() => {
    const stopped = new AbortController();
    const known = knownTo(session);
    const read = async (): Promise<void> => {
      const from = new Date(Math.floor((now() / 1000 - RANGE_S) / STEP_S) * STEP_S * 1000).toISOString();
      for (const name of wanted.split("\n").filter(Boolean)) {
        const key = `${by}=${encodeURIComponent(name)}`;
        const old = known.get(key);
        const data = old && now() - old.at < OLD_MS ? old.data : await get<Statistics>(`stats?${key}&from=${from}&step=${STEP_S}`, { signal: stopped.signal }).catch(() => undefined);
        if (stopped.signal.aborted) return;
        if (!data) continue;
        if (data !== old?.data) known.set(key, { at: now(), data });
        set((all) => new Map(all).set(name, data));
      }
    };
    void read();
    return () => stopped.abort();
  }, [by, wanted, turn, session]);
  return found;
}

/** The line of one row. `of` says which number. */
export function Spark({ data, of }: { data: Statistics | undefined; of: "ended" | "failed" }) {
  if (!data) return <span class="spark" />;
  const { completed, failed } = data.total;
  if (of === "failed") return <span class="spark"><Chart label={`${number(failed)} failed in 24 h`} lines={[{ class: "failed", values: data.points.map((point) => point.failed) }]} /></span>;
  return (
    <span class="spark">
      <Chart label={`${number(completed)} completed and ${number(failed)} failed in 24 h`} lines={[
        { class: "out", values: data.points.map((point) => point.completed) },
        ...(failed > 0 ? [{ class: "failed", values: data.points.map((point) => point.failed) }] : []),
      ]} />
    </span>
  );
}
