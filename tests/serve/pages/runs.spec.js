// The list of runs.
import { LIVE, choose, expect, runner, test } from './fixtures.js';

const rows = (page) => page.getByRole('grid', { name: 'Runs' }).getByRole('row');
const run = (page, scenario) => rows(page).filter({ has: page.getByRole('link', { name: scenario, exact: true }) });

test('verdict of a run comes first, and failed tests are never green', async ({ page }) => {
  await expect(run(page, 'every').first()).toContainText(/✗ \d+ failed/);
  await expect(run(page, 'every').first().getByText('passed')).toHaveCount(1);
  await expect(run(page, 'good')).toContainText('✓ passed');
  await expect(run(page, 'stopped')).toContainText('◐ incomplete');
  await expect(run(page, 'cancelled')).toContainText('⊘ cancelled');
  const green = await page.evaluate(() => getComputedStyle(document.querySelector('.mark.passed')).color);
  for (const mark of await run(page, 'every').first().locator('.mark').all()) {
    expect(await mark.evaluate((node) => getComputedStyle(node).color)).not.toBe(green);
  }
});

test('filters are in the address and survive a reload', async ({ page, server }) => {
  const incomplete = page.getByRole('button', { name: /incomplete/ });
  await incomplete.click();
  await expect(page).toHaveURL(/status=incomplete/);
  await expect(run(page, 'good')).toHaveCount(0);
  await page.reload();
  await expect(incomplete).toHaveAttribute('aria-pressed', 'true');
  await expect(run(page, 'stopped')).toHaveCount(1);
  await page.goBack();
  await expect(run(page, 'good')).toHaveCount(1);
  await page.getByRole('searchbox', { name: 'Search runs' }).fill('nothing like this');
  await expect(page.getByText('No runs match.')).toBeVisible();
  await expect(page.getByRole('group', { name: 'State' }).getByRole('button')).toHaveCount(0);
  await page.goto(`${server.origin}/runs?label=team%3Dnight`);
  await expect(run(page, 'good')).toHaveCount(1);
  await expect(run(page, 'every')).toHaveCount(0);
});

test('runs are opened and compared by keys alone', async ({ page }) => {
  await page.keyboard.press('/');
  await expect(page.getByRole('searchbox')).toBeFocused();
  await page.keyboard.type('good');
  await expect(page).toHaveURL(/q=good/);
  await expect(run(page, 'every')).toHaveCount(0);
  await expect(page.getByRole('searchbox')).toBeFocused();
  await page.keyboard.press('Tab');
  // The first row is the day.
  for (const key of ['ArrowDown', 'ArrowDown', 'Enter']) await page.keyboard.press(key);
  await expect(page).toHaveURL(/\/runs\/.*good/);
  await page.goBack();
  await expect(page).toHaveURL(/\/runs\?.*q=good/);
});

test('page that opens late leaves the address of the next one', async ({ page }) => {
  const document = /\/api\/v1\/runs\/[^/?]*good[^/?]*$/;
  let release;
  const held = new Promise((resolve) => { release = resolve; });
  await page.route(document, async (route) => { await held; await route.continue(); });
  const list = page.url();
  await run(page, 'good').first().getByRole('link').first().click();
  await expect(page).toHaveURL(/\/runs\/.*good/);
  await page.goBack();
  await expect(page).toHaveURL(list);
  const answer = page.waitForResponse(document);
  release();
  // A later answer is read after the one before it.
  await page.evaluate((url) => fetch(url).then((later) => later.json()), (await answer).url());
  await expect(page).toHaveURL(list);
});

test('runs of several users have their names', async ({ page }) => {
  await expect(run(page, 'good')).not.toContainText(' by ');
  await page.addInitScript(() => {
    const request = window.fetch;
    window.fetch = async (path, options) => {
      const answer = await request(path, options);
      if (!path.startsWith('/api/v1/runs?')) return answer;
      const list = await answer.json();
      list.runs[0].user = 'ada';
      return Response.json(list);
    };
  });
  await page.reload();
  await expect(rows(page).filter({ hasText: 'by ada' })).toHaveCount(1);
  await expect(run(page, 'good')).toContainText(' by ');
});

