// All workers: slots, what they run, their last heartbeat.
import { useMay, useSession } from "../context";
import { duration, number } from "../format";
import { Badge, Empty, Link, Loaded, Table, Time } from "../parts/basics";
import { Choice, Filters, TextFilter } from "../parts/filters";
import { More } from "../parts/more";
import { usePages } from "../pages";
import type { Worker, WorkerNow } from "../types";
import { useLive, useNow, useParameter } from "../use";
import { WorkerActions } from "./workers/actions";
import { Slots } from "./workers/slots";

const SHOW = [["", "All"], ["running", "That run jobs"], ["idle", "Without a job"], ["paused", "Paused"], ["draining", "Draining"]] as const;
const EVERY_MS = 30_000;

/** A worker as it was read, with what the stream has said since. */
export const merged = (worker: Worker, live: WorkerNow | undefined): Worker =>
  live ? { ...worker, paused: live.paused, draining: live.draining, running: live.running, slots: live.slots, queues: live.queues } : worker;

export function WorkersScreen() {
  const live = useLive();
  const { limited } = useSession();
  const [filter] = useParameter("filter");
  const [show] = useParameter("show");
  const pages = usePages<Worker>("workers?limit=200", "workers", (worker) => worker.id, { everyMs: EVERY_MS });
  const all = pages.entries.map((worker) => merged(worker, live.workers.get(worker.id)));
  const found = all.filter((worker) => matches(worker, filter) && isShown(worker, show));
  return (
    <>
      <h1>Workers</h1>
      <Filters label="Filter workers">
        <TextFilter name="filter" label="Name, host, queue or version" />
        <Choice name="show" label="Show" options={SHOW} />
      </Filters>
      {limited ? <p class="note">Your key sees the workers that lease only from its queues. Others may serve these queues as well.</p> : null}
      <Loaded of={pages.first}>
        {() => limited && all.length === 0 ? <Empty title="Your key sees no worker." /> : all.length === 0 ? <Empty title="No worker is alive."><p>Jobs wait until one starts. Start <code>jobqueue-worker</code>, or a worker that leases over REST.</p></Empty> : (
          <>
            {found.length === 0 ? <Empty title="No worker matches."><p><Link to="workers">Show all workers</Link></p></Empty> : <Rows workers={found} onDone={pages.refresh} gone={(id) => live.ready && !live.workers.has(id)} />}
            <More of={pages} />
          </>
        )}
      </Loaded>
    </>
  );
}

const matches = (worker: Worker, text: string): boolean =>
  text === "" || [worker.name, worker.host, worker.version, ...worker.queues].some((value) => value?.includes(text));

function isShown(worker: Worker, show: string): boolean {
  if (show === "running") return worker.running > 0;
  if (show === "idle") return worker.running === 0;
  if (show === "paused") return worker.paused;
  if (show === "draining") return worker.draining;
  return true;
}

export const State = ({ worker, gone = false }: { worker: Worker; gone?: boolean }) => {
  if (gone) return <Badge status="cancelled">ended</Badge>;
  if (worker.draining) return <Badge status="draining" />;
  return worker.paused ? <Badge status="paused" /> : <Badge status="live">{worker.running > 0 ? "running" : "idle"}</Badge>;
};

function Rows({ workers, onDone, gone }: { workers: Worker[]; onDone: () => void; gone: (id: string) => boolean }) {
  const may = useMay("admin");
  const now = useNow();
  return (
    <Table label="Workers" head={<>
      <th scope="col">Worker</th><th scope="col">State</th><th scope="col">Slots</th><th scope="col">Queues</th><th scope="col" class="number">Heartbeat</th><th scope="col" class="number">Started</th><th scope="col">Version</th>
      {may ? <th scope="col"><span class="offscreen">Actions</span></th> : null}
    </>}>
      {workers.map((worker) => (
        <tr key={worker.id}>
          <th scope="row"><Link to={`workers/${worker.id}`}>{worker.name}</Link>{worker.host && worker.host !== worker.name ? <p class="quiet">{worker.host}</p> : null}</th>
          <td><State worker={worker} gone={gone(worker.id)} /></td>
          <td><Slots worker={worker} /></td>
          <td class="details">{worker.queues.slice(0, 5).map((queue) => <Link key={queue} class="tag" to={`queues/${encodeURIComponent(queue)}`}>{queue}</Link>)}{worker.queues.length > 5 ? ` and ${number(worker.queues.length - 5)} more` : null}</td>
          <td class="number" title="Its age when this list was read">{duration(worker.heartbeat_age_seconds)}</td>
          <td class="number"><Time at={worker.started_at} now={now} /></td>
          <td>{worker.version ?? "–"}{worker.language ? <p class="quiet">{worker.language}{worker.remote ? ", over REST" : ""}</p> : null}</td>
          {may ? <td class="end"><WorkerActions worker={worker} gone={gone(worker.id)} onDone={onDone} compact /></td> : null}
        </tr>
      ))}
    </Table>
  );
}

