// @ts-check
// The overview of a run: changes since the previous run, failures, attempts in flight, charts, and all trials.

import { get, query, runPath } from '../base/api.js';
import { histogram, outcomes } from '../base/chart.js';
import { problem } from '../base/problem.js';
import { el, paced } from '../base/ui.js';
import { countsOf, duration, number, parts, plural, speed, time } from '../base/words.js';
import { MAX_ENDED, activity, ended, workers } from './activity.js';
import { failed, known, previous } from './failures.js';
import { denials, groups, results } from './tables.js';
import { sessions } from './timeline.js';
import { trials } from './trials.js';

/** @param {import('./run.js').RunView} view @param {URL} address @param {any} kept @returns {import('./run.js').Part} */
export function overview(view, address, kept) {
  /** @type {any} */
  let [failures, summary, times, live, error, isGraded] = [null, null, null, view.document.live, null, null];
  const list = trials(view, address, kept);
  const load = async () => {
    try {
      const isRunning = view.document.run.status === 'running';
      // A range with about twice as many attempts as are listed.
      const from = times && view.progress?.rate && Math.max(0, Math.floor(times.end_ms - (2000 * MAX_ENDED) / view.progress.rate));
      [failures, summary, times] = await Promise.all([get(`${runPath(view.run)}/failures`), get(`${runPath(view.run)}/summary`), isRunning ? get(`${runPath(view.run)}/timeline${query({ from })}`) : null]);
      error = null;
      view.reading = isRunning ? failures.counts : null;
    } catch (caught) {
      error = /** @type {any} */ (caught).status === 0 ? null : caught;
    }
    view.redraw();
  };
  const read = paced(1000, load);
  const first = load();
  return {
    ...list,
    first: Promise.all([first, list.first]),
    ready: Promise.all([first, list.ready]).then(() => new Promise((resolve) => setTimeout(resolve, 50))),
    content: () => {
      const { document, run, redraw } = view;
      const isRunning = document.run.status === 'running';
      // People look for the best provider of a graded run, and for the failures of any other one. At the end of a run, nothing moves.
      isGraded ??= document.providers && !isRunning && summary && isScored(document, summary);
      const table = el('section', { key: 'providers' }, results(document, redraw));
      return [error && problem(error), previous(view), denials(document), isGraded && table,
        isRunning && el('div', null, el('div', { class: 'now' }, activity(run, live), el('section', null, el('h2', null, COURSE, el('small', null, !document.run.paused && speed(view.progress?.rate))), course(summary, document.manifest), ended(run, times))), workers(document, live)),
        el('div', { key: 'failures' }, failed(run, failures, countsOf(view)), known(document.run, failures)), el('div', { key: 'trials' }, list.content()), !isGraded && table, groups(document), charts(summary, failures?.kinds ?? [], isRunning ? null : document.manifest), !isRunning && workers(document, null)];
    },
    live(event) {
      if (event.name === 'progress') live = event.data.live ?? live;
      read();
      list.live?.(event);
    },
    close() {
      view.reading = null;
      list.close?.();
    },
  };
}

/** Whether graders judge the trials, or most trials have a score. @param {any} document @param {any} summary */
const isScored = ({ graders = [] }, { scores = [], durations }, sum = (/** @type {any[]} */ all) => all.flatMap(({ counts }) => counts).reduce((one, other) => one + other, 0)) => graders.length > 0 || 2 * sum(scores) > sum(durations);

/** Providers with a histogram. */
const MAX_HISTOGRAMS = 6;

const COURSE = 'Outcomes over time';

/** @param {any} bin */
const counted = (bin) => parts(bin).map(([, phrase]) => phrase).join(', ');

/** The time between two sessions is a single empty column. @param {any} summary @param {any} manifest */
function course(summary, manifest) {
  if (!(summary?.bins.length > 1)) return null;
  const { bins, step_ms: step } = summary;
  const all = sessions(manifest);
  const isUsed = (/** @type {number} */ at) => counted(bins[at]) || all.some(([, from, until]) => from < (at + 1) * step && at * step <= (until ?? Infinity));
  const shown = [...bins.keys()].filter((at) => isUsed(at) || isUsed(at - 1));
  return outcomes(COURSE, shown.map((at) => bins[at]), (index) => `after ${duration(shown[index] * step)}: ${counted(bins[shown[index]])}`, [time(summary.start, 'clock'), `after ${duration(bins.length * step)}`]);
}

/** The least score that passes, if failures have a single one. @param {any[]} kinds @param {string} grader */
function least(kinds, grader) {
  const all = kinds.map(({ kind }) => kind.split(`grader ${grader} below `)).filter(([start, end]) => !start && end);
  return all.length === 1 ? Number(all[0][1]) : NaN;
}

/** @param {any} summary @param {any[]} kinds kinds of failures @param {any} manifest `null` while the course has another place */
function charts(summary, kinds, manifest) {
  if (!summary?.durations.length) return null;
  const { durations, edges_ms: edges, bins, scores = [], score_edges: bounds = [], score_sample: sample } = summary;
  const range = (/** @type {number} */ at) => `${duration(edges[at])} to ${duration(edges[at + 1])}`;
  const ends = [duration(edges[0]), duration(edges.at(-1))];
  const tile = (/** @type {string} */ name, /** @type {string} */ kind, /** @type {number[]} */ counts, /** @type {(at: number) => string} */ words, /** @type {string[]} */ ends, bound = NaN) =>
    el('div', { key: name }, el('h3', null, name), histogram(`${kind} of ${name}`, counts, (at) => `${words(at)}: ${plural(counts[at], 'trial')}`, ends,
      bound >= bounds[0] && bound <= bounds.at(-1) ? [(bound - bounds[0]) / (bounds.at(-1) - bounds[0]), `at least ${number(bound)}`] : undefined));
  const histograms = durations.slice(0, MAX_HISTOGRAMS).map((/** @type {any} */ { provider, counts }) => tile(provider, 'Durations', counts, range, ends));
  const graders = new Set(scores.map((/** @type {any} */ one) => one.grader));
  const pictures = scores.slice(0, MAX_HISTOGRAMS).map((/** @type {any} */ { provider, grader, counts }) => tile(graders.size > 1 ? `${provider} ${grader ? `by ${grader}` : 'itself'}` : provider,
    'Scores', counts, (at) => `${number(bounds[at])} to ${number(bounds[at + 1])}`, [number(bounds[0]), number(bounds.at(-1))], least(kinds, grader)));
  const how = `trials by score${graders.size > 1 ? ' of each grader' : scores[0]?.grader ? ` of grader ${scores[0].grader}` : ''}${sample ? `, of a sample of ${plural(sample, 'trial')}` : ''}`;
  const others = (/** @type {any[]} */ list) => list.length > MAX_HISTOGRAMS && el('p', { class: 'quiet' }, `${list.length - MAX_HISTOGRAMS} more are not drawn.`);
  return el('section', null, pictures.length > 0 && [el('h2', null, 'Scores', el('small', null, how)), el('div', { class: 'tiles' }, pictures), others(scores)],
    el('h2', null, 'Durations', el('small', null, 'trials by duration, on a logarithmic scale')), el('div', { class: 'tiles' }, histograms,
      manifest && bins.length > 1 && el('div', { key: COURSE }, el('h3', null, COURSE), course(summary, manifest))), others(durations));
}
