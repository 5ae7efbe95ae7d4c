// What the API returns, as far as the page reads it. docs/openapi.json describes every field.
import type { Exact } from "./json";

export type Status = "blocked" | "scheduled" | "queued" | "running" | "completed" | "failed" | "cancelled";

export interface Failure {
  type: string;
  message: string;
  details?: Exact;
}

export interface Job {
  id: string;
  queue: string;
  kind: string;
  payload: Exact;
  priority: number;
  status: Status;
  attempt: number;
  max_attempts: number;
  tags: string[];
  metadata: Record<string, Exact> | null;
  unique_key: string | null;
  traceparent: string | null;
  created_at: string;
  run_at: string | null;
  started_at: string | null;
  finished_at: string | null;
  expires_at: string | null;
  timeout_seconds: number | null;
  worker_id: string | null;
  lease_expires_at: string | null;
  cancel_requested: boolean;
  snoozes: number;
  result: Exact | null;
  error: Failure | null;
  webhook_url?: string;
}

export interface JobPage {
  jobs: Job[];
  next_cursor: string | null;
}

export interface Attempt {
  attempt: number;
  ended: "running" | "completed" | "retried" | "failed" | "snoozed" | "released" | "lost" | "cancelled";
  worker_id: string | null;
  started_at: string;
  finished_at: string | null;
  error: Failure | null;
  progress: Exact | null;
  log: string;
}

export interface JobEvent {
  at: string;
  event: string;
  attempt: number | null;
  error: Failure | null;
}

export interface Reason {
  code: string;
  message: string;
  resolution: string;
  facts: Record<string, unknown>;
}

export interface Explanation {
  id: string;
  at: string;
  verdict: "waits" | "can_start" | "running" | "ended";
  summary: string;
  reasons: Reason[];
  running: { worker_name: string | null; worker_id: string | null; attempt: number; since: string | null } | null;
}

export interface Count {
  count: number;
  exact: boolean;
}

export interface Bulk {
  dry_run: boolean;
  matched: number;
  changed: number;
  ids: string[];
  failures: { id: string; status: number; code: string }[];
  /** Of a dry run: the time of the database when it began. */
  as_of: string | null;
  more: boolean;
  next_cursor: string | null;
}

export interface Durations {
  count: number;
  p50_seconds: number | null;
  p95_seconds: number | null;
  p99_seconds: number | null;
}

export interface Numbers {
  created: number;
  completed: number;
  failed: number;
  retried: number;
  cancelled: number;
  snoozed: number;
  wait: Durations;
  run: Durations;
}

export interface Statistics {
  from: string;
  to: string;
  step_seconds: number;
  counted_until: string | null;
  has_others: boolean;
  total: Numbers;
  points: (Numbers & { at: string })[];
}

export interface Group {
  group: string;
  kind: string;
  error_type: string;
  message: string;
  count: number;
  first_failed_at: string;
  last_failed_at: string;
}

export interface Worker {
  id: string;
  name: string;
  remote: boolean;
  queues: string[];
  kinds: string[];
  slots: number | null;
  host: string | null;
  version: string | null;
  language: string | null;
  started_at: string;
  heartbeat_age_seconds: number;
  rss_bytes: number | null;
  jobs_per_minute: number | null;
  paused: boolean;
  draining: boolean;
  running: number;
  jobs: { id: string; kind: string; queue: string; attempt: number; leased_at: string }[];
}

export interface WorkerCommand {
  id: number;
  command: string;
  arguments: Record<string, unknown> | null;
  status: "pending" | "delivered" | "acknowledged" | "refused";
  error: string | null;
  created_at: string;
  acknowledged_at: string | null;
}

export interface Queue {
  name: string;
  paused: boolean;
  paused_at: string | null;
  queued: number;
  running: number;
  scheduled: number;
  completed_retention_seconds: number | null;
  failed_retention_seconds: number | null;
}

export interface Purged {
  matched: number;
  /** `false` if more match. */
  exact: boolean;
  /** Of a dry run: the time of the database when it counted. */
  as_of: string | null;
  purged: number;
  more: boolean;
}

export interface ScheduleSpec {
  cron?: string;
  time_zone?: string;
  dst?: string;
  jitter_seconds?: number;
  missed?: string;
  overlap?: string;
  start_at?: string;
  end_at?: string;
  max_runs?: number;
  owner?: string;
  description?: string;
  job: { kind: string; queue?: string; [field: string]: Exact | undefined };
}

export interface Schedule {
  name: string;
  spec: ScheduleSpec;
  status: "active" | "paused" | "disabled" | "failed" | "ended";
  in_words: string | null;
  next_tick_at: string | null;
  last_job_id: string | null;
  runs: number;
  paused_at: string | null;
  failed_at: string | null;
  error: string | null;
  changed_at: string;
}

export interface Tick {
  tick_at: string;
  fate: "fired" | "waiting" | "missed" | "overlap" | "expired" | "unique";
  job_id: string | null;
  decided_at: string;
}

export interface Upcoming {
  tick_at: string;
  local: string;
  fires_at: string;
}

export interface DeadLetter {
  id: string;
  queue: string;
  kind: string;
  attempt: number;
  error_type: string;
  message: string;
  failed_at: string;
}

export interface GroupDetail extends Group {
  queues: { queue: string; count: number }[];
  /** The present hour and the 23 before it, oldest first. */
  recent: { at: string; count: number }[];
}

export interface Redrive {
  id: string;
  state: "running" | "done" | "stopped" | "failing";
  filter: Record<string, unknown>;
  rate: number;
  total: number | null;
  redriven: number;
  refused: number;
  succeeded: number;
  failed: number;
  other: number;
  created_at: string;
  ended_at: string | null;
}

export interface AuditEntry {
  id: string;
  at: string;
  actor: string;
  via: "api" | "sql";
  key_id: string | null;
  request_id: string | null;
  database_user: string;
  action: string;
  target: string | null;
  filter: Exact;
  affected: number | Exact;
  before: Exact;
  after: Exact;
}

export interface ApiKey {
  id: string;
  name: string;
  scopes: string[];
  queues: string[] | null;
  kinds: string[] | null;
  hide: string[];
  rate: { requests: number; per_seconds: number } | null;
  expires_at: string | null;
  revoked_at: string | null;
  previous_until: string | null;
  last_used_at: string | null;
  owner: string | null;
  description: string | null;
  created_by: string;
  created_at: string;
}

/** Events of `/v1/stream`. */
export interface QueueNow {
  queue: string;
  paused: boolean;
  scheduled: number;
  queued: number;
  running: number;
  oldest_at: string | null;
  created: number;
  completed: number;
  failed: number;
  cancelled: number;
  retried: number;
}

export interface WorkerNow {
  worker_id: string;
  name: string;
  host: string | null;
  version: string | null;
  language: string | null;
  remote: boolean;
  queues: string[];
  slots: number | null;
  running: number;
  jobs_per_minute: number | null;
  paused: boolean;
  draining: boolean;
  started_at: string;
}

export interface Session {
  authenticated: boolean;
  key_required: boolean;
  name: string | null;
  scopes: string[];
  /** Whether the key includes only some queues or kinds. Then it does not see workers that also lease from other queues. */
  limited: boolean;
  trace_url: string | null;
  version: string;
}
