// @ts-check
// The failed trials of a run by reason, new failures first, and the changes since the previous run.

import { query, runPath, trialPath } from '../base/api.js';
import { el, link } from '../base/ui.js';
import { count, outcome, plural, time } from '../base/words.js';

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

/** @param {string} run @param {any} failures */
export function failed(run, failures) {
  const { groups = [], trials, left_out: leftOut, flaky, retries, retried } = failures ?? {};
  if (!groups.length && !flaky && !retries) return null;
  const sorted = [...groups].sort((left, right) => Number(isNew(right)) - Number(isNew(left)));
  const heading = trials > 0 ? ['Failures', el('small', null, plural(trials, 'trial'))] : 'Notable trials';
  return el('section', null,
    el('h2', null, heading),
    el('ul', { class: 'groups' }, sorted.map((one) => group(run, one))),
    leftOut > 0 && el('p', { class: 'quiet' }, `${plural(leftOut, 'trial')} with other reasons are in the list below.`),
    flaky && el('p', null, outcome('flaky'), ' ', link(`${runPath(run)}${query({ filter: 'flaky()' })}`, flaky)),
    retries > 0 && el('p', { class: 'quiet' }, `Waiting for a retry: ${plural(retries, 'trial')}. `, retried.join('; ')));
}

/** @param {any} group */
const isNew = ({ change }) => /new/.test(change);

/** @param {string} run @param {any} one */
function group(run, one) {
  const rest = one.trials - one.first.length;
  const others = `${runPath(run)}${query({ filter: `outcome(${one.outcome})` })}`;
  return el('li', null,
    el('p', null, outcome(one.outcome, count(one.trials)), ' ',
      one.change && el('span', { class: isNew(one) ? 'badge new' : 'badge', title: 'Since the previous run' }, one.change.replace(/still$/, 'still failing')), ' ', el('span', { class: 'pre' }, one.reason)),
    el('p', { class: 'names' },
      one.first.map((/** @type {string} */ trial) => link(trialPath(run, trial), trial)),
      rest > 0 && link(others, `and ${count(rest)} more`)));
}
