// @ts-check
// The tests of a run on its providers.

import { get, query, runPath, trialPath } from '../base/api.js';
import { PAGE, Pages } from '../base/pages.js';
import { problem } from '../base/problem.js';
import { go, openRow } from '../base/router.js';
import { Rows, cell, head, visibleColumns } from '../base/rows.js';
import { button, el, link, loading, paced } from '../base/ui.js';
import { count, done, heat, number, parts, percent, plural, sign, testName, wilson } from '../base/words.js';
import { parsed, strengths } from './tables.js';

/** Whether cells are colours without words. */
let isDense = false;
/** Tests of a page with answers. */
const ANSWERED = 25;
const KEYS = ['differs', 'worst_first', 'answers'];

/** @param {import('./run.js').RunView} view @param {URL} address @param {any} kept @returns {import('./run.js').Part} */
export function matrix(view, address, kept) {
  const choice = (/** @type {URL} */ from) => Object.fromEntries(KEYS.map((key) => [key, from.searchParams.get(key)]));
  const narrow = matchMedia('(max-width: 700px)');
  let keys = choice(address);
  /** @type {any} */
  let [list, error] = [null, null];
  const path = (/** @type {number} */ offset, /** @type {number} */ limit) => `${runPath(view.run)}/matrix${query({ ...keys, offset, limit })}`;
  /** @type {Pages<any>} */
  const pages = new Pages(path, 'tests', () => rows.draw(), (caught) => { error = caught; view.redraw(); });
  /** @param {string} test @param {string} [provider] */
  const trials = (test, provider) =>
    `${runPath(view.run)}${query({ filter: `test(${quoted(test)})${provider ? ` & provider(${quoted(provider)})` : ''}` })}`;
  /** The address of the trial, or of all repeats. @param {string} test @param {any} one @param {string} provider */
  const trialsOf = (test, one, provider) =>
    (done(one) === 1 ? trialPath(view.run, `${test}@${provider}#1`) : trials(test, provider));
  const form = () => (list?.isAnswered ? 'answers' : isDense ? 'dense' : 'plain');
  const width = () => ({ answers: narrow.matches ? 14 : 20, dense: 1.5, plain: 7 })[form()];
  /** Cells of the visible columns. `content` gets the number of the first one, too. @param {(at: number, first: number) => import('../base/ui.js').Child} content @param {string} role */
  const cells = (content, role) => {
    const count = list?.providers.length ?? 0;
    const [from, to] = visibleColumns(rows.element, count, `${width()}rem`);
    return Array.from({ length: Math.max(0, to - from) }, (_, at) =>
      el('div', { role, class: 'cell', key: from + at, style: { '--column': String(from + at + 2) } }, content(from + at, from)));
  };
  const rows = new Rows({
    label: 'Tests and providers',
    head: () => [head('trial', 'Test'), cells(form() === 'dense' ? () => '' : heading, 'columnheader')],
    row: ({ test, cells: all, input, answers = [] }) => [cell('trial', link(trials(test), testName(test)), input && el('p', { title: input }, input)),
      form() === 'dense' ? strip(test, all) : cells((at) => all[at] && result(all[at], trialsOf(test, all[at], list.providers[at]), list.providers[at], answers[at]), 'gridcell')],
    height: () => ({ answers: 182, dense: 16, plain: 34 })[form()],
    source: pages,
    open: (item, event) => openRow(trials(item.test), event),
  });
  rows.element.classList.add('matrix', 'sticky');

  /** The name of a provider, a line for each key of a matrix, and its pass rate. A value stands where it differs from the one to the left. @param {number} at @param {number} first */
  function heading(at, first) {
    const { name, keys } = parsed(list.providers[at]);
    const before = at > first ? parsed(list.providers[at - 1]) : { name: '', keys: [] };
    const lines = [name, ...keys.map(([, value]) => value)];
    const old = [before.name, ...before.keys.map(([, value]) => value)];
    const isNew = lines.map((_, level) => lines.slice(0, level + 1).join() !== old.slice(0, level + 1).join());
    const share = wilson(view.document.providers?.find((/** @type {any} */ one) => one.provider === list.providers[at]) ?? { passed: 0, failed: 0, error: 0, timeout: 0 });
    return [lines.map((line, level) => el('span', { title: list.providers[at] }, isNew[level] || level === lines.length - 1 ? line : '\u00a0')),
      el('span', { class: 'quiet' }, share && percent(share.share))];
  }

  /** The colours of a test as one element: a cell each would be too many. @param {string} test @param {any[]} all */
  function strip(test, all) {
    const stops = all.map((one, at) => `${one ? colour(one) : 'transparent'} ${at * width()}rem ${(at + 1) * width() - 0.1}rem, transparent 0 ${(at + 1) * width()}rem`);
    const place = (/** @type {any} */ { currentTarget, clientX }) => {
      const { left, width: pixels } = currentTarget.getBoundingClientRect();
      return Math.min(all.length - 1, Math.floor(((clientX - left) / pixels) * all.length));
    };
    const move = (/** @type {any} */ event) => { event.currentTarget.title = all[place(event)] ? told(all[place(event)], list.providers[place(event)]) : ''; };
    const open = (/** @type {any} */ event) => {
      const at = place(event);
      if (all[at]) openRow(trialsOf(test, all[at], list.providers[at]), event);
      event.stopPropagation();
    };
    const counts = parts(all.reduce((sum, one) => ({ ...sum, ...Object.fromEntries(Object.entries(one ?? {}).map(([key, value]) => [key, (sum[key] ?? 0) + Number(value)])) }), {}));
    return el('div', { role: 'gridcell', class: 'strip', 'aria-label': counts.map(([, phrase]) => phrase).join(', '), onpointermove: move, onclick: open,
      style: { '--colours': `linear-gradient(to right, ${stops.join(', ')})`, '--cells': String(all.length) } });
  }

  function resize() {
    const levels = Math.max(0, ...(list?.providers ?? []).map((/** @type {string} */ name) => parsed(name).keys.length));
    for (const name of ['dense', 'answers']) rows.element.classList.toggle(name, form() === name);
    for (const [name, value] of [['--columns', String(list?.providers.length ?? 1)], ['--cell', `${width()}rem`], ['--head', form() === 'dense' ? '1.5rem' : `${1.4 * (levels + 2) + 0.4}rem`]]) {
      rows.element.style.setProperty(name, value);
    }
  }

  const read = async () => {
    try {
      const [mine, size] = [keys, keys.answers ? ANSWERED : PAGE];
      const answer = await get(path(0, size));
      if (mine !== keys) return;
      [list, error, pages.size] = [{ ...answer, isAnswered: keys.answers }, null, size];
      pages.reset(list.total, list.tests);
      resize();
    } catch (caught) {
      error = caught;
    }
    view.redraw();
    rows.draw();
  };
  // A scrolled list does not change.
  const follow = paced(3000, async () => { if (rows.top === 0) await read(); });
  const dense = () => {
    isDense = form() !== 'dense';
    if (list.isAnswered) return go(to({ answers: null }), true);
    resize();
    view.redraw();
    rows.draw();
  };
  const to = (/** @type {Record<string, string | null>} */ change) => `${runPath(view.run)}${query({ view: 'matrix', ...keys, ...change })}`;
  const toggle = (/** @type {string} */ label, /** @type {string} */ key) =>
    button(label, () => go(to({ [key]: keys[key] ? null : 'true' }), true), { key, class: 'chip', 'aria-pressed': String(Boolean(keys[key])) });
  const words = () => `${plural(list.total, 'test')} on ${plural(list.providers.length, 'provider')}`;
  const first = read();
  return {
    content: () => [error && problem(error), el('section', { class: 'strengths' }, strengths(view.document)), list ? el('div', { class: 'filters' }, el('p', { class: 'quiet' }, words()), toggle('Only different', 'differs'), toggle('Worst first', 'worst_first'), toggle('Answers', 'answers'), button('Colours only', dense, { class: 'chip', 'aria-pressed': String(form() === 'dense') })) : !error && loading(),
      el('div', { hidden: !pages.count }, rows.element)],
    first,
    ready: first.then(() => { rows.place = kept; }),
    live: follow,
    update(next) {
      const fresh = choice(next);
      if (query(fresh) === query(keys)) return;
      keys = fresh;
      rows.place = undefined;
      void read();
    },
    place: () => rows.place,
    close: () => rows.close(),
  };
}

