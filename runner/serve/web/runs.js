// @ts-check
// The list of runs. Filters are in the address, and rows change while somebody looks.

import { menu } from './actions.js';
import { get, ofRun, query } from './api.js';
import { sparkline } from './chart.js';
import { keysOf, PAGE } from './first.js';
import { problem } from './problem.js';
import { retention } from './retention.js';
import { visibleLine } from './text.js';
import { afterPaint, atMostEvery, button, el, link, put, say, wide } from './ui.js';
import { clock, count, counted, done, duration, hint, Pace, plural, reason, since, stackedBar, status, verdict } from './words.js';

const STATUSES = ['running', 'completed', 'failed', 'incomplete', 'cancelled'];
const SORTS = { newest: 'newest first', oldest: 'oldest first', longest: 'longest first', scenario: 'by scenario' };
/** How many are drawn at once: those in sight at least, whose lines are no lower than so many pixels. */
const atOnce = () => Math.max(Math.ceil(innerHeight / 50), 10);
/** How long the page waits for its runs before it is shown without them, in milliseconds. */
const SOON = 100;
/** How many runs of a scenario its small chart has. */
const TREND = 12;

/** Those that are ticked, with when they began; they stay while filters change. @type {Map<string, string>} */
const ticked = new Map();
/** @type {Map<string, Pace>} */
const paces = new Map();

