// The page of a run that has ended.
import { choose, expect, runner, test } from './fixtures.js';

const EVERY = '2026-01-02_00-00-00-000-every-00000002';
const trials = (page) => page.getByRole('grid', { name: 'Trials' }).getByRole('row');

test('failures are shown with their values, and new ones first', async ({ page, server }) => {
  await page.goto(`${server.origin}/runs/${EVERY}`);
  await expect(page.getByRole('heading', { level: 1 })).toHaveText(/^every\s+✗ failed$/);
  await expect(page.locator('.counts').first()).toContainText(/\d+ passed \(\d+ flaky\)/);
  await expect(page.getByRole('group', { name: 'Filters' }).getByRole('button')).toHaveText([/^All 44$/, /^Not passed \d+$/, /^Flaky \d+$/]);
  const groups = page.locator('.group');
  await expect(groups.first()).toContainText('new');
  await expect(groups.filter({ hasText: 'fails@other#1' })).toContainText('expected "2", got "two"');
  await expect(groups.filter({ hasText: 'differs@other#1' })).toContainText('$.b[1]: expected 3, got 2');
  // Numbers are those of the row, which JavaScript cannot hold.
  await expect(groups.filter({ hasText: 'large@other#1' })).toContainText('12345678901234567891');
  await expect(page.getByText(/Since .*2 fixed/)).toBeVisible();
  await expect(page.locator('.kind', { has: page.getByRole('link', { name: /^flaky \d+$/ }) })).toContainText(/passed after a bad attempt.*recovers/);
  // On paper, each reason has an example.
  await page.evaluate(() => dispatchEvent(new Event('beforeprint')));
  await page.emulateMedia({ media: 'print' });
  await expect(page.locator('.group > .printed').first()).toContainText(/^Input/);
  await page.emulateMedia({ media: 'screen' });
});

test('reason opens in place and leads to its trials', async ({ page, server }) => {
  await page.goto(`${server.origin}/runs/${EVERY}`);
  // The kind is not repeated in its reasons.
  await expect(page.locator('.kind', { has: page.getByRole('link', { name: /equals/ }) }).locator('.group .pre').first()).toHaveText(/^expected /);
  const group = page.locator('.group').filter({ hasText: 'fails@other#1' });
  // The name is shown once, before and after.
  await expect(group.getByText('fails@other#1')).toHaveCount(1);
  await group.getByText('expected "2", got "two"').click();
  await expect(group.getByText('fails@other#1').filter({ visible: true })).toHaveCount(1);
  await expect(group.getByRole('group', { name: 'Expected and Actual' }).first()).toContainText('two');
  await group.locator('summary').filter({ hasText: 'fails@hostile#1' }).click();
  await expect(group.getByRole('group', { name: 'Expected and Actual' })).toHaveCount(2);
  await expect(page).toHaveURL(new RegExp(`${EVERY}$`));
  const heading = page.getByRole('heading', { name: /^Trials/ });
  // Three of the four trials are shown.
  await expect(group.getByRole('link', { name: 'and 3 more' })).toBeHidden();
  await group.getByRole('link', { name: 'and 1 more' }).click();
  await expect(heading).toContainText('4 of 44 trials match');
  await expect(heading).toBeInViewport();
  await expect(trials(page).filter({ hasText: 'fails@' })).toHaveCount(4);
  await expect(page.getByRole('button', { name: 'All 44' })).toHaveAttribute('aria-pressed', 'false');
  await page.getByRole('button', { name: /^Reason: equals: .*two/ }).click();
  await expect(heading).toHaveText('Trials44 trials');
  await page.goBack();
  await expect(heading).toContainText('4 of 44');
  await page.locator('.kind').getByRole('link', { name: 'internal 4' }).click();
  await expect(page.getByRole('button', { name: 'Reason: internal' })).toBeVisible();
  await expect(trials(page).filter({ hasText: 'breaks@' })).toHaveCount(4);
  // The next trial is the next one of the list.
  await trials(page).filter({ hasText: 'breaks@' }).last().getByRole('link').click();
  await expect(page.getByRole('link', { name: '← Previous' })).toBeVisible();
  await expect(page.getByRole('button', { name: 'Next →' })).toBeDisabled();
  for (const name of [/^every/, /^Runs/]) {
    await page.keyboard.press('u');
    await expect(page.getByRole('heading', { level: 1, name })).toBeFocused();
  }
});

