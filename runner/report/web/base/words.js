// @ts-check
// Formats numbers, times, states and outcomes as the terminal does.

import { get, now, query } from './api.js';
import { el } from './ui.js';

/** A text of runner. Its parts in backquotes become code. @param {string} text */
export const prose = (text) => text.split(/`([^`]+)`/).map((part, at) => (at % 2 ? el('code', null, part) : part));

/** A command as a shell reads it. @param {string[]} words */
export const shell = (words) => words.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`)).join(' ');

/** A digest of which 12 digits are shown. A copy has all. @param {string} text */
export const digest = (text) => el('code', { class: 'digest', title: text }, text.slice(0, 12), el('span', null, text.slice(12)));

/** @param {number} value */
export const count = (value) => String(value).replace(/\B(?=(\d{3})+$)/g, ',');

/** The colour of a share or a score from 0 to 1: that of failures, yellow in the middle, and that of passed trials. @param {number} share */
export function heat(share) {
  const at = 2 * Math.min(Math.max(share, 0), 1) - 1;
  return `color-mix(in oklab, var(--${at < 0 ? 'failed' : 'passed'}) ${Math.round(100 * Math.abs(at))}%, var(--middle))`;
}

/** @param {number} value @param {string} one @param {string} [many] */
export const plural = (value, one, many = `${one}s`) => `${count(value)} ${value === 1 ? one : many}`;

/** Formats a score or a metric as `phrases::number` does: two digits below 1, three from 1 on, none after the point from 1,000 on. @param {number} value */
export function number(value) {
  const whole = Math.round(Math.abs(value));
  if ((Number.isInteger(value) || whole >= 1e3) && whole < 1e15) return (value < 0 ? '-' : '') + count(whole);
  if (Math.abs(value) > 1) return significant(value, 3);
  for (let digits = 2; digits < 17; digits++) if (Math.abs(Number(significant(value, digits))) !== 1) return significant(value, digits);
  return String(value);
}

/** A score with both digits after the point, for columns. @param {number} value */
export const score = (value) => number(value).replace(/^0\.\d$/, '$&0');

/** Formats a number with up to this number of digits. @param {number} value @param {number} digits */
function significant(value, digits) {
  const [long, power] = value.toExponential(digits).split('e');
  // `toPrecision` rounds the middle of two numbers up, and the terminal rounds it to the even digit.
  const isEven = /[02468]5$/.test(long) && Number(`${long}e${power}`) === value;
  const rounded = Number(isEven ? `${long.slice(0, -1)}e${power}` : value.toPrecision(digits));
  const size = Math.abs(rounded);
  if (size > 0 && (size < 1e-9 || size >= 1e15)) return rounded.toExponential().replace('+', '');
  return size > 0 && size < 1e-6 ? rounded.toFixed(9 + digits).replace(/0+$/, '') : String(rounded);
}

/** Formats a score and the least one that passes, with more digits if both would read the same. @param {number} score @param {number} least */
export function scoreAndLeast(score, least) {
  let texts = [score, least].map(number);
  // 17 digits tell two numbers apart.
  for (let digits = 3; score !== least && texts[0] === texts[1]; digits++) texts = [score, least].map((one) => significant(one, digits));
  return texts;
}

/** Formats US dollars as `phrases::cost` does: cents, below 10 cents two digits, and below a thousandth of a cent only as such. @param {number} value */
export function money(value) {
  const size = Math.abs(value);
  const cents = Math.round(100 * size);
  const text = size >= 0.0995 || !size ? `$${count(Math.floor(cents / 100))}.${String(cents % 100).padStart(2, '0')}` : size < 1e-5 ? '<$0.00001' : `$${significant(size, 2)}`;
  return (value < 0 ? '-' : '') + text;
}

/** Wilson's interval of 95 % of a share, and the share. `null` without trials. @param {any} counts @returns {{share: number, interval: [number, number], total: number} | null} */
export function wilson({ passed, failed, error, timeout }) {
  const total = passed + failed + error + timeout;
  if (!total) return null;
  const share = passed / total;
  const square = 1.959963984540054 ** 2 / total;
  const half = Math.sqrt(square * share * (1 - share) + square ** 2 / 4);
  const [low, high] = [-half, half].map((one) => Math.min(Math.max((share + square / 2 + one) / (1 + square), 0), 1));
  return { share, interval: [low, high], total };
}

