// The stream of one job: its log, its progress, and that something has changed.
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { waitMs } from "../../again";
import { refusal as whyRefused } from "../../api";
import { api } from "../../base";
import { read, type Exact } from "../../json";
import { isPaused, listen } from "../../live";

/** More lines are not kept; the last ones are. */
const MAX_LINES = 2_000;
/** A page that is not visible for so long stops listening. */
const HIDDEN_MS = 30_000;
/** The log is drawn at most so often. */
const DRAW_MS = 200;

export interface Line {
  attempt: number | null;
  line: string;
  skipped: number;
}

/** Whether what is shown is of now. */
type Connection = "live" | "paused" | "lost";

export interface JobStream {
  lines: Line[];
  /** How many lines came before those that are kept. */
  dropped: number;
  progress: { attempt: number | null; value: Exact } | null;
  /** How often the status has changed. */
  changes: number;
  ended: boolean;
  deleted: boolean;
  connection: Connection;
  /** Why the stream was refused; empty if it was not. */
  problem: string;
  /** Listens again, after an action that may continue a job that had ended. */
  again: () => void;
}

export type Heard = Omit<JobStream, "again">;

export function useJobStream(id: string): JobStream {
  const [, draw] = useState(0);
  const [round, next] = useState(0);
  const state = useRef<Heard>(fresh());
  const shown = useRef(id);
  if (shown.current !== id) {
    shown.current = id;
    state.current = fresh();
  }
  useEffect(() => {
    let drawing: number | undefined;
    const stop = follow(id, () => state.current, () => {
      drawing ??= window.setTimeout(() => {
        drawing = undefined;
        draw((count) => count + 1);
      }, DRAW_MS);
    });
    return () => {
      stop();
      window.clearTimeout(drawing);
    };
  }, [id, round]);
  const again = useCallback(() => {
    state.current = fresh();
    next((count) => count + 1);
  }, []);
  return { ...state.current, again };
}

/** Listens while the page is visible and not paused, until the returned function is called. */
export function follow(id: string, state: () => Heard, changed: () => void): () => void {
  const path = `jobs/${encodeURIComponent(id)}/stream`;
  let source: EventSource | null = null;
  let timer: number | undefined;
  let hiding: number | undefined;
  let last = "";
  let failures = 0;
  let stopped = false;
  let asleep = false;
  /** Whether it asks why it was refused. */
  let asking = false;
  /** Why it is refused, if it always will be. Empty otherwise. */
  let refusal = "";
  /** Counts what was closed. What an earlier stream still does has no effect. */
  let generation = 0;
  const say = (connection: Connection, problem = refusal): void => {
    Object.assign(state(), { connection, problem });
    changed();
  };
  const open = (): void => {
    const waits = source !== null || timer !== undefined || asking;
    if (waits || stopped || asleep || refusal !== "" || isPaused() || state().ended) return;
    const opened = new EventSource(`${api}${path}`);
    source = opened;
    // a new connection without the id of the last event begins the log again
    if (!last) Object.assign(state(), { lines: [], dropped: 0 });
    hear(opened, state, (event) => {
      last = event.lastEventId || last;
      changed();
    });
    opened.onopen = () => {
      failures = 0;
      say("live");
    };
    opened.onerror = () => {
      if (source !== opened) return;
      say(state().ended ? "live" : "lost");
      if (opened.readyState === EventSource.CLOSED) void refused();
    };
  };
  /** Finds out why, and listens again later unless the server will never allow it. */
  const refused = async (): Promise<void> => {
    close();
    asking = true;
    const mine = generation;
    const problem = await whyRefused(path);
    if (mine !== generation) return;
    asking = false;
    if (problem !== null && !problem.isOutage) {
      refusal = problem.message;
      return say("lost");
    }
    say("lost", problem?.message ?? "");
    failures += 1;
    timer = window.setTimeout(() => {
      timer = undefined;
      open();
    }, waitMs(failures, problem?.retryAfter ?? null));
  };
  const close = (): void => {
    generation += 1;
    asking = false;
    window.clearTimeout(timer);
    timer = undefined;
    source?.close();
    source = null;
    last = "";
  };
  const pausedOrNot = (): void => {
    const was = state().connection === "paused";
    if (isPaused() && !was) {
      close();
      say("paused");
    } else if (!isPaused()) {
      if (was) say("lost");
      open();
    }
  };
  const onVisibility = (): void => {
    window.clearTimeout(hiding);
    asleep = false;
    if (!document.hidden) return open();
    hiding = window.setTimeout(() => {
      asleep = true;
      close();
    }, HIDDEN_MS);
  };
  pausedOrNot();
  onVisibility();
  const leave = listen(pausedOrNot);
  document.addEventListener("visibilitychange", onVisibility);
  return () => {
    stopped = true;
    leave();
    document.removeEventListener("visibilitychange", onVisibility);
    window.clearTimeout(hiding);
    close();
  };
}

/** Puts the events into the state. */
function hear(source: EventSource, state: () => Heard, after: (event: MessageEvent<string>) => void): void {
  const on = (name: string, act: (data: Record<string, Exact>) => void): void =>
    source.addEventListener(name, (event) => {
      const message = event as MessageEvent<string>;
      act(read(message.data) as Record<string, Exact>);
      after(message);
    });
  on("status", () => void (state().changes += 1));
  on("end", (data) => {
    state().changes += 1;
    state().ended = true;
    state().deleted = data.status === "deleted";
    source.close();
  });
  on("progress", (data) => void (state().progress = { attempt: (data.attempt ?? null) as number | null, value: data.progress ?? null }));
  on("log", (data) => {
    const lines = state().lines;
    lines.push({ attempt: (data.attempt ?? null) as number | null, line: String(data.line), skipped: Number(data.skipped_bytes ?? 0) });
    if (lines.length > MAX_LINES) {
      state().dropped += lines.length - MAX_LINES;
      lines.splice(0, lines.length - MAX_LINES);
    }
  });
}

export const fresh = (): Heard => ({ lines: [], dropped: 0, progress: null, changes: 0, ended: false, deleted: false, connection: "lost", problem: "" });
