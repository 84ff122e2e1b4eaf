// The page of a trial.
import { LIVE, detach, expect, runner, stopRuns, test } from './fixtures.js';

const [BASE, NEW] = ['2026-01-01_00-00-00-000-every-00000001', '2026-01-02_00-00-00-000-every-00000002'];
const trial = (run, name) => `/runs/${run}/trials/${encodeURIComponent(name)}`;
const heading = (page) => page.getByRole('heading', { level: 1 });
const outputs = (page) => page.getByRole('group', { name: / and / });

test('failed trial has expected and actual output in columns', async ({ page, server }) => {
  await page.goto(server.origin + trial(NEW, 'fails@hostile#1'));
  await expect(heading(page)).toHaveText(/fails@hostile.*✗ failed/);
  await expect(page.getByText('equals: the output differs from the expected one')).toBeVisible();
  await expect(outputs(page).locator('mark')).toHaveText(['2', 'two']);
  await expect(page.getByRole('link', { name: 'other', exact: true })).toBeVisible();
  await expect(page.getByText('runner plugin run --from')).toBeVisible();
  await page.setViewportSize({ width: 400, height: 900 });
  await expect(outputs(page).locator('mark').last()).toBeInViewport({ ratio: 1 });
  await expect(outputs(page).locator('th').last()).toBeInViewport({ ratio: 1 });
});

test('long words and long reasons keep a trial in its bounds', async ({ page, server }) => {
  const path = trial(NEW, 'breaks@hostile#1');
  const document = await page.evaluate(async (url) => (await fetch(url)).json(), `/api/v1${path}`);
  document.reasons[0].text = 'line\n'.repeat(5000);
  document.outputs.forEach((one) => { one.reason = 'W'.repeat(900); });
  await page.route(`**/api/v1${path}`, (route) => route.fulfill({ json: document }));
  await page.goto(server.origin + path);
  await expect(page.locator('.cards .reason')).toContainText('WWW');
  expect(await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)).toBeLessThanOrEqual(0);
  expect((await page.locator('.reasons').boundingBox()).height).toBeLessThan(900);
  await page.getByText('All 5,001 lines').click();
  expect((await page.locator('.reasons').boundingBox()).height).toBeGreaterThan(5000);
});

test('trial has its reason first and its receipts last', async ({ page, server }) => {
  await page.goto(server.origin + trial(NEW, 'fails@hostile#1'));
  await expect(page.getByRole('heading', { level: 2 })).toHaveText([/^Reason/, /^Output/, /^Other providers/, /^Past results/, /^Input/, /^Usage/, /^Reproduce/]);
});

test('checks with the same key have their values', async ({ page, server }) => {
  const path = trial(NEW, 'fails@hostile#1');
  const document = await page.evaluate(async (url) => (await fetch(url)).json(), `/api/v1${path}`);
  Object.assign(document, { output: '"it is quite so"', expected_output: null, planned: { expect: { not: { contains: ['sure', 'quite'] } } }, reasons: [{ tone: 'reason', text: 'bad' }, { tone: 'actual', text: 'got      "it is quite so"' }] });
  document.rows.find((row) => row.seq === document.shown).checks = [{ kind: 'not.contains', verdict: 'pass' }, { kind: 'not.contains', verdict: 'fail', expected: 'quite' }];
  await page.route(`**/api/v1${path}`, (route) => route.fulfill({ json: document }));
  await page.goto(server.origin + path);
  await expect(page.locator('.groups li')).toHaveText(['✓ not.contains "sure"', '✗ not.contains "quite"']);
  await expect(page.getByLabel('Output', { exact: true }).locator('mark')).toHaveText('quite');
  await expect(page.locator('.reasons .actual')).toHaveCount(0);
});

test('trial names the development form of its provider', async ({ page, server }) => {
  const path = trial(NEW, 'fails@hostile#1');
  const document = await page.evaluate(async (url) => (await fetch(url)).json(), `/api/v1${path}`);
  await page.route(`**/api/v1${path}`, (route) => route.fulfill({ json: { ...document, development: true } }));
  await page.goto(server.origin + path);
  await expect(page.getByText(/^Attempt 1, session 1, development form, started/)).toBeVisible();
});

