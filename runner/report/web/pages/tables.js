// @ts-check
// Tables of a run: results by provider, grader and `meta`, and denied access.

import { query, runPath } from '../base/api.js';
import { scatter, span } from '../base/chart.js';
import { report } from '../base/report.js';
import { button, el, table } from '../base/ui.js';
import { count, done, duration, heat, money, number, parts, percent, plural, prose, rate, score, wilson } from '../base/words.js';

/** Rows of a table of providers or of a key of `meta`, and columns of metrics. */
const [MAX_ROWS, MAX_METRICS] = [60, 8];
/** Units of time, and the column of durations. */
const TIMES = 'p50 · p95 · max', TIME = /^([nuµμm]?s|sec|seconds|min|h)$/;

/** Results by the values of each key of `meta`, and the providers by cost and score. @param {any} document */
export function groups({ meta = [], providers = [] }) {
  const row = (/** @type {any} */ one) => el('tr', null, el('th', { scope: 'row' }, String(one.value)), counted(one), passed(one));
  const all = meta.map((/** @type {any} */ { key, values }) => el('section', { key }, el('h2', null, `Results by ${key}`),
    table(key, [key, 'Results', 'Pass rate'], values.slice(0, MAX_ROWS).map(row)), rest(values)));
  return el('div', { key: 'groups', class: 'tiles fit' }, costs(providers), all);
}

/** Providers and values of `meta` in the table of pass rates. */
const [MAX_PROVIDERS, MAX_VALUES] = [12, 12];

/** @param {any} one */
export const share = (one) => (one ? wilson(one)?.share ?? null : null);

/** The name as a glob that matches it. @param {string} name */
export const quoted = (name) => `"${name.replace(/[*?[\]{}"\\]/g, '?')}"`;

/** Providers, the best first. @param {any[]} providers */
export const ranked = (providers) => [...providers].sort((one, other) => (share(other) ?? -1) - (share(one) ?? -1));

/** The providers by their pass rates, the best first, of all tests and by `meta`. Those of a running run stay in the order of `names`. @param {any} document @param {string[]} [names] */
export function strengths({ run, providers = [], meta = [] }, names = []) {
  const isFixed = run.status === 'running';
  if (providers.length < 2 || (isFixed && !names.length)) return null;
  const shown = (isFixed ? names.flatMap((name) => providers.filter((/** @type {any} */ one) => one.provider === name)) : ranked(providers)).slice(0, MAX_PROVIDERS);
  const values = meta.flatMap((/** @type {any} */ { key, values }) => values.filter((/** @type {any} */ one) => one.providers?.length).map((/** @type {any} */ one) => [`${key} ${one.value}`, one.providers, `meta(${quoted(`${key}=${one.value}`)})`]));
  const row = (/** @type {string} */ name, /** @type {(number | null)[]} */ all, /** @type {(value: number) => string} */ words, /** @type {number[]} */ totals = [], /** @type {(at: number) => string | false} */ href = () => false) => {
    const known = all.filter((one) => one !== null);
    // Without a difference, no provider is the best one.
    const best = Math.min(...known) < Math.max(...known) ? Math.max(...known) : null;
    return el('tr', { key: name }, el('th', { scope: 'row' }, name), all.map((one, at) => el('td', { class: one !== null && one === best ? 'best' : null,
      style: { '--heat': one === null ? 'transparent' : heat(one) } }, one === null ? '' : el(href(at) ? 'a' : 'span', { href: href(at) }, words(one), totals[at] && el('small', null, ` of ${count(totals[at])}`)))));
  };
  // The trials of a cell: those that did not pass, if there are any. A report has no values of `meta`.
  const rates = (/** @type {string} */ name, /** @type {any[]} */ list, meta = '', all = shown.map(({ provider }) => wilson(list.find((one) => one.provider === provider) ?? {}))) =>
    row(name, all.map((one) => one?.share ?? null), percent, all.map((one) => one?.total ?? 0), (at) => !(meta && report)
      && `${runPath(run.run)}${query({ filter: [meta, `provider(${quoted(shown[at].provider)})`, (all[at]?.share ?? 1) < 1 && 'outcome(failed, error, timeout)'].filter(Boolean).join(' & ') })}`);
  const title = (/** @type {ReturnType<typeof parsed>} */ { name, keys }) => [name, keys.map(([, value]) => value).join(', ')].filter(Boolean).join(' ');
  const scores = shown.map(({ score }) => (typeof score === 'number' ? score : null));
  return [el('h2', null, 'Pass rates', !isFixed && el('small', null, 'the best provider first')),
    el('div', { style: { '--columns': String(shown.length) } }, table('Pass rates of the providers', ['Tests', ...shown.map((one) => title(parsed(one.provider)))], [rates('All', providers),
      scores.some((one) => one !== null) && row('Mean score', scores, score),
      values.slice(0, MAX_VALUES).map((/** @type {[string, any[], string]} */ [name, list, meta]) => rates(name, list, meta))], 'heat')),
    providers.length > MAX_PROVIDERS || values.length > MAX_VALUES ? el('p', { class: 'quiet' }, 'The overview has all providers and values.') : null];
}

