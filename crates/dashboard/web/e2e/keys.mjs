// The scenario of API keys.
import assert from "node:assert/strict";
import { api, BASE, becomes, sql, ui } from "./harness.mjs";

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

/** Waits until the list of jobs is one that the key should see. */
async function sees(key, isRight) {
  let jobs;
  for (const end = Date.now() + 15_000; Date.now() < end; ) {
    const response = await fetch(`${BASE}/v1/jobs?limit=100`, { headers: { Authorization: `Bearer ${key}` } });
    ({ jobs } = await response.json());
    if (isRight(jobs)) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  assert.fail(JSON.stringify(jobs).slice(0, 500));
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

/** Changes each field of the key, and verifies what its holder may do then. By keyboard where it begins and ends. */
async function change(page, key) {
  const read = async () => (await sql("SELECT spec, expires_at FROM jobqueue.api_key WHERE name IN ('billing', 'billing-2') AND revoked_at IS NULL"))[0];
  const before = await read();
  const dialog = page.getByRole("dialog", { name: "Change billing?" });
  const send = dialog.getByRole("button", { name: "Change 1 key" });
  await button(page, "Change billing").press("Enter");
  await dialog.getByText("Nothing is changed yet.").waitFor();
  assert.ok(await send.isDisabled());
  assert.equal(await dialog.getByLabel(/^Queues/).inputValue(), "bulk-*, mail");
  await dialog.getByLabel(/^Most requests/).fill("often");
  await dialog.getByRole("alert").getByText("such as 600/1m").waitFor();
  assert.ok(await send.isDisabled());
  await page.keyboard.press("Escape");
  await dialog.waitFor({ state: "detached" });
  assert.deepEqual(await read(), before);
  await button(page, "Change billing").press("Enter");
  // another user changes a field that this form leaves as it is
  const { api_keys } = await api("GET", "api-keys");
  const { id } = api_keys.find(({ name }) => name === "billing");
  await api("PATCH", `api-keys/${id}`, { description: "from elsewhere" });
  await dialog.getByLabel("Name").fill("billing-2");
  await dialog.getByLabel(/^write/).check();
  await dialog.getByLabel(/^Queues/).fill("bulk-6");
  await dialog.getByLabel(/^Kinds/).fill("mail.*");
  await dialog.getByLabel(/^Hidden/).fill("payload\n/user name/a,b");
  await dialog.getByLabel(/^Most requests/).fill("500/1h");
  await dialog.getByLabel("Expires").selectOption("day");
  assert.ok(await send.isDisabled(), "no day is chosen");
  await dialog.getByLabel("Last day").fill("2099-12-31");
  await dialog.getByText("Changes: name, scopes, queues, kinds, what is hidden, rate, expiry.").waitFor();
  await send.press("Enter");
  await dialog.waitFor({ state: "detached" });
  await page.getByText("billing is changed: name").waitFor();
  const after = await read();
  assert.deepEqual(after.spec, { scopes: ["read", "write"], queues: ["bulk-6"], kinds: ["mail.*"], hide: ["payload", "/user name/a,b"], rate: { requests: 500, per_seconds: 3_600 }, description: "from elsewhere" });
  assert.equal(Date.parse(after.expires_at), Date.parse("2100-01-01T00:00:00Z"));
  const changed = row(page, "billing-2");
  await changed.getByText("500 requests in 1 h").waitFor();
  await sees(key, (jobs) => jobs.length > 0 && jobs.every(({ queue, kind, payload }) => queue === "bulk-6" && kind === "mail.send" && payload === "[hidden]"));
  // back again: empty fields are the defaults
  await button(page, "Change billing-2").click();
  const again = page.getByRole("dialog", { name: "Change billing-2?" });
  assert.equal(await again.getByLabel(/^Hidden/).inputValue(), "payload\n/user name/a,b");
  await again.getByLabel("Name").fill("billing");
  await again.getByLabel(/^Queues/).fill("bulk-*, mail");
  for (const label of [/^Kinds/, /^Hidden/, /^Most requests/, "Note"]) await again.getByLabel(label).fill("");
  await again.getByLabel(/^write/).uncheck();
  await again.getByLabel("Expires").selectOption("");
  await again.getByRole("button", { name: "Change 1 key" }).click();
  await again.waitFor({ state: "detached" });
  const last = await read();
  assert.deepEqual([last.spec.scopes, last.spec.queues, last.expires_at], [["read"], ["bulk-*", "mail"], null]);
  assert.deepEqual(["kinds", "rate", "description"].map((name) => last.spec[name] ?? null), [null, null, null]);
  await sees(key, (jobs) => jobs.some(({ payload }) => typeof payload.n === "number") && jobs.every(({ queue }) => queue.startsWith("bulk-")));
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
  await change(page, first);
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
