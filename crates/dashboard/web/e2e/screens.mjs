// Each screen with real data: for the checks of all screens, and for the pictures of the documentation. Add a line for a new screen.
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { api, signedIn, sql, ui } from "./harness.mjs";

const heading = (name) => (page) => page.getByRole("heading", { level: 1, name }).waitFor();

/** `path` may ask the database; `ready` waits until the screen shows what it should. */
export const SCREENS = [
  { name: "overview", path: async () => "", ready: async (page) => { await heading("Overview")(page); await page.getByRole("cell", { name: /\d/ }).first().waitFor(); await page.getByText("New failure").first().waitFor(); await page.getByRole("row", { name: /^Failed \d\d/ }).waitFor(); } },
  { name: "jobs", path: async () => "jobs", ready: async (page) => { await heading("Jobs")(page); await page.getByRole("row").nth(3).waitFor(); await page.getByRole("button", { name: /^blocked\s+\d/ }).waitFor(); } },
  { name: "jobs-failed", path: async () => "jobs?q=status:failed kind:card.* error:exit_1", ready: async (page) => { await page.getByRole("row").nth(3).waitFor(); await page.getByRole("button", { name: /^blocked\s+\d/ }).waitFor(); } },
  { name: "jobs-empty", path: async () => "jobs?q=queue:none", ready: (page) => page.getByText("No job matches").waitFor() },
  { name: "job-failed", path: async () => `jobs/${(await sql("SELECT id FROM jobs WHERE kind = 'card.charge' AND status = 'failed' LIMIT 1"))[0].id}`, ready: (page) => page.getByLabel("Log", { exact: true }).waitFor() },
  { name: "job-waiting", path: async () => `jobs/${(await sql("SELECT id FROM jobs WHERE queue = 'reports' LIMIT 1"))[0].id}`, ready: (page) => page.getByText("Why it waits").waitFor() },
  { name: "queues", path: async () => "queues", ready: (page) => page.getByRole("row").filter({ hasText: "bulk-7" }).getByText("paused").waitFor() },
  { name: "queue", path: async () => "queues/default", ready: async (page) => { await page.getByText(/jobs submitted/).waitFor(); await page.getByRole("progressbar").waitFor(); } },
  { name: "workers", path: async () => "workers", ready: (page) => page.getByRole("row").filter({ hasText: "worker-1" }).waitFor() },
  { name: "worker", path: async () => `workers/${(await sql("SELECT id FROM jobqueue.worker WHERE name = 'worker-1' LIMIT 1"))[0].id}`, ready: (page) => page.getByText("Commands of the last day").waitFor() },
  { name: "schedules", path: async () => "schedules", ready: (page) => page.getByRole("row").filter({ hasText: "nightly-report" }).waitFor() },
  { name: "schedule", path: async () => "schedules/nightly-report", ready: async (page) => { await page.getByText(/^Clocks in/).waitFor(); await page.getByText("What it submits").waitFor(); } },
  { name: "dead-letters", path: async () => "dead-letters", ready: (page) => page.getByRole("row").filter({ hasText: "card.charge" }).waitFor() },
  { name: "dead-letter-group", path: async () => `dead-letters/${(await api("GET", "dead-letters/groups?kind=card.charge")).groups[0].group}`, ready: async (page) => { await page.getByText(/^Failed: /).waitFor(); await page.getByRole("row").nth(3).waitFor(); } },
  { name: "audit", path: async () => "audit?target=bulk-7", ready: (page) => page.getByRole("row").filter({ hasText: "queue.pause" }).getByText("before, after").click() },
  { name: "api-keys", path: async () => "api-keys", ready: (page) => page.getByRole("row").filter({ hasText: "grafana" }).waitFor() },
];

/** Writes `NAME-light.png` and `NAME-dark.png` of each screen. */
export async function screenshots() {
  const folder = process.env.DASHBOARD_SCREENSHOTS;
  await mkdir(folder, { recursive: true });
  const running = (await api("POST", "jobs", { kind: "log.slow", queue: "default", payload: { user: 42, big: 1 } })).id;
  const { page } = await signedIn({ viewport: { width: 1280, height: 800 } });
  const all = [...SCREENS, { name: "job-running", path: async () => `jobs/${running}`, ready: (page) => page.getByLabel("Log", { exact: true }).getByText("line 3").waitFor() }];
  for (const { name, path, ready } of all) {
    await page.goto(ui(await path()));
    await ready(page);
    if (name === "overview") await page.getByText(/no worker/).first().waitFor();
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      await page.screenshot({ path: join(folder, `${name}-${colorScheme}.png`), animations: "disabled" });
    }
  }
  await page.setViewportSize({ width: 360, height: 740 });
  await page.goto(ui());
  await all[0].ready(page);
  await page.emulateMedia({ colorScheme: "light" });
  await page.screenshot({ path: join(folder, "overview-narrow.png"), animations: "disabled" });
}
