// What the scenarios share: the browser, and the questions to the test that started this program. A question is a line that begins with `@`;
// the test answers with a line. So the scenarios can read the database, and stop and start servers, without a driver of their own.
import assert from "node:assert/strict";
import { createInterface } from "node:readline";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

export const BASE = process.env.DASHBOARD_URL;
export const KEY = process.env.DASHBOARD_KEY;
export const ui = (path = "") => `${BASE}/ui/${path}`;

const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const ask = async (question) => {
  console.log(`@${JSON.stringify(question)}`);
  const { value } = await answers.next();
  return JSON.parse(value);
};
/** The rows of a query. */
export const sql = (query) => ask({ sql: query });
/** Executes a statement that is no query. */
export const execute = (statement) => ask({ execute: statement });
/** `stop-api`, `start-api`, `stop-postgres` or `start-postgres`. */
export const control = (what) => ask({ control: what });

/** Waits until a query returns this one value. */
export async function becomes(query, expected) {
  let value;
  for (const end = Date.now() + 30_000; Date.now() < end; ) {
    value = Object.values((await sql(query))[0] ?? {})[0];
    if (value === expected) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  assert.equal(value, expected, query);
}

/** A request with the key, for what a user would do elsewhere. */
export async function api(method, path, body) {
  const response = await fetch(`${BASE}/v1/${path}`, {
    method,
    headers: { Authorization: `Bearer ${KEY}`, ...(body === undefined ? {} : { "Content-Type": "application/json" }) },
    ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  assert.ok(response.ok, `${method} ${path}: ${response.status} ${text}`);
  return text === "" ? null : JSON.parse(text);
}

export const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM,
  args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"],
});
const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** What a page must never do. */
const mistakes = [];

/** A new context whose pages may not fail, break the policy, or call another host. */
export async function context(options = {}) {
  const made = await browser.newContext({ locale: "en-GB", ...options });
  made.setDefaultTimeout(20_000);
  made.on("page", (page) => {
    page.on("pageerror", (error) => mistakes.push(`${page.url()}: ${error.stack}`));
    page.on("dialog", (dialog) => mistakes.push(`${page.url()}: a script ran: ${dialog.message()}`));
    page.on("console", (message) => {
      if (/Content Security Policy|Trusted|Refused to/.test(message.text())) mistakes.push(`${page.url()}: ${message.text()}`);
    });
    page.on("request", (request) => {
      if (new URL(request.url()).hostname !== "127.0.0.1") mistakes.push(`${page.url()} calls ${request.url()}`);
    });
  });
  return made;
}

/** A context that is signed in. */
export async function signedIn(options = {}, base = BASE, key = KEY) {
  const made = await context(options);
  const page = await made.newPage();
  await page.goto(`${base}/ui/`);
  await page.getByLabel("API key").fill(key);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("heading", { level: 1, name: "Overview" }).waitFor();
  return { context: made, page };
}

/** The serious findings of axe on the page */
export async function accessible(page, where) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"] }));
  const serious = violations.filter((violation) => ["serious", "critical"].includes(violation.impact));
  return serious.flatMap((violation) => violation.nodes.slice(0, 3).map((node) => `${where}: ${violation.id}: ${node.target} ${node.failureSummary}`));
}

/** Whether something is wider than the window. */
export async function fits(page, where) {
  const [inner, outer] = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
  return inner <= outer ? [] : [`${where}: ${inner} px in a window of ${outer} px`];
}

/** Runs the scenarios in their order, all of them, and reports. */
export async function scenarios(all) {
  let failed = 0;
  for (const [name, run] of all) {
    const began = Date.now();
    try {
      await run();
      assert.deepEqual(mistakes.splice(0), []);
      console.log(`ok ${name} (${Date.now() - began} ms)`);
    } catch (error) {
      failed += 1;
      console.log(`FAILED ${name}: ${error.stack}`);
    }
  }
  await browser.close();
  process.exit(failed === 0 ? 0 : 1);
}
