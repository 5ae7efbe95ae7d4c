// What happens now, from one stream for the whole page. All screens share it, so an open page costs the server one connection.
import { api } from "./base";
import { waitMs } from "./again";
import { refusal, whenSignedOut } from "./api";
import type { Group, QueueNow, WorkerNow } from "./types";

/** How the stream is: `paused` by the user, `lost` without a connection, `down` without a database, `limited` if the key may not have it. */
export type Connection = "connecting" | "live" | "paused" | "lost" | "down" | "limited";

/** The state at a time. The maps change in place; `version` counts the changes. */
export interface Live {
  connection: Connection;
  /** Why the database is down. */
  reason: string;
  queues: Map<string, QueueNow>;
  workers: Map<string, WorkerNow>;
  groups: Map<string, Group>;
  /** Whether all objects have arrived. */
  ready: boolean;
  version: number;
}

/** Screens are drawn at most this often. */
const DRAW_MS = 500;
/** A page that is not visible for so long stops listening. */
const HIDDEN_MS = 30_000;

const live: Live = {
  connection: "connecting",
  reason: "",
  queues: new Map(),
  workers: new Map(),
  groups: new Map(),
  ready: false,
  version: 0,
};
const listeners = new Set<() => void>();
let source: EventSource | null = null;
let drawing: number | undefined;
let retry: number | undefined;
let hiding: number | undefined;
let asleep = false;
let failures = 0;
/** Counts the streams. What an earlier one still does has no effect. */
let generation = 0;

export const current = (): Live => live;

/** Calls `listener` after changes, until the returned function is called. */
export function listen(listener: () => void): () => void {
  listeners.add(listener);
  return () => void listeners.delete(listener);
}

/** Whether anything on the page may change by itself. */
export const isPaused = (): boolean => live.connection === "paused";

/** Starts listening; `onSignedOut` is called when the key is no longer valid. */
export function start(onSignedOut: () => void): void {
  whenSignedOut(onSignedOut);
  document.addEventListener("visibilitychange", onVisibility);
  asleep = false;
  failures = 0;
  live.connection = "connecting";
  open();
  // a page that is opened in the background
  if (document.hidden) onVisibility();
}

/** Stops all live updates, or continues them. */
export function pause(paused: boolean): void {
  if (paused) {
    close();
    set("paused");
  } else {
    set("connecting");
    open();
  }
}

/** Stops listening, and forgets what this key may see: the next key may see less. */
export function stop(): void {
  close();
  whenSignedOut(() => {});
  document.removeEventListener("visibilitychange", onVisibility);
  window.clearTimeout(hiding);
  clear();
  set("connecting");
}

function onVisibility(): void {
  window.clearTimeout(hiding);
  if (document.hidden) {
    hiding = window.setTimeout(() => {
      asleep = true;
      close();
    }, HIDDEN_MS);
    return;
  }
  asleep = false;
  if (!source && retry === undefined && !isPaused() && live.connection !== "limited") open();
}

function clear(): void {
  live.queues.clear();
  live.workers.clear();
  live.groups.clear();
  live.ready = false;
  live.reason = "";
}

function open(): void {
  close();
  const opened = new EventSource(`${api}stream`);
  source = opened;
  on(opened, "snapshot", clear);
  on(opened, "queue", (data: QueueNow) => live.queues.set(data.queue, data));
  on(opened, "queue_removed", (data: QueueNow) => live.queues.delete(data.queue));
  on(opened, "worker", (data: WorkerNow) => live.workers.set(data.worker_id, data));
  on(opened, "worker_removed", (data: WorkerNow) => live.workers.delete(data.worker_id));
  on(opened, "dead_letter_group", (data: Group) => live.groups.set(data.group, data));
  on(opened, "dead_letter_group_removed", (data: Group) => live.groups.delete(data.group));
  on(opened, "ready", () => {
    failures = 0;
    live.ready = true;
    set("live");
  });
  on(opened, "unavailable", (data: { reason: string }) => {
    live.reason = data.reason;
    set("down");
  });
  on(opened, "available", () => set("live"));
  opened.onerror = () => {
    if (source !== opened) return;
    live.reason = "";
    set("lost");
    // after a refusal a browser does not connect again by itself
    if (opened.readyState === EventSource.CLOSED) void again();
  };
}

/** Finds out why the stream was refused, and asks for it again later unless the key may not have it. */
async function again(): Promise<void> {
  close();
  const mine = generation;
  // a key that is no longer valid is reported by `refusal`, and signing out stops this
  const problem = await refusal("stream");
  if (mine !== generation) return;
  if (problem?.status === 403) {
    clear();
    return set("limited");
  }
  live.reason = problem && problem.status > 0 ? problem.message : "";
  set("lost");
  failures += 1;
  retry = window.setTimeout(() => {
    retry = undefined;
    if (!asleep && !isPaused()) open();
  }, waitMs(failures, problem?.retryAfter ?? null));
}

function close(): void {
  generation += 1;
  window.clearTimeout(retry);
  retry = undefined;
  source?.close();
  source = null;
}

function on<T>(target: EventSource, name: string, act: (data: T) => unknown): void {
  target.addEventListener(name, (event) => {
    if (source !== target) return;
    const text = (event as MessageEvent<string>).data;
    act((text ? JSON.parse(text) : {}) as T);
    changed();
  });
}

function set(connection: Connection): void {
  live.connection = connection;
  changed();
}

function changed(): void {
  live.version += 1;
  drawing ??= window.setTimeout(() => {
    drawing = undefined;
    for (const listener of listeners) listener();
  }, live.ready ? DRAW_MS : 20);
}
