// @ts-check
// The failed trials of a run by kind and reason, new failures first, and the changes since the previous run.

import { get, getNow, query, runPath, trialPath, tried } from '../base/api.js';
import { problem } from '../base/problem.js';
import { el, folded, link, loading, render, table } from '../base/ui.js';
import { CHANGES, count, done, outcome, percent, plural, points, prose, score, time } from '../base/words.js';
import { example, reason } from './reason.js';

/** @param {import('./run.js').RunView} view */
export function previous({ document, run }) {
  const { since_previous: base } = document;
  if (!base?.counts) return null;
  const rates = base.pass_rates;
  const rise = rates && points(rates[1], rates[0], `${percent(rates[0])} passed in ${base.short}`);
  const hasRepeats = Object.values(base.counts).reduce((sum, one) => sum + one, 0) < done(document.run.counts);
  const href = `/compare${query({ base: base.run, new: run })}`;
  const changes = CHANGES.slice(0, -3).map(([key, words, tone]) => [base.counts[key.replace('-', '_')], words.replace('regressed', 'newly failing'), tone])
    .filter(([number]) => number > 0).map(([number, words, tone]) => el('a', { class: tone, href }, `${count(number)} ${words}`));
  return el('p', { class: 'counts' },
    el('span', null, 'Since ', link(runPath(base.run), base.short), ' (', time(base.started_at, 'age'), '):'),
    changes.length ? changes : el('span', { class: 'quiet' }, 'no changes'), hasRepeats && el('span', { class: 'quiet' }, '(tests, each on a provider)'),
    base.scores && el('span', null, `mean score ${base.scores.map(score).join(' → ')}`), rise && el('span', null, percent(rates[1]), ' passed ', rise));
}

/** Kinds and reasons of a kind that are shown at first, and reasons of all of them. */
const [MOST_KINDS, MOST_REASONS, MOST_OF_ALL] = [8, 5, 15];

/** @param {string} run @param {any} failures @param {any} counts those of the run */
export function failed(run, failures, counts) {
  const { kinds = [], trials, checks, left_out: leftOut, flaky, retries, retried } = failures ?? {};
  if (!kinds.length && !flaky && !retries) return null;
  const heading = trials > 0 ? ['Failures', el('small', { title: checks ? 'A trial counts in the kind of each of its failed checks' : null }, plural(trials, 'trial'), checks && `, ${plural(checks, 'failed check')}`)] : 'Notable trials';
  const most = Math.max(1, Math.min(MOST_REASONS, Math.floor(MOST_OF_ALL / Math.min(MOST_KINDS, kinds.length))));
  return el('section', null,
    el('h2', null, heading),
    some(kinds.map((/** @type {any} */ one) => kind(run, one, most, checks ? 'failure' : 'trial')), MOST_KINDS, 'kind'),
    leftOut > 0 && el('p', { class: 'quiet' }, `${plural(leftOut, 'trial')} of other kinds are in the list below.`),
    flaky && recovered(run, flaky, counts.flaky),
    retries > 0 && el('p', { class: 'quiet' }, `Waiting for a retry: ${plural(retries, 'trial')}. `, retried.join('; ')));
}

/** The flaky trials. `text` has the first of them. @param {string} run @param {string} text @param {number} trials */
function recovered(run, text, trials) {
  const path = `${runPath(run)}${query({ filter: 'flaky()' })}`;
  const [first] = /^.+?@.+?#\d+(?=, | and |$)/s.exec(text) ?? [];
  return el('div', { key: 'flaky', class: 'kind' }, el('h3', null, link(path, outcome('flaky'), ' ', count(trials))),
    el('div', { class: 'groups' }, el('div', { class: 'group' }, el('p', { title: text }, 'passed after a bad attempt'),
      first ? names(run, { first: [first], trials }, path) : el('p', { class: 'names' }, link(path, text)))));
}

/** Why an entry is stale, and what to do. @type {Record<string, string>} */
export const STALE = {
  expired: 'Its last day is over. Fix the tests, or write a later `until`.',
  changed: 'Its tests or their expectations have changed. `runner known --update` confirms it.',
  unmatched: 'It matches no trial. Remove it.',
  outcome: 'It expects another outcome. `runner known --update` adds an entry.',
};