/** @type {import('./main.js').Show} */
export async function showRuns(address, { place, go, server }) {
  let keys = keysOf(address);
  /** @type {Map<string, RunRow>} */
  const rows = new Map();
  /** @type {Api.RunSummary[]} */
  let runs = [];
  let marked = -1;

  const chips = el('div', { class: 'chips', role: 'group', 'aria-label': 'Status' }, STATUSES.map((name) =>
    el('button', { type: 'button', class: 'chip', 'data-status': name, onclick: () => toggle('status', name) }, status(name))),
  el('span', { class: 'quiet', 'aria-hidden': 'true' }, 'verdict'), ['passed', 'failed'].map((name) =>
    el('button', { type: 'button', class: 'chip', 'data-verdict': name, 'aria-label': `verdict ${name}`, onclick: () => toggle('verdict', name) }, verdict(name))));
  const search = el('input', { type: 'search', 'aria-label': 'Search runs', placeholder: 'Search scenario or id…', value: keys.q,
    oninput: () => { clearTimeout(typing); typing = setTimeout(() => to({ ...keys, q: search.value.trim() }, true), 200); } });
  /** @type {any} */
  let typing = null;
  const sort = el('select', { 'aria-label': 'Order', onchange: () => to({ ...keys, sort: sort.value === 'newest' ? '' : sort.value }) },
    Object.entries(SORTS).map(([value, words]) => el('option', { value }, words)));
  const [told, lost] = [el('div', { 'aria-live': 'polite' }), el('div', { 'aria-live': 'polite' })];
  const body = el('tbody');
  const summary = el('p', { class: 'quiet' });
  const more = button('Show more', () => void load(true));
  const bar = el('div', { class: 'bar', role: 'region', 'aria-label': 'Runs to compare' });
  const heads = [['', 'tick'], ['Status'], ['Run'], ['Verdict'], ['Trials'], ['Last runs', 'trend'], ['Began'], ['Ended'], ['Took', 'n'], ['', 'tools']];
  const filters = el('div', { class: 'filters' }, chips, search, sort);
  const gone = retention();
  const queued = el('p', { class: 'quiet', hidden: true });
  const list = el('table', { class: 'runs', 'aria-label': 'Runs' },
    el('thead', null, el('tr', null, heads.map(([name, kind]) => (name ? el('th', { scope: 'col', class: kind }, name) : el('td', { class: kind }))))), body);

  const write = (/** @type {typeof keys} */ next) => `/runs${query(next)}`;
  const to = (/** @type {typeof keys} */ next, replaces = false) => go(write(next), replaces);
  const toggle = (/** @type {'status' | 'verdict'} */ key, /** @type {string} */ name) => {
    const chosen = new Set(keys[key].split(',').filter(Boolean));
    if (!chosen.delete(name)) { if (key === 'verdict') chosen.clear(); chosen.add(name); }
    to({ ...keys, [key]: [...chosen].join(',') });
  };
  const dress = () => {
    for (const chip of chips.querySelectorAll('button')) {
      const key = chip.dataset.status ? 'status' : 'verdict';
      chip.setAttribute('aria-pressed', String(keys[key].split(',').includes(chip.dataset[key])));
    }
    if (document.activeElement !== search) search.value = keys.q;
    sort.value = keys.sort || 'newest';
  };

  let turn = 0;
  async function load(adds = false) {
    const mine = ++turn;
    const after = adds ? runs.at(-1)?.run : null;
    // What is in sight stays in sight when the list is read anew.
    const limit = adds ? PAGE : Math.min(Math.max(PAGE, runs.length), 1000);
    try {
      const answer = await get(`/runs${query({ ...keys, after, limit })}`);
      if (mine !== turn) return;
      runs = adds ? [...runs, ...answer.runs] : answer.runs;
      draw(answer);
      put(lost);
    } catch (error) {
      if (mine === turn) put(lost, problem(error));
    }
  }

  /** Says what waits, which is in no list of runs yet. */
  const seeQueue = atMostEvery(3000, async () => {
    const { requests } = await get('/queue').catch(() => ({ requests: [] }));
    const of = (/** @type {string} */ state) => requests.filter((/** @type {any} */ one) => one.state === state).length;
    const [waiting, refused] = [of('waiting') + of('starting'), of('refused')];
    queued.hidden = waiting + refused === 0;
    put(queued, link('/queue', [waiting ? `${plural(waiting, 'run')} in the queue` : '', refused ? `${plural(refused, 'request')} that could not be started` : ''].filter(Boolean).join(', ')));
  });

  /** @param {Api.RunsPage} answer @param {Map<string, any[]>} [trends] @param {number} [from] the first line that is not there yet, where only those before it are */
  function draw(answer, trends = trendsOf(runs), from = 0) {
    // What is in sight comes first, and the rest bit by bit: one long piece of work would keep what is drawn from being seen.
    const end = from || !rows.size ? from + atOnce() : runs.length;
    const mine = turn;
    if (end < runs.length) afterPaint(() => { if (mine === turn) draw(answer, trends, end); });
    const lines = runs.slice(0, end).map((run, place) => {
      let row = rows.get(run.run);
      if (row && place < from) return row.line;
      if (!row) {
        row = new RunRow(run, tools(run.run), tick);
        rows.set(run.run, row);
      }
      row.show(run, trends.get(run.run));
      return row.line;
    });
    for (const id of rows.keys()) if (!runs.some((run) => run.run === id)) rows.delete(id);
    // Lines that stay where they are keep what is focused in them.
    for (const [place, line] of lines.entries()) if (body.children[place] !== line) body.insertBefore(line, body.children[place] ?? null);
    while (body.children.length > lines.length) body.lastElementChild.remove();
    if (!lines.length) {
      const isFiltered = Object.values(keys).some(Boolean);
      put(body, el('tr', { class: 'none' }, el('td', { colspan: heads.length },
        isFiltered ? ['No run is like that. ', link('/runs', 'Show all runs')]
          : ['There are no runs yet. ', server.is_read_only || !server.scenarios.length ? el('span', null, 'Start one with ', el('code', null, 'runner exec SCENARIO')) : link('/start', 'Start one')])));
    }
    const unreadable = answer.unreadable.map((/** @type {any} */ one) => el('p', { class: 'warn' }, `Cannot be read: ${visibleLine(one.path)}: ${visibleLine(one.error)}`));
    // Where there is nothing, nothing is sorted or left out.
    const isEmpty = answer.all === 0 && !Object.values(keys).some(Boolean);
    filters.hidden = summary.hidden = gone.hidden = /** @type {any} */ (list.tHead).hidden = isEmpty;
    put(summary, answer.count > runs.length || answer.count !== answer.all
      ? `${count(runs.length)} shown of ${plural(answer.count, 'run')} like that, ${count(answer.all)} in all` : plural(answer.all, 'run'), unreadable);
    more.hidden = answer.next === null;
    drawBar();
  }

  const tools = (/** @type {string} */ id) => (server.is_read_only ? null : menu(id, {
    changed: () => { put(told); return load(); },
    told: (shown) => put(told, shown),
    deleted: () => { ticked.delete(id); void load(); },
  }));
  const tick = (/** @type {any} */ run, /** @type {boolean} */ isOn) => {
    if (isOn) ticked.set(run.run, run.created_at);
    else ticked.delete(run.run);
    drawBar();
  };
  function drawBar() {
    bar.hidden = ticked.size === 0;
    const [base, next] = [...ticked].sort((a, b) => a[1].localeCompare(b[1])).map(([id]) => id);
    put(bar,
      el('span', null, ticked.size === 1 ? 'One run ticked: tick another to compare them' : `${ticked.size} runs ticked`),
      ticked.size === 2 ? link(compareAddress(base, next), 'Compare') : null,
      ticked.size > 2 ? el('span', { class: 'quiet' }, 'two are compared') : null,
      button('Clear', () => { ticked.clear(); for (const row of rows.values()) row.box.checked = false; drawBar(); }, 'small'));
    for (const row of rows.values()) row.box.checked = ticked.has(row.box.value);
  }
  const mark = (/** @type {number} */ next) => {
    marked = Math.max(0, Math.min(next, runs.length - 1));
    const row = rows.get(runs[marked]?.run);
    row?.link.focus();
    row?.line.scrollIntoView({ block: 'nearest' });
  };
  const at = () => runs.findIndex((run) => rows.get(run.run)?.line.contains(document.activeElement));

  more.hidden = true;
  dress();
  const loading = load();
  // What comes soon is laid out and painted together with what is around it.
  await Promise.race([loading, new Promise((go) => setTimeout(go, SOON))]);
  put(place,
    el('div', { class: 'title' }, el('h1', null, 'Runs'), server.is_read_only || !server.scenarios.length ? null : el('a', { href: '/start', class: 'button primary' }, 'Start a run')),
    filters,
    lost, told, queued, wide(list), more, summary, gone, bar);
  await loading;
  const soon = setTimeout(seeQueue, 800);
  const again = atMostEvery(500, () => load());
  return {
    title: 'Runs',
    change(next) {
      if (!/^\/(runs\/?)?$/.test(next.pathname)) return false;
      keys = keysOf(next);
      dress();
      void load();
      return true;
    },
    hear({ name, run: followed, data }) {
      if (followed) return;
      if (name === 'run') {
        const place = runs.findIndex((run) => run.run === data.run);
        const isSame = place >= 0 && runs[place].status === data.status && runs[place].verdict === data.verdict;
        // How it stands has changed, and with that maybe which runs are shown, and in which order.
        if (!isSame) { seeQueue(); return again(); }
        runs[place] = { ...runs[place], ...data };
        rows.get(data.run)?.show(runs[place], null);
      } else if (name === 'queue') seeQueue();
      else if (name === 'gone' || name === 'reset' || name === 'ready') again();
    },
    keys: {
      j: () => mark(at() + 1),
      k: () => mark(at() < 0 ? 0 : at() - 1),
      x: () => rows.get(runs[at()]?.run)?.box.click(),
      c: () => bar.querySelector('a')?.click(),
    },
    close() { again.stop(); seeQueue.stop(); clearTimeout(soon); },
  };
}

