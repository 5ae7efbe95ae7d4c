// All queues: what waits, how busy they are, the last day, pause and resume.
import { useMemo, useState } from "preact/hooks";
import { capacity, type Capacity } from "../capacity";
import { useMay, useSession } from "../context";
import { duration, number, several } from "../format";
import { Empty, Failed, Link, Table } from "../parts/basics";
import { Choice, Filters, TextFilter } from "../parts/filters";
import { More } from "../parts/more";
import { Spark, useSparks } from "../parts/spark";
import { usePages } from "../pages";
import type { Queue, QueueNow, Statistics } from "../types";
import { useLive, useNow, useParameter } from "../use";
import { withoutStream } from "./queue";
import { PauseButton } from "./queues/pause";
import { Utilisation } from "./queues/utilisation";

const PAGE = 50;
const SHOW = [["", "All"], ["waiting", "With jobs that wait or run"], ["paused", "Paused"], ["unserved", "Without a worker"]] as const;
const SORT = [["", "By name"], ["oldest", "Longest wait first"], ["queued", "Most queued first"]] as const;

export function QueuesScreen() {
  const live = useLive();
  const now = useNow();
  const [filter] = useParameter("filter");
  const [show] = useParameter("show");
  const [sort] = useParameter("sort");
  const [most, setMost] = useState(PAGE);
  // a key that sees only some jobs gets no stream, but it gets the list of its queues
  const limited = live.connection === "limited";
  // and one that sees only some queues does not see workers that serve others as well
  const partial = useSession().limited || limited;
  const pages = usePages<Queue>(limited ? "queues?limit=200" : null, "queues", (queue) => queue.name, { everyMs: 30_000 });
  const of = useMemo(() => new Map([...live.queues.keys()].map((name) => [name, capacity(name, live.workers.values())])), [live.version]);
  const all = limited ? pages.entries.map(withoutStream) : [...live.queues.values()];
  const found = all.filter((queue) => queue.queue.includes(filter) && isShown(queue, show, of.get(queue.queue), partial)).sort(order(sort));
  const shown = limited ? found : found.slice(0, most);
  const ready = limited ? pages.first.data !== undefined : live.ready;
  const sparks = useSparks("queue", shown.map((queue) => queue.queue));
  return (
    <>
      <h1>Queues</h1>
      <Filters label="Filter queues">
        <TextFilter name="filter" label="Name contains" />
        <Choice name="show" label="Show" options={partial ? SHOW.filter(([value]) => value !== "unserved") : SHOW} />
        <Choice name="sort" label="Order" options={limited ? SORT.filter(([value]) => value !== "oldest") : SORT} />
      </Filters>
      {limited && pages.first.problem ? <Failed problem={pages.first.problem} retry={pages.first.refresh} /> : null}
      {!ready ? <p class="loading" aria-busy="true">Loading…</p> : all.length === 0 ? (
        partial ? <Empty title="This key sees no queue."><p>A queue that it may see appears with its first job or worker.</p></Empty> : <Empty title="There are no queues yet."><p>A queue appears with its first job or worker.</p></Empty>
      ) : found.length === 0 ? (
        <Empty title="No queue matches."><p><Link to="queues">Show all queues</Link></p></Empty>
      ) : (
        <Rows queues={shown} capacities={of} sparks={sparks} now={now} partial={partial} />
      )}
      {limited && ready && all.length > 0 ? <More of={pages} /> : null}
      {!limited && ready && found.length > 0 ? (
        <div class="more">
          {found.length > most ? <button type="button" onClick={() => setMost(most + PAGE)}>Show more</button> : null}
          <span class="quiet">{number(shown.length)} of {several(all.length, "queue")}</span>
        </div>
      ) : null}
    </>
  );
}

function isShown(queue: QueueNow, show: string, served: Capacity | undefined, partial: boolean): boolean {
  if (show === "waiting") return queue.queued + queue.running + queue.scheduled > 0;
  if (show === "paused") return queue.paused;
  if (show === "unserved") return !partial && (served?.workers ?? 0) === 0;
  return true;
}

/** Milliseconds since 1970 of the oldest waiting job; without one it is last. */
const since = (queue: QueueNow): number => (queue.oldest_at && queue.queued > 0 ? Date.parse(queue.oldest_at) : Infinity);

function order(sort: string): (a: QueueNow, b: QueueNow) => number {
  const byName = (a: QueueNow, b: QueueNow): number => a.queue.localeCompare(b.queue, "en", { numeric: true });
  if (sort === "oldest") return (a, b) => (since(a) === since(b) ? byName(a, b) : since(a) - since(b));
  if (sort === "queued") return (a, b) => b.queued - a.queued || byName(a, b);
  return byName;
}

function Rows({ queues, capacities, sparks, now, partial }: { queues: QueueNow[]; capacities: Map<string, Capacity>; sparks: Map<string, Statistics>; now: number; partial: boolean }) {
  const may = useMay("admin");
  return (
    <Table label="Queues" head={<>
      <th scope="col">Queue</th><th scope="col" class="number">Oldest</th><th scope="col" class="number">Queued</th><th scope="col" class="number">Running</th><th scope="col" class="number">Scheduled</th><th scope="col">Utilisation</th><th scope="col">24 h</th>
      {may ? <th scope="col"><span class="offscreen">Actions</span></th> : null}
    </>}>
      {queues.map((queue) => (
        <tr key={queue.queue}>
          <th scope="row"><Link to={`queues/${encodeURIComponent(queue.queue)}`}>{queue.queue}</Link>{queue.paused ? <> <span class="badge paused">paused</span></> : null}</th>
          <td class="number">{since(queue) === Infinity ? "–" : duration(Math.max(0, Math.floor((now - since(queue)) / 1000)))}</td>
          <td class="number">{number(queue.queued)}</td>
          <td class="number">{number(queue.running)}</td>
          <td class="number">{number(queue.scheduled)}</td>
          <td>{partial ? <span class="quiet" title="Your key does not see all workers">–</span> : <Utilisation running={queue.running} of={capacities.get(queue.queue)} />}</td>
          <td><Spark data={sparks.get(queue.queue)} of="ended" /></td>
          {may ? <td class="end"><PauseButton queue={queue} /></td> : null}
        </tr>
      ))}
    </Table>
  );
}
