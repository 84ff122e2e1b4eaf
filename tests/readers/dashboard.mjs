// The dashboard in a real browser, with the real server. `tests/readers/dashboard.rs` makes the runs that it has.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { after, before, test } from "node:test";
import { gzipSync } from "node:zlib";
import { close, context, fits, serves, start, stop, watched } from "./browser.mjs";
import { waitingTests } from "./dashboard_waiting.mjs";
import { serve } from "./server.mjs";

const hostile = JSON.parse(readFileSync(`${process.env.PAGES}/hostile.json`, "utf8"));
const EVERY = "/runs/2026-01-01_00-00-00-000-every1";
const TRIAL = (test) => `${EVERY}/trials/${encodeURIComponent(`${test}@hostile#1`)}`;
const HOSTILE = "/runs/2026-01-03_00-00-00-000-hostile";
let server;
let cookies;

before(async () => {
  await start();
  server = await serve("127.0.0.1:0", "--token-file", "token");
  const browser = await context();
  const page = await browser.newPage();
  await page.goto(server.link);
  await page.getByRole("heading", { name: "Runs" }).waitFor();
  cookies = await browser.cookies();
  await browser.close();
});
after(async () => {
  await server.kill();
  await stop();
});

/** A browser that is let in. */
async function known(options = {}) {
  const browser = await context(options);
  await browser.addCookies(cookies);
  return browser;
}

async function visit(path, options = {}) {
  const browser = options.browser ?? (await known(options));
  const page = watched(await browser.newPage(), server.origin);
  await page.goto(server.origin + path);
  return page;
}

/** The browser itself tells of answers that are no success; these were expected. */
const forgive = (page, ...patterns) => {
  page.wrong.splice(0, page.wrong.length, ...page.wrong.filter((text) => !patterns.some((pattern) => pattern.test(text))));
};
const status = (page, word) => page.locator(".run-head .status", { hasText: word }).waitFor();
const lines = (page) => page.locator("table.runs tbody tr");
const press = (page, name) => page.getByRole("button", { name }).click();

async function startSlow(page) {
  await page.goto(`${server.origin}/start?scenario=slow.toml`);
  await page.getByText("40 trials of slow").waitFor();
  const button = page.getByRole("button", { name: "Start", exact: true });
  await button.click();
  await page.waitForURL(/\/runs\/2/);
  await status(page, "running");
}

/** Every page, and something that is there once all of it is. */
const PLACES = [
  ["/runs", "Last runs"], ["/queue", "Nothing waits"], [EVERY, "Measured"], [`${EVERY}?view=matrix`, "tests 1 to"], [`${EVERY}?view=log`, "Download all"], [`${EVERY}?view=about`, "Changes of its status"],
  [TRIAL("fails"), "What is different"], [TRIAL("breaks"), "it broke"], [TRIAL("draws"), "dot.png"], [TRIAL("asks"), "Denied"], [HOSTILE, "Providers"],
  ["/start?scenario=every.toml", "What is granted"], ["/start?scenario=broken.toml", "concurency"],
  ["/compare?base=2026-01-01_00-00-00-000-every1&new=2026-01-02_00-00-00-000-every2", "Still failing"], ["/history?scenario=every", "Median"],
];

test("no page is in anybody's way: light, dark and narrow", async () => {
  const browser = await known();
  const look = async ([place, has]) => {
    const page = await visit(place, { browser });
    const there = () => page.locator("main").getByText(has).or(page.getByLabel(has)).first().waitFor({ state: "attached" });
    await there();
    await serves(page);
    await page.emulateMedia({ colorScheme: "dark" });
    await page.setViewportSize({ width: 400, height: 800 });
    await page.reload();
    await there();
    await fits(page);
    await close(page);
  };
  for (let place = 0; place < PLACES.length; place += 3) await Promise.all(PLACES.slice(place, place + 3).map(look));
  await browser.close();
});