/** @param {string} base @param {string} next */
export const compareAddress = (base, next) => `/compare${query({ base, new: next })}`;

/** The runs of the same scenario up to each. @param {any[]} runs */
function trendsOf(runs) {
  /** @type {Map<string, any[]>} */
  const scenarios = new Map();
  for (const run of [...runs].sort((a, b) => Date.parse(a.created_at) - Date.parse(b.created_at))) {
    const all = scenarios.get(run.scenario) ?? [];
    all.push(run);
    scenarios.set(run.scenario, all);
  }
  const trends = new Map();
  for (const all of scenarios.values()) for (const [place, run] of all.entries()) trends.set(run.run, all.slice(Math.max(0, place - TREND + 1), place + 1));
  return trends;
}

/** @param {any} run */
function point(run) {
  const { passed, failed, error, timeout } = run.counts;
  const judged = passed + failed + error + timeout;
  const tone = run.status !== 'completed' ? run.status : run.verdict === 'passed' ? 'passed' : 'failed';
  return { rate: judged ? passed / judged : null, tone, words: `${run.status}${judged ? `, ${count(passed)} of ${count(judged)} passed` : ''}` };
}

class RunRow {
  /** @param {any} run @param {Node | null} tools @param {(run: any, isOn: boolean) => void} tick */
  constructor(run, tools, tick) {
    this.box = el('input', { type: 'checkbox', value: run.run, 'aria-label': `Choose ${run.run} to compare`, onchange: () => tick(run, this.box.checked) });
    this.link = link(ofRun(run.run), el('span', { class: 'name' }, visibleLine(run.scenario)));
    /** @type {Record<string, HTMLElement>} */
    this.cells = Object.fromEntries(['status', 'verdict', 'trials', 'trend', 'began', 'ended', 'took'].map((name) => [name, el('td', { class: name === 'took' ? 'took n' : `of-${name}` })]));
    this.pinned = el('span', { class: 'pin', title: 'pinned: it is not deleted' }, '📌');
    const { status, verdict, trials, trend, began, ended, took } = this.cells;
    this.line = el('tr', null,
      el('td', { class: 'tick' }, this.box), status,
      el('th', { class: 'run', scope: 'row' }, this.link, this.pinned, el('span', { class: 'mono quiet id' }, run.run)),
      verdict, trials, trend, began, ended, took, el('td', { class: 'tools' }, tools));
    this.seen = '';
  }

