// One schedule: its next runs in its zone and in that of the browser, what became of the last ticks, and what it submits.
import { useMemo } from "preact/hooks";
import { now as serverNow } from "../api";
import { duration, entryOf, number } from "../format";
import { Badge, Card, Clock, Empty, Fact, Failed, Link, Loaded, Table, Time } from "../parts/basics";
import { More } from "../parts/more";
import { Tree } from "../parts/tree";
import { usePages } from "../pages";
import type { Exact } from "../json";
import type { Schedule, Status, Tick, Upcoming } from "../types";
import { useNow, useResource } from "../use";
import { browserZone, changeInWords, local, nextChange, offset } from "../zone";
import { Words } from "./overview";
import { ScheduleState, Times } from "./schedules";
import { ScheduleActions } from "./schedules/actions";

const EVERY_MS = 30_000;

export function ScheduleScreen({ name }: { name: string }) {
  const path = `schedules/${encodeURIComponent(name)}`;
  const read = useResource<Schedule>(path, { everyMs: EVERY_MS, exact: true });
  const ticks = usePages<Tick>(`${path}/ticks?limit=20`, "ticks", (tick) => tick.tick_at, { everyMs: EVERY_MS });
  const refresh = (): void => {
    read.refresh();
    ticks.refresh();
  };
  if (read.problem?.status === 404) return <><h1>{name}</h1><Empty title="There is no such schedule."><p><Link to="schedules">Show all schedules</Link></p></Empty></>;
  const schedule = read.data;
  if (!schedule) return <><h1>{name}</h1>{read.problem ? <Failed problem={read.problem} retry={read.refresh} /> : <p class="loading" aria-busy="true">Loading…</p>}</>;
  return (
    <>
      <div class="head">
        <p class="crumbs"><Link to="schedules">Schedules</Link></p>
        <h1>{name} <ScheduleState schedule={schedule} /></h1>
        <p><Times schedule={schedule} /></p>
        {schedule.spec.description ? <p class="quiet">{schedule.spec.description}</p> : null}
        <ScheduleActions schedule={schedule} onDone={refresh} />
      </div>
      {read.problem ? <Failed problem={read.problem} retry={read.refresh} /> : null}
      {schedule.error ? <p class="note bad" role="alert">It is invalid and has no ticks: {schedule.error}</p> : null}
      {schedule.status === "paused" ? <p class="note">It is paused, so these runs do not happen until it is resumed.</p> : null}
      <div class="columns wide-first">
        <NextRuns schedule={schedule} />
        <Rules schedule={schedule} />
      </div>
      <div class="columns">
        <Card title="Last ticks">
          <Loaded of={ticks.first}>{() => ticks.entries.length === 0 ? <Empty title="No tick yet." /> : <><Ticks ticks={ticks.entries} /><More of={ticks} /></>}</Loaded>
        </Card>
        <Card title="What it submits"><Tree value={schedule.spec.job as Exact} label="Job" /></Card>
      </div>
    </>
  );
}

function NextRuns({ schedule }: { schedule: Schedule }) {
  const { cron, time_zone = "UTC", dst = "shift" } = schedule.spec;
  // another next tick: the ones after it are others too
  const path = schedule.status === "failed" ? null : `schedules/${encodeURIComponent(schedule.name)}/preview?n=5`;
  const preview = useResource<{ ticks: Upcoming[] }>(path, { everyMs: 60_000 });
  const now = useNow();
  const mine = browserZone();
  const change = useMemo(() => (cron && time_zone !== "UTC" ? nextChange(time_zone, serverNow()) : null), [cron, time_zone]);
  if (!path) return <Card title="Next runs"><Empty title="None, because it is invalid." /></Card>;
  return (
    <Card title="Next runs">
      <Loaded of={preview}>
        {({ ticks }) => ticks.length === 0 ? <Empty title="It has no more runs." /> : (
          <Table label="Next runs" head={<><th scope="col">In {time_zone}</th>{mine === time_zone ? null : <th scope="col">In {mine} (yours)</th>}<th scope="col" class="number">Fires</th></>}>
            {ticks.map((tick) => (
              <tr key={tick.tick_at}>
                <th scope="row" title={tick.local}>{local(Date.parse(tick.tick_at), time_zone)}{crosses(tick, ticks[0], time_zone) ? <> <span class="tag">other clocks</span></> : null}</th>
                {mine === time_zone ? null : <td title={tick.tick_at}>{local(Date.parse(tick.tick_at), mine)}</td>}
                <td class="number"><Time at={tick.fires_at} now={now} /></td>
              </tr>
            ))}
          </Table>
        )}
      </Loaded>
      {change ? <p class="summary"><Words text={changeInWords(time_zone, change, dst)} /></p> : null}
    </Card>
  );
}

