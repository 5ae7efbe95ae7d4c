// One queue: its numbers, its workers, how long jobs are kept, pause and purge.
import { useState } from "preact/hooks";
import { act, get, now as serverNow } from "../api";
import { capacity } from "../capacity";
import { useMay, useSession } from "../context";
import { duration, number, several } from "../format";
import { Badge, Card, Clock, Empty, Fact, Failed, Link, Loaded } from "../parts/basics";
import { Refused, useDialogs } from "../parts/dialog";
import { Progress, useSteps } from "../parts/progress";
import { usePerform } from "../perform";
import { countOf, deleting, KEEP, meaning } from "../retention";
import { seconds, span } from "../span";
import type { Count, Purged, Queue, QueueNow, WorkerNow } from "../types";
import { whyUnknown } from "../unknown";
import { useLive, useNow, useParameter, useResource, type Resource } from "../use";
import { Charts, RANGES, useStatistics } from "./overview";
import { PauseButton } from "./queues/pause";
import { Utilisation } from "./queues/utilisation";

export function QueueScreen({ name }: { name: string }) {
  const live = useLive();
  const { limited } = useSession();
  const settings = useResource<Queue>(`queues/${encodeURIComponent(name)}`, { everyMs: 60_000 });
  const listed = live.ready ? live.queues.get(name) : undefined;
  const now = listed ?? (settings.data ? withoutStream(settings.data) : undefined);
  if (settings.problem?.status === 404) return <><h1>{name}</h1><Empty title="There is no such queue."><p><Link to="queues">Show all queues</Link></p></Empty></>;
  return (
    <>
      <div class="head">
        <p class="crumbs"><Link to="queues">Queues</Link></p>
        <h1>{name} {now?.paused ? <Badge status="paused" /> : null}</h1>
        {now ? <Actions key={name} queue={now} onDone={settings.refresh} /> : null}
      </div>
      {settings.problem ? <Failed problem={settings.problem} retry={settings.refresh} /> : null}
      <div class="columns">
        {now ? <Now queue={now} settings={settings.data} workers={live.ready && !limited ? [...live.workers.values()] : null} isListed={listed !== undefined} unknown={whyUnknown(live.connection)} /> : settings.problem ? null : <p class="loading" aria-busy="true">Loading…</p>}
        <Retention key={name} name={name} settings={settings} />
      </div>
      <History name={name} />
    </>
  );
}

/** The queue as the list of queues has it, which does not say since when its oldest job waits. */
export const withoutStream = (queue: Queue): QueueNow => ({
  queue: queue.name, paused: queue.paused, queued: queue.queued, running: queue.running, scheduled: queue.scheduled,
  oldest_at: null, created: 0, completed: 0, failed: 0, cancelled: 0, retried: 0,
});

/** One request deletes so many jobs at most. */
const STEP = 100_000;

function Actions({ queue, onDone }: { queue: QueueNow; onDone: () => void }) {
  const may = useMay("admin");
  const { confirm, say } = useDialogs();
  const { busy, perform } = usePerform();
  const steps = useSteps();
  const path = `queues/${encodeURIComponent(queue.queue)}/purge`;
  const purge = async (): Promise<void> => {
    const found = await perform(() => act<Purged>("POST", path, { dry_run: true }));
    if (!found) return;
    if (found.matched === 0) return say("No job waits in this queue.");
    const { matched, exact, as_of } = found;
    const jobs = several(matched, "waiting job", exact);
    const yes = await confirm({ title: `Delete ${jobs}?`, body: <p>All jobs that wait in <code>{queue.queue}</code> are deleted: queued, scheduled and blocked ones. Running and ended jobs stay. This cannot be undone.</p>, action: `Delete ${jobs}`, danger: true });
    if (!yes) return;
    const step = async (limit: number): Promise<{ done: number; more: boolean }> => {
      const { purged, more } = await act<Purged>("POST", path, { limit, created_before: as_of });
      return { done: purged, more: more && purged > 0 };
    };
    await steps.go({ label: "Delete", past: "deleted", agreed: matched, exact, most: STEP, step });
    onDone();
  };
  return (
    <div class="actions" role="group" aria-label="Actions on this queue">
      <Link class="button" to={`jobs?q=${encodeURIComponent(`queue:${queue.queue}`)}`}>Show jobs</Link>
      {may ? <PauseButton queue={queue} onDone={onDone} /> : null}
      {may ? <button type="button" class="danger-outline" disabled={busy || steps.running !== null} onClick={() => void purge()}>Delete waiting jobs…</button> : null}
      <Progress of={steps} />
    </div>
  );
}

