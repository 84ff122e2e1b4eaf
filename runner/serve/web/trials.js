// @ts-check
// The trials of a run: filtered by the server, in a table of any length.

import { get, ofRun, ofTrial, query } from './api.js';
import { SORT, trialKeys, TRIALS } from './first.js';
import { problem } from './problem.js';
import { Rows } from './rows.js';
import { visibleLine } from './text.js';
import { atMostEvery, button, el, put, say } from './ui.js';
import { count, duration, glyph, number, plural, tone } from './words.js';

const COLUMNS = [['outcome', 'Outcome', 'outcome'], ['', 'Trial', 'trial'], ['', 'What is said of it', 'said'], ['', 'Attempts', 'n attempts'], ['duration', 'Took', 'n took']];
const QUICK = [['All', ''], ['Bad', 'outcome(failed, error, timeout)'], ['Failed', 'outcome(failed)'], ['Errors', 'outcome(error)'], ['Timeouts', 'outcome(timeout)'], ['Flaky', 'flaky()'], ['Passed', 'outcome(passed)']];
const narrow = matchMedia('(max-width: 700px)');

export class TrialTable {
  /** @param {string} run @param {URL} address @param {(to: string, replaces?: boolean) => void} go @param {() => boolean} isLive */
  constructor(run, address, go, isLive) {
    this.run = run;
    this.go = go;
    this.isLive = isLive;
    this.turn = 0;
    this.rev = 0;
    this.isRead = false;
    this.newest = 0;
    this.quick = el('div', { class: 'chips', role: 'group', 'aria-label': 'Quick filters' }, QUICK.map(([label, filter]) =>
      el('button', { type: 'button', class: 'chip', 'data-filter': filter, onclick: () => this.#to({ filter }) }, label)));
    this.input = el('input', { type: 'search', 'aria-label': 'Filter', 'aria-describedby': 'filter-says', spellcheck: 'false', autocomplete: 'off', autocapitalize: 'off',
      placeholder: 'outcome(failed) & test(units/*)', onchange: () => this.#to({ filter: this.input.value.trim() }) });
    this.says = el('div', { id: 'filter-says', class: 'filter-says', 'aria-live': 'polite' });
    this.told = el('span', { class: 'quiet', role: 'status' });
    this.more = button('', () => void this.load(false), 'small primary');
    this.more.hidden = true;
    this.heads = COLUMNS.map(([key, name, kind]) => el('div', { role: 'columnheader', class: kind },
      key ? button(name, () => this.#sort(key)) : name));
    this.rows = new Rows({
      label: 'Trials',
      lineHeight: narrow.matches ? 54 : 30,
      head: el('div', { role: 'row', class: 'rows-line head', 'aria-rowindex': 1 }, this.heads),
      cells: () => COLUMNS.map(([, , kind]) => el('div', { role: 'gridcell', class: kind })),
      show: (cells, trial) => this.#show(cells, trial),
      load: async (offset, limit) => (await this.#page(offset, limit)).trials,
      open: (trial, event) => this.#open(trial, event),
      failed: (error) => put(this.says, problem(error)),
    });
    this.element = el('section', { 'aria-label': 'Trials' },
      el('div', { class: 'filters' }, this.quick, this.input, this.more, this.told), this.says, this.rows.element);
    this.follow = atMostEvery(80, () => this.#followed());
    this.address = address;
    this.read = this.load(false);
  }

  #keys() {
    return trialKeys(this.address);
  }

  /** @param {{filter?: string, sort?: string}} changed */
  #to(changed) {
    const next = { ...this.#keys(), ...changed };
    this.go(`${ofRun(this.run)}${query({ filter: next.filter, sort: next.sort === SORT ? '' : next.sort })}`);
  }

  /** @param {string} key */
  #sort(key) {
    const { sort } = this.#keys();
    // From one way to the other, and then as they stand in the plan.
    const ways = key === 'duration' ? ['-duration', 'duration', 'plan'] : ['outcome', '-outcome', 'plan'];
    this.#to({ sort: ways[(ways.indexOf(sort) + 1) % ways.length] });
  }

  /** @param {number} offset @param {number} limit @param {boolean} [isNewest] @returns {Promise<Api.TrialsPage>} */
  async #page(offset, limit, isNewest = false) {
    const page = await get(`${ofRun(this.run)}/trials${query({ ...this.#keys(), offset: offset || null, limit, rev: isNewest ? null : this.rev })}`);
    return page;
  }

  #dress() {
    const { filter, sort } = this.#keys();
    if (document.activeElement !== this.input || !this.input.value) this.input.value = filter;
    for (const chip of this.quick.children) chip.setAttribute('aria-pressed', String(chip.dataset.filter === filter));
    for (const [place, [key]] of COLUMNS.entries()) {
      if (!key) continue;
      const way = sort === key ? 'ascending' : sort === `-${key}` ? 'descending' : null;
      if (way) this.heads[place].setAttribute('aria-sort', way);
      else this.heads[place].removeAttribute('aria-sort');
    }
  }

  /** @param {boolean} stays whether the place is kept */
  async load(stays) {
    const mine = ++this.turn;
    this.#dress();
    // The first look at a run reads all of its rows, which takes a while where there are many.
    if (!this.isRead) { this.rows.element.hidden = true; say(this.told, 'Reading the rows…'); }
    try {
      const page = await this.#page(0, TRIALS, true);
      if (mine !== this.turn) return;
      this.rev = page.rev;
      this.newest = Math.max(this.newest, page.rev);
      this.more.hidden = true;
      this.isRead = true;
      this.rows.element.hidden = page.count === 0;
      this.rows.reset(page.count, page.trials, stays);
      const { filter } = this.#keys();
      say(this.told, plural(page.count, 'trial'));
      put(this.says, page.count ? null : el('p', { class: 'none' }, filter ? 'No trial is like that.' : this.isLive() ? 'No trial has ended yet.' : 'No trial has a result.'));
    } catch (error) {
      if (mine !== this.turn) return;
      this.#refused(error);
    }
  }

  /** A filter that is not valid is shown with its place marked. @param {any} error */
  #refused(error) {
    const { filter } = this.#keys();
    this.rows.element.hidden = true;
    say(this.told, '');
    if (!error.at) return put(this.says, problem(error));
    const bytes = new TextEncoder().encode(filter);
    const text = (/** @type {number} */ from, /** @type {number | undefined} */ to) => visibleLine(new TextDecoder().decode(bytes.slice(from, to)));
    const { start, end } = error.at;
    put(this.says, el('div', { class: 'problem', role: 'alert' },
      el('pre', { class: 'marked' }, text(0, start), el('mark', null, text(start, Math.max(end, start + 1)) || ' '), text(Math.max(end, start + 1), undefined)),
      el('p', null, visibleLine(error.message)), error.help ? el('p', { class: 'quiet' }, visibleLine(error.help)) : null));
  }

  /** @param {URL} address @param {string} view */
  change(address, view) {
    if (view !== 'trials') return false;
    const old = JSON.stringify(this.#keys());
    this.address = address;
    if (old !== JSON.stringify(this.#keys())) { this.input.value = this.#keys().filter; void this.load(false); }
    return true;
  }

  /** There are more rows. @param {number | null} rev */
  news(rev) {
    this.newest = Math.max(this.newest, rev ?? this.rev + 1);
    if (this.newest > this.rev || rev === null) this.follow();
  }

  async #followed() {
    // Nothing moves under the hand of somebody who has scrolled.
    if (this.rows.isAtTop()) return this.load(true);
    const more = this.newest - this.rev;
    this.more.hidden = more <= 0;
    say(this.more, `${count(more)} new`);
  }

  /** @param {number} by */
  step(by) {
    const to = this.rows.active + by;
    this.rows.element.focus({ preventScroll: true });
    this.rows.activate(to);
  }

  /** @param {Api.ListedTrial} trial @param {Event} event */
  #open(trial, event) {
    const to = ofTrial(this.run, trial.trial);
    const mouse = /** @type {MouseEvent} */ (event);
    if (mouse.ctrlKey || mouse.metaKey) window.open(to);
    else { this.go(to); scrollTo(0, 0); }
  }

  /** @param {HTMLElement[]} cells @param {Api.ListedTrial} trial */
  #show(cells, trial) {
    const [outcome, name, said, attempts, took] = cells;
    const word = trial.error ?? trial.outcome;
    outcome.className = `outcome ${tone(trial.outcome)}`;
    put(outcome, el('span', { class: `glyph glyph-${tone(trial.outcome)}`, 'aria-hidden': 'true' }, glyph(trial.outcome)), ' ', trial.outcome === word || trial.outcome === 'timeout' ? trial.outcome : `${trial.outcome}: ${word}`, trial.is_flaky ? el('span', { class: 'pill open' }, 'flaky') : null);
    const at = trial.trial.lastIndexOf('@');
    const to = el('a', { href: ofTrial(this.run, trial.trial), tabindex: -1, title: visibleLine(trial.trial) }, visibleLine(trial.trial.slice(0, at)), el('span', { class: 'quiet' }, visibleLine(trial.trial.slice(at))));
    put(name, to);
    say(said, trial.summary ? visibleLine(trial.summary) : trial.score !== null ? `score ${number(trial.score)}` : '');
    say(attempts, trial.attempts > 1 ? `${trial.attempts}×` : '');
    say(took, duration(trial.duration_ms));
  }

  close() {
    this.turn += 1;
    this.follow.stop();
    this.rows.close();
  }
}