/** Formats a share. Only 1 is shown as 100 %, and only 0 as 0 %. @param {number} share */
export function percent(share) {
  const tenths = Math.round(1000 * share);
  return `${((share > 0 && share < 1 ? Math.min(Math.max(tenths, 1), 999) : tenths) / 10).toFixed(1)} %`;
}

/** The change of a share in percentage points. `false` for one that is not visible. @param {number} share @param {number} before @param {string} [title] */
export function points(share, before, title, change = 100 * (share - before)) {
  return Math.abs(change) >= 0.05 && el('span', { class: change > 0 ? 'passed' : 'failed', title }, `${change > 0 ? '▲' : '▼'} ${Math.abs(change).toFixed(1)} pp`);
}

/** Formats the rate of passed trials: from 10 trials on with Wilson's interval, rounded outward. @param {any} counts */
export function rate(counts) {
  const { share, interval: [low, high], total } = wilson(counts) ?? { share: 0, interval: [0, 0], total: 0 };
  if (!total) return '';
  if (total < 10) return `${counts.passed} of ${total}`;
  return `${percent(share)} (${(Math.floor(1000 * low) / 10).toFixed(1)}–${(Math.ceil(1000 * high) / 10).toFixed(1)})`;
}

/** @param {number | null | undefined} ms */
export function duration(ms) {
  if (ms === null || ms === undefined) return '';
  const micros = Math.round(ms * 1000);
  const rounded = (/** @type {number} */ step) => Math.round(micros / step);
  if (micros < 1000) return `${micros} µs`;
  for (const { unit, size, end } of [{ unit: 'ms', size: 1000, end: 999_500 }, { unit: 's', size: 1_000_000, end: 119_500_000 }]) {
    const tenths = rounded(size / 10);
    if (micros < end && tenths < 100 && micros % size) return `${(tenths / 10).toFixed(1)} ${unit}`;
    if (micros < end) return `${rounded(size)} ${unit}`;
  }
  const [seconds, minutes, hours] = [1e6, 6e7, 3.6e9].map(rounded);
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  return minutes < 2880 ? `${Math.floor(minutes / 60)} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** Trials in a second or a minute. Empty if they are not known. @param {number | null | undefined} rate */
export const speed = (rate) => (rate ? rate >= 1 ? `${rate.toFixed(1)}/s` : `${(60 * rate).toFixed(1)}/min` : '');

/** The duration of the newest whole run with as many trials, by run. @type {Map<string, number>} */
const lastTimes = new Map();

/** The speed of a running run, and its remaining time. That of the first trials says little about the others. @param {any} run @param {any} counts @param {number | null | undefined} rate */
export function pace(run, counts, rate) {
  const left = needed(counts) - done(counts);
  const keep = (/** @type {any} */ { runs }) => lastTimes.set(run.run, runs.find((/** @type {any} */ one) => one.counts.planned === run.counts.planned)?.worked_ms ?? 0);
  if (!lastTimes.has(run.run)) void get(`/runs${query({ scenario: run.scenario, status: 'passed,failed', limit: 20 })}`).then(keep).catch(() => {});
  if (!lastTimes.has(run.run)) lastTimes.set(run.run, 0);
  const isEarly = done(counts) < needed(counts) / 20;
  const rest = isEarly ? /** @type {number} */ (lastTimes.get(run.run)) - workedFor(run) : rate ? (1000 * left) / rate : 0;
  return [speed(rate), left > 0 && rest > 0 && `about ${roughly(rest / 1000)} left${isEarly ? ', as last time' : ''}`].filter(Boolean).join(', ');
}

/** @param {number} seconds */
const roughly = (seconds) => (seconds < 55 ? `${5 * Math.ceil(seconds / 5)} s` : seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`);