/** `workers` are `null` without the stream, and for a key that does not see all of them. The queue is listed if the stream has said it; `why` is why not. */
function Now({ queue, settings, workers, isListed, unknown: why }: { queue: QueueNow; settings: Queue | undefined; workers: WorkerNow[] | null; isListed: boolean; unknown: string }) {
  const now = useNow();
  const serving = (workers ?? []).filter((worker) => worker.queues.includes(queue.queue));
  const { limited } = useSession();
  const unknown = <span class="quiet">{limited ? "not known: your key does not see all workers" : why}</span>;
  const search = (status: string): string => `jobs?q=${encodeURIComponent(`status:${status} queue:${queue.queue}`)}`;
  return (
    <Card title="Now">
      <dl class="facts">
        <Fact name="Oldest wait">{queue.oldest_at && queue.queued > 0 ? duration(Math.max(0, Math.floor((now - Date.parse(queue.oldest_at)) / 1000))) : queue.queued === 0 ? "no job waits for a worker" : isListed ? "–" : <span class="quiet">{why}</span>}</Fact>
        <Fact name="Queued"><Link to={search("queued")}>{number(queue.queued)}</Link></Fact>
        <Fact name="Running"><Link to={search("running")}>{number(queue.running)}</Link></Fact>
        <Fact name="Scheduled"><Link to={search("scheduled")}>{number(queue.scheduled)}</Link></Fact>
        <Fact name="Utilisation">{workers ? <Utilisation running={queue.running} of={capacity(queue.queue, workers)} /> : unknown}</Fact>
        {settings?.paused_at ? <Fact name="Paused since"><Clock at={settings.paused_at} now={now} /></Fact> : null}
        <Fact name="Workers">{workers === null ? unknown : serving.length === 0 ? "none leases from this queue" : serving.slice(0, 20).map((worker) => <Link key={worker.worker_id} class="tag" to={`workers/${worker.worker_id}`}>{worker.name}</Link>)}{serving.length > 20 ? ` and ${number(serving.length - 20)} more` : null}</Fact>
      </dl>
    </Card>
  );
}

const kept = (value: number | null): string => (value === null ? "the default" : duration(value));

function Retention({ name, settings }: { name: string; settings: Resource<Queue> }) {
  const may = useMay("admin");
  const [editing, edit] = useState(false);
  return (
    <Card title="How long jobs are kept" side={may && settings.data && !editing ? <button type="button" onClick={() => edit(true)}>Change</button> : null}>
      <Loaded of={settings}>
        {(queue) => editing ? <Editor name={name} queue={queue} onDone={() => { edit(false); settings.refresh(); }} /> : (
          <dl class="facts">{KEEP.map(({ field, label }) => <Fact key={field} name={label}>{kept(queue[field])}</Fact>)}</dl>
        )}
      </Loaded>
    </Card>
  );
}

function Editor({ name, queue, onDone }: { name: string; queue: Queue; onDone: () => void }) {
  const [texts, set] = useState(KEEP.map(({ field }) => (queue[field] === null ? "" : span(queue[field] ?? 0))));
  const { confirm } = useDialogs();
  const { busy, problem, perform } = usePerform(undefined, { inForm: true });
  const values = texts.map((text) => (text.trim() === "" ? null : seconds(text)));
  const wrong = texts.map((text, at) => text.trim() !== "" && values[at] === null);
  const save = async (event: Event): Promise<void> => {
    event.preventDefault();
    const patch = Object.fromEntries(KEEP.map(({ field }, at) => [field, values[at] ?? null]));
    const changes = deleting(queue, values);
    if (changes.length > 0) {
      const counts = await perform(() => Promise.all(changes.map((change) => get<Count>(countOf(name, change, serverNow())))));
      if (!counts) return;
      const body = <>{changes.map((change, at) => <p key={change.noun}>{meaning(change, counts[at] ?? { count: 0, exact: false })}</p>)}{counts.some(({ count }) => count > 0) ? <p>This cannot be undone.</p> : null}</>;
      if (!(await confirm({ title: `Change how long jobs of ${name} are kept?`, body, action: "Change 1 queue", danger: true }))) return;
    }
    if (await perform(() => act<Queue>("PATCH", `queues/${encodeURIComponent(name)}`, patch), "The retention was changed.")) onDone();
  };
  return (
    <form class="fields" onSubmit={(event) => void save(event)}>
      {KEEP.map(({ field, label }, at) => (
        <label key={field}>
          <span>{label}</span>
          <input value={texts[at] ?? ""} placeholder="the default of the reaper" aria-invalid={wrong[at] ?? false} onInput={(event) => set(texts.map((text, other) => (other === at ? event.currentTarget.value : text)))} />
        </label>
      ))}
      <p class="quiet" role="status">{wrong.includes(true) ? "Write a duration such as 12h or 7d." : "A duration such as 12h or 7d; empty for the default."}</p>
      <Refused problem={problem} />
      <div class="buttons">
        <button type="button" onClick={onDone}>Keep as it is</button>
        <button type="submit" class="primary" disabled={busy || wrong.includes(true)}>Change 1 queue</button>
      </div>
    </form>
  );
}

function History({ name }: { name: string }) {
  const [chosen, choose] = useParameter("range", "24h");
  const range = RANGES.find((one) => one.name === chosen) ?? RANGES[1];
  const statistics = useStatistics(range, `&queue=${encodeURIComponent(name)}`);
  return (
    <Card title="Rates and times" side={<div class="tabs">{RANGES.map((one) => <button key={one.name} type="button" class="tab" aria-pressed={one.name === range.name} onClick={() => choose(one.name)}>{one.label}</button>)}</div>}>
      <Loaded of={statistics}>{(one) => (
        <>
          {one.has_others ? <p class="note">There are very many queues, so some of these numbers may be too low.</p> : null}
          <p class="summary">{several(one.total.created, "job")} submitted, {number(one.total.completed)} completed, {number(one.total.failed)} failed, {number(one.total.retried)} retried</p>
          <Charts of={one} />
        </>
      )}</Loaded>
    </Card>
  );
}
