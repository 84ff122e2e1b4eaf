// @ts-check
// Drawings, which take their colours from the style sheet; each says in words what it shows.

import { visibleLine } from './text.js';
import { el, svg } from './ui.js';
import { count, duration, number, plural } from './words.js';

const WIDTH = 320;
const HEIGHT = 88;

/** What trials came to over the course of a run. @param {Api.SeriesBin[]} bins */
export function outcomes(bins) {
  /** @type {[keyof Api.SeriesBin, string][]} */
  const kinds = [['broken', 'error'], ['failed', 'failed'], ['skipped', 'skipped'], ['passed', 'passed']];
  const sum = (/** @type {Api.SeriesBin} */ bin) => bin.passed + bin.failed + bin.broken + bin.skipped;
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

/** How long the attempts of a provider took, as many pillars as there are steps. @param {Api.ProviderLatency} latency @param {[number, number]} steps the first and last one of all */
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

/** The first and the last step that any of these has. @param {Api.ProviderLatency[]} latencies @returns {[number, number]} */
export function steps(latencies) {
  const used = latencies.flatMap((latency) => latency.counts.flatMap((number, place) => (number ? [place] : [])));
  return used.length ? [Math.max(Math.min(...used) - 1, 0), Math.max(...used) + 1] : [0, 1];
}

/** Milliseconds up to which a step goes. @param {number} step */
const upTo = (step) => 2 ** (step / 2) / 1000;

/** @param {number[]} counts @param {number} rank */
function percentile(counts, rank) {
  let seen = 0;
  return Math.max(counts.findIndex((number) => (seen += number) >= rank), 0);
}

/** What providers have measured, each as a box on one scale: half of the values are in it, and nine of ten on the line. @param {any} metric @param {(provider: string) => Node} named */
export function spread(metric, named) {
  const all = metric.providers.flatMap((/** @type {any} */ one) => one.quantiles);
  const [low, high] = [Math.min(...all), Math.max(...all)];
  // Where values differ by many times, steps are times and not sums.
  const isLog = low > 0 && high / low > 200;
  const scale = (/** @type {number} */ value) => (isLog ? Math.log(value) : value);
  const width = scale(high) - scale(low);
  const x = (/** @type {number} */ value) => (width > 0 ? 4 + ((scale(value) - scale(low)) / width) * (WIDTH - 8) : WIDTH / 2);
  const unit = metric.unit && metric.unit !== '1' ? ` ${visibleLine(metric.unit)}` : '';
  const height = 18;
  return el('figure', { class: 'chart spread' },
    metric.providers.map((/** @type {any} */ one) => {
      const [least, p5, p25, p50, p75, p95, most] = one.quantiles;
      const words = `${plural(one.values, 'value')}: median ${number(p50)}${unit}, half between ${number(p25)} and ${number(p75)}, nine of ten between ${number(p5)} and ${number(p95)}, all between ${number(least)} and ${number(most)}; mean ${number(one.mean)}`;
      const line = (/** @type {number} */ from, /** @type {number} */ to, /** @type {string} */ kind) => svg('rect', { class: kind, x: x(from), y: height / 2 - 0.75, width: Math.max(x(to) - x(from), 1), height: 1.5 });
      return el('div', { class: 'measured' },
        el('span', { class: 'facts' }, named(one.provider), el('span', { class: 'quiet n' }, `${number(p50)}${unit}`)),
        svg('svg', { viewBox: `0 0 ${WIDTH} ${height}`, role: 'img', 'aria-label': words, preserveAspectRatio: 'none' },
          svg('title', null, words),
          line(least, most, 'fill-skipped'), line(p5, p95, 'fill-plain'),
          svg('rect', { class: 'fill-plain', x: x(p25), y: 3, width: Math.max(x(p75) - x(p25), 2), height: height - 6, rx: 1 }),
          svg('rect', { class: 'median', x: x(p50) - 1, y: 1, width: 2, height: height - 2 })));
    }),
    el('figcaption', null, el('span', null, number(low)), el('span', null, isLog ? 'median; steps are times' : 'median'), el('span', null, `${number(high)}${unit}`)));
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