test("a run is started, watched, reloaded, stopped, resumed, and what failed runs again", async () => {
  const page = await visit("/runs");
  await page.getByRole("link", { name: "Start a run" }).click();
  await page.getByRole("link", { name: "slow" }).click();
  const button = page.getByRole("button", { name: "Start", exact: true });
  await page.getByText("nothing: no network, no secrets, no files").waitFor();
  await button.click();
  await page.waitForURL(/\/runs\/2/);
  await status(page, "running");
  // Trials come without anybody's doing.
  const done = async () => Number(await page.locator(".run-head .done strong").textContent());
  await page.waitForFunction(() => Number(document.querySelector(".run-head .done strong")?.textContent) >= 2);
  await page.reload();
  await status(page, "running");
  const before = await done();
  await page.waitForFunction((before) => Number(document.querySelector(".run-head .done strong")?.textContent) > before, before);
  await page.getByLabel("Trials").getByRole("row", { name: /passed/ }).first().waitFor();
  // What is being executed is said.
  const executed = page.getByLabel("Being executed");
  await executed.getByText(/nap-/).first().waitFor();
  await executed.getByText(/sleeps for \d+ ms/).first().waitFor();
  await executed.getByText(/\d+ ms in all/).first().waitFor();

  // What buttons say that cannot be pressed: it may be gone before anybody could ask for it.
  await page.evaluate(() => {
    globalThis.said = [];
    const listen = () => said.push(...[...document.querySelectorAll(".actions button:disabled")].map((button) => button.textContent));
    new MutationObserver(listen).observe(document.querySelector(".run-head"), { subtree: true, childList: true, attributes: true, characterData: true });
  });
  await press(page, "Stop");
  await status(page, "incomplete");
  assert.ok((await page.evaluate(() => said)).includes("Stopping…"));
  await page.getByText("Resume goes on with what is left.").first().waitFor();
  assert.equal(await page.getByRole("button", { name: "Stop" }).count(), 0);

  await press(page, "Resume");
  await status(page, "running");
  await status(page, "completed");
  assert.equal(await page.locator(".run-head .verdict").textContent(), "failed");
  assert.equal(await done(), 40);
  await page.locator(".tally", { hasText: "4 failed" }).waitFor();
  assert.equal(await page.getByRole("button", { name: "Resume" }).count(), 0);

  await press(page, "Rerun failed");
  await status(page, "running");
  await status(page, "completed");
  await page.getByText("3 sessions").waitFor();
  await close(page);
});

test("a run is paused, cancelled, pinned, unpinned and deleted, and what is for good is asked about", async () => {
  const page = await visit("/runs");
  await startSlow(page);
  await press(page, "Pause");
  await page.locator(".run-head").getByText("paused", { exact: true }).waitFor();
  await page.getByText("Nothing begins, and no time of it passes.").waitFor();
  await press(page, "Go on");
  await page.getByRole("button", { name: "Pause" }).waitFor();
  await press(page, "Cancel");
  await page.getByRole("dialog").getByRole("button", { name: "Keep it as it is" }).click();
  await status(page, "running");
  await press(page, "Cancel");
  await page.getByRole("dialog").getByRole("button", { name: "Cancel" }).click();
  await status(page, "cancelled");
  await press(page, "Pin");
  await page.getByText("pinned").waitFor();
  assert.equal(await page.getByRole("button", { name: "Delete" }).count(), 0);
  await press(page, "Unpin");
  await page.getByRole("button", { name: "Pin", exact: true }).waitFor();
  // What is asked of the run when it is deleted is given up, and nothing is asked of it from then on.
  const id = page.url().split("/").at(-1);
  await page.route(/\/series$/, async (route) => {
    await new Promise((go) => setTimeout(go, 1500));
    await route.continue().catch(() => {});
  });
  const isSlow = page.waitForRequest(/\/series$/);
  await page.reload();
  await isSlow;
  let isDeleted = false;
  const late = [];
  page.on("request", (request) => {
    isDeleted ||= request.method() === "DELETE";
    if (isDeleted && request.method() === "GET" && request.url().includes(id)) late.push(request.url());
  });
  await press(page, "Delete");
  await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
  await page.waitForURL(/\/runs$/);
  await lines(page).first().waitFor();
  assert.equal(await page.getByText(id).count(), 0);
  await page.waitForTimeout(1600);
  assert.deepEqual(late, []);
  await close(page);
});

