// JSON that can be folded, with numbers as they were sent.
import { isNumber, write, type Exact } from "../json";
import { Copy } from "./basics";

/** Deeper levels and longer lists begin folded. */
const OPEN_LEVELS = 2;
const OPEN_ENTRIES = 20;
/** More entries of one level are not drawn. */
const MAX_ENTRIES = 500;
const MAX_TEXT = 2_000;

export const Tree = ({ value, label }: { value: Exact; label: string }) => (
  <div class="tree" tabIndex={0} role="region" aria-label={label}>
    <Copy text={write(value)} label={`Copy ${label} as JSON`} />
    <Node value={value} level={0} />
  </div>
);

function Node({ name, value, level }: { name?: string | undefined; value: Exact; level: number }) {
  const key = name === undefined ? null : <span class="key">{name}: </span>;
  if (value === null || typeof value !== "object" || isNumber(value)) return <div class="leaf">{key}<Leaf value={value} /></div>;
  const list = Array.isArray(value);
  const entries: [string, Exact][] = list ? value.map((entry, at) => [String(at), entry]) : Object.entries(value);
  if (entries.length === 0) return <div class="leaf">{key}<span class="quiet">{list ? "[]" : "{}"}</span></div>;
  return (
    <details open={level < OPEN_LEVELS && entries.length <= OPEN_ENTRIES}>
      <summary>{key}<span class="quiet">{list ? `[${entries.length}]` : `{${entries.length}}`}</span></summary>
      <div class="level">
        {entries.slice(0, MAX_ENTRIES).map(([entry, inner]) => <Node key={entry} name={entry} value={inner} level={level + 1} />)}
        {entries.length > MAX_ENTRIES ? <p class="quiet">{entries.length - MAX_ENTRIES} more: copy the JSON to see them</p> : null}
      </div>
    </details>
  );
}

function Leaf({ value }: { value: Exact }) {
  if (typeof value === "string") {
    const cut = value.length > MAX_TEXT;
    return <span class="string">{JSON.stringify(cut ? value.slice(0, MAX_TEXT) : value)}{cut ? <span class="quiet"> … {value.length} characters</span> : null}</span>;
  }
  return <span class="literal">{String(value)}</span>;
}
