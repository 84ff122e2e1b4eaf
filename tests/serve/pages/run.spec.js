// The page of a run that has ended.
import { expect, runner, test } from './fixtures.js';

const EVERY = '2026-01-02_00-00-00-000-every-00000002';
const trials = (page) => page.getByRole('grid', { name: 'Trials' }).getByRole('row');

test('failures are shown with their values, and new ones first', async ({ page, server }) => {
  await page.goto(`${server.origin}/runs/${EVERY}`);
  await expect(page.getByRole('heading', { level: 1 })).toContainText(/every\s+✗ \d+ failed/);
  const groups = page.locator('.groups > li');
  await expect(groups.first()).toContainText('new');
  await expect(groups.filter({ hasText: 'fails@hostile#1' })).toContainText('expected "2", got "two"');
  await expect(groups.filter({ hasText: 'differs@hostile#1' })).toContainText('$.b[1]: expected 3, got 2');
  // Numbers are those of the row, which JavaScript cannot hold.
  await expect(groups.filter({ hasText: 'large@hostile#1' })).toContainText('12345678901234567891');
  await expect(page.getByText(/Since .*2 fixed/)).toBeVisible();
});

test('long verdict fits a narrow screen', async ({ page, server }) => {
  await page.setViewportSize({ width: 320, height: 900 });
  await page.goto(`${server.origin}/runs/${EVERY}`);
  const mark = page.locator('h1 .mark').last();
  await expect(mark).toContainText('failed');
  const [end, width] = await mark.evaluate((one) => [one.getBoundingClientRect().right, document.documentElement.clientWidth]);
  expect(end).toBeLessThanOrEqual(width);
});

test('trials are found by plain words, by a filter, and by keys', async ({ page, server }) => {
  await page.goto(`${server.origin}/runs/${EVERY}`);
  const search = page.getByRole('searchbox');
  await search.fill('recovers');
  await expect(trials(page).filter({ hasText: 'recovers@hostile' }).first()).toContainText('flaky');
  await expect(trials(page).filter({ hasText: 'passes@' })).toHaveCount(0);
  await expect(page).toHaveURL(/filter=recovers/);
  await search.fill('outcome(error) & provider(other)');
  await expect(trials(page).filter({ hasText: 'breaks@other' })).toHaveCount(2);
  // On a slow machine, the list can be drawn again between two keys.
  await expect(async () => {
    if (!page.url().includes('/trials/')) {
      await search.focus({ timeout: 1000 });
      for (const key of ['Tab', 'ArrowDown', 'Enter']) await page.keyboard.press(key);
    }
    await expect(page).toHaveURL(/\/trials\/breaks/, { timeout: 2000 });
  }).toPass({ timeout: 20_000 });
});

test('each step of the keyboard is visible', async ({ page, server }) => {
  for (const path of [`/runs/${EVERY}`, `/runs/${EVERY}/trials/recovers%40hostile%231`]) {
    await page.goto(server.origin + path);
    await expect(page.getByRole('link', { name: /every/ }).first()).toBeVisible();
    const names = [];
    for (let step = 0; step < 80; step += 1) {
      await page.keyboard.press('Tab');
      const focus = await page.evaluate(() => {
        const element = /** @type {HTMLElement} */ (document.activeElement);
        const { top, bottom, width } = element.getBoundingClientRect();
        const isVisible = width > 0 && bottom > 0 && top < innerHeight && getComputedStyle(element).outlineStyle !== 'none';
        return { isEnd: element === document.body, isVisible, name: element.ariaLabel ?? element.textContent };
      });
      if (focus.isEnd) break;
      names.push(focus.name);
      expect(focus, path).toMatchObject({ isVisible: true });
    }
    expect(names, path).toEqual(expect.arrayContaining(['Skip to content', 'Keys', expect.stringMatching(/^every/)]));
    expect(names.length, path).toBeLessThan(80);
  }
});

