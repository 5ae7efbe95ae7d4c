// The list of jobs: search, counts per status, and actions on many jobs. The URL has the search, so a view can be shared.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { useLocation } from "preact-iso";
import { get, now as serverNow } from "../api";
import { href } from "../base";
import { useMay } from "../context";
import { atLeast, duration, number, short } from "../format";
import { Badge, Empty, Link, Loaded, Table, Time } from "../parts/basics";
import { More } from "../parts/more";
import { readPages, usePages, type Read } from "../pages";
import { expand, HELP, isEmpty, isIndexed, parameters, parse, quote, withStatus, type Filter, type Search } from "../search";
import type { Count, Job, Status } from "../types";
import { useLive, useNow, useParameter, useResource, useTurn } from "../use";
import { Actions } from "./jobs/actions";

const PAGE = 50;
/** The counts of statuses cost more than the list, so they are read less often, and without an index only with the list. */
const COUNT_MS = 120_000;
/** The list is read again so often, and when the user asks. */
const EVERY_MS = 30_000;
/** A pattern of kinds is compared with so many thousand kinds. */
const MAX_KIND_PAGES = 10;
/** Statuses whose counts are live. */
const LIVE: string[] = ["queued", "running", "scheduled"];
const TABS: (Status | "retrying")[] = ["queued", "running", "scheduled", "retrying", "failed", "completed", "cancelled", "blocked"];

export function JobsScreen() {
  const [text, setText] = useParameter("q");
  const { route } = useLocation();
  const [round, next] = useState(0);
  // `2h` refers to the time of each reading, so this filter only says which search it is
  const [began] = useState(serverNow);
  const search = useMemo(() => parse(text, began), [text, began]);
  useEffect(() => {
    if (search.id) route(href(`jobs/${search.id}`), true);
  }, [search, route]);
  const kinds = useKinds(search, round);
  const expanded = kinds.of(search);
  const filter = search.problems.length === 0 ? expanded.filter : null;
  const filterNow = (): Filter | null => kinds.of(parse(text, serverNow())).filter;
  return (
    <>
      <h1>Jobs</h1>
      <SearchBar text={text} onSearch={setText} problems={[...search.problems, ...expanded.problems]} />
      <StatusTabs text={text} filter={filter} filterNow={filterNow} round={round} onChoose={setText} />
      {filter && !search.id ? <List key={text} filter={filter} filterNow={filterNow} search={search} onRefresh={() => next((count) => count + 1)} /> : null}
    </>
  );
}

type Kinds = Read<{ name: string }>;

/** Replaces the patterns of a search by the kinds that match; the filter is `null` until they are known. */
function useKinds(search: Search, round: number): { of: (search: Search) => { filter: Filter | null; problems: string[] } } {
  const needed = search.filter.kind.some((kind) => /[*?]/.test(kind));
  const all = useResource<Kinds>(needed ? "kinds?limit=1000" : null, {}, (path, request) => readPages((one) => get(one, request), path, "kinds", MAX_KIND_PAGES));
  useEffect(() => {
    if (round > 0) all.refresh();
  }, [round, all.refresh]);
  return {
    of: ({ filter }) => {
      if (!needed) return { filter, problems: [] };
      if (!all.data) return { filter: null, problems: all.problem ? [all.problem.message] : [] };
      if (all.data.cursor !== null) return { filter: null, problems: [`There are more than ${number(MAX_KIND_PAGES * 1_000)} kinds, and a pattern is compared with no more; write whole names.`] };
      return expand(filter, all.data.entries.map((kind) => kind.name));
    },
  };
}

