// @ts-check
// One run: how it stands, what can be done with it, and what its trials came to.

import { buttons } from './actions.js';
import { Activity } from './activity.js';
import { get, isLeaving, named, ofRun, query } from './api.js';
import { latency, outcomes, spread, steps } from './chart.js';
import { showLog } from './log.js';
import { follow } from './live.js';
import { showMatrix } from './matrix.js';
import { problem } from './problem.js';
import { showAbout } from './about.js';
import { visibleLine } from './text.js';
import { TrialTable } from './trials.js';
import { atMostEvery, el, link, put, say } from './ui.js';
import { clock, count, counted, done, duration, hint, Pace, plural, reason, since, stackedBar, status, verdict } from './words.js';

const VIEWS = { trials: 'Trials', matrix: 'Matrix', log: 'Log', about: 'About' };
/** @type {(keyof Api.ManifestCounts)[]} */
const TALLIES = ['passed', 'failed', 'error', 'timeout', 'skipped', 'flaky'];
const REPORTS = { html: 'HTML', junit: 'JUnit XML', markdown: 'Markdown', csv: 'CSV', jsonl: 'JSON Lines' };

/** @type {import('./main.js').Show} */
export async function showRun(address, { place, go }, [id]) {
  const path = ofRun(id);
  const view = () => new URL(location.href).searchParams.get('view') ?? 'trials';
  const head = el('section', { 'aria-label': 'Run', class: 'run-head' });
  const [told, lost] = [el('div', { 'aria-live': 'polite' }), el('div', { 'aria-live': 'polite' })];
  const tabs = el('nav', { class: 'tabs', 'aria-label': 'Of this run' });
  const main = el('div', { class: 'run-main' });
  const aside = el('aside', { class: 'run-aside', 'aria-label': 'Charts' });

  /** @type {Api.RunPage} */
  let answer = await get(path);
  const pace = new Pace();
  /** @type {any} */
  let part = null;
  const header = new RunHead(head);
  const activity = new Activity(id);
  const then = {
    changed: () => { put(told); return refresh(); },
    told: (/** @type {Node} */ shown) => put(told, shown),
    deleted: () => go('/runs', true),
  };
  const refresh = async () => {
    try {
      answer = await get(path);
      put(lost);
      header.show(answer, pace, then);
      seeActivity();
      seeInsight();
      followIt();
    } catch (error) {
      put(lost, problem(error));
    }
  };
  // The stream of a run that is over would end at once.
  const followIt = () => follow(answer.run.status === 'running' ? id : null);
  const again = atMostEvery(700, refresh);
  const seeActivity = () => (answer.run.status === 'running' ? activity.ask() : activity.show(null));

  function drawTabs(/** @type {URL} */ at) {
    put(tabs, Object.entries(VIEWS).map(([name, words]) => {
      const next = new URLSearchParams(at.search);
      if (name === 'trials') next.delete('view');
      else next.set('view', name);
      const text = next.toString();
      return el('a', { href: `${path}${text ? `?${text}` : ''}`, 'aria-current': view() === name ? 'page' : null }, words);
    }), el('span', { class: 'space' }),
    el('details', { class: 'drop' }, el('summary', null, 'Reports'), el('div', { class: 'menu' },
      Object.entries(REPORTS).map(([format, words]) => el('a', { href: `/api/v1${path}/report?format=${format}`, download: true }, words)),
      el('a', { href: `/api/v1${path}/rows`, download: true }, 'Raw rows'),
      el('a', { href: `/api/v1${path}/log`, download: true }, 'runner.log'))));
  }

  function drawView(/** @type {URL} */ at) {
    part?.close?.();
    part = null;
    aside.hidden = view() !== 'trials';
    place.classList.toggle('with-aside', view() === 'trials');
    if (view() === 'matrix') part = showMatrix(main, id, at, go);
    else if (view() === 'log') part = showLog(main, id, () => answer.run.is_alive);
    else if (view() === 'about') part = showAbout(main, answer);
    else {
      part = new TrialTable(id, at, go, () => answer.run.is_alive);
      put(main, part.element);
    }
  }

  // What is made of all rows comes after what is seen first.
  async function insight() {
    if (view() !== 'trials' || document.hidden) return;
    /** @type {[Api.RunSeries | null, Api.RunOpened | null, Api.RunMetrics | null]} */
    const [series, summary, measured] = /** @type {any} */ (await Promise.all([get(`${path}/series`), get(`${path}/summary`), get(`${path}/metrics`)].map((one) => one.catch(() => null))));
    if (summary) activity.by(summary.live);
    const [from, to] = steps(series?.latencies ?? []);
    put(aside,
      series?.outcomes.length ? [el('h2', null, 'Outcomes over the course'), outcomes(series.outcomes)] : null,
      summary?.providers.length ? [el('h2', null, 'Providers'), summary.providers.map((one) => {
        const its = series?.latencies.find((found) => found.provider === one.provider);
        return el('div', { class: 'provider' },
          link(`${path}${query({ filter: named('provider', one.provider) })}`, visibleLine(one.provider)),
          el('span', { class: 'quiet' }, counted(one.counts)),
          its?.counts.some(Boolean) ? latency(its, [from, to]) : null,
          one.p50_ms === null || one.p95_ms === null ? null : el('span', { class: 'quiet' }, `half within ${duration(one.p50_ms)}, 95 % within ${duration(one.p95_ms)}, longest ${duration(one.max_ms)}`));
      })] : null,
      measured?.metrics.length ? [el('h2', null, 'Measured ', measured.looked_at < measured.trials ? el('small', null, `in ${count(measured.looked_at)} of ${plural(measured.trials, 'trial')}`) : null),
        measured.metrics.map((one) => [el('h3', null, visibleLine(one.name)), spread(one, (name) => link(`${path}${query({ filter: named('provider', name) })}`, visibleLine(name)))]),
        measured.more ? el('p', { class: 'quiet' }, `and ${plural(measured.more, 'more metric')}`) : null] : null,
      summary?.denials.length ? [el('h2', null, 'Denied'), el('ul', { class: 'plain' }, summary.denials.map((text) => el('li', null, visibleLine(text))))] : null);
  }
  const seeInsight = atMostEvery(2500, insight, 8);

  put(place, head, lost, told, activity.element, tabs, el('div', { class: 'run-body' }, main, aside));
  header.show(answer, pace, then);
  drawTabs(address);
  drawView(address);
  void seeActivity();
  // It takes as long as the table again where there are very many rows.
  void Promise.resolve(part?.read).then(seeInsight);
  followIt();
  const ticker = setInterval(() => { header.tick(pace); activity.tick(); }, 1000);
  return {
    title: `${answer.run.scenario} · ${id}`,
    change(next) {
      if (next.pathname !== path) return false;
      drawTabs(next);
      if (!part?.change?.(next, view())) drawView(next);
      return true;
    },
    hear(event) {
      // Whoever deletes it knows, and is led elsewhere.
      if (isLeaving(id)) return;
      // What has happened before anybody listened is told to nobody.
      if (!event.run && (event.name === 'reset' || event.name === 'ready')) { again(); part?.news?.(null); }
      if ((event.run ?? event.data.run) !== id) return;
      if (event.name === 'waiting') activity.show(event.data);
      else if (event.name === 'progress') {
        const isOver = header.progress(event.data, pace);
        part?.news?.(event.data.rev);
        if (!isOver) seeInsight();
      } else if (event.name === 'gone') {
        part?.close?.();
        put(place, el('h1', null, 'This run is gone'), el('p', null, 'It was deleted while it was shown. ', link('/runs', 'All runs')));
      } else again();
      if (event.name === 'finished' || event.name === 'reset') part?.news?.(null);
    },
    keys: { u: () => go('/runs'), ...Object.fromEntries(['j', 'k'].map((key) => [key, () => part?.step?.(key === 'j' ? 1 : -1)])) },
    close() {
      follow(null);
      clearInterval(ticker);
      again.stop();
      seeInsight.stop();
      part?.close?.();
    },
  };
}