test.describe('', () => {
  test.use({ flags: '--results texts' });
  test('scores of a single grader have its name', async ({ page, server }) => {
    await page.goto(`${server.origin}/runs/2026-01-05_00-00-00-000-files-99999999`);
    await expect(page.getByRole('heading', { name: 'Scores' })).toHaveText('Scorestrials by score of grader judge');
    await expect(page.getByRole('img', { name: 'Scores of hostile', exact: true })).toBeVisible();
  });

  test('twenty reasons leave the list of trials in sight', async ({ page, server }) => {
    await page.setViewportSize({ width: 1280, height: 900 });
    await page.goto(`${server.origin}/runs/2026-01-04_00-00-00-000-reasons-12121212`);
    const list = page.getByRole('grid', { name: 'Trials' });
    await expect(page.locator('.group')).toHaveCount(20);
    const top = await list.evaluate((one) => one.getBoundingClientRect().top + scrollY);
    console.log(`list of trials starts at ${top} px`);
    expect(top).toBeLessThan(900);
    await page.getByText('2 more reasons').first().click();
    await expect(page.locator('.group').filter({ visible: true })).toHaveCount(14);
  });
});

test('long verdict fits a narrow screen', async ({ page, server }) => {
  await page.setViewportSize({ width: 320, height: 900 });
  await page.goto(`${server.origin}/runs/${EVERY}`);
  const mark = page.locator('h1 .mark').last();
  await expect(mark).toContainText('failed');
  const [end, width] = await mark.evaluate((one) => [one.getBoundingClientRect().right, document.documentElement.clientWidth]);
  expect(end).toBeLessThanOrEqual(width);
});

test('run whose budget is used up has the command that continues it', async ({ page, server }) => {
  const document = await page.evaluate(async (url) => (await fetch(url)).json(), `/api/v1/runs/${EVERY}`);
  Object.assign(document.run, { status: 'incomplete', state: 'incomplete', reason: 'budget', larger_budgets: ['other:tokens=40'] });
  await page.route(`**/api/v1/runs/${EVERY}`, (route) => route.fulfill({ json: document }));
  await page.goto(`${server.origin}/runs/${EVERY}`);
  await expect(page.locator('.note.incomplete')).toContainText("runner resume 00000002 --budget 'other:tokens=40'");
});

test('view of a run stays until the next one has its data', async ({ page, server }) => {
  await page.goto(`${server.origin}/runs/${EVERY}`);
  const grid = page.getByRole('grid', { name: 'Tests and providers' });
  const views = page.getByRole('navigation', { name: 'Views of the run' });
  let release;
  const held = new Promise((resolve) => { release = resolve; });
  await page.route('**/matrix?*', async (route) => { await held; await route.continue(); });
  // Only the data ends the wait.
  await page.clock.install();
  // The time has to be in the future of a browser that is slow.
  await page.clock.pauseAt(Date.now() + 10_000);
  await views.getByRole('link', { name: 'Matrix' }).click();
  await page.clock.runFor(100);
  await expect(views.getByRole('link', { name: 'Matrix' })).toHaveAttribute('aria-current', 'page');
  await expect(trials(page).first()).toBeVisible();
  await expect(page.locator('.loading')).toHaveCount(0);
  release();
  await page.clock.resume();
  await expect(grid.getByText('recovers')).toBeVisible();
  await expect(page.getByRole('grid', { name: 'Trials' })).toHaveCount(0);
  // A view that is left before it was shown is not shown later.
  for (const name of ['Overview', 'About']) await views.getByRole('link', { name }).click();
  await expect(page.getByRole('heading', { name: 'Sessions' })).toBeVisible();
  await expect(page.getByRole('grid')).toHaveCount(0);
});

