// @ts-check
// The overview of a run: changes since the previous run, failures, attempts in flight, charts, and all trials.

import { get, now, query, runPath, trialPath } from '../base/api.js';
import { histogram, outcomes } from '../base/chart.js';
import { problem } from '../base/problem.js';
import { el, link, paced } from '../base/ui.js';
import { count, duration, outcome, parts, plural, since, time } from '../base/words.js';
import { denials, tables } from './tables.js';
import { trials } from './trials.js';

/** Attempts in flight that are listed. */
const MAX_ATTEMPTS = 20;

/** @param {import('./run.js').RunView} view @param {URL} address @param {any} kept @returns {import('./run.js').Part} */
export function overview(view, address, kept) {
  /** @type {any} */
  let [failures, summary, live, error] = [null, null, view.document.live, null];
  const list = trials(view, address, kept);
  const load = async () => {
    try {
      [failures, summary] = await Promise.all([get(`${runPath(view.run)}/failures`), get(`${runPath(view.run)}/summary`)]);
      error = null;
    } catch (caught) {
      error = /** @type {any} */ (caught).status === 0 ? null : caught;
    }
    view.redraw();
  };
  const read = paced(3000, load);
  const first = load();
  return {
    ...list,
    ready: Promise.all([first, list.ready]).then(() => new Promise((resolve) => setTimeout(resolve, 50))),
    content: () => [error && problem(error), previous(view), denials(view.document), failed(view, failures),
      view.document.run.status === 'running' ? activity(view.run, live) : null,
      list.content(), el('div', { class: 'columns' }, tables(view.document), charts(summary))],
    live(event) {
      if (event.name === 'progress') live = event.data.live ?? live;
      read();
      list.live?.(event);
    },
  };
}

/** @param {import('./run.js').RunView} view */
function previous({ document, run }) {
  const { since_previous: since } = document;
  if (!since?.counts) return null;
  const words = [['regressed', 'newly failing', 'failed'], ['still_failing', 'still failing', 'failed'], ['fixed', 'fixed', 'passed'],
    ['flaky', 'flaky', 'flaky'], ['new', 'new', ''], ['gone', 'gone', '']].filter(([key]) => since.counts[key] > 0);
  const shown = words.map(([key, phrase, tone]) => el('a', { class: tone, href: `/compare${query({ base: since.run, new: run })}` }, `${count(since.counts[key])} ${phrase}`));
  return el('p', { class: 'counts' }, el('span', null, 'Since ', link(runPath(since.run), since.short), ' (', time(since.started_at, 'age'), '):'),
    shown.length ? shown : el('span', { class: 'quiet' }, 'no changes'));
}

/** @param {import('./run.js').RunView} view @param {any} failures */
function failed({ run }, failures) {
  if (!failures || !(failures.groups.length || failures.flaky || failures.retries)) return null;
  const isNew = (/** @type {any} */ group) => Number(/new/.test(group.change ?? ''));
  const groups = [...failures.groups].sort((left, right) => isNew(right) - isNew(left));
  const title = failures.trials > 0 ? 'Failures' : 'Notable trials';
  return el('section', null, el('h2', null, title, el('small', null, failures.trials > 0 && plural(failures.trials, 'trial'))),
    el('ul', { class: 'groups' }, groups.map((group) => {
      const rest = group.trials - group.first.length;
      return el('li', null, el('p', null, outcome(group.outcome, count(group.trials)), ' ',
        group.change ? el('span', { class: `badge ${isNew(group) ? 'new' : ''}` }, group.change) : null, ' ', el('span', { class: 'pre' }, group.reason)),
      el('p', { class: 'names' }, group.first.map((/** @type {string} */ trial) => link(trialPath(run, trial), trial)),
        rest > 0 ? el('a', { href: `${runPath(run)}${query({ filter: `outcome(${group.outcome})` })}` }, `and ${count(rest)} more`) : null));
    })),
    failures.left_out > 0 ? el('p', { class: 'quiet' }, `${plural(failures.left_out, 'trial')} with other reasons are in the list below.`) : null,
    failures.flaky ? el('p', null, outcome('flaky'), ' ', link(`${runPath(run)}${query({ filter: 'flaky()' })}`, failures.flaky)) : null,
    failures.retries > 0 ? el('p', { class: 'quiet' }, `${plural(failures.retries, 'trial')} ${failures.retries === 1 ? 'waits' : 'wait'} for a retry: `, failures.retried.join('; ')) : null);
}