/** Whether clocks are set between the first tick and this one. */
const crosses = (tick: Upcoming, first: Upcoming | undefined, zone: string): boolean =>
  first !== undefined && offset(Date.parse(tick.tick_at), zone) !== offset(Date.parse(first.tick_at), zone);

const MISSED: Record<string, string> = { one: "the newest missed tick fires", skip: "none fires", all: "all fire, oldest first" };
const OVERLAP: Record<string, string> = { allow: "both run", skip: "the tick has no job", queue_one: "one tick waits", cancel_previous: "the job before is cancelled" };

function Rules({ schedule }: { schedule: Schedule }) {
  const now = useNow();
  const { spec } = schedule;
  return (
    <Card title="Rules">
      <dl class="facts">
        {spec.cron ? <Fact name="Cron"><code>{spec.cron}</code></Fact> : null}
        <Fact name="Job"><Link to={`jobs?q=${encodeURIComponent(`kind:${spec.job.kind} metadata.schedule=${JSON.stringify(schedule.name)}`)}`}>{spec.job.kind}</Link></Fact>
        <Fact name="After an outage">{entryOf(MISSED, spec.missed ?? "one", spec.missed)}</Fact>
        <Fact name="While the job before runs">{entryOf(OVERLAP, spec.overlap ?? "allow", spec.overlap)}</Fact>
        {spec.jitter_seconds ? <Fact name="Jitter">up to {duration(Number(spec.jitter_seconds))}</Fact> : null}
        {spec.start_at ? <Fact name="Not before"><Clock at={spec.start_at} now={now} /></Fact> : null}
        {spec.end_at ? <Fact name="Not after"><Clock at={spec.end_at} now={now} /></Fact> : null}
        <Fact name="Runs">{number(Number(schedule.runs))}{spec.max_runs ? ` of ${number(Number(spec.max_runs))}` : ""}</Fact>
        {schedule.paused_at ? <Fact name="Paused since"><Clock at={schedule.paused_at} now={now} /></Fact> : null}
        {spec.owner ? <Fact name="Owner"><Link to={`schedules?owner=${encodeURIComponent(spec.owner)}`}>{spec.owner}</Link></Fact> : null}
        <Fact name="Changed"><Time at={schedule.changed_at} now={now} /></Fact>
      </dl>
    </Card>
  );
}

const FATES: Record<Tick["fate"], [status: Status | "retrying", meaning: string]> = {
  fired: ["completed", "its job was submitted"],
  waiting: ["scheduled", "waits for the end of the job before"],
  missed: ["failed", "no job: missed in an outage"],
  overlap: ["cancelled", "no job: the one before ran"],
  expired: ["cancelled", "no job: it would have expired"],
  unique: ["cancelled", "no job: another one holds the unique key"],
};

function Fate({ of }: { of: Tick["fate"] }) {
  const [status, meaning] = entryOf<(typeof FATES)[Tick["fate"]]>(FATES, of, ["cancelled", ""]);
  return <><Badge status={status}>{of}</Badge> <span class="quiet">{meaning}</span></>;
}

function Ticks({ ticks }: { ticks: Tick[] }) {
  const now = useNow();
  return (
    <Table label="Last ticks" head={<><th scope="col">Tick</th><th scope="col">What became of it</th><th scope="col">Job</th></>}>
      {ticks.map((tick) => (
        <tr key={tick.tick_at}>
          <th scope="row"><Clock at={tick.tick_at} now={now} seconds /></th>
          <td><Fate of={tick.fate} /></td>
          <td>{tick.job_id ? <Link class="id" to={`jobs/${tick.job_id}`}>…{tick.job_id.slice(-8)}</Link> : <span class="quiet">–</span>}</td>
        </tr>
      ))}
    </Table>
  );
}
