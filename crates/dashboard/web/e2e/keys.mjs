// The scenario of API keys.
import assert from "node:assert/strict";
import { BASE, becomes, ui } from "./harness.mjs";

const row = (page, text) => page.getByRole("row").filter({ hasText: text });
const button = (page, name) => page.getByRole("button", { name, exact: typeof name === "string" });

/** The status of a request with a key. */
async function status(key, method, path) {
  return (await fetch(`${BASE}/v1/${path}`, { method, headers: { Authorization: `Bearer ${key}` } })).status;
}

/** Waits until a request with a key has a status: other threads of the API learn of a change a little later. */
async function answers(key, method, path, expected) {
  let last;
  for (const end = Date.now() + 15_000; Date.now() < end; ) {
    last = await status(key, method, path);
    if (last === expected) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  assert.equal(last, expected);
}

/** The text of a key that the page shows once. */
async function shown(page) {
  const dialog = page.getByRole("dialog", { name: "The key billing" });
  const key = await dialog.locator("code").innerText();
  assert.match(key, /^jq_/);
  await button(page, "I have stored it").click();
  await dialog.waitFor({ state: "detached" });
  return key;
}

export async function keys(page) {
  await page.goto(ui("api-keys?filter=billing"));
  await page.getByText("No key matches.").waitFor();
  await button(page, /^Create a key/).click();
  const form = page.getByRole("dialog", { name: "Create a key" });
  assert.ok(await form.getByRole("button", { name: "Create 1 key" }).isDisabled());
  await form.getByLabel("Name").fill("billing");
  await form.getByLabel(/^Queues/).fill("bulk-*, mail");
  await form.getByRole("button", { name: "Create 1 key" }).click();
  const first = await shown(page);
  await row(page, "billing").getByText("queues bulk-*, mail").waitFor();
  assert.ok(!(await page.content()).includes(first), "the text is shown once");
  const mine = "FROM jobqueue.api_key WHERE name = 'billing'";
  await becomes(`SELECT count(*) ${mine} AND revoked_at IS NULL`, 1);
  await answers(first, "GET", "jobs?queue=bulk-1", 200);
  assert.equal(await status(first, "POST", "queues/bulk-1/pause"), 403);
  await button(page, "Rotate billing").click();
  await page.getByLabel("The text that it has now").selectOption("0");
  await button(page, "Rotate 1 key").click();
  const second = await shown(page);
  await answers(second, "GET", "jobs?queue=bulk-1", 200);
  await answers(first, "GET", "jobs?queue=bulk-1", 401);
  await button(page, "Revoke billing").click();
  await page.getByRole("dialog", { name: "Revoke billing?" }).getByRole("button", { name: "Revoke 1 key" }).click();
  await becomes(`SELECT count(*) ${mine} AND revoked_at IS NOT NULL`, 1);
  await answers(second, "GET", "jobs?queue=bulk-1", 401);
  await page.getByLabel("Show").selectOption("true");
  await row(page, "billing").getByText("revoked").waitFor();
}