function SearchBar({ text, onSearch, problems }: { text: string; onSearch: (text: string) => void; problems: string[] }) {
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => {
    if (input.current && input.current.value !== text) input.current.value = text;
  }, [text]);
  const submit = (event: Event): void => {
    event.preventDefault();
    onSearch(input.current?.value.trim() ?? "");
  };
  return (
    <form class="search" onSubmit={submit}>
      <input ref={input} type="search" name="q" defaultValue={text} aria-label="Search jobs" aria-describedby="search-problems" placeholder="kind:report.* tag:vip error:Timeout payload.user=42 before:2h" autocomplete="off" spellcheck={false} />
      <button type="submit" class="primary">Search</button>
      <details class="help">
        <summary>Help</summary>
        <dl>{HELP.map(([term, meaning]) => <div key={term}><dt><code>{term}</code></dt><dd>{meaning}</dd></div>)}</dl>
      </details>
      <div id="search-problems" role="status">{problems.map((problem) => <p key={problem} class="note bad">{problem}</p>)}</div>
    </form>
  );
}

/** The filter without what it says about the status. */
function anyStatus({ retrying: _, ...filter }: Filter): Filter {
  return { ...filter, status: [] };
}

/** The statuses with their counts. The counts of waiting and running jobs are live if nothing else is asked for. */
function StatusTabs({ text, filter, filterNow, round, onChoose }: { text: string; filter: Filter | null; filterNow: () => Filter | null; round: number; onChoose: (text: string) => void }) {
  const live = useLive();
  const limited = live.connection === "limited";
  const plain = filter !== null && isEmpty(anyStatus(filter));
  const query = filter ? parameters(anyStatus(filter)).toString() : "";
  const [counts, set] = useState<Partial<Record<string, Count>>>({});
  const turn = useTurn(filter && isIndexed(filter) ? COUNT_MS : null);
  // the counts of another search say nothing about this one
  useEffect(() => set({}), [query, filter === null]);
  useEffect(() => {
    const begun = filter && filterNow();
    if (!begun) return;
    const rest = parameters(anyStatus(begun)).toString();
    const stopped = new AbortController();
    const ask = async (): Promise<void> => {
      for (const tab of TABS) {
        if (plain && !limited && LIVE.includes(tab)) continue;
        const status = tab === "retrying" ? "retrying=true" : `status=${tab}`;
        const count = await get<Count>(`jobs/count?${rest}&${status}&limit=10000`.replace("?&", "?"), { signal: stopped.signal }).catch(() => undefined);
        if (stopped.signal.aborted) return;
        set((old) => ({ ...old, [tab]: count }));
      }
    };
    void ask();
    return () => stopped.abort();
  }, [query, filter === null, plain, round, limited, turn]);
  const totals = useMemo(() => {
    const sum = (of: "queued" | "running" | "scheduled"): number => [...live.queues.values()].reduce((total, queue) => total + queue[of], 0);
    return { queued: sum("queued"), running: sum("running"), scheduled: sum("scheduled") } as Partial<Record<string, number>>;
  }, [live.version]);
  const shown = (tab: string): string => {
    if (plain && live.ready && totals[tab] !== undefined) return number(totals[tab]);
    const count = counts[tab];
    return count ? atLeast(count.count, count.exact) : "";
  };
  const chosen = filter?.retrying ? "retrying" : filter?.status.length === 1 ? filter.status[0] : filter?.status.length === 0 ? "" : undefined;
  const tab = (name: string, label: string) => (
    <li key={name}>
      <button type="button" aria-pressed={chosen === name} class={`tab ${name}`} onClick={() => onChoose(withStatus(text, name || null))}>
        {label} {name ? <span class="count">{shown(name)}</span> : null}
      </button>
    </li>
  );
  return <ul class="tabs" aria-label="Statuses">{tab("", "All")}{TABS.map((name) => tab(name, name === "retrying" ? "retrying now" : name))}</ul>;
}

function List({ filter, filterNow, search, onRefresh }: { filter: Filter; filterNow: () => Filter | null; search: Search; onRefresh: () => void }) {
  const pathNow = (): string => pathOf(filterNow() ?? filter);
  const pages = usePages<Job>(pathOf(filter), "jobs", (job) => job.id, { everyMs: EVERY_MS, keep: true, pathNow });
  const [chosen, choose] = useState<ReadonlySet<string>>(new Set());
  const now = useNow();
  const done = (): void => {
    choose(new Set());
    pages.refresh();
    onRefresh();
  };
  const jobs = pages.entries;
  return (
    <Loaded of={pages.first}>
      {() => (
        <>
          <Actions filter={filter} filterNow={filterNow} ids={[...chosen]} shown={jobs.length} onDone={done} onClear={() => choose(new Set())} />
          {jobs.length === 0 ? <NoJobs search={search} unfinished={pages.more} /> : <Rows jobs={jobs} now={now} chosen={chosen} choose={choose} />}
          <More of={{ ...pages, refresh: done }} />
        </>
      )}
    </Loaded>
  );
}

