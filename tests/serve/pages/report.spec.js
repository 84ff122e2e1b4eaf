// A report as HTML: a file without a server, and without scripts.
import { mkdirSync } from 'node:fs';
import { expect, test as base } from '@playwright/test';
import { accessible, runner, watch } from './fixtures.js';

const RUNS = { every: '2026-01-02_00-00-00-000-every-00000002', hostile: '2026-01-03_00-00-00-000-hostile-33333333', large: '2025-12-31_00-00-00-000-large-77777777', agents: '2026-01-07_00-00-00-000-agents-13131313' };

const test = base.extend({
  /** Opens the report of a run. */
  open: async ({ page }, use, info) => {
    const wrong = watch(page, 'file:');
    await use(async (name, hash = '', ...args) => {
      mkdirSync(info.outputDir, { recursive: true });
      const file = info.outputPath(`${name}.html`);
      await runner(['report', RUNS[name], '-o', file, ...args]);
      await page.goto(`file://${file}${hash}`);
    });
    await accessible(page);
    expect(wrong).toEqual([]);
  },
});

const list = (page) => page.getByRole('grid', { name: 'Trials' }).locator('.rows-body > .row:not([hidden])');

test('report shows failures, details and attempts of a run', async ({ page, open }) => {
  await open('every');
  await expect(list(page).first()).toContainText('breaks');
  await page.locator('.groups').getByRole('link', { name: 'fails@other#1' }).click();
  await expect(page).toHaveURL(/#\/runs\/.*\/trials\/fails%40other%231$/);
  await expect(page.getByRole('group', { name: 'Expected and Actual' })).toContainText('two');
  await page.getByRole('link', { name: 'Next →' }).click();
  await expect(page).toHaveURL(/trials\/(?!fails%40other%231$)/);
  await page.goBack();
  await page.goBack();
  await expect(list(page).first()).toContainText('breaks');
  const group = page.locator('.group').filter({ hasText: 'fails@other#1' });
  await group.locator('summary').first().click();
  await expect(group.getByRole('group', { name: 'Expected and Actual' })).toContainText('two');
  // Three of the four trials are shown.
  await expect(group.getByRole('link', { name: 'and 3 more' })).toBeHidden();
  await group.getByRole('link', { name: 'and 1 more' }).click();
  await expect(page.locator('.trials h2')).toContainText('4 of 44 trials match');
  await expect(list(page).filter({ hasText: 'fails@' })).toHaveCount(4);
  // A check is selected by a filter, other kinds by their key.
  await page.locator('.kind').getByRole('link', { name: 'json 4' }).click();
  await expect(page.locator('.trials h2')).toContainText('4 of 44 trials match');
  await expect(list(page).filter({ hasText: 'differs@' })).toHaveCount(4);
  await page.locator('.kind').getByRole('link', { name: 'internal 4' }).click();
  await expect(list(page).filter({ hasText: 'breaks@' })).toHaveCount(4);
  await page.getByRole('button', { name: 'Reason: internal' }).click();
  await expect(page.locator('.trials h2')).toHaveText('Trials44 trials');
  await page.getByRole('link', { name: 'About', exact: true }).click();
  await expect(page.getByText('runner exec')).toBeVisible();
});

test('report has the changes since the previous run, and its matrix', async ({ page, open }) => {
  await open('every');
  await expect(page.locator('.counts').filter({ hasText: 'Since 00000001' })).toContainText(/\d+ newly failing.*\d+ fixed/);
  await expect(page.locator('.group .badge.new').first()).toBeVisible();
  await expect(list(page).filter({ hasText: 'large@' }).first().locator('.badge.new')).toBeVisible();
  await page.getByRole('link', { name: 'Matrix', exact: true }).click();
  const matrix = page.getByRole('grid', { name: 'Tests and providers' });
  const row = (name) => matrix.locator('.rows-body > .row:not([hidden])').filter({ hasText: name });
  await expect(row('fails').getByRole('gridcell', { name: '✗ 0/2' })).toHaveCount(2);
  await expect(page.getByRole('button', { name: 'Answers' })).toHaveCount(0);
  await page.getByRole('button', { name: 'Worst first' }).click();
  await expect(matrix.locator('.rows-body > .row').first()).not.toContainText('passes');
  await row('fails').getByRole('link', { name: '✗ 0/2' }).first().click();
  await expect(page.locator('.trials h2')).toContainText('2 of 44 trials match');
});

test('report has the changes and the steps of a failure', async ({ page, open }) => {
  await open('agents', `#/runs/${RUNS.agents}/trials/task%40agent%231`, '--results', 'agents');
  await expect(page.getByRole('heading', { name: 'Changes' })).toHaveText('Changes1 added, 1 changed');
  await expect(page.getByLabel('Changes of a.txt')).toHaveText('-one\n+two\n');
  await expect(page.getByText('the report has no room for this diff')).toBeVisible();
  // The steps around the failed call.
  const steps = page.locator('.transcript > .line');
  await expect(page.getByRole('heading', { name: 'Transcript' })).toHaveText('Transcript300 steps, 1 call of a tool');
  await expect(steps.first()).toContainText('116 </pre></script><script>alert(1)</script>');
  await expect(page.getByText('200 more steps: ')).toContainText('--transcript');
  await page.getByRole('button', { name: 'Next failed call' }).click();
  await expect(page.locator('.hit')).toHaveAttribute('id', 'step-121');
  await expect(page.locator('.hit')).toContainText('✗ transcript.never');
  await page.getByRole('button', { name: 'Go to the end' }).click();
  await expect(steps.last()).toHaveAttribute('id', 'step-215');
  expect(await steps.count()).toBeLessThanOrEqual(150);
  await page.getByLabel('Tool').selectOption('echo');
  await expect(steps).toHaveCount(1);
  await page.getByRole('link', { name: 'agents' }).first().click();
  await expect(list(page)).toHaveCount(1);
});

test('report searches, filters and sorts its trials', async ({ page, open }) => {
  await open('large');
  await expect(page.locator('.trials h2')).toContainText(/[\d,]+ trials/);
  await page.getByRole('searchbox').fill('echo-0000019');
  await expect(list(page)).toHaveCount(1);
  await page.reload();
  await expect(list(page)).toHaveCount(1);
  await page.getByRole('searchbox').fill('nothing at all');
  await page.getByRole('link', { name: 'Clear the filter' }).click();
  await page.getByRole('button', { name: 'Not passed' }).click();
  await expect(list(page).last()).toContainText('failed');
  await page.getByRole('button', { name: /^All \d/ }).click();
  await page.getByRole('button', { name: 'Duration' }).click();
  await page.getByRole('button', { name: 'Duration ↓' }).click();
  await expect(page).toHaveURL(/sort=duration/);
});

test('trial without details names the command for them', async ({ page, open }) => {
  await open('every', `#/runs/${RUNS.every}/trials/passes%40hostile%231`);
  await expect(page.getByText('runner show RUN TRIAL')).toBeVisible();
  await page.getByRole('link', { name: 'All trials' }).click();
  await expect(list(page).first()).toContainText('breaks');
});

test('hostile texts stay text in a report', async ({ page, open }) => {
  await open('hostile');
  await expect(list(page)).toHaveCount(4);
  await page.locator('.groups').getByRole('link').first().click();
  await expect(page.getByRole('heading', { level: 1 })).toContainText('@hostile');
});

test.describe('', () => {
  test.use({ javaScriptEnabled: false });
  base('report without scripts has head, providers and failures', async ({ page }, info) => {
    mkdirSync(info.outputDir, { recursive: true });
    const file = info.outputPath('report.html');
    await runner(['report', RUNS.every, '-o', file]);
    await page.goto(`file://${file}`);
    for (const text of ['did not pass', 'Providers', 'it broke', 'breaks@hostile#1']) await expect(page.getByText(text).first()).toBeVisible();
  });
});

for (const colorScheme of ['light', 'dark']) {
  test.describe(colorScheme, () => {
    test.use({ colorScheme });
    test('report is accessible at two widths and prints its trials', async ({ page, open }) => {
      for (const [name, hash] of [['run', ''], ['trial', `#/runs/${RUNS.every}/trials/fails%40hostile%231`], ['about', `#/runs/${RUNS.every}?view=about`]]) {
        await open('every', hash);
        for (const width of [400, 2000]) {
          await page.setViewportSize({ width, height: 900 });
          await accessible(page);
          const { SCREENS } = process.env;
          if (SCREENS) await page.screenshot({ path: `${SCREENS}/report-${name}-${colorScheme}-${width}.png`, fullPage: true });
        }
      }
      await open('every');
      await expect(page.getByRole('button', { name: 'Print', exact: true })).toBeVisible();
      await page.emulateMedia({ media: 'print' });
      await page.evaluate(() => dispatchEvent(new Event('beforeprint')));
      await expect(list(page)).toHaveCount(44);
      // Passed trials are names only, and columns show no order.
      const passed = page.locator('.trials .row:has(.mark.passed)').first();
      await expect(passed.locator('.trial')).toBeVisible();
      await expect(passed.locator('.took')).toBeHidden();
      await expect(page.locator('.order').first()).toBeHidden();
      // Charts come before the trials, and times are absolute.
      const [charts, trials] = await Promise.all([page.locator('.tiles').last(), page.locator('section.trials')].map((one) => one.boundingBox()));
      expect(charts.y).toBeLessThan(trials.y);
      expect(await page.locator('.counts time').first().evaluate((one) => getComputedStyle(one, '::after').content)).toMatch(/\b20\d\d\b/);
      await expect(page.locator('.facts .quiet').first()).toBeHidden();
      // No reason and no name is cut.
      const cut = await page.locator('.group summary, .group .names a').evaluateAll((all) => all.filter((one) => one.scrollWidth > one.clientWidth + 1).length);
      expect(cut).toBe(0);
    });
  });
}