/** @param {any[]} list */
const rest = (list) => list.length > MAX_ROWS && el('p', { class: 'quiet' }, `${plural(list.length - MAX_ROWS, 'row')} more in `, el('code', null, 'runner show'));

/** A cell with a score, and the least one of the gate. @param {any} value @param {any} [condition] */
const scored = (value, condition) => el('td', { class: 'n', 'data-label': 'Mean score' }, value === null || value === undefined ? '' : score(Number(value)), least(condition, number));

/** @param {any} condition @param {(bound: number) => string} words */
const least = (condition, words) => condition && el('small', { class: condition.held ? 'quiet' : 'failed' }, `at least ${words(condition.bound)}`);

/** @param {any} counts */
const counted = (counts) => el('td', null, parts(counts).map(([key, phrase]) => [el('span', { class: key }, phrase), ' ']));

/** The pass rate with a picture of its interval. @param {any} counts @param {any} [condition] of the gate */
function passed(counts, condition) {
  const range = wilson(counts);
  return el('td', { class: 'metric' }, rate(counts), range && range.total > 9 && span(range.share, range.interval, [0, 1], 'plain'), least(condition, percent));
}

/** Name and keys of a provider of a matrix, such as `gpt[language=english]`. @param {string} name @returns {{name: string, keys: [string, string][]}} */
export function parsed(name) {
  const [, base, list] = /^([^[]*)\[(.*)\]$/.exec(name) ?? [];
  if (!list) return { name, keys: [] };
  return { name: base, keys: list.split(',').map((one) => /** @type {[string, string]} */ (one.split(/=(.*)/s).slice(0, 2))) };
}

/** The key by whose values the providers are grouped, by run. @type {Map<string, string>} */
const pivots = new Map();

/** Results by provider and grader. @param {any} document @param {() => void} redraw */
export function results({ run, manifest, providers, graders = [] }, redraw) {
  if (!providers) return el('p', { class: 'quiet' }, 'Reading the results…');
  const keys = [...new Set(providers.flatMap((/** @type {any} */ one) => parsed(one.provider).keys.map(([key]) => key)))];
  const pivot = keys.includes(pivots.get(run.run)) ? pivots.get(run.run) : undefined;
  const shown = pivot ? grouped(providers, pivot) : providers;
  const all = [...shown, ...graders];
  const hasScore = all.some((one) => one.score !== null && one.score !== undefined);
  // Sums of times have no meaning, because calls run at the same time.
  // A total that some of the rows lack reads as that of all.
  const metrics = [...new Set(all.flatMap((one) => (one.metrics ?? []).filter((/** @type {any} */ { unit }) => !TIME.test(unit)).map((/** @type {any} */ { name }) => name)))].filter((name) => name !== 'total_tokens' || all.every((one) => sums([one], name).length));
  // A provider of a matrix has a cell for each key.
  const names = (/** @type {any} */ one) => {
    const { name, keys: own } = pivot ? { name: one.provider, keys: [] } : parsed(one.provider ?? one.grader);
    const values = Object.fromEntries(own);
    return [el('th', { scope: 'row' }, name, one.grader && el('span', { class: 'quiet' }, ' grader')), pivot ? null : keys.map((key) => el('td', { key }, values[key] ?? ''))];
  };
  const amounts = (/** @type {(name: string) => any[]} */ of) => metrics.slice(0, MAX_METRICS).map((name) => el('td', { class: 'n', 'data-label': metric(name) }, of(name).map(amount)));
  // The counts of a running run are newer than those of its providers.
  const counts = run.status === 'running' ? summed(providers) : run.counts;
  /** The gate's condition for all trials. @param {string} key */
  const bound = (key) => manifest.gate?.conditions.find((/** @type {any} */ one) => one.scope === 'all' && one.key === key);
  const row = (/** @type {any} */ one) => el('tr', { key: one.provider ?? one.grader }, names(one),
    counted(one), passed(one),
    hasScore && scored(one.score),
    !pivot && el('td', { class: 'metric', 'data-label': TIMES }, one.p50_ms === null ? '' : `${duration(one.p50_ms)} · ${duration(one.p95_ms)} · ${duration(one.max_ms)}`),
    amounts((name) => sums([one], name)));
  const total = () => el('tfoot', null, el('tr', null, el('th', { scope: 'row' }, 'All'), pivot ? null : keys.map((key) => el('td', { key })), counted(counts), passed(counts, bound('pass_rate')), hasScore && scored(bound('min_score')?.value, bound('min_score')), !pivot && el('td', null),
    amounts((name) => sums([...providers, ...graders], name))));
  const numeric = (/** @type {string} */ words) => el('div', { class: 'n' }, words.split(/(?<=_)/).map((part) => [part, el('wbr', null)]));
  const heads = [pivot ?? 'Provider', ...(pivot ? [] : keys), 'Results', 'Pass rate', ...(hasScore ? [numeric('Mean score')] : []), ...(pivot ? [] : [TIMES]), ...metrics.slice(0, MAX_METRICS).map((name) => numeric(metric(name)))];
  const chip = (/** @type {string} */ key, /** @type {string} */ words) => button(words, () => { pivots.set(run.run, key); redraw(); }, { key, class: 'chip', 'aria-pressed': String((pivot ?? '') === key) });
  return [el('h2', null, 'Providers'),
    keys.length > 0 && el('div', { class: 'chips', role: 'group', 'aria-label': 'Group providers by' }, chip('', 'All providers'), keys.map((key) => chip(key, `by ${key}`))),
    table('Providers', heads, shown.slice(0, MAX_ROWS).map(row), 'providers', graders.length > 0 && el('tbody', null, graders.map(row)), all.length > 1 && total()), rest(shown),
    metrics.length > 0 && el('p', { class: 'quiet' }, `Metrics are sums without retried attempts.${metrics.length > MAX_METRICS ? ` ${metrics.length - MAX_METRICS} more: runner show` : ''}`)];
}

/** The sum of a metric, for each of its units. @param {any[]} list providers and graders @param {string} name */
function sums(list, name) {
  const all = list.flatMap((one) => (one.metrics ?? []).filter((/** @type {any} */ metric) => metric.name === name));
  return [...Map.groupBy(all, ({ unit }) => unit).values()].map((same) => ({ ...same[0], value: same.reduce((sum, { value }) => sum + Number(value), 0) }));
}

/** The cost of a run in words. `undefined` without one. @param {any} document */
export const cost = ({ providers, graders = [] }) => providers && sums([...providers, ...graders], 'cost_usd').map(amount)[0];

/** The counts of providers together. @param {any[]} providers */
const summed = (providers) => Object.fromEntries(['passed', 'failed', 'error', 'timeout', 'skipped', 'flaky', 'known', 'unexpected_passes'].map((key) => [key, providers.reduce((sum, one) => sum + (one[key] ?? 0), 0)]));

/** Sums of the providers with the same value of a key. @param {any[]} providers @param {string} key */
const grouped = (providers, key) => [...Map.groupBy(providers, (one) => Object.fromEntries(parsed(one.provider).keys)[key] ?? 'without')].map(([provider, list]) => {
  const scores = list.map(({ score }) => score).filter((one) => typeof one === 'number');
  // Each provider of a matrix has the same tests, so its mean score has the same weight.
  return { provider, ...summed(list), score: scores.length ? scores.reduce((sum, one) => sum + one, 0) / scores.length : null };
});

/** Providers by cost and score. @param {any[]} providers */
function costs(providers) {
  const points = providers.flatMap((one) => {
    const cost = one.metrics?.find((/** @type {any} */ metric) => metric.name === 'cost_usd');
    return cost && typeof one.score === 'number' ? [{ name: one.provider, x: 1000 * Number(cost.value) / done(one), y: one.score }] : [];
  });
  if (points.length < 2) return null;
  return el('section', { key: '' }, el('h2', null, 'Cost and score'), scatter('Score of each provider by its cost', points.slice(0, MAX_ROWS), [['cost of 1,000 trials', money], ['score', score]]));
}

/** The words of a metric that runner computes. Others have the names that plugins give. @param {string} name */
export const metric = (name) => (name === 'cost_usd' ? 'Cost' : name);

/** The unit of a metric after its value, unless the name ends with it. @param {any} metric */
export const suffix = ({ name, unit }) => (unit && unit !== '1' && !name.toLowerCase().endsWith(unit.toLowerCase()) ? ` ${unit}` : '');

/** A metric's value with its unit. @param {any} metric */
export const amount = ({ name, value, unit }) => (unit === 'USD' ? money(Number(value)) : number(Number(value)) + suffix({ name, unit }));

/** Access that guests tried without a grant, with the lines that would grant it. @param {any} document */
export function denials({ denials = {} }) {
  const rows = Object.entries(denials).flatMap(([name, all]) => all.map((/** @type {any} */ one) => el('li', null,
    el('code', null, name), ' was denied ', prose(one.what), ` in ${plural(one.count, 'attempt')}.`,
    one.grant && [' To grant it: ', el('code', null, one.grant)])));
  return rows.length ? el('ul', { class: 'note' }, rows) : null;
}
