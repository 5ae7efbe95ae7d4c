// What is around every screen: navigation, search for an id, the state of the live updates, theme, and sign out.
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { useLocation } from "preact-iso";
import { signOut } from "./api";
import { docs, href, ui } from "./base";
import { useSession } from "./context";
import * as live from "./live";
import { Link } from "./parts/basics";
import { Boundary } from "./parts/boundary";
import { useDialogs } from "./parts/dialog";
import { screens } from "./screens";
import { setTheme, theme, type Theme } from "./theme";
import type { Session } from "./types";
import { useLive } from "./use";

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

export function Frame({ children, onSignedOut }: { children: ComponentChildren; onSignedOut: (session: Session) => void }) {
  const { path, url } = useLocation();
  const who = useSession();
  const screen = path.slice(ui.length).split("/")[0] ?? "";
  const main = useRef<HTMLElement>(null);
  const first = useRef(true);
  const { say } = useDialogs();
  // the page stays as it is until the server has removed the cookie
  const leave = (): void =>
    void signOut().then(
      (session) => {
        live.stop();
        onSignedOut(session);
      },
      (error: unknown) => say(`You are still signed in. ${error instanceof Error ? error.message : String(error)}`, true),
    );
  useEffect(() => {
    // a screen reader reads the new screen, as after a load
    if (!first.current) main.current?.focus();
    first.current = false;
    const name = main.current?.querySelector("h1")?.textContent;
    document.title = name ? `${name} · jobqueue` : "jobqueue";
  }, [path]);
  return (
    <div class="frame">
      <a class="skip" href="#main" onClick={(event) => { event.preventDefault(); main.current?.focus(); }}>Skip to content</a>
      <header class="top">
        <Link class="brand" to=""><img src={`${ui}assets/icon.svg`} alt="" width="22" height="22" /> jobqueue</Link>
        <nav aria-label="Screens">
          {screens.filter((entry) => entry.nav && (!entry.scope || who.scopes.includes(entry.scope))).map((entry) => (
            <Link key={entry.path} to={entry.path} aria-current={entry.path === screen ? "page" : undefined}>{entry.nav}</Link>
          ))}
        </nav>
        <Jump />
        <div class="controls">
          <Pulse />
          <ThemeButton />
          <a href={docs} title="The page of the REST API">API</a>
          {who.key_required ? (
            <button type="button" onClick={leave} title={`Signed in as ${who.name ?? ""}`}>Sign out</button>
          ) : null}
        </div>
      </header>
      <Outage />
      <main id="main" ref={main} tabIndex={-1}><Boundary name="This screen" of={url}>{children}</Boundary></main>
      <footer>jobqueue {who.version} · signed in as {who.name}{who.scopes.includes("write") ? "" : " (read only)"} · <a href={`${ui}assets/licenses.txt`} target="_blank">Licences</a></footer>
    </div>
  );
}

/** Opens a job by its id, from everywhere. `/` moves the focus here. */
function Jump() {
  const { route } = useLocation();
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => {
    const key = (event: KeyboardEvent): void => {
      const inText = event.target instanceof HTMLElement && /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
      if (event.key !== "/" || inText || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      input.current?.focus();
    };
    document.addEventListener("keydown", key);
    return () => document.removeEventListener("keydown", key);
  }, []);
  const go = (event: Event): void => {
    event.preventDefault();
    const text = input.current?.value.trim() ?? "";
    if (!text) return;
    route(UUID.test(text) ? href(`jobs/${text.toLowerCase()}`) : href(`jobs?q=${encodeURIComponent(text)}`));
    if (input.current) input.current.value = "";
  };
  return (
    <form role="search" class="jump" onSubmit={go}>
      <input ref={input} type="search" name="jump" placeholder="Job id or search  ( / )" aria-label="Job id, or a search such as kind:report.*" autocomplete="off" spellcheck={false} />
    </form>
  );
}

const WORDS: Record<live.Connection, string> = {
  connecting: "Connecting",
  live: "Live",
  paused: "Paused",
  lost: "No connection",
  down: "Database down",
  limited: "Not live",
};

/** Whether the page is live, and the button that pauses it. */
function Pulse() {
  const { connection } = useLive();
  const paused = connection === "paused";
  return (
    <button type="button" class={`pulse ${connection}`} aria-pressed={paused} onClick={() => live.pause(!paused)} title={paused ? "Continue the live updates" : "Pause the live updates"}>
      {WORDS[connection]}<span class="hint">{paused ? " ▸" : " ❚❚"}</span>
    </button>
  );
}

function ThemeButton() {
  const [now, set] = useState<Theme>(theme);
  const next: Theme = now === "system" ? "dark" : now === "dark" ? "light" : "system";
  return (
    <button type="button" class="theme" title={`Theme: ${now}. Change to ${next}`} aria-label={`Theme: ${now}. Change to ${next}`} onClick={() => { setTheme(next); set(next); }}>
      {now === "system" ? "◐" : now === "dark" ? "☾" : "☀"}
    </button>
  );
}

/** A line while the numbers on the page may be old. */
function Outage() {
  const { connection, reason } = useLive();
  if (connection === "lost") return <p class="outage" role="alert">{reason || "The API cannot be reached."} What you see is as old as the last update; the page connects again by itself.</p>;
  if (connection === "limited") return <p class="outage limited">This key sees only a part of the jobs, or may not read: there are no live counts of queues and workers.</p>;
  if (connection === "down") return <p class="outage" role="alert">The database cannot be reached{reason ? `: ${reason}` : ""}. The page continues by itself.</p>;
  return null;
}
