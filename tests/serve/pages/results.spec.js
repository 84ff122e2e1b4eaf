// Comparisons, the history of tests, and their charts.
import { mkdirSync, writeFileSync } from 'node:fs';
import { LIVE, expect, runner, test } from './fixtures.js';

const [BASE, NEW] = ['2026-01-01_00-00-00-000-every-00000001', '2026-01-02_00-00-00-000-every-00000002'];

test('comparison has changed tests and opens them', async ({ page, server }) => {
  await page.goto(`${server.origin}/compare?base=${BASE}&new=${NEW}`);
  await expect(page.locator('h1 + .lead')).toContainText('regressed');
  const tests = page.getByRole('grid', { name: 'Changed results' }).getByRole('row');
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

  // The next trial is that of the next row.
  const list = page.locator('.compare .rows-body .test > a');
  const names = await list.allTextContents();
  await list.first().click();
  for (const name of names) {
    await expect(page.locator('h1')).toContainText(name);
    if (name !== names.at(-1)) await page.keyboard.press('j');
  }
  await expect(page.getByRole('button', { name: 'Next' })).toBeDisabled();
});

const read = (page, path) => page.evaluate(async (url) => (await fetch(url)).json(), `/api/v1${path}`);

test('costs of a comparison are those of 1,000 trials', async ({ page, server }) => {
  const cost = (value) => ({ value, interval: null });
  const json = await read(page, `/compare?base=${BASE}&new=${NEW}`);
  json.measures = [{ name: 'cost_usd', unit: 'USD', provider: 'hostile', base: cost(0.000041), new: cost(0.0009), change: 0.000859, change_unit: 'USD', interval: [0.0000085, 0.00117], p: 0.01, tests: 12, worse: false }];
  await page.route('**/api/v1/compare?*', (route) => route.fulfill({ json }));
  await page.goto(`${server.origin}/compare?base=${BASE}&new=${NEW}`);
  await expect(page.getByRole('region', { name: 'Rates and means' }).getByRole('row').last()).toHaveText('cost_usd per 1,000 @hostile$0.041$0.900+$0.859+$0.009 to +$1.1700.01012');
  // Each field has the state of its run below.
  await expect(page.locator('.fields > div').first()).toContainText(/failed.* (ago|just now) 00000001/);
});

test('only a significant change of a comparison is red', async ({ page, server }) => {
  const json = await read(page, `/compare?base=${BASE}&new=${NEW}`);
  const rate = { name: 'pass rate', unit: '%', provider: 'hostile', base: { value: 90, interval: null }, new: { value: 50, interval: null }, change: -40, change_unit: 'pp', interval: [-60, -20], tests: 12 };
  json.changes[0].new = { outcome: 'failed', passed: 0, trials: 2 };
  await page.route('**/api/v1/compare?*', (route) => route.fulfill({ json }));
  for (const [p, text, tone] of [[1, '> 0.99', 'flaky'], [0.004, '0.004', 'failed']]) {
    Object.assign(json, { summary: 'worse: 2 regressed', measures: [{ ...rate, p, worse: p < 0.05 }] });
    await page.goto(`${server.origin}/compare?base=${BASE}&new=${NEW}`);
    await expect(page.locator('h1 + .lead')).toHaveClass(`lead ${tone}`);
    await expect(page.getByRole('columnheader', { name: 'p (corrected)' })).toBeVisible();
    await expect(page.getByRole('region', { name: 'Rates and means' }).getByRole('cell', { name: text, exact: true })).toBeVisible();
  }
  const changed = page.getByRole('grid', { name: 'Changed results' });
  await expect(changed.getByText('0/2').first()).toBeVisible();
  // The greatest fall of a score is first.
  json.changes.forEach((one, at) => [one.base, one.new].forEach((of, side) => Object.assign(of ?? {}, { score: side ? 0.8 - at / 10 : 0.8 })));
  await page.goto(`${server.origin}/compare?base=${BASE}&new=${NEW}`);
  await expect(changed.getByText('0/2 · 0.80').first()).toBeVisible();
  await page.getByRole('link', { name: 'By change of score' }).click();
  await expect(changed.locator('[role=gridcell].test').first()).toContainText(json.changes.findLast((one) => one.base && one.new).test);
  await page.getByRole('link', { name: 'Swap' }).click();
  await expect(page).toHaveURL(new RegExp(`base=${NEW}&new=${BASE}`));
});

