// Lists that are read page by page.
import { useCallback, useRef, useState } from "preact/hooks";
import { get, Problem } from "./api";
import { useResource, type Resource } from "./use";

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

/** Entries of a list: the pages that are shown, again at intervals, and the following ones when the user asks. `id` tells entries apart. */
export function usePages<T>(path: string | null, member: string, id: (entry: T) => string, reading: NonNullable<Parameters<typeof useResource>[1]> = {}): Pages<T> {
  const [shown, show] = useState({ path, pages: 1 });
  const pages = shown.path === path ? shown.pages : 1;
  const wanted = useRef(pages);
  wanted.current = pages;
  const isFollowed = pages <= MAX_FOLLOWED;
  const first = useResource<Read<T>>(path, { ...reading, mayRepeat: () => wanted.current <= MAX_FOLLOWED }, (from, request) => readPages<T>((one) => get<Page>(one, request), from, member, wanted.current));
  const [last, set] = useState<{ path: string | null; loading: boolean; problem?: Problem }>({ path, loading: false });
  const mine = last.path === path ? last : { path, loading: false };
  const cursor = first.data?.cursor ?? null;
  const load = useCallback(() => {
    if (cursor === null || path === null) return;
    set({ path, loading: true });
    readPages<T>((one) => get<Page>(one, { exact: reading.exact ?? false }), path, member, 1, cursor).then(
      (page) => {
        set({ path, loading: false });
        // the list was read again meanwhile: this page does not fit to it
        first.change((data) => (data.cursor === cursor ? joined(data, page, id) : data));
        show((old) => ({ path, pages: (old.path === path ? old.pages : 1) + 1 }));
      },
      (error: unknown) => set({ path, loading: false, problem: error instanceof Problem ? error : new Problem(0, "unknown", String(error)) }),
    );
  }, [path, member, cursor, first.change]);
  const refresh = useCallback(() => {
    wanted.current = 1;
    show({ path, pages: 1 });
    set({ path, loading: false });
    first.refresh();
  }, [path, first.refresh]);
  return { first, entries: first.data?.entries ?? [], more: cursor !== null, loading: mine.loading, isFollowed, problem: mine.problem, load, refresh };
}
