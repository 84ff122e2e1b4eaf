// What waits and what is said meanwhile: tests of the dashboard that `dashboard.mjs` runs with its server.
import assert from "node:assert/strict";
import { test } from "node:test";
import { close, serves } from "./browser.mjs";

/** The tests; `kit` is what they share with the others: where the server is, and how a page of it is opened. */
export function waitingTests(kit) {
  const { visit, press, forgive, startSlow } = kit;

  /** Ends all that runs and waits, so that the next test finds nothing in its way. */
  async function clear(page) {
    const { requests, active } = await (await page.request.get(`${kit.origin()}/api/v1/queue`)).json();
    const headers = { "content-type": "application/json", origin: kit.origin() };
    for (const { id } of requests) await page.request.delete(`${kit.origin()}/api/v1/queue/${id}`, { headers, data: {} });
    for (const { run } of active) await page.request.post(`${kit.origin()}/api/v1/runs/${run}/cancel`, { headers, data: {} });
  }

  test("what waits in the queue is moved, given a priority and removed, and then begins", async () => {
    const page = await visit("/runs");
    await startSlow(page);
    // It stays as long as it takes.
    await press(page, "Pause");
    await page.getByText("no time of it passes").waitFor();
    for (const [scenario, trials] of [["every.toml", 20], ["slow.toml", 40], ["talks.toml", 2]]) {
      await page.goto(`${kit.origin()}/start?scenario=${scenario}`);
      await page.getByText(`${trials} trials of`).waitFor();
      await page.getByRole("button", { name: "Start", exact: true }).click();
      await page.getByRole("alert").getByRole("link").first().waitFor();
      await press(page, "Wait in the queue");
      await page.getByRole("link", { name: "see the queue" }).waitFor();
    }
    await page.goto(`${kit.origin()}/runs`);
    await page.getByRole("link", { name: "3 runs in the queue" }).click();
    const waiting = page.getByRole("table", { name: "Waiting" });
    const order = async (...names) => {
      await page.waitForFunction((names) => [...document.querySelectorAll(".queue tbody tr .name")].map((name) => name.textContent.split("/").at(-1)).join() === names, names.join());
    };
    await order("every.toml", "slow.toml", "talks.toml");
    await page.getByRole("table", { name: "Running now" }).getByRole("link", { name: "slow" }).waitFor();
    const tool = (name, what) => waiting.getByRole("button", { name: new RegExp(`^${name}: .*${what}`) });
    // By keys alone; the focus goes along.
    await tool("Move up", "talks").focus();
    await page.keyboard.press("Enter");
    await order("every.toml", "talks.toml", "slow.toml");
    assert.match(await page.evaluate(() => document.activeElement.getAttribute("aria-label")), /^Move up: .*talks/);
    await page.keyboard.press("Enter");
    await order("talks.toml", "every.toml", "slow.toml");
    await tool("Move down", "talks").click();
    await order("every.toml", "talks.toml", "slow.toml");
    await tool("First of all", "slow").click();
    await order("slow.toml", "every.toml", "talks.toml");
    await waiting.getByLabel(/^Priority: .*talks/).fill("99");
    await page.keyboard.press("Enter");
    await order("talks.toml", "slow.toml", "every.toml");
    await serves(page);
    await tool("Remove from the queue", "slow").click();
    await page.getByRole("dialog").getByRole("button", { name: "Keep it" }).click();
    await tool("Remove from the queue", "slow").click();
    await page.getByRole("dialog").getByRole("button", { name: "Remove" }).click();
    await order("talks.toml", "every.toml");
    await page.reload();
    await order("talks.toml", "every.toml");
    // Another page hears of it without being asked.
    const other = await visit("/queue", { browser: page.context() });
    await tool("Remove from the queue", "every").click();
    await page.getByRole("dialog").getByRole("button", { name: "Remove" }).click();
    await other.waitForFunction(() => document.querySelectorAll(".queue tbody tr").length === 1);
    await other.close();
    // The server starts the first one once there is room.
    await page.getByRole("button", { name: /^Actions for/ }).click();
    await page.getByRole("group", { name: /What can be done/ }).getByRole("button", { name: "Cancel" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Cancel" }).click();
    await page.getByRole("table", { name: "Running now" }).getByRole("link", { name: "talks" }).waitFor();
    await page.getByText("Nothing waits.").waitFor();
    await clear(page);
    forgive(page, /status of 409/);
    await close(page);
  });

  test("a run that was stopped waits in the queue while another one is at work, and goes on after it", async () => {
    const page = await visit("/runs");
    await startSlow(page);
    const stopped = page.url();
    await press(page, "Stop");
    await page.locator(".run-head .status", { hasText: "incomplete" }).waitFor();
    await startSlow(page);
    await press(page, "Pause");
    await page.getByText("no time of it passes").waitFor();
    const other = page.url();
    await page.goto(stopped);
    await press(page, "Resume");
    await page.getByRole("alert").getByRole("link").first().waitFor();
    await serves(page);
    await press(page, "Wait in the queue");
    await page.getByRole("link", { name: "see the queue" }).click();
    await page.getByRole("table", { name: "Waiting" }).getByText(stopped.split("/").at(-1)).waitFor();
    await page.request.post(`${kit.origin()}/api/v1/runs/${other.split("/").at(-1)}/cancel`, { headers: { "content-type": "application/json", origin: kit.origin() }, data: {} });
    await page.getByText("Nothing waits.").waitFor();
    await page.goto(stopped);
    await page.locator(".run-head .status", { hasText: "running" }).waitFor();
    await clear(page);
    forgive(page, /status of 409/);
    await close(page);
  });

  test("a double click and an answer that is lost start one run", async () => {
    const page = await visit("/runs");
    const runs = async () => (await (await page.request.get(`${kit.origin()}/api/v1/runs`)).json()).all;
    const before = await runs();
    const keys = [];
    page.on("request", (request) => { if (request.method() === "POST" && request.url().endsWith("/runs")) keys.push(request.headers()["idempotency-key"]); });
    await page.goto(`${kit.origin()}/start?scenario=talks.toml`);
    await page.getByText("2 trials of talks").waitFor();
    const start = page.getByRole("button", { name: "Start", exact: true });
    await start.dblclick();
    await page.waitForURL(/\/runs\/2/);
    await clear(page);
    assert.equal(await runs(), before + 1);

    await page.goto(`${kit.origin()}/start?scenario=talks.toml`);
    await page.getByText("2 trials of talks").waitFor();
    await page.route(/\/api\/v1\/runs$/, async (route) => {
      await route.fetch();
      await route.abort();
    }, { times: 1 });
    await start.click();
    await page.getByText("The server does not answer").waitFor();
    await start.click();
    await page.waitForURL(/\/runs\/2/);
    assert.equal(await runs(), before + 2);
    const [first, lost, again] = keys;
    assert.ok(keys.length === 3 && first !== lost && lost === again && /^[0-9a-f]{32}$/.test(lost), String(keys));
    await clear(page);
    forgive(page, /not loaded|ERR_FAILED/);
    await close(page);
  });

  test("what a guest says is shown while it goes on, and is the same after a reload and at the end", async () => {
    const page = await visit("/runs");
    await page.goto(`${kit.origin()}/start?scenario=talks.toml`);
    await page.getByText("2 trials of talks").waitFor();
    await page.getByRole("button", { name: "Start", exact: true }).click();
    await page.waitForURL(/\/runs\/2/);
    const run = page.url();
    await page.goto(`${run}/trials/${encodeURIComponent("says@hostile#1")}`);
    const log = page.getByRole("log", { name: "Log" });
    await log.getByText("careful").waitFor();
    await page.getByText(/Attempt 1.* sleeps for/).waitFor();
    const first = await log.textContent();
    assert.match(first, /warn .*careful.*key=value/);
    await page.reload();
    await log.getByText("careful").waitFor();
    assert.equal(await log.textContent(), first);
    await page.getByText("took").first().waitFor();
    assert.ok((await log.textContent()).startsWith(first));

    // A long one is not laid out as a whole, and each of its lines has an address.
    await page.goto(`${run}/trials/${encodeURIComponent("floods@hostile#1")}#log-1777`);
    await page.getByText("2\u202f500 lines").waitFor();
    await page.locator("#log-1777").waitFor();
    assert.ok((await page.locator(".line").count()) <= 1000);
    await page.waitForFunction(() => {
      const [line, box] = ["#log-1777", ".log"].map((name) => document.querySelector(name).getBoundingClientRect());
      return line.top >= box.top && line.bottom <= box.bottom;
    });
    await press(page, /^Show .* before/);
    await press(page, "To its end");
    await page.locator("#log-2500").waitFor();
    await page.getByLabel("Find in: Log").fill("nothing like that");
    await page.getByText("0 of 2\u202f500 lines").waitFor();
    await page.goto(`${run}?view=log`);
    await page.getByRole("log", { name: "runner.log" }).locator("time").first().waitFor();
    await clear(page);
    await close(page);
  });
}