test('providers have a column for each metric', async ({ page, server }) => {
  const document = await page.evaluate(async (url) => (await fetch(url)).json(), `/api/v1/runs/${EVERY}`);
  document.providers[0].metrics = [{ name: 'cost_usd', value: 0.0054, unit: 'USD' }, { name: 'first_ms', value: 7, unit: 'ms' }, { name: 'tokens', value: 1234, unit: 'tokens' }];
  document.providers[1].metrics = [{ name: 'cost_usd', value: 0.0046, unit: 'USD' }, { name: 'tokens', value: 5, unit: 'tokens' }, { name: 'total_tokens', value: 7, unit: 'tokens' }];
  document.manifest.gate = { held: false, conditions: [{ scope: 'all', key: 'min_score', bound: 0.7, value: 0.4, trials: 40, held: false }] };
  Object.assign(document.run, { state: 'passed' });
  document.actions.resume.allowed = true;
  document.actions.rerun_failed.allowed = true;
  await page.route(`**/api/v1/runs/${EVERY}`, (route) => route.fulfill({ json: document }));
  await page.goto(`${server.origin}/runs/${EVERY}`);
  const table = page.getByRole('region', { name: 'Providers' });
  await expect(table.getByRole('columnheader')).toHaveText(['Provider', 'Results', 'Pass rate', 'Mean score', 'p50 · p95 · max', 'Cost', 'tokens']);
  await expect(table.getByRole('row').nth(1).getByRole('cell')).toHaveText([/failed/, /%/, /^\d\.\d\d$/, /·/, '$0.0054', '1,234']);
  // The score has the bound of the gate, and durations have no sum.
  await expect(table.locator('tfoot').getByRole('cell')).toHaveText([/failed/, /%/, '0.40at least 0.7', '', '$0.01', '1,239']);
  await expect(page.locator('.counts').first()).toContainText('of 44 trials$0.01');
  // A run with a gate can pass with errors, which `Rerun failed` runs again.
  await expect(page.getByRole('button', { name: 'Rerun failed' })).toBeVisible();
  await expect(page.getByRole('button', { name: 'Resume' })).toHaveCount(0);
});

test('reasons of a kind wrap to two lines', async ({ page, server }) => {
  const json = await page.evaluate(async (url) => (await fetch(url)).json(), `/api/v1/runs/${EVERY}/failures`);
  const kind = json.kinds.find((one) => one.kind === 'equals');
  const words = 'the same words that each of the reasons of this kind starts with, which are long: ';
  kind.groups = ['first', 'second'].map((end, at) => ({ ...kind.groups[0], key: `${kind.key}-${at}`, reason: `equals: ${words}${end}` }));
  await page.route('**/failures', (route) => route.fulfill({ json }));
  await page.goto(`${server.origin}/runs/${EVERY}`);
  const texts = page.locator('.kind').filter({ hasText: 'equals' }).locator('.group .pre');
  await expect(texts).toHaveText([`${words}first`, `${words}second`]);
  const heads = page.locator('.kind').filter({ hasText: 'equals' }).locator('.group .head');
  const lines = () => heads.evaluateAll((all) => all.map((one) => (one.scrollHeight > one.clientHeight + 1 ? 'cut' : Math.round(one.clientHeight / parseFloat(getComputedStyle(one).lineHeight)))));
  expect(await lines()).toEqual([2, 2]);
  await page.setViewportSize({ width: 2000, height: 900 });
  expect(await lines()).toEqual([1, 1]);
  await expect(texts.first()).toHaveAttribute('title', `equals: ${words}first`);
});

/** Opens the page of a run that allows all actions. */
async function openAllowed(page, server, more = {}) {
  const document = await page.evaluate(async (url) => (await fetch(url)).json(), `/api/v1/runs/${EVERY}`);
  for (const action of Object.values(document.actions)) action.allowed = true;
  Object.assign(document.run, more);
  await page.route(`**/api/v1/runs/${EVERY}`, (route) => route.fulfill({ json: document }));
  await page.goto(`${server.origin}/runs/${EVERY}`);
}

test('no button of a run is outside of a narrow window', async ({ page, server }) => {
  await page.setViewportSize({ width: 400, height: 900 });
  await openAllowed(page, server);
  const buttons = page.locator('.run-head .buttons > *');
  await expect(buttons.last()).toHaveText('Download report');
  const ends = await buttons.evaluateAll((all) => all.map((one) => one.getBoundingClientRect().right));
  expect(ends.length).toBeGreaterThan(8);
  expect(Math.max(...ends)).toBeLessThanOrEqual(400);
  // The other views have a head of two lines.
  await page.getByRole('navigation', { name: 'Views of the run' }).getByRole('link', { name: 'Log' }).click();
  await expect(buttons.last()).toBeHidden();
  expect((await page.locator('.run-head').boundingBox()).height).toBeLessThan(80);
});

test.describe('', () => {
  test.use({ allowed: /status of 422/ });
  test('dialog names the request that was refused', async ({ page, server }) => {
    await page.route('**/labels', (route) => route.fulfill({ status: 422, json: { title: 'unprocessable request', detail: 'the run has 100 labels' } }));
    await openAllowed(page, server);
    await choose(page, 'Edit labels…');
    await page.getByRole('button', { name: 'Save labels' }).click();
    await expect(page.getByRole('dialog').getByRole('alert')).toHaveText('Save labels: refusedthe run has 100 labels');
  });
});

