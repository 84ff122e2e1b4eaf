// @ts-check
// One trial: what it got, what was expected, what came, and why it came to what it came to.

import { get, ofRun, ofTrial, query } from './api.js';
import { pairs } from './about.js';
import { diff, marked } from './diff.js';
import { files } from './files.js';
import { doing } from './activity.js';
import { Lines, linesOf, linesOfRecords } from './lines.js';
import { follow } from './live.js';
import { problem } from './problem.js';
import { block, visible, visibleLine, written } from './text.js';
import { atMostEvery, copyable, el, link, put, table } from './ui.js';
import { count, duration, number, outcome, plural, since, size, verdict } from './words.js';

/** Those that j and k go through. */
const BAD = 'outcome(failed, error, timeout)';

/** @type {import('./main.js').Show} */
export async function showTrial(address, { place, go }, [run, trial]) {
  const path = ofTrial(run, trial);
  const asked = (/** @type {URL} */ at) => Number(at.searchParams.get('attempt')) || null;
  let wanted = asked(address);
  const load = () => get(`${path}${query({ attempt: wanted })}`);
  /** @type {Api.TrialPage} */
  let page = await load();
  /** @type {any} */
  let around = null;

  const head = el('section', { 'aria-label': 'Trial' });
  const now = el('p', { class: 'facts' });
  const [body, below] = [el('div', { class: 'trial-body' }), el('div', { class: 'trial-body' })];
  const said = new SaidParts();
  let drawn = '';
  const draw = () => {
    const one = page.attempts.find((found) => found.attempt === page.shown);
    said.show(one, path);
    // What has not changed is left alone, with what is selected or opened in it.
    const look = JSON.stringify({ ...page, attempts: page.attempts.map((one) => ({ ...one, log: 0, stdout: 0, stderr: 0 })) });
    if (look === drawn) return;
    drawn = look;
    drawHead(head, page, around, run);
    drawAttempt(body, page, run);
    drawBelow(below, page);
  };
  put(place, head, now, body, said.element, below);
  draw();
  void neighbours(run, page.planned?.ordinal).then((found) => { around = found; drawHead(head, page, around, run); }, () => {});
  const isOpen = () => page.attempts.length === 0 || !page.attempts.some((one) => one.row?.final);
  const again = atMostEvery(1000, async () => {
    try {
      page = await load();
      draw();
    } catch (error) {
      put(body, problem(error));
    }
  });
  if (isOpen()) follow(run);
  const step = (/** @type {number} */ by) => {
    const to = by > 0 ? around?.next : around?.before;
    if (to) { go(ofTrial(run, to)); scrollTo(0, 0); }
  };
  const attempt = (/** @type {number} */ by) => {
    const numbers = page.attempts.map((one) => one.attempt);
    const to = numbers[numbers.indexOf(page.shown ?? 0) + by];
    if (to) go(`${path}${query({ attempt: to })}`);
  };
  return {
    title: `${trial} · ${run}`,
    change(next) {
      if (next.pathname !== path || (next.searchParams.size && !next.searchParams.has('attempt'))) return false;
      wanted = asked(next);
      again();
      return true;
    },
    hear(event) {
      if ((event.run ?? event.data.run) !== run && event.name !== 'reset' && event.name !== 'ready') return;
      if (event.name === 'waiting') sayDoing(now, event.data, page.trial);
      else if (event.name !== 'progress') put(now);
      if (isOpen()) again();
    },
    keys: { j: () => step(1), k: () => step(-1), u: () => go(ofRun(run)), '[': () => attempt(-1), ']': () => attempt(1) },
    close() { follow(null); again.stop(); },
  };
}

/** The bad trials before and after one, by its place in the plan. @param {string} run @param {number | undefined} ordinal */
async function neighbours(run, ordinal) {
  if (ordinal === undefined) return null;
  const page = (/** @type {number} */ offset, /** @type {number} */ limit) => get(`${ofRun(run)}/trials${query({ filter: BAD, sort: 'plan', offset: offset || null, limit })}`);
  const first = await page(0, 200);
  // They are in the order of the plan, so the place of this one is found by halves.
  let [low, high] = [0, first.count];
  const at = async (/** @type {number} */ place) => (place < 0 || place >= first.count ? null : first.trials[place] ?? (await page(place, 1)).trials[0] ?? null);
  while (low < high) {
    const middle = (low + high) >> 1;
    const found = await at(middle);
    if (found && found.ordinal < ordinal) low = middle + 1;
    else high = middle;
  }
  const here = await at(low);
  const isBad = here?.ordinal === ordinal;
  const [before, next] = [await at(low - 1), isBad ? await at(low + 1) : here];
  return { before: before?.trial, next: next?.trial, place: isBad ? low + 1 : null, count: first.count };
}

