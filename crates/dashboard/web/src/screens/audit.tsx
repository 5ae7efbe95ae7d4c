// Who changed what, when and in which request.
import { now as serverNow } from "../api";
import { useMay } from "../context";
import { number, short } from "../format";
import type { Exact } from "../json";
import { Clock, Empty, Link, Loaded, Table } from "../parts/basics";
import { Choice, Filters, queryOf, TextFilter } from "../parts/filters";
import { More } from "../parts/more";
import { Tree } from "../parts/tree";
import { usePages } from "../pages";
import { instant } from "../search";
import type { AuditEntry } from "../types";
import { useNow, useParameter } from "../use";

/** Actions by what they are about. */
const ABOUT = [["", "All actions"], ["queue.", "Queues"], ["kind.", "Kinds"], ["jobs.", "Jobs"], ["dead_letters.", "Dead letters"], ["redrive.", "Redrives"], ["schedule.", "Schedules"], ["route.", "Routes"], ["worker.", "Workers"], ["api_key.", "API keys"]] as const;

export function AuditScreen() {
  const [actor] = useParameter("actor");
  const [action] = useParameter("action");
  const [target] = useParameter("target");
  const [request_id] = useParameter("request_id");
  const [since] = useParameter("since");
  const [until] = useParameter("until");
  const path = (since: string, until: string): string => `audit?limit=50&${queryOf({ actor, action, target, request_id, since, until })}`;
  // `2h` refers to the time of each reading
  const pathNow = (): string => path(timeOf(since) ?? "", timeOf(until) ?? "");
  const may = useMay("admin");
  const pages = usePages<AuditEntry>(may ? path(since, until) : null, "entries", (entry) => entry.id, { exact: true, everyMs: 60_000, pathNow });
  const narrow = [actor, action, target, request_id, since, until].some((value) => value !== "");
  if (!may) return <><h1>Audit</h1><Empty title="Your key may not see the audit log."><p>It needs the scope <code>admin</code>.</p></Empty></>;
  return (
    <>
      <h1>Audit</h1>
      <Filters label="Filter the audit log">
        <TextFilter name="actor" label="Who" placeholder="root" />
        <Choice name="action" label="Actions" options={ABOUT} />
        <TextFilter name="target" label="What: name or id" />
        <TextFilter name="request_id" label="Request" />
        <TextFilter name="since" label="Since" placeholder="2h, or 2026-11-30" />
        <TextFilter name="until" label="Until" placeholder="1h, or 2026-11-30" />
      </Filters>
      {timeOf(since) === null || timeOf(until) === null ? <p class="note bad" role="alert">Since and until are times: write 30m, 2h, 14d, 2026-11-30 or 2026-11-30T10:00:00Z.</p> : null}
      <Loaded of={pages.first}>
        {() => pages.entries.length === 0 ? (narrow ? <Empty title="No entry matches."><p><Link to="audit">Show all entries</Link></p></Empty> : <Empty title="There are no entries yet."><p>Every change by a person or a key has one.</p></Empty>) : (
          <>
            <Rows entries={pages.entries} />
            <More of={pages} />
          </>
        )}
      </Loaded>
    </>
  );
}

/** The time of a filter; `null` if it is none, `undefined` without a filter. */
function timeOf(text: string): string | null | undefined {
  if (text === "") return undefined;
  const at = instant(text, serverNow());
  return at === null ? null : new Date(at).toISOString();
}

function Rows({ entries }: { entries: AuditEntry[] }) {
  const now = useNow();
  return (
    <Table label="Audit log" head={<><th scope="col">When</th><th scope="col">Who</th><th scope="col">Action</th><th scope="col">What</th><th scope="col" class="number">Changed</th><th scope="col">Details</th></>}>
      {entries.map((entry) => (
        <tr key={entry.id}>
          <td><Clock at={entry.at} now={now} seconds /></td>
          <th scope="row"><Link to={`audit?actor=${encodeURIComponent(entry.actor)}`}>{entry.actor}</Link>{entry.via === "sql" ? <span class="quiet"> in SQL</span> : null}</th>
          <td><code>{entry.action}</code></td>
          <td class="details"><What entry={entry} /></td>
          <td class="number">{number(Number(entry.affected))}</td>
          <td class="wide"><Details entry={entry} /></td>
        </tr>
      ))}
    </Table>
  );
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

const SCREENS = new Map([["queue", "queues/"], ["jobs", "jobs/"], ["schedule", "schedules/"], ["worker", "workers/"], ["api_key", "api-keys?filter="]]);

/** The screen of what was changed. */
function screenOf({ action, target }: AuditEntry): string | null {
  if (target === null) return null;
  const [about = ""] = action.split(".");
  const path = SCREENS.get(about);
  return path && !/\.(delete|revoke)$/.test(action) ? path + encodeURIComponent(target) : null;
}

function What({ entry }: { entry: AuditEntry }) {
  const screen = screenOf(entry);
  if (entry.target === null) return <span class="quiet">several</span>;
  const text = UUID.test(entry.target) ? short(entry.target) : entry.target;
  return screen ? <Link to={screen} title={entry.target}>{text}</Link> : <span title={entry.target}>{text}</span>;
}

function Details({ entry }: { entry: AuditEntry }) {
  const parts: [string, Exact][] = [["Filter", entry.filter], ["Before", entry.before], ["After", entry.after]];
  const given = parts.filter(([, value]) => value !== null && value !== undefined);
  return (
    <details>
      <summary>{given.length > 0 ? given.map(([name]) => name.toLowerCase()).join(", ") : "request"}</summary>
      {given.map(([name, value]) => <div key={name}><p class="quiet">{name}</p><Tree value={value} label={`${name} of ${entry.action}`} /></div>)}
      {entry.request_id ? <p class="quiet">Request <Link class="id" to={`audit?request_id=${encodeURIComponent(entry.request_id)}`}>{entry.request_id}</Link></p> : null}
      {entry.key_id ? <p class="quiet">Key <code>{entry.key_id}</code></p> : null}
      <p class="quiet">Database user <code>{entry.database_user}</code></p>
    </details>
  );
}
