// @ts-check
// A report: pages without a server. It has the documents of a run, and the addresses of its pages are hashes.

import { parse } from './json.js';

const read = (/** @type {string} */ id) => document.getElementById(id)?.textContent ?? '';

/** The run's id, and documents by the rest of their paths. `null` with a server. @type {{run: string, documents: Record<string, any>} | null} */
export const report = read('data') ? parse(read('data')) : null;

/** Address of the page above all others. */
export const home = report ? `/runs/${encodeURIComponent(report.run)}` : '/runs';
let last = home;

/** The address of the page. */
export function here() {
  if (!report) return new URL(location.href);
  // Other hashes are places in a page.
  if (location.hash.startsWith('#/')) last = location.hash.slice(1);
  return new URL(last, 'file:///');
}

/** An address as the browser needs it. `null` for a page or a file that the report lacks. @param {string} to */
export const href = (to) => (!report || !to.startsWith('/') ? to : to.startsWith(home) ? `#${to}` : null);

/** The document of a path. `undefined` if the report lacks it. @param {string} path @returns {any} */
export function answer(path) {
  const { pathname, search, searchParams } = new URL(path, 'file:///');
  const name = decodeURIComponent(pathname).slice(decodeURIComponent(home).length);
  const { documents } = /** @type {NonNullable<typeof report>} */ (report);
  if (name.endsWith('/transcript')) return transcript(documents[`${name}?attempt=${searchParams.get('attempt')}`], searchParams);
  return name === '/trials' ? page(searchParams) : name === '/matrix' ? matrix(searchParams) : documents[name + search] ?? documents[name];
}

/** Returns a page of the steps in the report. `left` is the number of steps that the report lacks. @param {any} found @param {URLSearchParams} keys */
function transcript(found, keys) {
  if (!found) return undefined;
  const tool = keys.get('tool');
  const steps = tool ? found.steps.filter((/** @type {any} */ one) => one.calls.some((/** @type {any} */ call) => call.tool === tool)) : found.steps;
  const near = steps.findIndex((/** @type {any} */ { step }) => step === Number(keys.get('near')));
  const offset = near < 0 ? Number(keys.get('offset')) : Math.max(0, near - 5);
  return { ...found, left: found.transcript.steps - found.steps.length, total: steps.length, offset, steps: steps.slice(offset, offset + Number(keys.get('limit'))) };
}

/** All trials, in the order of the plan. @type {any[]} */
let trials = [];
/** The trials of the last query. */
let [query, selected] = ['', trials];

/** Reads all trials once. */
function all() {
  if (!trials.length) {
    trials = JSON.parse(read('trials')).map((/** @type {any[]} */ [trial, word, attempt, ms, headline, score, group, isNew]) => ({
      trial, outcome: word === 'flaky' ? 'passed' : word, flaky: word === 'flaky', known: String(group).startsWith('known') ? 'known' : group && word === 'passed' ? 'unexpected-pass' : null, attempt, duration_ms: ms, headline, score, group, change: isNew ? 'regressed' : null,
    }));
  }
  return trials;
}

/** A page of the matrix. @param {URLSearchParams} keys */
function matrix(keys) {
  const providers = /** @type {NonNullable<typeof report>} */ (report).documents[''].providers.map((/** @type {any} */ one) => one.provider);
  /** @type {Map<string, any[]>} */
  const rows = new Map();
  for (const { trial, outcome, flaky, known, score } of all()) {
    const [at, end] = [trial.lastIndexOf('@'), trial.lastIndexOf('#')];
    const cells = rows.get(trial.slice(0, at)) ?? providers.map(() => null);
    rows.set(trial.slice(0, at), cells);
    if (!outcome) continue;
    const cell = cells[providers.indexOf(trial.slice(at + 1, end))] ??= { passed: 0, failed: 0, error: 0, timeout: 0, skipped: 0, flaky: 0, known: 0, unexpected_passes: 0, score: null, scores: [] };
    cell[outcome] += 1;
    cell.flaky += Number(flaky);
    if (known) cell[known === 'known' ? 'known' : 'unexpected_passes'] += 1;
    if (typeof score === 'number') cell.scores.push(score);
    if (cell.scores.length) cell.score = cell.scores.reduce((/** @type {number} */ sum, /** @type {number} */ one) => sum + one, 0) / cell.scores.length;
  }
  const sum = (/** @type {any[]} */ cells, /** @type {(one: any) => number} */ of) => cells.reduce((all, one) => all + (one ? of(one) : 0), 0);
  const [bad, points] = [(/** @type {any} */ one) => one.failed + one.error + one.timeout - one.known + one.unexpected_passes, (/** @type {any} */ one) => one.score].map((of) => (/** @type {any} */ { cells }) => sum(cells, of));
  const same = (/** @type {any} */ one) => `${one.passed / (one.passed + one.failed + one.error + one.timeout + one.skipped)} ${one.score}`;
  let tests = [...rows].map(([test, cells]) => ({ test, cells }));
  if (keys.get('differs')) tests = tests.filter(({ cells }) => new Set(cells.filter(Boolean).map(same)).size > 1);
  if (keys.get('worst_first')) tests.sort((one, other) => bad(other) - bad(one) || points(one) - points(other));
  const offset = Number(keys.get('offset'));
  return { total: tests.length, offset, providers, tests: tests.slice(offset, offset + Number(keys.get('limit'))) };
}