test('rerun of a pinned run asks first', async ({ page, server }) => {
  await page.route('**/resume', (route) => route.fulfill({ json: { pending: 3 } }));
  await openAllowed(page, server, { pinned: true });
  await page.getByRole('button', { name: 'Rerun failed' }).click();
  await expect(page.getByRole('dialog')).toContainText('3 trials would run.The run is pinned.');
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
  }).toPass({ timeout: 120_000 });
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
  const last = page.getByRole('grid').getByRole('columnheader').nth(2);
  await last.scrollIntoViewIfNeeded();
  await expect(last).toBeInViewport({ ratio: 1 });
  await expect(last).toContainText(/\d %.*\d [mµ]?s$/);
  // The names of tests stay in place.
  const [name, grid] = [page.getByRole('link', { name: 'recovers' }), page.getByRole('grid', { name: 'Tests and providers' })];
  const [inner, outer] = await Promise.all([name, grid].map((one) => one.boundingBox()));
  expect(inner.x).toBeGreaterThanOrEqual(outer.x);
  expect(inner.x).toBeLessThan(outer.x + outer.width);
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
  // Providers with the same facts have them once.
  const providers = page.locator('section', { has: page.getByRole('heading', { name: 'Providers and graders' }) });
  await expect(providers.getByRole('heading', { level: 3 })).toHaveText(['other, hostile']);
  // Twelve digits are shown, and a copy has all.
  const digest = providers.locator('.digest').first();
  await expect(digest).toHaveText(/^[0-9a-f]{64}$/);
  await expect(digest).toHaveAttribute('title', /^[0-9a-f]{64}$/);
  expect(await digest.evaluate((one) => one.lastElementChild.textContent.length)).toBe(52);
  expect((await digest.locator('span').boundingBox()).width).toBe(0);
  await expect(page.locator('.about .command').first()).toContainText('runner exec -q scenarios/every.toml');
  await expect(page.locator('.about').getByRole('button', { name: 'Copy' }).first()).toBeVisible();
  await providers.getByText(/^memory [\d.]+ [KMG]iB and \d+ more$/).click();
  await expect(providers.getByText(/^http_response: [\d.]+ MiB$/)).toBeVisible();
  await page.goBack();
  await expect(page).toHaveURL(/view=log/);
});

test('log marks the searched words and selects warnings', async ({ page, server }) => {
  await page.goto(`${server.origin}/runs/${EVERY}?view=log`);
  const log = page.getByLabel('Log', { exact: true });
  await page.getByRole('searchbox', { name: 'Search the log' }).fill('CAREFUL');
  await expect(log.locator('mark').first()).toHaveText('careful');
  await page.keyboard.press('Enter');
  await expect(log.locator('.line.hit')).toContainText('careful');
  await expect(page).toHaveURL(/search=CAREFUL/);
  await page.getByRole('button', { name: 'Fold all' }).click();
  await expect(log.locator('.line')).toHaveCount(0);
  await page.getByRole('button', { name: 'Unfold all' }).click();
  await page.reload();
  await expect(log.locator('mark').first()).toHaveText('careful');
  await page.getByRole('button', { name: 'Wrap' }).click();
  await expect(log.locator('.line').first()).toHaveCSS('white-space', 'pre');
  await page.getByRole('button', { name: 'Warnings and errors' }).click();
  await expect(page.getByRole('button', { name: 'Warnings and errors' })).toHaveAttribute('aria-pressed', 'true');
  await expect(log.locator('.line:not(.warn, .error, .stderr)')).toHaveCount(0);
  await expect(log.locator('.line.warn').first()).toBeVisible();
});

test('attempts of a log fold, alone and all at once', async ({ page, server }) => {
  await page.goto(`${server.origin}/runs/${EVERY}?view=log`);
  const log = page.getByLabel('Log', { exact: true });
  const lines = log.locator('.line');
  await expect(lines.first()).toBeVisible();
  const heads = await log.locator('.head').count();
  const all = await lines.count();
  await log.locator('.head').first().getByRole('button', { expanded: true }).click();
  await expect(log.locator('.head').first().getByRole('button', { expanded: false })).toBeVisible();
  await expect(log.locator('.head').first()).toContainText(/\d+ lines?$/);
  expect(await lines.count()).toBeLessThan(all);
  await page.getByRole('button', { name: 'Unfold all' }).click();
  await expect(lines).toHaveCount(all);
  await page.getByRole('button', { name: 'Fold all' }).click();
  await expect(lines).toHaveCount(0);
  await expect(log.locator('.head')).toHaveCount(heads);
});