waitingTests({ origin: () => server.origin, visit, press, forgive, startSlow });

test("filters, search and order are in the address", async () => {
  const page = await visit("/runs");
  await lines(page).first().waitFor();
  const all = await lines(page).count();
  assert.ok(all >= 4);
  await page.getByRole("button", { name: "incomplete" }).click();
  await page.waitForURL(/status=incomplete/);
  await page.getByText("No run is like that.").waitFor();
  await page.getByRole("button", { name: "completed", exact: true }).click();
  await page.waitForURL(/status=incomplete%2Ccompleted/);
  await page.getByRole("button", { name: "verdict failed" }).click();
  await page.getByLabel("Search runs").fill("every");
  await page.waitForURL(/q=every/);
  await page.getByText("2 shown of 2 runs like that").waitFor();
  assert.equal(await lines(page).count(), 2);
  await page.reload();
  await page.getByText("2 shown of 2 runs like that").waitFor();
  assert.equal(await page.getByLabel("Search runs").inputValue(), "every");
  assert.equal(await page.getByRole("button", { name: "completed", exact: true }).getAttribute("aria-pressed"), "true");
  await page.goBack();
  await page.waitForURL((url) => !url.search.includes("q="));
  // Where all was done is told apart from whether all went well.
  const words = (name) => lines(page).filter({ hasText: "every1" }).locator(name).textContent();
  assert.match(await words(".status"), /✓ completed/);
  assert.match(await words(".verdict"), /failed/);
  await close(page);
});

test("trials are filtered in the filter language, whose errors are shown at their place", async () => {
  const page = await visit(EVERY);
  const told = page.getByRole("status").filter({ hasText: "trial" });
  await told.getByText("40 trials").waitFor();
  await page.getByLabel("Filter", { exact: true }).fill("outcome(failed) & provider(other)");
  await page.keyboard.press("Enter");
  await page.waitForURL(/filter=outcome/);
  await told.getByText("8 trials").waitFor();
  await page.getByLabel("Filter", { exact: true }).fill("outcome(wrong)");
  await page.keyboard.press("Enter");
  assert.equal(await page.locator("mark").textContent(), "wrong");
  await page.getByRole("button", { name: "Flaky" }).click();
  await told.getByText("4 trials").waitFor();
  await page.getByRole("button", { name: "Took" }).click();
  await page.waitForURL(/sort=-duration/);
  forgive(page, /status of 4/);
  await close(page);
});

test("a long table has few elements, and its end is reached by one key", async () => {
  const page = await visit("/runs?q=scenario");
  await page.goto(server.origin + (await lines(page).filter({ hasText: "2\u202f300" }).or(lines(page).filter({ hasText: "passed" })).first().getByRole("link").first().getAttribute("href")));
  await page.getByText("2\u202f300 trials").first().waitFor();
  await page.getByRole("button", { name: "Outcome" }).click();
  await page.waitForURL(/sort=-outcome/);
  await page.getByRole("button", { name: "Outcome" }).click();
  await page.waitForURL(/sort=plan/);
  const table = page.getByRole("grid");
  await table.getByText("echo-0000").waitFor();
  await table.focus();
  await page.keyboard.press("End");
  await table.getByText("echo-2299").waitFor();
  assert.ok((await table.getByRole("row").count()) < 80);
  assert.equal(await table.getAttribute("aria-rowcount"), "2301");
  await page.keyboard.press("Home");
  await table.getByText("echo-0000").waitFor();
  await table.hover();
  await page.mouse.wheel(0, 100);
  await table.getByText("echo-0010").waitFor();
  await page.keyboard.press("Enter");
  await page.waitForURL(/trials\/echo-0000/);
  await close(page);
});

