// Something is wrong: what, since when, why? The oldest job, what is abnormal in words, and the numbers of an hour, a day and two weeks.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { get, now as serverNow } from "../api";
import { errorShare, findings, oldestOf, toExplain, type Finding } from "../abnormal";
import { useSession } from "../context";
import { duration, number, percent, rate, several } from "../format";
import { Card, Empty, Link, Loaded, Table, Time } from "../parts/basics";
import { Chart } from "../parts/chart";
import type { Explanation, Group, JobPage, Numbers, QueueNow, Statistics } from "../types";
import { useLive, useNow, useParameter, useResource, useTurn, type Resource } from "../use";

export const RANGES = [
  { name: "1h", label: "1 h", seconds: 3_600, step: 60, everyMs: 60_000 },
  { name: "24h", label: "24 h", seconds: 86_400, step: 900, everyMs: 300_000 },
  { name: "14d", label: "14 d", seconds: 1_209_600, step: 14_400, everyMs: 900_000 },
] as const;
/** Queues that wait are explained so often. */
const EXPLAIN_MS = 60_000;
const MAX_QUEUES = 8;

/** The statistics of a range. The begin changes only when they are read again. */
export function useStatistics({ seconds, step, everyMs }: (typeof RANGES)[number], filter = ""): Resource<Statistics> {
  return useResource<Statistics>(`stats?step=${step}${filter}`, { keep: true, everyMs }, (path, options) => {
    // an earlier begin gives the same steps, so all pages ask for the same
    const from = new Date(Math.floor((serverNow() / 1000 - seconds) / step) * step * 1000).toISOString();
    return get<Statistics>(`${path}&from=${from}`, options);
  });
}

export function OverviewScreen() {
  const live = useLive();
  const { limited } = useSession();
  const now = useNow();
  const statistics = RANGES.map((range) => useStatistics(range));
  const [hour, day] = statistics;
  const groups = useResource<{ groups: Group[] }>("dead-letters/groups?sort=last_failed_at&limit=20", { everyMs: 120_000 });
  const queues = [...live.queues.values()];
  const explanations = useExplanations(queues, now);
  const found = live.ready
    ? findings({ now, queues, workers: [...live.workers.values()], seesAllWorkers: !limited, groups: groups.data?.groups ?? [], explanations, hour: hour?.data, hourAt: hour && !hour.problem ? hour.at : null, day: day?.data })
    : null;
  return (
    <>
      <h1>Overview</h1>
      {live.connection === "limited" ? null : <Abnormal found={found} />}
      <Tiles known={live.ready} queues={queues} running={limited ? "in the queues of your key" : slotsInWords(live.workers)} hour={hour?.data} now={now} />
      <Ranges statistics={statistics} />
      <div class="columns">
        <Deepest queues={queues} now={now} ready={live.ready} />
        <Errors groups={groups} />
      </div>
    </>
  );
}

function slotsInWords(workers: ReturnType<typeof useLive>["workers"]): string {
  const slots = [...workers.values()].reduce((sum, worker) => sum + (worker.slots ?? 0), 0);
  return slots > 0 ? `of ${several(slots, "slot")} of ${several(workers.size, "worker")}` : several(workers.size, "worker");
}

/** Why the oldest waiting job of each queue that waits long does not run. */
function useExplanations(queues: QueueNow[], now: number): Map<string, Explanation> {
  const names = toExplain(queues, now).sort().join(" ");
  const turn = useTurn(EXPLAIN_MS);
  const latest = useRef(queues);
  latest.current = queues;
  const [known, set] = useState(new Map<string, Explanation>());
  useEffect(() => {
    const stopped = new AbortController();
    const explain = async (name: string): Promise<[string, Explanation] | null> => {
      const queue = latest.current.find((one) => one.queue === name);
      if (!queue?.oldest_at) return null;
      const page = await get<JobPage>(oldestOf(queue), { signal: stopped.signal });
      const id = page.jobs[0]?.id;
      return id ? [name, await get<Explanation>(`jobs/${id}/explain`, { signal: stopped.signal })] : null;
    };
    // a queue that cannot be explained has no reason in its sentence
    const all = names.split(" ").filter(Boolean).map((name) => explain(name).catch(() => null));
    void Promise.all(all).then((pairs) => stopped.signal.aborted || set(new Map(pairs.filter((pair) => pair !== null))));
    return () => stopped.abort();
  }, [names, turn]);
  return known;
}

function Abnormal({ found }: { found: Finding[] | null }) {
  if (found === null) return <p class="loading" aria-busy="true">Loading…</p>;
  if (found.length === 0) return <p class="note good">Nothing is abnormal now.</p>;
  return (
    <section aria-label="Abnormal now">
      <ul class="findings">
        {found.map((finding) => (
          <li key={finding.text} class={finding.severity}>
            <span class="mark" aria-hidden="true">{finding.severity === "bad" ? "✕" : "!"}</span>
            <span class="what"><Words text={finding.text} /></span>
            {finding.to ? <Link to={finding.to}>Show jobs</Link> : null}
          </li>
        ))}
      </ul>
    </section>
  );
}