/** Formats an age by the server's clock. A time of a clock that is ahead of it may be `in 5 min`. @param {string} time */
function ago(time) {
  const age = (now() - Date.parse(time)) / 1000;
  const seconds = Math.abs(age);
  if (seconds < 60) return 'just now';
  const [size, unit] = seconds < 3600 ? [60, 'min'] : seconds < 172_800 ? [3600, 'h'] : [86_400, 'd'];
  const text = `${Math.floor(seconds / size)} ${unit}`;
  return age < 0 ? `in ${text}` : `${text} ago`;
}

/** The milliseconds from a time to `clock`, by the server's clock. @param {string} time @param {number} clock */
export const since = (time, clock) => Math.max(0, clock - Date.parse(time));

/** Times when documents of running runs were first shown. @type {WeakMap<object, number>} */
const shownAt = new WeakMap();

/** The milliseconds that a run has worked, without the time between its sessions. @param {any} run */
function workedFor(run) {
  if (run.status !== 'running' || run.paused) return run.worked_ms;
  if (!shownAt.has(run)) shownAt.set(run, now());
  return run.worked_ms + now() - /** @type {number} */ (shownAt.get(run));
}

/** The time that a run has worked. @param {any} run */
export const worked = (run) => duration(workedFor(run));

const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
const date = new Intl.DateTimeFormat(undefined, { weekday: 'short', day: 'numeric', month: 'short', year: 'numeric' });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'long', hourCycle: 'h23' });

/** A day without its year. */
const DAY = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short' });
const SECONDS = new Intl.DateTimeFormat(undefined, { timeStyle: 'medium', hourCycle: 'h23' });

/** Formats times in the order of a list as days, or as times of their only day, with seconds if two would read the same. @param {string[]} times @returns {(time: string) => string} */
export function short(times) {
  const texts = (/** @type {Intl.DateTimeFormat} */ form) => new Set(times.map((one) => form.format(new Date(one)))).size;
  const form = texts(DAY) > 1 ? DAY : texts(clock) < times.length ? SECONDS : clock;
  return (time) => form.format(new Date(time));
}

/** The day of a time on this machine: `Today`, `Yesterday` or a date. @param {string} time */
export function day(time) {
  const text = date.format(new Date(time));
  if (text === date.format(now())) return 'Today';
  return text === date.format(now() - 86_400_000) ? 'Yesterday' : text;
}

/** A local time with its zone. @param {string} time */
export const local = (time) => full.format(new Date(time));

/** A local time with its zone in the title. @param {string} time @param {'age' | 'clock' | 'full'} form */
export function time(time, form) {
  const text = form === 'age' ? ago(time) : form === 'clock' ? clock.format(new Date(time)) : local(time);
  return el('time', { class: form === 'age' && 'age', datetime: time, title: form === 'full' ? time : local(time) }, text);
}

/** @param {number} bytes */
export function size(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  let tenths = (10 * bytes) / 1024;
  let unit = 0;
  // From 1023.95 on, the number would be shown as 1024.0.
  for (; tenths >= 10239.5 && unit < 4; unit++) tenths /= 1024;
  // The terminal rounds the middle of two numbers to the even digit.
  const isEven = tenths % 2 === 0.5;
  return `${(isEven ? Math.floor(tenths) : Math.round(tenths)) / 10} ${'KMGTP'[unit]}iB`;
}

/** States of runs in the order of the filters. */
export const STATE_WORDS = ['failed', 'passed', 'running', 'incomplete', 'cancelled', 'not-started', 'damaged'];

/** Mark and class of each outcome of a trial and each state of a run. @type {Record<string, [string, string]>} */
const MARKS = {
  error: ['!', 'error'],
  timeout: ['◷', 'timeout'],
  failed: ['✗', 'failed'],
  unexpected: ['✗', 'failed'],
  known: ['≈', 'known'],
  passes: ['✗✓', 'failed'],
  unexpected_pass: ['✗✓', 'failed'],
  flaky: ['~', 'flaky'],
  passed: ['✓', 'passed'],
  skipped: ['–', 'skipped'],
  ungraded: ['…', 'running'],
  stopped: ['⊘', 'cancelled'],
  running: ['○', 'running'],
  paused: ['❚❚', 'paused'],
  planned: ['·', 'skipped'],
  incomplete: ['◐', 'incomplete'],
  cancelled: ['⊘', 'cancelled'],
  'not-started': ['✗', 'failed'],
  damaged: ['⚠', 'failed'],
};

