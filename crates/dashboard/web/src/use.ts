// Hooks: what a screen reads, and when it reads it again.
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { useLocation } from "preact-iso";
import { spreadMs, waitMs } from "./again";
import { get, now, Problem } from "./api";
import { current, isPaused, listen, type Live } from "./live";

/** The live state; draws again when it changes. */
export function useLive(): Live {
  const [, draw] = useState(0);
  useEffect(() => listen(() => draw((count) => count + 1)), []);
  return current();
}

/** The time by the clock of the server, every few seconds. Stands still while the page is paused. */
export function useNow(everyMs = 5_000): number {
  const [time, set] = useState(now);
  useEffect(() => {
    const timer = window.setInterval(() => !document.hidden && !isPaused() && set(now()), everyMs);
    return () => window.clearInterval(timer);
  }, [everyMs]);
  // what has just arrived is not in the future
  return isPaused() ? time : Math.max(time, now());
}

/** Counts up every so often, while the page is visible and not paused, from when it was drawn first: pages do not ask at the same time. `null`: never. */
export function useTurn(everyMs: number | null): number {
  const [turn, next] = useState(0);
  useEffect(() => {
    if (everyMs === null) return;
    let timer: number;
    const wait = (): void => {
      timer = window.setTimeout(() => {
        if (!document.hidden && !isPaused()) next((count) => count + 1);
        wait();
      }, spreadMs(everyMs));
    };
    wait();
    return () => window.clearTimeout(timer);
  }, [everyMs]);
  return turn;
}

export interface Resource<T> {
  /** The last answer, also while the next one is on its way or has failed. */
  data: T | undefined;
  /** Why the last request failed. */
  problem: Problem | undefined;
  busy: boolean;
  /** When the last answer arrived, by the clock of the server; 0 without one. */
  at: number;
  /** Reads again now. */
  refresh: () => void;
  /** Replaces the answer by one that has more. */
  change: (change: (data: T) => T) => void;
}

export interface Reading<T> {
  /** Reads again after so long, if the page is visible and not paused. Choose it long: a hundred open pages must cost little. */
  everyMs?: number;
  /** Numbers stay as they were sent. */
  exact?: boolean;
  /** The old answer stays until the next one, also if the path changes. */
  keep?: boolean;
  /** Whether it may be read again by itself now. */
  mayRepeat?: () => boolean;
  /** What to show after an answer to the same path: by default the answer. */
  merge?: (old: T, next: T) => T;
}

interface State<T> {
  path: string | null;
  data?: T;
  problem?: Problem;
  busy: boolean;
  at: number;
}

/** `GET /v1/PATH`, again at intervals. With `null` nothing is read. `read` may need several requests for an answer. */
export function useResource<T>(path: string | null, { everyMs, exact = false, keep = false, mayRepeat, merge = (_, next) => next }: Reading<T> = {}, read: (path: string, options: { signal: AbortSignal; exact: boolean }) => Promise<T> = get<T>): Resource<T> {
  const [state, set] = useState<State<T>>({ path, busy: true, at: 0 });
  const [round, next] = useState(0);
  const failures = useRef(0);
  const latest = useRef({ read, mayRepeat, merge });
  latest.current = { read, mayRepeat, merge };
  const refresh = useCallback(() => next((count) => count + 1), []);
  useEffect(() => {
    if (path === null) return;
    const stopped = new AbortController();
    let timer: number | undefined;
    const again = (ms: number): void => {
      timer = window.setTimeout(() => (document.hidden || isPaused() || latest.current.mayRepeat?.() === false ? again(ms) : refresh()), ms);
    };
    set((old) => (keep || old.path === path ? { ...old, path, busy: true } : { path, busy: true, at: 0 }));
    latest.current.read(path, { signal: stopped.signal, exact }).then(
      (data) => {
        if (stopped.signal.aborted) return;
        failures.current = 0;
        set((old) => {
          const shown = old.data === undefined ? data : latest.current.merge(old.data, data);
          return { path, data: shown, busy: false, at: shown === old.data ? old.at : now() };
        });
        if (everyMs) again(spreadMs(everyMs));
      },
      (error: unknown) => {
        if (stopped.signal.aborted) return;
        const problem = error instanceof Problem ? error : new Problem(0, "unknown", String(error));
        set((old) => ({ ...old, path, problem, busy: false }));
        failures.current += 1;
        if (problem.isOutage) again(waitMs(failures.current, problem.retryAfter));
      },
    );
    return () => {
      stopped.abort();
      window.clearTimeout(timer);
    };
  }, [path, exact, keep, everyMs, round, refresh]);
  const mine = keep || state.path === path;
  const change = useCallback((make: (data: T) => T) => set((old) => (old.path === path && old.data !== undefined ? { ...old, data: make(old.data) } : old)), [path]);
  return { data: mine ? state.data : undefined, problem: mine ? state.problem : undefined, busy: state.busy, at: mine ? state.at : 0, refresh, change };
}

/** A parameter of the URL, which makes a view a link that can be shared. */
export function useParameter(name: string, fallback = ""): [string, (value: string) => void] {
  const { query, route } = useLocation();
  const latest = useRef(query);
  latest.current = query;
  const set = useCallback(
    (value: string) => {
      const all = new URLSearchParams(latest.current as Record<string, string>);
      if (value === fallback) all.delete(name);
      else all.set(name, value);
      const text = all.toString();
      // the path of the router has no slash at its end, which the overview needs
      route(text ? `${location.pathname}?${text}` : location.pathname);
    },
    [name, fallback, route],
  );
  return [(query as Record<string, string>)[name] ?? fallback, set];
}
