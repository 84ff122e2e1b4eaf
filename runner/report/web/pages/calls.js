// @ts-check
// The calls in the journal of an attempt, in pages. One at a time opens in place.

import { get, query, request } from '../base/api.js';
import { problem } from '../base/problem.js';
import { button, el, loading, paced } from '../base/ui.js';
import { count, duration, plural, size } from '../base/words.js';

/** Bytes of an open call. */
const MAX_BYTES = 64 * 1024;

/** Returns functions that read and show the calls of an attempt, by default of the shown one. @param {string} path of the trial @param {() => void} redraw */
export function callList(path, redraw, attempt = '') {
  /** The page, the number of calls before it, the open call, and the last error. @type {[any, number, any, any]} */
  let [page, offset, opened, error] = [null, 0, null, null];

  async function load(from = offset) {
    offset = from;
    try {
      const fresh = await get(`${path}/calls${query({ attempt, offset: from || null })}`);
      // Another page may have been opened meanwhile.
      if (from === offset) [page, error] = [fresh, null];
    } catch (caught) {
      error = caught;
    }
    redraw();
  }

  /** @param {string} address @param {boolean} isOpen */
  async function toggle(address, isOpen) {
    if (isOpen === (opened?.address === address)) return;
    /** @type {any} */
    const mine = isOpen ? { address } : null;
    opened = mine;
    redraw();
    if (!mine) return;
    try {
      const answer = await request(address, { headers: { range: `bytes=0-${MAX_BYTES - 1}` } });
      mine.text = await answer.text();
      mine.left = Number(answer.headers.get('content-range')?.split('/')[1]) - MAX_BYTES;
    } catch (caught) {
      mine.error = caught;
    }
    redraw();
  }

  /** @param {any} call */
  function entry(call) {
    const address = `${path}/attempts/${page.attempt}/calls/${call.number}`;
    const open = opened?.address === address ? opened : null;
    const { failure, message, tokens } = call;
    const facts = [duration(call.took_ms), `${size(call.request_bytes)} sent`, `${size(call.response_bytes)} received`, tokens && plural(tokens, 'token'), call.redacted && 'a secret was replaced'];
    const download = el('a', { href: `/api/v1${address}`, download: `call-${call.number}.txt`, 'aria-label': `Download call ${call.number}` }, 'Download');
    return el('li', { key: call.number }, download, el('details', { open: Boolean(open), ontoggle: (/** @type {any} */ event) => void toggle(address, event.target.open) },
      el('summary', null, `${call.number} ${call.method} ${call.url} `, el('b', null, failure ? `${failure}: ${message}` : String(call.status)), el('span', { class: 'quiet' }, ` ${facts.filter(Boolean).join(', ')}`),
        !open && [['→', call.request], ['←', call.response]].map(([mark, text]) => text && el('code', { class: 'quiet' }, `${mark} ${text}`))),
      open && [open.text ? el('pre', { tabindex: 0, 'aria-label': `Call ${call.number}` }, open.text) : open.error ? problem(open.error) : loading(), open.left > 0 && el('p', { class: 'quiet' }, `${size(open.left)} more: download the call`)]));
  }

  function content() {
    if (!page?.total) return error && problem(error);
    const { calls, total } = page;
    const turn = (/** @type {string} */ words, /** @type {number} */ from, /** @type {boolean} */ isThere) => isThere && button(words, () => void load(from));
    return [el('h2', null, 'Calls', el('small', null, count(total))), error && problem(error), page.problem && el('p', { class: 'note' }, `The attempt cannot continue: ${page.problem}`),
      el('ul', { class: 'groups files' }, calls.map(entry)),
      total > calls.length && el('p', { class: 'buttons' }, turn('Earlier calls', Math.max(0, offset - 100), offset > 0), turn('Later calls', offset + calls.length, offset + calls.length < total))];
  }

  return { refresh: paced(1000, load), content };
}