/** A sentence with names in backticks. */
export const Words = ({ text }: { text: string }) => (
  <>{text.split("`").map((part, at) => (at % 2 === 1 ? <code key={at}>{part}</code> : part))}</>
);

/** The share of failures; without a job that ended there is none. */
function share(of: Statistics | undefined): string {
  const failed = errorShare(of);
  return failed === null ? "–" : percent(failed);
}

/** `inWords` says of what the running jobs are a part. */
function Tiles({ known, queues, running: inWords, hour, now }: { known: boolean; queues: QueueNow[]; running: string; hour: Statistics | undefined; now: number }) {
  const sum = (of: (queue: QueueNow) => number): number => queues.reduce((total, queue) => total + of(queue), 0);
  const oldest = queues.filter((queue) => queue.oldest_at && queue.queued > 0).sort((a, b) => Date.parse(a.oldest_at ?? "") - Date.parse(b.oldest_at ?? ""))[0];
  const age = oldest ? Math.max(0, (now - Date.parse(oldest.oldest_at ?? "")) / 1000) : 0;
  const running = sum((queue) => queue.running);
  const recent = lastMinutes(hour, 5);
  return (
    <div class="tiles">
      {known ? <>
      <Tile name="Oldest waiting job" value={oldest ? duration(Math.floor(age)) : "none"} detail={oldest ? `in ${oldest.queue}` : "no job waits for a worker"} bad={age >= 60} to={oldest ? `jobs?q=${encodeURIComponent(`status:queued queue:${oldest.queue}`)}` : undefined} />
      <Tile name="Queued" value={number(sum((queue) => queue.queued))} detail={`${number(sum((queue) => queue.scheduled))} scheduled`} to="jobs?q=status:queued" />
      <Tile name="Running" value={number(running)} detail={inWords} to="jobs?q=status:running" />
      </> : null}
      <Tile name="In" value={recent ? rate(recent.created, recent.seconds) : "–"} detail="submitted, last 5 min" />
      <Tile name="Out" value={recent ? rate(recent.ended, recent.seconds) : "–"} detail="ended, last 5 min" />
      <Tile name="Failed" value={share(hour)} detail={hour ? `${number(hour.total.failed)} in the last hour` : ""} bad={(errorShare(hour) ?? 0) >= 0.05} to="jobs?q=status:failed" />
    </div>
  );
}

/** The last whole minutes that were counted. */
function lastMinutes(hour: Statistics | undefined, minutes: number): { created: number; ended: number; seconds: number } | null {
  if (!hour?.counted_until) return null;
  const until = Date.parse(hour.counted_until);
  const whole = hour.points.filter((point) => Date.parse(point.at) + hour.step_seconds * 1000 <= until).slice(-minutes);
  if (whole.length === 0) return null;
  const sum = (of: (point: Numbers) => number): number => whole.reduce((total, point) => total + of(point), 0);
  return { created: sum((point) => point.created), ended: sum((point) => point.completed + point.failed + point.cancelled), seconds: whole.length * hour.step_seconds };
}

function Tile({ name, value, detail, bad = false, to }: { name: string; value: string; detail: string; bad?: boolean; to?: string | undefined }) {
  const inner = <><span class="name">{name}</span><span class={bad ? "value bad" : "value"}>{value}</span><span class="detail">{detail}</span></>;
  return to ? <Link class="tile" to={to}>{inner}</Link> : <div class="tile">{inner}</div>;
}

function Ranges({ statistics }: { statistics: Resource<Statistics>[] }) {
  const [chosen, choose] = useParameter("range", "1h");
  const at = Math.max(0, RANGES.findIndex((range) => range.name === chosen));
  const problem = statistics.find((one) => one.problem);
  const cells = (of: (one: Statistics) => string) => statistics.map((one, column) => <td key={column} class={column === at ? "number chosen" : "number"}>{one.data ? of(one.data) : "…"}</td>);
  const span = (seconds: number | null): string => (seconds === null ? "–" : duration(seconds));
  const rows: [string, (one: Statistics) => string][] = [
    ["Submitted", (one) => number(one.total.created)],
    ["Completed", (one) => number(one.total.completed)],
    ["Failed", (one) => number(one.total.failed)],
    ["Share of failures", share],
    ["Retried", (one) => number(one.total.retried)],
    ["Wait, p50", (one) => span(one.total.wait.p50_seconds)],
    ["Wait, p95", (one) => span(one.total.wait.p95_seconds)],
    ["Run, p50", (one) => span(one.total.run.p50_seconds)],
    ["Run, p95", (one) => span(one.total.run.p95_seconds)],
  ];
  return (
    <div class="columns wide-first">
      <Card title="Numbers">
        {problem?.problem ? <p class="note bad" role="alert">{problem.problem.message}</p> : null}
        <Table label="Numbers of an hour, a day and two weeks" head={<>
          <th scope="col"><span class="offscreen">What</span></th>
          {RANGES.map((range, column) => (
            <th key={range.name} scope="col" class="number">
              <button type="button" class="link" aria-pressed={column === at} onClick={() => choose(range.name)}>{range.label}</button>
            </th>
          ))}
        </>}>
          {rows.map(([name, of]) => <tr key={name}><th scope="row">{name}</th>{cells(of)}</tr>)}
        </Table>
      </Card>
      <Card title={`Rates and times, ${RANGES[at]?.label ?? ""}`}>
        <Loaded of={statistics[at] as Resource<Statistics>}>{(one) => <Charts of={one} />}</Loaded>
      </Card>
    </div>
  );
}

