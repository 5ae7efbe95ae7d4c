// One worker: what it is, what it runs, and its commands.
import { useMay } from "../context";
import { bytes, duration, number } from "../format";
import { Card, Clock, Empty, Fact, Failed, Link, Loaded, Table, Time } from "../parts/basics";
import type { Worker, WorkerCommand } from "../types";
import { useLive, useNow, useResource, type Resource } from "../use";
import { merged, State } from "./workers";
import { WorkerActions } from "./workers/actions";
import { Slots } from "./workers/slots";

const EVERY_MS = 30_000;

export function WorkerScreen({ id }: { id: string }) {
  const live = useLive();
  const may = useMay("admin");
  const read = useResource<Worker>(`workers/${encodeURIComponent(id)}`, { everyMs: EVERY_MS });
  const commands = useResource<{ commands: WorkerCommand[] }>(`workers/${encodeURIComponent(id)}/commands`, { everyMs: EVERY_MS });
  const refresh = (): void => {
    read.refresh();
    commands.refresh();
  };
  if (read.problem?.status === 404) return <><h1>Worker</h1><Empty title="There is no such worker any more."><p>It has ended, or its heartbeats have stopped; its jobs were given to others. <Link to="workers">Show all workers</Link></p></Empty></>;
  const worker = read.data ? merged(read.data, live.workers.get(id)) : undefined;
  if (!worker) return <><h1>Worker</h1>{read.problem ? <Failed problem={read.problem} retry={read.refresh} /> : <p class="loading" aria-busy="true">Loading…</p>}</>;
  const gone = live.ready && !live.workers.has(id);
  return (
    <>
      <div class="head">
        <p class="crumbs"><Link to="workers">Workers</Link></p>
        <h1>{worker.name} <State worker={worker} gone={gone} /></h1>
        <p class="id">{worker.id}</p>
        {may ? <WorkerActions worker={worker} gone={gone} onDone={refresh} /> : null}
      </div>
      {read.problem ? <Failed problem={read.problem} retry={read.refresh} /> : null}
      <div class="columns">
        <Facts worker={worker} />
        <Commands of={commands} />
      </div>
      <Running worker={worker} />
    </>
  );
}

function Facts({ worker }: { worker: Worker }) {
  const now = useNow();
  return (
    <Card title="Worker">
      <dl class="facts">
        <Fact name="Slots"><Slots worker={worker} /></Fact>
        <Fact name="Heartbeat">{duration(worker.heartbeat_age_seconds)} old when it was read</Fact>
        <Fact name="Queues">{worker.queues.map((queue) => <Link key={queue} class="tag" to={`queues/${encodeURIComponent(queue)}`}>{queue}</Link>)}</Fact>
        <Fact name="Kinds">{worker.kinds.length === 0 ? "all" : worker.kinds.map((kind) => <Link key={kind} class="tag" to={`jobs?q=${encodeURIComponent(`kind:${kind}`)}`}>{kind}</Link>)}</Fact>
        <Fact name="Host">{worker.host ?? "–"}</Fact>
        <Fact name="Version">{worker.version ?? "–"}{worker.language ? `, ${worker.language}` : ""}{worker.remote ? ", over REST" : ""}</Fact>
        <Fact name="Memory">{worker.rss_bytes === null ? "–" : bytes(worker.rss_bytes)}</Fact>
        <Fact name="Attempts per minute">{worker.jobs_per_minute === null ? "–" : number(worker.jobs_per_minute)}</Fact>
        <Fact name="Started"><Time at={worker.started_at} now={now} /></Fact>
      </dl>
    </Card>
  );
}

function Commands({ of }: { of: Resource<{ commands: WorkerCommand[] }> }) {
  const now = useNow();
  const given = (command: WorkerCommand): string => Object.entries(command.arguments ?? {}).map(([name, value]) => ` ${name}: ${JSON.stringify(value)}`).join(",");
  return (
    <Card title="Commands of the last day">
      <Loaded of={of}>
        {({ commands }) => commands.length === 0 ? <Empty title="No commands." /> : (
          <Table label="Commands" head={<><th scope="col">Command</th><th scope="col">Status</th><th scope="col" class="number">When</th></>}>
            {commands.slice(0, 20).map((command) => (
              <tr key={command.id}>
                <th scope="row">{command.command}<span class="quiet">{given(command)}</span></th>
                <td>{command.status}{command.error ? <p class="quiet">{command.error}</p> : null}</td>
                <td class="number"><Clock at={command.created_at} now={now} seconds /></td>
              </tr>
            ))}
          </Table>
        )}
      </Loaded>
    </Card>
  );
}

function Running({ worker }: { worker: Worker }) {
  const now = useNow();
  return (
    <Card title="Running jobs">
      {worker.jobs.length === 0 ? <Empty title="It runs no job." /> : (
        <Table label="Running jobs" head={<><th scope="col">Kind</th><th scope="col">Job</th><th scope="col">Queue</th><th scope="col" class="number">Attempt</th><th scope="col" class="number">Leased</th></>}>
          {worker.jobs.map((job) => (
            <tr key={job.id}>
              <th scope="row">{job.kind}</th>
              <td><Link class="id" to={`jobs/${job.id}`}>…{job.id.slice(-8)}</Link></td>
              <td><Link to={`queues/${encodeURIComponent(job.queue)}`}>{job.queue}</Link></td>
              <td class="number">{job.attempt}</td>
              <td class="number"><Time at={job.leased_at} now={now} /></td>
            </tr>
          ))}
        </Table>
      )}
      {worker.running > worker.jobs.length ? <p class="summary">{number(worker.running)} run; the oldest {number(worker.jobs.length)} of the last reading are shown.</p> : null}
    </Card>
  );
}
