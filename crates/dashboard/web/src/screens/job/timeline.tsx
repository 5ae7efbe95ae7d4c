// What happened to a job, oldest first: when it was submitted, how long it waited, who ran it for how long, and how that ended.
import { duration, entryOf } from "../../format";
import { Clock } from "../../parts/basics";
import type { Attempt, Job, JobEvent } from "../../types";
import { useLive, useNow } from "../../use";

const ENDS: Record<Attempt["ended"], string> = {
  running: "runs",
  completed: "completed",
  retried: "failed",
  failed: "failed",
  snoozed: "asked to run later",
  released: "was released by a drain",
  lost: "was lost with its worker",
  cancelled: "was cancelled",
};

export function Timeline({ job, attempts, events }: { job: Job; attempts: Attempt[]; events: JobEvent[] }) {
  const now = useNow(1_000);
  const live = useLive();
  const name = (id: string | null): string | null => (id ? live.workers.get(id)?.name ?? `worker …${id.slice(-6)}` : null);
  let before = Date.parse(job.created_at);
  const rows = attempts.map((attempt, at) => {
    const began = Date.parse(attempt.started_at);
    const ended = attempt.finished_at ? Date.parse(attempt.finished_at) : now;
    const waited = Math.max(0, (began - before) / 1000);
    before = ended;
    return (
      <li key={at} class={attempt.ended}>
        <p class="when"><Clock at={attempt.started_at} now={now} seconds /> <span class="quiet">after {duration(waited)}</span></p>
        <p><strong>Attempt {attempt.attempt}</strong> {entryOf(ENDS, attempt.ended, attempt.ended)} {attempt.ended === "running" ? "for" : "after"} {duration(Math.max(0, (ended - began) / 1000))}{name(attempt.worker_id) ? <> on <span title={attempt.worker_id ?? ""}>{name(attempt.worker_id)}</span></> : null}{attempt.ended === "retried" ? ", and is retried" : ""}</p>
        {attempt.error ? <details><summary><code>{attempt.error.type}</code> <span class="cut">{attempt.error.message.split("\n")[0]}</span></summary><pre tabIndex={0}>{attempt.error.message}</pre></details> : null}
      </li>
    );
  });
  const requests = events.filter((event) => event.attempt === null && event.event !== "created" && event.event !== "started");
  return (
    <ol class="timeline">
      <li class="created"><p class="when"><Clock at={job.created_at} now={now} seconds /></p><p><strong>Submitted</strong> to {job.queue}</p></li>
      {rows}
      {requests.map((event, at) => <li key={`event-${at}`} class={event.event}><p class="when"><Clock at={event.at} now={now} seconds /></p><p><strong>{event.event}</strong>{event.error ? <> <code>{event.error.type}</code> {event.error.message}</> : null}</p></li>)}
      {job.status === "queued" || job.status === "blocked" ? <li class="waits"><p class="when">now</p><p>Waits for {duration(Math.max(0, (now - before) / 1000))}</p></li> : null}
      {job.status === "scheduled" && job.run_at ? <li class="waits"><p class="when"><Clock at={job.run_at} now={now} seconds /></p><p>{job.attempt > 0 ? `Attempt ${job.attempt + 1} of ${job.max_attempts} may begin` : "May begin"} {Date.parse(job.run_at) > now ? `in ${duration((Date.parse(job.run_at) - now) / 1000)}` : "now"}</p></li> : null}
    </ol>
  );
}
