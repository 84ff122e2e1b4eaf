// @ts-check
// The page of a run: its head with state, reason and actions, and the part that `view` of the address selects.

import { buttons, note } from '../base/actions.js';
import { get, query, runPath } from '../base/api.js';
import { follow } from '../base/live.js';
import { notFound } from '../base/problem.js';
import { report } from '../base/report.js';
import { go, rename, server, up } from '../base/router.js';
import { button, el, link, paced, render, soon } from '../base/ui.js';
import { actor, bar, count, countsOf, done, needed, pace, parts, plural, prose, reason, time, verdict, worked } from '../base/words.js';
import { about } from './about.js';
import { log } from './log.js';
import { matrix } from './matrix.js';
import { overview } from './overview.js';
import { cost } from './tables.js';
import { timeline } from './timeline.js';

/**
 * Data that the parts of the page share. `document` is that of the run, `progress` the newest event of a running one. `reading`
 * has the counts of the failures that the page shows while the run is running.
 * @typedef {{run: string, document: any, progress: any, reading: any, redraw: () => void}} RunView
 * @typedef {{content: () => import('../base/ui.js').Child, live?: (event: import('../base/live.js').LiveEvent) => void,
 *   update?: (address: URL) => void, keys?: import('../base/keys.js').Key[], place?: () => any, first?: Promise<unknown>,
 *   ready?: Promise<unknown>, close?: () => void}} Part
 * `first` is resolved once the part has its data.
 */

const VIEWS = /** @type {Record<string, [string, (view: RunView, address: URL, kept: any) => Part]>} */ ({
  '': ['Overview', overview],
  matrix: ['Matrix', matrix],
  timeline: ['Timeline', timeline],
  log: ['Log', log],
  about: ['About', about],
});

// These need a server.
if (report) for (const name of ['timeline', 'log']) delete VIEWS[name];

/** The longest wait of a page for its first data, in milliseconds. */
const MAX_WAIT = 1000;

const partOf = (/** @type {string} */ name) => VIEWS[name][1];