/** The outcome of a trial, with its mark. `text` replaces the word. @param {string} word @param {string} [text] */
export function outcome(word, text = word) {
  const [mark, tone] = MARKS[word] ?? ['?', ''];
  return el('span', { class: `mark ${tone}` }, el('span', { class: 'sign', 'aria-hidden': 'true' }, mark), ' ', text);
}

/** The word of a trial's result: its outcome, or that by the list of known failures. @param {any} one */
export const result = ({ known, flaky, outcome: word }) => (known ? known === 'known' ? known : 'passes' : flaky ? 'flaky' : word);

/** The mark of an outcome alone, as a link. @param {string} word @param {Record<string, any>} props */
export const sign = (word, props) => el('a', { class: `mark ${MARKS[word]?.[1] ?? ''}`, ...props }, MARKS[word]?.[0] ?? '?');

/** The name of a test in a list. Its folders are cut first. @param {string} test */
export function testName(test) {
  const at = test.lastIndexOf('/') + 1;
  return [at > 0 && el('span', { class: 'folders' }, test.slice(0, at)), el('span', { class: 'test' }, test.slice(at))];
}

/** The state of a run. @param {string} word @param {string} [text] */
export const state = (word, text = word.replace('not-started', 'could not start')) => outcome(word, text);

/** The state of a run in a few words: the failed trials first, if there are any. @param {any} run */
export function verdict(run) {
  const bad = parts(run.counts).filter(([key]) => ['failed', 'error', 'timeout', 'unexpected'].includes(key)).map(([, phrase]) => phrase).join(', ');
  if (run.state === 'passed' && run.counts.known) return state('passed', `passed, ${count(run.counts.known)} known`);
  if (run.state === 'failed') return state('failed', bad || 'failed');
  const detail = run.stopping ? 'stopping' : run.paused ? 'paused' : run.status !== 'running' ? '' : run.stage === 'waiting' ? 'waiting' : run.message ? 'no workers' : '';
  const failed = bad && run.state !== 'passed' ? el('span', { class: 'failed' }, ` · ${bad}`) : null;
  return el('span', null, state(detail === 'paused' ? detail : run.state, detail || undefined), failed);
}

/** A user with machine and reason. @param {any} by */
export const actor = ({ user, host, reason }) => `${user} on ${host}${reason ? `: ${reason}` : ''}`;

/** The newest counts of a run, or those of the failures that its page shows, so that both agree. @param {any} view */
export const countsOf = ({ document, progress, reading }) => ({ ...document.run.counts, ...progress?.counts, ...reading });

/** Whether a run has ended with all of its trials. @param {any} run */
export const isWhole = (run) => ['passed', 'failed'].includes(run.state) && !run.shard;

/** Outcomes of a bar or a column, from its start. */
export const OUTCOMES = ['failed', 'error', 'timeout', 'unexpected', 'known', 'skipped', 'passed'];

/** The number of trials that are done. @param {any} counts */
export const done = (counts) => counts.passed + counts.failed + counts.error + counts.timeout + counts.skipped;

/** The number of trials that are done at the end: at most this one while adaptive repeats run. @param {any} counts */
export const needed = (counts) => (counts.planned ?? done(counts)) - (counts.not_needed ?? 0);

/** The counts beside known failures: unexpected results in place of failures, errors and timeouts. @param {any} counts */
export function beside(counts) {
  const { known = 0, unexpected_passes: passes = 0, passed, failed, error, timeout } = counts;
  return known + passes ? { ...counts, passed: passed - passes, failed: 0, error: 0, timeout: 0, unexpected: failed + error + timeout - known + passes } : counts;
}

/** Changes of tests between two runs in the order of lists: key, words and class. The last three are only in Compare. @type {[string, string, string][]} */
export const CHANGES = [
  ['regressed', 'regressed', 'failed'],
  ['still-failing', 'still failing', 'failed'],
  ['unexpected-pass', 'passing although known', 'failed'],
  ['known', 'known', 'known'],
  ['fixed', 'fixed', 'passed'],
  ['flaky', 'flaky', 'flaky'],
  ['newly-skipped', 'newly skipped', 'skipped'],
  ['new', 'new', 'running'],
  ['gone', 'gone', 'skipped'],
  ['passing', 'passing', 'passed'],
  ['not-judged', 'not judged', 'skipped'],
  ['unpaired', 'only in one run', 'skipped'],
];

