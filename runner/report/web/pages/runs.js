// @ts-check
// The list of runs, newest first, by day. Filters are in the address.

import { buttons, note } from '../base/actions.js';
import { get, query, runPath } from '../base/api.js';
import { sparkline } from '../base/chart.js';
import { problem } from '../base/problem.js';
import { go, openRow } from '../base/router.js';
import { Rows, cell, head } from '../base/rows.js';
import { button, el, link, paced, render, soon } from '../base/ui.js';
import { STATE_WORDS, bar, count, day, done, isWhole, needed, noRuns, parts, percent, plural, points, prose, reason, state, time, verdict, wilson, worked } from '../base/words.js';

const [FIRST, MORE] = [100, 1000];
const KEYS = ['status', 'scenario', 'label', 'group', 'q'];

/** Ticked runs by their ids. They stay ticked while filters change. @type {Map<string, any>} */
const ticked = new Map();

/** Groups whose runs are shown. @type {Set<string>} */
const unfolded = new Set();
/** Scenarios with a picture of their pass rates, and runs in it. */
const [MAX_TRENDS, TREND] = [8, 30];
/** States of a group, by its runs: the first that one of them has. */
const WORST = ['running', 'damaged', 'not-started', 'failed', 'cancelled', 'incomplete', 'passed'];

/** Compares runs by the order in which they were recorded, the oldest first. @param {any} left @param {any} right */
const byRecording = (left, right) => (left.number ?? 0) - (right.number ?? 0)
  || left.started_at.localeCompare(right.started_at) || (left.run < right.run ? -1 : 1);

/** @param {URL} address */
const read = (address) => Object.fromEntries(KEYS.map((key) => [key, address.searchParams.get(key) ?? '']));

