// @ts-check
// The tests of a run on its providers.

import { get, query, runPath } from '../base/api.js';
import { problem } from '../base/problem.js';
import { go } from '../base/router.js';
import { PAGE, Pages, Rows, cell, head } from '../base/rows.js';
import { el, link, paced } from '../base/ui.js';
import { count, number, outcome, parts, plural } from '../base/words.js';

/** @param {import('./run.js').RunView} view @returns {import('./run.js').Part} */
export function matrix(view) {
  /** @type {any} */
  let [list, error] = [null, null];
  const load = (/** @type {number} */ offset, /** @type {number} */ limit) => get(`${runPath(view.run)}/matrix${query({ offset, limit })}`);
  /** @type {Pages<any>} */
  const pages = new Pages(async (offset, limit) => (await load(offset, limit)).tests, () => rows.draw(),
    (caught) => { error = caught; view.redraw(); });
  const trials = (/** @type {string} */ filter) => `${runPath(view.run)}${query({ filter })}`;
  const quoted = (/** @type {string} */ name) => `"${name.replace(/[*?[\]{}"\\]/g, '?')}"`;
  const rows = new Rows({
    label: 'Tests and providers',
    head: () => [head('trial', 'Test'), (list?.providers ?? []).map((/** @type {string} */ name) => head('cell', el('span', { title: name }, name)))],
    row: (item) => [cell('trial', link(trials(`test(${quoted(item.test)})`), item.test)), item.cells.map((/** @type {any} */ one, /** @type {number} */ at) =>
      cell('cell', one && result(one, trials(`test(${quoted(item.test)}) & provider(${quoted(list.providers[at])})`))))],
    height: () => 34,
    source: pages,
    open: (item) => go(trials(`test(${quoted(item.test)})`)),
  });
  rows.element.classList.add('matrix');

  const read = paced(3000, async () => {
    try {
      list = await load(0, PAGE);
      error = null;
      pages.reset(list.total, list.tests);
      rows.element.style.setProperty('--columns', String(list.providers.length));
    } catch (caught) {
      error = caught;
    }
    view.redraw();
    rows.draw();
  });
  read();
  return {
    content: () => [error && problem(error), list && el('p', { class: 'quiet' }, `${plural(list.total, 'test')} on ${plural(list.providers.length, 'provider')}`),
      el('div', { hidden: !pages.count }, rows.element)],
    live: read,
    place: () => rows.place,
    close: () => rows.close(),
  };
}

/** The repeats of a test on a provider. @param {any} one @param {string} href */
function result(one, href) {
  const all = one.passed + one.failed + one.error + one.timeout + one.skipped;
  const worst = ['error', 'timeout', 'failed'].find((key) => one[key] > 0) ?? (one.flaky ? 'flaky' : one.passed ? 'passed' : 'skipped');
  const words = all > 1 ? `${count(one.passed)}/${count(all)}` : worst;
  const score = one.score === null || one.score === undefined ? null : el('span', { class: 'quiet' }, ` ${number(one.score)}`);
  return el('a', { href, tabindex: -1, title: parts(one).map(([, phrase]) => phrase).join(', ') }, outcome(worst, words), score);
}
