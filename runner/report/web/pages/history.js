// @ts-check
// Results of a scenario's tests over its runs: rates by date, and a mark for each test and run.

import { get, query, runPath, trialPath } from '../base/api.js';
import { MAX_POINTS, lines } from '../base/chart.js';
import { PAGE, Pages } from '../base/pages.js';
import { problem } from '../base/problem.js';
import { go, openRow } from '../base/router.js';
import { Rows, cell, head, visibleColumns } from '../base/rows.js';
import { el, folded, link, render, soon } from '../base/ui.js';
import { beside, count, done, duration, isWhole, local, money, noRuns, number, outcome, percent, plural, points, prose, short, sign, testName, time, wilson } from '../base/words.js';

const KEYS = ['scenario', 'test', 'provider', 'since', 'by', 'limit'];

/** Starts of failures that are listed, and the names of each. */
const [MAX_BEGINS, MAX_NAMES] = [5, 3];
const BAD = ['failed', 'error', 'timeout', 'unexpected_pass'];
/** Width of the column of a run, with the space between two columns. */
const COLUMN = '3.7rem';
/** Width of the columns between the tests and the runs, in `rem`. */
const BEFORE = 15;

/** Starts of the runs that are shown. @type {[string, string][]} */
const SINCE = [['', 'Any time'], ['1d', 'Last day'], ['7d', 'Last 7 days'], ['30d', 'Last 30 days'], ['90d', 'Last 90 days']];

/** The charts: name, value of a run or of a provider in it, its text, and the greatest possible value. @type {[string, (one: any) => number | null, (value: number) => string, number?][]} */
const CHARTS = [
  ['Pass rate', (one) => one.pass_rate, percent, 1],
  ['Score', (one) => one.score ?? null, number],
  ['Median duration', (one) => one.p50_ms, duration],
  ['Cost', (one) => one.cost_usd, money],
  ['Tokens', (one) => one.tokens, (value) => count(Math.round(value))],
];