/** A page of trials. @param {URLSearchParams} keys */
function page(keys) {
  all();
  const [filter, sort] = [keys.get('filter') ?? '', keys.get('sort') ?? 'worst'];
  const { kinds, known_reasons: known = [] } = /** @type {NonNullable<typeof report>} */ (report).documents['/failures'];
  // Of filters for checks, only those of kinds are known.
  const kind = kinds.find((/** @type {any} */ one) => one.filter === filter);
  const group = keys.get('group') || kind?.key;
  // The key of a group starts with that of its kind.
  const isOf = (/** @type {any} */ one) => !group || one.group?.split(' ').some((/** @type {string} */ key) => key === group || key.startsWith(`${group}-`));
  if (query !== `${sort} ${group} ${filter}`) [query, selected] = [`${sort} ${group} ${filter}`, trials.filter(isOf).filter(matcher(kind ? '' : filter)).sort(order(sort))];
  const near = selected.findIndex((one) => one.trial === keys.get('near'));
  const start = near < 0 ? Number(keys.get('offset')) : Math.max(0, near - 1);
  const reason = kinds.flatMap((/** @type {any} */ one) => [{ ...one, reason: one.kind }, ...one.groups]).concat(known).find((/** @type {any} */ one) => one.key === group)?.reason;
  return { rev: 0, reason, total: selected.length, of: trials.length, trials: selected.slice(start, start + Number(keys.get('limit'))) };
}

/** The filters of links and buttons. Any other text is searched for. @param {string} filter @returns {(one: any) => boolean} */
function matcher(filter) {
  const parts = filter.split(/ & (?=(?:outcome|provider)\()/).map((part, _, all) => all.length > 1 && matcher(part));
  if (parts.length > 1) return (one) => parts.every((is) => is && is(one));
  const [, name, value = ''] = /^(outcome|flaky|known|unexpected)\((.*)\)$/.exec(filter) ?? [];
  if (name === 'outcome') return ({ outcome }) => value.split(', ').includes(outcome);
  if (name === 'flaky') return ({ flaky }) => flaky;
  if (name === 'known') return ({ known }) => known === 'known';
  if (name === 'unexpected') return ({ known, outcome }) => (known ? known !== 'known' : BAD.includes(outcome));
  const [, kind, glob] = /^(test|provider)\("(.*)"\)$/s.exec(filter) ?? [];
  // In names of links, `?` is any character.
  const pattern = glob?.replace(/[.+^${}()|[\]\\]/g, '\\$&').replace(/\?/g, '.').replace(/\*/g, '.*');
  if (kind) return ({ trial }) => new RegExp(kind === 'test' ? `^${pattern}@[^@]*$` : `@${pattern}#\\d+$`, 's').test(trial);
  const words = filter.toLowerCase().replace(/^"(.*)"$/, '$1').split(/\s+/);
  return ({ trial, headline }) => words.every((word) => `${trial} ${headline ?? ''}`.toLowerCase().includes(word));
}

const BAD = ['error', 'timeout', 'failed'];
/** Numbers by which trials are sorted. @type {Record<string, (one: any) => number | null>} */
const NUMBERS = {
  worst: ({ outcome, flaky, known }) => (known ? (known === 'known' ? 3.5 : 2.5) : BAD.includes(outcome) ? BAD.indexOf(outcome) : flaky ? 3 : 4),
  duration: (one) => one.duration_ms,
  score: (one) => one.score,
};

/** @param {string} sort @returns {(one: any, other: any) => number} */
function order(sort) {
  const number = NUMBERS[sort.replace('-', '')] ?? (() => 0);
  return (one, other) => {
    const [left, right] = [number(one), number(other)];
    if (left === null || right === null) return Number(left === null) - Number(right === null);
    return sort.startsWith('-') ? right - left : left - right;
  };
}
