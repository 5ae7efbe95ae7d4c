// The list of jobs: search, counts per status, and actions on many jobs. The URL has the search, so a view can be shared.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { useLocation } from "preact-iso";
import { get } from "../api";
import { href } from "../base";
import { useMay } from "../context";
import { atLeast, duration, number, short } from "../format";
import { Badge, Empty, Failed, Link, Loaded, Table, Time } from "../parts/basics";
import { HELP, isEmpty, matches, parameters, parse, withStatus, type Filter, type Search } from "../search";
import type { Count, Job, JobPage, Status } from "../types";
import { useLive, useNow, useParameter, useResource } from "../use";
import { Actions } from "./jobs/actions";

const PAGE = 50;
/** The list is read again so often, and when the user asks. */
const EVERY_MS = 30_000;
/** So many jobs are shown, and can be selected, at most. */
const MAX_SHOWN = 1_000;
/** A kind with `*` stands for up to so many kinds. */
const MAX_KINDS = 100;
/** Statuses whose counts are live. */
const LIVE: string[] = ["queued", "running", "scheduled"];
const TABS: (Status | "retrying")[] = ["queued", "running", "scheduled", "retrying", "failed", "completed", "cancelled", "blocked"];

export function JobsScreen() {
  const [text, setText] = useParameter("q");
  const { route } = useLocation();
  // counts cost more than the list, so they are read once for each search, and after a refresh
  const [round, next] = useState(0);
  // relative times refer to the time at which the search began, so that the pages of one search fit together
  const search = useMemo(() => parse(text, Date.now()), [text]);
  useEffect(() => {
    if (search.id && isEmpty(search.filter)) route(href(`jobs/${search.id}`), true);
  }, [search, route]);
  const expanded = useKinds(search);
  return (
    <>
      <h1>Jobs</h1>
      <SearchBar text={text} onSearch={setText} problems={[...search.problems, ...expanded.problems]} />
      <StatusTabs text={text} filter={expanded.filter} round={round} onChoose={setText} />
      {expanded.filter && search.problems.length === 0 ? <List key={text} filter={expanded.filter} search={search} onRefresh={() => next((count) => count + 1)} /> : null}
    </>
  );
}

/** The filter with the names of the kinds that match its patterns; `null` until they are known or if none matches. */
function useKinds(search: Search): { filter: Filter | null; problems: string[] } {
  const patterns = search.filter.kind.filter((kind) => /[*?]/.test(kind));
  const kinds = useResource<{ kinds: { name: string }[] }>(patterns.length > 0 ? "kinds?limit=1000" : null);
  return useMemo(() => {
    if (patterns.length === 0) return { filter: search.filter, problems: [] };
    if (kinds.problem) return { filter: null, problems: [kinds.problem.message] };
    if (!kinds.data) return { filter: null, problems: [] };
    const exact = search.filter.kind.filter((kind) => !patterns.includes(kind));
    const found = kinds.data.kinds.map((kind) => kind.name).filter((name) => patterns.some((pattern) => matches(pattern, name)));
    if (exact.length + found.length === 0) return { filter: null, problems: [`No kind matches ${patterns.join(", ")}.`] };
    if (found.length > MAX_KINDS) return { filter: null, problems: [`${found.length} kinds match ${patterns.join(", ")}; write a longer pattern.`] };
    return { filter: { ...search.filter, kind: [...exact, ...found] }, problems: [] };
  }, [search, kinds.data, kinds.problem]);
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

/** The statuses with their counts. The counts of waiting and running jobs are live if nothing else is asked for. */
function StatusTabs({ text, filter, round, onChoose }: { text: string; filter: Filter | null; round: number; onChoose: (text: string) => void }) {
  const live = useLive();
  const limited = live.connection === "limited";
  const rest = filter ? { ...filter, status: [], retrying: undefined } : null;
  const plain = rest !== null && isEmpty(rest as unknown as Filter);
  const query = rest ? parameters(rest as unknown as Filter).toString() : "";
  const [counts, set] = useState<Partial<Record<string, Count>>>({});
  useEffect(() => {
    if (!rest) return;
    const stopped = new AbortController();
    set({});
    const ask = async (): Promise<void> => {
      for (const tab of TABS) {
        if (plain && !limited && LIVE.includes(tab)) continue;
        const status = tab === "retrying" ? "retrying=true" : `status=${tab}`;
        const count = await get<Count>(`jobs/count?${query}&${status}&limit=10000`.replace("?&", "?"), { signal: stopped.signal }).catch(() => undefined);
        if (stopped.signal.aborted) return;
        set((old) => ({ ...old, [tab]: count }));
      }
    };
    void ask();
    return () => stopped.abort();
  }, [query, filter === null, plain, round, limited]);
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

function List({ filter, search, onRefresh }: { filter: Filter; search: Search; onRefresh: () => void }) {
  const query = parameters(filter).toString();
  const first = useResource<JobPage>(`jobs?limit=${PAGE}${query ? `&${query}` : ""}`, { everyMs: EVERY_MS });
  const [more, setMore] = useState<Job[]>([]);
  const [cursor, setCursor] = useState<string | null | undefined>();
  const [problem, setProblem] = useState<string>("");
  const [chosen, choose] = useState<ReadonlySet<string>>(new Set());
  const now = useNow();
  const next = cursor === undefined ? first.data?.next_cursor ?? null : cursor;
  const load = async (): Promise<void> => {
    try {
      const page = await get<JobPage>(`jobs?limit=${PAGE}&cursor=${next}${query ? `&${query}` : ""}`);
      setMore((old) => [...old, ...page.jobs]);
      setCursor(page.next_cursor);
      setProblem("");
    } catch (error) {
      setProblem(error instanceof Error ? error.message : String(error));
    }
  };
  const done = (): void => {
    choose(new Set());
    setMore([]);
    setCursor(undefined);
    first.refresh();
    onRefresh();
  };
  return (
    <Loaded of={first}>
      {(page) => {
        const known = new Set(page.jobs.map((job) => job.id));
        const jobs = [...page.jobs, ...more.filter((job) => !known.has(job.id))];
        return (
          <>
            <Actions filter={filter} ids={[...chosen]} shown={jobs.length} onDone={done} onClear={() => choose(new Set())} />
            {jobs.length === 0 ? <NoJobs search={search} unfinished={page.next_cursor !== null} /> : <Rows jobs={jobs} now={now} chosen={chosen} choose={choose} />}
            {problem ? <Failed problem={{ message: problem, isOutage: false }} retry={() => void load()} /> : null}
            <div class="more">
              {next && jobs.length < MAX_SHOWN ? <button type="button" onClick={() => void load()}>Show more</button> : jobs.length > 0 ? <span class="quiet">{number(jobs.length)} shown, no more match</span> : null}
              <button type="button" onClick={done} disabled={first.busy}>Refresh</button>
            </div>
          </>
        );
      }}
    </Loaded>
  );
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
      {job.tags.map((tag) => <Link key={tag} class="tag" to={`jobs?q=${encodeURIComponent(/\s/.test(tag) ? `tag:"${tag}"` : `tag:${tag}`)}`}>{tag}</Link>)}
    </>
  );
}
