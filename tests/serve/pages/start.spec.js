// Starts and the queue.
import { readFileSync, writeFileSync } from 'node:fs';
import { LIVE, detach, expect, runner, stopRuns, test } from './fixtures.js';

test.use({ flags: `--results ${LIVE} --scenarios scenarios` });

const button = (page, name) => page.getByRole('button', { name, exact: true });
const choose = (page, name) => page.getByRole('list', { name: 'Scenarios' }).getByRole('listitem').filter({ hasText: name }).getByRole('link').first().click();

test.afterEach(stopRuns);

test('start shows its plan and its command before the run', async ({ page, server }) => {
  await page.goto(`${server.origin}/start`);
  await choose(page, 'slow.toml');
  await expect(page.getByRole('heading', { name: /slow: 60 trials/ })).toBeVisible();
  await page.locator('summary').filter({ hasText: 'More options' }).click();
  await expect(page.getByRole('group', { name: 'Options' }).getByRole('textbox')).toHaveCount(2);
  await expect(page.getByLabel('Parallel attempts')).toHaveAttribute('placeholder', /^\d+$/);
  await page.getByLabel('Tests --test').fill('nap-0*');
  await page.getByLabel('Labels --label').fill('team=night');
  await page.getByLabel('Folder of the run --into').fill('one-night');
  await expect(page.getByRole('heading', { name: /slow: 10 trials/ })).toBeVisible();
  await expect(page.getByText("runner exec").and(page.getByText('--test=nap-0*'))).toBeVisible();
  await expect(page.getByText('No provider has grants.')).toBeVisible();
  await expect(page.getByText(/^(In a terminal|First trials)$/).first()).toHaveText('In a terminal');
  await button(page, 'Start').click();
  await expect(page).toHaveURL(/\/runs\//);
  await expect(page.getByRole('heading', { level: 1 })).toContainText('slow');
  await expect(page.getByRole('link', { name: 'team=night' })).toBeVisible();
  await expect(page.getByRole('heading', { level: 1 })).toContainText('✗ failed');
  await page.goto(`${server.origin}/start`);
  const last = page.getByRole('listitem').filter({ hasText: 'slow.toml' });
  await expect(last).toContainText(/\d failed (just now|\d+ min ago) in /);
  await expect(page.getByRole('list', { name: 'Scenarios' }).getByRole('listitem').first()).toContainText('slow.toml');
  await expect(page.getByRole('list', { name: 'Scenarios' }).getByRole('listitem').last()).toContainText('never run');
  await expect(last.getByRole('link', { name: /just now|min ago/ })).toHaveAttribute('href', /^\/runs\//);
  // Another file with this scenario's name has no run.
  const text = readFileSync(`${process.env.ROOT}/scenarios/slow.toml`, 'utf8').replace(/^description = .*$/m, '');
  writeFileSync(`${process.env.ROOT}/scenarios/twin-${LIVE}.toml`, text);
  await page.reload();
  await expect(page.getByRole('listitem').filter({ hasText: `twin-${LIVE}.toml` })).toContainText('never run');
  await expect(last).toContainText(/\d failed (just now|\d+ min ago) in /);
  await button(page, 'Same as last time').click();
  await expect(page.getByRole('heading', { name: /slow: 10 trials/ })).toBeVisible();
  await expect(page.getByText(/^The last run took .+ for 10 trials\.$/)).toBeVisible();
});

test('scenarios are listed and found by their name and description', async ({ page, server }) => {
  await page.goto(`${server.origin}/start`);
  const list = page.getByRole('list', { name: 'Scenarios' });
  await expect(list).toContainText('slow');
  await page.getByRole('searchbox', { name: 'Search scenarios' }).fill('short naps');
  await expect(list.getByRole('listitem')).toHaveText([/^slow slow\.toml.*Many short naps\.$/]);
  await list.getByRole('link', { name: 'slow' }).click();
  await expect(page).toHaveURL(/scenario=slow.toml/);
  await expect(page.getByRole('heading', { name: /slow: 60 trials/ })).toBeVisible();
  await expect(page.getByText('Many short naps.')).toBeVisible();
  await page.goBack();
  await expect(list).toBeVisible();
  const lacks = { message: 'the scenario has no providers' };
  const scenarios = [{ path: 'known.toml', problems: [lacks, { message: 'unknown key `failures`', help: '`failures` is a key of a list of known failures' }] }, { path: 'lacks.toml', problems: [lacks] }];
  await page.route('**/api/v1/scenarios', (route) => route.fulfill({ json: { scenarios } }));
  await page.reload();
  await expect(list.getByRole('listitem')).toHaveText([/^lacks\.toml ✗ 1 problem/]);
});

test('providers of a scenario are ticked', async ({ page, server }) => {
  await page.goto(`${server.origin}/start?scenario=graded.toml`);
  const [left, right, command] = [page.getByLabel('left'), page.getByLabel('right'), page.locator('.command pre')];
  await left.uncheck();
  await expect(command).toContainText('--provider=right');
  await expect(right).toBeDisabled();
  await expect(page.locator('dl')).toContainText('Toolslookup');
  await expect(page.getByLabel('lookup')).toHaveCount(0);
  await left.check();
  await expect(command).not.toContainText('--provider');
});

test('start shows the grants that a plugin lacks', async ({ page, server }) => {
  await page.goto(`${server.origin}/start?scenario=leaky.toml`);
  const note = page.locator('.note').filter({ hasText: 'is not granted' });
  await expect(note.locator('code').filter({ hasText: 'net:https://api.example.com' })).toBeVisible();
  await expect(page.getByLabel('Missing grants')).toContainText('[providers.it.grants]');
});

test.describe('', () => {
  test.use({ allowed: /status of (409|422)/ });

  test('broken scenario lists every problem with its place', async ({ page, server }) => {
    await page.goto(`${server.origin}/start?scenario=broken.toml`);
    await expect(page.getByRole('alert')).toContainText('concurency');
    await expect(page.locator('.start code').first()).toHaveText('broken.toml');
    await expect(page.getByRole('alert').getByRole('listitem').filter({ hasText: 'concurency' })).toContainText('broken.toml:2:');
    await expect(button(page, 'Start')).toBeDisabled();
    await page.getByRole('link', { name: 'Choose another' }).click();
    await choose(page, 'good.toml');
    await page.getByLabel('Labels --label').fill('night');
    await expect(page.getByRole('alert')).toContainText('KEY=VALUE');
    await expect(button(page, 'Start')).toBeDisabled();
  });

  test('start during a run names it and waits in the queue', async ({ page, server }) => {
    const active = await detach('scenarios/talks.toml', '--results', LIVE, '-j', '2');
    await page.goto(`${server.origin}/start?scenario=good.toml`);
    await page.locator('summary').filter({ hasText: 'More options' }).click();
    await button(page, 'Start').click();
    await expect(page.getByRole('alert')).toBeInViewport();
    await expect(page.getByRole('alert').getByRole('link', { name: active })).toHaveAttribute('href', `/runs/${active}`);
    await button(page, 'Add to queue').click();
    await expect(page).toHaveURL(/\/queue$/);
    const requests = page.getByRole('region', { name: 'Requests' });
    await expect(requests).toContainText('good.toml');
    // The request starts once the run has ended.
    await runner(['stop', active, '--kill', '--results', LIVE]);
    await expect(requests).toHaveCount(0);
    await page.goto(`${server.origin}/runs`);
    const row = page.getByRole('grid', { name: 'Runs' }).getByRole('row');
    await expect(row.filter({ has: page.getByRole('link', { name: 'good', exact: true }) }).first()).toContainText('passed');
  });

  test('rerun next to a running run waits in the queue', async ({ page, server }) => {
    await runner(['exec', 'scenarios/every.toml', '--results', LIVE], [1]);
    await detach('scenarios/talks.toml', '--results', LIVE, '-j', '2');
    const { runs } = JSON.parse(await runner(['list', '--json', '--results', LIVE]));
    await page.goto(`${server.origin}/runs/${runs.find(({ scenario }) => scenario === 'every').run}`);
    await button(page, 'Rerun failed').click();
    await expect(page.getByText('Not possible now')).toBeVisible();
    await button(page, 'Add to queue').click();
    await page.getByText('Waits in the').getByRole('link', { name: 'queue' }).click();
    await expect(page.getByRole('region', { name: 'Requests' })).toContainText('--rerun=failed');
    await button(page, 'Remove').click();
    await expect(page.getByText('No requests wait')).toBeVisible();
  });

  test('requests are moved and removed', async ({ page, server }) => {
    await detach('scenarios/talks.toml', '--results', LIVE, '-j', '2');
    for (const name of ['good', 'every']) {
      await runner(['exec', `scenarios/${name}.toml`, '--results', LIVE, '--queue', '--priority', '0']);
    }
    await page.goto(`${server.origin}/queue`);
    const requests = page.getByRole('region', { name: 'Requests' }).locator('tbody tr');
    await expect(requests).toHaveCount(2);
    await expect(requests.first()).toContainText('good.toml');
    const active = page.getByRole('region', { name: 'Active runs' });
    await expect(active).toContainText('0 of 2');
    await expect(page.getByRole('heading', { name: /^Active 1/ })).toContainText('limit 1 (max_active_runs). Runs from a terminal are not limited.');
    await expect(active.getByRole('button', { name: '■ Stop' })).toBeEnabled();
    await expect(page.getByRole('heading', { name: 'Waiting 2' })).toBeVisible();
    await expect(active.getByRole('columnheader', { name: 'Notes' })).toHaveCount(0);
    const widths = await page.locator('table').evaluateAll((all) => all.map((one) => one.getBoundingClientRect().width));
    expect(widths[0]).toBeCloseTo(widths[1], 0);
    await button(page, 'Move down').click();
    await expect(requests.first()).toContainText('every.toml');
    await button(page, 'To the front').click();
    await expect(requests.first()).toContainText('good.toml');
    await button(page, 'Move down').click();
    await expect(requests.first()).toContainText('every.toml');
    for (const name of ['every.toml', 'good.toml']) {
      const request = requests.filter({ hasText: name });
      await button(request, 'Remove').click();
      await expect(request).toHaveCount(0);
    }
    await expect(button(page, 'Undo')).toBeFocused();
    await button(page, 'Undo').click();
    await expect(requests).toHaveCount(1);
    await expect(requests).toContainText('good.toml');
    await expect(button(page, 'Undo')).toHaveCount(0);
    await page.getByLabel('Priority of').fill('9');
    await page.keyboard.press('Tab');
    await expect.poll(async () => JSON.parse(await runner(['queue', '--json', '--results', LIVE])).requests[0].priority).toBe(9);
    await expect(requests.locator('code')).not.toContainText('--priority');
    await button(page, 'Remove').click();
    await expect(requests).toHaveCount(0);
    // A refusal is a message for a terminal.
    const refused = { request: 'r', short: 'r', command: ['exec', 'good.toml'], place: null, priority: 0, tries: 0, by: { user: 'me', host: 'box' }, at: new Date().toISOString(),
      refused: 'error: plugin `gone.wasm` does not exist\n --> good.toml:7:10\n  |\n7 | plugin = "gone.wasm"\n  |          ^^^^^^^^^^^ here\n  |\n  = help: choose from: `echo.wasm`' };
    await page.route('**/api/v1/queue', (route) => route.fulfill({ json: { active: [], max_active_runs: 1, problems: [], requests: [refused] } }));
    await page.reload();
    const row = page.getByRole('region', { name: 'Refused requests' }).locator('tbody tr');
    await expect(row.locator('.note > p')).toHaveText(['good.toml:7:10 plugin gone.wasm does not exist', 'choose from: echo.wasm']);
    await expect(row.getByRole('button', { name: 'Queue again' })).toBeEnabled();
  });
});
