// Lists that are read page by page.
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { get, Problem } from "./api";
import { useResource, type Reading, type Resource } from "./use";

/** So many pages are read again by themselves. With more, the list stays as it is until the user reads it again. */
const MAX_FOLLOWED = 4;

type Page = Record<string, unknown> & { next_cursor: string | null };
type Get = (path: string) => Promise<Page>;

/** The pages of a list that were read. */
export interface Read<T> {
  entries: T[];
  /** Of the next page; `null` at the end. */
  cursor: string | null;
  /** How many pages these are. */
  pages: number;
}

export interface Pages<T> {
  first: Omit<Resource<unknown>, "change">;
  /** The entries of all pages that were read. */
  entries: T[];
  /** Whether there is another page. */
  more: boolean;
  /** Whether the next page is on its way. */
  loading: boolean;
  /** Whether the list is read again by itself. */
  isFollowed: boolean;
  /** Why the last page could not be read. */
  problem: Problem | undefined;
  load: () => void;
  /** Begins again with the first page. */
  refresh: () => void;
}

/** The next pages after `cursor`, up to `pages`. Pages that are read one after the other leave no gap between them. */
export async function readPages<T>(get: Get, path: string, member: string, pages: number, cursor: string | null = null): Promise<Read<T>> {
  const read: Read<T> = { entries: [], cursor, pages: 0 };
  do {
    const next = read.cursor === null ? path : `${path}${path.includes("?") ? "&" : "?"}cursor=${encodeURIComponent(read.cursor)}`;
    const page = await get(next);
    read.entries.push(...(page[member] as T[]));
    read.cursor = page.next_cursor;
    read.pages += 1;
  } while (read.cursor !== null && read.pages < pages);
  return read;
}

/** Both, where an entry that moved from one page to the next counts once. */
export function joined<T>(before: Read<T>, after: Read<T>, id: (entry: T) => string): Read<T> {
  const known = new Set(before.entries.map(id));
  return { entries: [...before.entries, ...after.entries.filter((entry) => !known.has(id(entry)))], cursor: after.cursor, pages: before.pages + after.pages };
}

/** What one reading of a list was about. */
interface Listed<T> extends Read<T> {
  /** The path that names the list. */
  list: string;
  /** What was asked for, without a cursor. */
  path: string;
  /** How many pages were asked for; there may be fewer. */
  asked: number;
}

/** `pathNow` is the path for a reading that begins now, if it depends on the time. */
type Paging<T> = Omit<Reading<Listed<T>>, "merge" | "mayRepeat"> & { pathNow?: () => string };

/**
 * Entries of a list: the pages that are shown, again at intervals, and the following ones when the user asks. `id` tells entries apart. A path
 * that differs is another list.
 */
export function usePages<T>(path: string | null, member: string, id: (entry: T) => string, { pathNow, ...reading }: Paging<T> = {}): Pages<T> {
  // so many pages are read the next time: those that are shown, and the one that is on its way
  const wanted = useRef({ list: path, pages: 1 });
  const next = useRef<AbortController | null>(null);
  const [last, set] = useState<{ list: string | null; loading: boolean; problem?: Problem }>({ list: path, loading: false });
  if (wanted.current.list !== path) wanted.current = { list: path, pages: 1 };
  const mine = last.list === path ? last : { list: path, loading: false };
  const exact = reading.exact ?? false;
  const first = useResource<Listed<T>>(
    path,
    {
      ...reading,
      mayRepeat: () => next.current === null && wanted.current.pages <= MAX_FOLLOWED,
      // an answer that was asked for before the user wanted the next page has fewer pages than are shown then
      merge: (old, answer) => (old.list === answer.list && answer.asked < wanted.current.pages ? old : answer),
    },
    async (list, request) => {
      const [at, asked] = [pathNow?.() ?? list, wanted.current.pages];
      return { ...(await readPages<T>((one) => get<Page>(one, request), at, member, asked)), list, path: at, asked };
    },
  );
  const leave = useCallback(() => {
    next.current?.abort();
    next.current = null;
  }, []);
  useEffect(() => leave, [path]);
  const shown = first.data;
  const latest = useRef(shown);
  latest.current = shown;
  // what is shown when the list begins again: another page does not fit to it
  const outdated = useRef<Listed<T> | undefined>(undefined);
  const isOutdated = shown !== undefined && (shown.list !== path || shown === outdated.current);
  const load = useCallback(() => {
    if (!shown || shown.cursor === null || isOutdated || next.current !== null) return;
    const mine = new AbortController();
    next.current = mine;
    const before = wanted.current.pages;
    wanted.current.pages = shown.pages + 1;
    set({ list: path, loading: true });
    readPages<T>((one) => get<Page>(one, { exact, signal: mine.signal }), shown.path, member, 1, shown.cursor).then(
      (page) => {
        if (next.current !== mine) return;
        next.current = null;
        set({ list: path, loading: false });
        first.change((data) => (data.list === path && data.cursor === shown.cursor ? { ...data, ...joined(data, page, id) } : data));
      },
      (error: unknown) => {
        if (next.current !== mine) return;
        next.current = null;
        wanted.current.pages = before;
        set({ list: path, loading: false, problem: error instanceof Problem ? error : new Problem(0, "unknown", String(error)) });
      },
    );
  }, [path, member, exact, shown, isOutdated, first.change]);
  const refresh = useCallback(() => {
    leave();
    outdated.current = latest.current;
    wanted.current = { list: path, pages: 1 };
    set({ list: path, loading: false });
    first.refresh();
  }, [path, first.refresh]);
  return {
    first, entries: shown?.entries ?? [], more: shown !== undefined && shown.cursor !== null, loading: mine.loading || isOutdated,
    isFollowed: wanted.current.pages <= MAX_FOLLOWED, problem: mine.problem, load, refresh,
  };
}
