// @ts-check
// What is different between two texts, line by line.

import { visible } from './text.js';
import { el } from './ui.js';

/** Longer texts are not compared: the time for it grows with the product of their lengths. */
const MAX_LINES = 2000;
/** How many equal lines stand around those that are different. */
const AROUND = 3;

/** The lines of two texts with what became of them: ` `, `-` or `+`; `null` where they are too long. @param {string} before @param {string} after @returns {[string, string][] | null} */
export function lines(before, after) {
  const [a, b] = [before.split('\n'), after.split('\n')];
  if (a.length > MAX_LINES || b.length > MAX_LINES) return null;
  // The length of what is common to the rests from each two lines on.
  const width = b.length + 1;
  const common = new Uint16Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      common[i * width + j] = a[i] === b[j] ? common[(i + 1) * width + j + 1] + 1 : Math.max(common[(i + 1) * width + j], common[i * width + j + 1]);
    }
  }
  /** @type {[string, string][]} */
  const all = [];
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) { all.push([' ', a[i]]); i += 1; j += 1; }
    else if (j >= b.length || (i < a.length && common[(i + 1) * width + j] >= common[i * width + j + 1])) { all.push(['-', a[i]]); i += 1; }
    else { all.push(['+', b[j]]); j += 1; }
  }
  return all;
}

/** The same as a page shows it. @param {string} expected @param {string} actual */
export function diff(expected, actual) {
  const all = lines(expected, actual);
  if (!all) return null;
  const isNear = all.map((_, place) => all.slice(Math.max(0, place - AROUND), place + AROUND + 1).some(([mark]) => mark !== ' '));
  const shown = [];
  for (const [place, [mark, text]] of all.entries()) {
    if (isNear[place]) shown.push(lineOf(mark, text));
    else if (place === 0 || isNear[place - 1]) shown.push(el('span', { class: 'quiet' }, '  …\n'));
  }
  return frame(shown);
}

/** A diff that somebody else has made. @param {string} text */
export const marked = (text) => frame(text.replace(/\n$/, '').split('\n').map((line) =>
  (line.startsWith('@@ ') ? el('span', { class: 'quiet' }, `${visible(line)}\n`) : lineOf(line[0] ?? ' ', line.slice(1)))));

/** @param {any[]} shown */
const frame = (shown) => el('pre', { class: 'diff', tabindex: 0, role: 'group', 'aria-label': 'What is different: - expected, + came' }, shown);

/** @param {string} mark @param {string} text */
function lineOf(mark, text) {
  const name = mark === '-' ? 'del' : mark === '+' ? 'ins' : 'span';
  return el(name, null, `${mark} ${visible(text)}\n`);
}
