// Figures of a large run and of many runs. A debug build on a slow machine with other tests has thirty times the time.
import { expect, test } from './fixtures.js';

const SLACK = 30;
const LARGE = '2025-12-31_00-00-00-000-large-77777777';

/** Returns the milliseconds until `done`, from before the action. */
async function took(action, done) {
  const start = performance.now();
  await action();
  await done();
  return performance.now() - start;
}

test('large run opens, is filtered and scrolls without a stutter', async ({ page, server }) => {
  const grid = page.getByRole('grid', { name: 'Trials' });
  const first = await took(() => page.goto(`${server.origin}/runs/${LARGE}`),
    () => expect(grid.getByRole('row').nth(5)).toBeVisible());
  // The first page comes before the server has read all rows, and a filter after it.
  const search = page.getByRole('searchbox');
  const heading = page.getByRole('heading', { name: /Trials/ });
  await search.fill('echo-0019');
  await expect(heading).toContainText('match', { timeout: 120_000 });
  const filtered = await took(() => search.fill('test(echo-00123*)'), () => expect(heading).toContainText(/^Trials100? of/));
  await search.fill('');
  await expect(heading).not.toContainText('match');
  await grid.scrollIntoViewIfNeeded();
  const frames = await grid.evaluate(async (list) => {
    const tasks = [];
    const observer = new PerformanceObserver((list) => tasks.push(...list.getEntries().map((entry) => entry.duration)));
    observer.observe({ type: 'longtask' });
    const height = list.scrollHeight - list.clientHeight;
    const times = [];
    let last = performance.now();
    for (let step = 0; step <= 120; step += 1) {
      list.scrollTop = (height * step) / 120;
      await new Promise((next) => requestAnimationFrame(next));
      const now = performance.now();
      times.push(now - last);
      last = now;
    }
    times.sort((left, right) => left - right);
    return { p95: times[Math.floor(times.length * 0.95)], longest: Math.max(0, ...tasks) };
  });
  // Failed trials come first, and the last of the list has failed.
  const last = Number((await page.getByRole('heading', { name: /Trials/ }).textContent()).replace(/\D/g, '')) - 2;
  await expect(grid.getByText(`echo-${String(last).padStart(7, '0')}`)).toBeVisible();
  console.log(`large run: first page ${first.toFixed()} ms, filter ${filtered.toFixed()} ms, frame p95 ${frames.p95.toFixed(1)} ms, longest task ${frames.longest.toFixed()} ms`);
  expect(first).toBeLessThan(600 * SLACK);
  expect(filtered).toBeLessThan(750 * SLACK);
  expect(frames.p95).toBeLessThan(34 * SLACK);
  expect(frames.longest).toBeLessThan(120 * SLACK);
});

test('list is printed up to a bound', async ({ page, server }) => {
  await page.goto(`${server.origin}/runs/${LARGE}?sort=plan`);
  const grid = page.getByRole('grid', { name: 'Trials' });
  await expect(page.getByRole('heading', { name: /Trials/ })).toContainText('trials', { timeout: 120_000 });
  await grid.evaluate((element) => { element.scrollTop = 5000; });
  await expect(grid.getByText('echo-0000150')).toBeVisible();
  const pdf = (await page.pdf()).toString('latin1');
  expect(pdf.match(/\/Type \/Page\b/g).length).toBeGreaterThan(5);
  await page.emulateMedia({ media: 'print' });
  await page.evaluate(() => dispatchEvent(new Event('beforeprint')));
  await expect(grid.getByText('echo-0000000')).toBeVisible();
  await expect(grid.getByText('echo-0000999')).toBeVisible();
  await expect(grid.getByText(/^and [\d,]+ more rows, not printed$/)).toBeVisible();
  await page.emulateMedia({ media: 'screen' });
  await page.evaluate(() => dispatchEvent(new Event('afterprint')));
  await expect(grid.getByText('echo-0000150')).toBeVisible();
  expect(await grid.getByRole('row').count()).toBeLessThan(100);
});

test('log and timeline of a large run state their limits', async ({ page, server }) => {
  await page.goto(`${server.origin}/runs/${LARGE}?view=log`);
  await expect(page.getByText('The newest attempts have no output. This is runner.log:')).toBeVisible();
  await expect(page.getByLabel('Log', { exact: true })).toContainText('session 1 of runner');
  await expect(page.getByRole('button', { name: 'Show all' })).toBeVisible();
  await page.goto(`${server.origin}/runs/${LARGE}?view=timeline`);
  await expect(page.getByText('one mark with a share for each outcome')).toBeVisible();
  const most = process.env.RUNNER_TESTS === 'full' ? '100,000 failed' : '2,000 failed';
  await expect(page.locator('.timeline ~ .counts')).toContainText(most);
  const canvas = page.getByRole('figure', { name: 'Attempts over time' }).getByRole('img');
  // Somewhere, the first lane has another outcome at its top than at its bottom.
  await expect.poll(() => canvas.evaluate((element) => {
    const copy = Object.assign(document.createElement('canvas'), { width: element.width }).getContext('2d', { willReadFrequently: true });
    copy.drawImage(element, 0, 0);
    const [top, bottom] = [1, 27].map((y) => copy.getImageData(0, y, element.width, 1).data);
    return top.some((byte, at) => byte !== bottom[at]);
  })).toBe(true);
  const { x, y, width } = await canvas.boundingBox();
  const tip = page.locator('.timeline .tip');
  await expect.poll(async () => {
    await page.mouse.move(x + Math.random() * width, y + 8);
    return await tip.isVisible() ? tip.textContent() : '';
  }).toMatch(/^\d+ attempts✗ \d+ failed ✓ \d+ passed/);
});

