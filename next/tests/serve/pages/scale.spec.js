// Figures of a large run and of many runs. A debug build and two cores with other tests have three times the time.
import { expect, test } from './fixtures.js';

const SLACK = 3;

test.setTimeout(60_000);

/** Returns the milliseconds until `done`, from before the action. */
async function took(action, done) {
  const start = performance.now();
  await action();
  await done();
  return performance.now() - start;
}

test('large run opens, is filtered and scrolls without a stutter', async ({ page, server }) => {
  const grid = page.getByRole('grid', { name: 'Trials' });
  const first = await took(() => page.goto(`${server.origin}/runs/2025-12-31_00-00-00-000-large-77777777`),
    () => expect(grid.getByRole('row').nth(5)).toBeVisible());
  // The first page comes before the server has read all rows, and a filter after it.
  const search = page.getByRole('searchbox');
  const heading = page.getByRole('heading', { name: /Trials/ });
  await search.fill('echo-0019');
  await expect(heading).toContainText('match', { timeout: 30_000 });
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
    }).toPass({ timeout: 20_000 });
  });
});