/** @param {HTMLElement} head @param {Api.TrialPage} page @param {any} around @param {string} run */
function drawHead(head, page, around, run) {
  const final = page.attempts.find((one) => one.row?.final)?.row;
  const path = ofTrial(run, page.trial);
  const to = (/** @type {string | undefined} */ trial, /** @type {string} */ words, /** @type {string} */ key) => (trial
    ? el('a', { class: 'button small', href: ofTrial(run, trial), title: visibleLine(trial) }, words, ' ', el('kbd', null, key))
    : el('span', { class: 'button small off' }, words));
  const had = document.activeElement?.closest('.tabs') ? page.shown : null;
  put(head,
    el('p', { class: 'crumbs' }, link('/runs', 'Runs'), ' / ', el('a', { href: ofRun(run), class: 'mono' }, run),
      el('span', { class: 'space' }),
      around && around.count ? [el('span', { class: 'quiet' }, around.place ? `bad trial ${count(around.place)} of ${count(around.count)}` : plural(around.count, 'bad trial')), to(around.before, '← before', 'k'), to(around.next, 'next →', 'j')] : null),
    el('h1', { class: 'mono' }, visibleLine(page.test), el('small', null, visibleLine(page.trial.slice(page.test.length)))),
    el('p', { class: 'facts' },
      final ? outcome(final.outcome) : el('span', { class: 'live' }, page.attempts.length ? '○ being executed' : '○ not run yet'),
      final?.flaky ? el('span', { class: 'pill open' }, 'flaky') : null,
      final ? el('span', null, `took ${duration(final.duration_ms)}`) : null,
      typeof final?.score === 'number' ? el('span', null, `score ${number(final.score)}`) : null,
      page.planned?.tags.map((/** @type {string} */ tag) => el('span', { class: 'pill' }, visibleLine(tag)))),
    page.attempts.length > 1 ? el('nav', { class: 'tabs', 'aria-label': 'Attempts' }, page.attempts.map((one) =>
      el('a', { href: `${path}${query({ attempt: one.attempt })}`, 'aria-current': one.attempt === page.shown ? 'page' : null }, `Attempt ${one.attempt} `, one.outcome ? outcome(one.outcome) : el('span', { class: 'live' }, '○')))) : null);
  if (had !== null) (/** @type {HTMLElement | null} */ (head.querySelector('.tabs [aria-current]')))?.focus();
}