test('history of twelve runs fits, and labels of its axes differ', async ({ page, server }) => {
  const history = await page.evaluate(async () => (await fetch('/api/v1/history?scenario=every')).json());
  const [first] = history.runs;
  history.runs = Array.from({ length: 12 }, (_, at) => ({ ...first, run: `${first.run}-${at}`, providers: first.providers.map((one) => ({ ...one, cost_usd: 0.0287 + 0.00002 * at })) }));
  history.tests = history.tests.map((one) => ({ ...one, test: `cart/${one.test}`, provider: 'a-provider-with-a-long-name', passed: 8, failed: 4, error: 0, timeout: 0, skipped: 1, marks: Array(12).fill('failed') }));
  await page.route('**/api/v1/history?*', (route) => route.fulfill({ json: history }));
  await page.setViewportSize({ width: 1280, height: 900 });
  await page.goto(`${server.origin}/history?scenario=every`);
  const passed = page.getByRole('grid', { name: 'Results' }).getByRole('gridcell', { name: '8 of 12', exact: true }).first();
  await expect(passed).toBeVisible();
  const [left, edge] = await passed.evaluate((cell) => {
    const text = document.createRange();
    text.selectNodeContents(cell);
    return [text, cell.parentElement.querySelector('.trial')].map((one) => one.getBoundingClientRect()).map((box, at) => (at ? box.right : box.left));
  });
  expect(left).toBeGreaterThan(edge);
  // The provider below does not part the folder from its test.
  const [folder, name] = await Promise.all(['.folders', '.test'].map((part) => page.locator(`.history .trial ${part}`).first().boundingBox()));
  expect(name.x - folder.x - folder.width).toBeLessThan(2);
  const labels = await page.getByRole('figure', { name: 'Cost of every' }).locator('.tick').allTextContents();
  expect(labels.length).toBeGreaterThan(1);
  expect(new Set(labels).size).toBe(labels.length);
});

test('labels of runs in one minute differ', async ({ page, server }) => {
  const history = await page.evaluate(async () => (await fetch('/api/v1/history?scenario=every')).json());
  history.runs.forEach((run, at) => { run.started_at = `2026-03-01T10:20:0${at}Z`; });
  await page.route('**/api/v1/history?*', (route) => route.fulfill({ json: history }));
  await page.goto(`${server.origin}/history?scenario=every`);
  await expect(page.getByRole('figure', { name: 'Pass rate of every' }).locator('.name')).toHaveText(['11:20:00', '11:20:01']);
  await expect(page.getByRole('grid', { name: 'Results' }).getByRole('columnheader', { name: '11:20:01' })).toBeVisible();
});

test('each of many trials has the next and the previous one', async ({ page, server }) => {
  const last = process.env.RUNNER_TESTS === 'full' ? 999_999 : 19_999;
  const name = (number) => `echo-${String(number).padStart(7, '0')}`;
  // Failed trials come first, and this is the last of them.
  await page.goto(`${server.origin}/runs/${LARGE}/trials/${name(last)}%40hostile%231`);
  await page.getByRole('link', { name: '← Previous' }).click({ timeout: 120_000 });
  await expect(page).toHaveURL(new RegExp(name(last - 10)));
  await page.getByRole('link', { name: 'Next →' }).click();
  await expect(page).toHaveURL(new RegExp(name(last)));
  await page.getByRole('link', { name: 'Next →' }).click();
  await expect(page).toHaveURL(new RegExp(name(0)));
});

test.describe('', () => {
  test.use({ flags: '--results many' });
  test('many runs open at once', async ({ page, server }) => {
    const rows = page.getByRole('grid', { name: 'Runs' }).getByRole('row');
    const first = await took(() => page.goto(`${server.origin}/runs`), () => expect(rows.nth(5)).toBeVisible());
    console.log(`many runs: first page ${first.toFixed()} ms`);
    expect(first).toBeLessThan(300 * SLACK);
    await page.getByRole('grid', { name: 'Runs' }).focus();
    await expect(async () => {
      await page.keyboard.press('End');
      await expect(page.getByRole('checkbox', { name: /good-00000000/ })).toBeVisible({ timeout: 500 });
    }).toPass({ timeout: 120_000 });
  });
});