/** The name as a glob that matches it. @param {string} name */
const quoted = (name) => `"${name.replace(/[*?[\]{}"\\]/g, '?')}"`;

/** The worst outcome of the repeats of a test. @param {any} one */
const worst = (one) => ['error', 'timeout', 'failed'].find((key) => one[key] > 0) ?? (one.flaky ? 'flaky' : one.passed ? 'passed' : 'skipped');

/** The mean score of the repeats of a test. `null` without one. @param {any} one */
const scoreOf = (one) => (typeof one.score === 'number' ? Math.min(Math.max(one.score, 0), 1) : null);

/** @param {any} one */
function colour(one) {
  const score = scoreOf(one);
  if (score !== null) return heat(score);
  return `var(--${worst(one) === 'skipped' ? 'quiet' : worst(one)})`;
}

/** @param {any} one @param {string} provider */
const told = (one, provider) => `${provider}: ${parts(one).map(([, phrase]) => phrase).join(', ')}${scoreOf(one) === null ? '' : `, score ${number(one.score)}`}`;

/** The repeats of a test on a provider, with an answer if that is shown. @param {any} one @param {string} href @param {string} provider @param {any} [answer] */
function result(one, href, provider, answer) {
  const all = done(one);
  const score = scoreOf(one);
  const words = [all > 1 && `${count(one.passed)}/${count(all)}`, score !== null && number(one.score)].filter(Boolean).join(' · ');
  const title = [told(one, provider), answer?.reason].filter(Boolean).join('\n');
  const link = sign(worst(one), { href, tabindex: -1, title, 'data-scored': score !== null, style: { '--heat': heat(score ?? 0) } });
  link.children.push(words && ` ${words}`);
  if (answer) link.children.push(el('span', { class: answer.output === null ? 'answer quiet' : 'answer' }, answer.output ?? answer.reason ?? 'no output'));
  return link;
}
