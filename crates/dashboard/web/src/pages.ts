// Lists that are read page by page.
import { useCallback, useState } from "preact/hooks";
import { get, Problem } from "./api";
import { useResource, type Resource } from "./use";

export interface Pages<T> {
  first: Resource<unknown>;
  /** The entries of all pages that were read. */
  entries: T[];
  /** Whether there is another page. */
  more: boolean;
  /** Why the last page could not be read. */
  problem: Problem | undefined;
  load: () => void;
  /** Begins again with the first page. */
  refresh: () => void;
}

interface Rest<T> {
  path: string | null;
  entries: T[];
  cursor: string | null | undefined;
  problem?: Problem;
}

type Page = Record<string, unknown> & { next_cursor: string | null };

/** Entries of a list: the first page, again at intervals, and the following ones when the user asks. `id` tells entries apart. */
export function usePages<T>(path: string | null, member: string, id: (entry: T) => string, reading?: Parameters<typeof useResource>[1]): Pages<T> {
  const first = useResource<Page>(path, reading);
  const [rest, set] = useState<Rest<T>>({ path, entries: [], cursor: undefined });
  const mine: Rest<T> = rest.path === path ? rest : { path, entries: [], cursor: undefined };
  const begin = (first.data?.[member] ?? []) as T[];
  const known = new Set(begin.map(id));
  const cursor = mine.cursor === undefined ? first.data?.next_cursor ?? null : mine.cursor;
  const load = useCallback(() => {
    if (cursor === null || path === null) return;
    get<Page>(`${path}${path.includes("?") ? "&" : "?"}cursor=${encodeURIComponent(cursor)}`, { exact: reading?.exact ?? false }).then(
      (page) => set({ path, entries: [...mine.entries, ...(page[member] as T[])], cursor: page.next_cursor }),
      (error: unknown) => set({ ...mine, problem: error instanceof Problem ? error : new Problem(0, "unknown", String(error)) }),
    );
  }, [path, member, cursor, mine]);
  const refresh = useCallback(() => {
    set({ path, entries: [], cursor: undefined });
    first.refresh();
  }, [path, first.refresh]);
  return { first, entries: [...begin, ...mine.entries.filter((entry) => !known.has(id(entry)))], more: cursor !== null, problem: mine.problem, load, refresh };
}
