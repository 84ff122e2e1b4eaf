// @ts-check
// The changes in the workspace of an attempt as diffs, which are open while they are few and short.

import { get, query, readStart } from '../base/api.js';
import { problem } from '../base/problem.js';
import { report } from '../base/report.js';
import { el, loading } from '../base/ui.js';
import { count, outcome, plural, size } from '../base/words.js';

/** Lines of an open diff that are shown. */
const MAX_LINES = 1000;
/** Diffs that are open at first, and their lines. */
const [MAX_OPEN, MAX_OPEN_LINES] = [10, 400];
/** Lines before the first hunk that only name the file. */
const HEAD = /^(diff --git|index|---|\+\+\+|(new|deleted) file mode) /;

/** The numbers of changes. @param {any} found */
const numbers = (found) => [...['added', 'changed', 'removed'].filter((key) => found[key]).map((key) => `${count(found[key])} ${key}`), found.partial && 'partial'].filter(Boolean).join(', ') || 'none';

/** The lines of a diff, numbered as in the file before or after, and the numbers of equal lines between them. @param {string} text */
function parsed(text) {
  const lines = /** @type {import('../base/ui.js').Description[]} */ ([]);
  const note = (/** @type {string} */ words) => lines.push(el('span', { class: 'fold' }, `${words}\n`));
  let [old, fresh, isHead] = [1, 1, true];
  for (const line of text.replace(/\n$/, '').split('\n')) {
    const [, start, empty] = /^@@ -\d+(?:,\d+)? \+(\d+)(,0)?/.exec(line) ?? [];
    if (start) {
      // The number of an empty range is that of the line before it.
      const skipped = Number(start) + (empty ? 1 : 0) - fresh;
      if (skipped > 0) note(plural(skipped, 'equal line'));
      [old, fresh, isHead] = [old + skipped, fresh + skipped, false];
    } else if (isHead || line[0] === '\\') {
      if (line && !HEAD.test(line)) note(line);
    } else {
      const name = line[0] === '+' ? 'ins' : line[0] === '-' ? 'del' : 'span';
      lines.push(el(name, { 'data-n': name === 'del' ? old : fresh }, `${line || ' '}\n`));
      [old, fresh] = [old + Number(name !== 'ins'), fresh + Number(name !== 'del')];
    }
  }
  return lines;
}

/** Returns a function that shows the changes of an attempt. @param {string} path of the trial @param {() => void} redraw @param {any} row */
export function changeList(path, redraw, { attempt, workspace, checks = [] }) {
  /** The list, and its error. @type {[any, any]} */
  let [page, error] = [null, null];
  /** The diffs that are open or have been read, by address. @type {Map<string, any>} */
  const diffs = new Map();
  const isListed = workspace.changes;
  /** Paths that failed checks name, those of folders with `/` at the end. */
  const refused = checks.flatMap((/** @type {any} */ one) => (one.verdict === 'fail' && /^workspace\.(un)?changed$/.test(one.kind) ? one.actual : []));
  const hasDiff = (/** @type {any} */ one) => one.kind !== 'folder' || one.before?.kind === 'file';
  const addressOf = (/** @type {number} */ at) => `${path}/attempts/${attempt}/changes/${at}`;
  if (isListed) void list();

  async function list() {
    page = await get(`${path}/changes${query({ attempt })}`).catch((caught) => { error = caught; });
    redraw();
    const short = page?.changes.flatMap((/** @type {any} */ one, /** @type {number} */ at) => (hasDiff(one) ? addressOf(at) : [])) ?? [];
    if (short.length > MAX_OPEN) return;
    let left = MAX_OPEN_LINES;
    for (const one of await Promise.all(short.map((/** @type {string} */ address) => read(address, false)))) {
      if (one.lines?.length <= left) [one.isOpen, left] = [true, left - one.lines.length];
    }
    redraw();
  }

  /** @param {string} address @param {boolean} isOpen */
  async function read(address, isOpen) {
    const mine = /** @type {any} */ ({ isOpen });
    diffs.set(address, mine);
    try {
      const { text, left } = await readStart(address);
      [mine.lines, mine.left] = [parsed(text), left];
    } catch (caught) {
      mine.error = caught;
    }
    redraw();
    return mine;
  }

  /** @param {string} address @param {boolean} isOpen */
  function toggle(address, isOpen, one = diffs.get(address)) {
    if (isOpen === Boolean(one?.isOpen)) return;
    if (one && !one.error) one.isOpen = isOpen;
    else void read(address, isOpen);
    redraw();
  }

  /** @param {any} open @param {string} name */
  const content = ({ lines, error: caught, left }, name) => [caught ? problem(caught) : !lines ? loading() : !lines.length ? el('p', { class: 'quiet' }, 'No lines differ.')
    : el('pre', { class: 'diff', tabindex: 0, 'aria-label': `Changes of ${name}` }, lines.slice(0, MAX_LINES)),
  lines?.length > MAX_LINES && el('p', { class: 'quiet' }, `${plural(lines.length - MAX_LINES, 'more line')}: download the diff`), left > 0 && el('p', { class: 'quiet' }, `${size(left)} more: download the diff`)];

  /** @param {any} one @param {number} at */
  function entry(one, at) {
    const [address, state] = [addressOf(at), one.after ?? one.before];
    const diff = diffs.get(address);
    const name = refused.some((/** @type {string} */ refusal) => [one.path, `${one.path}/`].includes(refusal)) ? outcome('failed', one.path) : one.path;
    const about = el('span', { class: 'quiet' }, ` ${one.change}${one.kind === 'file' ? '' : ` ${one.kind}`}${state?.bytes === undefined ? '' : `, ${size(state.bytes)}`}${state?.target === undefined ? '' : ` → ${state.target}`}`);
    if (!hasDiff(one)) return el('li', { key: one.path }, name, about);
    const download = !report && el('a', { href: `/api/v1${address}`, download: `${at}.diff`, 'aria-label': `Download the diff of ${one.path}` }, 'Download');
    const lines = (/** @type {string} */ kind) => (diff?.left > 0 ? 0 : diff?.lines?.filter((/** @type {any} */ line) => line.name === kind).length);
    const sizes = [['ins', '+', 'passed'], ['del', '−', 'failed']].map(([kind, sign, tone]) => lines(kind) > 0 && el('span', { class: tone }, ` ${sign}${count(lines(kind))}`));
    return el('li', { key: one.path }, download, el('details', { open: Boolean(diff?.isOpen), ontoggle: (/** @type {any} */ event) => toggle(address, event.target.open) }, el('summary', null, name, about, sizes), diff?.isOpen && content(diff, one.path)));
  }

  return () => [el('h2', null, 'Changes', el('small', null, numbers(workspace))), error && problem(error), isListed && !page && !error && loading(),
    page && el('ul', { class: 'groups files changes' }, page.changes.map(entry)), page?.total > page?.changes.length && el('p', { class: 'quiet' }, `and ${plural(page.total - page.changes.length, 'more change')}: `, el('code', null, `runner show ${page.run} '${page.trial}' --diff`))];
}