test('two ticked runs are compared, the older one as base', async ({ page }) => {
  for (const run of [NEW, BASE]) await page.getByRole('checkbox', { name: run }).check();
  await page.getByRole('button', { name: 'Compare', exact: true }).click();
  await expect(page).toHaveURL(new RegExp(`base=${BASE}&new=${NEW}`));
});

test('comparison without a choice has the newest two runs', async ({ page, server }) => {
  await page.goto(`${server.origin}/compare`);
  await expect(page.getByLabel('New')).not.toHaveValue('');
  await expect(page.getByRole('grid', { name: 'Changed results' })).toBeVisible();
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

test('hostile answers are visible text', async ({ page, server }) => {
  await page.goto(`${server.origin}/runs/2026-01-03_00-00-00-000-hostile-33333333?view=matrix&answers=true`);
  await expect(page.locator('.answer').filter({ hasText: '<script>' }).first()).toContainText('\\u{202e}');
});

test('rows of answers are as high as their texts', async ({ page, server }) => {
  const run = '2026-01-03_00-00-00-000-hostile-33333333';
  const answer = (words) => ({ output: words, reason: null });
  const long = 'one of many words '.repeat(30).trim();
  const json = await read(page, `/runs/${run}/matrix`);
  await page.route('**/matrix?*', async (route) => {
    const at = Number(new URL(route.request().url()).searchParams.get('offset'));
    const tests = Array.from({ length: 25 }, (_, row) => ({ ...json.tests[0], test: `t${at + row}`, input: 'short', answers: [answer(at + row === 27 ? long : `answer ${at + row}`)] }));
    await route.fulfill({ json: { ...json, total: 50, tests } });
  });
  await page.goto(`${server.origin}/runs/${run}?view=matrix&answers=true`);
  const grid = page.getByRole('grid');
  const row = (name) => grid.getByRole('row').filter({ has: page.getByRole('link', { name, exact: true }) });
  const height = async (name) => (await row(name).boundingBox()).height;
  await expect(row('t0')).toBeVisible();
  expect(await height('t0')).toBeLessThan(80);
  await grid.focus();
  await page.keyboard.press('End');
  await expect(row('t49')).toBeInViewport({ ratio: 0.9 });
  for (let step = 0; step < 22; step += 1) await page.keyboard.press('ArrowUp');
  await expect(row('t27')).toBeInViewport({ ratio: 0.9 });
  const text = row('t27').locator('.answer');
  await expect(text).toContainText(long);
  expect(await height('t27')).toBeGreaterThan(await height('t28'));
  expect(await text.evaluate((one) => one.scrollHeight - one.clientHeight)).toBeLessThanOrEqual(1);
  // Rows follow each other without a gap.
  const [above, below] = await Promise.all(['t27', 't28'].map((name) => row(name).boundingBox()));
  expect(Math.abs(above.y + above.height - below.y)).toBeLessThan(1);
});

test('history has a mark for each test and run', async ({ page, server }) => {
  await page.goto(`${server.origin}/history?scenario=every`);
  await expect(page.locator('h1 + .lead')).toContainText(/results? failing/);
  await expect(page.locator('.lead + p')).toContainText(/^[\d.]+ % passed in the newest run, .* the run before/);
  await expect(page.locator('section', { has: page.getByRole('heading', { name: 'Failing since' }) }).getByRole('listitem').last()).toContainText(/\d results in all of these runsbreaks@hostile/);
  const row = page.getByRole('row').filter({ hasText: 'passes@hostile' });
  await expect(row).toContainText('2 of 3');
  await expect(page.getByRole('heading', { name: 'Results' })).toContainText(/, each of a test on a provider; the last \d runs, the newest on the right$/);
  // On paper, results that pass are names only.
  await page.emulateMedia({ media: 'print' });
  await expect(row.locator('.run').first()).toBeHidden();
  await expect(page.getByRole('row').filter({ hasText: 'breaks@hostile' }).locator('.run').first()).toBeVisible();
  await page.goto(`${server.origin}/compare?base=${BASE}&new=${NEW}`);
  await expect(page.locator('.fields > div > p').first()).toContainText(/^every/);
  await expect(page.locator('.fields > div > p').first()).toBeVisible();
  await page.emulateMedia({ media: 'screen' });
  // At first, the newest run is visible.
  await page.setViewportSize({ width: 400, height: 900 });
  await page.goto(`${server.origin}/history?scenario=every&test=passes`);
  await expect(row.locator('.trial small')).toContainText('2 of 3');
  await expect(page.getByRole('columnheader', { name: 'Failing since' })).toBeHidden();
  const newest = row.getByRole('link', { name: `passed in ${NEW}` });
  await expect.poll(async () => (await newest.boundingBox())?.x).toBeLessThan(400);
  await row.getByRole('link', { name: `failed in ${BASE}` }).click();
  await expect(page).toHaveURL(new RegExp(`/runs/${BASE}`));
});

test.describe('', () => {
  test.use({ allowed: /status of 40[04]/ });
  test('wrong filter of a history can be changed in place', async ({ page, server }) => {
    await page.goto(`${server.origin}/history?scenario=nothing`);
    await expect(page.getByRole('alert')).toContainText('nothing');
    await page.getByRole('link', { name: 'good', exact: true }).click();
    await expect(page.getByRole('heading', { level: 1 })).toHaveText('History of good');
    await page.goto(`${server.origin}/history?scenario=every&since=yesterday`);
    await expect(page.getByRole('alert')).toContainText('yesterday');
    await page.getByLabel('Since').selectOption('Any time');
    await expect(page.getByRole('row').filter({ hasText: 'passes@hostile' })).toBeVisible();
  });
});

test('missed bounds and clocks that are ahead are shown as such', async ({ page, server }) => {
  await page.goto(`${server.origin}/runs`);
  const shown = await page.evaluate(async () => {
    const { scoreAndLeast, time } = await import('/web/base/words.js');
    const age = (minutes) => time(new Date(Date.now() + 60_000 * minutes).toISOString(), 'age').children[0];
    return [scoreAndLeast(0.69999999, 0.7), scoreAndLeast(0.6999999999123, 0.7), scoreAndLeast(1 / 3, 0.7), [age(-5.5), age(0), age(5.5), age(-200), age(200)]];
  });
  expect(shown).toEqual([['0.69999999', '0.7'], ['0.6999999999', '0.7'], ['0.33', '0.7'], ['5 min ago', 'just now', 'in 5 min', '3 h ago', 'in 3 h']]);
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
  const tables = ['numbers', 'sizes', 'costs'].map((name) => require(`../../../runner/report/src/tests/${name}.json`));
  await page.goto(`${server.origin}/runs`);
  const shown = await page.evaluate(async ([numbers, sizes, costs]) => {
    const { money, number, size } = await import('/web/base/words.js');
    return [numbers.map(([value]) => [value, number(value)]), sizes.map(([bytes]) => [bytes, size(bytes)]), costs.map(([value]) => [value, money(value)])];
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

/** The most elements of a page. */
const MOST_ELEMENTS = 2000;

const elements = (page) => page.evaluate(() => document.querySelectorAll('*').length);

test('history is selected by known values, and draws equal providers once', async ({ page, server }) => {
  await page.goto(`${server.origin}/history?scenario=every`);
  const equal = page.locator('section', { has: page.getByRole('figure', { name: 'Pass rate of every' }) });
  await expect(equal.getByRole('heading')).toHaveText('Pass rate2 providers equal');
  const rows = page.getByRole('grid', { name: 'Results' }).getByRole('row');
  await expect(rows.filter({ hasText: '@hostile' }).first()).toBeVisible();
  // The results are between the pass rate and the other charts.
  const others = page.getByRole('figure', { name: 'Median duration of every' });
  const tops = await Promise.all([equal, rows.first(), others].map(async (one) => (await one.boundingBox()).y));
  expect(tops).toEqual(tops.toSorted((one, other) => one - other));
  await page.getByLabel('Provider').selectOption('other');
  await expect(page).toHaveURL(/provider=other/);
  await expect(rows.filter({ hasText: '@other' }).first()).toBeVisible();
  await expect(rows.filter({ hasText: '@hostile' })).toHaveCount(0);
  await expect(page.getByLabel('Provider').getByRole('option')).toHaveText(['All providers', 'other', 'hostile']);
  await page.getByLabel('Charts by').selectOption('day');
  await expect(page).toHaveURL(/provider=other.*by=day/);
  await page.getByLabel('Scenario').selectOption('good');
  await expect(page).toHaveURL(/history\?scenario=good$/);
  // A single run has no trend.
  await expect(page.getByText('100.0 % passed in the newest run. Changes and charts need a second run.')).toBeVisible();
  await expect(page.getByRole('figure')).toHaveCount(0);
  // After a move of the file, the chart has the runs of both.
  const [{ runs }, history] = await page.evaluate(() => Promise.all(['runs?limit=1000', 'history?scenario=good'].map(async (path) => (await fetch(`/api/v1/${path}`)).json())));
  const good = runs.find((one) => one.scenario === 'good');
  await page.route('**/api/v1/runs?limit=1000', (route) => route.fulfill({ json: { runs: [good, { ...good, run: 'moved', started_at: '2026-01-01T00:00:00Z' }] } }));
  await page.route('**/api/v1/history?*', (route) => route.fulfill({ json: { ...history, skipped: ['results/moved: it is a run of /old/good.toml'] } }));
  await page.goto(`${server.origin}/history?scenario=good`);
  await expect(page.getByRole('figure', { name: 'Pass rate of good' })).toBeVisible();
  await expect(page.getByRole('link', { name: 'Compare with the last of them' })).toHaveAttribute('href', /base=moved/);
  await page.getByText('1 run left out').click();
  await expect(page.getByText('1 run of /old/good.toml')).toBeVisible();
  // Labels have unequal numbers of runs.
  const sum = (key, runs, passed) => ({ key, runs, passed, failed: 0, error: 0, timeout: 0, skipped: 0, pass_rate: 1, p50_ms: 1, tokens: 10 * passed, cost_usd: passed / 1000, providers: [{ provider: 'echo' }] });
  await page.route('**/api/v1/history?*', (route) => route.fulfill({ json: { ...history, sums: [sum(null, 2, 4), sum('main', 5, 10)] } }));
  await page.goto(`${server.origin}/history?scenario=good&by=branch`);
  const cost = page.getByRole('figure', { name: 'Cost of good' });
  await expect(cost.locator('.name')).toHaveText(['without (2)', 'main (5)']);
  await cost.getByText('Values').click();
  await expect(cost.locator('tbody tr')).toHaveText(['without label, 2 runs$1.00', 'main, 5 runs$1.00']);
});

test('shards are no points of a history, and their columns are marked', async ({ page, server }) => {
  const json = await read(page, '/runs?limit=1000');
  json.runs.find((one) => one.run === NEW).shard = '1/3';
  await page.route('**/api/v1/runs?limit=1000', (route) => route.fulfill({ json }));
  await page.goto(`${server.origin}/history?scenario=every`);
  await expect(page.locator('.lead + p')).toContainText('passed in the newest whole run. Changes and charts need a second run.');
  await expect(page.getByRole('columnheader', { name: '1/3' })).toBeVisible();
  await page.goto(`${server.origin}/history?scenario=every&by=day`);
  await expect(page.getByText('No charts: all runs are of one day.')).toBeVisible();
});

test('history has a line for each provider, and opens the run at the pointer', async ({ page, server }) => {
  await page.goto(`${server.origin}/history?scenario=every`);
  const chart = page.getByRole('figure', { name: 'Median duration of every' });
  await expect(chart.locator('.legend')).toContainText('hostile');
  await expect(chart.locator('.legend')).toContainText('other');
  const plane = chart.locator('.plane');
  const { width } = await plane.boundingBox();
  await plane.hover({ position: { x: width - 2, y: 20 } });
  await expect(chart.locator('.tip')).toContainText(/hostile [\d.]+ (µs|ms|s)/);
  await chart.getByText('Values').click();
  await expect(chart.getByRole('row')).toHaveCount(3);
  await plane.click({ position: { x: 2, y: 20 } });
  await expect(page).toHaveURL(new RegExp(`/runs/${BASE}$`));
});

test('comparison draws intervals, and the run those of its providers', async ({ page, server }) => {
  await page.goto(`${server.origin}/compare?base=${BASE}&new=${NEW}`);
  await page.getByText(/other measures?$/).click();
  await expect(page.getByRole('region', { name: 'Other measures' }).getByRole('row').nth(1)).toBeVisible();
  const picture = page.locator('svg.span').first();
  await expect(page.getByRole('row').filter({ has: page.locator('svg.span') }).first()).toContainText(' to ');
  await page.setViewportSize({ width: 400, height: 900 });
  const { x, width } = await picture.boundingBox();
  expect(x + width).toBeLessThan(400);
  await page.setViewportSize({ width: 1280, height: 900 });
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
    expect(await elements(page)).toBeLessThan(MOST_ELEMENTS);
    await grid.evaluate((element) => { element.scrollLeft = element.scrollWidth; });
    await expect(grid.getByRole('columnheader').last()).toContainText('0.9');
    expect(await elements(page)).toBeLessThan(MOST_ELEMENTS);
    await page.getByRole('button', { name: 'Colours only' }).click();
    await expect(grid.locator('.strip').first()).toBeVisible();
    expect(await elements(page)).toBeLessThan(MOST_ELEMENTS);
    await page.goto(`${server.origin}/runs/wide`);
    const providers = page.getByRole('region', { name: 'Providers' });
    await expect(providers.getByRole('columnheader', { name: 'language' })).toBeVisible();
    await page.getByRole('button', { name: 'by language' }).click();
    await expect(providers.getByRole('row')).toHaveCount(6);
    await expect(providers.getByRole('row').filter({ hasText: 'english' })).toContainText('passed');
  });

  test('matrix shows answers side by side in few elements', async ({ page, server }) => {
    await runner(['exec', '-q', 'scenarios/wide.toml', '--into', `${LIVE}/answers`], [0, 1]);
    const asked = [];
    page.on('request', (request) => { if (request.url().includes('/matrix?')) asked.push(new URL(request.url()).searchParams.get('limit')); });
    const grid = page.getByRole('grid', { name: 'Tests and providers' });
    for (const width of [400, 1280, 2000]) {
      await page.setViewportSize({ width, height: 1600 });
      await page.goto(`${server.origin}/runs/answers?view=matrix&answers=true`);
      await expect(grid.locator('.answer').first()).toHaveText('0');
      expect(await elements(page), `${width}`).toBeLessThan(MOST_ELEMENTS);
      expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(width);
      // Wide enough to read.
      expect((await grid.locator('.answer').first().boundingBox()).width).toBeGreaterThan(200);
      await grid.evaluate((element) => { [element.scrollLeft, element.scrollTop] = [element.scrollWidth, element.scrollHeight]; });
      await expect(grid.getByRole('columnheader').last()).toContainText('0.9');
      await expect(grid.locator('.answer').filter({ hasText: '59' }).first()).toBeVisible();
      expect(await elements(page), `${width}`).toBeLessThan(MOST_ELEMENTS);
    }
    expect(new Set(asked)).toEqual(new Set(['25']));
    await expect(page.getByRole('searchbox', { name: 'Search tests' })).toBeVisible();
    await page.getByRole('button', { name: 'Answers' }).click();
    await expect(page).toHaveURL(/view=matrix$/);
    await expect(grid.locator('.answer')).toHaveCount(0);
    await page.goBack();
    await page.goto(`${server.origin}/runs/answers?view=matrix&answers=true`);
    await grid.getByRole('gridcell').filter({ hasText: '✓' }).getByRole('link').first().click();
    await expect(page).toHaveURL(/trials\/t-/);
  });

  test('run of several graders has their scores and its best provider', async ({ page, server }) => {
    await runner(['exec', '-q', 'scenarios/graded.toml', '--into', `${LIVE}/graded`], [0, 1]);
    // A kind of failures has the least score of its grader.
    await page.route('**/runs/*/failures', (route) => route.fulfill({ json: { counts: {}, trials: 1, kinds: [{ key: '0', outcome: 'failed', kind: 'grader strict below 0.25', trials: 1, groups: [], left_out: 0 }] } }));
    await page.goto(`${server.origin}/runs/graded`);
    await expect(page.getByText('at least 0.25')).toHaveCount(2);
    for (const name of ['left by kind', 'right by strict']) {
      await expect(page.getByRole('img', { name: `Scores of ${name}` })).toBeVisible();
    }
    await expect(page.getByText('trials by score of each grader')).toBeVisible();
    await page.goto(`${server.origin}/runs/graded?view=matrix`);
    const rates = page.getByRole('region', { name: 'Pass rates of the providers' });
    await expect(rates.getByRole('row').first()).toHaveText('Testsrightleft');
    // Both tables have the same columns.
    await expect(page.getByRole('grid').getByRole('columnheader')).toHaveText(['Test', /^right/, /^left/]);
    const columns = await Promise.all([rates, page.getByRole('grid')].map(async (one) => (await one.getByRole('columnheader', { name: 'left' }).boundingBox()).x));
    expect(Math.abs(columns[0] - columns[1])).toBeLessThan(4);
    await expect(rates.getByRole('row').filter({ hasText: 'topic law' }).locator('.best')).toHaveText(/^100\.0 % of \d+$/);
    await expect(rates.getByRole('row').filter({ hasText: 'topic law' }).getByRole('link').first()).toHaveAttribute('href', /topic%3Dlaw.*provider.*right/);
    const tests = page.getByRole('grid', { name: 'Tests and providers' }).getByRole('row');
    const all = await tests.count();
    await page.getByRole('searchbox', { name: 'Search tests' }).fill('no such test');
    await expect(page.getByText('No tests match.')).toBeVisible();
    await page.getByRole('searchbox', { name: 'Search tests' }).fill('');
    await expect(tests).toHaveCount(all);
    await page.getByRole('button', { name: 'Colours only' }).click();
    await expect(page.getByRole('grid').getByRole('columnheader')).toHaveText(['Test', 'right', 'left']);
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

const ADAPTIVE = `
[providers.echo]
plugin = "bundled:echo"
[[tests]]
id = "sure"
input = "a"
expect = { equals = "a" }
repeat = { min = 2, max = 10, width = 0.5 }
`;

test.describe('', () => {
  // The server is started after this.
  mkdirSync(`${process.env.ROOT}/adaptive`, { recursive: true });
  test.use({ flags: '--results adaptive --scenarios scenarios' });
  test('trials that adaptive repeats do not need are counted, and not listed', async ({ page, server }) => {
    writeFileSync(`${process.env.ROOT}/adaptive.toml`, ADAPTIVE);
    await runner(['exec', '-q', 'adaptive.toml', '--into', 'adaptive/2026-01-08_00-00-00-000-adaptive-00000008']);
    await page.goto(`${server.origin}/runs/latest`);
    const head = page.locator('.run-head');
    await expect(head.getByRole('img', { name: '4 passed, of 4' })).toBeVisible();
    await expect(head).toContainText('of 4 trials, 6 not needed');
    await expect(page.getByRole('grid', { name: 'Trials' }).getByRole('link')).toContainText(['#1', '#2', '#3', '#4']);
    await expect(page.getByRole('group', { name: 'Filters' }).getByRole('button').first()).toHaveText('All 4');
    await expect(page.getByRole('grid', { name: 'Trials' }).getByRole('row').filter({ hasText: 'sure' })).toHaveCount(4);
    await page.goto(`${server.origin}/runs/latest/trials/sure%40echo%232`);
    const repeats = page.getByRole('navigation', { name: 'Repeats' });
    await expect(repeats).toHaveText(/^Repeats ✓ 1✓ 2✓ 3✓ 4 · 4 of 4 passed$/);
    await expect(page.getByRole('heading', { level: 1 })).toContainText('sure@echo#2');
    await repeats.getByRole('link', { name: 'passed #1' }).click();
    await expect(page.getByRole('heading', { level: 1 })).toContainText('sure@echo#1');
    await page.goto(`${server.origin}/runs`);
    await expect(page.getByRole('row').filter({ hasText: 'adaptive' })).toContainText('4 of 4 passed');
  });
});

const KNOWN_RUN = 'known/2026-01-07_00-00-00-000-known-00000007';
const KNOWN = `
[[known.failures]]
tests = ["dates/*"]
reason = "offset lost, <b>issue 375</b>"
[[known.failures]]
tests = ["fixed"]
reason = "not yet"
[[known.failures]]
tests = ["fresh"]
reason = "a draft, issue 9"
until = 2020-02-29
[[known.failures]]
tests = ["gone/*"]
reason = "too long, issue 4"
[providers.echo]
plugin = "bundled:echo"
${[['fine', 'a'], ['dates/offset', 'b'], ['dates/local', 'c'], ['fixed', 'a'], ['fresh', 'd']].map(([id, output]) => `[[tests]]\nid = "${id}"\ninput = "a"\nexpect = { equals = "${output}", contains = "${output}" }`).join('\n')}
`;

test.describe('', () => {
  // The server is started after this.
  mkdirSync(`${process.env.ROOT}/known`, { recursive: true });
  test.use({ flags: '--results known --scenarios scenarios' });
  test('known failures have a chip, and unexpected passes are failures', async ({ page, server }) => {
    writeFileSync(`${process.env.ROOT}/known.toml`, KNOWN);
    await runner(['exec', '-q', 'known.toml', '--into', KNOWN_RUN], [1]);
    await page.goto(`${server.origin}/runs/latest`);
    const head = page.locator('.run-head');
    // The counts below are not repeated in the heading.
    await expect(head.locator('h1')).toHaveText('known ✗ failed');
    await expect(head.getByRole('img', { name: '2 unexpected, 2 known, 1 passed, of 5' })).toBeVisible();
    const failures = page.locator('section').filter({ has: page.getByRole('heading', { name: /^Failures/ }) });
    await expect(failures.getByRole('heading', { name: 'passes although known' })).toBeVisible();
    await expect(failures.locator('.group').filter({ hasText: 'fixed@echo' })).toContainText('not yet');
    await expect(failures).not.toContainText('dates/');
    // Each failed check is in its own kind, whose link lists exactly its trials.
    await expect(failures.getByRole('heading', { level: 2 })).toHaveText('Failures2 trials, 2 failed checks');
    await expect(failures.getByRole('link', { name: 'equals 1' })).toBeVisible();
    await failures.getByRole('link', { name: 'contains 1' }).click();
    await expect(page.getByRole('searchbox')).toHaveValue('check(contains) & outcome(failed) & unexpected()');
    await expect(page.getByRole('heading', { name: /^Trials/ })).toContainText('1 of 5 trials match');
    await expect(page.getByRole('grid', { name: 'Trials' })).toBeInViewport();
    await expect(page.getByRole('grid', { name: 'Trials' }).getByRole('row').filter({ hasText: 'fresh' })).toContainText('equals (+1 more check): ');
    await page.goBack();
    await expect(page.getByRole('group', { name: 'Filters' }).getByRole('button')).toHaveText(['All 5', 'Unexpected 2', 'Known 2']);

    const stale = [/^State/, /expired.*scenario:8.*fresh.*a draft, issue 9.*write a later until.*until 2020-02-29/, /unmatched.*scenario:12.*gone\/\*.*too long, issue 4.*Remove it/];
    await expect(page.getByRole('region', { name: 'Stale entries' }).getByRole('row')).toHaveText(stale);
    await expect(page.getByText(/^To write the results of this run into the lists: runner known \w+ --update$/)).toBeVisible();
    const known = page.locator('section').filter({ has: page.getByRole('heading', { name: 'Known failures2 trials, 2 stale entries' }) });
    await expect(known.locator('.group')).toHaveText(/^2 offset lost, <b>issue 375<\/b>.*dates\/local@echo#1.*and 1 more/);
    await known.getByRole('link', { name: 'offset lost' }).click();
    await expect(page.getByRole('heading', { name: /^Trials/ })).toContainText('2 of 5 trials match');
    await expect(page.getByRole('button', { name: 'Reason: offset lost' })).toBeVisible();

    const views = page.getByRole('navigation', { name: 'Views of the run' });
    await views.getByRole('link', { name: 'Matrix' }).click();
    await expect(page.locator('.legend')).toHaveText(/✓ passed.*✗ unexpected.*✗✓ passes although known.*≈ known/);
    const cell = (test) => page.getByRole('grid', { name: 'Tests and providers' }).getByRole('row').filter({ hasText: test }).getByRole('gridcell').last();
    for (const [test, sign] of [['offset', '≈'], ['fixed', '✗✓'], ['fresh', '✗'], ['fine', '✓']]) await expect(cell(test)).toHaveText(sign);
    await page.getByRole('button', { name: 'Colours only' }).click();
    await expect(page.locator('.legend')).toHaveText('passedunexpectedknown');
    await views.getByRole('link', { name: 'About' }).click();
    await expect(page.getByRole('region', { name: 'Stale entries' }).getByRole('row')).toHaveText(stale);
    await views.getByRole('link', { name: 'Overview' }).click();

    await head.getByRole('link', { name: '2 known' }).click();
    const trials = page.getByRole('grid', { name: 'Trials' }).getByRole('row');
    await expect(trials.filter({ hasText: 'dates/' })).toHaveCount(2);
    await expect(trials.filter({ hasText: 'fresh' })).toHaveCount(0);
    await expect(trials.filter({ hasText: 'offset' })).toContainText('known');
    await trials.filter({ hasText: 'offset' }).getByRole('link').click();
    await expect(page.getByRole('heading', { level: 1 })).toHaveText('dates/offset@echo ≈ known: offset lost, <b>issue 375</b>');
    await expect(page.locator('.note')).toHaveCount(0);
    await expect(page.getByText(/^Known failure, known.toml:\d+$|^Known failure, scenario:\d+$/)).toBeVisible();
    await page.goto(`${server.origin}/runs/latest/trials/fresh%40echo%231`);
    await expect(page.locator('.note')).toHaveText(/^Known failure, expired 2020-02-29: a draft, issue 9 · scenario:8\nIts last day is over/);

    await page.goto(`${server.origin}/runs/latest`);
    await head.getByRole('link', { name: '2 unexpected' }).click();
    await expect(trials.filter({ hasText: 'fixed' })).toContainText('passes although known: not yet');
    await expect(trials.filter({ hasText: 'dates/' })).toHaveCount(0);
    await trials.filter({ hasText: 'fixed' }).getByRole('link').click();
    await expect(page.getByRole('heading', { level: 1 })).toHaveText('fixed@echo ✗✓ passes although known');
    await expect(page.locator('.note')).toHaveText(/^Known failure: not yet · scenario:\d+\nTo remove its entry: runner known --update$/);

    // As in all pass rates, a pass is one although a failure was expected.
    await page.goto(`${server.origin}/runs`);
    const row = page.getByRole('grid', { name: 'Runs' }).getByRole('row').filter({ hasText: 'known' });
    await expect(row).toContainText('2 of 5 passed (1 although known), 2 known');
  });

  test('known failures are no failures beside other runs and providers', async ({ page, server }) => {
    const scenario = KNOWN.replace('[providers.echo]', '[providers.second]\nplugin = "bundled:echo"\n[providers.echo]');
    writeFileSync(`${process.env.ROOT}/both.toml`, scenario);
    for (const number of [1, 2]) await runner(['exec', '-q', 'both.toml', '--into', `known/2026-02-0${number}_00-00-00-000-both-0000000${number}`], [1]);
    await page.goto(`${server.origin}/runs/00000002`);
    const since = page.locator('.counts').filter({ hasText: /^Since/ });
    await expect(since.getByRole('link')).toHaveText(['00000001', '2 still failing', '2 passing although known', '4 known']);
    // A test with repeats counts once, and a graded run has scores.
    const path = `**${new URL(page.url()).pathname.replace('/runs/', '/api/v1/runs/')}`;
    const json = await read(page, new URL(page.url()).pathname);
    Object.assign(json.since_previous, { scores: [0.5, 0.75], pass_rates: [0.2, 0.3] });
    json.run.counts.skipped += 10;
    await page.route(path, (route) => route.fulfill({ json }));
    await page.reload();
    await expect(since).toContainText('(tests, each on a provider)');
    await expect(since).toContainText('mean score 0.50 → 0.75');
    await expect(since).toContainText('30.0 % passed ▲ 10.0 pp');
    await page.unroute(path);
    await since.getByRole('link', { name: '4 known' }).click();

    await expect(page.getByRole('group', { name: 'Changes' }).getByRole('link')).toHaveText(['2 still failing', '2 passing although known', '4 known', '2 passing']);
    await page.getByRole('link', { name: '4 known' }).click();
    const changes = page.getByRole('grid', { name: 'Changed results' }).getByRole('row');
    await expect(changes.filter({ hasText: 'dates/offset' })).toHaveText(Array(2).fill(/^known.*≈ known≈ knownoffset lost/));

    await page.goto(`${server.origin}/history?scenario=both`);
    await expect(page.locator('h1 + .lead')).toHaveText(/^4 results failing/);
    const test = page.getByRole('grid', { name: 'Results' }).getByRole('row').filter({ hasText: 'offset' }).first();
    await expect(test.locator('.since')).toHaveText('≈ known');
    await expect(test.locator('.run')).toHaveText(['≈', '≈']);
    await expect(page.locator('.counts').filter({ hasText: 'timeout' })).toContainText('≈ known');

    await page.goto(`${server.origin}/runs/00000002/trials/dates%2Foffset@echo%231`);
    await expect(page.getByRole('heading', { name: 'Past results' })).toContainText('≈ known in each of the last 2 runs');
    await expect(page.locator('.strip a')).toHaveText([/^≈/, /^≈/]);
    await expect(page.getByRole('heading', { name: 'second' })).toContainText('≈ known');

    await page.goto(`${server.origin}/runs/00000002?view=timeline`);
    await expect(page.locator('.counts').filter({ hasText: '≈ 4 known' })).toHaveText(/✗ 4 unexpected.*≈ 4 known.*✓ 2 passed/);
  });
});
