// @ts-check
// The calls in the journal of an attempt, in pages. One at a time opens in place.

import { get, query, readStart } from '../base/api.js';
import { problem } from '../base/problem.js';
import { button, el, loading, paced } from '../base/ui.js';
import { count, duration, plural, size } from '../base/words.js';

/** Returns functions that read and show the calls of an attempt, by default of the shown one. @param {string} path of the trial @param {() => void} redraw */
export function callList(path, redraw, attempt = '') {
  /** The page, the number of calls before it, the open call, and the last error. @type {[any, number, any, any]} */
  let [page, offset, opened, error] = [null, 0, null, null];

  async function load(from = offset) {
    offset = from;
    try {
      const fresh = await get(`${path}/calls${query({ attempt, offset: from || null })}`);
      // A click may have asked for another page since then.
      if (from === offset) [page, error] = [fresh, null];
    } catch (caught) {
      error = caught;
    }
    redraw();
  }

  /** @param {string} address @param {boolean} isOpen */
  async function toggle(address, isOpen) {
    if (isOpen === (opened?.address === address)) return;
    opened = isOpen ? { address } : null;
    redraw();
    const mine = opened;
    if (!mine) return;
    Object.assign(mine, await readStart(address).catch((caught) => ({ error: caught })));
    redraw();
  }

  /** @param {any} call */
  function entry(call, address = `${path}/attempts/${page.attempt}/calls/${encodeURIComponent(call.id)}`) {
    const open = opened?.address === address ? opened : null;
    const facts = [duration(call.took_ms), `${size(call.request_bytes)} sent`, `${size(call.response_bytes)} received`, call.tokens && plural(call.tokens, 'token'), call.redacted && 'a secret was replaced'];
    const download = el('a', { href: `/api/v1${address}`, download: `call-${call.id}.txt`, 'aria-label': `Download call ${call.id}` }, 'Download');
    return el('li', { key: call.id }, download, el('details', { open: Boolean(open), ontoggle: (/** @type {any} */ event) => void toggle(address, event.target.open) },
      el('summary', null, `${call.id} ${call.method} ${call.url} `, el('b', null, call.failure ? `${call.failure}: ${call.message}` : String(call.status)), el('span', { class: 'quiet' }, ` ${facts.filter(Boolean).join(', ')}`),
        !open && [['→', call.request], ['←', call.response]].map(([mark, text]) => text && el('code', { class: 'quiet' }, `${mark} ${text}`))),
      open && [open.text ? el('pre', { tabindex: 0, 'aria-label': `Call ${call.id}` }, open.text) : open.error ? problem(open.error) : loading(), open.left > 0 && el('p', { class: 'quiet' }, `${size(open.left)} more: download the call`)]));
  }

  function content() {
    if (!page?.total) return error && problem(error);
    const [{ calls, total }, end] = [page, offset + page.calls.length];
    return [el('h2', null, 'Calls', el('small', null, count(total))), error && problem(error), page.problem && el('p', { class: 'note' }, `The journal cannot be used, because ${page.problem}`),
      el('ul', { class: 'groups files' }, calls.map((/** @type {any} */ call) => entry(call))),
      total > calls.length && el('p', { class: 'buttons' }, offset > 0 && button('Earlier calls', () => void load(Math.max(0, offset - 100))), end < total && button('Later calls', () => void load(end)))];
  }

  return { refresh: paced(1000, () => load()), content };
}