/** @type {import('../base/router.js').Open} */
export async function open({ place, address, names, kept }) {
  const document = await get(runPath(names[0]));
  const { run } = document.run;
  // `latest` and short names become the id, so that a link keeps its run.
  rename(address, runPath(run) + address.search);
  const name = (/** @type {URL} */ from, view = from.searchParams.get('view') ?? '') => (Object.hasOwn(VIEWS, view) ? view : '');
  let [isGone, isOpen] = [false, false];
  /** @type {RunView} */
  const view = { run, document, progress: null, reading: null, redraw: soon(draw) };
  let shown = name(address);
  let part = partOf(shown)(view, address, kept);
  // The view of the content, and the part of the next one, which is shown once it has its data.
  let [drawn, coming] = [shown, /** @type {Part | null} */ (null)];
  const wait = (/** @type {Part} */ { first }) => Promise.race([first, new Promise((resolve) => setTimeout(resolve, MAX_WAIT))]);

  /** @param {URL} next */
  async function change(next) {
    coming?.close?.();
    shown = name(next);
    const mine = coming = partOf(shown)(view, next, undefined);
    view.redraw();
    await wait(mine);
    if (mine !== coming || !isOpen) return;
    part.close?.();
    [part, coming, drawn] = [mine, null, shown];
    view.redraw();
  }

  async function reload() {
    try {
      // A document without tables keeps the older ones.
      view.document = { ...view.document, ...await get(runPath(run)) };
      watch();
    } catch (error) {
      // Without a connection the page stays as it is.
      isGone ||= /** @type {any} */ (error).status === 404;
    }
    view.redraw();
  }
  function watch() {
    if (!isOpen) return;
    // The server is still reading the results of a large run.
    if (view.document.rev === null) setTimeout(refresh, 300);
    const isRunning = view.document.run.status === 'running';
    if (!isRunning) view.progress = view.reading = null;
    follow(isRunning ? run : null);
  }
  const refresh = paced(1000, reload);
  const owner = { redraw: view.redraw, reload, gone: () => go('/runs') };

  function draw() {
    if (!isOpen) return;
    if (isGone) return render(place, notFound(`The run ${run} has been deleted.`));
    const tabs = Object.entries(VIEWS).map(([key, [label]]) =>
      el('a', { href: `${runPath(run)}${query({ view: key })}`, 'aria-current': key === shown ? 'page' : null }, label));
    render(place, heading(), notes(view), note(run),
      el('nav', { class: 'tabs', 'aria-label': 'Views of the run' }, tabs),
      el('div', { key: drawn, 'aria-busy': coming && 'true', inert: Boolean(coming) }, part.content()));
  }

  function heading() {
    const { run: head, actions, since_previous: previous, manifest, gate = [] } = view.document;
    const { user, host } = manifest.sessions[0] ?? {};
    const rescored = manifest.sessions.findLast((/** @type {any} */ one) => one.rescores);
    const counts = countsOf(view);
    const isWhole = ['failed', 'passed'].includes(head.state);
    // `rerun_failed` covers errors, which are all that a resume of a completed run would run.
    const resume = isWhole ? [] : ['resume'];
    const { live } = view.progress ?? view.document;
    const isStopping = head.status === 'running' && Boolean(live?.stopping);
    const main = buttons(run, actions, ['stop', 'kill', 'pause', 'unpause', ...resume, 'rerun_failed', 'cancel'], owner, isStopping);
    const rest = buttons(run, actions, ['rescore', 'label', 'pin', 'unpin', 'delete'], owner);
    const isRunning = head.status === 'running';
    const again = !isRunning && !report && server.scenarios && !server.read_only
      && button('Run again', () => go(`/start${query({ scenario: manifest.scenario_path })}`), { key: 'again', class: isWhole ? 'primary' : null });
    const age = !isRunning && el('span', { class: 'quiet' }, '(', time(head.started_at, 'age'), ')');
    return el('header', { class: shown ? 'run-head slim' : 'run-head' },
      el('p', { class: 'crumbs' }, report ? el('code', null, run) : [link('/runs', 'Runs'), ' / ',
        link(`/runs${query({ scenario: head.scenario })}`, head.scenario), ' / ', el('code', null, head.short)]),
      el('h1', null, head.scenario, ' ', verdict({ ...head, counts: {}, stopping: isStopping, message: live?.waits_for_workers })),
      el('p', { class: 'facts' },
        el('span', null, 'Started ', time(head.started_at, 'full'), ' ', age, user && ` by ${user} on ${host}`),
        head.completed_at && el('span', null, 'Ended ', time(head.completed_at, 'full')),
        el('span', null, `${isRunning ? 'Running for' : 'Took'} ${worked(head)}`, head.sessions > 1 && [' in ', link(`${runPath(run)}?view=about`, `${head.sessions} sessions`)]),
        head.group?.of > 1 && el('span', null, `${head.group.place} of ${head.group.of} in group `,
          link(`/runs${query({ group: head.group.id })}`, head.group.id.split('-').at(-1))),
        head.shard && el('span', null, `Shard ${head.shard.replace('/', ' of ')}`),
        head.replay_of && el('span', null, 'Replay of ', el('code', null, head.replay_of)),
        head.pinned && el('span', null, '⚑ pinned'),
        rescored && el('span', null, 'Judged again ', time(rescored.started_at, 'full')),
        labels(head)),
      bar(counts),
      el('p', { class: 'counts' }, tallies(run, counts), isRunning && !head.paused && el('span', { class: 'quiet' }, pace(head, counts, view.progress?.rate)), el('span', { class: 'quiet' }, cost(view.document))),
      gate.length > 0 && el('p', { class: 'pre' }, gate.map((/** @type {string} */ line, /** @type {number} */ at) =>
        el('span', { class: /^(failed|✗)/.test(line) ? 'failed' : 'passed' }, at ? `\n${line}` : `gate ${line}`))),
      el('div', { class: 'buttons' }, again, main, rest.some(Boolean) && menu(rest), report && button('Print', () => print()),
        // After a move of the file, Compare finds an earlier run by the scenario's name.
        !report && !isRunning && link(`/compare${query({ base: previous?.run, new: run })}`, previous ? `Compare with ${previous.short}` : 'Compare…'),
        !report && el('a', { href: `/api/v1${runPath(run)}/report?form=html`, download: `${head.short}.html` }, 'Download report')));
  }

  // The page is drawn with its first data, so that nothing moves later. For a large run, that would take the server too long.
  if (document.rev !== null) await wait(part);
  isOpen = true;
  draw();
  watch();
  return {
    title: () => `${titleSign(view)} ${view.document.run.scenario} ${view.document.run.short}`,
    draw: view.redraw,
    update(next) {
      if (name(next) !== shown) return void change(next);
      (coming ?? part).update?.(next);
      view.redraw();
    },
    live(event) {
      const isMine = event.run === run || event.data.run === run || event.name === 'reset';
      if (!isMine || isGone) return;
      isGone = event.name === 'gone';
      if (isGone) return view.redraw();
      if (event.name === 'progress') view.progress = event.data;
      else refresh();
      for (const one of [part, coming]) one?.live?.(event);
      view.redraw();
    },
    get keys() { return [...(report ? [] : /** @type {import('../base/keys.js').Key[]} */ ([['u', 'To the runs', () => up('/runs')]])), ...part.keys ?? []]; },
    place: () => part.place?.(),
    ready: part.ready,
    close() {
      isOpen = false;
      follow(null);
      for (const one of [part, coming]) one?.close?.();
    },
  };
}

