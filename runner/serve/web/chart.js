// @ts-check
// Drawings, which take their colours from the style sheet; each says in words what it shows.

import { el, svg } from './ui.js';
import { count, duration, plural } from './words.js';

const WIDTH = 320;
const HEIGHT = 88;

/** What trials came to over the course of a run. @param {any[]} bins */
export function outcomes(bins) {
  const kinds = [['broken', 'error'], ['failed', 'failed'], ['skipped', 'skipped'], ['passed', 'passed']];
  const sum = (/** @type {any} */ bin) => bin.passed + bin.failed + bin.broken + bin.skipped;
  const total = bins.reduce((all, bin) => all + sum(bin), 0);
  const bad = bins.reduce((all, bin) => all + bin.failed + bin.broken, 0);
  const width = WIDTH / Math.max(bins.length, 1);
  const bars = bins.flatMap((bin, place) => {
    const whole = sum(bin) || 1;
    let y = HEIGHT;
    return kinds.map(([key, kind]) => {
      const height = (bin[key] / whole) * HEIGHT;
      y -= height;
      return height ? svg('rect', { class: `fill-${kind}`, x: place * width, y, width: Math.max(width - (width > 4 ? 1 : 0), 0.5), height }) : null;
    });
  });
  const words = `${plural(total, 'trial')} in the order in which they ended; ${count(bad)} of them bad`;
  return el('figure', { class: 'chart' },
    svg('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: 'img', 'aria-label': words, preserveAspectRatio: 'none' }, bars),
    el('figcaption', null, el('span', null, 'first'), el('span', null, plural(bad, 'bad trial')), el('span', null, 'last')));
}

/** How long the attempts of a provider took, as many pillars as there are steps. @param {any} latency @param {[number, number]} steps the first and last one of all */
export function latency(latency, [from, to]) {
  const counts = latency.counts.slice(from, to + 1);
  const most = Math.max(...counts, 1);
  const width = WIDTH / counts.length;
  const height = 40;
  const bars = counts.map((/** @type {number} */ number, /** @type {number} */ place) => number
    ? svg('rect', { class: 'fill-plain', x: place * width, y: height - Math.max((number / most) * height, 1.5), width: Math.max(width - 1, 1), height: Math.max((number / most) * height, 1.5) },
      svg('title', null, `${plural(number, 'attempt')} up to ${duration(upTo(from + place))}`))
    : null);
  const total = counts.reduce((/** @type {number} */ all, /** @type {number} */ number) => all + number, 0);
  const [p50, p95] = [0.5, 0.95].map((share) => duration(upTo(from + percentile(counts, total * share))));
  const words = `${plural(total, 'attempt')}: half of them up to ${p50}, 95 % up to ${p95}`;
  return el('figure', { class: 'chart low' },
    svg('svg', { viewBox: `0 0 ${WIDTH} ${height}`, role: 'img', 'aria-label': words, preserveAspectRatio: 'none' }, bars),
    el('figcaption', null, el('span', null, duration(upTo(from - 1))), el('span', null, duration(upTo(to)))));
}

/** The first and the last step that any of these has. @param {any[]} latencies @returns {[number, number]} */
export function steps(latencies) {
  const used = latencies.flatMap((latency) => latency.counts.flatMap((/** @type {number} */ number, /** @type {number} */ place) => (number ? [place] : [])));
  return used.length ? [Math.max(Math.min(...used) - 1, 0), Math.max(...used) + 1] : [0, 1];
}

/** Milliseconds up to which a step goes. @param {number} step */
const upTo = (step) => 2 ** (step / 2) / 1000;

/** @param {number[]} counts @param {number} rank */
function percentile(counts, rank) {
  let seen = 0;
  return Math.max(counts.findIndex((number) => (seen += number) >= rank), 0);
}

/** The last runs of a scenario: how much passed of each. @param {{rate: number | null, tone: string, words: string}[]} points the oldest first */
export function sparkline(points) {
  const [width, height] = [7, 18];
  const words = `The last ${plural(points.length, 'run')}: ${points.map((point) => point.words).join(', ')}`;
  const bars = points.map(({ rate, tone }, place) => {
    const tall = rate === null ? 3 : Math.max(3, rate * height);
    return svg('rect', { class: `fill-${tone}`, x: place * width, y: height - tall, width: width - 2, height: tall, rx: 1 });
  });
  return svg('svg', { class: 'spark', width: points.length * width, height, viewBox: `0 0 ${points.length * width} ${height}`, role: 'img', 'aria-label': words },
    svg('title', null, words), bars);
}