function pathOf(filter: Filter): string {
  const query = parameters(filter).toString();
  return `jobs?limit=${PAGE}${query ? `&${query}` : ""}`;
}

function NoJobs({ search, unfinished }: { search: Search; unfinished: boolean }) {
  if (unfinished) return <Empty title="No match among the newest jobs."><p>The search goes through the jobs step by step. Show more continues it; a status, a queue or a time makes it faster.</p></Empty>;
  if (isEmpty(search.filter)) return <Empty title="There are no jobs yet."><p>Submit one with <code>POST /v1/jobs</code> or <code>jobqueue submit</code>.</p></Empty>;
  return <Empty title="No job matches."><p>Final jobs are deleted after their retention. <Link to="jobs">Show all jobs</Link></p></Empty>;
}

function Rows({ jobs, now, chosen, choose }: { jobs: Job[]; now: number; chosen: ReadonlySet<string>; choose: (ids: ReadonlySet<string>) => void }) {
  const selectable = useMay("admin");
  const all = jobs.every((job) => chosen.has(job.id));
  const toggle = (id: string, on: boolean): void => {
    const next = new Set(chosen);
    if (on) next.add(id);
    else next.delete(id);
    choose(next);
  };
  return (
    <Table label="Jobs" head={<>
      {selectable ? <th scope="col" class="check"><input type="checkbox" aria-label="Select all jobs that are shown" checked={all} onChange={(event) => choose(event.currentTarget.checked ? new Set(jobs.map((job) => job.id)) : new Set())} /></th> : null}
      <th scope="col">Status</th><th scope="col">Kind</th><th scope="col">Job</th><th scope="col">Queue</th><th scope="col" class="number">Attempt</th><th scope="col">When</th><th scope="col">Details</th>
    </>}>
      {jobs.map((job) => (
        <tr key={job.id} class={chosen.has(job.id) ? "chosen" : ""}>
          {selectable ? <td class="check"><input type="checkbox" aria-label={`Select job ${job.id}`} checked={chosen.has(job.id)} onChange={(event) => toggle(job.id, event.currentTarget.checked)} /></td> : null}
          <td>{job.status === "scheduled" && job.attempt > 0 ? <Badge status="retrying" /> : <Badge status={job.status} />}</td>
          <th scope="row"><Link to={`jobs/${job.id}`}>{job.kind}</Link></th>
          <td><Link to={`jobs/${job.id}`} class="id" title={job.id}>{short(job.id)}</Link></td>
          <td><Link to={`jobs?q=${encodeURIComponent(`queue:${job.queue}`)}`}>{job.queue}</Link></td>
          <td class="number">{job.attempt}/{job.max_attempts}</td>
          <td><When job={job} now={now} /></td>
          <td class="details"><Details job={job} /></td>
        </tr>
      ))}
    </Table>
  );
}

const When = ({ job, now }: { job: Job; now: number }) => {
  if (job.status === "scheduled") return <Time at={job.run_at} now={now} />;
  if (job.status === "running") return job.started_at ? <time dateTime={job.started_at} title={job.started_at}>for {duration(Math.max(0, Math.floor((now - Date.parse(job.started_at)) / 1000)))}</time> : <span class="quiet">–</span>;
  return <Time at={job.finished_at ?? job.created_at} now={now} />;
};

function Details({ job }: { job: Job }) {
  return (
    <>
      {job.error ? <span class="cut" title={job.error.message}><code>{job.error.type}</code> {job.error.message}</span> : null}
      {job.tags.map((tag) => <Link key={tag} class="tag" to={`jobs?q=${encodeURIComponent(`tag:${quote(tag)}`)}`}>{tag}</Link>)}
    </>
  );
}
