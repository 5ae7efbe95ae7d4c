// Redrives with their progress, newest first. One that runs can be stopped.
import { useEffect, useState } from "preact/hooks";
import { act } from "../../api";
import { useMay } from "../../context";
import { entryOf, number, several } from "../../format";
import { Badge, Card, Clock, Empty, Link, Loaded, Table, Time } from "../../parts/basics";
import { useDialogs } from "../../parts/dialog";
import { usePerform } from "../../perform";
import type { Redrive, Status } from "../../types";
import { useNow, useResource } from "../../use";

/** No stream has redrives, and they are rare: the list is read often only while one runs. */
const RUNNING_MS = 2_000;
const QUIET_MS = 60_000;
const STATES: Record<Redrive["state"], [status: Status, text: string]> = {
  running: ["running", "running"],
  done: ["completed", "done"],
  stopped: ["cancelled", "stopped"],
  failing: ["failed", "stopped: failures returned"],
};

export function Redrives() {
  const [runs, setRuns] = useState(false);
  const read = useResource<{ redrives: Redrive[] }>("dead-letters/redrives?limit=10", { everyMs: runs ? RUNNING_MS : QUIET_MS });
  const running = read.data?.redrives.some((redrive) => redrive.state === "running") ?? false;
  useEffect(() => setRuns(running), [running]);
  useEffect(() => {
    globalThis.addEventListener("redrive", read.refresh);
    return () => globalThis.removeEventListener("redrive", read.refresh);
  }, [read.refresh]);
  return (
    <Card title="Redrives">
      <Loaded of={read}>{({ redrives }) => redrives.length === 0 ? <Empty title="No redrive in the last 30 days." /> : <Rows redrives={redrives} onDone={read.refresh} />}</Loaded>
    </Card>
  );
}

function Rows({ redrives, onDone }: { redrives: Redrive[]; onDone: () => void }) {
  const may = useMay("admin");
  const now = useNow();
  return (
    <Table label="Redrives" head={<>
      <th scope="col">Of</th><th scope="col">State</th><th scope="col">Retried</th><th scope="col">Results</th><th scope="col" class="number">Rate</th><th scope="col" class="number">Began</th>
      {may ? <th scope="col"><span class="offscreen">Actions</span></th> : null}
    </>}>
      {redrives.map((redrive) => (
        <tr key={redrive.id}>
          <th scope="row"><Of filter={redrive.filter} /></th>
          <td><State of={redrive.state} /></td>
          <td><Progress redrive={redrive} /></td>
          <td>{number(redrive.succeeded)} completed, {number(redrive.failed)} failed{redrive.refused > 0 ? `, ${number(redrive.refused)} refused` : ""}{redrive.other > 0 ? `, ${number(redrive.other)} other` : ""}</td>
          <td class="number">{redrive.rate}/s</td>
          <td class="number"><Time at={redrive.created_at} now={now} /></td>
          {may ? <td class="end">{redrive.state === "running" ? <Stop redrive={redrive} onDone={onDone} /> : null}</td> : null}
        </tr>
      ))}
    </Table>
  );
}

function State({ of }: { of: Redrive["state"] }) {
  const [status, text] = entryOf(STATES, of, ["cancelled", of]);
  return <Badge status={status}>{text}</Badge>;
}

/** Its filter in words. */
function Of({ filter }: { filter: Record<string, unknown> }) {
  const now = useNow();
  const { group, failed_before, ...rest } = filter;
  const others = Object.entries(rest).filter(([, value]) => value !== null && value !== undefined);
  const until = typeof failed_before === "string" ? <> that failed before <Clock at={failed_before} now={now} /></> : null;
  if (typeof group !== "string" && others.length === 0) return <>all dead letters{until}</>;
  return (
    <>
      {typeof group === "string" ? <Link to={`dead-letters/${group}`}>group …{group.slice(-8)}</Link> : null}
      {others.map(([name, value]) => <span key={name}> {name} <code>{Array.isArray(value) ? value.join(", ") : String(value)}</code></span>)}
      {until}
    </>
  );
}

function Progress({ redrive }: { redrive: Redrive }) {
  const done = redrive.redriven + redrive.refused;
  const text = `${number(done)} of ${redrive.total === null ? "an unknown number" : number(redrive.total)}`;
  return <span class="meter"><progress max={Math.max(redrive.total ?? done, done, 1)} value={done} aria-label={text} /><span>{text}</span></span>;
}

function Stop({ redrive, onDone }: { redrive: Redrive; onDone: () => void }) {
  const { confirm } = useDialogs();
  const { busy, perform } = usePerform(onDone);
  const stop = async (): Promise<void> => {
    const left = redrive.total === null ? null : Math.max(0, redrive.total - redrive.redriven - redrive.refused);
    const body = <p>{left === null ? "The jobs that it has not retried yet" : several(left, "job")} stay dead letters. The {several(redrive.redriven, "job")} that it has retried {redrive.redriven === 1 ? "runs" : "run"} on.</p>;
    if (await confirm({ title: "Stop 1 redrive?", body, action: "Stop 1 redrive", danger: true })) await perform(() => act("POST", `dead-letters/redrives/${redrive.id}/stop`), "The redrive is stopped.");
  };
  return <button type="button" class="danger-outline" disabled={busy} onClick={() => void stop()}>Stop</button>;
}