/** What stands above all else of a run. What changes changes in its place. */
class RunHead {
  /** @param {HTMLElement} place */
  constructor(place) {
    this.title = el('h1');
    this.line = el('p', { class: 'facts' });
    this.why = el('p', { class: 'why' });
    this.paused = el('p', { class: 'why note-incomplete', hidden: true });
    this.actions = el('div', { class: 'actions', role: 'group', 'aria-label': 'Actions' });
    this.bar = el('div', { class: 'big-bar' });
    this.counts = el('p', { class: 'facts' });
    put(place, this.title, this.line, this.why, this.paused, this.actions, this.bar, this.counts);
    /** What is shown of it: there from the first `show` on. @type {Api.RunSummary} */
    this.run = /** @type {any} */ (null);
  }

  /** @param {Api.RunPage} answer @param {Pace} pace @param {any} then */
  show(answer, pace, then) {
    const { run } = answer;
    this.run = run;
    this.at = performance.now();
    put(this.title, link(`/history${query({ scenario: run.scenario })}`, visibleLine(run.scenario)), ' ', el('small', { class: 'mono' }, run.run));
    put(this.line, status(run.status), run.paused ? el('span', { class: 'pill open' }, 'paused') : null, verdict(run.verdict),
      el('span', null, 'began ', since(run.started_at)),
      run.completed_at ? el('span', { title: clock(run.completed_at) }, 'ended ', since(run.completed_at)) : null,
      el('span', null, run.status === 'running' ? 'for ' : 'took ', this.took = el('span', null, duration(run.elapsed_ms))),
      run.sessions > 1 ? el('span', null, plural(run.sessions, 'session')) : null,
      run.pinned ? el('span', { title: run.pinned.reason ?? '' }, '📌 pinned') : null);
    const why = reason(run.reason, run.signal);
    const session = answer.manifest.sessions.at(-1);
    const said = session?.error ? `: ${visibleLine(session.error)}` : '';
    const by = answer.manifest.transitions.at(-1)?.by;
    put(this.why, why ? [el('strong', null, `Why: ${why}${said}. `), by?.text ? `“${visibleLine(by.text)}” ` : '', by?.user ? `Asked for by ${visibleLine(by.user)}. ` : '', hint(run.reason)] : null);
    this.why.hidden = !why;
    this.why.className = `why note-${run.status}`;
    this.paused.hidden = !run.paused;
    if (run.paused) put(this.paused, el('strong', null, 'Paused '), since(run.paused.at), run.paused.by ? ` by ${visibleLine(run.paused.by.user ?? String(run.paused.by.uid))}` : '', run.paused.by?.text ? `: “${visibleLine(run.paused.by.text)}”` : '', '. Nothing begins, and no time of it passes.');
    // Buttons are made anew only where others are possible, so that the focus stays.
    const made = buttons(run.run, answer.actions, then);
    const look = (/** @type {Iterable<any>} */ all) => [...all].map((one) => `${one.textContent}${one.disabled}`).join('|');
    if (look(made) !== look(this.actions.children)) {
      const had = this.actions.contains(document.activeElement);
      put(this.actions, made);
      if (had) (this.actions.querySelector('button:not(:disabled)'))?.focus();
    }
    this.actions.hidden = !made.length;
    this.#counts(run.counts, pace);
  }