/** @param {RunView} view */
function titleSign({ document, progress }) {
  const { state, counts } = document.run;
  const now = { ...counts, ...progress?.counts };
  if (state === 'running') return `${Math.floor((100 * done(now)) / Math.max(needed(now), 1))} %`;
  return { passed: '✓', failed: '✗', incomplete: '◐', cancelled: '⊘' }[/** @type {string} */ (state)] ?? '⚠';
}

/** Labels, each a link to the runs with it. @param {any} run */
const labels = (run) => Object.entries(run.labels ?? {}).map(([key, value]) =>
  el('a', { key, class: 'label', href: `/runs${query({ label: `${key}=${value}` })}` }, `${key}=${value}`));

/** Buttons that are shown until one is clicked, the focus leaves them, or Escape is pressed. @param {import('../base/ui.js').Child} items */
const menu = (items, close = (/** @type {any} */ { currentTarget: own, relatedTarget, key = 'Escape' }) => { if (key === 'Escape' && !own.contains(relatedTarget)) own.open = false; }) =>
  el('details', { key: 'more', class: 'menu', onfocusout: close, onkeydown: close }, el('summary', null, 'More…'), el('div', { tabindex: -1, onclick: (/** @type {any} */ event) => { event.currentTarget.parentElement.open = false; } }, items));

/** The counts, each a link to its trials. @param {string} run @param {any} counts */
function tallies(run, counts) {
  const filters = /** @type {Record<string, string>} */ ({ flaky: 'flaky()', known: 'known()', unexpected: 'unexpected()' });
  const left = needed(counts) - done(counts);
  const tally = (/** @type {string} */ key, /** @type {string} */ phrase) => el('a', { class: key, href: `${runPath(run)}${query({ filter: filters[key] ?? `outcome(${key})` })}` }, phrase);
  return [...parts(counts).map(([key, phrase]) => {
    const [words, flaky] = phrase.split(/ (?=\()/);
    return el('span', { key }, tally(key, words), flaky && [' ', tally('flaky', flaky)]);
  }),
  el('span', { class: 'quiet' }, `${left > 0 ? `${count(left)} of ${counts.not_needed === undefined ? '' : 'at most '}` : 'of '}${plural(needed(counts), 'trial')}${left > 0 ? ' left' : ''}${counts.not_needed > 0 ? `, ${count(counts.not_needed)} not needed` : ''}`)];
}

/** Why the run ended early, and damage. @param {RunView} view */
function notes({ document, progress }) {
  const { run, damaged_lines: damaged = 0, lost_results: lost, manifest, foreign, advice = [] } = document;
  const by = manifest.transitions.at(-1).by ?? manifest.sessions.at(-1)?.stopped_by;
  const why = reason(run, by);
  const message = run.message !== by?.reason && run.message;
  const session = manifest.sessions.at(-1);
  const ended = (progress?.rev ?? document.rev) - session?.from_seq;
  return el('div', { 'aria-live': 'polite' },
    advice.map((/** @type {string} */ text) => el('p', { class: 'note pre' }, text)),
    foreign && el('p', { class: 'note' }, `The run ${foreign}. The server only shows it. To look at it and allow it: `,
      el('code', null, `runner trust ${run.short}`)),
    why && el('p', { class: `note ${run.state}` },
      message && el('span', { class: 'pre' }, prose(message), '\n'), why,
      run.reason === 'budget' && run.larger_budgets && [' ', el('code', null, `runner resume ${run.short}${run.larger_budgets.map((/** @type {string} */ one) => ` --budget '${one}'`).join('')}`)]),
    run.status === 'running' && session?.rerun && el('p', { class: 'note' },
      `Runs ${plural(session.pending, 'trial')} again${ended > 0 ? `; ${plural(ended, 'attempt')} ended so far` : ''}.`),
    run.paused && el('p', { class: 'note' },
      'Paused since ', time(run.paused.from, 'clock'), run.paused.by && `, by ${actor(run.paused.by)}`, '. No attempts start and all timers are stopped.'),
    run.lost_report && el('p', { class: 'note bad' }, 'Report lost: ', prose(run.lost_report)),
    damaged + lost > 0 && el('p', { class: 'note bad' },
      damaged > 0 && `${plural(damaged, 'line')} of the results cannot be read. `,
      lost > 0 && `${plural(lost, 'result')} lost. `,
      'Resume runs the trials without a result. Details: ', el('code', null, `runner verify ${run.short}`)));
}