test('log of a run without output is that of the run', async ({ page, server }) => {
  await page.goto(`${server.origin}/runs/2026-01-04_00-00-00-000-good-44444444?view=log`);
  await expect(page.getByRole('link', { name: 'Attempts' })).toHaveCount(0);
  // Its scenario has no earlier run.
  await expect(page.getByRole('link', { name: 'Compare…' })).toHaveAttribute('href', /^.compare.new=.*good/);
  await expect(page.getByRole('link', { name: 'runner.log' })).toHaveAttribute('aria-current', 'page');
  const log = page.getByLabel('Log', { exact: true });
  await expect(log).toContainText('session 1 of runner');
  await expect(log.locator('.digest').first()).toHaveText(/^[0-9a-f]{64}$/);
  // The time of day is enough in a list, and the title has the date.
  await expect(log.locator('.line span[title]').first()).toHaveText(/^\d\d:\d\d:\d\d\.\d{3} $/);
});

test('timeline shows only attempts of an outcome and a provider', async ({ page, server }) => {
  await page.goto(`${server.origin}/runs/${EVERY}?view=timeline`);
  const counts = page.locator('.timeline ~ .counts');
  await expect(counts).toContainText('passed');
  await page.getByRole('button', { name: 'Not passed' }).click();
  await expect(page).toHaveURL(/filter=outcome/);
  await expect(counts).not.toContainText('passed');
  await expect(counts).toContainText('failed');
  // The reason of a failure follows its attempt and time.
  const [tip, canvas] = [page.locator('.timeline .tip'), page.getByRole('figure', { name: 'Attempts over time' }).getByRole('img')];
  await canvas.evaluate((element) => {
    const { left, top, width, height } = element.getBoundingClientRect();
    const tip = document.querySelector('.timeline .tip');
    // A mark of several attempts has no reason, and where they are depends on their times.
    const isFound = () => !tip.hidden && /, attempt \d+\D*(failed|error|timeout)/.test(tip.textContent);
    for (let x = 54; x < width; x++) for (let y = 4; y < height && !isFound(); y += 8) element.dispatchEvent(new PointerEvent('pointermove', { clientX: left + x, clientY: top + y }));
  });
  await expect(tip.locator(':scope > span')).toHaveCount(3);
  await page.getByLabel('Provider').selectOption('other');
  await expect(page).toHaveURL(/provider=other/);
  await page.getByText('Values').click();
  const values = page.getByRole('region', { name: 'Attempts over time' }).getByRole('row');
  await expect(values.filter({ hasText: '@hostile' })).toHaveCount(0);
  await expect(values.filter({ hasText: '@other' }).first()).toBeVisible();
  await page.getByLabel('Colours').selectOption('provider');
  await expect(page.locator('.timeline ~ .legend')).toContainText('■ hostile');
  // The names of lanes are left of the first attempt.
  expect(await canvas.evaluate((element) => element.getContext('2d').getImageData(0, 0, 40, element.height - 22).data.some((byte) => byte > 0))).toBe(true);
});

