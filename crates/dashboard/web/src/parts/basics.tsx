// Small parts that all screens use.
import type { ComponentChildren } from "preact";
import { href } from "../base";
import type { Problem } from "../api";
import { ago, clock } from "../format";
import type { Resource } from "../use";
import type { Status } from "../types";

/** A link to a screen: `<Link to="jobs?q=kind:a">`. */
interface LinkProperties {
  to: string;
  class?: string;
  title?: string;
  children: ComponentChildren;
  "aria-label"?: string;
  "aria-current"?: "page" | undefined;
}

export const Link = ({ to, children, ...rest }: LinkProperties) => (
  <a href={href(to)} {...rest}>{children}</a>
);

/** A status with its colour and a mark, so that it does not depend on colour. */
export const Badge = ({ status, children }: { status: Status | "retrying" | "paused" | "draining" | "live"; children?: ComponentChildren }) => (
  <span class={`badge ${status}`}>{children ?? status}</span>
);

/** A time as a duration from now; the exact time is its title. */
export const Time = ({ at, now }: { at: string | null; now: number }) => {
  if (!at) return <span class="quiet">–</span>;
  return <time dateTime={at} title={`${new Date(at).toLocaleString("en", { hourCycle: "h23" })} (${at})`}>{ago(Date.parse(at), now)}</time>;
};

/** The time of day. */
export const Clock = ({ at, now, seconds = false }: { at: string; now: number; seconds?: boolean }) => (
  <time dateTime={at} title={at}>{clock(Date.parse(at), now, seconds)}</time>
);

/** A part of a screen with a heading. */
export const Card = ({ title, side, children, id }: { title: string; side?: ComponentChildren; children: ComponentChildren; id?: string }) => (
  <section class="card" aria-label={title} id={id}>
    <header><h2>{title}</h2>{side}</header>
    {children}
  </section>
);

/** What a list shows without entries: what it means and what to do. */
export const Empty = ({ title, children }: { title: string; children?: ComponentChildren }) => (
  <div class="empty"><p class="strong">{title}</p>{children}</div>
);

/** Why something failed. `again`: outages are tried again without the user, as `useResource` does. */
export const Failed = ({ problem, retry, again = true }: { problem: Pick<Problem, "message" | "isOutage">; retry?: () => void; again?: boolean }) => (
  <div class="note bad" role="alert">
    <p>{problem.message}</p>
    {again && problem.isOutage ? <p class="quiet">It is tried again by itself.</p> : null}
    {retry && !(again && problem.isOutage) ? <button type="button" onClick={retry}>Try again</button> : null}
  </div>
);

/** The answer to a request, or that it is on its way, or why it failed. After a failure the old answer stays. */
export function Loaded<T>({ of, children }: { of: Omit<Resource<T>, "change">; children: (data: T) => ComponentChildren }) {
  return (
    <>
      {of.problem ? <Failed problem={of.problem} retry={of.refresh} /> : null}
      {of.data !== undefined ? children(of.data) : of.problem ? null : <p class="loading" aria-busy="true">Loading…</p>}
    </>
  );
}

/** A table that can be scrolled sideways by touch and by keyboard. */
export const Table = ({ label, head, children }: { label: string; head: ComponentChildren; children: ComponentChildren }) => (
  <div class="scroll" tabIndex={0} role="region" aria-label={label}>
    <table><thead><tr>{head}</tr></thead><tbody>{children}</tbody></table>
  </div>
);

/** A term and its value. */
export const Fact = ({ name, children }: { name: string; children: ComponentChildren }) => (
  <div class="fact"><dt>{name}</dt><dd>{children}</dd></div>
);

/** Copies a text. Browsers allow `navigator.clipboard` only with HTTPS or on this host, so there is another way. */
export function Copy({ text, label }: { text: string; label: string }) {
  const copy = async (button: HTMLButtonElement): Promise<void> => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = document.createElement("textarea");
      area.value = text;
      area.className = "offscreen";
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    button.dataset.done = "yes";
    window.setTimeout(() => delete button.dataset.done, 1_500);
  };
  return <button type="button" class="copy" aria-label={label} title={label} onClick={(event) => void copy(event.currentTarget)}>copy</button>;
}