test("of a million trials the last is reached, and one notch of the wheel moves a few lines", async () => {
  const browser = await known();
  const page = watched(await browser.newPage(), server.origin);
  // A run of that size takes too long to make: its pages are made here.
  await page.route(/\/trials\?/, (route) => {
    const asked = new URL(route.request().url()).searchParams;
    const offset = Number(asked.get("offset"));
    const trials = Array.from({ length: Math.min(Number(asked.get("limit")), 1e6 - offset) }, (_, place) => {
      const ordinal = offset + place;
      return { trial: `row-${ordinal}@hostile#1`, ordinal, test: `row-${ordinal}`, provider: "hostile", repeat: 1, attempts: 1, outcome: "passed", is_flaky: false, error: null, summary: null, score: null, duration_ms: 1, seq: ordinal };
    });
    return route.fulfill({ json: { v: 1, rev: 1e6, count: 1e6, offset, trials } });
  });
  await page.goto(`${server.origin}${EVERY}?sort=plan`);
  const table = page.getByRole("grid");
  const shows = (row) => table.getByText(`row-${row}@`).waitFor();
  await shows(0);
  await table.focus();
  await page.keyboard.press("End");
  await shows(999999);
  await page.keyboard.press("Home");
  await shows(0);
  await table.hover();
  await page.mouse.wheel(0, 120);
  await page.waitForFunction(() => !document.querySelector(".rows").textContent.includes("row-0@"));
  await shows(4);
  // The thumb is what goes through all of it.
  await table.evaluate((table) => { table.scrollTop = (table.scrollHeight - table.clientHeight) / 2; });
  await page.waitForFunction(() => /row-(499|500)\d\d\d@/.test(document.querySelector(".rows").textContent));
  assert.ok((await page.evaluate(() => document.querySelectorAll("*").length)) < 1500);
  await close(page);
  await browser.close();
});

test("a trial says why, and j and k go from one bad trial to the next", async () => {
  const page = await visit(`${EVERY}?filter=test(fails)`);
  await page.getByRole("grid").getByText("equals: the output is not what was expected").first().waitFor();
  await page.keyboard.press("j");
  await page.keyboard.press("Enter");
  await page.waitForURL(/trials\/fails/);
  const diff = page.getByLabel(/What is different/);
  await diff.waitFor();
  assert.deepEqual([await diff.locator("del").textContent(), await diff.locator("ins").textContent()], ["- 2\n", "+ two\n"]);
  await page.getByText("bad trial 1 of").waitFor();
  await page.keyboard.press("j");
  await page.waitForURL(/trials\/fails%40hostile%232/);
  await page.getByText("bad trial 2 of").waitFor();
  await page.keyboard.press("k");
  await page.waitForURL(/trials\/fails%40hostile%231/);

  await page.goto(server.origin + TRIAL("recovers"));
  await page.getByRole("link", { name: "Attempt 1" }).click();
  await page.waitForURL(/attempt=1/);
  await page.getByText("try again").waitFor();
  await page.keyboard.press("]");
  await page.waitForURL(/attempt=2/);

  await page.goto(server.origin + TRIAL("writes"));
  await page.getByLabel("a.txt").getByText("one two").waitFor();
  await page.goto(server.origin + TRIAL("draws"));
  const picture = page.getByAltText("the picture dot.png");
  await picture.waitFor();
  assert.equal(await picture.evaluate((picture) => picture.decode().then(() => picture.naturalWidth)), 1);
  await page.goto(server.origin + TRIAL("asks"));
  await page.getByText('net = ["https://example.com"]').waitFor();
  await page.getByText("runner plugin run").waitFor();
  await close(page);
});

test("two runs are ticked and compared", async () => {
  const page = await visit("/runs?q=every");
  await lines(page).nth(1).waitFor();
  for (const place of [0, 1]) await lines(page).nth(place).getByRole("checkbox").check();
  // Not the one that leads to the page of all comparisons, which is there before runs are ticked.
  await page.locator('main a[href*="compare?base="]').click();
  await page.waitForURL(/compare\?base=.*every1&new=.*every2/);
  await page.getByRole("heading", { name: /Still failing/ }).waitFor();
  await page.getByRole("heading", { name: "Measured on both sides" }).waitFor();
  await page.goto(`${server.origin}/history?scenario=every`);
  await page.getByRole("row", { name: /fails/ }).first().getByRole("link").first().click();
  await page.waitForURL(/filter=test/);
  await page.getByText("2 trials").waitFor();
  await close(page);
});

