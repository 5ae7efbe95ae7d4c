// What is abnormal now, in words. Pure: the screen gives it what the API said.
import { clock, duration, percent, several, withClocks } from "./format";
import { quote } from "./search";
import type { Explanation, Group, QueueNow, Statistics, WorkerNow } from "./types";

/** Jobs that wait longer than this are worth a sentence. */
export const LONG_WAIT_S = 60;
/** If nothing was counted for so long, the reaper is probably missing. */
const OLD_COUNT_S = 60;
/** A share of failures above this one is abnormal, if it is also twice that of the day. */
const MANY_FAILURES = 0.05;
const MIN_FAILURES = 5;
/** A wait above this one is abnormal, if it is also three times that of the day. */
const SLOW_S = 1;
const MAX_FINDINGS = 12;
/** So many queues that wait have a sentence of their own, and so many paused ones. */
const MAX_WAITS = 4;
const MAX_PAUSED = 2;

export interface Finding {
  severity: "bad" | "warn";
  text: string;
  /** The screen that shows more. */
  to?: string;
}

export interface Facts {
  now: number;
  queues: QueueNow[];
  workers: WorkerNow[];
  /** Whether these are all workers. A limited key does not see those that also lease from other queues. */
  seesAllWorkers: boolean;
  groups: Group[];
  /** Why the oldest waiting job of a queue waits. */
  explanations: Map<string, Explanation>;
  hour: Statistics | undefined;
  /** When `hour` was read. `null` if the last try failed: then it says nothing about now. */
  hourAt: number | null;
  day: Statistics | undefined;
}

/** The findings, the worst first. */
export function findings(facts: Facts): Finding[] {
  const found = [...waits(facts), ...reaper(facts), ...failures(facts), ...errors(facts), ...latency(facts), ...workers(facts)];
  return found.sort((a, b) => rank(a) - rank(b)).slice(0, MAX_FINDINGS);
}

const rank = (finding: Finding): number => (finding.severity === "bad" ? 0 : 1);

/** The queues whose oldest job has waited long, the longest wait first. */
export const waiting = (queues: QueueNow[], now: number): { queue: QueueNow; seconds: number }[] =>
  queues
    .filter((queue) => queue.oldest_at !== null && queue.queued > 0)
    .map((queue) => ({ queue, seconds: (now - Date.parse(queue.oldest_at ?? "")) / 1000 }))
    .filter(({ seconds }) => seconds >= LONG_WAIT_S)
    .sort((a, b) => b.seconds - a.seconds);

/** The queues that need an explanation: those that wait longest, paused ones apart, because an operator knows about them. */
export function toExplain(queues: QueueNow[], now: number): string[] {
  const all = waiting(queues, now);
  const first = (paused: boolean, most: number): string[] =>
    all.filter(({ queue }) => queue.paused === paused).slice(0, most).map(({ queue }) => queue.queue);
  return [...first(false, MAX_WAITS), ...first(true, MAX_PAUSED)];
}

/**
 * The oldest waiting job of a queue, for `GET /v1/jobs`: the newest of those that were submitted when the oldest wait began, or earlier. Jobs that
 * were submitted earlier still wait since a later time, because they were delayed or have failed before.
 */
export function oldestOf({ queue, oldest_at }: QueueNow): string {
  // timestamps have microseconds, and the bound is not included
  const bound = new Date(Date.parse(oldest_at ?? "") + 1).toISOString();
  return `jobs?queue=${encodeURIComponent(queue)}&status=queued&created_before=${bound}&limit=1`;
}

function waits({ now, queues, explanations }: Facts): Finding[] {
  const all = waiting(queues, now);
  const named = toExplain(queues, now);
  const found: Finding[] = all.filter(({ queue }) => named.includes(queue.queue)).map(({ queue, seconds }) => {
    const reasons = explanations.get(queue.queue)?.reasons.filter((reason) => reason.code !== "behind") ?? [];
    const unexplained = queue.paused ? "it is paused." : `${several(queue.queued, "job")} ${queue.queued === 1 ? "is" : "are"} queued.`;
    const why = reasons[0] ? because(reasons[0].code, reasons[0].facts, reasons[0].message, now) : unexplained;
    return {
      severity: queue.paused ? "warn" : "bad",
      text: `\`${queue.queue}\` waits ${duration(seconds)}: ${why}`,
      to: `jobs?q=${encodeURIComponent(`queue:${queue.queue} status:queued`)}`,
    };
  });
  const others = all.filter(({ queue }) => !named.includes(queue.queue));
  if (others[0]) {
    const verb = others.length === 1 ? "waits" : "wait";
    found.push({ severity: "bad", text: `${several(others.length, "other queue")} ${verb} more than a minute, up to ${duration(others[0].seconds)}.`, to: "jobs?q=status:queued" });
  }
  return found;
}

