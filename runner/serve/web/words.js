// @ts-check
// Numbers, times and states as people read them.

import { now } from './api.js';
import { el } from './ui.js';

/** A whole number. The browser's own words for numbers and times take as long as all the rest of a page. @param {number} value */
export const count = (value) => String(value).replace(/\B(?=(\d{3})+$)/g, '\u202f');

/** @param {number} value @param {string} one @param {string} [more] */
export const plural = (value, one, more = `${one}s`) => `${count(value)} ${value === 1 ? one : more}`;

/** @param {number} ms */
export function duration(ms) {
  if (ms < 1) return `${ms === 0 ? 0 : ms.toFixed(2)} ms`;
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const [minutes, hours] = [Math.floor(whole / 60), Math.floor(whole / 3600)];
  if (hours < 1) return `${minutes} min ${whole % 60} s`;
  if (hours < 48) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** How long ago, by the server's clock. @param {string} at */
export function ago(at) {
  const seconds = Math.max(0, (now() - Date.parse(at)) / 1000);
  if (seconds < 5) return 'just now';
  if (seconds < 60) return `${Math.floor(seconds)} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86400)} d ago`;
}

/** A point in time as clocks here show it. @param {string} at */
export function clock(at) {
  const date = new Date(at);
  const two = (/** @type {number} */ value) => String(value).padStart(2, '0');
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

/** A time whose words stay true while the page is open. @param {string} at */
export const since = (at) => el('time', { datetime: at, title: `${clock(at)} (${at})`, 'data-ago': true }, ago(at));

/** Says anew how long ago things were. @param {ParentNode} place */
export function age(place) {
  for (const time of place.querySelectorAll('time[data-ago]')) {
    const words = ago(/** @type {HTMLTimeElement} */ (time).dateTime);
    if (time.textContent !== words) time.textContent = words;
  }
}

/** @param {number} bytes */
export function size(bytes) {
  if (bytes < 1024) return plural(bytes, 'byte');
  const units = ['KiB', 'MiB', 'GiB', 'TiB'];
  const power = Math.min(Math.floor(Math.log2(bytes) / 10), units.length);
  return `${(bytes / 1024 ** power).toFixed(1)} ${units[power - 1]}`;
}

/** A number as it is, with six digits at most. @param {number} value */
export const number = (value) => String(Number(value.toPrecision(6)));

/** @type {Record<string, [string, string]>} */
const STATUS = {
  completed: ['✓', 'good'],
  failed: ['✗', 'bad'],
  running: ['○', 'live'],
  incomplete: ['◐', 'open'],
  cancelled: ['⊘', 'dropped'],
};

/** @type {Record<string, [string, string]>} */
const OUTCOME = {
  passed: ['✓', 'good'],
  failed: ['✗', 'bad'],
  error: ['!', 'bad'],
  timeout: ['T', 'bad'],
  flaky: ['~', 'open'],
  skipped: ['–', 'quiet'],
  stopped: ['⊘', 'open'],
  ungraded: ['…', 'open'],
  pending: ['·', 'quiet'],
};

/** A word with its sign, which is not read aloud. @param {[string, string]} look @param {string} word @param {string} kind */
const sign = ([glyph, tone], word, kind) =>
  el('span', { class: `${kind} ${tone}` }, el('span', { class: `glyph glyph-${tone}`, 'aria-hidden': 'true' }, glyph), ' ', word);

/** @param {string} word */
export const status = (word) => sign(STATUS[word] ?? ['?', 'plain'], word, 'status');

/** @param {string} word */
export const outcome = (word) => sign(OUTCOME[word] ?? ['?', 'plain'], word, 'outcome');

/** @param {string} word */
export const glyph = (word) => (OUTCOME[word] ?? ['?'])[0];

/** @param {string} word */
export const tone = (word) => (OUTCOME[word] ?? ['', 'plain'])[1];

/** Whether all went well is something else than whether all was done. @param {string} word */
export function verdict(word) {
  if (word === 'none') return el('span', { class: 'verdict quiet', title: 'no verdict: not every trial has run' }, el('span', { 'aria-hidden': 'true' }, '–'), el('span', { class: 'unseen' }, 'no verdict'));
  return el('span', { class: `verdict pill ${word === 'passed' ? 'good' : 'bad'}` }, word);
}

/** Why a run has ended before its end, and what to do. @type {Record<string, [string, string]>} */
const REASONS = {
  plugin: ['a plugin could not be used', 'Mend the plugin or its configuration, then resume.'],
  setup: ['something that the run needs could not be had', 'See its log, then resume.'],
  internal: ['a bug of the runner', 'Please report it; resume goes on with what is left.'],
  interrupted: ['a signal interrupted it', 'Resume goes on with what is left.'],
  stopped: ['somebody stopped it', 'Resume goes on with what is left.'],
  timeout: ['its time was over', 'Resume gives what is left the same time again.'],
  crashed: ['its process was killed, or the machine went down', 'Nothing that was recorded is lost: resume goes on with what is left.'],
  storage: ['a row could not be written', 'Make room on the disk, then resume.'],
  holes: ['shards were merged that had not run all of their trials', 'Resume runs what is left.'],
  'fail-fast': ['too many trials ended badly', 'Look at the failures; resume goes on with what is left.'],
  budget: ['a budget is used up', 'Raise the budget, then resume.'],
  cancelled: ['somebody cancelled it', 'It is not meant to go on.'],
};

/** @param {string | null | undefined} reason @param {string | null} [signal] */
export function reason(reason, signal) {
  if (!reason) return null;
  const [why] = REASONS[reason.replaceAll('_', '-')] ?? [reason];
  return signal ? `${why} (${signal})` : why;
}

/** @param {string | null | undefined} reason */
export const hint = (reason) => (reason ? REASONS[reason.replaceAll('_', '-')]?.[1] ?? null : null);

/** How many trials have a final row. @param {Api.ManifestCounts} counts */
export const done = (counts) => counts.passed + counts.failed + counts.error + counts.timeout + counts.skipped;

/** What trials came to, in the order in which people want to know. */
export const OUTCOMES = ['failed', 'error', 'timeout', 'passed', 'skipped'];

/** `2 failed, 10 passed`. @param {any} counts */
export function counted(counts) {
  const parts = OUTCOMES.filter((word) => counts[word] > 0).map((word) =>
    word === 'error' ? plural(counts.error, 'error') : word === 'timeout' ? plural(counts.timeout, 'timeout') : `${count(counts[word])} ${word}`);
  if (counts.flaky > 0) parts.push(`${count(counts.flaky)} flaky`);
  return parts.join(', ') || 'none done';
}

/** The bar of what trials came to; its words stand beside it. @param {any} counts */
export function stackedBar(counts) {
  const bar = el('span', { class: 'stack', role: 'img', 'aria-label': `${counted(counts)}, of ${count(counts.planned)}` });
  const whole = Math.max(counts.planned, done(counts), 1);
  for (const word of ['passed', 'failed', 'error', 'timeout', 'skipped']) {
    if (!counts[word]) continue;
    const piece = el('i', { class: `fill-${word}` });
    piece.style.width = `${(counts[word] / whole) * 100}%`;
    bar.append(piece);
  }
  return bar;
}

/** How fast trials are done, and how long the rest will take: by what was seen lately. */
export class Pace {
  /** @type {{at: number, done: number}[]} */
  #seen = [];

  /** @param {number} done */
  note(done) {
    const at = performance.now();
    if (this.#seen.at(-1)?.done !== done) this.#seen.push({ at, done });
    while (this.#seen.length > 2 && at - this.#seen[0].at > 15000) this.#seen.shift();
  }

  /** Trials in a second; `null` where too little was seen. */
  rate() {
    const [first, last] = [this.#seen[0], this.#seen.at(-1)];
    const seconds = first ? (performance.now() - first.at) / 1000 : 0;
    return first && last && seconds > 1 && last.done > first.done ? (last.done - first.done) / seconds : null;
  }

  /** @param {number} planned */
  words(planned) {
    const rate = this.rate();
    if (rate === null) return '';
    const left = planned - (this.#seen.at(-1)?.done ?? 0);
    const each = rate >= 10 ? `${count(Math.round(rate))}/s` : rate >= 1 ? `${rate.toFixed(1)}/s` : `${(rate * 60).toFixed(1)}/min`;
    return left > 0 ? `${each}, ${duration((left / rate) * 1000)} left` : each;
  }
}
