// One queue: its numbers, its workers, how long jobs are kept, pause and purge.
import { useState } from "preact/hooks";
import { act } from "../api";
import { capacity } from "../capacity";
import { useMay } from "../context";
import { duration, number, several } from "../format";
import { Badge, Card, Clock, Empty, Fact, Failed, Link, Loaded } from "../parts/basics";
import { useDialogs } from "../parts/dialog";
import { usePerform } from "../perform";
import { seconds, span } from "../span";
import type { Purged, Queue, QueueNow, WorkerNow } from "../types";
import { useLive, useNow, useParameter, useResource, type Resource } from "../use";
import { Charts, RANGES, useStatistics } from "./overview";
import { PauseButton } from "./queues/pause";
import { Utilisation } from "./queues/utilisation";

export function QueueScreen({ name }: { name: string }) {
  const live = useLive();
  const settings = useResource<Queue>(`queues/${encodeURIComponent(name)}`, { everyMs: 60_000 });
  const now: QueueNow = live.queues.get(name) ?? {
    queue: name, paused: settings.data?.paused ?? false, queued: settings.data?.queued ?? 0, running: settings.data?.running ?? 0, scheduled: settings.data?.scheduled ?? 0,
    oldest_at: null, created: 0, completed: 0, failed: 0, cancelled: 0, retried: 0,
  };
  if (settings.problem?.status === 404) return <><h1>{name}</h1><Empty title="There is no such queue."><p><Link to="queues">Show all queues</Link></p></Empty></>;
  return (
    <>
      <div class="head">
        <p class="crumbs"><Link to="queues">Queues</Link></p>
        <h1>{name} {now.paused ? <Badge status="paused" /> : null}</h1>
        <Actions queue={now} onDone={settings.refresh} />
      </div>
      {settings.problem ? <Failed problem={settings.problem} retry={settings.refresh} /> : null}
      <div class="columns">
        <Now queue={now} settings={settings.data} workers={[...live.workers.values()]} />
        <Retention name={name} settings={settings} />
      </div>
      <History name={name} />
    </>
  );
}

function Actions({ queue, onDone }: { queue: QueueNow; onDone: () => void }) {
  const may = useMay("admin");
  const { confirm, say } = useDialogs();
  const { busy, perform } = usePerform(onDone);
  const path = `queues/${encodeURIComponent(queue.queue)}/purge`;
  const purge = async (): Promise<void> => {
    const found = await perform(() => act<Purged>("POST", path, { dry_run: true }));
    if (!found) return;
    if (found.matched === 0) return say("No job waits in this queue.");
    const jobs = several(found.matched, "waiting job");
    const yes = await confirm({ title: `Delete ${jobs}?`, body: <p>All jobs that wait in <code>{queue.queue}</code> are deleted: queued, scheduled and blocked ones. Running and ended jobs stay. This cannot be undone.</p>, action: `Delete ${jobs}`, danger: true });
    if (yes) await perform(() => purgeAll(path), (count) => `${several(count, "job")} deleted.`);
  };
  return (
    <div class="actions" role="group" aria-label="Actions on this queue">
      <Link class="button" to={`jobs?q=${encodeURIComponent(`queue:${queue.queue}`)}`}>Show jobs</Link>
      {may ? <PauseButton queue={queue} onDone={onDone} /> : null}
      {may ? <button type="button" class="danger-outline" disabled={busy} onClick={() => void purge()}>Delete waiting jobs…</button> : null}
    </div>
  );
}

/** One request deletes for some seconds at most. */
async function purgeAll(path: string): Promise<number> {
  let count = 0;
  for (;;) {
    const answer = await act<Purged>("POST", path, {});
    count += answer.purged;
    if (!answer.more) return count;
  }
}

