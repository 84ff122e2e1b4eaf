// Logins, and servers that change nothing.
import { expect, test, watch } from './fixtures.js';

test.describe('read-only', () => {
  test.use({ flags: '--results results --scenarios scenarios --read-only' });
  test('read-only pages offer no change', async ({ page, server }) => {
    await expect(page.getByText('read-only')).toBeVisible();
    await expect(page.getByRole('link', { name: 'Start' })).toHaveCount(0);
    const enabled = page.getByRole('button', { name: /Stop|Resume|Cancel|Delete|Pin|Rerun|labels/ }).and(page.locator(':enabled'));
    await expect(enabled).toHaveCount(0);
    await page.getByRole('link', { name: 'stopped' }).click();
    await expect(page.getByRole('heading', { level: 1 })).toContainText('stopped');
    await expect(enabled).toHaveCount(0);
    const answer = await page.evaluate(async () => (await fetch('/api/v1/runs/latest/stop', {
      method: 'POST', headers: { 'content-type': 'application/json' }, body: '{}' })).status);
    expect(answer).toBe(403);
    expect(server.origin).toContain('localhost');
  });
  test.use({ allowed: /status of 403/ });
});

test.describe('', () => {
  test.use({ flags: '--results results --token-file token', allowed: /status of 401/ });
  test('second browser logs in with the token, and a used link does not', async ({ page, browser, server }) => {
    const { readFileSync } = await import('node:fs');
    const token = readFileSync(`${process.env.ROOT}/token`, 'utf8');
    const context = await browser.newContext();
    const other = await context.newPage();
    const wrong = watch(other, 'http://');
    await other.goto(server.link);
    await other.goto(`${server.origin}/runs`);
    await expect(other.getByRole('heading', { name: 'Log in' })).toBeVisible();
    expect((await other.locator('body > header').boundingBox()).height).toBeLessThan(60);
    await expect(other.getByRole('navigation')).toBeHidden();
    await other.getByLabel('Token').fill('not-the-token-of-this-server');
    await other.getByRole('button', { name: 'Log in' }).click();
    await expect(other.getByRole('alert')).toBeVisible();
    await other.getByLabel('Token').fill(token);
    await other.getByRole('button', { name: 'Log in' }).click();
    await expect(other.getByRole('heading', { name: 'Runs' })).toBeVisible();
    await expect(other.getByRole('navigation', { name: 'Pages' })).toBeVisible();
    expect(other.url()).not.toContain(token.trim());
    expect(await other.evaluate(() => document.cookie)).toBe('');
    expect(wrong.filter((message) => !/status of 401/.test(message))).toEqual([]);
    await context.close();
    await page.reload();
    await expect(page.getByRole('heading', { name: 'Runs' })).toBeVisible();
  });
});

test.describe('', () => {
  test.use({ flags: '--results results --allow-host box.example', allowed: /status of 401|Cross-Origin-Opener-Policy/ });
  test('page at an allowed name warns that all its ports get the login', async ({ page, browser, server }) => {
    const context = await browser.newContext();
    const other = await context.newPage();
    for (const [origin, count] of [[server.origin, 1], [`http://localhost:${server.port}`, 0], [`http://127.0.0.1:${server.port}`, 0]]) {
      await other.goto(`${origin}/runs`);
      await expect(other.getByRole('heading', { name: 'Log in' })).toBeVisible();
      await expect(other.getByText('will send this login to all ports of box.example.')).toHaveCount(count);
    }
    await expect(other.getByText('This link was used already')).toHaveCount(0);
    await other.goto(server.link);
    await expect(other.getByText('This link was used already')).toBeVisible();
    await context.close();
    await expect(page.getByRole('heading', { name: 'Runs' })).toBeVisible();
  });
});

test('texts of guests are text on every page', async ({ page, server }) => {
  const run = '2026-01-03_00-00-00-000-hostile-33333333';
  const of = `/runs/${run}`;
  for (const path of ['/runs', of, `${of}?view=matrix`, `${of}?view=log`, `${of}?view=about`,
    ...['fails', 'says', 'breaks', 'writes'].map((test) => `${of}/trials/${test}@hostile%231`),
    `/compare?base=${run}&new=2026-01-02_00-00-00-000-every-00000002`, '/history?scenario=hostile']) {
    await page.goto(server.origin + path);
    await expect(page.locator('main h1')).toBeVisible();
    await page.waitForLoadState('networkidle').catch(() => {});
    expect(await page.locator('main :is(script, iframe, img:not([src^="/api"]):not([src^="blob:"]), base, style)').count()).toBe(0);
  }
});