test('timeline shows a part of the run, and moves it', async ({ page, server }) => {
  await page.goto(`${server.origin}/runs/${EVERY}?view=timeline`);
  await expect(page.locator('.timeline ~ .counts')).toContainText('failed');
  const button = (name) => page.getByRole('button', { name, exact: true });
  await expect(button('Earlier')).toBeDisabled();
  await button('Zoom in').click();
  await expect(page).toHaveURL(/from=\d+&to=\d+/);
  await expect(button('Earlier')).toBeEnabled();
  await button('Later').click();
  await expect(button('Later')).toBeDisabled();
  await button('Whole run').click();
  await expect(page).not.toHaveURL(/from=/);
  await page.getByText('Values').click();
  await page.getByRole('region', { name: 'Attempts over time' }).getByRole('link').first().click();
  await expect(page).toHaveURL(/trials\//);
});

test('timeline opens on the last session of a run', async ({ page, server }) => {
  const path = `/runs/${EVERY}`;
  const json = await page.evaluate(async (url) => (await fetch(url)).json(), `/api/v1${path}`);
  const [first] = json.manifest.sessions;
  const at = (ms) => new Date(Date.parse(first.started_at) + ms).toISOString();
  json.manifest.sessions = [{ ...first, ended_at: at(1) }, { ...first, number: 2, started_at: at(2) }];
  Object.assign(json.run, { sessions: 2, worked_ms: 0 });
  await page.route(`**/api/v1${path}`, (route) => route.fulfill({ json }));
  await page.goto(`${server.origin}${path}?view=timeline`);
  const session = page.getByRole('button', { name: 'Session 2' });
  await expect(session).toHaveAttribute('aria-pressed', 'true');
  await expect(page.getByText(/^0 s to .* of session 2,/)).toBeVisible();
  await page.getByRole('button', { name: 'Whole run' }).click();
  await expect(session).toHaveAttribute('aria-pressed', 'false');
  await page.getByRole('link', { name: '2 sessions' }).click();
  await expect(page).toHaveURL(/view=about/);
});

test.describe('', () => {
  test.use({ allowed: /status of 404/ });
  test('unknown addresses are named', async ({ page, server }) => {
    await page.goto(`${server.origin}/runs/none`);
    await expect(page.getByRole('heading', { name: 'Not found' })).toBeVisible();
    await expect(page.getByText('There is no run none.')).toBeVisible();
    await expect(page.getByText('in another results root')).toBeVisible();
    await page.goto(`${server.origin}/nothing`);
    await expect(page.getByText('No page has the address /nothing')).toBeVisible();
    await expect(page.getByText('Did you mean')).toHaveCount(0);
    await page.goto(`${server.origin}/histori`);
    await expect(page.getByText('Did you mean History?')).toBeVisible();
    await expect(page.getByRole('link', { name: 'All runs' })).toBeVisible();
    await page.goto(`${server.origin}/runs/${EVERY}/trials/%zz`);
    await expect(page.getByRole('heading', { name: 'Not found' })).toBeVisible();
    await expect(page.getByText('%zz')).toBeVisible();
    await page.getByRole('link', { name: 'All trials of the run' }).click();
    await expect(page.getByRole('grid', { name: 'Trials' })).toBeVisible();
  });
});

test.describe('', () => {
  test.use({ flags: '--results everything' });

  /** Keys of `show --json` that no view shows, by the reason. A new key belongs on a view, or here. */
  const HIDDEN = {
    'of the files': 'v manifest.format manifest.signature manifest.rows manifest.metadata.blobs manifest.metadata.random_recipe manifest.merged.bytes manifest.sessions.foreign manifest.sessions.from_seq manifest.sessions.has_calls manifest.sessions.key manifest.sessions.known manifest.sessions.replays manifest.sessions.request.body manifest.sessions.added manifest.sessions.rerun.trials live.session live.last_seq',
    'as in `run`': 'manifest.completed_at manifest.counts manifest.group manifest.id manifest.labels manifest.larger_budgets manifest.lost_report manifest.message manifest.number manifest.pinned manifest.reason manifest.scenario manifest.signal manifest.stage manifest.started_at manifest.status manifest.verdict live.counts live.at live.worked_ms',
    'as in `manifest.providers`': 'manifest.planned_graders',
    'only the sum': 'manifest.sessions.adopted',
    'only as a pass rate': 'meta.values.providers',
    'with its interval': 'run.failed_gate',
    'an age that grows': 'live.in_flight.ms live.in_flight.since live.compiling.since live.waiting.until',
    'steps of an attempt with its text': 'live.in_flight.phase live.in_flight.output.bytes manifest.sessions.in_flight.phase manifest.sessions.in_flight.since manifest.sessions.in_flight.output.bytes',
    'in the message, or for commands': 'run.larger_budgets',
    'for links': 'since_previous.run',
    'of a replay, with the other keys of the selection': 'manifest.metadata.selection.replay',
    'for checks at the start': 'manifest.providers.mounts.device manifest.providers.mounts.inode manifest.providers.mounts.content manifest.providers.description.config_schema manifest.providers.description.input_schema',
    'absent in a pause': 'run.paused.to',
    'of a running run': 'run.stage',
    'of a run with adaptive repeats, which has its own story': 'run.counts.not_needed providers.not_needed graders.not_needed meta.values.not_needed manifest.metadata.has_adaptive_repeats',
    'of a run with known failures, which has its own story': 'known manifest.gate.conditions.entries run.counts.known run.counts.unexpected_passes since_previous.counts.known since_previous.counts.unexpected_pass providers.known providers.unexpected_passes graders.known graders.unexpected_passes meta.values.known meta.values.unexpected_passes',
  };
  /** The words that stand for some values. */
  const WORDS = {
    'run.reason': 'Interrupted by SIGTERM', 'manifest.gate.held': 'gate failed:', 'manifest.gate.conditions.held': '✗ pass rate', 'manifest.gate.conditions.key': 'pass rate',
    'manifest.gate.conditions.weightless': 'without 1 skipped trial', 'manifest.metadata.has_gate': 'gate failed:', 'manifest.providers.development': 'development form of a', 'manifest.providers.grader': ', grader', 'manifest.providers.tool': ', tool', 'manifest.sessions.rescores': 'Judged again',
    'live.paused': 'Paused since', 'live.stopping': '○ stopping', 'live.grace_until': 'Running attempts are being interrupted', 'live.stage': 'Running', 'live.waiting.why': 'waits for its retry', 'live.waits_for_memory': 'more wait for memory',
  };
  const by = { user: 'ada', host: 'box', reason: 'for lunch' };
  const at = (minute) => `2026-05-06T07:${minute}:09.123Z`;
  const flight = { trial: 'late@hostile#1', grader: 'judge', attempt: 37, worker: 'gpu-7', ms: 4321, phase: 'waiting', since: at(10), what: 'http api.example.com:443', output: { bytes: 9, text: 'last words' } };
  /** Values of keys that the run of the fixtures lacks: for its page after its end, and while it runs. */
  const ENDED = {
    lost_results: 43, damaged_lines: 44, paid: { cost_usd: 0.625 }, workers: [{ worker: 'gpu-1', attempts: 1203, errors: 45 }],
    run: { counts: { ungraded: 46 }, message: 'It met `SIGTERM`.', reason: 'interrupted', signal: 'SIGTERM', lost_report: 'no space for `junit.xml`', replay_of: 'source-9', shard: '3/64', pinned: { at: at(11), by } },
    providers: [{ ungraded: 47 }], meta: [{ values: [{ ungraded: 48 }] }],
    graders: [{ passed: 11, ungraded: 49, pass_rate: { rate: 1, interval: [0.7411, 1] }, metrics: [{ name: 'work', unit: 'joule', value: 0.125 }] }],
    manifest: {
      gate: { conditions: [{ weightless: 1 }] },
      merged: [{ shard: '5/64', run: 'part-5', sessions: 51 }],
      metadata: { selection: { exclude: ['ex-*'], filter: 'tag(hard)', first: 52, journal: true, last_failed: true, limits: ['memory=1GiB'], providers: ['host*'], repeat: 53, retries: 54, sample: 55, shard: '3/64', tags: ['ta-*'], tests: ['te-*'] } },
      providers: [{
        development: true, tool: true, limits: { time: 1234, total_tokens: 87654, cost_usd: 0.875 }, mounts: [{ host: '/srv/data', guest: '/data', mode: 'read' }],
        grants: { env: ['LANG'], net: ['https://x.example'], secrets: ['KEY'], fs: [{ path: 'data', mount: '/data', mode: 'read' }], bound_secrets: [{ name: 'TOKEN', host: 'y.example', header: 'X-Token' }], tools: ['shell-tool'] },
      }],
      sessions: [{
        budgets: { tokens: 12345 }, fail_fast: 56, request: { id: 'nightly-7', priority: 57 }, rerun: { filter: 'outcome(failed)' }, pending: 58, suspended_ms: 61000,
        pauses: [{ from: at(12), to: at(13), by }], stopped_by: by, in_flight: [flight],
      }],
      transitions: [{ reason: 'stopped', by }],
    },
  };
  const RUNNING = {
    run: { status: 'running', state: 'running', completed_at: null, paused: { from: at(14), by } },
    live: {
      at: at(19), paused: true, stopping: true, grace_until: at(15), stage: 'run', compiling: [{ plugin: 'slow.wasm', since: at(16) }], in_flight: [flight],
      waiting: [{ trial: 'next@hostile#1', grader: 'judge', why: 'retry', until: at(17) }], waits_for_memory: true, waits_for_workers: 'no worker is there', workers: 62, deaths: 63,
      joined: [{ worker: 'gpu-7' }, { worker: 'gpu-8', lost_at: at(18) }],
    },
  };

  /** Returns the first value of each key of a schema without keys of its own. @returns {[string, any][]} */
  function leaves({ $defs, ...schema }, document) {
    const found = new Map();
    const parts = (node) => [node, ...[node.$ref && $defs[node.$ref.split('/').pop()], ...node.anyOf ?? [], ...node.oneOf ?? [], ...node.allOf ?? []]
      .flatMap((part) => (part ? parts(part) : []))];
    const walk = (node, values, path) => {
      const all = parts(node);
      const inner = all.flatMap(({ items, additionalProperties }) => [items, additionalProperties]).filter((part) => typeof part === 'object');
      const keys = all.flatMap(({ properties }) => Object.entries(properties ?? {}));
      for (const part of inner) walk(part, values.flatMap((value) => (typeof value === 'object' ? Object.values(value) : [])), path);
      for (const [key, part] of keys) {
        const own = values.flatMap((value) => (Object.hasOwn(Object(value), key) && value[key] !== null ? [value[key]] : []));
        walk(part, own, path ? `${path}.${key}` : key);
      }
      if (!inner.length && !keys.length) found.set(path, found.get(path) ?? values[0]);
    };
    walk(schema, [document], '');
    return [...found];
  }

  test('every key of a run is on one of its views', async ({ page, server }) => {
    const { runs } = JSON.parse(await runner(['list', '--json', '--results', 'everything', '--scenario', 'everything']));
    const schema = JSON.parse(await runner(['schema', 'show']));
    delete schema.properties.rows;
    const path = `/runs/${runs[0].run}`;
    const merge = (value, patch) => (patch === null || typeof patch !== 'object' ? patch
      : Object.entries(patch).reduce((all, [key, one]) => Object.assign(all, { [key]: merge(all[key], one) }), value ?? (Array.isArray(patch) ? [] : {})));
    const own = await page.evaluate(async (url) => (await fetch(url)).json(), `/api/v1${path}`);
    for (const patch of [ENDED, RUNNING]) {
      const document = merge(structuredClone(own), patch);
      await page.unrouteAll();
      await page.route(`**/api/v1${path}`, (route) => route.fulfill({ json: document }));
      await page.route(`**/api/v1${path}/events*`, (route) => route.fulfill({ contentType: 'text/event-stream', body: '' }));
      let texts = '';
      for (const view of ['', 'matrix', 'timeline', 'log', 'about']) {
        await page.goto(`${server.origin}${path}?view=${view}`);
        await expect(page.getByRole('heading', { level: 1 })).toContainText('everything');
        await expect(page.locator('.loading')).toHaveCount(0);
        texts += await page.evaluate(() => {
          const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
          const nodes = [...document.querySelectorAll('[title], time')].map((one) => `${one.title} ${one.dateTime ?? ''}`);
          while (walker.nextNode()) nodes.push(walker.currentNode.nodeValue);
          return nodes.join(' ');
        });
      }
      const shown = leaves(schema, document).filter(([key]) => /^(live|run\.paused)\./.test(key) === (patch === RUNNING))
        .map(([key, value]) => [key, value === undefined ? value : WORDS[key] ?? value]);
      const missing = await page.evaluate(async ({ shown, texts }) => {
        const { count, duration, money, number, percent, size } = await import('/web/base/words.js');
        const plain = (text) => text.replace(/[`\s]/g, '');
        const forms = (value) => [value, count(value), size(value), duration(value), number(value), percent(value), money(value),
          (Math.floor(1000 * value) / 10).toFixed(1), (Math.ceil(1000 * value) / 10).toFixed(1)];
        const is = (value) => (typeof value === 'object' ? Object.values(value).every(is)
          : typeof value !== 'number' ? plain(texts).includes(plain(String(value)))
            : forms(value).some((form) => new RegExp(`(?<![\\d.,])${String(form).replace(/[.$]/g, '\\$&')}(?!\\d|[.,]\\d)`).test(texts)));
        return shown.filter(([, value]) => value === undefined || !is(value)).map(([key, value]) => `${key}: ${JSON.stringify(value)}`);
      }, { shown, texts });
      const hidden = Object.values(HIDDEN).flatMap((keys) => keys.split(' '));
      expect(missing.filter((line) => !hidden.some((key) => line.startsWith(`${key}: `) || line.startsWith(`${key}.`)))).toEqual([]);
    }
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
