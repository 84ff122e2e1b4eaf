// Charts, and pages whose number of elements has a bound.
import { LIVE, expect, runner, test } from './fixtures.js';

const [BASE, NEW] = ['2026-01-01_00-00-00-000-every-00000001', '2026-01-02_00-00-00-000-every-00000002'];
/** The most elements of a page. */
const MOST = 2000;

const elements = (page) => page.evaluate(() => document.querySelectorAll('*').length);

test('history has a line for each provider, and opens the run at the pointer', async ({ page, server }) => {
  await page.goto(`${server.origin}/history?scenario=every`);
  const chart = page.getByRole('figure', { name: 'Pass rate of every' });
  await expect(chart.locator('.legend')).toContainText('hostile');
  await expect(chart.locator('.legend')).toContainText('other');
  const plane = chart.locator('.plane');
  const { width } = await plane.boundingBox();
  await plane.hover({ position: { x: width - 2, y: 20 } });
  await expect(chart.locator('.tip')).toContainText(/hostile \d+\.\d %/);
  await chart.getByText('Values').click();
  await expect(chart.getByRole('row')).toHaveCount(3);
  await plane.click({ position: { x: 2, y: 20 } });
  await expect(page).toHaveURL(new RegExp(`/runs/${BASE}$`));
});

test('comparison draws intervals, and the run those of its providers', async ({ page, server }) => {
  await page.goto(`${server.origin}/compare?base=${BASE}&new=${NEW}`);
  const measures = page.getByRole('region', { name: 'Rates and means' });
  await expect(measures.getByRole('row').filter({ has: page.locator('svg.span') }).first()).toContainText(' to ');
  await page.goto(`${server.origin}/runs/${NEW}`);
  const providers = page.getByRole('region', { name: 'Providers' });
  await expect(providers.getByRole('row').filter({ hasText: 'hostile' }).locator('svg.span')).toBeVisible();
});

test.describe('', () => {
  test.use({ flags: `--results ${LIVE} --scenarios scenarios` });

  test('matrix of many providers has heads by key and few elements', async ({ page, server }) => {
    await runner(['exec', '-q', 'scenarios/wide.toml', '--into', `${LIVE}/wide`], [0, 1]);
    await page.setViewportSize({ width: 2000, height: 1600 });
    await page.goto(`${server.origin}/runs/wide?view=matrix`);
    const grid = page.getByRole('grid', { name: 'Tests and providers' });
    await expect(grid.getByRole('columnheader').nth(1)).toContainText('english');
    expect(await elements(page)).toBeLessThan(MOST);
    await grid.evaluate((element) => { element.scrollLeft = element.scrollWidth; });
    await expect(grid.getByRole('columnheader').last()).toContainText('0.9');
    expect(await elements(page)).toBeLessThan(MOST);
    await page.getByRole('button', { name: 'Colours only' }).click();
    await expect(grid.locator('.cell a').first()).toBeVisible();
    expect(await elements(page)).toBeLessThan(MOST);
    await page.goto(`${server.origin}/runs/wide`);
    const providers = page.getByRole('region', { name: 'Providers' });
    await expect(providers.getByRole('columnheader', { name: 'language' })).toBeVisible();
    await page.getByRole('button', { name: 'by language' }).click();
    await expect(providers.getByRole('row')).toHaveCount(5);
    await expect(providers.getByRole('row').filter({ hasText: 'english' })).toContainText('passed');
  });

  test('runs of one command are one row that unfolds', async ({ page, server }) => {
    await runner(['exec', '-q', 'scenarios/good.toml', 'scenarios/leaky.toml', '--results', LIVE, '--label', 'of=group'], [0, 1]);
    await page.goto(`${server.origin}/runs?label=of%3Dgroup`);
    const rows = page.getByRole('grid', { name: 'Runs' }).getByRole('row');
    await expect(rows.filter({ hasText: '2 of 2 runs of one command' })).toHaveCount(1);
    await expect(rows.filter({ has: page.getByRole('link', { name: 'good', exact: true }) })).toHaveCount(0);
    await page.getByRole('button', { name: /Runs of/ }).click();
    await expect(rows.filter({ has: page.getByRole('link', { name: 'good', exact: true }) })).toHaveCount(1);
  });
});