test('calls of an attempt open in place', async ({ page, server }) => {
  const path = trial(NEW, 'fails@hostile#1');
  const read = (url) => page.evaluate(async (address) => (await fetch(address)).json(), `/api/v1${url}`);
  const document = await read(path);
  const row = document.rows.find((one) => one.seq === document.shown);
  Object.assign(row, { calls: { count: 150, sha256: '00'.repeat(32) } });
  await page.route(`**/api/v1${path}`, (route) => route.fulfill({ json: document }));
  const call = (number) => ({
    id: number === 3 ? 'judge:1' : String(number), number, session: 1, method: 'POST', url: `http://model/${number}`, took_ms: 20, request_bytes: 9, response_bytes: 70000, request: '<b>\u202e', response: '<img src=x onerror=alert(1)>', redacted: false,
    ...(number === 2 ? { failure: 'timeout', message: 'no answer' } : { status: 200, tokens: 1234 }),
  });
  await page.route(`**/api/v1${path}/calls?**`, (route) => {
    const offset = Number(new URL(route.request().url()).searchParams.get('offset'));
    const numbers = Array.from({ length: offset ? 50 : 100 }, (_, at) => offset + at + 1);
    return route.fulfill({ json: { v: 1, run: NEW, trial: document.trial, attempt: 1, total: 150, calls: numbers.map(call) } });
  });
  await page.route('**/attempts/1/calls/*', (route) => {
    expect(route.request().headers().range).toBe('bytes=0-65535');
    return route.fulfill({ status: 206, headers: { 'content-range': 'bytes 0-65535/70000' }, body: '── response body ──\n<script>alert(2)</script>' });
  });
  await page.goto(server.origin + path);
  const list = page.locator('h2:has-text("Calls") + ul > li');
  await expect(page.getByRole('heading', { name: 'Calls' })).toHaveText('Calls150');
  await expect(list).toHaveCount(100);
  await expect(list.first()).toContainText('1 POST http://model/1 200 20 ms, 9 B sent, 68.4 KiB received, 1,234 tokens');
  await expect(list.first()).toContainText('← <img src=x onerror=alert(1)>');
  await expect(list.nth(1)).toContainText('timeout: no answer');
  await expect(list.nth(2)).toContainText('judge:1 POST http://model/3');
  await list.first().locator('summary').click();
  await expect(page.getByLabel('Call 1', { exact: true })).toContainText('<script>alert(2)</script>');
  await expect(page.getByText('4.4 KiB more: download the call')).toBeVisible();
  await expect(page.getByLabel('Download call 1', { exact: true })).toHaveAttribute('href', `/api/v1${path}/attempts/1/calls/1`);
  await page.getByRole('button', { name: 'Later calls' }).click();
  await expect(list).toHaveCount(50);
  await expect(list.first()).toContainText('101 POST');
  await page.getByRole('button', { name: 'Earlier calls' }).click();
  await expect(list.first()).toContainText('1 POST');
  await page.setViewportSize({ width: 400, height: 900 });
  expect(await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)).toBeLessThanOrEqual(0);
});