/** @type {import('../base/router.js').Open} */
export async function open({ place, address, server }) {
  const keys = Object.fromEntries(KEYS.map((key) => [key, address.searchParams.get(key) ?? '']));
  const newest = (await get('/runs?limit=1000')).runs;
  const scenarios = [...new Set(newest.map((/** @type {any} */ run) => run.scenario))].sort();
  const to = (/** @type {Record<string, string>} */ change) => `/history${query({ ...keys, ...change })}`;
  /** A page without results. @param {...import('../base/ui.js').Child} content */
  const plain = (...content) => {
    render(place, el('h1', null, 'History'), ...content);
    return { title: () => 'History', draw: () => {} };
  };
  if (!newest.length) return plain(noRuns(server));

  /** @type {any} */
  let history = { scenario: keys.scenario };

  /** The names of all providers. @type {string[]} */
  let providers = [];
  const named = (/** @type {any} */ { runs }) => [...new Set(runs.flatMap((/** @type {any} */ run) => run.providers.map((/** @type {any} */ one) => one.provider)))];
  const pair = (/** @type {string} */ name) => /** @type {[string, string]} */ ([name, name]);
  /** A field with the known values, and that of the address. @param {string} key @param {string} label @param {[string, string][]} options */
  function field(key, label, options, value = keys[key]) {
    const all = options.some(([one]) => one === value) ? options : [...options, pair(value)];
    return el('label', null, label, el('select', { value, onchange: (/** @type {any} */ event) => go(key === 'scenario' ? `/history${query({ scenario: event.target.value })}` : to({ [key]: event.target.value })) },
      all.map(([one, words]) => el('option', { value: one }, words))));
  }

  function filters() {
    const labels = [...new Set(newest.filter((/** @type {any} */ run) => run.scenario === history.scenario).flatMap((/** @type {any} */ run) => Object.keys(run.labels ?? {})))];
    return el('div', { class: 'filters fields' }, field('scenario', 'Scenario', scenarios.map(pair), history.scenario),
      el('label', null, 'Tests', el('input', { type: 'search', value: keys.test, placeholder: 'name, or a glob such as cart/*', onchange: (/** @type {any} */ event) => go(to({ test: event.target.value.trim() })) })),
      field('provider', 'Provider', [['', 'All providers'], ...providers.map(pair)]), field('since', 'Since', SINCE), field('by', 'Charts by', [['', 'run'], pair('day'), ...labels.map(pair)]));
  }

  try {
    history = await get(`/history${query(keys)}`);
    providers = named(keys.provider ? await get(`/history${query({ ...keys, provider: '', test: '', tests_limit: 1 })}`) : history);
  } catch (error) {
    // The user can change an invalid filter or an unknown scenario.
    if (![400, 404].includes(/** @type {any} */ (error).status)) throw error;
    return plain(filters(), problem(error), /** @type {any} */ (error).status === 404 && el('p', { class: 'names' }, scenarios.map((name) => link(`/history${query({ scenario: name })}`, name))));
  }

  /** @param {typeof CHARTS} kinds */
  function charts(kinds) {
    // Labels may have unequal numbers of runs, and runs of shards have fewer trials, so labels are compared by means, as in Compare.
    const thousands = (/** @type {any} */ one) => Math.max(1, done(one) - one.skipped) / 1000;
    const mean = (/** @type {any} */ one, trials = thousands(one)) => ({ ...one, cost_usd: one.cost_usd && one.cost_usd / trials, tokens: one.tokens && one.tokens / trials });
    const isLabel = history.sums?.length > 0 && keys.by !== 'day';
    const list = isLabel ? history.sums.map((/** @type {any} */ one) => ({ ...mean(one), providers: one.providers.map((/** @type {any} */ of) => mean(of)), graders: one.graders && mean(one.graders, thousands(one)) })) : history.sums?.length ? history.sums : counted;
    // A chart of one value shows nothing.
    if (list.length < 2) return null;
    // Values of a label have no order.
    const isJoined = !isLabel || list.length > MAX_POINTS;
    const runs = list.map((/** @type {any} */ one) => (one.run ? { name: local(one.started_at), href: runPath(one.run), short: name(one.started_at) } : isLabel ? { name: `${one.key ?? 'without label'}, ${plural(one.runs, 'run')}`, short: `${one.key ?? 'without'} (${count(one.runs)})` } : { name: one.key }));
    const names = [...new Set(list.flatMap((/** @type {any} */ one) => one.providers.map((/** @type {any} */ of) => of.provider)))];
    return el('div', { class: isJoined ? 'charts' : 'charts unjoined' }, kinds.map(([label, value, words, most]) => {
      const series = names.length < 2 ? [{ name: names[0] ?? '', values: list.map(value) }] : names.map((name) => ({ name, values: list.map((/** @type {any} */ one) => one.providers.filter((/** @type {any} */ of) => of.provider === name).map((/** @type {any} */ of) => value(of))[0] ?? null) }));
      const ofGraders = list.map((/** @type {any} */ { graders }) => graders && value(graders));
      if (ofGraders.some(Boolean)) series.push({ name: 'graders', values: ofGraders.map((/** @type {number | null | undefined} */ one) => one ?? null) });
      // Equal lines would hide each other.
      const groups = Map.groupBy(series, ({ values }) => values.join());
      const distinct = [...groups.values()].map((all) => (all.length > 1 ? { name: `${all.map((one) => one.name).join(', ')} (equal)`, values: all[0].values } : all[0]));
      const chart = lines(`${label} of ${history.scenario}`, distinct, runs, words, most, go);
      return chart && el('section', { key: label }, el('h2', null, label, isLabel && ['Cost', 'Tokens'].includes(label) && el('small', null, 'per 1,000 trials'), groups.size < 2 && series.length > 1 && el('small', null, `${names.length} providers equal`)), chart);
    }));
  }

  const runs = history.runs;
  /** Shards, and runs that ended early, with their mark. Their rates are of other trials than those of a whole run. @type {Map<string, string>} */
  const partial = new Map(newest.filter((/** @type {any} */ run) => !isWhole(run)).map((/** @type {any} */ { run, shard }) => [run, shard ?? '◐']));
  const whole = runs.filter((/** @type {any} */ { run }) => !partial.has(run));
  const counted = whole.length ? whole : runs;
  /** All runs of the scenario, if the others are of another file with its name, as after a move. @type {any[] | null} */
  let every = newest.filter((/** @type {any} */ run) => run.scenario === history.scenario && isWhole(run) && wilson(run.counts)).reverse();
  if (runs.length > 1 || /** @type {any[]} */ (every).length < 2 || every?.at(-1).run !== runs[0]?.run || ['test', 'provider', 'since'].some((key) => keys[key]) || !history.skipped.some((/** @type {string} */ text) => /: it is a run of /.test(text))) every = null;
  /** The pass rates of those runs, as the list of runs has them. */
  const rates = (of = every ?? [], label = short(of.map((one) => one.started_at))) => of.length > 0 && el('div', { class: 'charts' }, el('section', null, el('h2', null, 'Pass rate', el('small', null, 'with the runs of other files')),
    lines(`Pass rate of ${history.scenario}`, [{ name: '', values: of.map(({ counts }) => beside(counts).passed / (wilson(counts)?.total ?? 1)) }],
      of.map((run) => ({ name: local(run.started_at), href: runPath(run.run), short: label(run.started_at) })), percent, 1, go)));
  const name = short(runs.map((/** @type {any} */ run) => run.started_at));
  const rows = new Rows({
    label: 'Results',
    head: () => {
      const [from, to] = visibleColumns(rows.element, runs.length, COLUMN, BEFORE);
      return [head('trial', 'Test'), head('n', 'Passed'), head('since', 'Failing since'), runs.slice(from, to).map((/** @type {any} */ run, /** @type {number} */ at) =>
        el('div', { role: 'columnheader', class: 'run', key: run.run, style: { '--column': String(from + at + 4) } },
          el('a', { href: runPath(run.run), tabindex: -1, title: `${run.run}, ${local(run.started_at)}` }, name(run.started_at), partial.has(run.run) && el('small', null, partial.get(run.run)))))];
    },
    row: (/** @type {any} */ test) => {
      const [from, to] = visibleColumns(rows.element, runs.length, COLUMN, BEFORE);
      return [
        cell('trial', link(testPath(test), testName(test.test), el('span', { class: 'provider' }, `@${test.provider}`), summary(test))),
        cell('n', passed(test), test.flaky_runs ? el('small', null, `flaky in ${count(test.flaky_runs)}`) : null),
        cell('since', since(test)),
        runs.slice(from, to).map((/** @type {any} */ _, /** @type {number} */ at) =>
          el('div', { role: 'gridcell', class: 'run', key: from + at, style: { '--column': String(from + at + 4) } }, mark(test, from + at)))];
    },
    height: () => (matchMedia('(max-width: 700px)').matches ? 60 : 44),
    source: new Pages((offset, limit) => `/history${query({ ...keys, tests_offset: offset, tests_limit: limit })}`, 'tests', () => rows.draw(),
      // Another newest run gives the tests another order.
      (error) => { if (!error) go(to({}), true); }, (answer) => answer.runs.at(-1).run === runs.at(-1).run),
    open: (test, event) => openRow(testPath(test), event),
  });
  rows.element.classList.add('history', 'sticky');
  rows.element.style.setProperty('--columns', String(runs.length));
  rows.element.style.setProperty('--name', `${Math.max(0, ...history.tests.flatMap((/** @type {any} */ one) => [one.test.length, one.provider.length + 1]))}ch`);
  /** @type {Pages<any>} */ (rows.options.source).reset(history.test_count, history.tests);

  /** The history of one test. @param {any} test */
  const testPath = (test) => to({ test: test.test, provider: test.provider });

  /** The first run since which a test fails, or passes although known, and the number of runs since then. @param {(string | null)[]} marks */
  function firstFailure(marks) {
    const judged = marks.map((word, at) => /** @type {[string | null, number]} */ ([word, at])).filter(([word]) => word !== null && word !== 'skipped');
    const passes = judged.at(-1)?.[0] === BAD[3];
    const good = judged.findLastIndex(([word]) => (passes ? word !== BAD[3] : !BAD.includes(/** @type {string} */ (word))));
    const first = judged[good + 1];
    return first ? { run: runs[first[1]], isAlways: good < 0, count: judged.length - good - 1, passes } : null;
  }

  /** Whether the newest result is a known failure. @param {any} test */
  const isKnown = ({ marks }) => marks.findLast((/** @type {string | null} */ word) => word !== null && word !== 'skipped') === 'known';

  /** @param {any} test */
  function since(test, first = firstFailure(test.marks)) {
    const [start, number] = [first && (first.isAlways ? 'always' : name(first.run.started_at)), first && plural(first.count, 'run')];
    return isKnown(test) ? outcome('known') : first && el('span', { class: 'failed' }, first.passes ? 'passes' : start, el('small', null, !first.passes ? number : first.isAlways ? `in ${number}` : `since ${start}`));
  }

  /** The columns before the runs, for a narrow window. @param {any} test */
  function summary(test, first = firstFailure(test.marks)) {
    return el('small', null, passed(test), isKnown(test) && [' · ', outcome('known')], first && el('span', { class: 'failed' }, ` · ${first.passes ? 'passes ' : ''}${first.isAlways ? 'always' : `since ${name(first.run.started_at)}`}`));
  }

  /** A summary. Results that began to fail last come first in the list. */
  function lead() {
    const newest = started(history.failing[0]?.run);
    if (!history.failing.length) return history.tests.length > 0 && el('p', { class: 'lead passed' }, history.tests.some(isKnown) ? 'Only known failures.' : 'No result fails.');
    return el('p', { class: 'lead failed' }, `${plural(sum(history.failing), 'result')} failing`,
      newest && [', newest failure ', link(runPath(newest.run), time(newest.started_at, 'age'))], '.');
  }

  const started = (/** @type {string | null} */ id) => runs.find((/** @type {any} */ { run }) => run === id);
  const sum = (/** @type {any[]} */ groups) => groups.reduce((all, one) => all + one.results, 0);

  /** The pass rate of the newest run, and its changes. */
  function trend() {
    const rated = counted.filter((/** @type {any} */ run) => run.pass_rate !== null);
    const [first, before, last] = [rated[0], rated.at(-2), rated.at(-1)];
    if (!last || (before && history.test_count < 2)) return null;
    const change = (/** @type {any} */ run, /** @type {string[]} */ [since, same], mark = points(last.pass_rate, run.pass_rate, `${percent(run.pass_rate)} passed at ${local(run.started_at)}`)) => [', ', mark ? [mark, since] : same];
    return el('p', null, el('b', null, percent(last.pass_rate)), ` passed in the newest ${last === runs.at(-1) ? '' : 'whole '}run`, before ? change(before, [' since the run before', 'same as the run before']) : every ? ['. The runs before are of another file. ', link(`/compare${query({ base: every.at(-2).run, new: last.run })}`, 'Compare with the last of them')] : '. Changes and charts need a second run.',
      rated.length > 2 && change(first, [` in ${count(rated.length)} runs`, `same as ${plural(rated.length - 1, 'run')} ago`]));
  }

  const names = (/** @type {[string, string][]} */ tests) => el('p', { class: 'names' }, tests.map(([test, provider]) => link(testPath({ test, provider }), `${test}@${provider}`)));

  /** Failing results by the first run of their failures. */
  function begins() {
    const [always, all] = [true, false].map((is) => history.failing.filter((/** @type {any} */ one) => !one.run === is));
    const earlier = all.slice(MAX_BEGINS);
    const begin = (/** @type {any} */ { run: id, results, first }, run = started(id)) => el('li', null,
      el('p', null, el('b', { class: 'failed' }, plural(results, 'result')), ' ', run ? ['since ', link(runPath(id), name(run.started_at)), el('span', { class: 'quiet' }, ' · ', time(run.started_at, 'age'))] : 'in all of these runs'),
      names(first.slice(0, MAX_NAMES)), results > MAX_NAMES && folded(`and ${count(results - MAX_NAMES)} more`, () => [names(first.slice(MAX_NAMES)), results > first.length && el('p', { class: 'quiet' }, `… ${count(results - first.length)} of them are only in the list of results`)]));
    return runs.length > 1 && history.failing.length > 0 && el('section', null, el('h2', null, 'Failing since', el('small', null, 'newest first')), el('ul', { class: 'groups' }, all.slice(0, MAX_BEGINS).map((/** @type {any} */ one) => begin(one)),
      earlier.length > 0 && el('li', { class: 'quiet' }, `and ${plural(sum(earlier), 'result')} since ${plural(earlier.length, 'earlier run')}`), always.map((/** @type {any} */ one) => begin(one))));
  }

  /** The runs that are left out, by the reason. */
  const leftOut = () => history.skipped.length > 0 && el('details', null, el('summary', { class: 'quiet' }, plural(history.skipped.length, 'run'), ' left out'),
    [...Map.groupBy(history.skipped, (/** @type {string} */ text) => text.slice(text.indexOf(': ') + 2))].map(([why, all]) => [el('p', null, plural(all.length, 'run'), /^it is a run of/.test(why) ? why.slice(11) : [': ', prose(why)]),
      el('p', { class: 'names' }, all.slice(0, PAGE).map((/** @type {string} */ text) => text.slice(0, text.indexOf(': ')).replace(/.*\//, '')).map((folder) => link(runPath(folder), folder)))]));

  /** @param {any} test @param {number} at */
  function mark(test, at) {
    const word = test.marks[at];
    const { run, has_repeats: hasRepeats } = runs[at];
    const filter = `test("${test.test}") & provider("${test.provider}")`;
    const href = hasRepeats ? `${runPath(run)}${query({ filter })}` : trialPath(run, `${test.test}@${test.provider}#1`);
    return word && sign(word, { href, tabindex: -1, 'aria-label': `${wordsOf(word)} in ${run}`, title: wordsOf(word) });
  }

  let isDrawn = false;
  const draw = soon(() => {
    render(place, el('h1', null, 'History of ', history.scenario), lead(), trend(), filters(),
      el('div', null, leftOut()), el('div', { class: 'sides' }, charts(CHARTS.slice(0, 1)) ?? (rates() || el('div', null, history.sums?.length === 1 && el('p', { class: 'quiet' }, `No charts: all runs are of one ${keys.by}.`))), el('div', null, begins())),
      el('h2', null, 'Results', el('small', null, `${count(history.test_count)}, each of a test on a provider; ${runs.length > 1 ? `the last ${count(runs.length)} runs, the newest on the right` : 'one run'}`)),
      history.tests.length ? el('p', { class: 'counts' }, ['passed', 'flaky', 'failed', 'error', 'timeout', runs.some((/** @type {any} */ one) => one.unexpected_passes) && 'unexpected_pass', runs.some((/** @type {any} */ one) => one.known) && 'known'].filter(Boolean).map((word) => outcome(word, word === 'flaky' ? 'passed on a retry or in some repeats' : wordsOf(word))))
        : el('p', { class: 'empty' }, keys.test || keys.provider || keys.since ? ['No tests match. ', link(`/history${query({ scenario: history.scenario })}`, 'Clear filters')] : 'No test has a result yet.'),
      el('div', { hidden: !history.tests.length }, rows.element), charts(CHARTS.slice(1)));
    rows.draw();
    // At first, the newest runs are visible.
    if (!isDrawn) rows.element.scrollLeft = rows.element.scrollWidth;
    isDrawn = true;
  });
  draw();
  return { title: () => `History of ${history.scenario}`, draw: () => {}, close: () => rows.close() };
}

/** @param {string} mark */
const wordsOf = (mark) => mark.replace('unexpected_pass', 'passes although known');

/** The number of passed results, and of all without skipped ones. @param {any} test */
const passed = (test, judged = done(test) - test.skipped) => (judged ? `${count(test.passed)} of ${count(judged)}` : '–');
