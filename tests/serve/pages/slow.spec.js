// A slow network, and one that fails for a while.
import { LIVE, detach, expect, stopRuns, test } from './fixtures.js';

const EVERY = '2026-01-02_00-00-00-000-every-00000002';
/** Pages, each with a text that it has once it is complete. */
const PAGES = {
  '/runs': 'team=night',
  [`/runs/${EVERY}`]: 'Durations',
  [`/runs/${EVERY}?view=matrix`]: 'recovers',
  [`/runs/${EVERY}?view=log&runner=1`]: 'runner exec',
  [`/runs/${EVERY}/trials/fails%40hostile%231`]: 'Reproduce',
  [`/compare?base=2026-01-01_00-00-00-000-every-00000001&new=${EVERY}`]: 'regressed',
  '/history?scenario=every': 'recovers',
  '/queue': 'Queue',
  '/start?scenario=every.toml': 'runner exec',
};

/** Delays all answers. @param {import('@playwright/test').Page} page */
async function slow(page) {
  const session = await page.context().newCDPSession(page);
  await session.send('Network.enable');
  const conditions = { offline: false, latency: 400, downloadThroughput: -1, uploadThroughput: -1 };
  await session.send('Network.emulateNetworkConditions', conditions);
}

test('slow pages show that they load, move nothing, and ask once', async ({ page, server }) => {
  await page.addInitScript(() => {
    Object.assign(globalThis, { shifts: [], wasBusy: false });
    // A slow tester could miss it.
    const changes = new MutationObserver(() => {
      if (document.querySelector('main [aria-busy][inert]')) Object.assign(globalThis, { wasBusy: true });
    });
    changes.observe(document, { subtree: true, childList: true, attributes: true });
    const observer = new PerformanceObserver((list) => {
      for (const entry of /** @type {any} */ (list).getEntries()) {
        const nodes = entry.sources.map((/** @type {any} */ { node }) => node?.outerHTML?.slice(0, 200) ?? node?.data);
        if (!entry.hadRecentInput) /** @type {any} */ (globalThis).shifts.push([entry.value, ...nodes]);
      }
    });
    observer.observe({ type: 'layout-shift', buffered: true });
  });
  await slow(page);
  for (const [path, text] of Object.entries(PAGES)) {
    const asked = [];
    const count = (request) => asked.push(`${request.method()} ${request.url()}`);
    await page.goto(server.origin + path, { waitUntil: 'commit' });
    page.on('request', count);
    await expect(page.getByText('Loading…')).toBeVisible();
    await expect(page.locator('main').getByText(text).first()).toBeVisible();
    page.off('request', count);
    const shifts = await page.evaluate(() => /** @type {any} */ (globalThis).shifts);
    const moved = shifts.reduce((/** @type {number} */ sum, /** @type {any} */ [value]) => sum + value, 0);
    expect(moved, `${path}: ${JSON.stringify(shifts)}`).toBeLessThan(0.01);
    // The queue is read again once its events arrive, with the runs that are active.
    const again = asked.filter((one, at) => asked.indexOf(one) !== at && !/\/queue$|status=running/.test(one));
    expect(again, path).toEqual([]);
  }
  await page.goto(`${server.origin}/runs/${EVERY}`);
  for (const [view, text] of [['Matrix', 'recovers'], ['Log', 'careful'], ['Overview', 'Durations']]) {
    await page.evaluate(() => void Object.assign(globalThis, { wasBusy: false }));
    await page.getByRole('link', { name: view, exact: true }).click();
    await expect.poll(() => page.evaluate(() => /** @type {any} */ (globalThis).wasBusy)).toBe(true);
    await expect(page.locator('main').getByText(text).first()).toBeVisible();
  }
});

test('page that is left stays until the next one has its data', async ({ page, server }) => {
  let release = () => {};
  const held = new Promise((resolve) => { release = () => resolve(undefined); });
  await page.route(/api\/v1\/(queue|history)/, async (route) => {
    await held;
    await route.continue();
  });
  const [main, heading] = [page.locator('main'), page.getByRole('heading', { level: 1 })];
  await page.goto(`${server.origin}/runs/${EVERY}`);
  await expect(heading).toContainText('every');
  await page.evaluate(() => scrollTo(0, 200));
  // A click of the tester would scroll to the link.
  const click = (name) => page.getByRole('link', { name, exact: true }).evaluate((link) => link.click());
  await click('Queue');
  await expect(main).toHaveAttribute('aria-busy', 'true');
  await expect(page).toHaveURL(/queue$/);
  await expect(heading).toContainText('every');
  await expect(page.getByText('Loading…')).toHaveCount(0);
  // Its keys are closed, and its links are not.
  await page.keyboard.press('j');
  await expect(page.getByRole('grid', { name: 'Trials' })).not.toBeFocused();
  await click('History');
  await expect(page).toHaveURL(/history$/);
  await expect(heading).toContainText('every');
  release();
  await expect(heading).toContainText('History of');
  await expect(main).not.toHaveAttribute('aria-busy', 'true');
  expect(await page.evaluate(() => scrollY)).toBe(0);
  await page.goBack();
  await expect(heading).toContainText('Queue');
  await page.goBack();
  await expect(heading).toContainText('every');
  await expect.poll(() => page.evaluate(() => scrollY)).toBe(200);
});

test.describe('', () => {
  test.use({ flags: `--results ${LIVE} --scenarios scenarios`, allowed: /ERR_INTERNET_DISCONNECTED|ERR_NETWORK/ });
  test.afterEach(stopRuns);

  test('double click sends one request', async ({ page, server }) => {
    const run = await detach('scenarios/talks.toml', '--results', LIVE, '-j', '2');
    const sent = [];
    page.on('request', (request) => { if (request.method() === 'POST') sent.push(new URL(request.url()).pathname); });
    await page.goto(`${server.origin}/runs/${run}`);
    await expect(page.locator('.activity tbody tr')).toHaveCount(2);
    await slow(page);
    await page.getByRole('button', { name: '■ Stop' }).dblclick();
    await expect(page.getByRole('heading', { level: 1 })).toContainText('◐ incomplete');
    await page.getByRole('button', { name: '✕ Cancel run…' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Cancel run' }).dblclick();
    await expect(page.getByRole('heading', { level: 1 })).toContainText('⊘ cancelled');
    expect(sent).toEqual([`/api/v1/runs/${run}/stop`, `/api/v1/runs/${run}/cancel`]);
  });

  test('page that was asked for without a network opens once it is back', async ({ page, context }) => {
    await expect(page.getByRole('status')).toHaveText('live');
    await context.setOffline(true);
    await page.getByRole('link', { name: 'Queue' }).click();
    await expect(page.getByRole('alert')).toContainText('The server does not answer');
    await context.setOffline(false);
    await expect(page.getByRole('heading', { name: 'Queue' })).toBeVisible();
  });
});
