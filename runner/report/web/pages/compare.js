// @ts-check
// Two runs, joined by test and provider: cautions, changes of tests, and changes of rates and means.

import { get, query, runPath, trialPath, tried } from '../base/api.js';
import { span } from '../base/chart.js';
import { problem } from '../base/problem.js';
import { go } from '../base/router.js';
import { Rows, cell, head } from '../base/rows.js';
import { el, folded, link, render, soon, table } from '../base/ui.js';
import { CHANGES, count, done, duration, local, outcome, percent, plural, result, score, testName, time, verdict } from '../base/words.js';
import { suffix } from './tables.js';

/** @type {import('../base/router.js').Open} */
export async function open({ place, address, kept, server }) {
  const keys = Object.fromEntries(['base', 'new', 'filter', 'class', 'sort'].map((key) => [key, address.searchParams.get(key) ?? '']));
  const to = (/** @type {Record<string, string>} */ change) => `/compare${query({ ...keys, ...change })}`;
  const { runs } = await get('/runs?limit=1000');
  const scenarios = [...Map.groupBy(/** @type {any[]} */ (runs), (run) => run.scenario)];
  // Default: the newest run with results and an earlier run of its scenario.
  const judged = runs.filter((/** @type {any} */ run) => run.status !== 'running' && done(run.counts) > 0);
  const earlier = (/** @type {any} */ one) => judged.slice(judged.indexOf(one) + 1).find((/** @type {any} */ other) => other.scenario === one.scenario);
  const newest = keys.base ? null : judged.find((/** @type {any} */ one) => (!keys.new || one.run === keys.new) && earlier(one));
  if (newest) [keys.base, keys.new] = [earlier(newest).run, newest.run];
  /** @type {any} */
  let [document, error] = [null, null];
  try {
    if (keys.base && keys.new) document = await get(`/compare${query({ base: keys.base, new: keys.new, filter: keys.filter })}`);
  } catch (caught) {
    if (/** @type {any} */ (caught).status === 401) throw caught;
    error = caught;
  }
  if (document) sessionStorage.setItem(`compare-${document.base.run}-${document.new.run}`, query(keys));
  const changes = (document?.changes ?? []).filter((/** @type {any} */ one) => !keys.class || one.class === keys.class);
  /** The change of the mean score. `null` without both. @param {any} one */
  const rise = (one) => (typeof one.base?.score === 'number' && typeof one.new?.score === 'number' ? one.new.score - one.base.score : null);
  const isScored = changes.some((/** @type {any} */ one) => rise(one) !== null);
  if (keys.sort) changes.sort((/** @type {any} */ one, /** @type {any} */ other) => (rise(one) ?? 0) - (rise(other) ?? 0));

  // The pages of trials go through this list. The browser keeps a few million characters.
  if (document) tried(() => sessionStorage.setItem(`changes-${document.base.run}-${document.new.run}`, JSON.stringify(changes.filter((/** @type {any} */ one) => one.base && one.new).slice(0, 5000).map((/** @type {any} */ one) => `${one.test}@${one.provider}#1`))), undefined);

  const rows = new Rows({
    label: 'Changed results',
    head: () => ['Change', 'Test', 'Base', 'New', 'Reason'].map((name) => head(name.toLowerCase(), name)),
    row: (/** @type {any} */ one) => [cell('change', CHANGES.filter(([key]) => key === one.class).map(([, words, tone]) => el('span', { class: tone }, words.replace(' although known', '')))),
      cell('test trial', link(pair(one), testName(one.test), el('span', { class: 'provider' }, `@${one.provider}`))),
      cell('base', side(one.base)), cell('new', side(one.new)), cell('reason', el('span', { title: one.reason }, one.reason))],
    height: () => (matchMedia('(max-width: 700px)').matches ? 84 : 34),
    source: { get count() { return changes.length; }, item: (index) => changes[index], need: () => {} },
    open: (one) => go(pair(one)),
  });
  rows.element.classList.add('compare');
  const longest = (/** @type {string[]} */ texts) => String(texts.reduce((most, { length }) => Math.max(most, length), 0));
  rows.element.style.setProperty('--names', longest(changes.map((/** @type {any} */ one) => `${one.test}@${one.provider}`)));
  rows.element.style.setProperty('--sides', longest(changes.flatMap((/** @type {any} */ one) => [words(one.base), words(one.new)])));
  rows.place = kept;

  /** The address of the new trial, compared with that of the base. @param {any} one */
  const pair = (one) => trialPath((one.new ? document.new : document.base).run, `${one.test}@${one.provider}#1`) + query({ base: one.new && one.base && document.base.run });

  /** A field for a run, with its state below. @param {string} key @param {string} label */
  function choice(key, label) {
    const run = document?.[key];
    const chosen = run?.run ?? keys[key];
    return el('div', null, el('label', null, label, el('select', { value: chosen, onchange: (/** @type {any} */ event) => go(to({ [key]: event.target.value })) },
      !chosen && el('option', { value: '' }, 'Choose a run…'), scenarios.map(([name, all]) => el('optgroup', { key: name, label: name }, all.map((run) => el('option', { value: run.run }, `${run.scenario} ${run.short} ${local(run.started_at)}`)))))),
      run && el('p', null, el('b', { class: 'printed' }, run.scenario), verdict(run), ' ', el('span', { class: 'quiet' }, time(run.started_at, 'age')), ' ', link(runPath(run.run), run.short)));
  }

  function content() {
    if (!document && error) return problem(error);
    if (!document) return el('p', { class: 'empty' }, runs.length > 1 ? ['Choose two runs, the earlier one as base. Or tick two runs in the ', link('/runs', 'list of runs'), '.']
      : ['Two runs are needed to compare. ', server.read_only ? null : link('/start', 'Start a run')]);
    const chips = CHANGES.map(([key, text, kind]) => [key, text, kind, document.counts[key.replace('-', '_')]]).filter(([, , , number]) => number > 0);
    return [
      document.cautions.length > 0 && el('div', { class: 'note' }, 'The runs differ in more than their results:', el('ul', null, document.cautions.map((/** @type {string} */ text) => el('li', null, text)))),
      measures(document.measures),
      el('h2', null, 'Results', el('small', null, changes.length > 0 && `${count(changes.length)}, each of a test on a provider`)),
      el('div', { class: 'chips filters', role: 'group', 'aria-label': 'Changes' }, chips.map(([key, text, kind, number]) =>
        el('a', { class: 'chip', 'aria-current': keys.class === key ? 'true' : null, href: to({ class: keys.class === key ? '' : key }) }, el('span', { class: kind }, `${count(number)} ${text}`))),
      isScored && el('a', { class: 'chip', 'aria-current': keys.sort ? 'true' : null, href: to({ sort: keys.sort ? '' : 'score' }) }, 'By change of score')),
      changes.length ? null : el('p', { class: 'quiet' }, 'No results in this list. Those that pass in both runs are only counted.'),
      el('div', { hidden: !changes.length }, rows.element),
    ];
  }

  const draw = soon(() => {
    render(place, el('h1', null, 'Compare'), document && lead(document), el('div', { class: 'filters fields' }, choice('base', 'Base'), choice('new', 'New'),
      document && el('span', { class: 'buttons' }, link(to({ base: keys.new, new: keys.base }), '⇄ Swap')),
      el('label', null, 'Tests', el('input', { type: 'search', value: keys.filter, placeholder: 'filter, such as tag(smoke)',
        onchange: (/** @type {any} */ event) => go(to({ filter: event.target.value.trim() })) }))),
    content());
    rows.draw();
  });
  draw();
  return { title: () => 'Compare', draw: () => {}, place: () => rows.place, close: () => rows.close() };
}

