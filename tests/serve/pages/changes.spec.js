// Changes of a run that has ended.
import { LIVE, expect, runner, test } from './fixtures.js';

// Requests of the page while the run is deleted are not found.
test.use({ flags: `--results ${LIVE} --scenarios scenarios`, allowed: /status of 404/ });

test('labels, pin and deletion change the run', async ({ page, server }) => {
  await runner(['exec', '-q', 'scenarios/good.toml', '--into', `${LIVE}/changed`, '--label', 'old=1']);
  await page.goto(`${server.origin}/runs/changed`);
  await page.getByRole('button', { name: 'Edit labels…' }).click();
  await page.getByRole('textbox').fill('team');
  await page.getByRole('button', { name: 'Save' }).click();
  await expect(page.getByRole('alert')).toContainText('KEY=VALUE');
  await page.getByRole('textbox').fill('team=day\nempty=');
  await page.getByRole('button', { name: 'Save' }).click();
  await expect(page.getByRole('link', { name: 'team=day' })).toBeVisible();
  await expect(page.getByRole('link', { name: 'old=1' })).toHaveCount(0);
  await page.getByRole('button', { name: 'Pin', exact: true }).click();
  await expect(page.getByText('⚑ pinned')).toBeVisible();
  await page.getByRole('button', { name: 'Unpin' }).click();
  await expect(page.getByText('⚑ pinned')).toHaveCount(0);
  await page.getByRole('button', { name: 'Delete…' }).click();
  await page.getByRole('button', { name: 'Delete run' }).click();
  await expect(page).toHaveURL(/\/runs$/);
  await expect(page.getByRole('grid', { name: 'Runs' }).getByText('changed')).toHaveCount(0);
});