/** @type {import('../base/router.js').Open} */
export async function open({ place, address, kept, server }) {
  let filters = read(address);
  /** @param {number} limit @param {string | null} [before] */
  const load = (limit, before) => get(`/runs${query({ ...filters, before, limit })}`);
  /** Reads the newest runs, and `all`, which has those that filters leave out. */
  const newest = async () => {
    const isFiltered = KEYS.some((key) => key !== 'scenario' && filters[key]);
    const [answer, all] = await Promise.all([load(FIRST), isFiltered ? get('/runs?status=passed,failed&limit=1000') : null]);
    return { ...answer, all: all?.runs };
  };
  /** The run before each one. @type {Map<string, any>} */
  const before = new Map();
  /** The newest answer, with the runs of all answers. @type {any} */
  let list = await newest();
  /** Runs, with the heading of each day. @type {(any | {day: string})[]} */
  let items = [];
  let [starts, error, isLoading, turn] = [[0], /** @type {any} */ (null), false, 0];
  const narrow = matchMedia('(max-width: 700px)');

  const rows = new Rows({
    label: 'Runs',
    head: () => ['Compare', 'State', 'Run', 'Trials', 'Started', 'Duration', 'Actions'].map((name, at) => head(COLUMNS[at], name)),
    row: (item) => (item.day ? cell('day', item.day) : row(item)),
    kind: (item) => (item.day ? 'heading' : `is-${item.state}${item.isPart ? ' part' : ''}`),
    height: () => (narrow.matches ? 92 : 48),
    start: (index) => starts[index] ?? 0,
    source: {
      get count() { return items.length; },
      item: (index) => items[index],
      need: (_, to) => { if (to > items.length - 50) void more(); },
    },
    open: (item, event) => (item.parts ? fold(item.key) : item.run && openRow(runPath(item.run), event)),
  });

  function arrange() {
    /** @type {any[]} */
    const entries = filters.group ? list.runs : folded(list.runs);
    const days = entries.map((one) => day(one.started_at));
    items = entries.flatMap((one, at) => [
      ...(days[at] === days[at - 1] ? [] : [{ day: days[at] }]), one,
      ...(one.parts && unfolded.has(one.key) ? one.parts.map((/** @type {any} */ part) => ({ ...part, isPart: true })) : [])]);
    starts = [0];
    for (const item of items) starts.push(/** @type {number} */ (starts.at(-1)) + (item.day ? 36 : rows.options.height()));
  }

  /** Reads the newest runs. Older ones that are loaded stay. */
  async function reload() {
    const mine = ++turn;
    try {
      const answer = await newest();
      if (mine !== turn) return;
      const end = answer.runs.at(-1);
      const older = answer.next ? list.runs.filter((/** @type {any} */ run) => byRecording(run, end) < 0) : [];
      list = { ...answer, runs: [...answer.runs, ...older], next: older.length ? list.next : answer.next };
      [error, isLoading] = [null, false];
    } catch (caught) {
      if (mine === turn) error = caught;
    }
    draw();
  }

  async function more() {
    if (isLoading || !list.next) return;
    isLoading = true;
    const mine = turn;
    const answer = await load(MORE, list.next).catch((caught) => { error = caught; });
    if (mine !== turn) return;
    isLoading = false;
    list = { ...list, next: answer?.next, runs: [...list.runs, ...(answer?.runs ?? [])] };
    draw();
  }

  const owner = { redraw: () => draw(), reload, gone: () => void reload() };
  const refresh = paced(1000, reload);

  /** The row of a run, or of several. @param {any} run */
  function row(run) {
    const [isOpen, old] = [unfolded.has(run.key), before.get(run.run)];
    const labels = Object.entries(run.labels ?? {}).map(([key, value]) => el('a', { class: 'label', tabindex: -1, href: to({ label: `${key}=${value}` }) }, `${key}=${value}`));
    const why = run.state === 'cancelled' ? null : gate(run) ?? run.message ?? reason(run);
    return [
      cell('tick', run.parts ? button(isOpen ? '▾' : '▸', () => fold(run.key), { tabindex: -1, class: 'fold', 'aria-expanded': String(isOpen), 'aria-label': `Runs of ${run.name}` })
        : el('input', { type: 'checkbox', tabindex: -1, checked: ticked.has(run.run), 'aria-label': `Compare ${run.run}`, onchange: () => toggle(run) })),
      cell('state', verdict(run), why ? el('small', { title: why }, prose(why.split('. ')[0].replace(/(?<=mean score \S+|%) of [\d,]+, at least /, ' < '))) : null),
      cell('name', el('span', null, run.parts ? link(run.group ? to({ group: run.group }) : to({ scenario: run.parts[0].scenario }), run.name) : el('a', { href: runPath(run.run), tabindex: -1 }, run.scenario), run.pinned && el('span', { class: 'quiet', title: 'pinned' }, ' ⚑'),
        run.foreign && el('span', { class: 'quiet', title: `The run ${run.foreign}` }, ' foreign')),
      el('small', null, run.parts ? run.words
        : [run.short, run.shard && `, shard ${run.shard}`, run.replay_of && ', replay', hasUsers() && run.user && ` by ${run.user}`, !narrow.matches && labels])),
      cell('trials', bar(run.counts), el('small', { title: trials(run) }, trials(run), ' ', old && points(shareOf(run), shareOf(old), `${percent(shareOf(old))} passed in ${old.short}`))),
      cell('started', time(run.started_at, 'clock'), el('small', null, time(run.started_at, 'age'))),
      cell('took', worked(run)),
      cell('tools', run.parts ? '' : buttons(run.run, run.actions, ['failed', 'passed'].includes(run.state) ? [] : ['stop', 'resume'], owner)),
    ];
  }

  /** @param {string} key */
  function fold(key) {
    if (!unfolded.delete(key)) unfolded.add(key);
    draw();
  }

  /** Whole runs with results by their scenarios, the newest first. @param {any[]} runs */
  const whole = (runs) => [...Map.groupBy(runs.filter((one) => isWhole(one) && wilson(one.counts)), (one) => one.scenario)];

  /** The pass rates of the newest runs, by scenario. Each run gets the one before it. */
  function trends() {
    for (const [, all] of whole(list.all ?? list.runs)) all.forEach((run, at) => before.set(run.run, all[at + 1]?.counts.planned === run.counts.planned ? all[at + 1] : null));
    const shown = whole(list.runs).filter(([, all]) => all.length > 1).slice(0, MAX_TRENDS);
    return shown.length > 0 && el('div', { class: 'trends', role: 'group', 'aria-label': 'Pass rates of the newest runs' }, shown.map(([name, all, shares = all.slice(0, TREND).map(shareOf).reverse()]) =>
      el('a', { key: name, href: `/history${query({ scenario: name })}`, title: `History of ${name}` }, el('span', null, name), sparkline(shares), el('b', null, percent(shares[shares.length - 1])))));
  }

  const hasUsers = () => new Set(list.runs.map((/** @type {any} */ run) => run.user).filter(Boolean)).size > 1;

  /** @param {any} run */
  function trials(run) {
    const { counts } = run;
    const phrases = (/** @type {RegExp} */ keys) => parts(counts).filter(([key]) => keys.test(key)).map(([, phrase]) => phrase).join(', ');
    const { passed, unexpected_passes: passes } = counts;
    // The failed ones are in the state.
    if (done(counts) < needed(counts)) return [`${count(done(counts))} of ${count(needed(counts))}`, phrases(/passed|known|skipped|ungraded/)].filter(Boolean).join(': ');
    return [`${count(passed)} of ${count(needed(counts))} passed${[[counts.flaky, 'flaky'], [passes, 'although known']].filter(([number]) => number > 0).map(([number, word]) => ` (${count(number)} ${word})`).join('')}`, phrases(/known|skipped|ungraded/)].filter(Boolean).join(', ');
  }

  /** @param {any} run */
  function toggle(run) {
    if (!ticked.delete(run.run)) ticked.set(run.run, run);
    draw();
  }

  function compare() {
    const [base, next] = [...ticked.values()].sort(byRecording).map((run) => run.run);
    if (ticked.size === 2) go(`/compare${query({ base, new: next })}`);
  }

  /** @param {Record<string, string>} change */
  const to = (change) => `/runs${query({ ...filters, ...change })}`;

  /** @param {string} word */
  function chip(word) {
    const chosen = filters.status.split(',').filter(Boolean);
    const [isOn, number] = [chosen.includes(word), list.counts[word] ?? 0];
    if (!number && !isOn && (!items.length || (word !== 'failed' && word !== 'incomplete'))) return null;
    const next = isOn ? chosen.filter((one) => one !== word) : [...chosen, word];
    return button([state(word), ` ${count(number)}`], () => go(to({ status: next.join(',') })), { key: word, class: 'chip', 'aria-pressed': String(isOn) });
  }

  let typing = 0;
  const search = (/** @type {any} */ event) => {
    clearTimeout(typing);
    typing = setTimeout(() => go(to({ q: event.target.value.trim() }), true), 200);
  };

  const draw = soon(() => {
    arrange();
    const total = Object.values(list.counts).reduce((sum, one) => sum + one, 0);
    const isFiltered = KEYS.some((key) => filters[key]);
    const others = ['scenario', 'label', 'group'].filter((key) => filters[key]).map((key) => el('a', { class: 'chip', href: to({ [key]: '' }), title: 'Remove this filter' }, `${key}: ${key === 'group' ? filters[key].split('-').at(-1) : filters[key]} ✕`));
    const empty = isFiltered ? el('p', { class: 'empty' }, 'No runs match. ', link('/runs', 'Clear filters')) : noRuns(server);
    const find = { type: 'search', placeholder: 'Search scenario, id, label or group', 'aria-label': 'Search runs' };
    const unreadable = list.unreadable.map((/** @type {any} */ { run, problem }) =>
      el('p', { class: 'note bad' }, 'Not readable: ', el('code', null, run), ' ', prose(problem)));
    render(place, el('h1', null, 'Runs', total > 0 && el('small', { class: 'quiet' }, ` ${count(list.total ?? total)}${isFiltered ? ' found' : ''}`)),
      el('div', { class: 'filters' },
        el('div', { role: 'group', 'aria-label': 'State', class: 'chips' }, STATE_WORDS.map(chip)),
        others, el('input', { ...find, value: filters.q, oninput: search })),
      error && problem(error), trends(),
      el('div', { 'aria-live': 'polite' }, list.runs.map((/** @type {any} */ run) => note(run.run)).filter(Boolean), unreadable),
      el('div', { class: 'runs', hidden: !items.length }, rows.element),
      items.length || error ? null : empty,
      ticked.size > 0 && el('div', { class: 'ticked', role: 'region', 'aria-label': 'Compare' },
        ticked.size === 2 ? button('Compare', compare, { class: 'primary' }) : `${plural(ticked.size, 'run')} ticked. Tick two to compare them.`,
        button('Clear', () => { ticked.clear(); draw(); })));
    rows.draw();
  });

  while (list.next && list.runs.length < kept?.count) await more();
  arrange();
  draw();
  rows.place = kept;
  return {
    title: () => 'Runs',
    draw,
    update(next) {
      filters = read(next);
      list = { ...list, runs: [], next: null };
      rows.place = undefined;
      void reload();
    },
    live({ name, data }) {
      const index = list.runs.findIndex((/** @type {any} */ run) => run.run === data.run);
      const isSame = list.runs[index]?.state === data.state;
      if (name === 'run' && index >= 0) list.runs[index] = data;
      if (name === 'gone' && index >= 0) list.runs.splice(index, 1);
      if (name === 'gone') ticked.delete(data.run);
      if (name === 'run' && isSame) draw();
      else if (['run', 'gone', 'reset'].includes(name)) refresh();
    },
    keys: [
      ['x', 'Tick a run to compare it', () => { const run = items[rows.active]; if (run?.run && !run.parts) toggle(run); }],
      ['c', 'Compare the ticked runs', compare],
      ['j', 'First run of the list', () => { rows.element.focus(); rows.activate(Math.max(1, rows.active)); }],
    ],
    place: () => ({ ...rows.place, count: list.runs.length }),
    close() {
      clearTimeout(typing);
      rows.close();
    },
  };
}