  /** @param {Api.RunSummary} run @param {any[] | null | undefined} trend */
  show(run, trend) {
    const { cells } = this;
    if (trend) put(cells.trend, trend.length > 1 ? sparkline(trend.map(point)) : null);
    const isRunning = run.status === 'running';
    const finished = done(run.counts);
    const pace = paces.get(run.run) ?? new Pace();
    if (isRunning) { paces.set(run.run, pace); pace.note(finished); }
    const seen = JSON.stringify(run);
    if (seen === this.seen && !isRunning) return;
    this.seen = seen;
    const why = reason(run.reason, run.signal);
    const advice = run.status === 'incomplete' ? hint(run.reason) : null;
    put(cells.status, status(run.status), run.paused ? el('span', { class: 'pill open' }, 'paused') : null, why ? el('span', { class: 'quiet why', title: advice }, why, advice ? el('span', { class: 'unseen' }, `. ${advice}`) : null) : null);
    put(cells.verdict, verdict(run.verdict));
    put(cells.trials, stackedBar(run.counts),
      el('span', { class: 'quiet' }, isRunning
        ? [`${count(finished)} of ${count(run.counts.planned)}`, pace.words(run.counts.planned) ? ` · ${pace.words(run.counts.planned)}` : '']
        : finished < run.counts.planned ? `${counted(run.counts)}, ${count(run.counts.planned - finished)} left` : counted(run.counts)));
    put(cells.began, since(run.started_at));
    put(cells.ended, run.completed_at ? since(run.completed_at) : el('span', { class: 'quiet' }, '–'));
    cells.ended.title = run.completed_at ? clock(run.completed_at) : '';
    say(cells.took, duration(run.elapsed_ms));
    this.pinned.hidden = !run.pinned;
  }
}
