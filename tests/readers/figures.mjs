// How fast the dashboard is in a browser: `cargo bench --bench lifecycle -- dashboard` makes the results that it looks at.
// A line for each figure: its name, and milliseconds or a number.
import { spawn } from "node:child_process";
import { readFileSync, readdirSync, statSync } from "node:fs";
import { context, start, stop } from "./browser.mjs";
import { serve } from "./server.mjs";

const ROUNDS = Number(process.env.ROUNDS ?? 5);
const median = (values) => [...values].sort((a, b) => a - b)[(values.length - 1) >> 1];
const tell = (name, value) => console.log(`${name} ${value}`);

/** A browser that is let in. */
async function known(server) {
  const browser = await context();
  const page = await browser.newPage();
  await page.goto(server.link);
  await page.getByRole("heading", { name: "Runs" }).waitFor();
  await page.close();
  return browser;
}

/** From asking for an address until something of it is drawn, in a new tab each time. */
async function opened(browser, address, selector) {
  const page = await browser.newPage();
  await page.addInitScript((selector) => {
    const look = () => (document.querySelector(selector) ? requestAnimationFrame(() => { globalThis.shownAt = performance.now(); }) : requestAnimationFrame(look));
    look();
  }, selector);
  await page.goto(address);
  const took = await (await page.waitForFunction(() => globalThis.shownAt)).jsonValue();
  return { page, took };
}

async function first(name, browser, address, selector) {
  const cold = await opened(browser, address, selector);
  await cold.page.close();
  const times = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const { page, took } = await opened(browser, address, selector);
    times.push(took);
    await page.close();
  }
  tell(`${name}, the first look`, cold.took);
  tell(`${name}`, median(times));
}

/** How long frames take while the page does something in each for three seconds. */
const frames = (page, scrolls) => page.evaluate(async (scrolls) => {
  const table = document.querySelector(".rows");
  const times = [];
  let last = await new Promise(requestAnimationFrame);
  const until = last + 3000;
  while (last < until) {
    if (scrolls) table.dispatchEvent(new WheelEvent("wheel", { deltaY: 60, bubbles: true, cancelable: true }));
    const now = await new Promise(requestAnimationFrame);
    times.push(now - last);
    last = now;
  }
  return times.sort((a, b) => a - b);
}, scrolls);

/** From a row being in the file until it is in the table of an open page. */
async function news(browser, server) {
  const folder = `${process.env.PAGES}/results-live`;
  const child = spawn(process.env.RUNNER, ["exec", "live.toml", "--jobs", "1", "--quiet", "--results", "results-live"], { cwd: process.env.PAGES, stdio: "ignore" });
  const ended = new Promise((go) => child.on("exit", go));
  const run = async () => {
    for (;;) {
      const found = readdirSync(folder, { withFileTypes: true }).find((entry) => entry.isDirectory() && /^\d{4}-/.test(entry.name));
      if (found) return found.name;
      await new Promise((go) => setTimeout(go, 5));
    }
  };
  while (!readdirSync(process.env.PAGES).includes("results-live")) await new Promise((go) => setTimeout(go, 5));
  const name = await run();
  const page = await browser.newPage();
  await page.goto(`${server.origin}/runs/${name}?sort=-ended`);
  await page.locator(".rows-line:not(.head)").first().waitFor();
  await page.evaluate(() => {
    globalThis.seen = {};
    const look = () => {
      for (const cell of document.querySelectorAll(".rows-line .trial a")) globalThis.seen[cell.textContent] ??= performance.timeOrigin + performance.now();
    };
    new MutationObserver(look).observe(document.querySelector(".rows"), { subtree: true, childList: true, characterData: true });
  });
  const index = `${folder}/${name}/index.jsonl`;
  const written = [];
  let size = statSync(index).size;
  let isOver = false;
  void ended.then(() => { isOver = true; });
  while (!isOver) {
    const now = performance.timeOrigin + performance.now();
    const grown = statSync(index).size;
    if (grown > size) { written.push([now, size]); size = grown; }
    await new Promise((go) => setTimeout(go, 2));
  }
  await page.waitForTimeout(500);
  const seen = await page.evaluate(() => globalThis.seen);
  const text = readFileSync(index);
  const late = [];
  for (const [at, from] of written) {
    // One at a time, they end in the order of the plan.
    const place = text.subarray(0, from).filter((byte) => byte === 10).length;
    const shown = seen[`live-${String(place).padStart(3, "0")}@hostile#1`];
    if (shown) late.push(shown - at);
  }
  if (late.length < 10) throw new Error(`only ${late.length} of ${written.length} rows were seen`);
  tell("a new row in the table, after it is in the file: median", median(late));
  tell("a new row in the table, after it is in the file: most", Math.max(...late));
  await page.close();
}

await start();
const runs = await serve("127.0.0.1:0", "--results", "results-many");
const many = await known(runs);
// What every page takes: a process for the tab, and an answer.
await first("a page with nothing in it", many, `${runs.origin}/api/v1/server`, "body");
await first("the list of all runs", many, `${runs.origin}/runs`, "table.runs tbody tr th");
await many.close();
await runs.kill();

const large = await serve("127.0.0.1:0", "--results", "results-large");
const browser = await known(large);
const [name] = readdirSync(`${process.env.PAGES}/results-large`).filter((entry) => /^\d{4}-/.test(entry));
await first("the page of the large run", browser, `${large.origin}/runs/${name}`, ".rows-line:not(.head) .trial a");
const { page } = await opened(browser, `${large.origin}/runs/${name}?sort=plan`, ".rows-line:not(.head) .trial a");
await page.waitForTimeout(2000);
const [still, scrolled] = [await frames(page, false), await frames(page, true)];
const at = (times, share) => times[Math.floor((times.length - 1) * share)];
tell("a frame where nothing is done: median", at(still, 0.5));
tell("a frame while its table is scrolled: median", at(scrolled, 0.5));
tell("a frame while its table is scrolled: 95 of 100", at(scrolled, 0.95));
tell("a frame while its table is scrolled: most", at(scrolled, 1));
tell("elements of that page", await page.evaluate(() => document.querySelectorAll("*").length));
await browser.close();
await large.kill();

const live = await serve("127.0.0.1:0", "--results", "results-live");
const other = await known(live);
await news(other, live);
await other.close();
await live.kill();
await stop();
