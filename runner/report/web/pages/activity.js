// @ts-check
// The attempts in flight with their last line of output, trials that wait, plugins that are being compiled, and workers.

import { now, trialPath } from '../base/api.js';
import { el, link, table } from '../base/ui.js';
import { count, duration, outcome, plural, result, since, state, time } from '../base/words.js';

/** Number of listed attempts, and of listed waiting trials. */
const MAX_LISTED = 20;
/** Number of listed attempts that ended last. */
export const MAX_ENDED = 6;
/** Number of listed workers, and of the named attempts of each. */
const [MAX_WORKERS, MAX_ATTEMPTS] = [60, 3];

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
  /** Repeats that do the same have one row. @type {Map<string, any[]>} */
  const alike = new Map();
  for (const one of attempts) {
    const name = `${one.trial.replace(/#\d+$/, '')} ${one.attempt} ${step(one)}`;
    alike.set(name, [...alike.get(name) ?? [], one].sort((left, right) => repeat(left) - repeat(right)));
  }
  const groups = [...alike];
  const isSilent = !groups.some(([, [one]]) => one.output?.text.trim());
  const rows = [
    ...groups.slice(0, MAX_LISTED).map(([name, all, [one, ...others] = all]) =>
      row(name, [trial(one), others.map((other) => [' ', link(trialPath(run, other.trial), `#${repeat(other)}`)])], isPaused ? `paused · ${step(one)}` : step(one),
        duration(Math.max(...all.map(({ ms }) => ms)) + since(live.at, clock)), one.output?.text.trimEnd().split('\n').at(-1))),
    ...compiling.map((/** @type {any} */ one) => row(`plugin ${one.plugin}`, one.plugin, 'is being compiled', duration(since(one.since, clock)))),
    ...waiting.slice(0, MAX_LISTED).map((/** @type {any} */ one) =>
      row(`${one.trial} waits`, trial(one), `${one.grader ? `grader ${one.grader} ` : ''}${REASONS[one.why] ?? one.why}, time left:`, left(one, clock))),
  ];
  const hidden = groups.slice(MAX_LISTED).reduce((sum, [, all]) => sum + all.length, 0) + Math.max(0, waiting.length - MAX_LISTED);
  const summary = live && [plural(attempts.length, 'attempt'), waiting.length > 0 && `, ${plural(waiting.length, 'trial')} waiting`, live.waits_for_memory && ', more wait for memory',
    live.workers > 0 && `, ${plural(live.workers, 'worker process', 'worker processes')}`, live.deaths > 0 && `, ${count(live.deaths)} ended`];
  return el('section', null,
    el('h2', null, 'Running', el('small', null, summary)),
    live?.grace_until && el('p', { class: 'note live' }, grace(Date.parse(live.grace_until) - now())),
    rows.length > 0 && table('Running attempts', ['Attempt', 'Step', 'Last output', el('div', { class: 'n' }, 'Age')], rows, isSilent ? 'activity silent' : 'activity'),
    (!rows.length || live?.waits_for_workers) && el('p', { class: 'quiet' }, STAGES[live?.stage] ?? live?.waits_for_workers ?? 'No attempt is running.'),
    hidden > 0 && el('p', { class: 'quiet' }, `and ${count(hidden)} more`));
}

/** The attempts that ended last, the newest first. @param {string} run @param {any} times the end of its timeline */
export function ended(run, times) {
  const list = times?.spans.filter((/** @type {any} */ one) => one.trial && one.wait === null).sort((/** @type {any} */ one, /** @type {any} */ other) => other.to_ms - one.to_ms) ?? [];
  return list.length > 0 && [el('h3', null, 'Last ended'), el('ul', { class: 'ended' }, list.slice(0, MAX_ENDED).map((/** @type {any} */ one) =>
    el('li', { key: `${one.trial} ${one.attempt}` }, outcome(result(one), ''), link(trialPath(run, one.trial), one.trial), el('span', { class: 'n quiet' }, duration(one.to_ms - one.from_ms)))))];
}

/** The rest of the grace period of a stop. @param {number} ms */
const grace = (ms) => (ms > 0 ? `Running attempts have ${duration(Math.ceil(ms / 1000) * 1000)} to end, then they are interrupted.` : 'Running attempts are being interrupted.');

/** Workers on other machines: lost ones first, then those with the most errors. @param {any} document @param {any} live the run's `live.json` */
export function workers({ run, workers: rows = [] }, live) {
  const known = new Map(rows.map((/** @type {any} */ one) => [one.worker, one]));
  const joined = new Map((live?.joined ?? []).map((/** @type {any} */ one) => [one.worker, one.lost_at]));
  const lost = [...joined].flatMap(([name, at]) => (at ? [name] : []));
  const names = [...new Set([...lost, ...known.keys(), ...joined.keys()])];
  if (!names.length) return null;
  const row = (/** @type {string} */ name) => {
    const { attempts = 0, errors = 0 } = known.get(name) ?? {};
    const running = live?.in_flight.filter((/** @type {any} */ one) => one.worker === name) ?? [];
    const at = joined.get(name);
    return el('tr', { key: name }, el('th', { scope: 'row' }, name),
      live && el('td', null, at ? [state('damaged', 'lost'), ' ', time(at, 'age')] : joined.has(name) ? 'connected' : ''),
      el('td', null, count(attempts)), el('td', null, count(errors)),
      live && el('td', null, running.slice(0, MAX_ATTEMPTS).map((/** @type {any} */ { trial }) => [link(trialPath(run.run, trial), trial), ' ']),
        running.length > MAX_ATTEMPTS && `and ${count(running.length - MAX_ATTEMPTS)} more`));
  };
  const heads = ['Worker', live && 'State', 'Attempts', 'Errors', live && 'Runs now'].filter(Boolean);
  return [el('h2', null, 'Workers', el('small', null, live && `${count(joined.size - lost.length)} connected${lost.length ? `, ${count(lost.length)} lost` : ''}`)),
    table('Workers', heads, names.slice(0, MAX_WORKERS).map(row)),
    names.length > MAX_WORKERS && el('p', { class: 'quiet' }, `${plural(names.length - MAX_WORKERS, 'worker')} more in `, el('code', null, 'runner show --json'))];
}

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
  el('tr', { key }, el('th', { scope: 'row' }, name), el('td', null, words), el('td', null, el('code', null, last)), el('td', { class: 'n' }, age));

/** @param {any} one */
const repeat = ({ trial }) => Number(trial.slice(trial.lastIndexOf('#') + 1));

/** @param {any} one */
const step = ({ attempt, grader, what, phase }) =>
  `${attempt > 1 ? `attempt ${attempt} · ` : ''}${grader ? `grader ${grader} · ` : ''}${what ?? PHASES[phase] ?? 'starting'}`;
