// Comparisons and the history of tests.
import { mkdirSync } from 'node:fs';
import { expect, runner, test } from './fixtures.js';

const [BASE, NEW] = ['2026-01-01_00-00-00-000-every-00000001', '2026-01-02_00-00-00-000-every-00000002'];

test('comparison has changed tests and opens them', async ({ page, server }) => {
  await page.goto(`${server.origin}/compare?base=${BASE}&new=${NEW}`);
  const tests = page.getByRole('grid', { name: 'Changed tests' }).getByRole('row');
  await expect(tests.filter({ hasText: 'large@hostile' })).toContainText('regressed');
  // A long name of a test is cut, and its provider stays.
  await page.setViewportSize({ width: 1280, height: 900 });
  await tests.filter({ hasText: 'large@' }).locator('.test > .test, .test a > .test').first().evaluate((name) => { name.textContent = 'x'.repeat(200); });
  const [end, edge] = await tests.filter({ hasText: 'xxx' }).first().evaluate((row) => [row.querySelector('.provider'), row.querySelector('.test')].map((one) => one.getBoundingClientRect().right));
  expect(end).toBeLessThanOrEqual(edge);
  await page.getByRole('link', { name: /fixed/ }).click();
  await expect(page).toHaveURL(/class=fixed/);
  await expect(tests.filter({ hasText: 'passes@' })).toHaveCount(2);
  await expect(tests.filter({ hasText: 'large@' })).toHaveCount(0);
});

test('two ticked runs are compared, the older one as base', async ({ page }) => {
  for (const run of [NEW, BASE]) await page.getByRole('checkbox', { name: run }).check();
  await page.getByRole('button', { name: 'Compare', exact: true }).click();
  await expect(page).toHaveURL(new RegExp(`base=${BASE}&new=${NEW}`));
});

test('comparison without a choice has the newest two runs', async ({ page, server }) => {
  await page.goto(`${server.origin}/compare`);
  await expect(page.getByLabel('New')).not.toHaveValue('');
  await expect(page.getByRole('grid', { name: 'Changed tests' })).toBeVisible();
});

test.describe('', () => {
  // The server is started after this.
  mkdirSync(`${process.env.ROOT}/pair`, { recursive: true });
  test.use({ flags: '--results pair --scenarios scenarios' });
  test('comparison of a root without a pair asks for one', async ({ page, server }) => {
    await page.goto(`${server.origin}/compare`);
    await expect(page.getByText('Two runs are needed')).toBeVisible();
    for (const name of ['good', 'leaky']) {
      await runner(['exec', '-q', `scenarios/${name}.toml`, '--into', `pair/${name}`], [0, 1]);
    }
    await page.reload();
    await expect(page.getByText('Choose two runs')).toBeVisible();
    await page.getByLabel('Base').selectOption('good');
    await page.getByLabel('New').selectOption('leaky');
    await expect(page.getByRole('link', { name: '1 gone' })).toBeVisible();
  });
});

test('history has a mark for each test and run', async ({ page, server }) => {
  await page.goto(`${server.origin}/history?scenario=every`);
  const row = page.getByRole('row').filter({ hasText: 'passes @hostile' });
  await expect(row).toContainText('2 of 3');
  await row.getByRole('link', { name: `failed in ${BASE}` }).click();
  await expect(page).toHaveURL(new RegExp(`/runs/${BASE}`));
});

test.describe('', () => {
  test.use({ allowed: /status of 400/ });
  test('wrong filter of a history can be changed in place', async ({ page, server }) => {
    await page.goto(`${server.origin}/history?scenario=every&since=yesterday`);
    await expect(page.getByRole('alert')).toContainText('yesterday');
    await page.getByLabel('Since').fill('');
    await page.getByLabel('Since').press('Enter');
    await expect(page.getByRole('row').filter({ hasText: 'passes @hostile' })).toBeVisible();
  });
});

test('missed bounds and clocks that are ahead are shown as such', async ({ page, server }) => {
  await page.goto(`${server.origin}/runs`);
  const shown = await page.evaluate(async () => {
    const { scoreAndLeast, time } = await import('/web/base/words.js');
    const age = (minutes) => time(new Date(Date.now() + 60_000 * minutes).toISOString(), 'age').children[0];
    return [scoreAndLeast(0.69999999, 0.7), scoreAndLeast(0.6999999999123, 0.7), scoreAndLeast(1 / 3, 0.7), [age(-5.5), age(0), age(5.5), age(-200), age(200)]];
  });
  expect(shown).toEqual([['0.69999999', '0.7'], ['0.6999999999', '0.7'], ['0.333333', '0.7'], ['5 min ago', 'just now', 'in 5 min', '3 h ago', 'in 3 h']]);
});

test('rates are rounded as in the terminal', async ({ page, server }) => {
  const table = require('../../../runner/model/src/tests/rates.json');
  await page.goto(`${server.origin}/runs`);
  const shown = await page.evaluate(async (all) => {
    const { rate } = await import('/web/base/words.js');
    return all.map(([passed, total]) => [passed, total, rate({ passed, failed: total - passed, error: 0, timeout: 0 })]);
  }, table);
  expect(shown).toEqual(table);
});

test('numbers and sizes are rounded as in the terminal', async ({ page, server }) => {
  const tables = ['numbers', 'sizes'].map((name) => require(`../../../runner/report/src/tests/${name}.json`));
  await page.goto(`${server.origin}/runs`);
  const shown = await page.evaluate(async ([numbers, sizes]) => {
    const { number, size } = await import('/web/base/words.js');
    return [numbers.map(([value]) => [value, number(value)]), sizes.map(([bytes]) => [bytes, size(bytes)])];
  }, tables);
  expect(shown).toEqual(tables);
});

test('durations are rounded as in the terminal', async ({ page, server }) => {
  const table = require('../../../runner/model/src/tests/durations.json');
  await page.goto(`${server.origin}/runs`);
  const shown = await page.evaluate(async (all) => {
    const { duration } = await import('/web/base/words.js');
    return all.map(([ms]) => [ms, duration(ms)]);
  }, table);
  expect(shown).toEqual(table);
});
