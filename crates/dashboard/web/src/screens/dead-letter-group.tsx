// One group of dead letters: what fails, since when, where, and its jobs.
import { atLeast, number, several, short } from "../format";
import { Card, Empty, Fact, Failed, Link, Loaded, Table, Time } from "../parts/basics";
import { Chart } from "../parts/chart";
import { pace } from "../pace";
import { More } from "../parts/more";
import { usePages } from "../pages";
import type { DeadLetter, GroupDetail } from "../types";
import { useLive, useNow, useParameter, useResource } from "../use";
import { DeadLetterActions } from "./dead-letters/actions";
import { Redrives } from "./dead-letters/redrives";
import { RANGES, useStatistics } from "./overview";

export function DeadLetterGroupScreen({ group }: { group: string }) {
  const live = useLive();
  const path = `dead-letters/groups/${encodeURIComponent(group)}`;
  const read = useResource<GroupDetail>(path, { everyMs: 60_000 });
  const letters = usePages<DeadLetter>(`dead-letters?group=${encodeURIComponent(group)}&limit=50`, "dead_letters", (letter) => letter.id, { everyMs: 60_000 });
  const refresh = (): void => {
    read.refresh();
    letters.refresh();
  };
  const nothing = <Empty title="This group has no dead letters any more."><p>They were retried or deleted. <Link to="dead-letters">Show all dead letters</Link></p></Empty>;
  if (read.problem?.status === 404) return <><h1>Dead letters</h1>{nothing}<Redrives /></>;
  if (!read.data) return <><h1>Dead letters</h1>{read.problem ? <Failed problem={read.problem} retry={read.refresh} /> : <p class="loading" aria-busy="true">Loading…</p>}</>;
  const detail = read.data;
  const count = live.groups.get(group)?.count ?? detail.count;
  return (
    <>
      <div class="head">
        <p class="crumbs"><Link to="dead-letters">Dead letters</Link></p>
        <h1>{detail.kind} <code>{detail.error_type}</code></h1>
        <p class="id">{detail.message}</p>
        {count > 0 ? <DeadLetterActions key={group} filter={{ group }} label="All of this group:" onDone={refresh} /> : null}
      </div>
      {read.problem ? <Failed problem={read.problem} retry={read.refresh} /> : null}
      <div class="columns">
        <Facts detail={detail} count={count} newest={pace(letters.entries.map((letter) => letter.failed_at))} />
        <Hours detail={detail} />
        <Trend kind={detail.kind} />
      </div>
      <Loaded of={letters.first}>{() => letters.entries.length === 0 ? nothing : <><Letters letters={letters.entries} /><More of={letters} /></>}</Loaded>
      <Redrives />
    </>
  );
}

function Facts({ detail, count, newest }: { detail: GroupDetail; count: number; newest: string | null }) {
  const now = useNow();
  return (
    <Card title="Group">
      <dl class="facts">
        <Fact name="Dead letters">{number(count)}</Fact>
        <Fact name="First failure"><Time at={detail.first_failed_at} now={now} /></Fact>
        <Fact name="Last failure"><Time at={detail.last_failed_at} now={now} /></Fact>
        {newest ? <Fact name="Pace">{newest}</Fact> : null}
        <Fact name="Kind"><Link to={`dead-letters?kind=${encodeURIComponent(detail.kind)}`}>{detail.kind}</Link></Fact>
        <Fact name="Queues">{detail.queues.map(({ queue, count: jobs }) => <Link key={queue} class="tag" to={`dead-letters?queue=${encodeURIComponent(queue)}&kind=${encodeURIComponent(detail.kind)}`}>{queue}: {number(jobs)}</Link>)}</Fact>
      </dl>
    </Card>
  );
}

/** A number of an hour stops here. */
const MAX_OF_AN_HOUR = 1_000;

/** When the dead letters of the group failed. */
function Hours({ detail }: { detail: GroupDetail }) {
  const counts = detail.recent.map((hour) => hour.count);
  const sum = counts.reduce((total, count) => total + count, 0);
  const exact = counts.every((count) => count < MAX_OF_AN_HOUR);
  const most = Math.max(0, ...counts);
  const failed = `${several(sum, "dead letter", exact)} of the last 24 h`;
  return (
    <Card title="This group, 24 h">
      <div class="charts">
        <figure>
          <figcaption><span class="failed">{failed}</span> <span class="most">up to {atLeast(most, most < MAX_OF_AN_HOUR)} in an hour</span></figcaption>
          <Chart label={`${failed}, by hour`} lines={[{ class: "failed", values: counts }]} />
        </figure>
        <p class="quiet">Those that are dead letters now, by the hour in which they failed.</p>
      </div>
    </Card>
  );
}

/** The failures of the kind over time: statistics count kinds, not errors. */
function Trend({ kind }: { kind: string }) {
  const [chosen, choose] = useParameter("range", "24h");
  const range = RANGES.find((one) => one.name === chosen) ?? RANGES[1];
  const statistics = useStatistics(range, `&kind=${encodeURIComponent(kind)}`);
  return (
    <Card title={`All failures of ${kind}`} side={<div class="tabs">{RANGES.map((one) => <button key={one.name} type="button" class="tab" aria-pressed={one.name === range.name} onClick={() => choose(one.name)}>{one.label}</button>)}</div>}>
      <Loaded of={statistics}>{({ points, total }) => (
        <div class="charts">
          <p class="quiet">With every error, not only that of this group, and with those that were retried since.</p>
          <figure>
            <figcaption><span class="failed">Failed: {number(total.failed)}</span> <span class="p95">Retried: {number(total.retried)}</span></figcaption>
            <Chart label={`${number(total.failed)} failed and ${number(total.retried)} retried in ${range.label}`} lines={[{ class: "failed", values: points.map((point) => point.failed) }, { class: "p95", values: points.map((point) => point.retried) }]} />
          </figure>
        </div>
      )}</Loaded>
    </Card>
  );
}

function Letters({ letters }: { letters: DeadLetter[] }) {
  const now = useNow();
  return (
    <Table label="Dead letters" head={<><th scope="col">Job</th><th scope="col">Error</th><th scope="col">Queue</th><th scope="col" class="number">Attempts</th><th scope="col" class="number">Failed</th></>}>
      {letters.map((letter) => (
        <tr key={letter.id}>
          <th scope="row"><Link class="id" to={`jobs/${letter.id}`}>{short(letter.id)}</Link></th>
          <td class="wide"><span class="cut" title={letter.message}>{letter.message}</span></td>
          <td><Link to={`queues/${encodeURIComponent(letter.queue)}`}>{letter.queue}</Link></td>
          <td class="number">{letter.attempt}</td>
          <td class="number"><Time at={letter.failed_at} now={now} /></td>
        </tr>
      ))}
    </Table>
  );
}
