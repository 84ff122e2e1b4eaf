// @ts-check
// What tests came to over many runs: the same as `runner history`.

import { get, named, ofRun, query } from './api.js';
import { problem } from './problem.js';
import { visibleLine } from './text.js';
import { el, put, wide } from './ui.js';
import { clock, count, duration, plural } from './words.js';

/** @type {Record<string, [string, string]>} */
const CELLS = { passed: ['✓', 'good'], flaky: ['~', 'open'], failed: ['✗', 'bad'], error: ['!', 'bad'], timeout: ['T', 'bad'], skipped: ['–', 'quiet'] };
/** More tests are said to be there, and narrowed down by the fields. */
const SHOWN = 500;

/** @type {import('./main.js').Show} */
export async function showHistory(address, { place, go }) {
  const key = (/** @type {string} */ name) => address.searchParams.get(name) ?? '';
  const keys = { scenario: key('scenario'), test: key('test'), filter: key('filter'), last: key('last') };
  const to = (/** @type {Partial<typeof keys>} */ changed) => go(`/history${query({ ...keys, ...changed })}`);
  const field = (/** @type {'scenario' | 'test' | 'filter'} */ name, /** @type {string} */ label, /** @type {string} */ hint) =>
    el('label', null, el('span', null, label), el('input', { type: 'search', value: keys[name], placeholder: hint, onchange: (/** @type {any} */ event) => to({ [name]: event.target.value.trim() }) }));
  const last = el('select', { onchange: () => to({ last: last.value === '20' ? '' : last.value }) }, ['10', '20', '50', '100'].map((value) => el('option', { value }, value)));
  last.value = keys.last || '20';
  const body = el('div');
  put(place, el('div', { class: 'title' }, el('h1', null, 'History')),
    el('div', { class: 'filters' }, field('scenario', 'Scenario', 'any'), field('test', 'Test', 'units/*'), field('filter', 'Filter', 'tag(slow)'), el('label', null, el('span', null, 'Runs'), last)), body);
  put(body, el('p', { class: 'quiet' }, 'Reading…'));
  try {
    draw(body, await get(`/history${query(keys)}`));
  } catch (error) {
    put(body, problem(error));
  }
  return { title: 'History' };
}

/** @param {HTMLElement} body @param {Api.TestTrends} trends */
function draw(body, trends) {
  if (!trends.runs.length) return put(body, el('p', { class: 'none' }, 'No run is like that.'));
  const several = new Set(trends.tests.map((test) => test.scenario)).size > 1;
  const heads = trends.runs.map((run) => {
    const words = `${visibleLine(run.scenario)}, ${clock(run.started_at)}, ${run.status}${run.pass_rate === null ? '' : `, ${count(run.passed)} of ${count(run.judged)} passed`}`;
    const bar = el('i', { class: run.pass_rate === 1 ? 'fill-passed' : 'fill-failed' });
    bar.style.height = `${Math.max(3, (run.pass_rate ?? 0) * 36)}px`;
    return el('th', { scope: 'col', class: 'trend-run' }, el('a', { href: ofRun(run.run), title: words }, bar, el('span', { class: 'unseen' }, words)));
  });
  const tests = trends.tests.slice(0, SHOWN);
  put(body,
    el('p', { class: 'quiet' }, `${plural(trends.tests.length, 'test')} over ${plural(trends.runs.length, 'run')}, the oldest on the left. Those that do not pass now come first, then those that are most often flaky.`),
    wide(el('table', { class: 'trends', 'aria-label': 'Tests over runs' },
      el('thead', null, el('tr', null, el('th', { scope: 'col' }, 'Test'), heads, el('th', { scope: 'col', class: 'n' }, 'Flaky'), el('th', { scope: 'col', class: 'n' }, 'Median'), el('th', { scope: 'col' }, 'Slower'))),
      el('tbody', null, tests.map((/** @type {any} */ test) => el('tr', null,
        el('th', { scope: 'row' }, several ? el('span', { class: 'quiet' }, `${visibleLine(test.scenario)} `) : null, el('span', { class: 'mono' }, visibleLine(test.test)), el('span', { class: 'quiet' }, `@${visibleLine(test.provider)}`)),
        test.outcomes.map((/** @type {string | null} */ outcome, /** @type {number} */ place) => el('td', { class: 'trend-cell' }, outcome ? cell(outcome, trends.runs[place], test) : null)),
        el('td', { class: 'n' }, test.flaky ? `${count(test.flaky)} of ${count(test.judged)}` : ''),
        el('td', { class: 'n' }, test.duration_ms === null ? '' : duration(test.duration_ms)),
        el('td', null, test.slower ? el('span', { class: 'open' }, `${duration(test.slower.before_ms)} → ${duration(test.slower.now_ms)}`) : '')))))),
    trends.tests.length > tests.length ? el('p', { class: 'quiet' }, `and ${plural(trends.tests.length - tests.length, 'more test', 'more tests')}: narrow it by the fields`) : null);
}

/** @param {string} outcome @param {any} run @param {any} test */
function cell(outcome, run, test) {
  const [glyph, tone] = CELLS[outcome] ?? ['?', 'plain'];
  return el('a', { class: `cell cell-${tone}`, href: `${ofRun(run.run)}${query({ filter: `${named('test', test.test)} & ${named('provider', test.provider)}` })}`, title: `${outcome}, ${clock(run.started_at)}` },
    el('span', { 'aria-hidden': 'true' }, glyph), el('span', { class: 'unseen' }, outcome));
}

