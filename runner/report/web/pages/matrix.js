// @ts-check
// The tests of a run on its providers.

import { get, query, runPath, trialPath } from '../base/api.js';
import { PAGE, Pages } from '../base/pages.js';
import { problem } from '../base/problem.js';
import { report } from '../base/report.js';
import { go, openRow } from '../base/router.js';
import { Rows, cell, head, visibleColumns } from '../base/rows.js';
import { button, el, link, loading, paced } from '../base/ui.js';
import { beside, count, done, duration, heat, outcome, parts, percent, plural, score, sign, testName } from '../base/words.js';
import { amount, parsed, quoted, ranked, share, strengths } from './tables.js';

/** Whether cells are colours without words. */
let isDense = false;
/** Tests of a page with answers. */
const ANSWERED = 25;
/** The most lines of an answer, and the height of a row before its answers are known. */
const [MAX_LINES, ANSWER] = [8, 118];
/** Columns of colours with the names of their providers. */
const MAX_NAMED = 12;
const KEYS = ['differs', 'worst_first', 'answers'];

/** @param {import('./run.js').RunView} view @param {URL} address @param {any} kept @returns {import('./run.js').Part} */
export function matrix(view, address, kept) {
  const choice = (/** @type {URL} */ from) => Object.fromEntries(KEYS.map((key) => [key, from.searchParams.get(key)]));
  const narrow = matchMedia('(max-width: 700px)');
  let keys = choice(address);
  /** @type {any} */
  let [list, error, search] = [null, null, ''];
  /** Places of the providers in the order of the columns. @type {number[]} */
  let order = [];
  const path = (/** @type {number} */ offset, /** @type {number} */ limit) => `${runPath(view.run)}/matrix${query({ ...keys, offset, limit })}`;
  /** @type {Pages<any>} */
  const pages = new Pages(path, 'tests', () => rows.draw(), (caught) => { error = caught; view.redraw(); });
  /** @param {string} test @param {string} [provider] */
  const trials = (test, provider) => `${runPath(view.run)}${query({ filter: `test(${quoted(test)})${provider ? ` & provider(${quoted(provider)})` : ''}` })}`;
  /** The address of the trial, or of all repeats. @param {string} test @param {any} one @param {string} provider */
  const trialsOf = (test, one, provider) => (done(one) === 1 ? trialPath(view.run, `${test}@${provider}#1`) : trials(test, provider));
  const form = () => (list?.isAnswered ? 'answers' : isDense ? 'dense' : 'plain');
  const isNamed = () => list?.providers.length <= MAX_NAMED;
  const width = () => ({ answers: narrow.matches ? 14 : 20, dense: isNamed() ? 4 : 1.5, plain: 6 })[form()];
  /** Cells of the visible columns. `content` gets the number of the first one, too. @param {(at: number, first: number) => import('../base/ui.js').Child} content @param {string} role */
  const cells = (content, role) => {
    const count = list?.providers.length ?? 0;
    const [from, to] = visibleColumns(rows.element, count, `${width()}rem`);
    return Array.from({ length: Math.max(0, to - from) }, (_, at) =>
      el('div', { role, class: 'cell', key: from + at, style: { '--column': String(from + at + 2) } }, content(from + at, from)));
  };
  /** @type {Rows<any>} */
  const rows = new Rows({
    label: 'Tests and providers',
    head: () => [head('trial', 'Test'), form() !== 'dense' ? cells(heading, 'columnheader') : isNamed() && cells((at) => el('span', { title: list.providers[at] }, list.providers[at]), 'columnheader')],
    row: ({ test, cells: unsorted, input, answers = [] }, _, all = order.map((at) => unsorted[at])) => [cell('trial', link(trials(test), testName(test)), input && el('p', { title: input }, input)),
      form() === 'dense' ? strip(test, all) : cells((at) => all[at] && result(all[at], trialsOf(test, all[at], list.providers[at]), list.providers[at], answers[order[at]]), 'gridcell')],
    height: () => ({ answers: ANSWER, dense: 16, plain: narrow.matches ? 44 : 34 })[form()],
    start: (index) => (form() === 'answers' ? start(index) : index * rows.options.height()),
    source: pages,
    open: (item, event) => openRow(trials(item.test), event),
  });
  rows.element.classList.add('matrix', 'sticky');

  /** @returns {any[]} */
  const measured = () => view.document.providers ?? [];

  /** The name of a provider, a line for each key of a matrix, its pass rate and mean score, its cost and median duration. A value stands where it differs from the one to the left. @param {number} at @param {number} first */
  function heading(at, first) {
    const { name, keys } = parsed(list.providers[at]);
    const before = at > first ? parsed(list.providers[at - 1]) : { name: '', keys: [] };
    const lines = [name, ...keys.map(([, value]) => value)];
    const old = [before.name, ...before.keys.map(([, value]) => value)];
    const isNew = lines.map((_, level) => lines.slice(0, level + 1).join() !== old.slice(0, level + 1).join());
    const own = measured().find((/** @type {any} */ one) => one.provider === list.providers[at]);
    const rate = share(own);
    return [lines.map((line, level) => el('span', { title: list.providers[at] }, isNew[level] || level === lines.length - 1 ? line : '\u00a0')),
      el('span', { class: 'quiet' }, [rate !== null && percent(rate), typeof own?.score === 'number' && score(own.score)].filter(Boolean).join(' · ')), own && el('small', { class: 'quiet', title: measures(own) }, measures(own))];
  }

  /** The colours of a test as one element: a cell each would be too many. @param {string} test @param {any[]} all */
  function strip(test, all) {
    const stops = all.map((one, at) => `${one ? colour(one) : 'transparent'} ${at * width()}rem ${(at + 1) * width() - 0.1}rem, transparent 0 ${(at + 1) * width()}rem`);
    const place = (/** @type {any} */ { currentTarget, clientX }) => {
      const { left, width: pixels } = currentTarget.getBoundingClientRect();
      return Math.min(all.length - 1, Math.floor(((clientX - left) / pixels) * all.length));
    };
    const move = (/** @type {any} */ event) => { event.currentTarget.title = all[place(event)] ? told(all[place(event)], list.providers[place(event)]) : ''; };
    const open = (/** @type {any} */ event, at = place(event)) => {
      if (all[at]) openRow(trialsOf(test, all[at], list.providers[at]), event);
      event.stopPropagation();
    };
    const counts = parts(all.reduce((sum, one) => ({ ...sum, ...Object.fromEntries(Object.entries(one ?? {}).map(([key, value]) => [key, (sum[key] ?? 0) + Number(value)])) }), {}));
    return el('div', { role: 'gridcell', class: 'strip', 'aria-label': counts.map(([, phrase]) => phrase).join(', '), onpointermove: move, onclick: open,
      style: { '--colours': `linear-gradient(to right, ${stops.join(', ')})` } });
  }

  /** Orders the columns as in the table of pass rates. Those of a matrix stay in groups, and those of a running run in their places. @param {string[]} names */
  function arrange(names) {
    const isFixed = view.document.run.status === 'running' || names.some((name) => parsed(name).keys.length);
    const best = isFixed ? [] : ranked(view.document.providers ?? []).map(({ provider }) => names.indexOf(provider)).filter((at) => at >= 0);
    order = [...new Set([...best, ...names.keys()])];
    return order.map((at) => names[at]);
  }

  /** @type {WeakMap<any[], {all: number, starts: number[]}>} */
  const known = new WeakMap();
  /** Starts of the rows of a page of answers. The lines of texts are estimated, and longer ones are cut. @param {any[]} tests */
  function starts(tests) {
    const [all, parts] = [rows.element.clientWidth / 16, 1 + 2 * list.providers.length];
    const [first, other] = [Math.max(narrow.matches ? 7 : 16, all / parts), Math.max(width(), (2 * all) / parts)];
    const lines = (/** @type {string} */ text, /** @type {number} */ rems) => text.split('\n').reduce((sum, line) => sum + Math.max(1, Math.ceil(line.length / (2.3 * rems - 3))), 0);
    const height = (/** @type {any} */ { test, input, answers = [] }) => 34 + 21 * Math.min(MAX_LINES, Math.max(
      lines(test, first) + (input ? Math.min(lines(input, first), narrow.matches ? 2 : MAX_LINES) : 0) - 1, ...answers.map((/** @type {any} */ one) => lines(one?.output ?? one?.reason ?? '', other))));
    if (known.get(tests)?.all !== all) known.set(tests, { all, starts: tests.reduce((sum, one) => [...sum, sum.at(-1) + height(one) - ANSWER], [0]) });
    return known.get(tests)?.starts ?? [];
  }
  const start = (/** @type {number} */ index) => [...pages.pages].reduce((sum, [page, tests]) =>
    sum + starts(tests)[Math.min(Math.max(index - page * pages.size, 0), tests.length)], ANSWER * index);

  function resize() {
    const levels = Math.max(0, ...(list?.providers ?? []).map((/** @type {string} */ name) => parsed(name).keys.length));
    for (const name of ['dense', 'answers']) rows.element.classList.toggle(name, form() === name);
    const sizes = { '--columns': String(list?.providers.length ?? 1), '--cell': `${width()}rem`, '--head': form() === 'dense' ? '1.5rem' : `${1.4 * (levels + (measured().some(measures) ? 3 : 2)) + 0.4}rem` };
    for (const [name, value] of Object.entries(sizes)) rows.element.style.setProperty(name, value);
  }

  /** Whether all tests are on one page, and a search finds them. */
  const isWhole = () => list.total === list.tests.length;
  function find() {
    const words = isWhole() ? search.toLowerCase().split(/\s+/) : [];
    const found = list.tests.filter((/** @type {any} */ { test }) => words.every((/** @type {string} */ word) => test.toLowerCase().includes(word)));
    pages.reset(isWhole() ? found.length : list.total, found);
  }

  const read = async () => {
    try {
      const [mine, size] = [keys, keys.answers ? ANSWERED : PAGE];
      const answer = await get(path(0, size));
      // A search needs all tests.
      const isSmall = answer.total <= PAGE;
      const rest = isSmall ? await Promise.all(Array.from({ length: Math.ceil(answer.total / size) - 1 }, (_, at) => get(path((at + 1) * size, size)))) : [];
      if (mine !== keys) return;
      for (const one of rest) answer.tests.push(...one.tests);
      [list, error, pages.size] = [{ ...answer, providers: arrange(answer.providers), isAnswered: keys.answers }, null, isSmall ? PAGE : size];
      find();
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
  const first = read();
  return {
    content: () => [error && problem(error), el('section', { class: 'strengths' }, strengths(view.document, list?.providers)), list ? el('div', null, el('h2', null, 'Tests', el('small', null, `${plural(list.total, 'test')} on ${plural(list.providers.length, 'provider')}`)), el('div', { class: 'filters' }, toggle('Only different', 'differs'), toggle('Worst first', 'worst_first'), !report && toggle('Answers', 'answers'), button('Colours only', dense, { class: 'chip', 'aria-pressed': String(form() === 'dense') }),
      isWhole() && el('input', { type: 'search', placeholder: 'Search tests', 'aria-label': 'Search tests', value: search, oninput: (/** @type {any} */ event) => { search = event.target.value.trim(); find(); rows.draw(); view.redraw(); } })), legend(view.document, form() === 'dense')) : !error && loading(),
      list && !pages.count && el('p', { class: 'empty' }, 'No tests match.'), el('div', { hidden: !pages.count }, rows.element)],
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

/** The worst outcome of the repeats of a test, beside the known failures. @param {any} one */
function worst(one) {
  const shown = beside(one);
  const isPass = shown.unexpected > 0 && shown.unexpected === one.unexpected_passes;
  return isPass ? 'passes' : ['error', 'timeout', 'failed', 'unexpected', 'known'].find((key) => shown[key] > 0) ?? (one.flaky ? 'flaky' : one.passed ? 'passed' : 'skipped');
}

/** The signs of the cells that the run has, or their colours. @param {any} document @param {boolean} isDense */
function legend({ run: { counts }, providers = [] }, isDense) {
  const shown = beside(counts);
  const words = ['passed', 'flaky', 'failed', 'error', 'timeout', 'unexpected', ...(isDense ? [] : ['passes']), 'known', 'skipped'];
  const has = (/** @type {string} */ key) => (key === 'passes' ? counts.unexpected_passes : key === 'unexpected' && !isDense ? shown.unexpected - (counts.unexpected_passes ?? 0) : shown[key]) > 0;
  return el('p', { class: 'legend' }, words.filter(has).map((key) => el('span', { key }, isDense && el('i', { class: 'swatch', style: { '--heat': `var(--${key})` } }), isDense ? key : outcome(key, key === 'passes' ? 'passes although known' : key))),
    providers.some((/** @type {any} */ one) => typeof one.score === 'number') && el('span', { class: 'scale' }, 'score 0 ', el('i', null), ' 1'));
}

/** The mean score of the repeats of a test. `null` without one. @param {any} one */
const scoreOf = (one) => (typeof one.score === 'number' ? Math.min(Math.max(one.score, 0), 1) : null);

/** The colour of a cell. @param {any} one */
const colour = (one, value = scoreOf(one)) => (value === null ? `var(--${worst(one)})` : heat(value));

/** @param {any} one @param {string} provider */
const told = (one, provider) => `${provider}: ${parts(one).map(([, phrase]) => phrase).join(', ')}${scoreOf(one) === null ? '' : `, score ${score(one.score)}`}`;

/** Cost and median duration of a provider. @param {any} provider */
const measures = ({ metrics = [], p50_ms: median }) => [...metrics.filter((/** @type {any} */ one) => one.name === 'cost_usd').map(amount), duration(median)].filter(Boolean).join(' · ');

/** The repeats of a test on a provider, with an answer if that is shown. @param {any} one @param {string} href @param {string} provider @param {any} [answer] */
function result(one, href, provider, answer) {
  const all = done(one);
  const shown = scoreOf(one);
  const words = [all > 1 && `${count(one.passed)}/${count(all)}`, shown !== null && score(one.score)].filter(Boolean).join(' · ');
  const title = [told(one, provider), answer?.reason].filter(Boolean).join('\n');
  const link = sign(worst(one), { href, tabindex: -1, title, 'data-scored': shown !== null, style: { '--heat': heat(shown ?? 0) } });
  link.children.push(words && ` ${words}`);
  if (answer) link.children.push(el('span', { class: answer.output === null ? 'answer quiet' : 'answer' }, answer.output ?? answer.reason ?? 'no output'));
  return link;
}
