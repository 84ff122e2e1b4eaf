// @ts-check
// Two texts next to each other: their lines are paired, lines that are the same are folded, and words that differ are marked.

import { button, el, render, table } from './ui.js';
import { plural } from './words.js';

/** Cells of the table of lines. Larger texts are paired only by their common start and end. */
const MAX_CELLS = 1_000_000;
/** Cells of the table of words. In longer lines, all between the common start and end is marked. */
const MAX_WORDS = 250_000;
/** Equal lines that are shown before and after a difference. */
const CONTEXT = 3;
/** Rows that are shown at first, and added by a click. */
const PAGE = 100;
/** Marks in a line. With more, all between the common start and end is one mark. */
const MAX_MARKS = 40;

/** Places of a line in both lists, from 0. @typedef {[number | null, number | null]} Pair */

/** The lengths of the common start of two lists, and of the common end of their rests. @param {string[]} left @param {string[]} right */
function common(left, right) {
  let [start, end] = [0, 0];
  const most = Math.min(left.length, right.length);
  while (start < most && left[start] === right[start]) start += 1;
  while (end < most - start && left.at(-1 - end) === right.at(-1 - end)) end += 1;
  return [start, end];
}

/** Pairs the items of two lists by their longest common subsequence. @param {string[]} left @param {string[]} right @param {number} most cells @returns {Pair[]} */
function pairs(left, right, most) {
  const [start, end] = common(left, right);
  const [old, fresh] = [left.slice(start, left.length - end), right.slice(start, right.length - end)];
  const before = Array.from({ length: start }, (_, at) => /** @type {Pair} */ ([at, at]));
  const between = changes(old, fresh, most).map(([one, other]) => /** @type {Pair} */ ([one === null ? null : one + start, other === null ? null : other + start]));
  const after = Array.from({ length: end }, (_, at) => /** @type {Pair} */ ([left.length - end + at, right.length - end + at]));
  return [...before, ...between, ...after];
}

/** @param {string[]} old @param {string[]} fresh @param {number} most @returns {Pair[]} */
function changes(old, fresh, most) {
  /** @type {Pair[]} */
  const found = [];
  let [i, j] = [0, 0];
  /** Adds the items up to these places, which have no equal ones. @param {number} oldEnd @param {number} freshEnd */
  const flush = (oldEnd, freshEnd) => {
    while (i < oldEnd || j < freshEnd) found.push([i < oldEnd ? i++ : null, j < freshEnd ? j++ : null]);
  };
  if (old.length * fresh.length <= most) {
    // lengths[a][b] is that of the common subsequence of the items from a and from b on.
    const lengths = Array.from({ length: old.length + 1 }, () => new Uint32Array(fresh.length + 1));
    for (let a = old.length - 1; a >= 0; a -= 1) {
      for (let b = fresh.length - 1; b >= 0; b -= 1) {
        lengths[a][b] = old[a] === fresh[b] ? lengths[a + 1][b + 1] + 1 : Math.max(lengths[a + 1][b], lengths[a][b + 1]);
      }
    }
    let [a, b] = [0, 0];
    while (a < old.length && b < fresh.length) {
      if (old[a] === fresh[b]) {
        flush(a, b);
        found.push([i++, j++]);
        [a, b] = [a + 1, b + 1];
      } else if (lengths[a + 1][b] >= lengths[a][b + 1]) a += 1;
      else b += 1;
    }
  }
  flush(old.length, fresh.length);
  return found;
}

/** Marks characters that are hard to see: spaces at the end of a line, tabs and no-break spaces. @param {string} text @param {boolean} [isEnd] */
function seen(text, isEnd = true) {
  const shown = text.replaceAll('\t', '→\t').replaceAll('\u00a0', '⍽');
  return isEnd ? shown.replace(/ +$/, (spaces) => '·'.repeat(spaces.length)) : shown;
}

/** Words, numbers, white space and single signs. @param {string} text */
const words = (text) => text.match(/\p{L}[\p{L}\p{M}\p{N}_]*|\p{N}+(?:\.\p{N}+)?|\s+|./gsu) ?? [];

/** A line with the words that the other line lacks marked. @param {string[]} mine @param {boolean[]} isWordCommon by word */
function marked(mine, isWordCommon) {
  const isCommon = joined(mine, isWordCommon);
  /** @type {import('./ui.js').Child[]} */
  const parts = [];
  for (let at = 0; at < mine.length;) {
    let end = at + 1;
    while (end < mine.length && isCommon[end] === isCommon[at]) end += 1;
    const text = seen(mine.slice(at, end).join(''), end === mine.length);
    parts.push(isCommon[at] ? text : el('mark', null, text));
    at = end;
  }
  return parts;
}

