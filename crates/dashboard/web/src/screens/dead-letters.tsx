// Dead letters by what failed: groups with their trend, redrives with their progress, redrive and purge of all that match.
import { number } from "../format";
import { Empty, Link, Loaded, Table, Time } from "../parts/basics";
import { Choice, Filters, queryOf, TextFilter } from "../parts/filters";
import { More } from "../parts/more";
import { Spark, useSparks } from "../parts/spark";
import { usePages } from "../pages";
import type { Group, Statistics } from "../types";
import { useLive, useNow, useParameter } from "../use";
import { DeadLetterActions, type DeadLetterFilter } from "./dead-letters/actions";
import { Redrives } from "./dead-letters/redrives";

const SORT = [["", "Most jobs first"], ["last_failed_at", "Newest failure first"]] as const;

export function DeadLettersScreen() {
  const live = useLive();
  const [queue] = useParameter("queue");
  const [kind] = useParameter("kind");
  const [error_type] = useParameter("error_type");
  const [text] = useParameter("text");
  const [sort] = useParameter("sort");
  const query = queryOf({ queue, kind, error_type, text, sort });
  const pages = usePages<Group>(`dead-letters/groups?limit=50${query ? `&${query}` : ""}`, "groups", (group) => group.group, { everyMs: 60_000 });
  // with a queue the counts are those of that queue, which the stream does not have
  const groups = queue ? pages.entries : pages.entries.map((group) => ({ ...group, count: live.groups.get(group.group)?.count ?? group.count })).filter((group) => group.count > 0);
  const sparks = useSparks("kind", [...new Set(groups.map((group) => group.kind))]);
  const filter: DeadLetterFilter = queue || kind || error_type || text ? { ...(queue ? { queue: [queue] } : {}), ...(kind ? { kind: [kind] } : {}), ...(error_type ? { error_type: [error_type] } : {}), ...(text ? { text } : {}) } : { all: true };
  return (
    <>
      <h1>Dead letters</h1>
      <Filters label="Filter dead letters">
        <TextFilter name="kind" label="Kind is" />
        <TextFilter name="error_type" label="Error type is" />
        <TextFilter name="text" label="Message contains" />
        <TextFilter name="queue" label="Queue is" />
        <Choice name="sort" label="Order" options={SORT} />
      </Filters>
      <Loaded of={pages.first}>
        {() => groups.length === 0 ? (
          filter.all ? <Empty title="No dead letters."><p>Jobs that failed for good appear here, grouped by their error.</p></Empty> : <Empty title="No dead letter matches."><p><Link to="dead-letters">Show all dead letters</Link></p></Empty>
        ) : (
          <>
            <DeadLetterActions key={query} filter={filter} label={filter.all ? "All dead letters:" : "All that match:"} onDone={pages.refresh} />
            <Groups groups={groups} sparks={sparks} />
            <More of={pages} />
          </>
        )}
      </Loaded>
      <Redrives />
    </>
  );
}

function Groups({ groups, sparks }: { groups: Group[]; sparks: Map<string, Statistics> }) {
  const now = useNow();
  return (
    <Table label="Groups of dead letters" head={<>
      <th scope="col">Kind and error</th><th scope="col" class="number">Jobs</th><th scope="col" title="Failed jobs of the kind with every error: statistics count kinds, not groups">All failures of the kind, 24 h</th><th scope="col" class="number">First</th><th scope="col" class="number">Last</th>
    </>}>
      {groups.map((group) => (
        <tr key={group.group}>
          <th scope="row" class="wide"><Link to={`dead-letters/${group.group}`}>{group.kind}</Link> <code>{group.error_type}</code><p class="quiet cut" title={group.message}>{group.message}</p></th>
          <td class="number">{number(group.count)}</td>
          <td><Spark data={sparks.get(group.kind)} of="failed" /></td>
          <td class="number"><Time at={group.first_failed_at} now={now} /></td>
          <td class="number"><Time at={group.last_failed_at} now={now} /></td>
        </tr>
      ))}
    </Table>
  );
}