test('pass rate has its change since the run before, and its course', async ({ page, server }) => {
  const json = await page.evaluate(async () => (await fetch('/api/v1/runs?limit=100')).json());
  const at = json.runs.findIndex((run) => run.scenario === 'good');
  const rated = (name, number, passed, state) => ({ ...json.runs[at], run: `${json.runs[at].run}${name}`, short: name, number, state, counts: { ...json.runs[at].counts, planned: 8, passed, failed: 8 - passed } });
  json.runs.splice(at, 1, rated('newest', 9003, 6, 'passed'), rated('part', 9002, 1, 'incomplete'), rated('older', 9001, 7, 'failed'));
  json.runs.push(...Array.from({ length: 20 }, (_, number) => ({ ...rated(`many${number}`, number, 5, 'failed'), scenario: 'many' })));
  await page.route('**/api/v1/runs?*', (route) => route.fulfill({ json }));
  await page.goto(`${server.origin}/runs`);
  const row = (name) => rows(page).filter({ hasText: name });
  await expect(row('newest')).toContainText('6 of 8 passed ▼ 12.5 pp');
  await expect(row('newest')).toContainText('gate allows 2 failed');
  await expect(row('older')).not.toContainText(' pp');
  const list = await page.getByRole('grid', { name: 'Runs' }).boundingBox();
  // The list takes the rest of the window.
  expect(list.y + list.height).toBeGreaterThan(page.viewportSize().height - 120);
  await expect(page.getByRole('link', { name: 'good 75.0 %' })).toHaveAttribute('href', '/history?scenario=good');
  await page.setViewportSize({ width: 400, height: 900 });
  expect((await page.getByRole('group', { name: 'Pass rates' }).boundingBox()).height).toBeLessThan(50);
  // On a phone, the list is scrolled with the page, and has elements for the visible rows only.
  await expect(async () => {
    // The list may have its former height yet.
    await page.evaluate(() => scrollTo(0, 9999));
    await expect(rows(page).filter({ hasText: 'many19' })).toBeInViewport({ timeout: 1000 });
  }).toPass();
  expect(await rows(page).count()).toBeLessThan(20);
  await page.setViewportSize({ width: 1280, height: 900 });
  // A filter may leave out the run before.
  const filtered = { ...json, runs: json.runs.filter((one) => one.short !== 'older') };
  await page.route('**/api/v1/runs?q=*', (route) => route.fulfill({ json: filtered }));
  await page.goto(`${server.origin}/runs?q=good`);
  await expect(row('newest')).toContainText('6 of 8 passed ▼ 12.5 pp');
  await expect(row('older')).toHaveCount(0);
  const heights = await Promise.all([page.locator('.runs .heading').first(), row('newest')].map(async (one) => (await one.boundingBox()).height));
  expect(heights[0]).toBeLessThan(heights[1]);
});

test('names in backquotes are shown as code', async ({ page, server }) => {
  await page.goto(`${server.origin}/runs/latest?view=about`);
  await expect(page.locator('.history code').first()).toBeVisible();
  await expect(page.locator('main')).not.toContainText('`');
});

test('time between sessions is not counted as work', async ({ page }) => {
  const shown = await page.evaluate(async () => {
    const { worked } = await import('/web/base/words.js');
    return worked({ status: 'running', worked_ms: 90_000, started_at: '2026-01-01T00:00:00Z' });
  });
  expect(shown).toBe('90 s');
});

test.describe('', () => {
  // Requests of the page while the run is deleted are not found.
  test.use({ flags: `--results ${LIVE} --scenarios scenarios`, allowed: /status of 404/ });
  test('labels, pin and deletion change the run', async ({ page, server }) => {
    await runner(['exec', '-q', 'scenarios/good.toml', '--into', `${LIVE}/changed`, '--label', 'old=1']);
    await page.goto(`${server.origin}/runs/changed?view=unknown`);
    await expect(page.getByRole('link', { name: 'Overview' })).toHaveAttribute('aria-current', 'page');
    await page.getByRole('button', { name: 'Run again' }).click();
    await expect(page.getByRole('heading', { name: /^good: \d/ })).toBeVisible();
    await page.goBack();
    await choose(page, 'Edit labels…');
    await page.getByRole('textbox').fill('team');
    await page.getByRole('button', { name: 'Save' }).click();
    await expect(page.getByRole('alert')).toContainText('KEY=VALUE');
    await page.getByRole('textbox').fill('team=day\nempty=');
    await page.getByRole('button', { name: 'Save' }).click();
    await expect(page.getByRole('link', { name: 'team=day' })).toBeVisible();
    await expect(page.getByRole('link', { name: 'old=1' })).toHaveCount(0);
    await choose(page, 'Pin');
    await expect(page.getByText('⚑ pinned')).toBeVisible();
    await choose(page, 'Unpin');
    await expect(page.getByText('⚑ pinned')).toHaveCount(0);
    await choose(page, 'Delete…');
    await page.getByRole('button', { name: 'Delete run' }).click();
    await expect(page).toHaveURL(/\/runs$/);
    await expect(page.getByRole('grid', { name: 'Runs' }).getByText('changed')).toHaveCount(0);
  });
});

test.describe('', () => {
  test.use({ flags: '--results everything' });
  test('group is a row with its failed gate, and a filter', async ({ page }) => {
    const words = '2 of 2 runs of one command';
    const group = rows(page).filter({ hasText: words });
    await expect(group).toHaveCount(2);
    await expect(group.first()).toContainText(/gate: pass rate \S+ % < 99 %/);
    await group.first().getByRole('link', { name: 'alike, everything' }).click();
    await expect(page).toHaveURL(/\?group=/);
    await expect(run(page, 'alike')).toHaveCount(1);
    await expect(run(page, 'everything')).toContainText(/gate: pass rate \S+ % < 99 %/);
    await page.setViewportSize({ width: 400, height: 900 });
    await expect(run(page, 'everything').locator('.state small')).toContainText(/gate: pass rate/);
    await run(page, 'everything').getByRole('link', { name: 'everything' }).click();
    const facts = page.locator('.facts').getByText('1 of 2 in group');
    await facts.getByRole('link').click();
    await expect(page).toHaveURL(/\?group=/);
    await page.getByRole('link', { name: /^group: .* ✕$/ }).click();
    await expect(group).toHaveCount(2);
  });
});
