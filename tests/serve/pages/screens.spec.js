// Every page at three widths, in light and dark: accessible, and a picture of each in the folder SCREENS.
import { accessible, expect, test } from './fixtures.js';

const every = '2026-01-02_00-00-00-000-every-00000002';
const PAGES = {
  runs: '/runs',
  run: `/runs/${every}`,
  matrix: `/runs/${every}?view=matrix`,
  timeline: `/runs/${every}?view=timeline`,
  log: `/runs/${every}?view=log`,
  about: `/runs/${every}?view=about`,
  trial: `/runs/${every}/trials/fails%40hostile%231`,
  compare: `/compare?base=2026-01-01_00-00-00-000-every-00000001&new=${every}`,
  history: '/history?scenario=every',
  queue: '/queue',
  start: '/start?scenario=every.toml',
};

for (const [name, path] of Object.entries(PAGES)) {
  test(`${name} is accessible at three widths in light and dark`, async ({ page, server }) => {
    for (const width of [400, 1280, 2000]) {
      await page.setViewportSize({ width, height: 900 });
      await page.goto(server.origin + path);
      await expect(page.locator('main h1')).toBeVisible();
      for (const colorScheme of /** @type {const} */ (['light', 'dark'])) {
        await page.emulateMedia({ colorScheme });
        await accessible(page);
        expect(await page.evaluate(() => document.querySelectorAll('*').length)).toBeLessThan(2000);
        const { SCREENS } = process.env;
        if (SCREENS) await page.screenshot({ path: `${SCREENS}/${name}-${colorScheme}-${width}.png`, fullPage: true });
      }
    }
  });
}
