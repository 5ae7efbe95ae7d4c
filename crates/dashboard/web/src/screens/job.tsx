// One job: what happened to it, what it was given and returned, why it waits, and what can be done.
import { useEffect } from "preact/hooks";
import { useSession } from "../context";
import { duration } from "../format";
import { write, type Exact } from "../json";
import { Badge, Card, Clock, Copy, Empty, Fact, Failed, Link, Loaded, Time } from "../parts/basics";
import { Tree } from "../parts/tree";
import { quote } from "../search";
import type { Attempt, Explanation, Failure, Job, JobEvent } from "../types";
import { useNow, useResource } from "../use";
import { JobActions } from "./job/actions";
import { Log } from "./job/log";
import { Timeline } from "./job/timeline";
import { useJobStream } from "./job/stream";

/** While a job waits, its explanation is read again so often. */
const EXPLAIN_MS = 15_000;

export function JobScreen({ id }: { id: string }) {
  const job = useResource<Job>(`jobs/${encodeURIComponent(id)}`, { exact: true });
  const attempts = useResource<{ attempts: Attempt[] }>(`jobs/${encodeURIComponent(id)}/attempts`, { exact: true });
  const events = useResource<{ events: JobEvent[] }>(`jobs/${encodeURIComponent(id)}/events`);
  const stream = useJobStream(id);
  const refresh = (): void => {
    job.refresh();
    attempts.refresh();
    events.refresh();
  };
  // the stream says that something changed; the resources say what
  useEffect(() => {
    if (stream.changes > 1) refresh();
  }, [stream.changes]);
  if (job.problem?.status === 404) {
    return <><h1>Job not found</h1><Empty title="No job has this id."><p>It never existed, or it was deleted after its retention. <Link to="jobs">Show jobs</Link></p></Empty></>;
  }
  if (job.problem?.code === "invalid-path") {
    return <><h1>Job not found</h1><Empty title="This is not the id of a job."><p><Link to="jobs">Show jobs</Link></p></Empty></>;
  }
  return (
    <Loaded of={job}>
      {(data) => (
        <>
          <Head job={data} onChange={refresh} onStream={stream.again} />
          {stream.deleted ? <p class="note bad" role="status">This job was deleted. What you see is its last state.</p> : null}
          <Why job={data} />
          {data.error ? <ErrorNote error={data.error} status={data.status} /> : null}
          <div class="columns wide-first">
            <Card title="Timeline">
              <Loaded of={attempts}>{({ attempts }) => <Timeline job={data} attempts={attempts} events={events.data?.events ?? []} />}</Loaded>
            </Card>
            <Facts job={data} />
          </div>
          <div class="columns">
            <Card title="Payload"><Tree value={data.payload} label="payload" /></Card>
            <Card title="Result">
              {data.result !== null ? <Tree value={data.result} label="result" /> : <p class="quiet pad">{data.status === "completed" ? "The handler returned nothing." : data.status === "failed" || data.status === "cancelled" ? "None." : "None yet."}</p>}
            </Card>
          </div>
          <Log stream={stream} attempts={attempts.data?.attempts ?? []} />
        </>
      )}
    </Loaded>
  );
}

function Head({ job, onChange, onStream }: { job: Job; onChange: () => void; onStream: () => void }) {
  return (
    <header class="head">
      <p class="crumbs"><Link to="jobs">Jobs</Link> / <Link to={`jobs?q=${encodeURIComponent(`kind:${job.kind}`)}`}>{job.kind}</Link></p>
      <h1>{job.kind} {job.status === "scheduled" && job.attempt > 0 ? <Badge status="retrying" /> : <Badge status={job.status} />}</h1>
      <p class="id">{job.id} <Copy text={job.id} label="Copy the id" />{job.cancel_requested && job.status === "running" ? <span class="badge paused">cancel requested</span> : null}</p>
      <JobActions job={job} onChange={() => { onStream(); onChange(); }} />
    </header>
  );
}

/** Why it waits: all causes, the binding one first. */
function Why({ job }: { job: Job }) {
  const waits = job.status === "queued" || job.status === "scheduled" || job.status === "blocked";
  const now = useNow();
  const why = useResource<Explanation>(waits ? `jobs/${job.id}/explain` : null, { everyMs: EXPLAIN_MS });
  if (!waits) return null;
  if (why.problem) return <Failed problem={why.problem} />;
  if (!why.data) return <p class="loading" aria-busy="true">Loading…</p>;
  return (
    <section class="note why" aria-label="Why it waits">
      <h2>Why it waits</h2>
      {why.data.reasons.length === 0 ? <p>{why.data.summary}</p> : (
        <ol>{why.data.reasons.map((reason) => <li key={reason.code}><strong><Localised text={reason.message} now={now} /></strong> <span class="quiet"><Localised text={reason.resolution} now={now} /></span></li>)}</ol>
      )}
    </section>
  );
}

