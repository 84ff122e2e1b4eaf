// @ts-check
// Results of a scenario's tests over its runs: rates by date, and a mark for each test and run.

import { get, query, runPath, trialPath } from '../base/api.js';
import { columns } from '../base/chart.js';
import { problem } from '../base/problem.js';
import { go } from '../base/router.js';
import { button, el, link, render, soon, table } from '../base/ui.js';
import { DAY, count, duration, number, outcome, percent, plural, prose, rate, time } from '../base/words.js';

const KEYS = ['scenario', 'test', 'provider', 'since', 'by', 'limit'];

/** The charts: name, value of a run, its text, and the greatest value if it is known. @type {[string, (one: any) => number | null, (value: number) => string, number?][]} */
const CHARTS = [
  ['Pass rate', (one) => one.pass_rate, percent, 1],
  ['Median duration', (one) => one.p50_ms, duration],
  ['Cost', (one) => one.cost_usd, (value) => `$${number(value)}`],
  ['Tokens', (one) => one.tokens, (value) => count(Math.round(value))],
];

/** @type {import('../base/router.js').Open} */
export async function open({ place, address }) {
  const keys = Object.fromEntries(KEYS.map((key) => [key, address.searchParams.get(key) ?? '']));
  const runs = (await get('/runs?limit=1000')).runs;
  const scenarios = [...new Set(runs.map((/** @type {any} */ run) => run.scenario))].sort();
  const to = (/** @type {Record<string, string>} */ change) => `/history${query({ ...keys, ...change })}`;
  if (!runs.length) {
    const draw = () => render(place, el('h1', null, 'History'), el('p', null, 'No runs yet. Start one with ', el('code', null, 'runner exec SCENARIO'), '.'));
    draw();
    return { title: () => 'History', draw };
  }

  /** @type {any} */
  let history = { scenario: keys.scenario };

  /** @param {string} key @param {string} label @param {string} hint */
  const field = (key, label, hint) => el('label', null, label, el('input', { type: 'search', value: keys[key], placeholder: hint,
    onchange: (/** @type {any} */ event) => go(to({ [key]: event.target.value.trim() })) }));

  function filters() {
    return el('div', { class: 'filters fields' },
      el('label', null, 'Scenario', el('select', { value: history.scenario, onchange: (/** @type {any} */ event) => go(to({ scenario: event.target.value })) },
        [...new Set([history.scenario, ...scenarios])].map((name) => el('option', { value: name }, name)))),
      field('test', 'Tests', 'glob, such as cart/*'), field('provider', 'Providers', 'glob'), field('since', 'Since', '7d or 2026-01-31'), field('by', 'Charts by', 'run, day or a label'));
  }

  try {
    history = await get(`/history${query(keys)}`);
  } catch (error) {
    // The user can change an invalid filter.
    if (/** @type {any} */ (error).status !== 400) throw error;
    render(place, el('h1', null, 'History'), filters(), problem(error));
    return { title: () => 'History', draw: () => {} };
  }

  function charts() {
    const list = history.sums?.length ? history.sums : history.runs;
    const name = (/** @type {any} */ one) => (one.run ? DAY.format(new Date(one.started_at)) : one.key ?? 'without');
    return el('div', { class: 'charts', style: { '--columns': String(list.length) } }, CHARTS.map(([label, value, words, most]) => {
      const values = list.map(value);
      if (values.every((/** @type {any} */ one) => one === null)) return null;
      const text = (/** @type {number} */ at) => `${name(list[at])}: ${values[at] === null ? 'no value' : words(values[at])}`;
      const top = most ?? Math.max(...values.map((/** @type {any} */ one) => one ?? 0));
      return el('section', { key: label }, el('h2', null, label, el('span', { class: 'quiet' }, ` 0 – ${words(top)}`)),
        columns(`${label}: ${list.map((/** @type {any} */ _, /** @type {number} */ at) => text(at)).join('; ')}`, values, top, text, [name(list[0]), name(list.at(-1))]));
    }));
  }

  function tests() {
    // The newest run comes first, so that it is visible on a narrow screen.
    const order = history.runs.map((/** @type {any} */ _, /** @type {number} */ at) => at).reverse();
    const heads = order.map((/** @type {number} */ at) => {
      const run = history.runs[at];
      return el('a', { href: runPath(run.run), title: run.run }, DAY.format(new Date(run.started_at)), el('br', null), time(run.started_at, 'clock'));
    });
    const row = (/** @type {any} */ test) => el('tr', { key: `${test.test}@${test.provider}` },
      el('th', { scope: 'row' }, link(to({ test: test.test, provider: test.provider }), test.test), ' ', el('span', { class: 'quiet' }, `@${test.provider}`)),
      el('td', { class: 'n' }, rate(test) || '–'),
      el('td', { class: 'n' }, test.flaky_runs ? count(test.flaky_runs) : ''),
      order.map((/** @type {number} */ at) => el('td', null, mark(test, at))));
    return table('Tests', ['Test', 'Passed', 'Flaky runs', ...heads], history.tests.map(row), 'marks');
  }

  /** @param {any} test @param {number} at */
  function mark(test, at) {
    const word = test.marks[at];
    const { run, has_repeats: hasRepeats } = history.runs[at];
    const filter = `test("${test.test}") & provider("${test.provider}")`;
    const href = hasRepeats ? `${runPath(run)}${query({ filter })}` : trialPath(run, `${test.test}@${test.provider}#1`);
    return word && el('a', { href, 'aria-label': `${word} in ${run}`, title: word }, outcome(word, ''));
  }

  async function more() {
    const next = await get(`/history${query({ ...keys, tests_offset: history.tests.length })}`);
    // Another run would give the tests another order.
    const isSame = next.runs.at(-1).run === history.runs.at(-1).run;
    history = isSame ? { ...next, tests: [...history.tests, ...next.tests] } : await get(`/history${query(keys)}`);
    draw();
  }

  const draw = soon(() => render(place, el('h1', null, 'History of ', history.scenario), filters(),
    history.skipped.length > 0 && el('details', null, el('summary', null, `${plural(history.skipped.length, 'run')} left out`),
      el('ul', null, history.skipped.map((/** @type {string} */ text) => el('li', null, prose(text))))),
    charts(), el('h2', null, 'Tests', el('small', null, `${count(history.test_count)} in the last ${plural(history.runs.length, 'run')}. Flaky tests come first, the newest run is on the left.`)),
    history.tests.length ? [el('p', { class: 'counts' }, ['passed', 'flaky', 'failed', 'error', 'timeout'].map((word) => outcome(word, word === 'flaky' ? 'passed on a retry or in some repeats' : word))), tests()]
      : el('p', { class: 'empty' }, keys.test || keys.provider || keys.since ? ['No tests match. ', link(`/history${query({ scenario: history.scenario })}`, 'Clear filters')] : 'No test has a result yet.'),
    history.tests.length < history.test_count && el('p', null, button(`Show more of ${count(history.test_count)} tests`, () => void more()))));
  draw();
  return { title: () => `History of ${history.scenario}`, draw: () => {} };
}