/** The counts that are not 0: pairs of an outcome and a phrase. @param {any} counts @returns {[string, string][]} */
export function parts(counts) {
  const shown = beside(counts);
  const words = [['failed', 'failed', 'failed'], ['error', 'error', 'errors'], ['timeout', 'timeout', 'timeouts'],
    ['unexpected', 'unexpected', 'unexpected'], ['known', 'known', 'known'], ['passed', 'passed', 'passed'], ['skipped', 'skipped', 'skipped'], ['ungraded', 'ungraded', 'ungraded']];
  // A flaky trial is also a passed one.
  const flaky = shown.flaky > 0 ? ` (${count(shown.flaky)} flaky)` : '';
  return words.filter(([key]) => shown[key] > 0).map(([key, one, many]) => [key, plural(shown[key], one, many) + (key === 'passed' ? flaky : '')]);
}

/** A bar of the outcomes of a run's trials. @param {any} counts */
export function bar(counts) {
  const whole = Math.max(needed(counts), done(counts), 1);
  const words = parts(counts).map(([, phrase]) => phrase).join(', ') || 'no results';
  const label = `${words}, of ${count(needed(counts))}`;
  // Each count above 0 is visible, even with a small share.
  const shown = beside(counts);
  const pieces = OUTCOMES.filter((key) => shown[key] > 0).map((key) =>
    el('i', { class: `fill-${key}`, key, style: { 'flex-grow': String(shown[key]), 'min-width': '2px' } }));
  const left = el('i', { key: 'left', style: { 'flex-grow': String(whole - done(counts)) } });
  return el('span', { class: 'bar', role: 'img', 'aria-label': label }, pieces, left);
}

/** The text of a page without runs. `server` is its document. @param {any} server */
export const noRuns = ({ scenarios, read_only: isReadOnly }) => el('p', { class: 'empty' }, 'No runs yet. ', scenarios && !isReadOnly ? [el('a', { href: '/start' }, 'Start one'), ' or type '] : 'Start one with ',
  el('code', null, 'runner exec SCENARIO'), '. To create a first scenario: ', el('code', null, 'runner init'), '.');

/** The end of a run in words, and the next step, by its reason. @type {Record<string, [string, string]>} */
const REASONS = {
  plugin: ['A plugin could not be used.', 'Repair the plugin or its configuration, then resume.'],
  setup: ['Something that the run needs is missing.', 'See the log, then resume.'],
  machine: ['The machine ran out of memory, open files or threads.', 'Free some of it, then resume.'],
  internal: ['A bug in runner.', 'Report it. Resume runs the remaining trials.'],
  interrupted: ['Interrupted by a signal.', ''],
  stopped: ['Stopped.', ''],
  timeout: ['The time limit of the run was reached.', 'Resume gives the remaining trials the same time again.'],
  crashed: ['The process of the run was killed.', 'No recorded result is lost.'],
  storage: ['A result could not be stored.', 'Free disk space, then resume.'],
  'fail-fast': ['Too many trials failed.', ''],
  budget: ['A budget is used up.', 'Resume with a higher budget in a terminal.'],
  holes: ['Shards with trials left were merged.', ''],
  cancelled: ['Cancelled.', ''],
};

/** The reason of an early end, with its user and the next step. `null` without one. @param {any} run @param {any} [by] @returns {string | null} */
export function reason(run, by) {
  if (run.status === 'running' || !run.reason) return null;
  const [why, help] = REASONS[run.reason] ?? [run.reason, ''];
  const left = needed(run.counts) - done(run.counts);
  const rest = left > 0 && run.status === 'incomplete' && !help ? `Resume to run the remaining ${plural(left, 'trial')}.` : help;
  const what = run.signal ? why.replace('a signal', run.signal) : why;
  return [by ? `${what.slice(0, -1)} by ${actor(by)}.` : what, rest].filter(Boolean).join(' ');
}
