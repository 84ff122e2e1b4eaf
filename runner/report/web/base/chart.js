// @ts-check
// Charts in the colours of the style sheet, drawn as SVG that is stretched; their texts are HTML, which is not. Each has its values
// as text for screen readers.

import { el, folded, render, table } from './ui.js';
import { OUTCOMES, beside } from './words.js';

const HEIGHT = 60;
/** Runs of a chart whose values have points. */
export const MAX_POINTS = 60;
/** Lines of a chart. Others are only in its table. */
const MAX_LINES = 6;
/** Cells of a table of values. */
const MAX_CELLS = 1000;
/** Names below an axis. */
const NAMES = 5;

/** @param {number} value */
const round = (value) => Math.round(100 * value) / 100;

/**
 * `ends` are the words below the left and the right end. `bound` is a share of the width with a line, and its words.
 * @param {string} label @param {number} width @param {import('./ui.js').Child} shapes @param {import('./ui.js').Child[]} ends @param {[number, string]} [bound]
 */
function chart(label, width, shapes, [start, end], bound) {
  return el('figure', { class: 'chart' },
    el('svg', { viewBox: `0 0 ${width} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img', 'aria-label': label }, shapes,
      bound && el('path', { class: 'bound', d: `M${bound[0] * width} 0v${HEIGHT}` })),
    el('figcaption', null, el('span', null, start), bound && mark('bound', 100 * bound[0], bound[1]), el('span', null, end)));
}

/** @param {number} x @param {number} y @param {number} height @param {string} kind @param {string} title */
const column = (x, y, height, kind, title) =>
  el('rect', { x: x + 0.05, y, width: 0.9, height, class: kind }, el('title', null, title));

/** A histogram. Each column with a count is visible. @param {string} label @param {number[]} counts @param {(index: number) => string} title @param {import('./ui.js').Child[]} ends @param {[number, string]} [bound] */
export function histogram(label, counts, title, ends, bound) {
  const most = Math.max(...counts, 1);
  const shapes = counts.map((value, index) => {
    const height = value ? Math.max(1.5, (value / most) * HEIGHT) : 0;
    return column(index, HEIGHT - height, height, 'plain', title(index));
  });
  return chart(label, Math.max(counts.length, 1), shapes, ends, bound);
}

/**
 * Shares of outcomes over time. Bad outcomes are drawn at the top with at least 3 pixels, so that one of many is visible.
 * @param {string} label @param {any[]} bins counts by outcome @param {(index: number) => string} title @param {import('./ui.js').Child[]} ends
 */
export function outcomes(label, bins, title, ends) {
  const columns = bins.map(beside).map((bin, index) => {
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

/** An axis around values, with up to five round numbers whose `words` differ. @param {number[]} values @param {(value: number) => string} words @param {number} [most] the greatest possible value @param {number} [range] @returns {{ticks: number[], place: (value: number) => number}} */
function axis(values, words, most = Infinity, range = 0) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  // Equal values are drawn in the middle.
  range ||= high - low || Math.abs(high) / 5 || 1;
  const power = 10 ** Math.floor(Math.log10(range / 3));
  const step = power * ([1, 2, 5].find((one) => (one * power * 4) >= range) ?? 10);
  const first = Math.max(Math.floor((low - range / 20) / step), low >= 0 ? 0 : -Infinity);
  const last = Math.min(Math.ceil((high + range / 20) / step), Math.ceil(most / step));
  const ticks = Array.from({ length: last - first + 1 }, (_, at) => Number(((first + at) * step).toPrecision(12)));
  if (new Set(ticks.map(words)).size < ticks.length && range < 100 * Math.abs(high)) return axis(values, words, most, 2 * range);
  const [least, size] = [ticks[0], (last - first) * step || 1];
  return { ticks, place: (/** @type {number} */ value) => round((100 * (value - least)) / size) };
}

/** Up to `NAMES` places of a list in equal steps, with its last one. @param {number} length */
function named(length) {
  const step = Math.ceil(length / NAMES);
  return Array.from({ length: Math.ceil(length / step) }, (_, at) => (length - 1) % step + at * step);
}

/** A text next to an axis, at a share of its length in percent. @param {string} kind @param {number} at @param {import('./ui.js').Child} text */
const mark = (kind, at, text) => el('span', { class: kind, style: { '--at': `${at}%` } }, text);

/** A line of a chart, and its mark in the words next to it. @param {number} index */
const tone = (index) => `stroke tone-${index % MAX_LINES}`;

/**
 * Values over the runs of a list, a line for each series. A pointer shows the values of the closest run, and a click opens it.
 * `words` formats a value, `most` is the greatest possible one.
 * @param {string} label @param {{name: string, values: (number | null)[]}[]} series @param {{name: string, short?: string, href?: string}[]} runs
 * @param {(value: number) => string} words @param {number} [most] @param {(href: string) => void} [open]
 */
export function lines(label, series, runs, words, most, open) {
  const shown = series.slice(0, MAX_LINES);
  const values = shown.flatMap((one) => one.values.filter((value) => value !== null));
  if (!values.length) return null;
  const { ticks, place } = axis(/** @type {number[]} */ (values), words, most);
  const x = (/** @type {number} */ at) => (runs.length < 2 ? 50 : round((100 * at) / (runs.length - 1)));
  const text = (/** @type {number | null} */ value) => (value === null ? '–' : words(value));
  const path = (/** @type {(number | null)[]} */ list) => list.map((value, at) => {
    if (value === null) return '';
    // A value between two runs without one is a point.
    return `${at && list[at - 1] !== null ? 'L' : 'M'}${x(at)} ${round(100 - place(value))}${list[at + 1] === undefined || list[at + 1] === null ? 'h0' : ''}`;
  }).join('');
  const points = (/** @type {(number | null)[]} */ list) => (runs.length > MAX_POINTS ? '' : list.map((value, at) => (value === null ? '' : `M${x(at)} ${round(100 - place(value))}h0`)).join(''));
  const closest = (/** @type {any} */ { currentTarget, clientX }) => {
    const { left, width } = currentTarget.getBoundingClientRect();
    return Math.min(Math.max(Math.round(((clientX - left) / width) * (runs.length - 1)), 0), runs.length - 1);
  };
  const move = (/** @type {any} */ event) => {
    const at = closest(event);
    const tip = event.currentTarget.lastElementChild;
    tip.hidden = false;
    tip.style.setProperty('--at', `${x(at)}%`);
    tip.classList.toggle('left', x(at) > 50);
    render(tip, el('strong', null, runs[at].name), shown.map((one, index) => el('span', null, el('i', { class: tone(index) }), shown.length > 1 && `${one.name} `, text(one.values[at]))));
  };
  const leave = (/** @type {any} */ { currentTarget }) => { currentTarget.lastElementChild.hidden = true; };
  const first = Math.max(0, runs.length - Math.floor(MAX_CELLS / (series.length + 1)));
  const row = (/** @type {any} */ run, /** @type {number} */ at) => el('tr', null, el('th', { scope: 'row' }, run.href ? el('a', { href: run.href }, run.name) : run.name),
    series.map((one) => el('td', { class: 'n' }, text(one.values[first + at]))));
  return el('figure', { class: 'plot', 'aria-label': label },
    shown.length > 1 && el('p', { class: 'legend' }, shown.map((one, index) => el('span', { key: one.name }, el('i', { class: tone(index) }), one.name)),
      series.length > shown.length && el('span', { class: 'quiet' }, `${series.length - shown.length} more are in the table`)),
    el('div', { class: 'plane', onpointermove: move, onpointerleave: leave,
      onclick: (/** @type {any} */ event) => { const { href } = runs[closest(event)]; if (href) open?.(href); } },
      el('svg', { viewBox: '0 0 100 100', preserveAspectRatio: 'none', 'aria-hidden': 'true' },
        ticks.map((tick) => el('path', { class: 'grid', d: `M0 ${100 - place(tick)}h100` })),
        shown.map((one, index) => [el('path', { class: tone(index), d: path(one.values) }), el('path', { class: `${tone(index)} points`, d: points(one.values) })])),
      ticks.map((tick) => mark('tick', place(tick), words(tick))),
      named(runs.length).map((at) => mark('name', x(at), runs[at].short ?? runs[at].name)),
      el('div', { class: 'tip', hidden: true, ref: () => {} })),
    folded('Values', () => table(label, ['Name', ...series.map((one) => one.name)], runs.slice(first).map(row), 'values')));
}

/**
 * Points of two values, with their names. Both axes have round numbers.
 * @param {string} label @param {{name: string, x: number, y: number}[]} points @param {[string, (value: number) => string][]} axes name and words of x and y
 */
export function scatter(label, points, [[nameX, wordsX], [nameY, wordsY]]) {
  const [x, y] = [axis(points.map((one) => one.x), wordsX), axis(points.map((one) => one.y), wordsY)];
  const row = (/** @type {any} */ one) => el('tr', null, el('th', { scope: 'row' }, one.name), el('td', { class: 'n' }, wordsX(one.x)), el('td', { class: 'n' }, wordsY(one.y)));
  return el('figure', { class: 'plot', 'aria-label': label },
    el('p', { class: 'legend quiet' }, `${nameY} by ${nameX}`),
    el('div', { class: 'plane' },
      el('svg', { viewBox: '0 0 100 100', preserveAspectRatio: 'none', 'aria-hidden': 'true' },
        y.ticks.map((tick) => el('path', { class: 'grid', d: `M0 ${100 - y.place(tick)}h100` })),
        x.ticks.map((tick) => el('path', { class: 'grid', d: `M${x.place(tick)} 0v100` })),
        points.map((one) => el('path', { class: 'stroke tone-0 points', d: `M${x.place(one.x)} ${round(100 - y.place(one.y))}h0` }))),
      y.ticks.map((tick) => mark('tick', y.place(tick), wordsY(tick))),
      x.ticks.map((tick) => mark('name', x.place(tick), wordsX(tick))),
      points.map((one) => el('span', { class: x.place(one.x) > 60 ? 'point left' : 'point', style: { '--at': `${x.place(one.x)}%`, '--up': `${y.place(one.y)}%` }, title: `${one.name}: ${wordsX(one.x)}, ${wordsY(one.y)}` }, one.name))),
    folded('Values', () => table(label, ['Name', nameX, nameY], points.slice(0, MAX_CELLS / 3).map(row), 'values')));
}

/**
 * A value with its interval as a picture in a cell, on the scale of all rows. `zero` is a value with a line.
 * @param {number} value @param {[number, number]} interval @param {[number, number]} scale @param {string} kind @param {number} [zero]
 */
export function span(value, [low, high], [least, most], kind, zero) {
  const x = (/** @type {number} */ one) => round(2 + (96 * (Math.min(Math.max(one, least), most) - least)) / (most - least || 1));
  return el('svg', { class: `span ${kind}`, viewBox: '0 0 100 12', preserveAspectRatio: 'none', 'aria-hidden': 'true' },
    el('path', { class: 'grid', d: 'M2 6h96' }), zero !== undefined && el('path', { class: 'zero', d: `M${x(zero)} 0v12` }),
    el('path', { class: 'range', d: `M${x(low)} 6H${x(high)}` }), el('path', { class: 'dot', d: `M${x(value)} 6h0` }));
}

/** Shares of the last runs as a small line. @param {number[]} shares */
export function sparkline(shares) {
  const [low, high] = [Math.min(...shares) - 0.02, Math.max(...shares) + 0.02];
  const points = shares.map((share, at) => `${round((100 * at) / (shares.length - 1))} ${round(100 * (high - share) / (high - low))}`);
  return el('svg', { class: 'sparkline', viewBox: '0 0 100 100', preserveAspectRatio: 'none', 'aria-hidden': 'true' }, el('path', { class: 'stroke tone-0', d: `M${points.join('L')}` }), el('path', { class: 'stroke tone-0 points', d: `M${points.at(-1)}h0` }));
}