/** Joins the runs of a command, and the shards of a plan, to one entry each. @param {any[]} runs @returns {any[]} */
function folded(runs) {
  /** @type {Map<string, any[]>} */
  const groups = new Map();
  const entries = runs.map((run) => {
    const [part, of] = run.shard?.split('/') ?? [];
    let key = run.group?.of > 1 ? run.group.id : of > 1 ? `${run.scenario} ${of}` : run.run;
    // The same shard again is of another run of the plan.
    while (part && groups.get(key)?.some((other) => other.shard === run.shard)) key += "'";
    const known = groups.get(key);
    groups.set(key, [...known ?? [], run]);
    return known ? null : key;
  });
  return entries.filter((key) => key !== null).map((key) => {
    const all = /** @type {any[]} */ (groups.get(/** @type {string} */ (key)));
    return all.length < 2 ? all[0] : joined(/** @type {string} */ (key), all);
  });
}

/** The entry of several runs, the newest first. @param {string} key @param {any[]} runs */
function joined(key, runs) {
  const counts = /** @type {Record<string, number>} */ ({});
  for (const run of runs) for (const [name, value] of Object.entries(run.counts)) counts[name] = (counts[name] ?? 0) + /** @type {number} */ (value);
  const state = WORST.find((word) => runs.some((run) => run.state === word)) ?? 'passed';
  const names = [...new Set(runs.map((run) => run.scenario))];
  return {
    key, parts: runs, counts, state, status: state,
    name: names.length > 3 ? `${names.slice(0, 2).join(', ')} and ${names.length - 2} more` : names.join(', '),
    words: runs[0].shard ? `${runs.length} of ${runs[0].shard.split('/')[1]} shards` : `${runs.length} of ${runs[0].group.of} runs of one command`,
    group: runs[0].group?.id, failed_gate: runs.find((run) => run.failed_gate)?.failed_gate,
    started_at: runs.at(-1).started_at, completed_at: runs[0].completed_at,
    worked_ms: runs.reduce((sum, run) => sum + run.worked_ms, 0),
  };
}

/** The condition of the gate that failed, or the failures that a gate allows. @param {any} run */
function gate(run) {
  if (run.failed_gate) return `gate: ${run.failed_gate}`;
  const bad = parts(run.counts).filter(([key]) => /failed|error|timeout/.test(key)).map(([, phrase]) => phrase).join(', ');
  return run.state === 'passed' && bad ? `gate allows ${bad}` : null;
}

/** The share of passes, as all pass rates also of unexpected ones. @param {any} run */
const shareOf = ({ counts }) => counts.passed / (wilson(counts)?.total ?? 1);

const COLUMNS = ['tick', 'state', 'name', 'trials', 'started', 'took', 'tools'];
