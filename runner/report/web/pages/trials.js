// @ts-check
// The list of a run's trials. Filter and order are in the address. All pages of the list are of one revision of the results, so
// that no trial is skipped or shown twice while the run writes.

import { Problem, get, query, runPath, trialPath } from '../base/api.js';
import { PAGE, Pages } from '../base/pages.js';
import { problem } from '../base/problem.js';
import { report } from '../base/report.js';
import { go, openRow } from '../base/router.js';
import { Rows, cell, head } from '../base/rows.js';
import { button, el, link, loading, paced } from '../base/ui.js';
import { beside, count, countsOf, duration, needed, outcome, plural, result, score, testName } from '../base/words.js';

/** Filters of the buttons above lists of trials. */
export const QUICK = [['All', ''], ['Not passed', 'outcome(failed, error, timeout)'], ['Flaky', 'flaky()']];
/** Filters of a run with known failures. */
const BESIDE = [['Unexpected', 'unexpected()'], ['Known', 'known()']];
const HINT = `Search ids and messages${report ? '' : ', or filter: outcome(failed) & slower(2s)'}`;
/** Columns: class, words and the orders that a click chooses in turn. @type {[string, string, string[]][]} */
const COLUMNS = [
  ['outcome', 'Outcome', ['worst']],
  ['trial', 'Trial', ['plan']],
  ['reason', 'Reason', []],
  ['score n', 'Score', ['score', '-score']],
  ['took n', 'Duration', ['-duration', 'duration']],
];

