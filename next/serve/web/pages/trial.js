// @ts-check
// A trial: why it did not pass, expected and actual output, the outputs of other providers, past results, logs and files.

import { get, query, request, runPath, trialPath } from '../base/api.js';
import { sides } from '../base/diff.js';
import { pretty } from '../base/json.js';
import { follow } from '../base/live.js';
import { go } from '../base/router.js';
import { copyable, el, link, paced, render, soon } from '../base/ui.js';
import { duration, number, outcome, plural, since, size, time } from '../base/words.js';

const IMAGES = /^image\/(png|jpeg|gif|webp)$/;

/** @type {import('../base/router.js').Open} */
export async function open({ place, address, names: [run, name] }) {
  const attempt = address.searchParams.get('attempt') ?? '';
  const base = address.searchParams.get('base') ?? '';
  const path = trialPath(run, name);
  /** @type {any} */
  let trial = await get(`${path}${query({ attempt })}`);
  /** The attempt that runs now. @type {any} */
  let running = null;
  const earlier = base ? await get(trialPath(base, name)).catch(() => null) : null;
  const near = await neighbours(run, trial.trial);
  let search = '';
  let log = '';

  const draw = soon(() => render(place, content()));
  async function readLog() {
    log = trial.logs.length ? await (await request(`${path}/log${query({ attempt })}`)).text() : '';
  }
  const refresh = paced(1000, async () => {
    // Without a connection the page stays as it is.
    const [fresh, live] = await Promise.all([get(`${path}${query({ attempt })}`), get(`${runPath(run)}/live`)]).catch(() => [trial, null]);
    trial = fresh;
    running = (live?.live?.in_flight ?? []).find((/** @type {any} */ one) => one.trial === trial.trial) ?? null;
    await readLog().catch(() => {});
    draw();
  });

  const shownRow = () => trial.rows.find((/** @type {any} */ row) => row.seq === trial.shown) ?? null;

  function content() {
    const row = shownRow();
    return [
      el('header', null,
        el('p', { class: 'crumbs' }, link('/runs', 'Runs'), ' / ', link(runPath(trial.run), trial.run), ' / ', link(`${runPath(trial.run)}${query({ filter: `test("${trial.test}")` })}`, trial.test)),
        el('h1', null, trial.test, el('span', { class: 'quiet' }, `@${trial.provider} `), state(row)),
        facts(row), attempts(row),
        el('p', { class: 'buttons' }, near.before && link(trialPath(run, near.before), '← Previous'), near.after && link(trialPath(run, near.after), 'Next →'))),
      now(), reasons(), texts(), others(), checks(row), grades(row), past(), output(), usage(row), files(),
      trial.rows.length > 0 && [el('h2', null, 'Reproduce'), copyable(trial.reproduce)],
    ];
  }

  /** @param {any} row */
  function state(row) {
    if (running) return outcome('running');
    return row ? outcome(row.flaky ? 'flaky' : row.outcome) : outcome('planned', 'not run yet');
  }

  /** @param {any} row */
  const facts = (row) => row && el('p', { class: 'quiet' }, `Attempt ${row.attempt}, session ${row.session}, started `, time(row.started_at, 'full'), `, took ${duration(row.duration_ms)}`,
    row.score === undefined ? null : `, score ${number(row.score)}`);

  /** @param {any} row */
  function attempts(row) {
    if (trial.rows.length < 2) return null;
    return el('nav', { class: 'tabs', 'aria-label': 'Attempts' }, trial.rows.map((/** @type {any} */ one) =>
      el('a', { href: `${path}${query({ attempt: one.attempt, base })}`, 'aria-current': one.seq === row?.seq ? 'page' : null }, outcome(one.outcome, `attempt ${one.attempt}`))));
  }

  function now() {
    if (!running) return null;
    const what = running.what ?? running.phase ?? 'starts';
    return el('section', { class: 'note running' }, `Attempt ${running.attempt} runs for ${duration(running.ms)}: ${what} for ${duration(since(running.since))}.`,
      running.output?.text ? el('pre', { tabindex: 0, 'aria-label': 'Last output' }, running.output.text) : null);
  }

  function reasons() {
    if (!trial.reasons.length) return null;
    return [el('h2', null, 'Reason'), el('div', { class: 'reasons' }, trial.reasons.map((/** @type {any} */ line) => el('p', { class: `pre ${line.tone}` }, line.text)))];
  }

  /** Expected and actual output, or that of the base of a comparison. */
  function texts() {
    const input = trial.input === null ? null : el('details', { open: trial.input.length < 2000 }, el('summary', null, 'Input'), block(trial.input, 'Input'));
    const expected = trial.expected && trial.expected_output === null ? el('details', { open: trial.expected.length < 2000 }, el('summary', null, 'Expectations'), block(trial.expected, 'Expectations')) : null;
    const { output } = trial;
    if (earlier?.output && output !== null) return [el('h2', null, 'Output'), sides(pretty(earlier.output), pretty(output), ['Base', 'New']), input, expected];
    if (trial.expected_output !== null && output !== null && trial.expected_output !== output) {
      return [el('h2', null, 'Output'), sides(pretty(trial.expected_output), pretty(output), ['Expected', 'Actual']), input, expected];
    }
    return [output !== null && [el('h2', null, 'Output'), block(output, 'Output')], input, expected];
  }

  function others() {
    const list = trial.outputs;
    if (list.length < 2) return null;
    const card = (/** @type {any} */ one) => el('section', { key: one.trial }, el('h3', null, link(trialPath(run, one.trial), one.provider), ' ', outcome(one.flaky ? 'flaky' : one.outcome),
      el('span', { class: 'quiet' }, ` ${duration(one.duration_ms)}${one.score === null ? '' : ` · score ${number(one.score)}`}`)),
    one.reason && el('p', { class: 'reason' }, one.reason), one.output === null ? el('p', { class: 'quiet' }, 'no output') : block(one.output, `Output of ${one.provider}`));
    return [el('h2', null, 'Providers'), el('div', { class: 'cards' }, list.map(card))];
  }

  /** @param {any} row */
  function checks(row) {
    if (!row?.checks?.length) return null;
    return [el('h2', null, 'Checks'), el('ul', { class: 'groups' }, row.checks.map((/** @type {any} */ one) => el('li', null,
      outcome({ pass: 'passed', fail: 'failed' }[/** @type {string} */ (one.verdict)] ?? one.verdict, one.name), one.own ? el('span', { class: 'quiet' }, ' by the provider') : null,
      one.score === undefined ? null : ` · ${number(one.score)}`)))];
  }

  /** @param {any} row */
  function grades(row) {
    if (!row?.grades?.length) return null;
    return [el('h2', null, 'Grades'), el('ul', { class: 'groups' }, row.grades.map((/** @type {any} */ one) => el('li', null,
      outcome({ pass: 'passed', fail: 'failed' }[/** @type {string} */ (one.verdict)] ?? (one.error ? 'error' : 'ungraded'), one.grader),
      one.score === undefined ? null : ` · score ${number(one.score)}${one.min_score === undefined ? '' : ` (at least ${number(one.min_score)})`}`,
      one.explanation && el('p', { class: 'pre' }, one.explanation), one.error && el('p', { class: 'pre failed' }, one.error.message), one.log && el('pre', { tabindex: 0 }, one.log))))];
  }

  /** The results in the last runs of the scenario. */
  function past() {
    const list = trial.history;
    if (list.length < 2) return null;
    const word = (/** @type {any} */ one) => (one.flaky ? 'flaky' : one.outcome);
    const last = list.at(-1);
    const start = list.findLastIndex((/** @type {any} */ one) => word(one) !== word(last)) + 1;
    const since_ = start > 0 ? [`${word(last)} since `, link(runPath(list[start].run), time(list[start].run_started_at, 'full'))] : `always ${word(last)} in the last ${plural(list.length, 'run')}`;
    return [el('h2', null, 'Past results'), el('p', { class: 'strip' }, list.map((/** @type {any} */ one) =>
      el('a', { href: trialPath(one.run, trial.trial), 'aria-label': `${word(one)} in ${one.run}`, title: `${word(one)}, ${duration(one.duration_ms)}, ${new Date(one.run_started_at).toLocaleString()}` }, outcome(word(one), '')))),
    el('p', null, since_)];
  }

  function output() {
    if (!log) return null;
    const lines = log.replace(/\n$/, '').split('\n');
    const shown = lines.map((text, at) => ({ text, at: at + 1 })).filter(({ text }) => text.toLowerCase().includes(search));
    return [el('h2', null, 'Log'), el('div', { class: 'filters' }, el('input', { type: 'search', placeholder: 'Show only lines with…', 'aria-label': 'Search the log',
      oninput: (/** @type {any} */ event) => { search = event.target.value.toLowerCase(); draw(); } }), el('span', { class: 'quiet' }, plural(shown.length, 'line'))),
    el('div', { class: 'log short', tabindex: 0, role: 'log', 'aria-label': 'Log of the attempt' }, shown.slice(0, 5000).map(({ text, at }) => el('div', { class: 'line', id: `log-${at}`, 'data-n': at, key: at }, text || ' ')))];
  }

  /** @param {any} row */
  function usage(row) {
    if (!row) return null;
    const { usage: used = {}, metrics = [], denied = [] } = row;
    const facts_ = [['Memory', used.peak_memory && size(used.peak_memory)], ['Input', used.bytes_in && size(used.bytes_in)], ['Output', used.bytes_out && size(used.bytes_out)],
      ['Host calls', used.host_calls && String(used.host_calls)], ['HTTP requests', used.http_requests && String(used.http_requests)],
      ...metrics.map((/** @type {any} */ one) => [one.name, `${number(Number(one.value))} ${one.unit ?? ''}`]),
      ...denied.map((/** @type {any} */ one) => ['Denied', one.what])];
    return [el('h2', null, 'Usage'), el('dl', { class: 'facts-list' }, facts_.filter(([, value]) => value).map(([key, value]) => [el('dt', null, key), el('dd', null, value)]))];
  }

  function files() {
    const list = trial.artifacts.filter((/** @type {any} */ one) => one.seq === trial.shown);
    if (!list.length) return null;
    const row = shownRow();
    return [el('h2', null, 'Files'), el('ul', { class: 'groups' }, list.map((/** @type {any} */ one) => {
      const href = `/api/v1${path}/attempts/${row.attempt}/files/${encodeURIComponent(one.name)}`;
      return el('li', { key: one.name }, el('a', { href, download: one.name }, one.name), el('span', { class: 'quiet' }, ` ${size(one.bytes)}, ${one.media_type}`),
        IMAGES.test(one.media_type) ? el('div', null, el('img', { src: `${href}?inline=1`, alt: one.name, loading: 'lazy' })) : null);
    }))];
  }

  await readLog().catch(() => {});
  draw();
  follow(trial.run);
  refresh();
  if (address.hash) setTimeout(() => document.getElementById(address.hash.slice(1))?.scrollIntoView(), 100);
  return {
    title: () => `${trial.test}@${trial.provider}`,
    draw,
    live: (event) => { if ((event.run ?? event.data.run) === trial.run && (running || !shownRow() || event.name !== 'progress')) refresh(); },
    close: () => follow(null),
    keys: [['u', 'To the run', () => go(near.list)], ['j', 'Next trial', () => near.after && go(trialPath(run, near.after))], ['k', 'Previous trial', () => near.before && go(trialPath(run, near.before))]],
  };
}

/** A JSON value as text. @param {string} json @param {string} label */
const block = (json, label) => el('pre', { tabindex: 0, 'aria-label': label }, pretty(json));

/** The trials before and after this one in the list that it was opened from. @param {string} run @param {string} trial */
async function neighbours(run, trial) {
  const list = sessionStorage.getItem(`list-${run}`) ?? '';
  const keys = new URLSearchParams(list);
  const { trials } = await get(`${runPath(run)}/trials${query({ filter: keys.get('filter'), sort: keys.get('sort'), limit: 1000 })}`).catch(() => ({ trials: [] }));
  const at = trials.findIndex((/** @type {any} */ one) => one.trial === trial);
  return { before: trials[at - 1]?.trial, after: at < 0 ? undefined : trials[at + 1]?.trial, list: `${runPath(run)}${list}` };
}
