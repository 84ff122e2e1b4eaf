// @ts-check
// The changes in the workspace of an attempt. One at a time opens in place, as a diff.

import { get, query, request } from '../base/api.js';
import { problem } from '../base/problem.js';
import { report } from '../base/report.js';
import { el, loading } from '../base/ui.js';
import { count, plural, size } from '../base/words.js';

/** Bytes and lines of an open diff that are shown. */
const MAX_BYTES = 64 * 1024;
const MAX_LINES = 1000;

/** The numbers of changes. @param {any} found */
const numbers = (found) => [...['added', 'changed', 'removed'].filter((key) => found[key]).map((key) => `${count(found[key])} ${key}`), found.partial && 'partial'].filter(Boolean).join(', ') || 'none';

/** A diff, with elements for the lines that only one side has. @param {string} text @param {string} path */
function diff(text, path) {
  const lines = text.replace(/\n$/, '').split('\n');
  const start = lines.findIndex((line) => line.startsWith('@@'));
  const shown = lines.slice(0, MAX_LINES).map((line, at) => {
    const name = start >= 0 && at > start ? { '+': 'ins', '-': 'del' }[line[0]] : undefined;
    return name ? el(name, null, `${line}\n`) : `${line}\n`;
  });
  return [el('pre', { tabindex: 0, 'aria-label': `Changes of ${path}` }, shown), lines.length > shown.length && el('p', { class: 'quiet' }, `${plural(lines.length - shown.length, 'more line')}: download the diff`)];
}

/** Returns a function that shows the changes of an attempt. @param {string} path of the trial @param {() => void} redraw @param {any} row */
export function changeList(path, redraw, { attempt, workspace }) {
  /** The list, the open change, and the last error. @type {[any, any, any]} */
  let [page, opened, error] = [null, null, null];
  const isListed = !report && workspace.changes;
  if (isListed) {
    get(`${path}/changes${query({ attempt })}`).then((found) => { page = found; }, (caught) => { error = caught; }).finally(redraw);
  }

  /** @param {string} address @param {boolean} isOpen */
  async function toggle(address, isOpen) {
    if (isOpen === (opened?.address === address)) return;
    opened = isOpen ? { address } : null;
    redraw();
    const mine = opened;
    if (!mine) return;
    try {
      const answer = await request(address, { headers: { range: `bytes=0-${MAX_BYTES - 1}` } });
      [mine.text, mine.left] = [await answer.text(), Number(answer.headers.get('content-range')?.split('/')[1]) - MAX_BYTES];
    } catch (caught) {
      // The diff of a folder is empty, which has no range.
      [mine.text, mine.error] = /** @type {any} */ (caught).status === 416 ? ['', null] : [null, caught];
    }
    redraw();
  }

  /** @param {any} one @param {number} at */
  function entry(one, at) {
    const [address, state] = [`${path}/attempts/${attempt}/changes/${at}`, one.after ?? one.before];
    const about = el('span', { class: 'quiet' }, ` ${one.change}${one.kind === 'file' ? '' : ` ${one.kind}`}${state?.bytes === undefined ? '' : `, ${size(state.bytes)}`}${state?.target === undefined ? '' : ` → ${state.target}`}`);
    if (one.kind === 'folder' && one.before?.kind !== 'file') return el('li', { key: one.path }, one.path, about);
    const open = opened?.address === address ? opened : null;
    const download = el('a', { href: `/api/v1${address}`, download: `${at}.diff`, 'aria-label': `Download the diff of ${one.path}` }, 'Download');
    return el('li', { key: one.path }, download, el('details', { open: Boolean(open), ontoggle: (/** @type {any} */ event) => void toggle(address, event.target.open) }, el('summary', null, one.path, about),
      open && [open.text ? diff(open.text, one.path) : open.error ? problem(open.error) : open.text === '' ? el('p', { class: 'quiet' }, 'No lines differ.') : loading(), open.left > 0 && el('p', { class: 'quiet' }, `${size(open.left)} more: download the diff`)]));
  }

  return () => [el('h2', null, 'Changes', el('small', null, numbers(workspace))), error && problem(error), isListed && !page && !error && loading(),
    page && el('ul', { class: 'groups files' }, page.changes.map(entry)), page?.total > page?.changes.length && el('p', { class: 'quiet' }, `and ${plural(page.total - page.changes.length, 'more change')}: `, el('code', null, `runner show ${page.run} '${page.trial}' --diff`))];
}
