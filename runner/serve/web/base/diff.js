// @ts-check
// Two texts next to each other: their lines are paired, and the parts of a line that differ are marked.

import { el, table } from './ui.js';

/** Cells of the table of lines. Larger texts are paired only by their common start and end. */
const MAX_CELLS = 1_000_000;

/** A line of the left and of the right text. @typedef {[string | null, string | null]} Pair */

/** The lengths of the common start of two lists, and of the common end of their rests. @param {string[]} left @param {string[]} right */
function common(left, right) {
  let [start, end] = [0, 0];
  const most = Math.min(left.length, right.length);
  while (start < most && left[start] === right[start]) start += 1;
  while (end < most - start && left.at(-1 - end) === right.at(-1 - end)) end += 1;
  return [start, end];
}

/** Pairs the lines of two texts by their longest common subsequence. @param {string[]} left @param {string[]} right @returns {Pair[]} */
function pairs(left, right) {
  const [start, end] = common(left, right);
  const [old, fresh] = [left.slice(start, left.length - end), right.slice(start, right.length - end)];
  const same = (/** @type {string[]} */ lines) => lines.map((line) => /** @type {Pair} */ ([line, line]));
  return [...same(left.slice(0, start)), ...changes(old, fresh), ...same(end ? left.slice(-end) : [])];
}

/** @param {string[]} old @param {string[]} fresh @returns {Pair[]} */
function changes(old, fresh) {
  /** @type {Pair[]} */
  const found = [];
  const flush = (/** @type {string[]} */ one, /** @type {string[]} */ other) => {
    for (let at = 0; at < Math.max(one.length, other.length); at += 1) found.push([one[at] ?? null, other[at] ?? null]);
  };
  if (old.length * fresh.length > MAX_CELLS) {
    flush(old, fresh);
    return found;
  }
  // lengths[i][j] is that of the common subsequence of the lines from i and from j on.
  const lengths = Array.from({ length: old.length + 1 }, () => new Uint32Array(fresh.length + 1));
  for (let i = old.length - 1; i >= 0; i -= 1) {
    for (let j = fresh.length - 1; j >= 0; j -= 1) {
      lengths[i][j] = old[i] === fresh[j] ? lengths[i + 1][j + 1] + 1 : Math.max(lengths[i + 1][j], lengths[i][j + 1]);
    }
  }
  let [i, j] = [0, 0];
  let [gone, added] = [/** @type {string[]} */ ([]), /** @type {string[]} */ ([])];
  while (i < old.length && j < fresh.length) {
    if (old[i] === fresh[j]) {
      flush(gone, added);
      [gone, added] = [[], []];
      found.push([old[i], fresh[j]]);
      [i, j] = [i + 1, j + 1];
    } else if (lengths[i + 1][j] >= lengths[i][j + 1]) gone.push(old[i++]);
    else added.push(fresh[j++]);
  }
  flush([...gone, ...old.slice(i)], [...added, ...fresh.slice(j)]);
  return found;
}

/** Marks characters that are hard to see: spaces at the end, tabs and no-break spaces. @param {string} text */
const seen = (text) => text.replace(/ +$/, (spaces) => '·'.repeat(spaces.length)).replaceAll('\t', '→\t').replaceAll('\u00a0', '⍽');

/** A line. The part that differs from the other line is marked. @param {string | null} text @param {string | null} other @param {string} kind */
function marked(text, other, kind) {
  if (text === null) return el('td', { class: 'absent' }, ' ');
  if (text === other) return el('td', null, text || ' ');
  const mine = [...text];
  const [start, end] = common(mine, [...(other ?? '')]);
  const [head, middle, tail] = [[0, start], [start, mine.length - end], [mine.length - end]]
    .map(([from, to]) => mine.slice(from, to).join(''));
  return el('td', { class: kind }, head, middle && el('mark', null, seen(middle)), seen(tail));
}

/** Two texts in two columns. @param {string} left @param {string} right @param {[string, string]} heads */
export function sides(left, right, heads) {
  const rows = pairs(left.split('\n'), right.split('\n'));
  const lines = rows.map(([one, other]) => el('tr', null, marked(one, other, 'old'), marked(other, one, 'fresh')));
  return table(heads.join(' and '), heads, lines, 'diff');
}
