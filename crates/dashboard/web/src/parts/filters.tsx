// Filters of a list, each of which is a parameter of the URL.
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { useParameter } from "../use";

/** A group of filters above a list. */
export const Filters = ({ label, children }: { label: string; children: ComponentChildren }) => (
  <div class="filters" role="search" aria-label={label}>{children}</div>
);

/** A text, which counts when the user presses Enter or leaves the field. */
export function TextFilter({ name, label, placeholder = "" }: { name: string; label: string; placeholder?: string }) {
  const [value, set] = useParameter(name);
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => {
    if (input.current && input.current.value !== value) input.current.value = value;
  }, [value]);
  return (
    <label class="filter">
      <span>{label}</span>
      <input ref={input} type="search" defaultValue={value} placeholder={placeholder} autocomplete="off" spellcheck={false} onChange={(event) => set(event.currentTarget.value.trim())} />
    </label>
  );
}

/** One of some values; the first is the default and not in the URL. */
export function Choice({ name, label, options }: { name: string; label: string; options: readonly (readonly [value: string, text: string])[] }) {
  const [value, set] = useParameter(name, options[0]?.[0] ?? "");
  return (
    <label class="filter">
      <span>{label}</span>
      <select value={value} onChange={(event) => set(event.currentTarget.value)}>
        {options.map(([option, text]) => <option key={option} value={option}>{text}</option>)}
      </select>
    </label>
  );
}

/** The parameters of the URL that are set, as a query for the API. */
export function queryOf(values: Record<string, string>): string {
  const set = Object.entries(values).filter(([, value]) => value !== "");
  return new URLSearchParams(set).toString();
}
