// The stream of one job: its log, its progress, and that something has changed.
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { api } from "../../base";
import { read, type Exact } from "../../json";
import { isPaused, listen } from "../../live";

/** More lines are not kept; the last ones are. */
const MAX_LINES = 2_000;
const AGAIN_MS = 3_000;
/** The log is drawn at most so often. */
const DRAW_MS = 200;

export interface Line {
  attempt: number | null;
  line: string;
  skipped: number;
}

export interface JobStream {
  lines: Line[];
  /** How many lines came before those that are kept. */
  dropped: number;
  progress: { attempt: number | null; value: Exact } | null;
  /** How often the status has changed. */
  changes: number;
  ended: boolean;
  deleted: boolean;
  /** Listens again, after an action that may continue a job that had ended. */
  again: () => void;
}

export function useJobStream(id: string): JobStream {
  const [, draw] = useState(0);
  const [round, next] = useState(0);
  const state = useRef<Omit<JobStream, "again">>(fresh());
  const shown = useRef(id);
  if (shown.current !== id) {
    shown.current = id;
    state.current = fresh();
  }
  useEffect(() => {
    let source: EventSource | null = null;
    let timer: number | undefined;
    let drawing: number | undefined;
    let last = "";
    const changed = (): void => {
      drawing ??= window.setTimeout(() => {
        drawing = undefined;
        draw((count) => count + 1);
      }, DRAW_MS);
    };
    const open = (): void => {
      if (isPaused()) return;
      source = new EventSource(`${api}jobs/${encodeURIComponent(id)}/stream`);
      // a new connection without the id of the last event begins the log again
      if (!last) Object.assign(state.current, { lines: [], dropped: 0 });
      const on = (name: string, act: (data: Record<string, Exact>) => void): void =>
        source?.addEventListener(name, (event) => {
          const message = event as MessageEvent<string>;
          last = message.lastEventId || last;
          act(read(message.data) as Record<string, Exact>);
          changed();
        });
      on("status", () => void (state.current.changes += 1));
      on("end", (data) => {
        state.current.changes += 1;
        state.current.ended = true;
        state.current.deleted = data.status === "deleted";
        source?.close();
      });
      on("progress", (data) => void (state.current.progress = { attempt: (data.attempt ?? null) as number | null, value: data.progress ?? null }));
      on("log", (data) => {
        const lines = state.current.lines;
        lines.push({ attempt: (data.attempt ?? null) as number | null, line: String(data.line), skipped: Number(data.skipped_bytes ?? 0) });
        if (lines.length > MAX_LINES) {
          state.current.dropped += lines.length - MAX_LINES;
          lines.splice(0, lines.length - MAX_LINES);
        }
      });
      source.onerror = () => {
        if (source?.readyState !== EventSource.CLOSED) return;
        last = "";
        window.clearTimeout(timer);
        timer = window.setTimeout(open, AGAIN_MS);
      };
    };
    const close = (): void => {
      source?.close();
      source = null;
      window.clearTimeout(timer);
    };
    open();
    const forget = listen(() => {
      if (isPaused()) close();
      else if (!source && !state.current.ended) {
        last = "";
        open();
      }
    });
    return () => {
      forget();
      close();
      window.clearTimeout(drawing);
    };
  }, [id, round]);
  const again = useCallback(() => {
    state.current = fresh();
    next((count) => count + 1);
  }, []);
  return { ...state.current, again };
}

const fresh = (): Omit<JobStream, "again"> => ({ lines: [], dropped: 0, progress: null, changes: 0, ended: false, deleted: false });
