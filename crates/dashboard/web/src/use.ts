// Hooks: what a screen reads, and when it reads it again.
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { useLocation } from "preact-iso";
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

export interface Resource<T> {
  /** The last answer, also while the next one is on its way or has failed. */
  data: T | undefined;
  /** Why the last request failed. */
  problem: Problem | undefined;
  busy: boolean;
  /** Reads again now. */
  refresh: () => void;
}

interface Reading {
  /** Reads again after so long, if the page is visible and not paused. Choose it long: a hundred open pages must cost little. */
  everyMs?: number;
  /** Numbers stay as they were sent. */
  exact?: boolean;
  /** The old answer stays until the next one, also if the path changes. */
  keep?: boolean;
}

/** After an outage a request is repeated this soon. */
const OUTAGE_MS = 4_000;

/** `GET /v1/PATH`, again at intervals. With `null` nothing is read. */
export function useResource<T>(path: string | null, { everyMs, exact = false, keep = false }: Reading = {}): Resource<T> {
  const [state, set] = useState<{ path: string | null; data?: T; problem?: Problem; busy: boolean }>({ path, busy: true });
  const [round, next] = useState(0);
  const refresh = useCallback(() => next((count) => count + 1), []);
  useEffect(() => {
    if (path === null) return;
    const stopped = new AbortController();
    let timer: number | undefined;
    const again = (ms: number): void => {
      timer = window.setTimeout(() => (document.hidden || isPaused() ? again(ms) : refresh()), ms);
    };
    set((old) => (keep || old.path === path ? { ...old, path, busy: true } : { path, busy: true }));
    get<T>(path, { signal: stopped.signal, exact }).then(
      (data) => {
        set({ path, data, busy: false });
        if (everyMs) again(everyMs);
      },
      (error: unknown) => {
        if (stopped.signal.aborted) return;
        const problem = error instanceof Problem ? error : new Problem(0, "unknown", String(error));
        set((old) => ({ ...old, path, problem, busy: false }));
        if (problem.isOutage) again(OUTAGE_MS);
      },
    );
    return () => {
      stopped.abort();
      window.clearTimeout(timer);
    };
  }, [path, exact, keep, everyMs, round, refresh]);
  const mine = keep || state.path === path;
  return { data: mine ? state.data : undefined, problem: mine ? state.problem : undefined, busy: state.busy, refresh };
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
