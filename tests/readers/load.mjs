// How long a browser takes to open the page that is named, and to look for a test that is not in its table yet.
import { open, start, stop } from "./browser.mjs";

await start();
const began = performance.now();
const page = await open(process.argv[2]);
console.log(`opened in a browser ${performance.now() - began}`);
const asked = performance.now();
await page.getByLabel("Find").fill("-0099998");
await page.locator("#tests tbody tr:visible").first().waitFor();
console.log(`found a test in it ${performance.now() - asked}`);
await stop();