  /** @param {any} progress @param {Pace} pace @returns {boolean} whether the run is known to have ended */
  progress(progress, pace) {
    this.run = { ...this.run, counts: { ...progress.counts, planned: progress.planned } };
    this.#counts(this.run.counts, pace);
    return this.run.status !== 'running';
  }

  /** @param {Api.ManifestCounts} counts @param {Pace} pace */
  #counts(counts, pace) {
    const finished = done(counts);
    const isRunning = this.run.status === 'running';
    if (isRunning) pace.note(finished);
    put(this.bar, stackedBar(counts));
    const words = TALLIES.filter((word) => counts[word] > 0);
    const path = ofRun(this.run.run);
    this.rate = el('span', { class: 'quiet' }, isRunning && !this.run.paused ? pace.words(counts.planned) : '');
    put(this.counts,
      el('span', { class: 'done' }, el('strong', null, count(finished)), ` of ${plural(counts.planned, 'trial')}`),
      words.map((word) => el('a', { class: 'tally', href: `${path}${query({ filter: word === 'flaky' ? 'flaky()' : `outcome(${word})` })}` },
        word === 'flaky' ? el('span', { class: 'open', 'aria-hidden': 'true' }, '~ ') : el('i', { class: `dot fill-${word}`, 'aria-hidden': 'true' }), `${count(counts[word])} ${word}`)),
      counts.planned > finished ? el('span', { class: 'quiet' }, `${count(counts.planned - finished)} ${isRunning ? 'to go' : 'not run'}`) : null,
      this.rate);
  }

  /** @param {Pace} pace */
  tick(pace) {
    if (this.run?.status !== 'running' || this.run.paused) return;
    if (this.took) say(this.took, duration(this.run.elapsed_ms + performance.now() - (this.at ?? 0)));
    if (this.rate) say(this.rate, pace.words(this.run.counts.planned));
  }
}