test("the server is killed under an open page, and what happened meanwhile is there when it is back", async () => {
  const page = await visit("/runs");
  await startSlow(page);
  await server.kill();
  await page.getByText("Connection lost").waitFor();
  // The run is nobody's child.
  await new Promise((go) => setTimeout(go, 1000));
  server = await serve(server.host, "--token-file", "token");
  await page.getByText("live", { exact: true }).waitFor();
  await status(page, "completed");
  forgive(page, /ERR_CONNECTION_REFUSED|ERR_INCOMPLETE|ERR_EMPTY|ERR_CONNECTION_RESET|^not loaded/);
  await close(page);
});

test("tabs share one stream of events, and the rest hears on when the first is closed", async () => {
  const browser = await known();
  const streams = [];
  browser.on("request", (request) => request.url().endsWith("/api/v1/events") && streams.push(request.url()));
  const tabs = [];
  for (let tab = 0; tab < 8; tab += 1) tabs.push(await visit("/runs", { browser }));
  for (const tab of tabs) await lines(tab).first().waitFor();
  await tabs[7].getByText("live", { exact: true }).waitFor();
  assert.equal(streams.length, 1);
  await tabs[0].close();
  const other = await visit("/runs", { browser });
  await startSlow(other);
  await lines(tabs[7]).filter({ hasText: "running" }).waitFor();
  await press(other, "Stop");
  await lines(tabs[7]).filter({ hasText: "incomplete" }).first().waitFor();
  assert.equal(streams.length, 2);
  for (const tab of tabs.slice(1)) assert.deepEqual(tab.wrong, []);
  await browser.close();
});

test("a server that is read-only shows no button", async () => {
  const other = await serve("127.0.0.1:0", "--read-only");
  const browser = await context();
  const page = watched(await browser.newPage(), other.origin);
  await page.goto(other.link);
  await lines(page).first().waitFor();
  assert.equal(await page.getByRole("button", { name: /Actions/ }).count(), 0);
  assert.equal(await page.getByRole("link", { name: "Start" }).count(), 0);
  await page.goto(other.origin + EVERY);
  await page.getByText("40 trials").first().waitFor();
  await page.getByText("read-only").waitFor();
  for (const name of ["Stop", "Cancel", "Resume", "Rerun failed", "Pin", "Delete", "Judge again"]) assert.equal(await page.getByRole("button", { name }).count(), 0, name);
  await close(page);
  await browser.close();
  await other.kill();
});

