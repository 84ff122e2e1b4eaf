// @ts-check
// `runner.log` of a run, from its start. New lines appear while the run writes.

import { Problem, request, runPath } from '../base/api.js';
import { problem } from '../base/problem.js';
import { report } from '../base/report.js';
import { button, el, loading, paced, render } from '../base/ui.js';
import { plural } from '../base/words.js';

/** Bytes of a request. */
const CHUNK = 512 * 1024;

/** @param {import('./run.js').RunView} view @returns {import('./run.js').Part} */
export function log(view) {
  return tail(`${runPath(view.run)}/log`, view.redraw);
}

/** A log file that may grow. @param {string} path @param {() => void} redraw @returns {import('./run.js').Part} */
export function tail(path, redraw) {
  const place = document.createElement('div');
  place.className = 'log';
  place.tabIndex = 0;
  place.setAttribute('role', 'log');
  place.setAttribute('aria-label', 'Log');
  let [bytes, rest, lines, isEnd, search] = [0, '', 0, false, ''];
  /** @type {any} */
  let error = null;
  const decoder = new TextDecoder();

  /** Reads a piece. Returns whether more may follow. */
  async function piece() {
    // Starts at the last known byte: browsers log an error for an empty range.
    const from = Math.max(0, bytes - 1);
    const answer = await request(path, { headers: { range: `bytes=${from}-${from + CHUNK - 1}` } }).catch((caught) => {
      // The file is empty or was truncated.
      if (caught instanceof Problem && caught.status === 416) return null;
      throw caught;
    });
    if (!answer) return false;
    const data = await answer.arrayBuffer();
    // A server that sends the whole file has sent the first bytes again.
    const added = data.slice(bytes - (answer.status === 206 ? from : 0));
    bytes += added.byteLength;
    const parts = (rest + decoder.decode(added, { stream: true })).split('\n');
    rest = parts.pop() ?? '';
    append(parts);
    return data.byteLength === CHUNK;
  }

  /** @param {string[]} texts */
  function append(texts) {
    if (!texts.length) return;
    const isFollowed = place.scrollTop + place.clientHeight >= place.scrollHeight - 4;
    // Blocks that are not visible need no layout.
    const block = document.createElement('div');
    block.className = 'block';
    render(block, texts.map((text) => {
      lines += 1;
      const level = /^\S+ +(error|warn)\b/i.exec(text)?.[1].toLowerCase();
      const number = el('a', { href: `#log-${lines}`, tabindex: -1, 'aria-hidden': 'true', 'data-n': lines });
      return el('div', { class: `line ${level ?? ''}`, id: `log-${lines}` }, number, text || ' ');
    }));
    place.append(block);
    if (search) mark(block);
    if (isFollowed && isEnd) place.scrollTop = place.scrollHeight;
  }

  /** Hides lines without the searched text. @param {Element} block */
  function mark(block) {
    for (const line of /** @type {Iterable<HTMLElement>} */ (/** @type {unknown} */ (block.children))) {
      line.hidden = !line.textContent?.toLowerCase().includes(search);
    }
  }

  const read = paced(500, async () => {
    try {
      while (await piece());
      // An address with `#log-120` marks this line, once the list is in the page.
      if (!isEnd && location.hash) setTimeout(() => location.replace(location.hash), 100);
      [isEnd, error] = [true, null];
    } catch (caught) {
      error = /** @type {Problem} */ (caught).status === 0 ? null : caught;
    }
    redraw();
  });
  read();
  const type = (/** @type {any} */ event) => {
    search = event.target.value.toLowerCase();
    for (const block of place.children) mark(block);
  };
  return {
    content: () => [error && problem(error),
      el('div', { class: 'filters' },
        el('input', { type: 'search', placeholder: 'Show only lines with…', 'aria-label': 'Search the log', oninput: type }),
        el('span', { class: 'quiet' }, plural(lines, 'line')),
        button('Go to the end', () => { place.scrollTop = place.scrollHeight; }),
        !report && el('a', { href: `/api/v1${path}`, download: '' }, 'Download')),
      isEnd && !lines ? el('p', { class: 'empty' }, 'The log is empty.') : null, !lines && !isEnd && !error && loading(), place],
    live: read,
  };
}