test.describe('', () => {
  // The first answer about a wrong filter is a problem.
  test.use({ allowed: /status of 400/ });
  test('wrong filter names its place', async ({ page, server }) => {
    await page.goto(`${server.origin}/runs/${EVERY}?filter=outcom(failed)`);
    await expect(page.getByRole('alert')).toContainText('outcom');
    await expect(page.getByRole('button', { name: 'Search for this text' })).toBeVisible();
  });
});

test('every provider of a matrix is in reach on a narrow screen', async ({ page, server }) => {
  await page.setViewportSize({ width: 400, height: 900 });
  await page.goto(`${server.origin}/runs/${EVERY}?view=matrix`);
  const last = page.getByRole('columnheader').last();
  await last.scrollIntoViewIfNeeded();
  await expect(last).toBeInViewport({ ratio: 1 });
  await expect(page.getByRole('link', { name: 'recovers' })).toBeInViewport({ ratio: 1 });
});

test('views of a run have its matrix, its log and its facts', async ({ page, server }) => {
  await page.goto(`${server.origin}/runs/${EVERY}`);
  const views = page.getByRole('navigation', { name: 'Views of the run' });
  await views.getByRole('link', { name: 'Matrix' }).click();
  await expect(page).toHaveURL(/view=matrix/);
  await expect(page.getByRole('grid', { name: 'Tests and providers' }).getByText('recovers')).toBeVisible();
  await views.getByRole('link', { name: 'Log' }).click();
  await expect(page.getByLabel('Log', { exact: true })).toContainText('careful key=value');
  await page.getByRole('link', { name: 'runner.log' }).click();
  await expect(page.getByText('runner exec -q scenarios/every.toml').first()).toBeVisible();
  await views.getByRole('link', { name: 'About' }).click();
  await expect(page.getByText(EVERY).first()).toBeVisible();
  await page.goBack();
  await expect(page).toHaveURL(/view=log/);
});

test.describe('', () => {
  test.use({ allowed: /status of 404/ });
  test('unknown addresses are named', async ({ page, server }) => {
    await page.goto(`${server.origin}/runs/none`);
    await expect(page.getByRole('heading', { name: 'Not found' })).toBeVisible();
    await page.goto(`${server.origin}/nothing`);
    await expect(page.getByText('No page has the address /nothing')).toBeVisible();
    await expect(page.getByRole('link', { name: 'All runs' })).toBeVisible();
    await page.goto(`${server.origin}/runs/${EVERY}/trials/%zz`);
    await expect(page.getByRole('heading', { name: 'Not found' })).toBeVisible();
    await expect(page.getByText('%zz')).toBeVisible();
  });
});

test('lost workers come first, and running attempts are with their workers', async ({ page }) => {
  const [title, heads, ...rows] = await page.evaluate(async () => {
    const [{ workers }, { render }] = await Promise.all([import('/web/pages/activity.js'), import('/web/base/ui.js')]);
    const tables = [{ worker: 'a', attempts: 1200, errors: 2 }, { worker: 'b', attempts: 4, errors: 0 }];
    const joined = [{ worker: 'a' }, { worker: 'b', lost_at: new Date().toISOString() }, { worker: 'c' }];
    const flight = ['a', 'c', 'c', 'c', 'c'].map((worker, at) => ({ worker, trial: `t${at}@p#1` }));
    const place = document.createElement('div');
    render(place, workers({ run: { run: 'r' }, workers: tables }, { joined, in_flight: flight }));
    const rows = [...place.querySelectorAll('tr')].map((row) => [...row.cells].map((cell) => cell.textContent.trim()).join(' | '));
    render(place, workers({ run: { run: 'r' }, workers: tables }, null));
    return [place.querySelector('h2').textContent, ...rows, place.querySelectorAll('th').length];
  });
  expect(title).toBe('Workers');
  expect(heads).toBe('Worker | State | Attempts | Errors | Runs now');
  expect(rows).toEqual([
    'b | ⚠ lost just now | 4 | 0 | ', 'a | connected | 1,200 | 2 | t0@p#1', 'c | connected | 0 | 0 | t1@p#1 t2@p#1 t3@p#1 and 1 more', 5,
  ]);
});