/** The cells of a pair of lines that differ. @param {string | null} left @param {string | null} right */
function differing(left, right) {
  if (left === null || right === null) return [left, right].map((text) => text !== null && [seen(text)]);
  const [old, fresh] = [words(left), words(right)];
  const [isOld, isFresh] = [old.map(() => false), fresh.map(() => false)];
  for (const [one, other] of pairs(old, fresh, MAX_WORDS)) {
    if (one !== null && other !== null && old[one] === fresh[other]) [isOld[one], isFresh[other]] = [true, true];
  }
  return [marked(old, isOld), marked(fresh, isFresh)];
}

/** Marks white space between marked words, too. @param {string[]} mine @param {boolean[]} isCommon by word */
function joined(mine, isCommon) {
  const whole = isCommon.map((is, at) => is && !(/^\s+$/.test(mine[at]) && isCommon[at - 1] === false && isCommon[at + 1] === false));
  const marks = whole.filter((is, at) => !is && whole[at - 1] !== false).length;
  return marks > MAX_MARKS ? whole.map((_, at) => at < whole.indexOf(false) || at > whole.lastIndexOf(false)) : whole;
}

/** Two texts in two columns, or in one in a narrow window, with the lines that the reader has unfolded. */
export class Diff {
  #texts = ['', ''];
  /** @type {string[][]} */
  #lines = [[], []];
  /** @type {Pair[]} */
  #pairs = [];
  /** Places of pairs that are shown although their lines are equal. @type {Set<number>} */
  #opened = new Set();
  #most = PAGE;
  /** @type {HTMLElement | null} */
  #place = null;

  /** @param {string} left @param {string} right @param {[string, string]} heads */
  show(left, right, heads) {
    const draw = () => this.#place && render(this.#place, this.#table(heads, draw));
    if (left !== this.#texts[0] || right !== this.#texts[1]) {
      this.#texts = [left, right];
      this.#lines = this.#texts.map((text) => text.split('\n'));
      this.#pairs = pairs(this.#lines[0], this.#lines[1], MAX_CELLS);
      this.#opened.clear();
      this.#most = PAGE;
      draw();
    }
    return el('div', { ref: (/** @type {HTMLElement} */ place) => { this.#place = place; draw(); } });
  }

  /** @param {Pair} pair */
  #isEqual([one, other]) {
    return one !== null && other !== null && this.#lines[0][one] === this.#lines[1][other];
  }

  /** @param {[string, string]} heads @param {() => void} draw */
  #table(heads, draw) {
    /** @type {import('./ui.js').Child[]} */
    const rows = [];
    const isNear = this.#near();
    let at = 0;
    for (; at < this.#pairs.length && rows.length < this.#most; at += 1) {
      let end = at;
      while (end < this.#pairs.length && !isNear[end] && !this.#opened.has(end)) end += 1;
      if (end > at) {
        const [from, to] = [at, end];
        const open = () => {
          for (let place = from; place < to; place += 1) this.#opened.add(place);
          draw();
        };
        rows.push(el('tr', { class: 'fold' }, el('td', { colspan: 2 }, button(plural(end - at, 'equal line'), open))));
        at = end - 1;
      } else rows.push(this.#row(this.#pairs[at]));
    }
    return [table(heads.join(' and '), heads, rows, 'diff'),
      at < this.#pairs.length ? el('p', { class: 'fold' },
        button(plural(this.#pairs.length - at, 'more line'), () => { this.#most += PAGE; draw(); })) : null];
  }

  /** Whether each pair is at most [`CONTEXT`] lines from a difference. A single line is not folded. */
  #near() {
    const near = new Uint8Array(this.#pairs.length);
    this.#pairs.forEach((pair, at) => {
      if (!this.#isEqual(pair)) near.fill(1, Math.max(0, at - CONTEXT), at + CONTEXT + 1);
    });
    return near.map((is, at) => (is || (near[at - 1] ?? 1) && (near[at + 1] ?? 1) ? 1 : 0));
  }

  /** @param {Pair} pair */
  #row(pair) {
    const [one, other] = pair.map((place, side) => (place === null ? null : this.#lines[side][place]));
    const numbers = pair.map((place) => (place === null ? null : place + 1));
    if (this.#isEqual(pair)) return el('tr', { class: 'same' }, numbers.map((number) => el('td', { 'data-n': number }, one || ' ')));
    return el('tr', null, differing(one, other).map((content, side) =>
      (content ? el('td', { class: ['old', 'fresh'][side], 'data-n': numbers[side] }, content.some(Boolean) ? content : ' ') : el('td', { class: 'absent' }, ' '))));
  }
}