export function Charts({ of }: { of: Statistics }) {
  const { points } = of;
  return useMemo(() => (
    <div class="charts">
      <figure>
        <figcaption><span class="in">Submitted</span> <span class="out">Completed</span> <span class="failed">Failed</span> <span class="most">up to {rate(most(points.flatMap((point) => [point.created, point.completed, point.failed])), of.step_seconds)}</span></figcaption>
        <Chart label="Jobs submitted, completed and failed over time" lines={[
          { class: "in", values: points.map((point) => point.created) },
          { class: "out", values: points.map((point) => point.completed) },
          { class: "failed", values: points.map((point) => point.failed) },
        ]} />
      </figure>
      <figure>
        <figcaption><span class="p50">Wait p50</span> <span class="p95">Wait p95</span> <Most seconds={points.map((point) => point.wait.p95_seconds)} /></figcaption>
        <Chart label="Median and 95th percentile of the wait over time" lines={[
          { class: "p50", values: points.map((point) => point.wait.p50_seconds) },
          { class: "p95", values: points.map((point) => point.wait.p95_seconds) },
        ]} />
      </figure>
      <figure>
        <figcaption><span class="p50">Run p50</span> <span class="p95">Run p95</span> <Most seconds={points.map((point) => point.run.p95_seconds)} /></figcaption>
        <Chart label="Median and 95th percentile of the run time over time" lines={[
          { class: "p50", values: points.map((point) => point.run.p50_seconds) },
          { class: "p95", values: points.map((point) => point.run.p95_seconds) },
        ]} />
      </figure>
    </div>
  ), [points]);
}

const Most = ({ seconds }: { seconds: (number | null)[] }) => <span class="most">{most(seconds) > 0 ? `up to ${duration(most(seconds))}` : "no data"}</span>;

const most = (values: (number | null)[]): number => Math.max(0, ...values.map((value) => value ?? 0));

function Deepest({ queues, now, ready }: { queues: QueueNow[]; now: number; ready: boolean }) {
  const oldest = (queue: QueueNow): number => (queue.oldest_at && queue.queued > 0 ? now - Date.parse(queue.oldest_at) : -1);
  const busiest = [...queues].filter((queue) => queue.queued + queue.running > 0).sort((a, b) => oldest(b) - oldest(a) || b.queued - a.queued).slice(0, MAX_QUEUES);
  return (
    <Card title="Queues that wait longest">
      {busiest.length === 0 ? (ready ? <Empty title="No job waits or runs." /> : null) : (
        <Table label="Queues that wait longest" head={<><th scope="col">Queue</th><th scope="col" class="number">Oldest</th><th scope="col" class="number">Queued</th><th scope="col" class="number">Running</th></>}>
          {busiest.map((queue) => (
            <tr key={queue.queue}>
              <th scope="row"><Link to={`queues/${encodeURIComponent(queue.queue)}`}>{queue.queue}</Link>{queue.paused ? <> <span class="badge paused">paused</span></> : null}</th>
              <td class="number">{oldest(queue) >= 0 ? duration(Math.max(0, Math.floor(oldest(queue) / 1000))) : "–"}</td>
              <td class="number">{number(queue.queued)}</td>
              <td class="number">{number(queue.running)}</td>
            </tr>
          ))}
        </Table>
      )}
    </Card>
  );
}

function Errors({ groups }: { groups: Resource<{ groups: Group[] }> }) {
  const now = useNow();
  return (
    <Card title="Newest failures">
      <Loaded of={groups}>
        {({ groups }) => groups.length === 0 ? <Empty title="No dead letters."><p>Jobs that failed for good appear here, grouped by their error.</p></Empty> : (
          <Table label="Newest failures" head={<><th scope="col">Kind and error</th><th scope="col" class="number">Jobs</th><th scope="col" class="number">Last</th></>}>
            {groups.slice(0, MAX_QUEUES).map((group) => (
              <tr key={group.group}>
                <td><Link to={`dead-letters/${group.group}`}>{group.kind}</Link> <code>{group.error_type}</code><p class="quiet cut" title={group.message}>{group.message}</p></td>
                <td class="number">{number(group.count)}</td>
                <td class="number"><Time at={group.last_failed_at} now={now} /></td>
              </tr>
            ))}
          </Table>
        )}
      </Loaded>
    </Card>
  );
}
