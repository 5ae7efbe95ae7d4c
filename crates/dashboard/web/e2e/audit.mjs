// The scenario of the audit log.
import assert from "node:assert/strict";
import { sql, ui } from "./harness.mjs";

const row = (page, text) => page.getByRole("row").filter({ hasText: text });

export async function audit(page) {
  await page.goto(ui("audit"));
  await page.getByLabel("Actions").selectOption("queue.");
  await page.waitForURL(/action=queue/);
  await page.getByLabel("What: name or id").fill("bulk-3");
  await page.keyboard.press("Enter");
  await page.waitForURL(/target=bulk-3/);
  await page.getByLabel("Since").fill("yesterday");
  await page.keyboard.press("Enter");
  await page.getByRole("alert").getByText("are times").waitFor();
  await page.getByLabel("Since").fill("2h");
  await page.keyboard.press("Enter");
  await page.getByRole("alert").waitFor({ state: "detached" });
  await page.reload();
  await row(page, "queue.pause").waitFor();
  const [{ n }] = await sql("SELECT count(*) AS n FROM jobqueue.audit_log WHERE target = 'bulk-3' AND action IN ('queue.pause', 'queue.resume')");
  assert.equal(await page.getByRole("row").filter({ hasText: /queue\.(pause|resume)/ }).count(), n);
  const pause = row(page, "queue.pause");
  await pause.getByText("before, after").click();
  await pause.getByText("paused_at").first().waitFor();
  const [{ request_id }] = await sql("SELECT request_id FROM jobqueue.audit_log WHERE target = 'bulk-3' AND action = 'queue.pause'");
  await pause.getByRole("link", { name: request_id }).click();
  await page.waitForURL((url) => url.searchParams.get("request_id") === request_id);
  await row(page, "queue.resume").waitFor({ state: "detached" });
  await page.goto(ui("audit?actor=none"));
  await page.getByText("No entry matches.").waitFor();
}
