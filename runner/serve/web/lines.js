// @ts-check
// Logs line by line: of any length, while they grow, and each line with an address of its own.

import { coloured, visibleLine } from './text.js';
import { button, el, put, say } from './ui.js';
import { clock, count, plural } from './words.js';

/** @typedef {{text: string, time?: string, level?: string, rest?: string}} Line */

/** How many lines become elements at once, and how many of them are laid out together. */
const PAGE = 1000;
const CHUNK = 100;
/** A longer line is cut until somebody asks for the rest. */
const WIDE = 4096;
/** A shorter log needs no search. */
const FEW = 12;

/** @type {Record<string, string>} */
const TONES = { error: 'bad', warn: 'open', info: 'live', debug: 'quiet', trace: 'quiet' };

export class Lines {
  /** @param {string} label @param {string} id what the addresses of its lines begin with */
  constructor(label, id) {
    this.id = id;
    /** @type {Line[]} */
    this.all = [];
    /** Those that are meant, by their places. @type {number[]} */
    this.meant = [];
    this.from = 0;
    this.to = 0;
    this.wanted = '';
    this.isNumbered = true;
    /** @type {any} */
    let typing = null;
    this.search = el('input', { type: 'search', 'aria-label': `Find in: ${label}`, placeholder: 'find…',
      oninput: () => { clearTimeout(typing); typing = setTimeout(() => { this.wanted = this.search.value.trim().toLowerCase(); this.#anew(false); }, 150); } });
    this.told = el('span', { class: 'quiet', role: 'status' });
    this.before = button('', () => this.#more(-1), 'small');
    this.after = button('', () => this.#more(1), 'small');
    this.end = button('To its end', () => this.#toEnd(), 'small');
    this.pre = el('div', { class: 'log', tabindex: 0, role: 'log', 'aria-label': label, 'aria-live': 'off' });
    this.tools = el('div', { class: 'log-tools' }, this.search, this.told, this.before, this.end);
    this.element = el('div', { class: 'lines' }, this.tools, this.pre, this.after);
    this.isNew = true;
    /** The line that the address named when this was drawn: the browser marks only what is there before. */
    this.named = -1;
    this.pre.addEventListener('click', (/** @type {MouseEvent} */ event) => {
      if (/** @type {Element} */ (event.target).closest('.line-number')) this.pre.querySelector('.named')?.classList.remove('named');
    });
  }

  /** Shows these lines; those that were there before stay as they are. @param {Line[]} lines @param {{isLive?: boolean, isNumbered?: boolean}} [how] */
  set(lines, { isLive = false, isNumbered = true } = {}) {
    const old = this.all;
    const isSame = isNumbered === this.isNumbered && lines.length >= old.length && old.length > 0
      && [0, old.length - 1].every((place) => old[place].text === lines[place].text && old[place].rest === lines[place].rest);
    this.all = lines;
    this.isNumbered = isNumbered;
    if (!isSame) return this.#anew(isLive);
    if (lines.length > old.length) this.#grow(old.length);
  }

  /** @param {Line} line */
  #means(line) {
    return !this.wanted || `${line.level ?? ''} ${line.text} ${line.rest ?? ''}`.toLowerCase().includes(this.wanted);
  }

  /** @param {boolean} atEnd */
  #anew(atEnd) {
    this.meant = [];
    for (const [place, line] of this.all.entries()) if (this.#means(line)) this.meant.push(place);
    const named = this.isNew ? this.#place() : -1;
    this.named = named;
    const start = named >= 0 ? Math.max(0, named - PAGE / 2) : atEnd ? Math.max(0, this.meant.length - PAGE) : 0;
    this.from = this.to = start;
    put(this.pre);
    this.#add(Math.min(this.meant.length, start + PAGE));
    if (named >= 0) this.#show(named);
    else if (atEnd) this.pre.scrollTop = this.pre.scrollHeight;
    if (this.all.length) this.isNew = false;
  }

  /** @param {number} from */
  #grow(from) {
    const isWhole = this.to === this.meant.length;
    const isAtEnd = this.pre.scrollTop + this.pre.clientHeight > this.pre.scrollHeight - 30;
    for (let place = from; place < this.all.length; place += 1) if (this.#means(this.all[place])) this.meant.push(place);
    // Somebody who reads further above is not given more and more to lay out.
    if (isWhole && (isAtEnd || this.to - this.from < PAGE)) this.#add(this.meant.length);
    else this.#say();
    if (isAtEnd) this.pre.scrollTop = this.pre.scrollHeight;
  }

  /** Makes elements up to a line. @param {number} to */
  #add(to) {
    for (; this.to < to; this.to += 1) {
      let chunk = this.pre.lastElementChild;
      if (!chunk || chunk.childElementCount >= CHUNK) { chunk = el('div', { class: 'chunk' }); this.pre.append(chunk); }
      chunk.append(this.#line(this.meant[this.to]));
      // How high it will be about, before it is laid out.
      /** @type {HTMLElement} */ (chunk).style.setProperty('--rows', String(chunk.childElementCount));
    }
    // What is followed for hours stays as small as what is opened.
    while (this.to - this.from > 4 * PAGE) { this.from += this.pre.firstElementChild.childElementCount; this.pre.firstElementChild.remove(); }
    this.#say();
  }

  /** @param {number} way */
  #more(way) {
    if (way > 0) return this.#add(Math.min(this.meant.length, this.to + PAGE));
    const from = Math.max(0, this.from - PAGE);
    const height = this.pre.scrollHeight;
    const chunk = el('div', { class: 'chunk' });
    for (let place = from; place < this.from; place += 1) chunk.append(this.#line(this.meant[place]));
    chunk.style.setProperty('--rows', String(this.from - from));
    this.from = from;
    this.pre.prepend(chunk);
    // What was in sight stays there.
    this.pre.scrollTop += this.pre.scrollHeight - height;
    this.#say();
  }

  #toEnd() {
    const start = Math.max(0, this.meant.length - PAGE);
    if (this.to < this.meant.length) {
      this.from = this.to = start;
      put(this.pre);
      this.#add(this.meant.length);
    }
    this.pre.scrollTop = this.pre.scrollHeight;
    this.pre.focus({ preventScroll: true });
  }

  #say() {
    const [meant, all] = [this.meant.length, this.all.length];
    this.tools.hidden = all <= FEW;
    this.end.hidden = meant <= 40;
    say(this.told, this.wanted ? `${count(meant)} of ${plural(all, 'line')}` : plural(all, 'line'));
    this.before.hidden = this.from === 0;
    this.after.hidden = this.to >= meant;
    say(this.before, `Show ${count(Math.min(PAGE, this.from))} before`);
    say(this.after, `Show ${count(Math.min(PAGE, meant - this.to))} of ${plural(meant - this.to, 'more line')}`);
    this.pre.hidden = all === 0;
  }

  /** The line that the address names. */
  #place() {
    const [, id, number] = location.hash.match(/^#([a-z-]+)-(\d+)$/) ?? [];
    return id === this.id ? Math.min(Number(number), this.all.length) - 1 : -1;
  }

  /** @param {number} place */
  #show(place) {
    requestAnimationFrame(() => document.getElementById(`${this.id}-${place + 1}`)?.scrollIntoView({ block: 'center' }));
  }

  /** @param {number} place */
  #line(place) {
    const { text, time, level, rest } = this.all[place];
    const number = String(place + 1);
    const id = this.isNumbered ? `${this.id}-${number}` : null;
    const tail = text.length > WIDE ? button(`${count(text.length - WIDE)} more characters`, () => tail.replaceWith(...coloured(text.slice(WIDE))), 'small') : null;
    return el('div', { class: place === this.named ? 'line named' : 'line', id },
      id ? el('a', { class: 'line-number', href: `#${id}`, tabindex: -1, 'aria-hidden': 'true', 'data-n': number }) : null,
      time ? el('time', { datetime: time, title: time, class: 'quiet' }, `${clockOf(time)} `) : null,
      level ? el('span', { class: `level ${TONES[level] ?? 'quiet'}` }, `${visibleLine(level).padEnd(5)} `) : null,
      el('span', { class: 'said' }, coloured(text.slice(0, WIDE)), tail, rest ? el('span', { class: 'quiet' }, ` ${rest}`) : null));
  }
}

/** The time of day here, to the millisecond. @param {string} at */
function clockOf(at) {
  const date = new Date(at);
  return Number.isNaN(date.getTime()) ? visibleLine(at) : `${clock(at).slice(11)}.${String(date.getMilliseconds()).padStart(3, '0')}`;
}

/** The lines of a text; a colour that is begun in one goes on in the next, as in a terminal. @param {string} text @returns {Line[]} */
export function linesOf(text) {
  let open = '';
  const lines = text.split('\n');
  if (lines.at(-1) === '') lines.pop();
  return lines.map((line) => {
    const whole = open + line.replace(/\r$/, '');
    open = line.match(/\u001b\[[0-9;]{0,20}m(?!.*\u001b\[[0-9;]{0,20}m)/)?.[0] ?? open;
    return { text: whole };
  });
}

/** The records of a guest's log. @param {any[]} records @returns {Line[]} */
export const linesOfRecords = (records) => records.map((record) => {
  const { level, message, fields, at, ...others } = record;
  const rest = Object.entries({ ...fields, ...others }).map(([name, value]) => `${visibleLine(name)}=${visibleLine(typeof value === 'string' ? value : JSON.stringify(value))}`).join(' ');
  return { text: String(message ?? ''), level: String(level ?? 'info'), rest, time: typeof at === 'string' ? at : undefined };
});

/** Lines of `runner.log`, which say when they were written. @param {string} text @returns {Line[]} */
export const linesOfRunner = (text) => linesOf(text).map(({ text }) => {
  const found = text.match(/^(\d{4}-\d\d-\d\dT[\d:.]+Z) +(ERROR|WARN|INFO|DEBUG|TRACE) (?:runner[\w:]*: )?(.*)$/s);
  return found ? { time: found[1], level: found[2].toLowerCase(), text: found[3] } : { text };
});