/** A reason of explain as the end of a sentence. */
function because(code: string, facts: Record<string, unknown>, message: string, now: number): string {
  const at = (name: string): string => (typeof facts[name] === "string" ? clock(Date.parse(facts[name]), now) : "");
  switch (code) {
    case "no_worker":
      return at("last_seen_at") ? `no worker has taken it since ${at("last_seen_at")}.` : "no worker takes it.";
    case "queue_paused":
      return `it has been paused since ${at("paused_at")}.`;
    default:
      return withClocks(message, now);
  }
}

function reaper({ now, hour, hourAt }: Facts): Finding[] {
  if (!hour || hourAt === null) return [];
  const at = hour.counted_until === null ? null : Date.parse(hour.counted_until);
  if (at !== null && (hourAt - at) / 1000 < OLD_COUNT_S) return [];
  const since = at === null ? "has never counted" : `has not counted since ${clock(at, now)}`;
  return [{ severity: "bad", text: `The reaper ${since}: delayed jobs do not start, and these numbers stand still.` }];
}

function failures({ hour, day }: Facts): Finding[] {
  const [share, usual] = [errorShare(hour), errorShare(day)];
  if (!hour || share === null || hour.total.failed < MIN_FAILURES || share < MANY_FAILURES || share < 2 * (usual ?? 0)) return [];
  const before = usual === null ? "" : `, over 24 h ${percent(usual)}`;
  return [{ severity: "bad", text: `${percent(share)} of the jobs that ended in the last hour failed${before}.`, to: "jobs?q=status:failed" }];
}

/** The share of failed jobs among those that completed or failed; `null` without one. */
export function errorShare(statistics: Statistics | undefined): number | null {
  if (!statistics) return null;
  const ended = statistics.total.completed + statistics.total.failed;
  return ended === 0 ? null : statistics.total.failed / ended;
}

function errors({ now, groups }: Facts): Finding[] {
  const isNew = (group: Group): boolean => now - Date.parse(group.first_failed_at) < 3_600_000;
  return groups.filter(isNew).slice(0, 3).map((group) => ({
    severity: "warn",
    text: `New failure since ${clock(Date.parse(group.first_failed_at), now)}: \`${group.kind}\` ended ${several(group.count, "time")} with \`${group.error_type}\`: ${group.message}`,
    to: `jobs?q=${encodeURIComponent(`status:failed kind:${group.kind} error:${quote(group.error_type)}`)}`,
  }));
}

function latency({ hour, day }: Facts): Finding[] {
  const [slow, usual] = [hour?.total.wait.p95_seconds, day?.total.wait.p95_seconds];
  if (slow == null || usual == null || slow < SLOW_S || slow < 3 * usual) return [];
  return [{ severity: "warn", text: `Jobs waited longer than usual in the last hour: p95 ${duration(slow)}, over 24 h ${duration(usual)}.` }];
}

function workers({ queues, workers, seesAllWorkers }: Facts): Finding[] {
  const found: Finding[] = [];
  const waits = queues.reduce((sum, queue) => sum + queue.queued, 0);
  if (seesAllWorkers && workers.length === 0 && waits > 0) found.push({ severity: "bad", text: `No worker is alive, and ${waitingJobs(waits)}.` });
  for (const worker of workers.filter((one) => one.paused).slice(0, 3)) {
    found.push({ severity: "warn", text: `Worker \`${worker.name}\` is paused by an operator.` });
  }
  for (const queue of queues.filter((one) => one.paused && one.queued > 0 && one.oldest_at === null).slice(0, 3)) {
    found.push({ severity: "warn", text: `Queue \`${queue.queue}\` is paused, and ${waitingJobs(queue.queued)}.` });
  }
  return found;
}

const waitingJobs = (count: number): string => `${several(count, "job")} ${count === 1 ? "waits" : "wait"}`;