/** @param {HTMLElement} body @param {Api.TrialPage} page @param {string} run */
function drawAttempt(body, page, run) {
  const one = page.attempts.find((found) => found.attempt === page.shown);
  const row = one?.row;
  const expect = page.planned?.expect ?? {};
  const checks = row?.checks ?? [];
  const bad = checks.filter((check) => check.verdict !== 'pass');
  put(body,
    row?.error ? section('Error', el('p', null, el('strong', { class: 'bad' }, `${row.error.class ?? 'error'} `), row.error.code && row.error.code !== row.error.class ? el('code', null, visibleLine(row.error.code)) : null), block(row.error.message, { colours: true, label: 'Error' }),
      row.error.retry_after_ms ? el('p', { class: 'quiet' }, `to be tried again after ${duration(row.error.retry_after_ms)}`) : null) : null,
    denied(row?.denied ?? []),
    bad.length ? section('Why', bad.map((/** @type {any} */ check) => failed(check))) : null,
    el('div', { class: 'columns' },
      page.planned ? section('Input', block(written(page.planned.input), { label: 'Input' }), handed(page.planned.files)) : section('Input', el('p', { class: 'quiet' }, 'The test is not in the content store any more.')),
      Object.keys(expect).length ? section('Expected', Object.entries(expect).map(([key, value]) => [el('h3', null, visibleLine(key)), block(written(value), { label: `Expected: ${visibleLine(key)}` })])) : null,
      one && (one.output !== null || row?.output !== undefined) ? section('Output', block(written(one.output ?? row?.output), { label: 'Output', colours: false }), bad.some((/** @type {any} */ check) => check.diff || check.expected !== undefined) ? null : compared(expect, one.output)) : null),
    checks.length ? section('Checks', table({ label: 'Checks' }, ['Check', 'Verdict', ['Score', 'n'], 'Message'], checks.map((check) =>
      el('tr', null, el('td', null, visibleLine(check.name)), el('td', null, outcome({ pass: 'passed', fail: 'failed', skip: 'skipped' }[/** @type {'pass'} */ (check.verdict)] ?? check.verdict)), el('td', { class: 'n' }, typeof check.score === 'number' ? number(check.score) : ''), el('td', { class: 'marked' }, check.message ? visible(check.message) : ''))))) : null,
    row?.grades?.length ? section('Grades', table({ label: 'Grades' }, ['Grader', 'Verdict', ['Score', 'n'], 'What it says'], row.grades.map((grade) =>
      el('tr', null, el('td', null, visibleLine(grade.grader)), el('td', null, grade.verdict ?? ''), el('td', { class: 'n' }, typeof grade.score === 'number' ? number(grade.score) : ''), el('td', { class: 'marked' }, grade.explanation ? visible(grade.explanation) : ''))))) : null,
    row?.metrics?.length ? section('Measured', el('dl', { class: 'facts-list' }, row.metrics.flatMap((metric) => [el('dt', null, visibleLine(metric.name)), el('dd', null, `${number(metric.value)}${metric.unit && metric.unit !== '1' ? ` ${visibleLine(metric.unit)}` : ''}`)]))) : null,
    one?.artifacts.length ? section('Files', files(run, page.trial, one)) : null);
}

/** @param {HTMLElement} place @param {Api.TrialPage} page */
function drawBelow(place, page) {
  const row = page.attempts.find((found) => found.attempt === page.shown)?.row;
  put(place,
    row ? section('What it used', el('dl', { class: 'facts-list' }, pairs(used(row)))) : null,
    page.command ? section('Once more', el('div', { class: 'command' }, el('pre', { tabindex: 0, role: 'group', 'aria-label': 'Command' }, visible(page.command)), copyable(page.command))) : null,
    page.planned && Object.keys(page.planned.meta).length ? section('Meta', block(written(page.planned.meta), { label: 'Meta' })) : null);
}

/** @param {string} title @param {...any} children */
const section = (title, ...children) => el('section', null, el('h2', null, title), ...children);

/** A check that did not hold. @param {any} check */
function failed(check) {
  // The message says these with their units.
  const { expected, actual } = ['max_duration', 'max_memory'].includes(check.name) && check.message ? {} : check;
  const made = check.diff ? marked(check.diff) : expected !== undefined && actual !== undefined ? diff(written(expected), written(actual)) : null;
  return el('div', { class: 'check' },
    el('h3', null, outcome(check.verdict === 'skip' ? 'skipped' : 'failed'), ' ', visibleLine(check.name)),
    check.message ? el('p', { class: 'marked' }, visible(check.message)) : null,
    made ?? (expected === undefined ? null : [el('h3', null, 'Expected'), block(written(expected))]),
    check.details === undefined ? null : block(written(check.details), { label: 'Details' }));
}

/** An output beside what it should have been, where no check has shown that. @param {any} expect @param {any} output */
function compared(expect, output) {
  if (!('equals' in expect) || JSON.stringify(expect.equals) === JSON.stringify(output)) return null;
  const made = diff(written(expect.equals), written(output));
  return made ? [el('h3', null, 'Line by line'), made] : null;
}

/** @param {Api.RowDenied[]} denied */
function denied(denied) {
  if (!denied.length) return null;
  return section('Denied', denied.map((one) => el('div', { class: 'check' },
    el('p', null, el('span', { class: 'bad', 'aria-hidden': 'true' }, '⊘ '), visibleLine(one.what)),
    one.grant ? [el('p', { class: 'quiet' }, 'A line of ', el('code', null, 'grants'), ' of the provider that would allow it:'), el('div', { class: 'command' }, el('pre', { tabindex: 0, role: 'group', 'aria-label': 'Grant' }, visible(one.grant)), copyable(one.grant))]
      : el('p', { class: 'quiet' }, 'Nothing could grant this.'))));
}

