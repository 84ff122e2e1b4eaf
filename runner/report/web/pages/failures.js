// @ts-check
// The failed trials of a run by kind and reason, new failures first, and the changes since the previous run.

import { get, query, runPath, trialPath } from '../base/api.js';
import { problem } from '../base/problem.js';
import { el, folded, link, loading, render } from '../base/ui.js';
import { count, outcome, plural, time } from '../base/words.js';
import { reason } from './reason.js';

/** Changes of tests: key, words and class. */
const CHANGES = [
  ['regressed', 'newly failing', 'failed'],
  ['still_failing', 'still failing', 'failed'],
  ['fixed', 'fixed', 'passed'],
  ['flaky', 'flaky', 'flaky'],
  ['newly_skipped', 'newly skipped', 'skipped'],
  ['new', 'new', ''],
  ['gone', 'gone', ''],
];

/** @param {import('./run.js').RunView} view */
export function previous({ document, run }) {
  const { since_previous: base } = document;
  if (!base?.counts) return null;
  const href = `/compare${query({ base: base.run, new: run })}`;
  const changes = CHANGES.filter(([key]) => base.counts[key] > 0)
    .map(([key, words, tone]) => el('a', { class: tone, href }, `${count(base.counts[key])} ${words}`));
  return el('p', { class: 'counts' },
    el('span', null, 'Since ', link(runPath(base.run), base.short), ' (', time(base.started_at, 'age'), '):'),
    changes.length ? changes : el('span', { class: 'quiet' }, 'no changes'));
}

/** Kinds and reasons of a kind that are shown at first, and reasons of all of them. */
const [MOST_KINDS, MOST_REASONS, MOST_OF_ALL] = [8, 5, 15];

/** @param {string} run @param {any} failures */
export function failed(run, failures) {
  const { kinds = [], known, trials, left_out: leftOut, flaky, retries, retried } = failures ?? {};
  if (!kinds.length && !flaky && !retries) return null;
  const heading = trials > 0 ? ['Failures', el('small', null, plural(trials, 'trial'))] : 'Notable trials';
  const most = Math.max(1, Math.min(MOST_REASONS, Math.floor(MOST_OF_ALL / Math.min(MOST_KINDS, kinds.length))));
  return el('section', null,
    el('h2', null, heading),
    some(kinds.map((/** @type {any} */ one) => kind(run, one, most)), MOST_KINDS, 'kind'),
    known > 0 && el('p', { class: 'quiet' }, link(`${runPath(run)}${query({ filter: 'known()' })}`, plural(known, 'known failure')), ' left out.'),
    leftOut > 0 && el('p', { class: 'quiet' }, `${plural(leftOut, 'trial')} of other kinds are in the list below.`),
    flaky && el('div', { class: 'kind' }, el('h3', null, outcome('flaky')), link(`${runPath(run)}${query({ filter: 'flaky()' })}`, flaky)),
    retries > 0 && el('p', { class: 'quiet' }, `Waiting for a retry: ${plural(retries, 'trial')}. `, retried.join('; ')));
}

/** The list of the trials of a kind or a group. @param {string} run @param {string} group */
const listPath = (run, group) => `${runPath(run)}${query({ group })}`;

/** The first items, and the others folded. @param {import('../base/ui.js').Child[]} items @param {number} most @param {string} noun */
const some = (items, most, noun) => [items.slice(0, most), items.length > most &&
  el('details', { key: 'more', class: 'more' }, el('summary', null, plural(items.length - most, `more ${noun}`)), items.slice(most))];

/** A check, a grader or a class of errors with its reasons. @param {string} run @param {any} one @param {number} most */
const kind = (run, one, most) => el('div', { key: one.key, class: 'kind' },
  el('h3', null, link(listPath(run, one.key), outcome(one.outcome === 'passed' ? 'unexpected' : one.outcome, one.kind), ' ', count(one.trials))),
  el('div', { class: 'groups' }, some(one.groups.map((/** @type {any} */ group) => reasons(run, group, one.kind)), most, 'reason'),
    one.left_out > 0 && el('p', null, link(listPath(run, one.key), `${plural(one.left_out, 'trial')} with other reasons: all of this kind`))));

/** Trials with the same reason, which is shown without the kind. @param {string} run @param {any} one @param {string} kind */
function reasons(run, one, kind) {
  const isNew = /new/.test(one.change);
  const words = one.reason.startsWith(`${kind}: `) ? one.reason.slice(kind.length + 2) : one.reason;
  const head = [el('b', null, count(one.trials)), ' ',
    one.change && el('span', { class: isNew ? 'badge new' : 'badge', title: 'Since the previous run' }, one.change.replace(/still$/, 'still failing')), ' ', el('span', { class: 'pre', title: one.reason }, words)];
  const examples = () => one.first.map((/** @type {string} */ trial, /** @type {number} */ at) => folded(trial, () => example(run, trial), at === 0));
  return el('div', { key: one.key, class: 'group' }, folded(head, examples),
    el('p', { class: 'names' }, link(trialPath(run, one.first[0]), one.first[0]),
      one.trials > 1 && link(listPath(run, one.key), `and ${count(one.trials - 1)} more`)));
}

/** The reason of a trial with its output, which is loaded now. @param {string} run @param {string} trial */
const example = (run, trial) => el('div', { ref: async (/** @type {HTMLElement} */ place) => {
  render(place, loading());
  try {
    render(place, reason(await get(trialPath(run, trial))), el('p', null, link(trialPath(run, trial), 'All about this trial')));
  } catch (error) {
    render(place, problem(error));
  }
} });
