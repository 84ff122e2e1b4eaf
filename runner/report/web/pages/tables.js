// @ts-check
// Tables of a run: results by provider, grader and `meta`, and denied access.

import { el, table } from '../base/ui.js';
import { duration, number, parts, plural, prose, rate } from '../base/words.js';

/** Results by provider, grader and `meta`. @param {any} document */
export function tables({ meta = [], ...document }) {
  if (!document.providers) return el('p', { class: 'quiet' }, 'Reading the results…');
  return el('section', null, el('h2', null, 'Providers'), providers(document), meta.map(group));
}

/** Results by the values of a key of `meta`. @param {any} one */
function group({ key, values }) {
  const row = (/** @type {any} */ one) => el('tr', null, el('th', { scope: 'row' }, String(one.value)), results(one));
  return [el('h2', null, `Results by ${key}`), table(key, [key, 'Results'], values.map(row))];
}

/** @param {any} counts */
const results = (counts) => el('td', null, parts(counts).map(([key, phrase]) => [el('span', { class: key }, phrase), ' ']));

/** @param {any} document */
function providers({ providers, graders = [] }) {
  const all = [...providers, ...graders];
  const hasScore = all.some((one) => one.score !== null && one.score !== undefined);
  const hasMetrics = all.some((one) => one.metrics);
  const row = (/** @type {any} */ one) => el('tr', null, el('th', { scope: 'row' }, one.provider ?? one.grader),
    results(one),
    el('td', null, rate(one)),
    hasScore ? el('td', null, one.score === null || one.score === undefined ? '' : number(one.score)) : null,
    el('td', { class: 'metric' }, one.p50_ms === null ? '' : `${duration(one.p50_ms)} · ${duration(one.p95_ms)} · ${duration(one.max_ms)}`),
    hasMetrics && el('td', null, (one.metrics ?? []).map((/** @type {any} */ metric) => el('div', { class: 'metric' }, `${metric.name} ${amount(metric)}`))));
  const heads = ['Provider', 'Results', 'Pass rate', ...(hasScore ? ['Score'] : []), 'p50 · p95 · max', ...(hasMetrics ? ['Metrics of the attempts that decided'] : [])];
  return table('Providers', heads, all.map(row));
}

/** A metric's value with its unit, unless the name ends with it. @param {any} metric */
export const amount = ({ name, value, unit }) => `${number(Number(value))}${unit && unit !== '1' && !name.toLowerCase().endsWith(unit.toLowerCase()) ? ` ${unit}` : ''}`;

/** Access that guests tried without a grant, with the lines that would grant it. @param {any} document */
export function denials({ denials = {} }) {
  const rows = Object.entries(denials).flatMap(([name, all]) => all.map((/** @type {any} */ one) => el('li', null,
    el('code', null, name), ' was denied ', prose(one.what), ` in ${plural(one.count, 'attempt')}.`,
    one.grant && [' To grant it: ', el('code', null, one.grant)])));
  return rows.length ? el('ul', { class: 'note' }, rows) : null;
}
