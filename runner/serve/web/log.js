// @ts-check
// runner.log from its beginning, and its end as it grows.

import { ofRun, raw } from './api.js';
import { problem } from './problem.js';
import { coloured } from './text.js';
import { atMostEvery, el, put } from './ui.js';

/** How much of a long log is shown: its end. */
const SHOWN = 512 * 1024;

/** @param {HTMLElement} place @param {string} run @param {() => boolean} isLive */
export function showLog(place, run, isLive) {
  const pre = el('pre', { class: 'log', tabindex: 0, role: 'log', 'aria-label': 'runner.log', 'aria-live': 'off' });
  const told = el('p', { class: 'quiet' });
  const path = `${ofRun(run)}/log`;
  let at = -1;
  let isClosed = false;
  const decoder = new TextDecoder();
  const read = async () => {
    if (isClosed) return;
    const range = at < 0 ? `bytes=-${SHOWN}` : `bytes=${at}-`;
    try {
      const answer = await raw(path, { headers: { range } });
      const bytes = new Uint8Array(await answer.arrayBuffer());
      if (isClosed) return;
      const [, from] = answer.headers.get('content-range')?.match(/bytes (\d+)-/) ?? ['', '0'];
      const isFirst = at < 0;
      at = Number(from) + bytes.length;
      let text = decoder.decode(bytes, { stream: true });
      // The first of what is the end of a long log is half a line.
      if (isFirst && Number(from) > 0) text = text.slice(text.indexOf('\n') + 1);
      const isAtEnd = isFirst || pre.scrollTop + pre.clientHeight > pre.scrollHeight - 30;
      pre.append(...coloured(text));
      if (isAtEnd) pre.scrollTop = pre.scrollHeight;
      put(told, Number(from) > 0 && isFirst ? 'This is its end. ' : '', el('a', { href: `/api/v1${path}`, download: true }, 'Download all of it'));
      if (!pre.textContent) put(told, 'Nothing was written down of this run.');
    } catch (error) {
      const { status } = /** @type {any} */ (error);
      // There is nothing behind what was read, or nothing at all.
      if (status === 416) { at = Math.max(at, 0); if (!pre.textContent) put(told, 'Nothing was written down of this run yet.'); return; }
      if (status === 404) return put(told, 'This run has no log.');
      put(told, problem(error));
    }
  };
  const again = atMostEvery(1000, read);
  const timer = setInterval(() => { if (isLive()) again(); }, 2000);
  put(place, pre, told);
  void read();
  return { news: again, close() { isClosed = true; clearInterval(timer); again.stop(); } };
}
