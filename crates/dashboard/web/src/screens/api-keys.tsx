// API keys: who may do what. The text of a key is shown once, when it is made.
import { useState } from "preact/hooks";
import { act, now as serverNow } from "../api";
import { useMay } from "../context";
import { duration, several } from "../format";
import { Badge, Clock, Empty, Link, Loaded, Table, Time } from "../parts/basics";
import { useDialogs } from "../parts/dialog";
import { Choice, Filters, TextFilter } from "../parts/filters";
import { More } from "../parts/more";
import { usePages } from "../pages";
import { usePerform } from "../perform";
import type { ApiKey } from "../types";
import { useNow, useParameter } from "../use";
import { CreateForm, EditForm } from "./api-keys/form";
import { RotateForm } from "./api-keys/rotate";
import { Shown, type NewKey } from "./api-keys/shown";

/** The form that is open, and of which key. */
type Form = { what: "create" } | { what: "edit" | "rotate"; of: ApiKey };

const SHOW = [["", "Valid and expired"], ["true", "Revoked"]] as const;

export function ApiKeysScreen() {
  const may = useMay("admin");
  const [filter] = useParameter("filter");
  const [revoked] = useParameter("revoked");
  const pages = usePages<ApiKey>(may ? `api-keys?limit=200${revoked ? "&revoked=true" : ""}` : null, "api_keys", (key) => key.id, { everyMs: 60_000 });
  const [form, open] = useState<Form | null>(null);
  const [made, show] = useState<NewKey | null>(null);
  const found = pages.entries.filter((key) => filter === "" || key.name.includes(filter) || key.id.includes(filter));
  const done = (key: NewKey): void => {
    open(null);
    show(key);
    pages.refresh();
  };
  if (!may) return <><h1>API keys</h1><Empty title="Your key may not see keys."><p>It needs the scope <code>admin</code>.</p></Empty></>;
  return (
    <>
      <h1>API keys</h1>
      <Filters label="Filter API keys">
        <TextFilter name="filter" label="Name or id contains" />
        <Choice name="revoked" label="Show" options={SHOW} />
      </Filters>
      <div class="actions"><button type="button" class="primary" onClick={() => open({ what: "create" })}>Create a key…</button></div>
      <Loaded of={pages.first}>
        {() => found.length === 0 && !pages.more ? (filter || revoked ? <Empty title="No key matches."><p><Link to="api-keys">Show all keys</Link></p></Empty> : <NoKeys />) : (
          <>
            <Rows keys={found} onDone={pages.refresh} open={open} />
            <More of={pages} />
          </>
        )}
      </Loaded>
      {form?.what === "create" ? <CreateForm onClose={() => open(null)} onDone={done} /> : null}
      {form?.what === "edit" ? <EditForm of={form.of} onClose={() => open(null)} onDone={pages.refresh} /> : null}
      {form?.what === "rotate" ? <RotateForm of={form.of} onClose={() => open(null)} onDone={done} /> : null}
      {made ? <Shown made={made} onClose={() => show(null)} /> : null}
    </>
  );
}

const NoKeys = () => <Empty title="There are no keys yet."><p>The root key of the installation may do everything. Give each program and person a key with less.</p></Empty>;

function State({ of }: { of: ApiKey }) {
  if (of.revoked_at) return <Badge status="cancelled">revoked</Badge>;
  if (of.expires_at && Date.parse(of.expires_at) <= serverNow()) return <Badge status="failed">expired</Badge>;
  return <Badge status="live">valid</Badge>;
}

function Rows({ keys, onDone, open }: { keys: ApiKey[]; onDone: () => void; open: (form: Form) => void }) {
  const now = useNow();
  return (
    <Table label="API keys" head={<>
      <th scope="col">Key</th><th scope="col">State</th><th scope="col">Scopes</th><th scope="col">Limited to</th><th scope="col" class="number">Last used</th><th scope="col" class="number">Expires</th><th scope="col">Created by</th><th scope="col"><span class="offscreen">Actions</span></th>
    </>}>
      {keys.map((key) => (
        <tr key={key.id}>
          <th scope="row">{key.name}<p class="id">{key.id}</p>{key.description ? <p class="quiet">{key.description}</p> : null}{key.owner ? <p class="quiet">managed by {key.owner}</p> : null}</th>
          <td><State of={key} />{key.previous_until && Date.parse(key.previous_until) > now ? <p class="quiet">old text until <Clock at={key.previous_until} now={now} /></p> : null}</td>
          <td>{key.scopes.map((scope) => <span key={scope} class="tag">{scope}</span>)}</td>
          <td class="details"><Limits of={key} /></td>
          <td class="number">{key.last_used_at ? <Time at={key.last_used_at} now={now} /> : <span class="quiet">never</span>}</td>
          <td class="number">{key.expires_at ? <Time at={key.expires_at} now={now} /> : <span class="quiet">never</span>}</td>
          <td>{key.created_by}<p class="quiet"><Time at={key.created_at} now={now} /></p></td>
          <td class="end">{key.revoked_at ? null : <KeyActions of={key} onDone={onDone} open={open} />}</td>
        </tr>
      ))}
    </Table>
  );
}

function Limits({ of }: { of: ApiKey }) {
  const lines = [
    of.queues ? `queues ${of.queues.join(", ")}` : "",
    of.kinds ? `kinds ${of.kinds.join(", ")}` : "",
    of.hide.length > 0 ? `hides ${of.hide.join(", ")}` : "",
    of.rate ? `${several(of.rate.requests, "request")} in ${duration(of.rate.per_seconds)}` : "",
  ].filter(Boolean);
  return lines.length === 0 ? <span class="quiet">nothing</span> : <>{lines.map((line) => <p key={line}>{line}</p>)}</>;
}

function KeyActions({ of, onDone, open }: { of: ApiKey; onDone: () => void; open: (form: Form) => void }) {
  const { confirm } = useDialogs();
  const { busy, perform } = usePerform(onDone);
  const now = useNow();
  const revoke = async (): Promise<void> => {
    const body = <p>Requests with it are refused within seconds. It was {of.last_used_at ? <>last used <Time at={of.last_used_at} now={now} /></> : "never used"}. This cannot be undone.</p>;
    if (await confirm({ title: `Revoke ${of.name}?`, body, action: "Revoke 1 key", danger: true })) await perform(() => act("DELETE", `api-keys/${of.id}`), `${of.name} is revoked.`);
  };
  return (
    <div class="actions tight" role="group" aria-label={`Actions on ${of.name}`}>
      <button type="button" disabled={busy} aria-label={`Change ${of.name}`} onClick={() => open({ what: "edit", of })}>Change…</button>
      <button type="button" disabled={busy} aria-label={`Rotate ${of.name}`} onClick={() => open({ what: "rotate", of })}>Rotate…</button>
      <button type="button" class="danger-outline" disabled={busy} aria-label={`Revoke ${of.name}`} onClick={() => void revoke()}>Revoke</button>
    </div>
  );
}