/** The attempts in flight, with their last line of output, and trials that wait. @param {string} run @param {any} live */
function activity(run, live) {
  const waits = live?.waiting ?? [];
  const attempts = live?.in_flight ?? [];
  const step = (/** @type {any} */ one) => one.what ?? one.phase ?? 'starting';
  const last = (/** @type {any} */ one) => one.output?.text.trimEnd().split('\n').at(-1) ?? '';
  const reasons = /** @type {Record<string, string>} */ ({ retry: 'waits for its retry', 'rate-limit': 'waits for its rate limit' });
  const rows = attempts.slice(0, MAX_ATTEMPTS).map((/** @type {any} */ one) => el('li', { key: `${one.trial} ${one.attempt} ${one.grader ?? ''}` },
    link(trialPath(run, one.trial), one.trial), el('span', null, one.attempt > 1 ? `attempt ${one.attempt} · ` : '', one.grader ? `grader ${one.grader} · ` : '', step(one)),
    el('span', { class: 'n' }, duration(one.ms + since(live.at))), el('code', { class: 'last' }, last(one))));
  const waiting = waits.slice(0, MAX_ATTEMPTS).map((/** @type {any} */ one) => el('li', { key: `${one.trial} waits` },
    link(trialPath(run, one.trial), one.trial), el('span', null, reasons[one.why] ?? one.why), el('span', { class: 'n' }, `${duration(Math.max(0, Date.parse(one.until) - now()))} left`), el('code', { class: 'last' })));
  const compiling = (live?.compiling ?? []).map((/** @type {any} */ one) => el('li', { key: `plugin ${one.plugin}` },
    el('span', null, one.plugin), el('span', null, 'is being compiled'), el('span', { class: 'n' }, duration(since(one.since)))));
  const hidden = Math.max(0, attempts.length - MAX_ATTEMPTS) + Math.max(0, waits.length - MAX_ATTEMPTS);
  const stages = /** @type {Record<string, string>} */ ({ waiting: 'Waits for other runs of its group.', plan: 'Loading plugins…', finish: 'Finishing…' });
  const nothing = stages[live?.stage] ?? 'No attempt is running.';
  return el('section', null, el('h2', null, 'Running', el('small', null, live ? [plural(attempts.length, 'attempt'), live.waits_for_memory ? 'more wait for memory' : ''].filter(Boolean).join(', ') : '')),
    compiling.length + rows.length + waiting.length ? el('ul', { class: 'activity' }, compiling, rows, waiting) : el('p', { class: 'quiet' }, nothing),
    hidden ? el('p', { class: 'quiet' }, `and ${count(hidden)} more`) : null);
}

/** @param {any} summary */
function charts(summary) {
  if (!summary) return null;
  const { durations, edges_ms: edges, start, step_ms: ms, bins } = summary;
  if (!durations.length) return null;
  const range = (/** @type {number} */ index) => `${duration(edges[index])} to ${duration(edges[index + 1])}`;
  const ends = /** @type {[string, string]} */ ([duration(edges[0]), duration(edges.at(-1))]);
  const step = (/** @type {number} */ index) => duration(index * ms);
  const words = (/** @type {any} */ bin) => parts(bin).map(([, phrase]) => phrase).join(', ');
  return el('section', null, el('h2', null, 'Durations'),
    durations.map((/** @type {any} */ one) => [el('h3', null, one.provider),
      histogram(`Durations of ${one.provider}, ${plural(one.counts.length, 'column')}`, one.counts, (index) => `${range(index)}: ${plural(one.counts[index], 'trial')}`, ends)]),
    bins.length > 1 ? [el('h3', null, 'Outcomes over time'), outcomes('Outcomes over time', bins,
      (index) => `after ${step(index)}: ${words(bins[index])}`, [time(start, 'clock'), step(bins.length)])] : null);
}
