// @ts-check
// A trial: why it did not pass, expected and actual output, the outputs of other providers, past results, logs and files.

import { get, now, query, runPath, trialPath } from '../base/api.js';
import { Diff } from '../base/diff.js';
import { follow } from '../base/live.js';
import { notFound, problem } from '../base/problem.js';
import { report } from '../base/report.js';
import { go, rename, up } from '../base/router.js';
import { button, copyable, el, facts, link, paced, render, soon } from '../base/ui.js';
import { duration, local, number, outcome, plural, prose, result, short, size, testName, time } from '../base/words.js';
import { progress } from './activity.js';
import { callList } from './calls.js';
import { changeList } from './changes.js';
import { STALE } from './failures.js';
import { fileList } from './files.js';
import { tail } from './log.js';
import { VERDICTS, block, cards, columns, grades, judged, shownRow } from './reason.js';
import { amount, metric } from './tables.js';
import { transcriptView } from './transcript.js';

/** The parts of a run's id that its page shows: scenario and random number. */
const RUN_ID = /^[\d-]{10}_[\d-]{12}-(.+)-([\da-f]{8})$/;
/** Characters of expectations that are values of the checks. */
const MAX_LISTED = 300;

/** @type {import('../base/router.js').Open} */
export async function open({ place, address, names: [run, name] }) {
  let path = trialPath(run, name);
  const read = (/** @type {URL} */ from) => ({ attempt: from.searchParams.get('attempt'), base: from.searchParams.get('base') });
  let keys = read(address);
  const load = () => get(`${path}${query({ attempt: keys.attempt })}`);
  /** The trial, and that of the base of a comparison. @type {any} */
  let [trial, earlier] = await Promise.all([load(), keys.base && get(trialPath(keys.base, name)).catch(() => null)]);
  // `latest` and short names become ids, so that the page keeps its trial.
  path = trialPath(trial.run, trial.trial);
  rename(address, path + address.search + address.hash);
  const list = sessionStorage.getItem(`list-${trial.run}`) ?? '';
  // A trial that was opened from a comparison keeps it.
  const upper = keys.base ? `/compare${sessionStorage.getItem(`compare-${keys.base}-${trial.run}`) ?? query({ base: keys.base, new: trial.run })}` : runPath(trial.run) + list;
  const pathOf = (/** @type {string} */ other) => trialPath(trial.run, other) + query({ base: keys.base });
  const neighbours = readNeighbours(trial, list, keys.base);
  /** The trials before and after this one. @type {{before?: string, after?: string}} */
  let near = {};
  /** The trial's attempt that runs, or its wait, from the newest event or else from the document. @type {[any, number]} */
  let [own, rev] = [{}, 0];
  /** @type {any} */
  let [error, isGone, isClosed] = [null, false, false];
  /** @type {[import('./run.js').Part | null, ReturnType<typeof callList> | null, ReturnType<typeof changeList> | null, ReturnType<typeof transcriptView> | null]} */
  let [log, calls, changes, transcript] = [null, null, null, null];
  const diff = new Diff();

  const draw = soon(() => render(place, isGone ? notFound(`The run ${trial.run} has been deleted.`) : [error && problem(error), content()]));
  const showFiles = fileList(draw);
  /** Shows another document. @param {any} fresh */
  function show(fresh) {
    const isSame = fresh !== trial && fresh.shown === trial.shown;
    [trial, error] = [fresh, null];
    // The document can be newer than the last event, and no events follow once the run has ended.
    if (!own.session || trial.run_status !== 'running') own = { running: fresh.running, waiting: fresh.waiting, at: now() };
    const row = shownRow(trial);
    if (!isSame) log = trial.logs.some((/** @type {any} */ one) => one.seq === trial.shown) ? tail(`${path}/log${query({ attempt: keys.attempt })}`, draw, () => false) : null;
    // An attempt that has no row can have calls already.
    const isSilent = row && !row.calls && row.outcome !== 'ungraded' && !row.grades?.some((/** @type {any} */ one) => one.calls);
    if (!isSame) calls = report || isSilent ? null : callList(path, draw, row?.attempt);
    if (!isSame) changes = row?.workspace ? changeList(path, draw, row) : null;
    if (!isSame) transcript = row?.transcript ? transcriptView(path, draw, row) : null;
    void calls?.refresh();
    // It can add results of the trial while it runs.
    if (!isClosed) follow(trial.run_status === 'running' ? trial.run : null);
    draw();
  }
  async function reload() {
    try {
      show(await load());
    } catch (caught) {
      // Without a connection the page stays as it is.
      error = /** @type {any} */ (caught).status === 0 ? null : caught;
      draw();
    }
  }
  const refresh = paced(1000, reload);
  const turn = async (/** @type {'before' | 'after'} */ side) => {
    const to = (await neighbours)[side];
    if (to && !isClosed) go(pathOf(to));
  };

  /** The trial's id, without `#1` if it is the only repeat. */
  const label = () => (trial.repeats ? trial.trial : trial.trial.replace(/#1$/, ''));

  function content() {
    const row = shownRow(trial);
    // Without an output, the log has the reason.
    const isBroken = trial.output === null;
    const isWide = columns(trial, earlier) !== null;
    return [
      el('header', null,
        el('p', { class: 'buttons steps' }, step('← Previous', near.before), step('Next →', near.after)),
        el('p', { class: 'crumbs' }, !report && [keys.base ? link('/compare', 'Compare') : link('/runs', 'Runs'), ' / '], link(upper, keys.base ? `${keys.base.replace(RUN_ID, '$1 $2')} → ` : '', trial.run.replace(RUN_ID, keys.base ? '$2' : '$1 $2'))),
        el('h1', null, link(`${runPath(trial.run)}${query({ filter: `test("${trial.test}")` })}`, testName(trial.test)), el('span', { class: 'provider quiet' }, label().slice(trial.test.length)), ' ', state(row)),
        took(row), known(), repeats(), attempts(row)),
      progress(own, !row && trial.run_status === 'running'), reasons(), isBroken && logs(), changes?.(), transcript?.(), isWide && texts(row),
      el('div', { class: 'sides' }, el('div', null, !isWide && texts(row), checks(row), graded(row), calls?.content(), others(), !isBroken && logs()),
        el('div', null, past(), input(), usage(row), trial.rows.length > 0 && [el('h2', null, 'Reproduce'), copyable(trial.reproduce)])),
      files(row),
    ];
  }

  /** A link to another trial, or a disabled button in its place. @param {string} words @param {string | undefined} to */
  const step = (words, to) => (to ? link(pathOf(to), words) : button(words, () => {}, { disabled: true }));

  /** @param {any} row */
  function state(row) {
    if (own.running) return outcome('running', own.paused ? 'paused' : 'running');
    if (own.waiting) return outcome('planned', 'waiting');
    if (trial.known) return trial.known.state === 'known' ? outcome('known', `known: ${trial.known.reason}`) : outcome('passes', 'passes although known');
    return row ? outcome(row.flaky ? 'flaky' : row.outcome) : outcome('planned', 'not run yet');
  }

  /** @param {any} row */
  const took = (row) => row && el('p', { class: 'quiet' }, `Attempt ${row.attempt}, session ${row.session}, ${row.worker ? `worker ${row.worker}, ` : ''}${trial.development ? 'development form, ' : ''}started `, time(row.started_at, 'full'), `, took ${duration(row.duration_ms)}`,
    row.score === undefined ? null : `, score ${number(row.score)}`);

  /** The entries of the list of known failures, with the next step if they do not apply. */
  const known = () => (trial.known ? [trial.known] : trial.stale ?? []).map((/** @type {any} */ { state, place, reason, why, until, outcomes }) => (state === 'known' ? el('p', { class: 'quiet' }, 'Known failure, ', el('code', null, place))
    : el('p', { key: place, class: 'note pre' }, `Known failure${why ? `, ${outcomes ?? why}${until && why === 'expired' ? ` ${until}` : ''}` : ''}: ${reason} · `, el('code', null, place), '\n', why ? prose(STALE[why]) : ['To remove its entry: ', el('code', null, 'runner known --update')])));

  /** The results of the repeats. */
  const repeats = (list = trial.repeats ?? []) => list.length > 0 && el('nav', { class: 'tabs', 'aria-label': 'Repeats' }, 'Repeats ', list.map((/** @type {any} */ one) =>
    el('a', { key: one.trial, href: pathOf(one.trial), 'aria-current': one.trial === trial.trial ? 'page' : null, 'aria-label': `${result(one)} #${one.repeat}` }, outcome(result(one), String(one.repeat)))),
  el('span', { class: 'quiet' }, ` · ${list.filter((/** @type {any} */ one) => one.outcome === 'passed').length} of ${list.length} passed`));

  /** @param {any} row */
  function attempts(row) {
    // Each grade adds a row to its attempt.
    const newest = [...new Map(trial.rows.map((/** @type {any} */ one) => [one.attempt, one])).values()];
    if (newest.length < 2) return null;
    return el('nav', { class: 'tabs', 'aria-label': 'Attempts' }, newest.map((one) =>
      el('a', { href: `${path}${query({ ...keys, attempt: one.attempt })}`, 'aria-current': one.attempt === row?.attempt ? 'page' : null }, outcome(one.outcome, `attempt ${one.attempt}`))));
  }

  const reasons = (shown = judged(trial, earlier)) => shown.some(Boolean) && [el('h2', null, 'Reason'), shown];

  /** The output, next to the expected one or that of the base. @param {any} row */
  function texts(row) {
    const found = columns(trial, earlier);
    if (trial.output === null) return null;
    const { tolerance } = trial.planned?.expect ?? {};
    // The columns show a single expectation.
    const isShown = isListed(row) || (found && !earlier && expected().length === 1);
    const unwanted = row?.checks?.find((/** @type {any} */ one) => one.kind === 'not.contains' && one.verdict === 'fail')?.expected;
    const heads = /** @type {[string, string]} */ (earlier ? ['Base', 'New'] : ['Expected', 'Actual']);
    const how = earlier ? el('small', null, 'compared with ', link(trialPath(earlier.run, earlier.trial), earlier.run))
      : found && trial.expected_output === null && el('small', null, 'only the expected keys are compared', tolerance > 0 && `, and numbers may differ by ${number(tolerance)}`);
    return [el('h2', null, 'Output', how),
      found ? diff.show(found[0], found[1], heads) : cards([['Output', trial.output]], false, unwanted),
      cards([['Expectations', isShown ? null : trial.expected], ['Reference', trial.reference]])];
  }

  function input() {
    const judged = trial.output === null ? [['Expectations', trial.expected], ['Reference', trial.reference]] : [];
    return [trial.input !== null && [el('h2', null, 'Input'), cards([['Input', trial.input]], false)], cards(judged)];
  }

  const logs = () => log && [el('h2', null, 'Log', el('small', null, 'times in UTC')), log.content()];

  function others() {
    const list = trial.outputs.filter((/** @type {any} */ one) => one.trial !== trial.trial);
    if (!list.length) return null;
    const card = (/** @type {any} */ one) => el('section', { key: one.trial }, el('h3', null, link(pathOf(one.trial), one.provider), ' ', outcome(result(one)),
      el('span', { class: 'quiet' }, ` ${duration(one.duration_ms)}${one.score === null ? '' : ` · score ${number(one.score)}`}`)),
    one.reason && el('p', { class: 'reason' }, one.reason), one.output === null ? el('p', { class: 'quiet' }, 'no output') : one.output === trial.output ? el('p', { class: 'quiet' }, 'the same output') : block(one.output, `Output of ${one.provider}`));
    return [el('h2', null, 'Other providers'), el('div', { class: 'cards' }, list.map(card))];
  }

  /** Keys of the expectations. The grades name the graders. */
  const expected = () => Object.keys(trial.planned?.expect ?? {}).filter((key) => !['graders', 'tolerance'].includes(key));
  /** Whether the list of checks has all expectations. @param {any} row */
  const isListed = (row) => expected().every((key) => trial.expected.length < MAX_LISTED && row?.checks?.some((/** @type {any} */ { kind }) => kind?.split('.')[0] === key));

  /** The value of a check, which may be one of several with the same key. @param {any[]} all @param {any} check */
  function operand(all, check) {
    const alike = all.filter(({ kind }) => kind && kind === check.kind);
    const values = check.kind?.split('.').reduce((/** @type {any} */ value, /** @type {string} */ key) => value?.[key], trial.planned?.expect);
    const value = alike.length > 1 ? values?.length === alike.length && values[alike.indexOf(check)] : values;
    return value !== undefined && value !== false && trial.expected.length < MAX_LISTED && [' ', el('code', null, JSON.stringify(value))];
  }

  /** @param {any} row */
  function checks(row) {
    // The reason has a single check that failed.
    if (!(row?.checks?.length > 1 || (isListed(row) && row?.checks?.[0]?.verdict === 'pass'))) return null;
    return [el('h2', null, 'Checks'), el('ul', { class: 'groups' }, row.checks.map((/** @type {any} */ one) => el('li', null,
      outcome(VERDICTS[one.verdict] ?? one.verdict, one.kind ?? one.name), one.kind ? null : el('span', { class: 'quiet' }, ' by the provider'), operand(row.checks, one),
      one.score === undefined ? null : ` · ${number(one.score)}`)))];
  }

  /** The grades that are not in the reason. @param {any} row */
  function graded(row) {
    const list = row?.grades?.filter((/** @type {any} */ one) => one.verdict !== 'fail' || one.partial) ?? [];
    return list.length > 0 && [el('h2', null, 'Grades'), grades(list)];
  }

  /** The results in the last runs of the scenario. */
  function past() {
    const list = trial.history;
    if (list.length < 2) return null;
    const [last, name] = [list.at(-1), short(list.map((/** @type {any} */ one) => one.run_started_at))];
    const start = list.findLastIndex((/** @type {any} */ one) => result(one) !== result(last)) + 1;
    const text = start > 0 ? [outcome(result(last)), ' since ', link(runPath(list[start].run), time(list[start].run_started_at, 'full'))]
      : [outcome(result(last)), ` in each of the last ${plural(list.length, 'run')}`];
    return [el('h2', null, 'Past results', el('small', null, text)), el('p', { class: 'strip' }, list.map((/** @type {any} */ one) =>
      el('a', { key: one.run, href: trialPath(one.run, trial.trial), 'aria-current': one.run === trial.run ? 'true' : null, 'aria-label': `${result(one)} in ${one.run}, ${name(one.run_started_at)}`,
        title: `${result(one)}, ${duration(one.duration_ms)}, ${local(one.run_started_at)}` }, outcome(result(one), ''), el('small', null, name(one.run_started_at)))))];
  }

  /** @param {any} row */
  function usage(row) {
    if (!row) return null;
    const { usage: used = {}, metrics = [], denied = [] } = row;
    const list = [['Memory', used.peak_memory && size(used.peak_memory)], ['Input', used.bytes_in && size(used.bytes_in)], ['Output', used.bytes_out && size(used.bytes_out)],
      ['Journal', row.calls && `${plural(row.calls.count, 'call')}${row.continued ? ` · continued ${row.continued > 1 ? `${row.continued} times` : 'once'}` : ''}`],
      ['Host calls', used.host_calls && String(used.host_calls)], ['HTTP requests', used.http_requests && String(used.http_requests)],
      ...metrics.map((/** @type {any} */ one) => [metric(one.name), amount(one)]),
      ...denied.map((/** @type {any} */ one) => ['Denied', prose(one.what)])];
    return [el('h2', null, 'Usage'), facts(list)];
  }

  /** @param {any} row */
  function files(row) {
    const list = trial.artifacts.filter((/** @type {any} */ one) => one.seq === trial.shown && !(row?.workspace && /^workspace\.(jsonl|contents)$/.test(one.name)));
    return list.length > 0 && [el('h2', null, 'Files'), showFiles(list, `${path}/attempts/${row.attempt}/files`)];
  }

  show(trial);
  void neighbours.then((found) => { near = found; draw(); });
  return {
    title: label, draw,
    update(next) {
      if (read(next).attempt === keys.attempt) return;
      keys = read(next);
      void reload();
    },
    live({ name: event, run: from, data }) {
      if (event !== 'reset' && (from ?? data.run) !== trial.run) return;
      isGone ||= event === 'gone';
      if (event === 'run') trial.run_status = data.status;
      if (event === 'finished') own = {};
      const last = attemptKey(own.running);
      if (event === 'progress' && data.live && trial.run_status === 'running') {
        const mine = (/** @type {any[]} */ list) => list?.find((one) => one.trial === trial.trial);
        const { live } = data;
        own = { ...live, running: mine(live.in_flight), waiting: mine(live.waiting), at: Date.parse(live.at) };
      }
      const isNew = event !== 'progress' || data.rev !== rev || attemptKey(own.running) !== last;
      rev = data.rev ?? rev;
      if (isNew && !isGone) refresh();
      else if (own.running && event === 'progress') void calls?.refresh();
      draw();
    },
    close() { isClosed = true; follow(null); },
    keys: [['u', keys.base ? 'To the comparison' : 'To the run', () => up(upper)], ['j', 'Next trial', () => void turn('after')], ['k', 'Previous trial', () => void turn('before')]],
  };
}

/** Identifies an attempt of a provider or a grader. @param {any} one */
const attemptKey = (one) => one && `${one.grader} ${one.attempt}`;

/** The trials before and after this one in the list that it was opened from. @param {any} trial @param {string} list @param {string | null} base of a comparison */
async function readNeighbours({ run, trial }, list, base) {
  const keys = new URLSearchParams(list);
  const path = `${runPath(run)}/trials${query({ filter: keys.get('filter'), sort: keys.get('sort'), group: keys.get('group'), near: trial, limit: 3 })}`;
  const [changed, first] = [JSON.parse(sessionStorage.getItem(`changes-${base}-${run}`) ?? '[]'), trial.replace(/#\d+$/, '#1')];
  const isChanged = changed.includes(first);
  const names = isChanged ? changed : (await get(path).catch(() => ({ trials: [] }))).trials.map((/** @type {any} */ one) => one.trial);
  const at = names.indexOf(isChanged ? first : trial);
  return { before: names[at - 1], after: at < 0 ? undefined : names[at + 1] };
}
