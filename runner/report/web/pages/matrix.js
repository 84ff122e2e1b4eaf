// @ts-check
// The tests of a run on its providers.

import { get, query, runPath, trialPath } from '../base/api.js';
import { PAGE, Pages } from '../base/pages.js';
import { problem } from '../base/problem.js';
import { openRow } from '../base/router.js';
import { Rows, cell, head } from '../base/rows.js';
import { el, link, loading, paced } from '../base/ui.js';
import { count, done, number, outcome, parts, plural, testName } from '../base/words.js';

/** @param {import('./run.js').RunView} view @param {URL} _address @param {any} kept @returns {import('./run.js').Part} */
export function matrix(view, _address, kept) {
  /** @type {any} */
  let [list, error] = [null, null];
  const path = (/** @type {number} */ offset, /** @type {number} */ limit) => `${runPath(view.run)}/matrix${query({ offset, limit })}`;
  /** @type {Pages<any>} */
  const pages = new Pages(path, 'tests', () => rows.draw(), (caught) => { error = caught; view.redraw(); });
  /** @param {string} test @param {string} [provider] */
  const trials = (test, provider) =>
    `${runPath(view.run)}${query({ filter: `test(${quoted(test)})${provider ? ` & provider(${quoted(provider)})` : ''}` })}`;
  /** The address of the trial, or of all repeats. @param {string} test @param {any} one @param {string} provider */
  const address = (test, one, provider) =>
    (done(one) === 1 ? trialPath(view.run, `${test}@${provider}#1`) : trials(test, provider));
  const rows = new Rows({
    label: 'Tests and providers',
    head: () => [head('trial', 'Test'),
      (list?.providers ?? []).map((/** @type {string} */ name) => head('cell', el('span', { title: name }, name)))],
    row: ({ test, cells }) => [cell('trial', link(trials(test), testName(test))),
      cells.map((/** @type {any} */ one, /** @type {number} */ at) =>
        cell('cell', one && result(one, address(test, one, list.providers[at]))))],
    height: () => 34,
    source: pages,
    open: (item, event) => openRow(trials(item.test), event),
  });
  rows.element.classList.add('matrix');

  const read = async () => {
    try {
      list = await get(path(0, PAGE));
      error = null;
      pages.reset(list.total, list.tests);
      rows.element.style.setProperty('--columns', String(list.providers.length));
    } catch (caught) {
      error = caught;
    }
    view.redraw();
    rows.draw();
  };
  // A scrolled list does not change.
  const follow = paced(3000, async () => { if (rows.top === 0) await read(); });
  const words = () => `${plural(list.total, 'test')} on ${plural(list.providers.length, 'provider')}`;
  const first = read();
  return {
    content: () => [error && problem(error), list ? el('p', { class: 'quiet matrix-size' }, words()) : !error && loading(),
      el('div', { hidden: !pages.count }, rows.element)],
    first,
    ready: first.then(() => { rows.place = kept; }),
    live: follow,
    place: () => rows.place,
    close: () => rows.close(),
  };
}

/** The name as a glob that matches it. @param {string} name */
const quoted = (name) => `"${name.replace(/[*?[\]{}"\\]/g, '?')}"`;

/** The repeats of a test on a provider. @param {any} one @param {string} href */
function result(one, href) {
  const all = done(one);
  const good = one.flaky ? 'flaky' : one.passed ? 'passed' : 'skipped';
  const worst = ['error', 'timeout', 'failed'].find((key) => one[key] > 0) ?? good;
  const words = all > 1 ? `${count(one.passed)}/${count(all)}` : worst;
  const hasScore = one.score !== null && one.score !== undefined;
  return el('a', { href, tabindex: -1, title: parts(one).map(([, phrase]) => phrase).join(', ') },
    outcome(worst, words), hasScore && el('span', { class: 'quiet' }, ` ${number(one.score)}`));
}