test('changes of a workspace open as diffs', async ({ page, server }) => {
  const path = trial(NEW, 'fails@hostile#1');
  const document = await page.evaluate(async (url) => (await fetch(url)).json(), `/api/v1${path}`);
  const row = document.rows.find((one) => one.seq === document.shown);
  row.workspace = { changes: '00'.repeat(32), added: 248, changed: 1, removed: 1, partial: true };
  row.checks = [{ kind: 'workspace.changed', verdict: 'fail', message: 'these changed: `<b>a`, `new/`', expected: ['src/**'], actual: ['<b>a', 'new/'] }];
  document.reasons = [{ tone: 'reason', text: 'workspace.changed: these changed' }, { tone: 'expected', text: 'expected  ["src/**"]' }, { tone: 'actual', text: 'got       ["<b>a"]' }];
  document.artifacts = ['workspace.jsonl', 'workspace.contents', 'a.txt'].map((name) => ({ seq: row.seq, name, media_type: 'text/plain', bytes: 3 }));
  await page.route(`**/api/v1${path}`, (route) => route.fulfill({ json: document }));
  const file = (bytes) => ({ kind: 'file', mode: 420, bytes, sha256: '00'.repeat(32) });
  const changes = [{ path: '<b>a', change: 'changed', kind: 'file', before: file(3), after: file(2048) }, { path: 'gone', change: 'removed', kind: 'file', before: file(3) },
    { path: 'new', change: 'added', kind: 'folder', after: { kind: 'folder' } }, { path: 'new/link', change: 'added', kind: 'link', after: { kind: 'link', target: '../gone' } },
    ...Array.from({ length: 196 }, (_, at) => ({ path: `new/${at}`, change: 'added', kind: 'file', after: file(at) }))];
  await page.route(`**/api/v1${path}/changes?attempt=1`, (route) => route.fulfill({ json: { v: 1, run: NEW, trial: document.trial, attempt: 1, workspace: row.workspace, total: 250, changes } }));
  await page.route('**/attempts/1/changes/*', (route) => route.fulfill({ status: 206, headers: { 'content-range': 'bytes 0-65535/70000' },
    body: `diff --git a/a b/a\n--- a/a\n+++ b/a\n@@ -7,2 +7,2 @@\n same\n-<img src=x onerror=alert(1)>\n+fresh\n${' \n'.repeat(2000)}` }));
  await page.goto(server.origin + path);
  const list = page.locator('h2:has-text("Changes") + ul > li');
  await expect(page.locator('.reasons')).toHaveText('workspace.changed: these changed');
  await expect(page.locator('h2:has-text("Files") + ul > li')).toHaveText([/^Downloada\.txt/]);
  await expect(page.getByRole('heading', { name: 'Changes' })).toHaveText('Changes248 added, 1 changed, 1 removed, partial');
  await expect(list).toHaveCount(200);
  await expect(list.locator('.failed.mark')).toHaveText(['✗ <b>a', '✗ new']);
  await expect(list.first()).toContainText('<b>a changed, 2 KiB');
  await expect(list.nth(3)).toContainText('new/link added link → ../gone');
  await expect(list.nth(2).locator('details')).toHaveCount(0);
  await expect(page.getByText('and 50 more changes: ')).toContainText('--diff');
  await list.first().locator('summary').click();
  const shown = page.getByLabel('Changes of <b>a');
  await expect(shown.locator('del')).toHaveText('-<img src=x onerror=alert(1)>\n');
  await expect(shown.locator('ins')).toHaveText('+fresh\n');
  await expect(shown.locator('[data-n]').nth(2)).toHaveAttribute('data-n', '8');
  await expect(shown.locator('.fold')).toHaveText('6 equal lines\n');
  await expect(page.getByText('1,004 more lines: download the diff')).toBeVisible();
  await expect(page.getByLabel('Download the diff of <b>a')).toHaveAttribute('href', `/api/v1${path}/attempts/1/changes/0`);
  await list.nth(1).locator('summary').click();
  await expect(page.locator('pre.diff')).toHaveCount(2);

  // Short diffs are open at once.
  const text = 'diff --git a/gone b/gone\ndeleted file mode 100644\n--- a/gone\n+++ /dev/null\n@@ -1,2 +0,0 @@\n-one\n-two\n';
  await page.route('**/attempts/1/changes/*', (route) => route.fulfill({ body: text }));
  changes.splice(2);
  await page.reload();
  await expect(page.getByLabel('Changes of gone')).toHaveText('-one\n-two\n');
  await expect(list.nth(1).locator('summary')).toHaveText('gone removed, 3 B −2');
  await expect(page.locator('pre.diff')).toHaveCount(2);
});