/** @param {Api.PageFile[]} given */
const handed = (given) => (given.length ? [el('h3', null, 'Files handed over'), el('ul', { class: 'plain' }, given.map((file) => el('li', null, visibleLine(file.name), el('span', { class: 'quiet' }, ` ${visibleLine(file.media_type)}, ${size(file.bytes)}`))))] : null);

/** What an attempt and its graders have said. What was said stays where it is while more is said. */
class SaidParts {
  constructor() {
    this.element = el('div', { class: 'trial-body' });
    /** @type {Map<string, {lines: Lines, section: HTMLElement}>} */
    this.parts = new Map();
    this.attempt = 0;
  }

  /** @param {Api.PageAttempt | undefined} one @param {string} path */
  show(one, path) {
    if (one?.attempt !== this.attempt) { this.parts.clear(); put(this.element); this.attempt = one?.attempt ?? 0; }
    if (!one) return;
    const isLive = !one.row;
    const of = (/** @type {any} */ said, /** @type {string} */ whose, /** @type {string} */ id) => {
      this.#part(`Log${whose}`, `${id}log`, linesOfRecords(said.log), isLive, whose ? null : `${path}/attempts/${one.attempt}/files/log`);
      this.#part(`Standard output${whose}`, `${id}stdout`, linesOf(said.stdout), isLive, whose ? null : `${path}/attempts/${one.attempt}/files/stdout`);
      this.#part(`Standard error${whose}`, `${id}stderr`, linesOf(said.stderr), isLive, whose ? null : `${path}/attempts/${one.attempt}/files/stderr`);
    };
    of(one, '', '');
    for (const [place, grader] of (one.graders ?? []).entries()) of(grader, ` of the grader ${visibleLine(grader.grader)}`, `grader-${'abcdefghijklmnopqrstuvwxyz'[place % 26]}-`);
  }

  /** @param {string} title @param {string} id @param {import('./lines.js').Line[]} lines @param {boolean} isLive @param {string | null} file */
  #part(title, id, lines, isLive, file) {
    if (!lines.length) return;
    let part = this.parts.get(id);
    if (!part) {
      const made = new Lines(title, id);
      part = { lines: made, section: el('section', null, el('h2', null, title, file ? [' ', el('small', null, el('a', { href: `/api/v1${file}`, download: true }, 'Download'))] : null), made.element) };
      this.parts.set(id, part);
      this.element.append(part.section);
    }
    part.lines.set(lines, { isLive });
  }
}

/** @param {HTMLElement} place @param {Api.RunActivity} activity @param {string} trial */
function sayDoing(place, activity, trial) {
  const one = activity.in_flight.find((found) => found.trial === trial);
  const next = activity.waiting.find((found) => found.trial === trial);
  const words = one ? `Attempt ${one.attempt}${one.attempts ? ` of ${one.attempts}` : ''} ${doing(one)}${one.phase_elapsed_ms === null ? '' : ` for ${duration(one.phase_elapsed_ms)}`}`
    : next ? `Attempt ${next.attempt}${next.attempts ? ` of ${next.attempts}` : ''} ${next.why === 'retry' ? 'begins' : 'waits for its rate limit, and begins'} ${next.left_ms < 1 ? 'now' : `in ${duration(next.left_ms)}`}` : '';
  put(place, words ? el('span', { class: one ? 'live' : 'open' }, words) : null);
}

/** @param {Api.Row} row */
function used(row) {
  const { usage } = row;
  return {
    Began: since(row.started_at),
    Took: duration(row.duration_ms),
    Verdict: row.verdict ? verdict({ pass: 'passed', fail: 'failed' }[/** @type {'pass'} */ (row.verdict)] ?? row.verdict) : null,
    Summary: row.summary ? visible(row.summary) : null,
    Memory: usage.peak_memory ? size(usage.peak_memory) : null,
    'Host calls': usage.host_calls ? count(usage.host_calls) : null,
    'HTTP requests': usage.http_requests ? count(usage.http_requests) : null,
    'Bytes in and out': usage.bytes_in || usage.bytes_out ? `${size(usage.bytes_in ?? 0)}, ${size(usage.bytes_out ?? 0)}` : null,
    Session: String(row.session),
    Row: count(row.seq),
  };
}
