// What happens now, from one stream for the whole page. All screens share it, so an open page costs the server one connection.
import { api } from "./base";
import { session, whenSignedOut } from "./api";
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
let signedOut = (): void => {};

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
  signedOut = onSignedOut;
  whenSignedOut(onSignedOut);
  document.addEventListener("visibilitychange", () => {
    window.clearTimeout(hiding);
    if (document.hidden) hiding = window.setTimeout(close, HIDDEN_MS);
    else if (!source && !isPaused() && live.connection !== "limited") open();
  });
  open();
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

/** Stops listening. */
export function stop(): void {
  close();
  window.clearTimeout(retry);
}

function open(): void {
  close();
  const opened = new EventSource(`${api}stream`);
  source = opened;
  on(opened, "snapshot", () => {
    live.queues.clear();
    live.workers.clear();
    live.groups.clear();
    live.ready = false;
  });
  on(opened, "queue", (data: QueueNow) => live.queues.set(data.queue, data));
  on(opened, "queue_removed", (data: QueueNow) => live.queues.delete(data.queue));
  on(opened, "worker", (data: WorkerNow) => live.workers.set(data.worker_id, data));
  on(opened, "worker_removed", (data: WorkerNow) => live.workers.delete(data.worker_id));
  on(opened, "dead_letter_group", (data: Group) => live.groups.set(data.group, data));
  on(opened, "dead_letter_group_removed", (data: Group) => live.groups.delete(data.group));
  on(opened, "ready", () => {
    live.ready = true;
    set("live");
  });
  on(opened, "unavailable", (data: { reason: string }) => {
    live.reason = data.reason;
    set("down");
  });
  on(opened, "available", () => set("live"));
  opened.onerror = () => {
    set("lost");
    // after a refusal a browser does not connect again by itself
    if (opened.readyState === EventSource.CLOSED) void again();
  };
}

async function again(): Promise<void> {
  close();
  try {
    if (!(await session()).authenticated) return signedOut();
    if (await isForbidden()) return set("limited");
  } catch {
    // the API is not there: try again
  }
  window.clearTimeout(retry);
  retry = window.setTimeout(() => !isPaused() && open(), 2_000 + Math.random() * 3_000);
}

/** Whether the key may not have the stream; `EventSource` does not say why it was refused. */
async function isForbidden(): Promise<boolean> {
  const stopped = new AbortController();
  const answer = await fetch(`${api}stream`, { signal: stopped.signal });
  stopped.abort();
  return answer.status === 403;
}

function close(): void {
  source?.close();
  source = null;
}

function on<T>(target: EventSource, name: string, act: (data: T) => unknown): void {
  target.addEventListener(name, (event) => {
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
