// @ts-check
// The attempts in flight with their last line of output, trials that wait, and plugins that are being compiled.

import { now, trialPath } from '../base/api.js';
import { el, link } from '../base/ui.js';
import { count, duration, plural, since } from '../base/words.js';

/** Number of listed attempts, and of listed waiting trials. */
const MAX_LISTED = 20;

/** @type {Record<string, string>} */
const STAGES = { waiting: 'Waits for other runs of its group.', plan: 'Loading plugins…', finish: 'Finishing…' };
/** @type {Record<string, string>} */
const PHASES = { computing: 'computing', ready: 'waits for the processor', waiting: 'waiting' };
/** @type {Record<string, string>} */
const REASONS = { retry: 'waits for its retry', 'rate-limit': 'waits for its rate limit' };

/** @param {string} run @param {any} live the run's `live.json` */
export function activity(run, live) {
  const { in_flight: attempts = [], waiting = [], compiling = [], paused: isPaused } = live ?? {};
  // The times of a paused run stop.
  const clock = isPaused ? Date.parse(live.at) : now();
  const trial = (/** @type {any} */ one) => link(trialPath(run, one.trial), one.trial);
  const rows = [
    ...attempts.slice(0, MAX_LISTED).map((/** @type {any} */ one) =>
      row(`${one.trial} ${one.attempt} ${one.grader}`, trial(one), isPaused ? `paused · ${step(one)}` : step(one), duration(one.ms + since(live.at, clock)), lastLine(one))),
    ...compiling.map((/** @type {any} */ one) => row(`plugin ${one.plugin}`, one.plugin, 'is being compiled', duration(since(one.since, clock)))),
    ...waiting.slice(0, MAX_LISTED).map((/** @type {any} */ one) =>
      row(`${one.trial} waits`, trial(one), `${REASONS[one.why] ?? one.why}, time left:`, left(one, clock))),
  ];
  const hidden = Math.max(0, attempts.length - MAX_LISTED) + Math.max(0, waiting.length - MAX_LISTED);
  const summary = live && [plural(attempts.length, 'attempt'), waiting.length > 0 && `, ${plural(waiting.length, 'trial')} waiting`, live.waits_for_memory && ', more wait for memory'];
  return el('section', null,
    el('h2', null, 'Running', el('small', null, summary)),
    live?.grace_until && el('p', { class: 'note live' }, grace(Date.parse(live.grace_until) - now())),
    rows.length ? el('ul', { class: 'activity' }, rows)
      : el('p', { class: 'quiet' }, STAGES[live?.stage] ?? live?.waits_for_workers ?? 'No attempt is running.'),
    hidden > 0 && el('p', { class: 'quiet' }, `and ${count(hidden)} more`));
}

/** The rest of the grace period of a stop. @param {number} ms */
const grace = (ms) => (ms > 0 ? `Running attempts have ${duration(Math.ceil(ms / 1000) * 1000)} to end, then they are interrupted.` : 'Running attempts are being interrupted.');

/**
 * The running attempt of a trial, its wait, or the reason why it has not run. `at` is the time at which the attempt had its age.
 * @param {any} own @param {boolean} isPlanned whether the run has not reached the trial
 */
export function progress({ running, waiting, at, paused: isPaused, stage, compiling = [] }, isPlanned) {
  const clock = isPaused ? at : now();
  if (running) {
    const who = `${running.grader ? `Grader ${running.grader}, attempt` : 'Attempt'} ${running.attempt}`;
    const age = duration(running.ms + Math.max(0, clock - at));
    const what = running.what ?? PHASES[running.phase];
    return el('section', { class: 'note live' }, `${who} ${isPaused ? 'is paused after' : 'has been running for'} ${age}.`,
      what && ` Step: ${what} (${duration(since(running.since, clock))}).`,
      running.output?.text ? el('pre', { tabindex: 0, 'aria-label': 'Last output' }, running.output.text) : null);
  }
  if (waiting) {
    const who = waiting.grader ? `The grader ${waiting.grader}` : 'The next attempt';
    return el('p', { class: 'note live' }, `${who} ${REASONS[waiting.why] ?? waiting.why}, time left: ${left(waiting, clock)}.`);
  }
  const plugins = compiling.map((/** @type {any} */ one) => `The plugin ${one.plugin} is being compiled (${duration(since(one.since, clock))}). `);
  return isPlanned && el('p', { class: 'note live' }, plugins, STAGES[stage] ?? 'Waits for its turn.');
}

/** @param {any} waiting @param {number} clock */
const left = ({ until }, clock) => duration(Math.max(0, Date.parse(until) - clock));

/** @param {string} key @param {import('../base/ui.js').Child} name @param {string} words @param {string} age @param {string} [last] */
const row = (key, name, words, age, last = '') =>
  el('li', { key }, el('span', null, name), el('span', null, words), el('span', { class: 'n' }, age), el('code', null, last));

/** @param {any} one */
const step = ({ attempt, grader, what, phase }) =>
  `${attempt > 1 ? `attempt ${attempt} · ` : ''}${grader ? `grader ${grader} · ` : ''}${what ?? PHASES[phase] ?? 'starting'}`;

/** @param {any} one @returns {string} */
const lastLine = ({ output }) => output?.text.trimEnd().split('\n').at(-1) ?? '';