/** A sentence of the API with its timestamps as times of day. */
const Localised = ({ text, now }: { text: string; now: number }) => (
  <>{text.split(/(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z|`[^`]*`)/).map((part, at) => {
    if (at % 2 === 0) return part;
    return part.startsWith("`") ? <code key={at}>{part.slice(1, -1)}</code> : <Clock key={at} at={part} now={now} />;
  })}</>
);

function ErrorNote({ error, status }: { error: Failure; status: Job["status"] }) {
  return (
    <section class="note bad" aria-label="Error">
      <h2>{status === "failed" || status === "cancelled" ? "Error" : "Error of the last attempt"}: <code>{error.type}</code></h2>
      {error.message ? <pre tabIndex={0}>{error.message}</pre> : null}
      {error.details !== undefined ? <Tree value={error.details} label="details of the error" /> : null}
    </section>
  );
}

function Facts({ job }: { job: Job }) {
  const now = useNow();
  const started = job.started_at ? Date.parse(job.started_at) : null;
  const finished = job.finished_at ? Date.parse(job.finished_at) : null;
  const metadata = job.metadata ? Object.entries(job.metadata).filter(([name]) => !["schedule", "tick", "retry_of"].includes(name)) : [];
  return (
    <Card title="Facts">
      <dl class="facts">
        <Fact name="Queue"><Link to={`jobs?q=${encodeURIComponent(`queue:${job.queue}`)}`}>{job.queue}</Link></Fact>
        <Fact name="Submitted"><Time at={job.created_at} now={now} /></Fact>
        {job.run_at && job.status === "scheduled" ? <Fact name="Runs"><Time at={job.run_at} now={now} /></Fact> : null}
        {finished !== null ? <Fact name="Ended"><Time at={job.finished_at} now={now} /></Fact> : null}
        {started !== null && finished !== null ? <Fact name="Last run">{duration((finished - started) / 1000)}</Fact> : null}
        <Fact name="Attempts">{job.attempt} of {job.max_attempts}{job.snoozes ? `, ${job.snoozes} snoozes` : ""}</Fact>
        <Fact name="Priority">{job.priority}</Fact>
        {job.timeout_seconds !== null ? <Fact name="Time limit">{duration(Number(job.timeout_seconds))}</Fact> : null}
        {job.expires_at ? <Fact name="Expires"><Time at={job.expires_at} now={now} /></Fact> : null}
        {job.worker_id ? <Fact name="Worker"><span class="id" title={job.worker_id}>{job.worker_id.slice(-12)}</span></Fact> : null}
        {job.unique_key ? <Fact name="Unique key"><Link to={`jobs?q=${encodeURIComponent(`key:${quote(job.unique_key)}`)}`}>{job.unique_key}</Link></Fact> : null}
        {job.tags.length > 0 ? <Fact name="Tags">{job.tags.map((tag) => <Link key={tag} class="tag" to={`jobs?q=${encodeURIComponent(`tag:${quote(tag)}`)}`}>{tag}</Link>)}</Fact> : null}
        {job.webhook_url ? <Fact name="Webhook"><Link to={`jobs?q=${encodeURIComponent(`tag:job:${job.id}`)}`}>{job.webhook_url}</Link></Fact> : null}
        <Lineage job={job} />
        <Trace traceparent={job.traceparent} />
        {metadata.map(([name, value]) => <Fact key={name} name={name}><code>{typeof value === "string" ? value : write(value as Exact, "")}</code></Fact>)}
      </dl>
    </Card>
  );
}

/** Where the job comes from: a schedule, or a dead letter that it replaces. */
function Lineage({ job }: { job: Job }) {
  const { schedule, tick, retry_of } = (job.metadata ?? {}) as Record<string, unknown>;
  const now = useNow();
  return (
    <>
      {typeof schedule === "string" ? <Fact name="Schedule"><Link to={`schedules/${encodeURIComponent(schedule)}`}>{schedule}</Link>{typeof tick === "string" ? <>, tick <Clock at={tick} now={now} /></> : null}</Fact> : null}
      {typeof retry_of === "string" ? <Fact name="Retry of"><Link class="id" to={`jobs/${retry_of}`}>{retry_of.slice(-12)}</Link></Fact> : null}
    </>
  );
}

function Trace({ traceparent }: { traceparent: string | null }) {
  const { trace_url } = useSession();
  const id = traceparent?.split("-")[1];
  if (!id) return null;
  return <Fact name="Trace">{trace_url ? <a href={trace_url.replaceAll("{trace_id}", id)} rel="noreferrer noopener" target="_blank">{id.slice(0, 12)}… ↗</a> : <code title={id}>{id.slice(0, 12)}…</code>}</Fact>;
}
