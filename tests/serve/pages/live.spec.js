// Active runs, and the actions of users on them.
import { readFileSync } from 'node:fs';
import { LIVE, Server, choose, detach, expect, runner, stopRuns, test } from './fixtures.js';

test.use({ flags: `--results ${LIVE} --scenarios scenarios` });

const start = (scenario, ...args) => detach(`scenarios/${scenario}.toml`, '--results', LIVE, ...args);
const heading = (page) => page.getByRole('heading', { level: 1 });
const button = (page, name) => page.getByRole('button', { name, exact: true });

test.afterEach(stopRuns);

test('running run shows its attempts with their last output', async ({ page, server }) => {
  const run = await start('talks', '-j', '2');
  await page.goto(`${server.origin}/runs/${run}`);
  await expect(heading(page)).toContainText('○ running');
  // Nothing has a result yet.
  await expect(page.getByText('2 of 2 trials left')).toBeVisible();
  const attempts = page.locator('.activity tbody tr');
  await expect(attempts).toHaveCount(2);
  await expect(attempts.filter({ hasText: 'talks@hostile#1' })).toContainText('careful');
  await expect(attempts.first()).toContainText(/\d+(\.\d)? s/);
  await expect(page).toHaveTitle(/^0 % talks/);
  await page.goto(`${server.origin}/runs/${run}?view=timeline`);
  await expect(page.locator('.timeline ~ .counts')).toContainText('○ 2 running');
  await page.getByText('Values').click();
  await expect(page.getByRole('region', { name: 'Attempts over time' }).locator('tbody tr')).toHaveText([/@hostile#1○ running/, /@hostile#1○ running/]);
  await page.getByRole('link', { name: 'Overview' }).click();
  await runner(['stop', run, '--results', LIVE]);
  await expect(heading(page)).toContainText('◐ incomplete');
  await expect(attempts).toHaveCount(0);
});

test('counts and failures of a running run are of one reading', async ({ page, server }) => {
  // With repeats, the run lasts for longer than the test.
  const run = await start('slow', '-j', '2', '--repeat', '5');
  await page.goto(`${server.origin}/runs/${run}`);
  const read = () => page.evaluate(() => [document.querySelector('.counts .failed')?.textContent, document.querySelector('.kind h3')?.textContent]);
  const pairs = [];
  await expect.poll(async () => {
    pairs.push(await read());
    return Number(pairs.at(-1)[0]?.match(/\d+/)[0] ?? 0);
  }, { intervals: [20], timeout: 60_000 }).toBeGreaterThan(2);
  for (const [head, kind] of pairs) expect(kind?.match(/\d+$/)[0]).toBe(head?.match(/\d+/)[0]);
  // The speed of a run is known at once.
  await page.reload();
  await expect(page.locator('.counts')).toContainText(/\d\/s, .* left/);
  await expect(page.getByRole('heading', { name: /^Outcomes over time/ })).toContainText(/\d\/s/);
  await expect(page.locator('.facts')).not.toContainText('just now');
  await expect(page.locator('.ended li').first()).toHaveText(/nap-\d+@.*\d m?s$/);
});

test('repeats that run at the same time have one row', async ({ page, server }) => {
  const run = await start('slow', '--repeat', '3', '--test', 'nap-00', '-j', '3');
  const json = await page.evaluate(async (url) => (await fetch(url)).json(), `/api/v1/runs/${run}`);
  const in_flight = ['a@p#3', 'b@p#1', 'a@p#2'].map((trial) => ({ trial, attempt: 1, phase: 'computing', ms: 10, since: json.now }));
  Object.assign(json, { live: { stage: 'trials', at: json.now, waiting: [], compiling: [], in_flight } });
  Object.assign(json.run, { status: 'running', state: 'running' });
  await page.route(`**/api/v1/runs/${run}`, (route) => route.fulfill({ json }));
  await page.addInitScript(() => { window.EventSource = class extends EventTarget { close() {} }; });
  await page.goto(`${server.origin}/runs/${run}`);
  await expect(page.locator('.activity th[scope=col]')).toHaveText(['Attempt', 'Step', 'Last output', 'Age']);
  // No attempt has an output.
  await expect(page.getByRole('columnheader', { name: 'Last output' })).toHaveCount(0);
  await expect(page.locator('.activity tbody tr')).toHaveText([/^a@p#2 #3computing/, /^b@p#1computing/]);
});

test('stop, resume and cancel buttons show their state', async ({ page, server }) => {
  const run = await start('talks', '-j', '2');
  await page.goto(`${server.origin}/runs/${run}`);
  await expect(page.locator('.activity tbody tr')).toHaveCount(2);
  let pass;
  const held = new Promise((resolve) => { pass = resolve; });
  await page.route('**/stop', async (route) => { await held; await route.continue(); });
  await button(page, '■ Stop').click();
  await expect(button(page, 'Stopping…')).toBeDisabled();
  pass();
  await expect(heading(page)).toContainText('◐ incomplete');
  await expect(page.getByText('Stopped by')).toBeVisible();
  // In the list, its words are readable under the pointer.
  await page.goto(`${server.origin}/runs`);
  const resume = page.getByRole('grid', { name: 'Runs' }).getByRole('row').filter({ hasText: run.slice(-8) }).getByRole('button', { name: 'Resume' });
  await resume.hover();
  expect(await resume.evaluate((element) => getComputedStyle(element).color === getComputedStyle(element).backgroundColor)).toBe(false);
  await page.goto(`${server.origin}/runs/${run}`);
  await button(page, 'Resume').click();
  await expect(heading(page)).toContainText('○ running');
  await expect(page.locator('.activity tbody tr')).toHaveCount(2);
  await page.reload();
  await expect(page.locator('.activity tbody tr')).toHaveCount(2);
  await button(page, '✕ Cancel run…').click();
  await page.getByRole('dialog').getByRole('button', { name: 'Cancel run' }).click();
  await expect(heading(page)).toContainText('⊘ cancelled');
  await expect(page.getByRole('dialog')).toHaveCount(0);
  await page.goto(`${server.origin}/runs`);
  const row = page.getByRole('grid', { name: 'Runs' }).getByRole('row').filter({ hasText: run.slice(-8) });
  await expect(row).toContainText('⊘ cancelled');
  await expect(row.getByRole('button', { name: 'Resume' }).and(page.locator(':enabled'))).toHaveCount(0);
});

test('run in its grace period can be interrupted', async ({ page, server }) => {
  const run = await start('talks', '--test', 'talks', '--grace', '10m');
  await page.goto(`${server.origin}/runs/${run}`);
  await expect(page.locator('.activity tbody tr')).toHaveCount(1);
  await expect(button(page, 'Interrupt attempts')).toHaveCount(0);
  await button(page, '■ Stop').click();
  await expect(heading(page)).toContainText('○ stopping');
  // A page that is opened meanwhile shows the same.
  await page.reload();
  await expect(heading(page)).toContainText('○ stopping');
  await expect(button(page, 'Stopping…')).toBeDisabled();
  await expect(button(page, 'Pause')).toHaveCount(0);
  const left = page.getByText(/Running attempts have [5-9] min \d+ s to end/);
  const first = await left.textContent();
  await expect(left).not.toHaveText(first);
  await button(page, 'Interrupt attempts').click();
  await expect(heading(page)).toContainText('◐ incomplete');
});

test('stop in the page ends an attempt as fast as in a terminal', async ({ page, server }) => {
  /** Waits in the page for the row of the attempt, after a click on a button. Returns the time. */
  const row = async ([path, label]) => {
    const start = Date.now();
    [...document.querySelectorAll('button')].find((button) => button.textContent === label)?.click();
    while (!await (await fetch(path)).text());
    return [start, Date.now()];
  };
  const took = { page: [], terminal: [] };
  for (const from of ['page', 'terminal', 'page', 'terminal', 'page', 'terminal']) {
    const run = await start('talks', '--test', 'spins');
    await page.goto(`${server.origin}/runs/${run}`);
    await expect(page.locator('.activity tbody tr')).toContainText(/computing/);
    const found = page.evaluate(row, [`/api/v1/runs/${run}/rows`, from === 'page' ? '■ Stop' : '']);
    const pressed = Date.now();
    if (from === 'terminal') await runner(['stop', run, '--results', LIVE]);
    const [clicked, end] = await found;
    took[from].push(end - (from === 'page' ? clicked : pressed));
    await expect(heading(page)).toContainText('◐ incomplete');
  }
  const [inPage, inTerminal] = Object.values(took).map((all) => all.sort((left, right) => left - right)[1]);
  console.log(`a stop of a guest that spins, to its row, ms: page ${inPage}, runner stop ${inTerminal}`);
  // A slow machine is slow in both.
  expect(inPage).toBeLessThan(2000 + 2 * inTerminal);
});

test('rerun shows the number of its trials', async ({ page, server }) => {
  await runner(['exec', '-q', 'scenarios/slow.toml', '--into', `${LIVE}/again`, '-j', '32'], [1]);
  await page.goto(`${server.origin}/runs/again`);
  // A change before the page reads events would be shown with the next one.
  await expect(page.getByRole('status').filter({ hasText: 'live' })).toBeVisible();
  // 18 s, because a slow machine may read the page only every few seconds.
  await runner(['resume', `${LIVE}/again`, '--rerun', 'all', '-j', '1', '--detach']);
  await expect(page.getByText(/Runs 60 trials again; \d+ attempts? ended/)).toBeVisible();
  await expect(heading(page)).toContainText('✗ failed', { timeout: 180_000 });
  await expect(page.getByText('trials again')).toHaveCount(0);
});

test('paused run says so and continues', async ({ page, server }) => {
  const run = await start('talks', '-j', '2');
  await page.goto(`${server.origin}/runs/${run}`);
  await button(page, 'Pause').click();
  await expect(heading(page)).toContainText('paused');
  const first = page.locator('.activity tbody tr').first();
  await expect(first).toContainText('paused');
  // The page is drawn every second.
  const [age, since] = [await first.locator('.n').textContent(), Date.now()];
  await expect.poll(() => Date.now() - since).toBeGreaterThan(1200);
  expect(await first.locator('.n').textContent()).toBe(age);
  await expect(page.getByText(/ left$/)).not.toContainText('/');
  await button(page, 'Unpause').click();
  await expect(heading(page)).toContainText('running');
  await runner(['stop', run, '--kill', '--results', LIVE]);
  await expect(heading(page)).toContainText('◐ incomplete');
});

test.describe('', () => {
  // A connection of a killed server is refused, reset or cut, and the next server has another name.
  test.use({ allowed: /net::ERR_|status of 4|^request: http:\/\/[0-9a-f]+\.localhost:/ });

  test('page catches up after a lost connection', async ({ page, server }) => {
    const run = await start('talks', '-j', '2');
    await page.route('**/events', (route) => route.abort());
    await page.goto(`${server.origin}/runs/${run}`);
    await expect(page.getByRole('status')).toContainText('Connection lost');
    await runner(['stop', run, '--results', LIVE]);
    await page.unroute('**/events');
    await expect(page.getByRole('status')).toHaveText('live');
    await expect(heading(page)).toContainText('◐ incomplete');
  });

  test('killed server disturbs no run, and the next one shows it', async ({ page, browser, server }) => {
    const run = await start('talks', '-j', '2');
    await page.goto(`${server.origin}/runs/${run}`);
    await expect(page.locator('.activity tbody tr')).toHaveCount(2);
    await server.kill();
    await expect(page.getByRole('status')).toContainText('Connection lost');
    await expect(page.locator('.activity tbody tr')).toHaveCount(2);
    const next = await Server.start(`--results ${LIVE} --token-file token`, server.port);
    await expect(page.getByRole('heading', { name: 'Log in' })).toBeVisible();
    await expect(page.getByRole('alert')).toHaveCount(0);
    expect(new URL(page.url()).pathname).toBe(`/runs/${run}`);
    await page.getByLabel('Token').fill(readFileSync(`${process.env.ROOT}/token`, 'utf8'));
    await page.getByRole('button', { name: 'Log in' }).click();
    await expect(page.locator('.activity tbody tr')).toHaveCount(2);
    expect(new URL(page.url()).pathname).toBe(`/runs/${run}`);
    const again = await browser.newPage();
    await again.goto(next.link);
    await again.goto(`${next.origin}/runs/${run}`);
    await expect(again.locator('.activity tbody tr')).toHaveCount(2);
    await button(again, '■ Stop').click();
    await expect(heading(again)).toContainText('◐ incomplete');
    await again.close();
    await next.kill();
  });
});

test('all tabs of a browser are live over one connection each', async ({ page, context, server }) => {
  const run = await start('talks', '-j', '2');
  const tabs = [page];
  for (let number = 1; number < 7; number += 1) tabs.push(await context.newPage());
  for (const tab of tabs) await tab.goto(`${server.origin}/runs/${run}`);
  await runner(['stop', run, '--results', LIVE]);
  for (const tab of tabs) await expect(heading(tab)).toContainText('◐ incomplete');
  for (const tab of tabs.slice(1)) await tab.close();
});

test('list of runs shows starts and ends as they happen', async ({ page }) => {
  await expect(page.getByRole('status')).toHaveText('live');
  // With repeats, the run lasts for longer than the test.
  const run = await start('slow', '-j', '1', '--repeat', '5');
  const row = page.getByRole('grid', { name: 'Runs' }).getByRole('row').filter({ hasText: run.slice(-8) });
  await expect(row).toContainText('running');
  await expect(row).toContainText(/[1-9]\d* of 300/);
  await page.getByRole('link', { name: 'Queue' }).click();
  await expect(page.getByRole('region', { name: 'Active runs' })).toContainText(/\d\/s, .* left/);
  await page.goBack();
  await row.getByRole('button', { name: 'Stop' }).click();
  await expect(row).toContainText('◐ incomplete');
});

test('logs of attempts are shown while they run and once they have ended', async ({ page, server }) => {
  const run = await start('talks', '-j', '2');
  await page.goto(`${server.origin}/runs/${run}?view=log`);
  await expect(page.getByLabel('Last output of talks@hostile#1')).toContainText('careful');
  await runner(['stop', run, '--results', LIVE]);
  const log = page.getByLabel('Log', { exact: true });
  await expect(log.locator('.head').filter({ hasText: 'talks@hostile#1' })).toBeVisible();
  await expect(log).toContainText('careful key=value');
  await expect(page.getByLabel('Last output of talks@hostile#1')).toHaveCount(0);
});

test('log of a running run grows from its first line', async ({ page, server }) => {
  const run = await start('talks', '-j', '2');
  await page.goto(`${server.origin}/runs/${run}?view=log&runner=1`);
  await expect(page.getByText('runner exec scenarios/talks.toml').first()).toBeVisible();
  await expect(page.getByText(/^\d of \d+ trials? ended$/)).toBeVisible();
  await runner(['stop', run, '--results', LIVE]);
  await expect(page.getByText('the run is incomplete')).toBeVisible();
});

test('trials that may cost money are run again after a question', async ({ page, server }) => {
  await runner(['exec', '-q', 'scenarios/paid.toml', '--into', `${LIVE}/paid`], [1]);
  const sessions = async () => JSON.parse(await runner(['show', `${LIVE}/paid`, '--json'], [0, 1])).manifest.sessions.length;
  await page.goto(`${server.origin}/runs/paid`);
  await button(page, 'Rerun failed').click();
  const dialog = page.getByRole('dialog');
  await expect(dialog).toContainText('1 trial would run.');
  await expect(dialog).toContainText('may cost money: hostile');
  expect(await sessions()).toBe(1);
  await dialog.getByRole('button', { name: 'Rerun' }).click();
  await expect(dialog).toHaveCount(0);
  await expect.poll(sessions).toBe(2);
  // A page that changes from one state to the next is checked for neither.
  await runner(['wait', `${LIVE}/paid`], [1]);
  await expect(heading(page)).toContainText('✗ failed');
});

test('safe button of a deletion has the focus', async ({ page, server }) => {
  await runner(['exec', '-q', 'scenarios/again.toml', '--into', `${LIVE}/kept`], [1]);
  await page.goto(`${server.origin}/runs/kept`);
  await choose(page, 'Delete…');
  await expect(page.getByRole('dialog').getByRole('button', { name: 'Cancel' })).toBeFocused();
  await page.keyboard.press('Enter');
  await expect(page.getByRole('dialog')).toHaveCount(0);
  await expect(heading(page)).toContainText('✗ failed');
});
