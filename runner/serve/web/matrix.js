// @ts-check
// Tests by providers.

import { get, named, ofRun, ofTrial, query } from './api.js';
import { problem } from './problem.js';
import { visibleLine } from './text.js';
import { atMostEvery, button, el, link, put, table } from './ui.js';
import { count, glyph, tone } from './words.js';

const PAGE = 200;
/** The worst thing that is in a cell is what it shows. */
const WORST = ['error', 'timeout', 'failed', 'ungraded', 'stopped', 'pending', 'skipped', 'passed'];

/** @param {HTMLElement} place @param {string} run @param {URL} address @param {(to: string) => void} go */
export function showMatrix(place, run, address, go) {
  const from = (/** @type {URL} */ at) => Math.max(0, Number(at.searchParams.get('offset')) || 0);
  let offset = from(address);
  let isClosed = false;
  const draw = async () => {
    try {
      /** @type {Api.TrialMatrix} */
      const matrix = await get(`${ofRun(run)}/matrix${query({ offset: offset || null, limit: PAGE })}`);
      if (isClosed) return;
      const to = (/** @type {number} */ next) => go(`${ofRun(run)}${query({ view: 'matrix', offset: next || null })}`);
      const last = offset + matrix.tests.length;
      put(place,
        matrix.tests.length ? table({ class: 'matrix', label: 'Tests by providers' }, ['Test', ...matrix.providers.map(visibleLine)], matrix.tests.map((test) =>
          el('tr', null,
            el('th', { scope: 'row' }, link(`${ofRun(run)}${query({ filter: named('test', test.test) })}`, visibleLine(test.test))),
            test.cells.map((cell) => el('td', null, cell ? shown(run, cell) : null)))))
          : el('p', { class: 'none' }, 'There are no tests here.'),
        el('div', { class: 'actions' },
          offset > 0 ? button('Before', () => to(Math.max(0, offset - PAGE))) : null,
          matrix.more > 0 ? button('After', () => to(last)) : null,
          el('span', { class: 'quiet' }, matrix.tests.length ? `tests ${count(offset + 1)} to ${count(last)} of ${count(last + matrix.more)}` : '')));
    } catch (error) {
      if (!isClosed) put(place, problem(error));
    }
  };
  put(place);
  void draw();
  const again = atMostEvery(2000, draw);
  return {
    change(/** @type {URL} */ next, /** @type {string} */ view) {
      if (view !== 'matrix') return false;
      offset = from(next);
      void draw();
      return true;
    },
    news: again,
    close() { isClosed = true; again.stop(); },
  };
}

/** @param {string} run @param {Api.ProviderCell} cell */
function shown(run, cell) {
  const all = Object.values(cell.counts).reduce((/** @type {number} */ sum, /** @type {any} */ number) => sum + number, 0);
  const worst = WORST.find((word) => cell.counts[word] > 0) ?? 'pending';
  const passed = cell.counts.passed ?? 0;
  const words = all === 1 ? worst : `${passed} of ${all} passed${cell.counts.pending ? `, ${cell.counts.pending} to go` : ''}`;
  return el('a', { class: `cell cell-${tone(worst)}`, href: ofTrial(run, cell.trial), title: words },
    el('span', { 'aria-hidden': 'true' }, glyph(worst)), all === 1 ? el('span', { class: 'unseen' }, worst) : el('span', { class: 'n' }, ` ${passed}/${all}`));
}