/** The summary in the colour of its verdict. Only a significant change is red or green. @param {any} document */
function lead({ summary, measures }) {
  const word = /\b(worse|better|mixed|unclear)\b/.exec(summary)?.[0];
  const isSure = measures.some((/** @type {any} */ one) => one.p !== null && one.p < 0.05);
  return el('p', { class: `lead ${!word ? '' : isSure && word === 'worse' ? 'failed' : isSure && word === 'better' ? 'passed' : 'flaky'}` }, summary);
}

/** The repeats of a test in a run. @param {any} of */
const words = (of) => (of ? [of.trials > 1 && `${count(of.passed)}/${count(of.trials)}`, typeof of.score === 'number' && score(of.score)].filter(Boolean).join(' · ') || result(of) : '–');

/** @param {any} of */
const side = (of) => (of ? outcome(result(of), words(of)) : words(of));

/** Measures that are shown at once. */
const MAX_MEASURES = 12;

/** Changes of rates and means: of pass rates and scores, and significant ones. The others are folded. @param {any[]} list */
function measures(list) {
  if (!list.length) return null;
  /** Formats the numbers of a measure with one unit and the same digits after the point, two of them for the smallest one. @param {any} one */
  const format = ({ name, unit, change_unit: own, base, new: fresh, change }) => {
    const sizes = [base.value, fresh.value, change].map(Number).map(Math.abs).filter(Boolean);
    const [least, most] = [Math.min(...sizes), Math.max(...sizes, 1e-9)];
    const isTime = unit === 'ms' && most >= 1 && most < 12e4;
    // The costs of one trial are too small to read.
    const [scale, end] = unit === 'USD' ? [1000, ''] : isTime ? most < 1000 ? [1, ' ms'] : [1e-3, ' s'] : [1, ''];
    const power = (/** @type {number} */ of) => Math.floor(Math.log10(scale * of));
    const digits = own === 'pp' ? 1 : Math.max(unit === 'USD' || name === 'score' ? 2 : 0, Math.min(1 - power(least), 3 - power(most)));
    const text = (/** @type {number} */ of) => (unit === 'ms' && !isTime ? duration(of) : (unit === 'USD' ? '$' : '') + (scale * of).toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits }) + end);
    return { value: (/** @type {any} */ of) => (unit === '%' ? percent(of / 100) : text(Number(of)) + (/^(USD|ms)$/.test(unit) ? '' : suffix({ name, unit }))),
      signed: (/** @type {number} */ of) => (of > 0 ? '+' : of < 0 ? '−' : '') + text(Math.abs(of)) };
  };
  // A measure's intervals have one scale, with 0 in it.
  const picture = (/** @type {any} */ one) => {
    if (!one.interval) return '';
    const ends = list.filter(({ name }) => name === one.name).flatMap(({ change, interval }) => [change, ...interval ?? []]);
    const most = Math.max(...ends.map(Math.abs), Number.MIN_VALUE);
    const tone = one.worse ? 'worse' : one.p < 0.05 && one.change > 0 === /rate|score/.test(one.name) ? 'better' : 'plain';
    return span(one.change, one.interval, [-most, most], tone, 0);
  };
  const row = (/** @type {any} */ one, { value, signed } = format(one)) => el('tr', { class: one.p !== null && one.p < 0.05 ? 'significant' : '' },
    el('th', { scope: 'row' }, one.name, one.unit === 'USD' && ' per 1,000', one.provider ? el('span', { class: 'quiet' }, ` @${one.provider}`) : null),
    [value(one.base.value), value(one.new.value), signed(one.change) + (one.change_unit === 'pp' ? ' pp' : ''),
      one.interval ? `${signed(one.interval[0])} to ${signed(one.interval[1])}` : '', picture(one), one.p === null ? '' : one.p < 0.001 ? '< 0.001' : one.p > 0.99 ? '> 0.99' : one.p.toFixed(3), count(one.tests)]
      .map((text) => el('td', { class: 'n' }, text)));
  const heads = ['Measure', 'Base', 'New', 'Change', '95 % interval', '– 0 +', el('span', { title: 'By Holm, for several measures' }, 'p (corrected)'), 'Results'];
  // A measure of all providers is in one place.
  const names = [...new Set(list.map((one) => one.name))];
  list = [...list].sort((one, other) => names.indexOf(one.name) - names.indexOf(other.name));
  const main = list.filter((one) => one.change !== 0 && ((one.p ?? 1) < 0.05 || /^(pass rate|score)$/.test(one.name))).slice(0, MAX_MEASURES);
  const others = list.filter((one) => !main.includes(one));
  return [el('h2', null, 'Rates and means', el('small', null, 'significant changes (corrected p < 0.05) are bold')),
    main.length > 0 && table('Rates and means', heads, main.map((one) => row(one)), 'measures'),
    others.length > 0 && folded(plural(others.length, 'other measure'), () => table('Other measures', heads, others.map((one) => row(one)), 'measures'))];
}
