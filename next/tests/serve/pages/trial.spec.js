// The page of a trial.
import { expect, test } from './fixtures.js';

const RUN = '2026-01-02_00-00-00-000-every-00000002';
const BASE = '2026-01-01_00-00-00-000-every-00000001';
const open = (page, server, trial) => page.goto(`${server.origin}/runs/${RUN}/trials/${encodeURIComponent(trial)}`);
const section = (page, name) => page.getByRole('heading', { level: 2, name });

test('expected output is beside the actual one, with marks in the line', async ({ page, server }) => {
  await open(page, server, 'fails@hostile#1');
  await expect(page.getByRole('heading', { level: 1 })).toContainText('✗ failed');
  await expect(page.getByText('line 2: expected "2", got "two"').first()).toBeVisible();
  await expect(page.getByText('Expected', { exact: true })).toBeVisible();
  await expect(page.getByText('Actual', { exact: true })).toBeVisible();
  await expect(page.locator('mark').filter({ hasText: 'two' })).toHaveCount(1);
  await expect(page.locator('mark').filter({ hasText: 'three' })).toHaveCount(0);
});

test('values are those of the row, which JavaScript cannot hold', async ({ page, server }) => {
  await open(page, server, 'large@hostile#1');
  await expect(page.getByText('12345678901234567890').first()).toBeVisible();
  await expect(page.getByText('12345678901234567891').first()).toBeVisible();
  await open(page, server, 'differs@hostile#1');
  await expect(page.locator('main')).toContainText('"a": 1.0');
});

test('outputs of all providers, past results and the command are shown', async ({ page, server }) => {
  await open(page, server, 'passes@hostile#1');
  await expect(section(page, 'Providers')).toBeVisible();
  await expect(page.getByLabel('Output of other')).toHaveText('1');
  await expect(section(page, 'Past results')).toBeVisible();
  await expect(page.getByRole('link', { name: `failed in ${BASE}` })).toBeVisible();
  await expect(page.getByText(/^passed since/)).toBeVisible();
  await expect(page.getByText(/runner plugin run --from .* --trial/)).toBeVisible();
});

test('attempts, log and files of a trial are shown', async ({ page, server }) => {
  await open(page, server, 'recovers@hostile#1');
  const attempts = page.getByRole('navigation', { name: 'Attempts' }).getByRole('link');
  await expect(attempts).toHaveCount(2);
  await attempts.first().click();
  await expect(page).toHaveURL(/attempt=1/);
  await expect(page.getByText('try again').first()).toBeVisible();
  await open(page, server, 'logs@hostile#1');
  await expect(page.getByRole('log', { name: 'Log of the attempt' })).toContainText('careful');
  await open(page, server, 'writes@hostile#1');
  const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('link', { name: 'a.txt' }).click()]);
  expect(download.suggestedFilename()).toBe('a.txt');
  await open(page, server, 'draws@hostile#1');
  await expect(page.getByRole('img', { name: 'dot.png' })).toHaveJSProperty('naturalWidth', 1);
});

test('keys lead to the next trial and back to the list', async ({ page, server }) => {
  await page.goto(`${server.origin}/runs/${RUN}?filter=outcome(failed)`);
  const trials = page.getByRole('grid', { name: 'Trials' });
  await expect(trials.getByText('fails').first()).toBeVisible();
  await page.keyboard.press('j');
  await page.keyboard.press('Enter');
  await expect(page.getByRole('heading', { level: 1 })).toContainText('fails@hostile');
  await page.keyboard.press('j');
  await expect(page).toHaveURL(/fails@hostile%232|fails%40hostile%232/);
  await expect(page.getByRole('link', { name: '← Previous' })).toBeVisible();
  await page.keyboard.press('u');
  await expect(page).toHaveURL(/filter=outcome/);
});
