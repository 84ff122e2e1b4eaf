// @ts-check
// Charts in the colours of the style sheet. Each has its values as text for screen readers.

import { el } from './ui.js';

const OUTCOMES = ['failed', 'error', 'timeout', 'skipped', 'passed'];
const HEIGHT = 60;

/**
 * `ends` are the words below the left and the right end.
 * @param {string} label @param {number} width @param {import('./ui.js').Child} shapes @param {import('./ui.js').Child[]} ends
 */
function chart(label, width, shapes, [start, end]) {
  return el('figure', { class: 'chart' },
    el('svg', { viewBox: `0 0 ${width} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img', 'aria-label': label }, shapes),
    el('figcaption', null, el('span', null, start), el('span', null, end)));
}

/** @param {number} x @param {number} y @param {number} height @param {string} kind @param {string} title */
const column = (x, y, height, kind, title) =>
  el('rect', { x: x + 0.05, y, width: 0.9, height, class: kind }, el('title', null, title));

/**
 * A histogram. Each column with a count is visible.
 * @param {string} label @param {number[]} counts @param {(index: number) => string} title @param {import('./ui.js').Child[]} ends
 */
export function histogram(label, counts, title, ends) {
  return columns(label, counts.map((value) => value || null), Math.max(...counts), title, ends);
}

/**
 * Shares of outcomes over time. Bad outcomes are drawn at the top with at least 3 pixels, so that one of many is visible.
 * @param {string} label @param {any[]} bins counts by outcome @param {(index: number) => string} title @param {import('./ui.js').Child[]} ends
 */
export function outcomes(label, bins, title, ends) {
  const columns = bins.map((bin, index) => {
    const present = OUTCOMES.filter((key) => bin[key] > 0);
    const all = present.reduce((sum, key) => sum + bin[key], 0);
    let y = 0;
    return present.map((key) => {
      const wanted = key === 'passed' ? HEIGHT - y : Math.max(3, (bin[key] / all) * HEIGHT);
      const height = Math.min(wanted, HEIGHT - y);
      y += height;
      return column(index, y - height, height, `fill-${key}`, title(index));
    });
  });
  return chart(label, bins.length, columns, ends);
}

/**
 * A column for each value except `null`.
 * @param {string} label @param {(number | null)[]} values @param {number} most the value at the top
 * @param {(index: number) => string} title @param {import('./ui.js').Child[]} ends
 */
export function columns(label, values, most, title, ends) {
  const shapes = values.map((value, index) => {
    const height = value === null ? 0 : Math.max(1.5, (value / (most || 1)) * HEIGHT);
    return column(index, HEIGHT - height, height, 'plain', title(index));
  });
  return chart(label, Math.max(values.length, 1), shapes, ends);
}
