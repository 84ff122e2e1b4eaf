// @ts-check
// runner.log: its end at first, more as it grows, and all of it if somebody asks.

import { fileOf, ofRun } from './api.js';
import { Lines, linesOfRunner } from './lines.js';
import { problem } from './problem.js';
import { atMostEvery, button, el, put } from './ui.js';
import { size } from './words.js';

/** How much of a long log is read at first. */
const SHOWN = 512 * 1024;

/** @param {HTMLElement} place @param {string} run @param {() => boolean} isLive */
export function showLog(place, run, isLive) {
  const lines = new Lines('runner.log', 'runner-log');
  const told = el('p', { class: 'quiet' });
  const path = `${ofRun(run)}/log`;
  const download = el('a', { href: `/api/v1${path}`, download: true }, 'Download all of it');
  let text = '';
  let from = 0;
  let at = -1;
  let isClosed = false;
  let decoder = new TextDecoder();
  const all = button('', () => { at = 0; from = 0; text = ''; decoder = new TextDecoder(); void read(); }, 'small');

  const draw = () => {
    if (!text) return put(told, 'Nothing was written down of this run', isLive() ? ' yet.' : '.');
    lines.set(linesOfRunner(text), { isLive: isLive() || from > 0, isNumbered: from === 0 });
    put(told, from > 0 ? ['This is its end. ', all, ' '] : null, download);
    if (from > 0) all.textContent = `Read it from its beginning (${size(from)} more)`;
  };
  const read = async () => {
    if (isClosed) return;
    try {
      // With the last byte that is known, so that there is something: an answer that it has not grown is an error to browsers.
      const known = at > 0 ? 1 : 0;
      const answer = await fileOf(path, { headers: { range: at < 0 ? `bytes=-${SHOWN}` : `bytes=${at - known}-` } });
      const bytes = new Uint8Array(answer.bytes).subarray(known);
      if (isClosed || (!bytes.length && text)) return;
      const begin = Number(answer.headers.get('content-range')?.match(/bytes (\d+)-/)?.[1] ?? 0) + known;
      let piece = decoder.decode(bytes, { stream: true });
      if (at < 0 && begin > 0) {
        // The first of what is the end of a long log is half a line.
        const cut = piece.indexOf('\n') + 1;
        from = begin + cut;
        piece = piece.slice(cut);
      }
      at = begin + bytes.length;
      text += piece;
      draw();
    } catch (error) {
      const { status } = /** @type {any} */ (error);
      // There is nothing behind what was read, or nothing at all.
      if (status === 416) { at = Math.max(at, 0); if (!text) draw(); return; }
      if (status === 404) return put(told, 'This run has no log.');
      put(told, problem(error));
    }
  };
  const again = atMostEvery(1000, read);
  const timer = setInterval(() => { if (isLive()) again(); }, 2000);
  put(place, lines.element, told);
  lines.element.querySelector('.log').hidden = true;
  void read();
  return { news: again, close() { isClosed = true; clearInterval(timer); again.stop(); } };
}