function Now({ queue, settings, workers }: { queue: QueueNow; settings: Queue | undefined; workers: WorkerNow[] }) {
  const now = useNow();
  const serving = workers.filter((worker) => worker.queues.includes(queue.queue));
  const search = (status: string): string => `jobs?q=${encodeURIComponent(`status:${status} queue:${queue.queue}`)}`;
  return (
    <Card title="Now">
      <dl class="facts">
        <Fact name="Oldest wait">{queue.oldest_at && queue.queued > 0 ? duration(Math.max(0, Math.floor((now - Date.parse(queue.oldest_at)) / 1000))) : "no job waits for a worker"}</Fact>
        <Fact name="Queued"><Link to={search("queued")}>{number(queue.queued)}</Link></Fact>
        <Fact name="Running"><Link to={search("running")}>{number(queue.running)}</Link></Fact>
        <Fact name="Scheduled"><Link to={search("scheduled")}>{number(queue.scheduled)}</Link></Fact>
        <Fact name="Utilisation"><Utilisation running={queue.running} of={capacity(queue.queue, workers)} /></Fact>
        {settings?.paused_at ? <Fact name="Paused since"><Clock at={settings.paused_at} now={now} /></Fact> : null}
        <Fact name="Workers">{serving.length === 0 ? "none leases from this queue" : serving.slice(0, 20).map((worker) => <Link key={worker.worker_id} class="tag" to={`workers/${worker.worker_id}`}>{worker.name}</Link>)}{serving.length > 20 ? ` and ${number(serving.length - 20)} more` : null}</Fact>
      </dl>
    </Card>
  );
}

const KEEP = [["completed_retention_seconds", "Completed jobs"], ["failed_retention_seconds", "Failed and cancelled jobs"]] as const;
const kept = (value: number | null): string => (value === null ? "the default" : duration(value));

function Retention({ name, settings }: { name: string; settings: Resource<Queue> }) {
  const may = useMay("admin");
  const [editing, edit] = useState(false);
  return (
    <Card title="How long jobs are kept" side={may && settings.data && !editing ? <button type="button" onClick={() => edit(true)}>Change</button> : null}>
      <Loaded of={settings}>
        {(queue) => editing ? <Editor name={name} queue={queue} onDone={() => { edit(false); settings.refresh(); }} /> : (
          <dl class="facts">{KEEP.map(([field, label]) => <Fact key={field} name={label}>{kept(queue[field])}</Fact>)}</dl>
        )}
      </Loaded>
    </Card>
  );
}

function Editor({ name, queue, onDone }: { name: string; queue: Queue; onDone: () => void }) {
  const [texts, set] = useState(KEEP.map(([field]) => (queue[field] === null ? "" : span(queue[field] ?? 0))));
  const { confirm } = useDialogs();
  const { busy, perform } = usePerform();
  const values = texts.map((text) => (text.trim() === "" ? null : seconds(text)));
  const wrong = texts.map((text, at) => text.trim() !== "" && values[at] === null);
  const save = async (event: Event): Promise<void> => {
    event.preventDefault();
    const patch = Object.fromEntries(KEEP.map(([field], at) => [field, values[at] ?? null]));
    const shorter = KEEP.some(([field], at) => values[at] !== null && values[at] !== undefined && (queue[field] ?? Infinity) > (values[at] ?? 0));
    if (shorter && !(await confirm({ title: `Keep jobs of ${name} for a shorter time?`, body: <p>Ended jobs of this 1 queue that are older are deleted with the next pass of the reaper. This cannot be undone.</p>, action: "Change 1 queue", danger: true }))) return;
    if (await perform(() => act<Queue>("PATCH", `queues/${encodeURIComponent(name)}`, patch), "The retention was changed.")) onDone();
  };
  return (
    <form class="fields" onSubmit={(event) => void save(event)}>
      {KEEP.map(([field, label], at) => (
        <label key={field}>
          <span>{label}</span>
          <input value={texts[at] ?? ""} placeholder="the default of the reaper" aria-invalid={wrong[at] ?? false} onInput={(event) => set(texts.map((text, other) => (other === at ? event.currentTarget.value : text)))} />
        </label>
      ))}
      <p class="quiet" role="status">{wrong.includes(true) ? "Write a duration such as 12h or 7d." : "A duration such as 12h or 7d; empty for the default."}</p>
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
