// @ts-check
// Why a trial did not pass: the lines of its reason, and its output next to the expected one.

import { Diff } from '../base/diff.js';
import { contained, pretty } from '../base/json.js';
import { el } from '../base/ui.js';
import { number, outcome, plural, scoreAndLeast } from '../base/words.js';

/** Lines and characters of a text that is not folded. */
const [MAX_LINES, MAX_TEXT] = [20, 2000];

/** Outcomes of verdicts. @type {Record<string, string>} */
export const VERDICTS = { pass: 'passed', fail: 'failed', skip: 'skipped' };

/** The name of the file that has a large output. @param {string | null} json */
export const inFile = (json) => /^\{"\$artifact":"([^"\\]+)"\}$/.exec(json ?? '')?.[1];

/** A text with the first place of another one marked. @param {string} text @param {any} mark */
function marked(text, mark) {
  const at = typeof mark === 'string' ? text.indexOf(mark) : -1;
  return at < 0 ? text : [text.slice(0, at), el('mark', null, mark), text.slice(at + mark.length)];
}

/** An element, folded if its text is long. @param {any} shown @param {string} text */
export const long = (shown, text, lines = text.split('\n').length) => (lines > MAX_LINES || text.length > MAX_TEXT
  ? [shown, el('details', { class: 'unfold' }, el('summary', null, lines > MAX_LINES ? `All ${plural(lines, 'line')}` : `All ${plural(text.length, 'character')}`))] : shown);

/** A JSON value as text. @param {string} json @param {string} label @param {any} [mark] */
export const block = (json, label, mark) => (inFile(json) ? el('p', { class: 'quiet' }, 'In the file ', el('code', null, inFile(json)), ', because of its size.') : long(el('pre', { tabindex: 0, 'aria-label': label }, marked(pretty(json), mark)), pretty(json)));

/** Values next to each other, each with its label. @param {(string | null)[][]} list @param {boolean} [hasHeads] @param {any} [mark] a text to mark */
export const cards = (list, hasHeads = true, mark = undefined) => el('div', { class: 'cards' }, list.map(([label, json]) =>
  (json === null || json === undefined ? null : el('section', { key: label }, hasHeads && el('h3', null, label), block(json, /** @type {string} */ (label), mark)))));

/** The expected and the actual output of a trial, if they differ. `earlier` is the trial in the base of a comparison. @param {any} trial @param {any} [earlier] @returns {string[] | null} */
export function columns(trial, earlier) {
  const { output, planned, expected } = trial;
  const left = earlier ? earlier.output : trial.expected_output;
  // The reason has the lines around the difference.
  if (output === null || inFile(output) || inFile(left)) return null;
  const texts = left !== null ? [left, output] : !earlier && planned?.expect?.json !== undefined ? contained(expected, output, planned.expect.tolerance ?? 0) : null;
  return texts && texts[0] !== texts[1] ? texts.map(pretty) : null;
}

/** The row that is shown. @param {any} trial @returns {any} */
export const shownRow = (trial) => trial.rows.find((/** @type {any} */ row) => row.seq === trial.shown);

/** The lines of the reason. @param {any} trial @param {any} [earlier] */
export function lines(trial, earlier) {
  const row = shownRow(trial);
  // The columns show the values of the only check that failed.
  const isShown = !earlier && columns(trial) && !row?.grades?.some((/** @type {any} */ one) => one.error) && row?.checks?.filter((/** @type {any} */ one) => one.verdict === 'fail').length === 1;
  // The output is below.
  const isOutput = (/** @type {any} */ { tone, text }) => tone === 'actual' && text.replace(/^got +/, '') === trial.output;
  // The message has the paths of changes, which are marked among them.
  const isPaths = (/** @type {number} */ end) => /^workspace\.(un)?changed: /.test(trial.reasons.slice(0, end).findLast((/** @type {any} */ { tone }) => tone === 'reason')?.text);
  const shown = trial.reasons.filter((/** @type {any} */ line, /** @type {number} */ at) => line.tone === 'reason' || !(isOutput(line) || isShown || isPaths(at)));
  return shown.length > 0 && el('div', { class: 'reasons' }, shown.map((/** @type {any} */ line) => long(el('p', { class: `pre ${line.tone}` }, line.text), line.text)));
}

/** The input of a trial and its output, next to the expected one if that is known. @param {any} trial */
export const example = (trial, texts = columns(trial)) => [cards([['Input', trial.input], ['Output', texts ? null : trial.output]]), texts && new Diff().show(texts[0], texts[1], ['Expected', 'Actual'])];

/** Grades with their scores and explanations. The log of a program that prints only to standard error is its explanation. @param {any[]} list */
export const grades = (list) => list.length > 0 && el('ul', { class: 'groups' }, list.map(({ grader, verdict, error, score, min_score: least, explanation, log, partial }) => el('li', null,
  outcome(VERDICTS[verdict] ?? (error ? 'error' : 'ungraded'), grader), score === undefined ? null : ` · score ${least === undefined ? number(score) : `${scoreAndLeast(score, least).join(' (at least ')})`}`, partial && ' · partial: decides nothing',
  explanation && long(el('p', { class: 'pre prose' }, explanation), explanation), log && log !== explanation && long(el('pre', { tabindex: 0 }, log), log))));

/** The reason of a trial. Failed grades are in place of the lines about grades. @param {any} trial @param {any} [earlier] */
export function judged(trial, earlier, all = shownRow(trial)?.grades ?? []) {
  const isOfGrade = (/** @type {any} */ line) => all.some((/** @type {any} */ one) => !one.error && line.text.startsWith(`grader ${one.grader}: `));
  return [lines({ ...trial, reasons: trial.reasons.filter((/** @type {any} */ line) => !isOfGrade(line)) }, earlier), grades(all.filter((/** @type {any} */ one) => one.verdict === 'fail' && !one.partial))];
}

/** The reason of a trial, its input and output. @param {any} trial */
export const reason = (trial) => [judged(trial), example(trial)];
