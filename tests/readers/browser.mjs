// A real browser for tests of pages: what may go wrong on any page fails its test, whatever it looks for.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const tools = createRequire(`${process.env.TOOLS}/`);
const { chromium } = tools("playwright-core");
const axe = readFileSync(tools.resolve("axe-core/axe.min.js"), "utf8");
let browser;

/** Starts the browser that all pages of this process are opened in. */
export async function start() {
  // As root it runs only without its own sandbox.
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox"] });
}

export const stop = () => browser.close();

/** A browser of its own, with its own cookies. */
export const context = (options = {}) => browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });

/** Opens a file or an address; `options` are those of a page of Playwright. */
export async function open(place, options = {}) {
  const page = await watched(await browser.newPage({ viewport: { width: 1280, height: 900 }, ...options }), place);
  await page.goto(page.address);
  return page;
}

/** Takes note of what goes wrong on a page, which asks only for addresses that begin as `place` does. */
export function watched(page, place) {
  const address = place.startsWith("/") ? pathToFileURL(place).href : place;
  page.wrong = [];
  page.on("console", (said) => page.wrong.push(`console: ${said.text()}`));
  page.on("pageerror", (error) => page.wrong.push(`error: ${error.message}`));
  page.on("requestfailed", (request) => {
    // What nobody waits for any more is given up: a stream of events, or what a page asked for that was left.
    if (request.failure()?.errorText !== "net::ERR_ABORTED") page.wrong.push(`not loaded: ${request.url()}`);
  });
  page.on("dialog", (dialog) => {
    page.wrong.push(`dialog: ${dialog.message()}`);
    return dialog.dismiss();
  });
  page.on("request", (request) => {
    const isKnown = [address, "data:"].some((start) => request.url().startsWith(start));
    if (!isKnown) page.wrong.push(`request: ${request.url()}`);
  });
  page.address = address;
  return page;
}

/** Nothing is in the way of people who see or hear the page otherwise. */
export async function serves(page) {
  await page.evaluate(axe);
  // What is wider than its place is made reachable once it is laid out.
  await page.evaluate(() => new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(go)))));
  const { violations } = await page.evaluate(() => axe.run());
  const told = violations.map(({ id, nodes }) => `${id}: ${nodes[0].html}: ${nodes[0].failureSummary}`);
  assert.deepEqual(told, [], `axe: ${page.url()}`);
}

/** Nothing of what may go wrong on any page has. */
export async function close(page) {
  if (page.url().startsWith("file:") || page.url().startsWith("http")) await serves(page);
  assert.deepEqual(page.wrong, []);
  await page.close();
}

/** The page is not wider than its window. */
export async function fits(page) {
  const [needs, has] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(needs <= has, `it needs ${needs} pixels of ${has}`);
}