/** @param {import('./run.js').RunView} view @param {URL} address @param {any} kept @returns {import('./run.js').Part} */
export function trials(view, address, kept) {
  const read = (/** @type {URL} */ from) => Object.fromEntries(['filter', 'sort', 'group'].map((name) => [name, from.searchParams.get(name) ?? '']));
  let keys = read(address);
  /** @type {any} */
  let [list, error, turn, hasRepeats] = [null, null, 0, false];
  const short = (/** @type {string} */ name) => (hasRepeats ? name : name.replace(/#1$/, ''));
  const path = (/** @type {object} */ more) => `${runPath(view.run)}/trials${query({ ...keys, ...more })}`;

  /** @type {Pages<any>} */
  const pages = new Pages((offset, limit) => path({ rev: list.rev, offset, limit }), 'trials', () => rows.draw(), (caught) => { error = caught; view.redraw(); });
  const rows = new Rows({
    label: 'Trials',
    head: () => COLUMNS.map(([kind, words, orders]) => head(kind, orders.length ? sorter(words, orders) : words)),
    row,
    height: () => (matchMedia('(max-width: 700px)').matches ? 64 : 34),
    source: pages,
    open: (item, event) => openRow(trialPath(view.run, item.trial), event),
  });

  /** @param {string} words @param {string[]} orders */
  function sorter(words, orders) {
    const sort = keys.sort || 'worst';
    const next = orders[(orders.indexOf(sort) + 1) % orders.length];
    const mark = orders.includes(sort) ? (sort.startsWith('-') ? ' ↓' : ' ↑') : '';
    return button([words, el('span', { class: 'order' }, mark)], () => go(to({ sort: next === 'worst' ? '' : next })), { tabindex: -1 });
  }

  /** @param {any} item */
  function row(item) {
    const at = item.trial.lastIndexOf('@');
    const [test, provider] = [item.trial.slice(0, at), short(item.trial.slice(at))];
    const name = link(trialPath(view.run, item.trial), testName(test), el('span', { class: 'provider' }, provider));
    Object.assign(name.props, { tabindex: -1, title: item.trial });
    const word = item.is_running ? 'running' : result(item) ?? 'planned';
    const isNew = /regressed|new/.test(item.change) && item.known !== 'known' && /failed|error|timeout/.test(item.outcome);
    const attempt = item.attempt > 1 && `attempt ${item.attempt}${item.headline ? ' · ' : ''}`;
    return [
      cell('outcome', outcome(word), isNew && el('span', { class: 'badge new' }, 'new')),
      cell('trial', name),
      cell('reason', el('span', { title: item.headline }, attempt, item.headline)),
      cell('score n', item.score === null || item.score === undefined ? '' : score(item.score)),
      cell('took n', duration(item.duration_ms)),
    ];
  }

  /** @param {Record<string, string>} change */
  const to = (change) => `${runPath(view.run)}${query({ ...keys, ...change })}`;

  /** Reads the newest revision. */
  async function load() {
    const mine = ++turn;
    const { filter } = keys;
    // The page of a trial has links to the trials before and after it in this list.
    sessionStorage.setItem(`list-${view.run}`, query(keys));
    try {
      if (!isClosed(filter)) throw new Problem(400, { title: 'Incomplete filter', detail: 'A parenthesis or quote is not closed.' });
      const answer = await get(path({ offset: 0, limit: PAGE }));
      if (mine !== turn) return;
      [list, error] = [{ ...answer, filter }, null];
      hasRepeats ||= answer.trials.some((/** @type {any} */ one) => !one.trial.endsWith('#1'));
      // Until the server has read all results, it sends only the first ones.
      rows.element.style.setProperty('--names', String(Math.max(0, ...answer.trials.map((/** @type {any} */ one) => short(one.trial).length))));
      pages.reset(answer.is_partial ? answer.trials.length : answer.total, answer.trials);
      if (answer.is_partial) setTimeout(() => mine === turn && void load(), 300);
    } catch (caught) {
      if (mine !== turn) return;
      error = caught;
      if (error.status === 400) pages.reset(0, []);
    }
    view.redraw();
    rows.draw();
  }
  // A scrolled list does not move. The newer revision is loaded at the start of the list.
  let isOld = false;
  const follow = paced(1000, async () => {
    isOld = rows.top > 0 || rows.active > 0;
    if (!isOld) await load();
    view.redraw();
  });

  let typing = 0;
  const type = (/** @type {any} */ event) => {
    clearTimeout(typing);
    const filter = event.target.value.trim();
    typing = setTimeout(() => go(to({ filter }), true), 150);
  };
  const summary = () => el('small', null,
    list.filter || list.reason ? `${count(list.total)} of ${plural(list.of, 'trial')} match` : plural(list.of, 'trial'),
    list.is_cut && '. The search took too long and is not complete.');
  const chip = (/** @type {string[]} */ [words, filter]) => {
    const counts = countsOf(view);
    const { flaky = 0, known = 0, unexpected = 0 } = beside(counts);
    const trials = /** @type {Record<string, number>} */ ({ All: needed(counts), 'Not passed': counts.failed + counts.error + counts.timeout, Flaky: flaky, Known: known, Unexpected: unexpected })[words];
    // Unexpected results and known failures have chips of their own.
    if (words === 'Not passed' && keys.filter !== filter && known + unexpected > 0) return null;
    if (!trials && words !== 'Not passed' && keys.filter !== filter) return null;
    return button(`${words} ${count(trials)}`, () => go(to({ filter, group: filter && keys.group })), { key: words, class: 'chip', 'aria-pressed': String(keys.filter === filter && !(keys.group && !filter)) });
  };

  const isScored = () => (view.document.providers ?? []).some((/** @type {any} */ { score }) => typeof score === 'number');
  const first = load();
  return {
    content: () => el('section', { class: isScored() ? 'trials' : 'trials unscored' },
      el('h2', null, 'Trials', list && summary()),
      el('div', { class: 'filters' },
        el('div', { class: 'chips', role: 'group', 'aria-label': 'Filters' }, [...QUICK, ...BESIDE].map(chip)),
        el('input', { type: 'search', value: keys.filter, placeholder: HINT, 'aria-label': 'Search or filter trials', oninput: type }),
        keys.group && button([el('span', null, 'Reason: ', list?.reason ?? keys.group), ' ✕'], () => go(to({ group: '' })), { class: 'chip reason', title: 'Show trials with all reasons' }),
        isOld && button('Show newer results', () => { isOld = false; void load(); })),
      error && problem(error),
      error?.status === 400 && keys.filter && button('Search for this text', () => go(to({ filter: `"${keys.filter.replace(/["\\]/g, '\\$&')}"` }))),
      list && !list.total && !error ? el('p', { class: 'empty' }, 'No trials match. ', link(to({ filter: '', group: '' }), 'Clear the filter')) : null,
      !list && !error && loading(),
      el('div', { hidden: !pages.count }, rows.element)),
    first,
    ready: first.then(() => { rows.place = kept; }),
    live: follow,
    update(next) {
      const fresh = read(next);
      if (query(fresh) === query(keys)) return;
      // The link to a kind or a group is above the list, maybe out of sight.
      const isFar = (fresh.group && fresh.group !== keys.group) || document.activeElement?.closest('.kind');
      keys = fresh;
      rows.place = undefined;
      void load().then(() => isFar && rows.element.closest('section')?.scrollIntoView());
    },
    keys: [['j', 'First trial of the list', () => { rows.element.focus(); rows.activate(Math.max(0, rows.active)); }]],
    place: () => rows.place,
    close() {
      clearTimeout(typing);
      rows.close();
    },
  };
}

/** Returns whether each parenthesis and quote is closed. In a filter that is being typed, some are not. @param {string} filter */
function isClosed(filter) {
  const rest = filter.replace(/"(?:[^"\\]|\\.)*"/g, '');
  return !rest.includes('"') && rest.split('(').length <= rest.split(')').length;
}