test("what a guest says stays text", async () => {
  const page = await visit("/runs");
  const trials = ["fails", "breaks", "says", "writes"].map((test) => `${HOSTILE}/trials/${encodeURIComponent(`${test}@hostile#1`)}`);
  const views = ["", "?view=matrix", "?view=log", "?view=about"].map((view) => HOSTILE + view);
  let text = "";
  for (const place of ["/runs", ...views, ...trials, "/history", `/compare?base=2026-01-01_00-00-00-000-every1&new=2026-01-03_00-00-00-000-hostile`, "/start?scenario=hostile.toml"]) {
    await page.goto(server.origin + place);
    await page.locator("main h1").waitFor();
    await page.waitForLoadState("load");
    await page.waitForTimeout(400);
    const elements = await page.evaluate(() => [...document.querySelectorAll("*")].map((element) => element.localName));
    for (const name of ["iframe", "object", "embed", "base", "style", "b"]) assert.ok(!elements.includes(name), `${place}: ${name}`);
    // Those of the page itself.
    assert.equal(elements.filter((name) => name === "script").length, 2);
    const acting = await page.evaluate(() => {
      const attributes = [...document.querySelectorAll("*")].flatMap((element) => [...element.attributes]);
      return attributes.filter(({ name, value }) => /^(on|srcdoc)/.test(name) || (/^(href|src)$/.test(name) && !/^(#|\/|data:,)/.test(value)) || (/^(id|class)$/.test(name) && /[<>"']/.test(value))).map(({ name, value }) => `${name}=${value}`);
    });
    assert.deepEqual(acting, [], place);
    const whole = await page.evaluate(() => document.body.textContent);
    assert.doesNotMatch(whole, /[\u202a-\u202e\u2066-\u2069\u200b-\u200f\u001b]/u);
    text += whole;
    assert.equal(await page.evaluate(() => globalThis.harmed), undefined);
  }
  for (const line of hostile.shown) assert.ok(text.includes(line), line);
  // A file is a download, whatever its name says.
  const file = await page.request.get(`${server.origin}/api/v1${trials[3]}/attempts/1/files/x.html`);
  assert.match(file.headers()["content-disposition"], /^attachment/);
  assert.equal(file.headers()["content-type"], "application/octet-stream");
  await close(page);
});

test("all of it is done by keys", async () => {
  const page = await visit("/runs");
  await lines(page).first().waitFor();
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Skip to the page");
  await page.keyboard.press("?");
  await page.getByRole("dialog").getByText("show these keys").waitFor();
  await page.keyboard.press("Escape");
  await page.keyboard.press("/");
  await page.keyboard.type("every1");
  await page.getByText("1 shown of 1 run like that").waitFor();
  await page.keyboard.press("Escape");
  await page.keyboard.press("j");
  await page.keyboard.press("x");
  assert.ok(await lines(page).first().getByRole("checkbox").isChecked());
  await page.keyboard.press("x");
  await page.keyboard.press("j");
  await page.keyboard.press("Enter");
  await page.waitForURL(/every1$/);
  await page.getByRole("grid").getByText("fails").first().waitFor();
  await page.keyboard.press("j");
  await page.keyboard.press("Enter");
  await page.getByText(/^bad trial/).waitFor();
  await page.keyboard.press("u");
  await page.waitForURL(/every1$/);
  await page.keyboard.press("g");
  await page.keyboard.press("h");
  await page.waitForURL(/history/);
  // What can be done with a run is reached by Tab, and is seen when it is.
  await page.goto(server.origin + EVERY);
  await page.getByRole("button", { name: "Pin" }).focus();
  await page.keyboard.press("Enter");
  await page.getByRole("button", { name: "Unpin" }).waitFor();
  await page.getByRole("button", { name: "Unpin" }).focus();
  await page.keyboard.press("Enter");
  await page.getByRole("button", { name: "Pin", exact: true }).waitFor();
  await close(page);
});

test("compressed, the files of the dashboard are small", async () => {
  const page = await visit("/runs");
  await lines(page).first().waitFor();
  const files = readdirSync(new URL("../../runner/serve/web/", import.meta.url)).length - 1;
  // Those of the other pages come after the first page.
  const fetched = await page.waitForFunction((files) => {
    const names = new Set(performance.getEntriesByType("resource").map((entry) => entry.name).filter((name) => /\/web\//.test(name)));
    return names.size === files && [...names];
  }, files);
  const addresses = await fetched.jsonValue();
  const bytes = await Promise.all([...addresses, `${server.origin}/runs`].map(async (address) => gzipSync(await (await page.request.get(address)).body()).length));
  const all = bytes.reduce((sum, one) => sum + one, 0);
  assert.ok(all < 150 * 1024, `${all} bytes`);
  await close(page);
});

test("the browser's clock may be wrong by an hour", async () => {
  const page = watched(await (await known()).newPage(), server.origin);
  await page.addInitScript(() => {
    const real = Date.now;
    Date.now = () => real() - 3_600_000;
  });
  await startSlow(page);
  assert.match(await page.locator(".run-head time").first().textContent(), /just now|^\d s ago/);
  await press(page, "Stop");
  await status(page, "incomplete");
  await close(page);
});

test("after a restart with another token the page says which link to open, and goes on", async () => {
  const browser = await known();
  const page = await visit("/runs", { browser });
  await lines(page).first().waitFor();
  await server.kill();
  server = await serve(server.host);
  await page.getByText("Open the link of the server").waitFor();
  const stranger = watched(await (await context()).newPage(), server.origin);
  await stranger.goto(`${server.origin}/runs`);
  await stranger.getByText("Open the link of the server").waitFor();
  const tab = await browser.newPage();
  await tab.goto(server.link);
  await lines(tab).first().waitFor();
  await lines(page).first().waitFor();
  cookies = await browser.cookies();
  forgive(page, /ERR_|status of 401|^not loaded/);
  await close(page);
  await browser.close();
});