test('transcript of 100,000 steps opens at once, is filtered, and scrolls with few elements', async ({ page, server }) => {
  const path = trial(NEW, 'fails@hostile#1');
  const document = await page.evaluate(async (url) => (await fetch(url)).json(), `/api/v1${path}`);
  document.rows.find((one) => one.seq === document.shown).transcript = { steps: 100_000, dropped: 7, sha256: '00'.repeat(32) };
  await page.route(`**/api/v1${path}*`, (route) => route.fulfill({ json: document }));
  const text = (words, bytes = words.length) => ({ text: words, bytes, folded: bytes > words.length });
  const failed = [20_000, 70_000].map((step) => ({ step, kind: 'transcript.never', message: 'these may not be called, but were: `refund`' }));
  const stepOf = (step) => ({
    step, source: step % 2 ? 'user' : 'agent', claimed: step === 4, copied: step === 1, model: step % 2 ? undefined : 'gpt', took_ms: 12, input_tokens: 1200,
    message: text(`</p><script>alert(1)</script> ${step}\u202e`), calls: step % 2 ? [] : [{ tool: step % 10_000 ? 'look' : 'refund', arguments: text('{"order":17}') }],
    results: step % 2 ? [] : [text('first line\nsecond', 5000)], error: step === 2 ? 'timeout' : undefined, left_out: 0, failed: failed.filter((one) => one.step === step).map((one) => `${one.kind}: ${one.message}`),
  });
  const requests = [];
  let slow = Promise.resolve();
  await page.route(`**/api/v1${path}/transcript?*`, async (route) => {
    const keys = new URL(route.request().url()).searchParams;
    requests.push(keys);
    if (!keys.get('tool')) await slow;
    const every = keys.get('tool') === 'refund' ? 10_000 : 1;
    const [total, limit] = [100_000 / every, Number(keys.get('limit'))];
    const offset = keys.has('near') ? Number(keys.get('near')) - 6 : Number(keys.get('offset'));
    const steps = Array.from({ length: Math.min(limit, total - offset) }, (_, at) => stepOf((offset + at + 1) * every));
    return route.fulfill({ json: { v: 1, attempt: 1, calls: 50_000, tools: [{ tool: 'look', calls: 49_990 }, { tool: 'refund', calls: 10 }, { tool: 'a-long-name-'.repeat(30), calls: 1 }], failed, total, offset, steps } });
  });
  await page.route('**/attempts/1/steps/*', (route) => route.fulfill({ status: 206, headers: { 'content-range': 'bytes 0-65535/70000' }, body: `all <b>of it</b> ${route.request().url()}` }));
  await page.addInitScript(() => {
    // The time from the answer to the first step.
    new MutationObserver(() => {
      if (!window.drawn && document.querySelector('.transcript > .line')) {
        const [answer] = performance.getEntriesByType('resource').filter(({ name }) => name.includes('/transcript?'));
        window.drawn = performance.now() - answer?.responseEnd;
      }
    }).observe(document, { childList: true, subtree: true });
  });
  await page.goto(server.origin + path);
  const [list, steps] = [page.getByRole('region', { name: 'Transcript' }), page.locator('.transcript > .line')];
  await expect(page.getByRole('heading', { name: 'Transcript' })).toHaveText('Transcript100,000 steps, 50,000 calls of tools');
  await expect(steps.first()).toContainText('user 12 ms, 1,200 tokens in, given by the test');
  await expect(steps.first()).toContainText('</p><script>alert(1)</script> 1\\u{202e}');
  await expect(steps.nth(1)).toContainText('→ look({"order":17})');
  await expect(steps.nth(1)).toContainText('✗ timeout: first line\nsecond … 4.9 KiB in all');
  await expect(steps.nth(3)).toContainText('the agent’s own word');
  await expect(page.getByText('7 more steps did not fit limits.transcript')).toBeVisible();
  const drawn = await page.evaluate(() => window.drawn);
  console.log(`transcript of 100,000 steps: first screen ${drawn.toFixed()} ms after its data`);
  // On a slow machine, too, far below the time of 100,000 steps.
  expect(drawn).toBeLessThan(10_000);

  // A folded result opens in place.
  await steps.nth(1).locator('summary').click();
  await expect(page.getByLabel('Step 2 in full')).toContainText('all <b>of it</b>');
  await expect(page.getByText('4.4 KiB more: download transcript.json')).toBeVisible();

  // Elements stay few while it is scrolled, and the visible ones do not move.
  for (let at = 0; at < 8; at += 1) {
    const before = requests.length;
    await list.evaluate((place) => { place.scrollTop = place.scrollHeight; });
    await expect.poll(() => requests.length).toBeGreaterThan(before);
    await expect(steps.last()).toHaveAttribute('id', `step-${Number((requests.at(-1).get('offset') ?? 0)) + 50}`);
    expect(await steps.count()).toBeLessThanOrEqual(150);
  }

  // Enter leads to the failed calls, and their address to the step.
  await list.focus();
  await page.keyboard.press('Enter');
  await expect(page.locator('.hit')).toHaveAttribute('id', 'step-20000');
  await expect(page.locator('.hit')).toContainText('✗ transcript.never: these may not be called, but were: refund');
  await expect(page.locator('.hit')).toBeInViewport();
  await page.keyboard.press('Enter');
  await expect(page.locator('.hit')).toHaveAttribute('id', 'step-70000');
  await page.keyboard.press('Shift+Enter');
  await expect(page.locator('.hit')).toHaveAttribute('id', 'step-20000');
  await expect(page).toHaveURL(/#step-20000$/);
  await page.reload();
  await expect(page.locator('.hit')).toBeInViewport();
  await expect(page.locator('.hit')).toHaveAttribute('id', 'step-20000');
  // The steps before it can be scrolled to.
  await expect(page.locator('#step-19960')).toHaveCount(1);
  await list.focus();
  await page.keyboard.press('End');
  await expect(steps.last()).toHaveAttribute('id', 'step-100000');
  await expect(steps.last()).toBeInViewport();
  await page.keyboard.press('Home');
  await expect(steps.first()).toHaveAttribute('id', 'step-1');

  // A late answer changes nothing.
  let release;
  slow = new Promise((resolve) => { release = resolve; });
  const [before, late] = [requests.length, page.waitForResponse((answer) => answer.url().includes('/transcript?') && !answer.url().includes('tool=r'))];
  await list.evaluate((place) => { place.scrollTop = place.scrollHeight; });
  await expect.poll(() => requests.length).toBeGreaterThan(before);
  // A guest names its tools.
  expect((await page.getByLabel('Tool').boundingBox()).width).toBeLessThan(400);
  await page.getByLabel('Tool').selectOption('refund');
  await expect(steps).toHaveCount(10);
  release();
  await (await late).finished();
  await expect(steps).toHaveCount(10);
  await expect(page.getByText('10 of 100,000 steps')).toBeVisible();
  await expect(page).toHaveURL(/tool=refund/);
  // A failed call of another tool ends the filter.
  await page.getByLabel('Tool').selectOption('look');
  await expect(steps.first()).toHaveAttribute('id', 'step-1');
  await page.getByRole('button', { name: 'Next failed call' }).click();
  await expect(page.locator('.hit')).toBeInViewport();
  await expect(page.getByLabel('Tool')).toHaveValue('');
  await expect(page).not.toHaveURL(/tool=/);
});

test('continued trial shows the calls of its journal', async ({ page, server }) => {
  const path = trial(NEW, 'fails@hostile#1');
  const document = await page.evaluate(async (url) => (await fetch(url)).json(), `/api/v1${path}`);
  const row = document.rows.find((one) => one.seq === document.shown);
  await page.route(`**/api/v1${path}`, (route) => route.fulfill({ json: document }));
  for (const [count, continued, text] of [[1, undefined, '1 call'], [1200, 1, '1,200 calls · continued once'], [40, 3, '40 calls · continued 3 times']]) {
    Object.assign(row, { calls: { count, sha256: '00'.repeat(32) }, continued });
    await page.goto(server.origin + path);
    await expect(page.getByText('Journal', { exact: true }).locator('+ dd')).toHaveText(text);
  }
});

test('trial shows numbers as they are written', async ({ page, server }) => {
  await page.goto(server.origin + trial(NEW, 'large@hostile#1'));
  await expect(outputs(page)).toContainText('12345678901234567891');
  await expect(outputs(page)).toContainText('12345678901234567890');
  await page.goto(server.origin + trial(NEW, 'differs@hostile#1'));
  await expect(outputs(page)).toContainText('"a": 1.0');
});

test('json expectation is in columns without differences that it allows', async ({ page, server }) => {
  await page.goto(server.origin + trial(NEW, 'differs@hostile#1'));
  await expect(page.getByRole('heading', { name: /^Output/ })).toHaveText('Outputonly the expected keys are compared, and numbers may differ by 0.1');
  await expect(outputs(page).locator('mark')).toHaveText(['3', '2']);
  await expect(outputs(page).getByText('"c": "more"')).toHaveCount(2);
  await expect(page.getByRole('heading', { name: 'Expectations' })).toHaveCount(0);
  await expect(page.locator('.cards').getByText('the same output')).toBeVisible();
});

test('repeats of a trial have their numbers', async ({ page, server }) => {
  await page.goto(server.origin + trial(NEW, 'fails@hostile#2'));
  await expect(heading(page)).toContainText('fails@hostile#2');
  await expect(page).toHaveTitle('fails@hostile#2 · runner');
});

test('attempts of a trial are tabs', async ({ page, server }) => {
  await page.goto(server.origin + trial(NEW, 'recovers@hostile#1'));
  await expect(heading(page)).toContainText('~ flaky');
  const attempts = page.getByRole('navigation', { name: 'Attempts' });
  await attempts.getByRole('link', { name: 'attempt 1' }).click();
  await expect(page).toHaveURL(/attempt=1/);
  await expect(heading(page)).toContainText('! error');
});

test('log line has an address, and a picture is shown', async ({ page, server }) => {
  await page.goto(`${server.origin}${trial(NEW, 'logs@hostile#1')}#log-1`);
  await expect(page.locator('.line:target')).toContainText('careful');
  await page.route('**/log', (route) => route.fulfill({ body: 'careful\n── standard error ──\npanicked\n' }));
  await page.reload();
  await expect(page.locator('.line.stderr')).toHaveText([/standard error/, /panicked/]);
  await page.goto(server.origin + trial(NEW, 'draws@hostile#1'));
  const picture = page.getByRole('img', { name: 'dot.png' });
  await expect.poll(() => picture.evaluate((image) => image.naturalWidth)).toBeGreaterThan(0);
});

test('printed trial has its run, its values and its whole log, without buttons', async ({ page, server }) => {
  await page.goto(server.origin + trial(NEW, 'logs@hostile#1'));
  await expect(page.locator('.line').first()).toBeVisible();
  await page.emulateMedia({ media: 'print' });
  await expect(page.getByText('every 00000002')).toBeVisible();
  await expect(page.getByText('runner plugin run --from')).toBeVisible();
  await expect(page.locator('button, .buttons, nav').filter({ visible: true })).toHaveCount(0);
  const log = page.getByLabel('Log', { exact: true });
  expect(await log.evaluate((element) => element.scrollHeight - element.clientHeight)).toBe(0);
});

test.describe('', () => {
  test.use({ flags: '--results texts' });
  test('printed differences have the number of lines that are left out', async ({ page, server }) => {
    await page.goto(server.origin + trial('2026-01-06_00-00-00-000-texts-88888888', 'long@echo#1'));
    await expect(outputs(page).locator('mark').first()).toBeVisible();
    await page.emulateMedia({ media: 'print' });
    await expect(outputs(page).getByText('27 equal lines')).toBeVisible();
  });
});

test('keys lead through the filtered list and back to it', async ({ page, server }) => {
  await page.goto(`${server.origin}/runs/${NEW}?filter=${encodeURIComponent('test(fails)')}&sort=plan`);
  const rows = page.getByRole('grid', { name: 'Trials' }).getByRole('row');
  await rows.filter({ hasText: '@hostile' }).first().getByRole('link').click();
  await expect(heading(page)).toContainText('fails@hostile');
  const [first, words] = [page.url(), await heading(page).textContent()];
  await page.keyboard.press('j');
  // The page that is left stays until the next one has its data, and keys work once that one is shown.
  await expect(heading(page)).not.toHaveText(words);
  await expect(page).not.toHaveURL(first);
  await page.keyboard.press('k');
  await expect(heading(page)).toHaveText(words);
  await expect(page).toHaveURL(first);
  await page.keyboard.press('u');
  await expect(page).toHaveURL(/filter=test%28fails%29&sort=plan/);
});

test('key and link lead back to the place in the list', async ({ page, server }) => {
  await page.setViewportSize({ width: 1280, height: 400 });
  await page.goto(`${server.origin}/runs/${NEW}`);
  const grid = page.getByRole('grid', { name: 'Trials' });
  const top = () => grid.evaluate((element) => element.scrollTop);
  for (const back of [() => page.keyboard.press('u'), () => page.getByRole('link', { name: 'every 00000002' }).click()]) {
    await grid.evaluate((element) => { element.scrollTop = 500; });
    await grid.getByRole('link').last().click();
    await expect(page.getByRole('heading', { name: 'Reproduce' })).toBeVisible();
    await back();
    await expect(grid).toBeVisible();
    await expect.poll(top).toBeGreaterThan(400);
  }
});

test('changed test has both outputs next to each other', async ({ page, server }) => {
  await page.goto(`${server.origin}/compare?base=${BASE}&new=${NEW}`);
  await page.getByRole('link', { name: 'fails @hostile' }).click();
  await expect(page).toHaveURL(new RegExp(`base=${BASE}`));
  await expect(outputs(page).getByRole('columnheader')).toHaveText(['Base', 'New']);
  await expect(outputs(page).locator('mark')).toHaveText(['1', 'one']);
  // The next trial is compared, too, and the page above is the comparison.
  await expect(heading(page)).toBeFocused();
  await expect(page.getByRole('link', { name: 'Next →' })).toHaveAttribute('href', new RegExp(`base=${BASE}`));
  await expect(page.getByRole('link', { name: 'every 00000001 → 00000002' })).toBeVisible();
  await page.keyboard.press('u');
  await expect(page).toHaveURL(new RegExp(`compare.base=${BASE}&new=${NEW}`));
});

test.describe('', () => {
  test.use({ flags: '--results texts' });

  test('equal lines are folded, and words that differ are marked', async ({ page, server }) => {
    await page.goto(server.origin + trial('latest', 'long@echo#1'));
    await expect(outputs(page).locator('mark')).toHaveText(['the', 'a long']);
    await expect(outputs(page).locator('tbody tr')).toHaveCount(9);
    await outputs(page).getByRole('button', { name: '27 equal lines' }).click();
    await expect(outputs(page).locator('tbody tr')).toHaveCount(35);
    await page.setViewportSize({ width: 400, height: 900 });
    const [old, fresh] = await Promise.all(['old', 'fresh'].map((kind) => outputs(page).locator(`.${kind}`).boundingBox()));
    expect(fresh.y).toBeGreaterThan(old.y);
  });

  test('files open in place as text or as a table', async ({ page, server }) => {
    const open = async (name) => {
      await page.goto(server.origin + trial('2026-01-05_00-00-00-000-files-99999999', `${name}@hostile#1`));
      await page.locator('summary').filter({ hasText: name === 'zeros' ? 'file-0' : name }).click();
    };
    await open('table.csv');
    const table = page.getByRole('region', { name: 'table.csv' });
    await expect(table.getByRole('columnheader')).toHaveText(['name', 'score']);
    await expect(table.getByRole('cell')).toHaveText(['a, "b"', '1', '</td><script>alert(1)</script>', '2']);
    await open('data.json');
    await expect(page.getByLabel('data.json', { exact: true })).toHaveText('{\n  "a": 1.0,\n  "b": [\n    1,\n    2\n  ]\n}');
    await open('page.html');
    await expect(page.getByLabel('page.html', { exact: true })).toContainText('<script>alert(1)</script>');
    await expect(page.getByRole('link', { name: 'Download page.html' })).toHaveAttribute('download', 'page.html');
    await open('long.log');
    const log = page.getByLabel('long.log', { exact: true });
    const lines = async () => (await log.textContent()).split('\n').length;
    await expect.poll(lines).toBe(3641);
    await page.getByRole('button', { name: 'Show more of' }).click();
    await expect.poll(lines).toBe(5001);
    await expect(page.getByRole('button', { name: 'Show more of' })).toHaveCount(0);
    await open('zeros');
    await expect(page.getByText('The file is not a text.')).toBeVisible();
  });

  test('verdict of a grader is shown once, in the text font', async ({ page, server }) => {
    await page.goto(server.origin + trial('2026-01-05_00-00-00-000-files-99999999', 'graded@hostile#1'));
    await expect(page.getByText('It repeats the question.')).toHaveCount(1);
    await expect(page.getByRole('heading', { name: 'Expectations' })).toHaveCount(0);
    await expect(page.getByRole('heading', { level: 2 })).toHaveText([/^Reason/, /^Output/, /^Input/, /^Usage/, /^Reproduce/]);
    const font = (place) => place.evaluate((one) => getComputedStyle(one).fontFamily);
    expect(await font(page.getByText('It repeats the question.'))).toBe(await font(page.locator('body')));
    expect(await font(page.locator('pre').first())).toContain('monospace');
    // The overview of the run has the same form.
    await page.goto(`${server.origin}/runs/2026-01-05_00-00-00-000-files-99999999`);
    await page.locator('.group > details > summary').filter({ hasText: 'It repeats the question.' }).click();
    await expect(page.locator('.group details .groups > li').first()).toHaveText(/^✗ judge · score [\d.]+.*It repeats the question\.$/);
  });

  test('output in a file has the lines around its difference', async ({ page, server }) => {
    await page.goto(server.origin + trial('latest', 'huge@echo#1'));
    await expect(page.getByText('+03000 of a long answer')).toBeVisible();
    await expect(page.getByText('In the file output.json')).toBeVisible();
    await expect(page.getByText('$artifact')).toHaveCount(0);
    expect(await page.locator('*').count()).toBeLessThan(2000);
  });
});

test.describe('', () => {
  test.use({ flags: `--results ${LIVE} --scenarios scenarios` });
  test.afterEach(stopRuns);

  test('running trial shows its output until it ends', async ({ page, server }) => {
    const run = await detach('scenarios/talks.toml', '--results', LIVE, '-j', '2');
    await page.goto(server.origin + trial(run, 'talks@hostile#1'));
    await expect(heading(page)).toContainText('○ running');
    await expect(page.getByLabel('Last output')).toContainText('careful');
    await expect(page.getByText(/has been running for \d/)).toBeVisible();
    await runner(['pause', run, '--results', LIVE]);
    await expect(heading(page)).toContainText('paused');
    await expect(page.getByText(/is paused after \d/)).toBeVisible();
    await runner(['stop', run, '--kill', '--results', LIVE]);
    await expect(heading(page)).not.toContainText('paused');
  });

  test('stopped trial that is resumed is shown as running', async ({ page, server }) => {
    const run = await detach('scenarios/talks.toml', '--results', LIVE, '-j', '2');
    await page.goto(server.origin + trial(run, 'talks@hostile#1'));
    await expect(heading(page)).toContainText('○ running');
    await runner(['stop', run, '--results', LIVE]);
    await expect(heading(page)).toContainText('⊘ stopped');
    await runner(['resume', `${LIVE}/${run}`, '--detach']);
    await expect(heading(page)).toContainText('○ running');
  });

  test('new result of a trial is shown', async ({ page, server }) => {
    await runner(['exec', '-q', 'scenarios/again.toml', '--into', `${LIVE}/once-more`], [1]);
    await page.goto(server.origin + trial('once-more', 'nap@hostile#1'));
    await expect(heading(page)).toContainText('✗ failed');
    await runner(['resume', `${LIVE}/once-more`, '--rerun', 'failed', '--detach']);
    await expect(page.getByText('Attempt 2, session 2')).toBeVisible();
    await expect(heading(page)).toContainText('✗ failed');
  });

  test('trial that waits for its retry has the reason and the time', async ({ page, server }) => {
    const run = await detach('scenarios/retries.toml', '--results', LIVE);
    await page.goto(server.origin + trial(run, 'breaks@hostile#1'));
    await expect(heading(page)).toContainText('waiting');
    await expect(page.getByText(/waits for its retry, time left: \d/)).toBeVisible();
  });
});
