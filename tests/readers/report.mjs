// HTML reports in a real browser. `tests/readers.rs` makes them, and says what a hostile guest has said.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { close, fits, open, start, stop } from "./browser.mjs";

const at = (name) => `${process.env.PAGES}/${name}`;
const hostile = JSON.parse(readFileSync(at("hostile.json"), "utf8"));
const looks = [
  ["light", { colorScheme: "light" }],
  ["dark", { colorScheme: "dark" }],
  ["narrow", { viewport: { width: 400, height: 800 } }],
];

before(start);
after(stop);

const unfold = (page) => page.evaluate(() => document.querySelectorAll("details").forEach((part) => (part.open = true)));
const lines = (page) => page.locator("#tests tbody tr:visible").count();

for (const [look, options] of looks) {
  for (const name of ["every.html", "hostile.html", "compare.html"]) {
    test(`${name} is in nobody's way: ${look}`, async () => {
      const page = await open(at(name), options);
      await fits(page);
      await unfold(page);
      await fits(page);
      await close(page);
    });
  }
}

test("filters show what is asked for, and say how much that is", async () => {
  const page = await open(at("every.html"));
  const shown = page.locator("#shown");
  const all = await lines(page);
  assert.equal(await shown.textContent(), `${all} of ${all} tests`);
  await page.getByLabel("Find").fill("FAILS");
  assert.deepEqual([await lines(page), await shown.textContent()], [1, `1 of ${all} tests`]);
  await page.getByLabel("Find").fill("a-tag");
  assert.equal(await lines(page), 1, "a tag is found, too");
  await page.getByLabel("Find").fill("");
  for (const word of ["passed", "error", "timeout", "skipped", "flaky", "not run"]) await page.getByLabel(word, { exact: true }).uncheck();
  assert.deepEqual(await page.locator("#tests tbody tr:visible td.test").allTextContents(), ["fails", "writes", "draws"]);
  await close(page);
});

test("a cell leads to what went wrong, which is opened", async () => {
  const page = await open(at("every.html"));
  const told = page.locator("details", { hasText: "it broke" }).first();
  assert.equal(await told.getByText("it broke").first().isVisible(), false);
  await page.locator("tr", { has: page.getByText("breaks", { exact: true }) }).getByRole("link").first().click();
  await told.getByText("it broke").first().waitFor({ state: "visible" });
  await close(page);
});

test("tests that are not in the table yet are paged through, and found", async () => {
  const page = await open(at("many.html"));
  assert.equal(await lines(page), 2000);
  await page.getByRole("button", { name: "Show more" }).click();
  assert.equal(await lines(page), 2300);
  assert.equal(await page.getByRole("button", { name: "Show more" }).isVisible(), false);
  await page.reload();
  await page.getByLabel("Find").fill("-2299");
  assert.deepEqual(await page.locator("#tests tbody tr:visible td.test").allTextContents(), ["echo-2299"]);
  assert.equal(await page.locator("#shown").textContent(), "1 of 2,300 tests".replace(",", ""));
  // Cells that the script makes lead somewhere as well.
  await page.locator("#tests tbody tr:visible a").click();
  assert.match(page.url(), /#trial-2299$/);
  await close(page);
});

test("what a guest says stays text", async () => {
  const page = await open(at("hostile.html"));
  await unfold(page);
  const elements = await page.evaluate(() => [...document.querySelectorAll("*")].map((element) => element.localName));
  for (const name of ["script", "style"]) assert.equal(elements.filter((found) => found === name).length, 1, name);
  for (const name of ["iframe", "object", "embed", "link", "base", "form"]) assert.ok(!elements.includes(name), name);
  const acting = await page.evaluate(() => {
    const attributes = [...document.querySelectorAll("*")].flatMap((element) => [...element.attributes]);
    return attributes.map(({ name, value }) => `${name}=${value}`).filter((text) => /^(on|style=|srcdoc|(href|src)=(?!#|data:image\/png))/i.test(text));
  });
  assert.deepEqual(acting, []);
  const texts = await page.locator("pre").allTextContents();
  for (const line of hostile.shown) assert.ok(texts.some((text) => text.includes(line)), line);
  const whole = await page.evaluate(() => document.documentElement.textContent);
  assert.doesNotMatch(whole, /[\u202a-\u202e\u2066-\u2069\u200b-\u200f\u001b]/u);
  assert.equal(await page.evaluate(() => globalThis.harmed), undefined);
  await close(page);
});

test("small files stand in the page, texts as text and pictures as pictures", async () => {
  const page = await open(at("every.html"));
  await unfold(page);
  assert.ok((await page.locator("pre").allTextContents()).includes("one two"));
  const width = await page.getByAltText("the picture dot.png").first().evaluate((picture) => picture.naturalWidth);
  assert.equal(width, 1);
  await close(page);
});

test("without scripts all is there but what they do", async () => {
  const page = await open(at("every.html"), { javaScriptEnabled: false });
  assert.ok((await page.locator("#tests tbody tr").count()) > 5);
  assert.equal(await page.locator(".filters").isVisible(), false);
  assert.deepEqual(page.wrong, []);
  await page.close();
});

test("on paper what is folded is there as well", async () => {
  const page = await open(at("every.html"));
  const folded = page.locator("details:not([open]) pre").first();
  // Not its height: the browser may give one to what it does not show.
  assert.equal(await folded.isVisible(), false);
  await page.emulateMedia({ media: "print" });
  assert.equal(await folded.isVisible(), true);
  assert.equal(await page.locator(".filters").isVisible(), false);
  await close(page);
});
