// All schedules: when they fire, in words, and what became of the last tick.
import { useMay } from "../context";
import { number } from "../format";
import { Badge, Empty, Link, Loaded, Table, Time } from "../parts/basics";
import { Choice, Filters, queryOf, TextFilter } from "../parts/filters";
import { More } from "../parts/more";
import { usePages } from "../pages";
import type { Schedule } from "../types";
import { useNow, useParameter } from "../use";
import { ScheduleActions } from "./schedules/actions";

const SHOW = [["", "All"], ["true", "Paused"], ["false", "Not paused"]] as const;

export function SchedulesScreen() {
  const [filter] = useParameter("filter");
  const [owner] = useParameter("owner");
  const [paused] = useParameter("paused");
  const query = queryOf({ owner, paused });
  const pages = usePages<Schedule>(`schedules?limit=200${query ? `&${query}` : ""}`, "schedules", (schedule) => schedule.name, { everyMs: 30_000 });
  const found = pages.entries.filter((schedule) => filter === "" || schedule.name.includes(filter) || schedule.spec.job.kind.includes(filter));
  const narrow = filter !== "" || query !== "";
  return (
    <>
      <h1>Schedules</h1>
      <Filters label="Filter schedules">
        <TextFilter name="filter" label="Name or kind contains" />
        <TextFilter name="owner" label="Owner is" />
        <Choice name="paused" label="Show" options={SHOW} />
      </Filters>
      <Loaded of={pages.first}>
        {() => found.length === 0 && !pages.more ? (narrow ? <Empty title="No schedule matches."><p><Link to="schedules">Show all schedules</Link></p></Empty> : <NoSchedules />) : (
          <>
            <Rows schedules={found} onDone={pages.refresh} />
            <More of={pages} />
          </>
        )}
      </Loaded>
    </>
  );
}

const NoSchedules = () => (
  <Empty title="There are no schedules yet."><p>Set one with <code>PUT /v1/schedules/NAME</code>, or apply a file with <code>jobqueue schedule apply</code>.</p></Empty>
);

export const ScheduleState = ({ schedule }: { schedule: Schedule }) => {
  const { status } = schedule;
  if (status === "active") return <Badge status="live">active</Badge>;
  if (status === "paused") return <Badge status="paused" />;
  if (status === "failed") return <Badge status="failed">invalid</Badge>;
  return <Badge status="cancelled">{status}</Badge>;
};

/** When it fires, in words. */
export const Times = ({ schedule }: { schedule: Schedule }) => <>{schedule.in_words ?? schedule.spec.cron ?? "–"}</>;

function Rows({ schedules, onDone }: { schedules: Schedule[]; onDone: () => void }) {
  const may = useMay("write");
  const now = useNow();
  return (
    <Table label="Schedules" head={<>
      <th scope="col">Schedule</th><th scope="col">State</th><th scope="col">Times</th><th scope="col" class="number">Next</th><th scope="col">Kind</th><th scope="col" class="number">Runs</th><th scope="col">Last job</th>
      {may ? <th scope="col"><span class="offscreen">Actions</span></th> : null}
    </>}>
      {schedules.map((schedule) => (
        <tr key={schedule.name}>
          <th scope="row"><Link to={`schedules/${encodeURIComponent(schedule.name)}`}>{schedule.name}</Link></th>
          <td><ScheduleState schedule={schedule} />{schedule.error ? <p class="quiet cut" title={schedule.error}>{schedule.error}</p> : null}</td>
          <td class="details"><Times schedule={schedule} /></td>
          <td class="number"><Time at={schedule.status === "active" ? schedule.next_tick_at : null} now={now} /></td>
          <td><Link to={`jobs?q=${encodeURIComponent(`kind:${schedule.spec.job.kind}`)}`}>{schedule.spec.job.kind}</Link></td>
          <td class="number">{number(schedule.runs)}</td>
          <td>{schedule.last_job_id ? <Link class="id" to={`jobs/${schedule.last_job_id}`}>…{schedule.last_job_id.slice(-8)}</Link> : <span class="quiet">–</span>}</td>
          {may ? <td class="end"><ScheduleActions schedule={schedule} onDone={onDone} /></td> : null}
        </tr>
      ))}
    </Table>
  );
}