/** The known failures of a run by the reasons of their entries, and the entries that do not apply. @param {any} run @param {any} failures */
export function known({ run, short }, failures) {
  const { known: all = 0, known_reasons: reasons = [], stale = [], stale_entries: entries = 0 } = failures ?? {};
  if (!all && !entries) return null;
  const words = [all > 0 && plural(all, 'trial'), entries > 0 && plural(entries, 'stale entry', 'stale entries')].filter(Boolean).join(', ');
  const reason = (/** @type {any} */ one) => el('div', { key: one.key, class: 'group' }, el('p', null, el('b', null, count(one.trials)), ' ', link(listPath(run, one.key), one.reason)), names(run, one));
  const row = (/** @type {any} */ one) => el('tr', { key: one.place }, el('td', { class: 'failed' }, one.why), el('th', { scope: 'row' }, el('code', null, one.place), el('small', null, one.tests.join(', '))),
    el('td', null, one.reason), el('td', null, prose(STALE[one.why]), one.until && one.why === 'expired' && el('small', null, `until ${one.until}`)));
  return el('section', null, el('h2', null, 'Known failures', el('small', null, words)),
    all > 0 && el('div', { class: 'groups' }, reasons.map(reason)), entries > 0 && [
    el('h3', null, 'Stale entries: their trials count as without them'), table('Stale entries', ['State', 'Entry', 'Reason', 'To do'], stale.map(row), 'stale'),
    el('p', { class: 'quiet' }, entries > stale.length && `${count(entries - stale.length)} more: runner known. `, 'To write the results of this run into the lists: ', el('code', null, `runner known ${short} --update`))]);
}

/** The first trial, and a link to all. @param {string} run @param {any} one */
const names = (run, one, path = listPath(run, one.key)) => el('p', { class: 'names' }, link(trialPath(run, one.first[0]), one.first[0]), more(one.trials - 1, path));

/** @param {number} trials @param {string} path */
const more = (trials, path) => trials > 0 && link(path, `and ${count(trials)} more`);

/** The list of the trials of a kind or a group. @param {string} run @param {string} group */
const listPath = (run, group) => `${runPath(run)}${query({ group })}`;

/** The list of the trials of a kind, by a filter if it has one. @param {string} run @param {any} one */
const kindPath = (run, { key, filter }) => (filter ? `${runPath(run)}${query({ filter })}` : listPath(run, key));

/** The first items, and the others folded. @param {import('../base/ui.js').Child[]} items @param {number} most @param {string} noun */
const some = (items, most, noun) => [items.slice(0, most), items.length > most &&
  el('details', { key: 'more', class: 'more' }, el('summary', null, plural(items.length - most, `more ${noun}`)), items.slice(most))];

/** A check, a grader or a class of errors with its reasons. @param {string} run @param {any} one @param {number} most @param {string} noun */
const kind = (run, one, most, noun) => el('div', { key: one.key, class: 'kind' },
  el('h3', null, link(kindPath(run, one), outcome(one.outcome === 'passed' ? 'passes' : one.outcome, one.kind), ' ', count(one.trials))),
  el('div', { class: 'groups' }, some(one.groups.map((/** @type {any} */ group) => reasons(run, group, group.reason.startsWith(`${one.kind}: `) ? group.reason.slice(one.kind.length + 2) : group.reason, one.outcome === 'failed' && !one.kind.startsWith('grader '))), most, 'reason'),
    one.left_out > 0 && el('p', null, link(kindPath(run, one), `${plural(one.left_out, noun)} with other reasons: all of this kind`))));

/** Trials with the same reason. The names are to the right, or once they are shown, above each trial. @param {string} run @param {any} one @param {string} words @param {boolean} hasValues */
function reasons(run, one, words, hasValues) {
  const isNew = /new/.test(one.change);
  const head = el('span', { class: 'head' }, el('b', null, count(one.trials)), ' ',
    one.change && el('span', { class: isNew ? 'badge new' : 'badge', title: 'Since the previous run' }, one.change.replace(/still$/, `still ${one.reason.startsWith('passes') ? 'passing' : 'failing'}`)), ' ', el('span', { class: hasValues ? 'pre' : 'pre prose', title: one.reason }, words));
  const examples = () => (one.first.length < 2 ? opened(run, one.first[0]) : [one.first.map((/** @type {string} */ trial, /** @type {number} */ at) =>
    folded(trial, () => [opened(run, trial), link(trialPath(run, trial), 'All about this trial')], at === 0)), more(one.trials - one.first.length, listPath(run, one.key))]);
  return el('div', { key: one.key, class: 'group' }, folded(head, examples), names(run, one),
    el('div', { key: one.first[0], class: 'printed', 'data-path': trialPath(run, one.first[0]), ref: () => {} }));
}

// Browsers do not wait for requests before they print, so up to 30 examples are read.
addEventListener('beforeprint', () => [.../** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll('.group > .printed:empty'))].slice(0, 30)
  .forEach((place) => tried(() => render(place, example(getNow(place.dataset.path ?? ''))), undefined)));

/** The reason of a trial with its output, which is loaded now. @param {string} run @param {string} trial */
const opened = (run, trial) => el('div', { ref: async (/** @type {HTMLElement} */ place) => {
  render(place, loading());
  try {
    render(place, reason(await get(trialPath(run, trial))));
  } catch (error) {
    render(place, problem(error));
  }
} });
