// @ts-check
// What a run is doing at the moment: each attempt in flight with what it does and since when, and what waits for its time.

import { get, ofRun, ofTrial } from './api.js';
import { visibleLine } from './text.js';
import { button, el, put, say } from './ui.js';
import { count, duration, since } from './words.js';

/** How many attempts, and how many that wait, are shown before somebody asks for all. */
const SHOWN = 6;

/**
 * A time that goes on by itself: from what the server said it was when it was heard.
 * @typedef {{place: HTMLElement, from: number, by: 1 | -1, due?: string, words: (time: string) => string}} Ticking
 */

export class Activity {
  /** @param {string} run */
  constructor(run) {
    this.run = run;
    /** @type {Api.RunActivity | null} */
    this.heard = null;
    this.heardAt = 0;
    this.isWhole = false;
    /** @type {Ticking[]} */
    this.ticking = [];
    this.body = el('ul', { class: 'activity', 'aria-label': 'Being executed' });
    this.more = button('', () => { this.isWhole = !this.isWhole; this.#draw(); }, 'small');
    this.owner = el('span', { class: 'quiet' });
    this.element = el('section', { class: 'activity-place', 'aria-label': 'What it is doing', hidden: true },
      this.body, el('p', { class: 'facts' }, this.more, this.owner));
  }

  /** Asks once; after that the events of the run tell. */
  async ask() {
    try {
      this.show((await get(`${ofRun(this.run)}/waiting`)).activity);
    } catch {
      // What has gone wrong is said by whoever shows the run.
    }
  }

  /** @param {Api.RunActivity | null} activity what is going on; `null` where nobody works on the run */
  show(activity) {
    this.heard = activity;
    this.heardAt = performance.now();
    this.#draw();
  }

  /** Says which process it is. @param {Api.LiveSession | null} live */
  by(live) {
    say(this.owner, live ? `by process ${live.pid ?? '?'}${live.host ? ` on ${visibleLine(live.host)}` : ''}` : '');
  }

  #draw() {
    const { heard } = this;
    this.element.hidden = !heard;
    this.ticking = [];
    if (!heard) return put(this.body);
    const most = this.isWhole ? Infinity : SHOWN;
    const [flying, waiting] = [heard.in_flight, heard.waiting];
    const hidden = Math.max(0, flying.length - most) + Math.max(0, waiting.length - most);
    // The line that somebody has gone to stays in their hand.
    const focused = this.body.contains(document.activeElement) ? document.activeElement?.getAttribute('href') : null;
    const lines = [
      ...flying.slice(0, most).map((one) => this.#flying(one)),
      ...waiting.slice(0, most).map((one) => this.#waiting(one)),
    ];
    if (heard.without_workers_since) lines.unshift(el('li', { class: 'open' }, el('span', null, 'Waits for workers: none is there'), el('span', { class: 'quiet' }, 'began to wait ', since(heard.without_workers_since))));
    if (!lines.length) lines.push(el('li', { class: 'quiet' }, heard.paused ? 'Nothing: it is paused.' : 'Nothing at this moment.'));
    put(this.body, lines);
    if (focused) /** @type {HTMLElement | undefined} */ ([...this.body.querySelectorAll('a')].find((one) => one.getAttribute('href') === focused))?.focus({ preventScroll: true });
    this.more.hidden = !hidden && !(this.isWhole && flying.length + waiting.length > SHOWN);
    say(this.more, this.isWhole ? 'Show fewer' : `Show ${count(hidden)} more`);
    // Attempts come and go: what is below them does not jump.
    this.body.style.setProperty('--lines', String(Math.max(lines.length, Number(this.body.style.getPropertyValue('--lines')) || 0)));
    this.tick();
  }

  /** @param {Api.InFlightAttempt} one */
  #flying(one) {
    const [what, all] = [el('span', { class: 'doing' }, doing(one)), el('span', { class: 'quiet n' })];
    if (one.phase_elapsed_ms !== null && one.phase) this.ticking.push({ place: what, from: one.phase_elapsed_ms, by: 1, words: (time) => `${doing(one)} for ${time}` });
    if (one.elapsed_ms !== null) this.ticking.push({ place: all, from: one.elapsed_ms, by: 1, words: (time) => `${time} in all` });
    return el('li', null, this.#name(one, '○', 'live'), what, all);
  }

  /** @param {Api.ComingAttempt} one */
  #waiting(one) {
    const what = el('span', { class: 'doing open' });
    this.ticking.push({ place: what, from: one.left_ms, by: -1, due: 'is due now', words: (time) => (one.why === 'retry' ? `tries again in ${time}` : `waits for its rate limit, ${time} more`) });
    return el('li', null, this.#name(one, '↻', 'open'), what);
  }

  /** @param {Api.InFlightAttempt | Api.ComingAttempt} one @param {string} glyph @param {string} tone */
  #name(one, glyph, tone) {
    return el('span', { class: 'name' }, el('span', { class: tone, 'aria-hidden': 'true' }, `${glyph} `), el('a', { class: 'mono', href: ofTrial(this.run, one.trial) }, visibleLine(one.trial)),
      one.attempt > 1 || (one.attempts ?? 1) > 1 ? el('span', { class: 'quiet' }, ` attempt ${attemptOf(one)}`) : null);
  }

  /** Lets the times go on, which stand still while the run is paused. */
  tick() {
    const passed = this.heard?.paused ? 0 : performance.now() - this.heardAt;
    for (const { place, from, by, due, words } of this.ticking) {
      const time = Math.max(0, Math.round(from + by * passed));
      say(place, due && time === 0 ? due : words(duration(time)));
    }
  }
}

/** @param {Api.InFlightAttempt | Api.ComingAttempt} one */
const attemptOf = (one) => (one.attempts === null ? count(one.attempt) : `${count(one.attempt)} of ${count(one.attempts)}`);

/** What an attempt is doing, where its runner says that. @param {Api.InFlightAttempt} one */
export function doing(one) {
  if (one.phase === 'computing') return 'computes';
  if (one.phase !== 'host-call') return 'is executed';
  const [kind, ...place] = String(one.what ?? 'host').split(' ');
  if (kind === 'http') return `waits for ${visibleLine(place.join(' ') || 'an HTTP answer')}`;
  return { sleep: 'sleeps', file: 'reads or writes a file', memory: 'waits for memory' }[kind] ?? 'waits for the host';
}
