// @ts-check
// Logs: of all attempts of a run, of one attempt, and `runner.log`. New lines appear while the run writes.

import { Problem, get, query, request, runPath, trialPath } from '../base/api.js';
import { problem } from '../base/problem.js';
import { report } from '../base/report.js';
import { button, edgeOf, el, hold, link, loading, paced, render } from '../base/ui.js';
import { count, countsOf, digest, done, needed, parts, plural } from '../base/words.js';

/** Bytes of a request. */
const CHUNK = 512 * 1024;
/** Lines that are shown at a time, and that are added by scrolling. */
const SHOWN = 400;
/** Lines that need no button to go to the end. */
const FEW = 20;
const STEP = 150;
/** Lines that are kept: those at the end. */
const MAX_LINES = 100_000;
/** Bytes of rows whose logs are read at first: a run of 10^6 trials has a hundred times as many. */
const LAST = 2 << 20;
/** Attempts whose last output is shown. */
const MAX_RUNNING = 20;
/** Time, and level or stream, at the start of a line. */
const START = /^(?:[\dT:.Z-]{8,} +)?(?:(?:error|warn|info|debug|trace|stdout|stderr)\b *)?/i;
/** Levels and streams that a button selects. */
const BAD = ['error', 'warn', 'stderr'];

/** `head` is the address and the name of the attempt. @typedef {{text: string, level?: string, head?: [string, string], n: number}} Line */
/** The next lines, and whether there may be more now. @typedef {{lines: Omit<Line, 'n'>[], more: boolean}} Piece */

/** @param {import('./run.js').RunView} view @param {URL} address @returns {import('./run.js').Part} */
export function log(view, address) {
  const isLive = () => view.document.run.status === 'running';
  const base = runPath(view.run);
  let isRunner = address.searchParams.has('runner');
  /** @param {boolean} isFromStart */
  const all = (isFromStart) => viewer(attempts(view.run, isFromStart), view.redraw, isLive);
  const open = () => (isRunner ? tail(`${base}/log`, view.redraw, isLive) : all(false));
  let part = open();
  /** `runner.log`, which is shown while attempts have no output. @type {ReturnType<typeof viewer> | undefined} */
  let own;
  const isEmpty = () => !isRunner && part.isEmpty();
  const chip = (/** @type {string} */ words, /** @type {boolean} */ is) =>
    el('a', { href: `${base}${query({ view: 'log', runner: is ? '1' : '' })}`, class: 'chip', 'aria-current': is === (isRunner || isEmpty()) ? 'page' : null }, words);
  return {
    content: () => [el('nav', { class: 'chips filters', 'aria-label': 'Logs' }, (!isEmpty() || part.isCut()) && chip('Attempts', false), chip('runner.log', true)), (isLive() || isEmpty()) && course(view),
      el('div', { key: String(isRunner) }, isEmpty()
        ? [el('p', { class: 'quiet' }, `${part.isCut() ? 'The newest attempts have' : 'Attempts have'} no output${isLive() ? ' so far' : ''}. This is runner.log:`), (own ??= tail(`${base}/log`, view.redraw, isLive)).content()] : part.content(),
        !isRunner && part.isCut() && el('p', { class: 'quiet' }, 'Only the newest attempts are read. ',
          button('Show all', () => { part = all(true); view.redraw(); })),
        !isRunner && isLive() && running(view))],
    first: part.first,
    live: (event) => [part, own].forEach((one) => one?.live?.(event)),
    update(next) {
      if (isRunner === next.searchParams.has('runner')) return;
      isRunner = !isRunner;
      part = open();
    },
  };
}

/** The number of trials that ended, and the failures so far, which `runner.log` has only at its end. @param {import('./run.js').RunView} view */
const course = (view, counts = countsOf(view), bad = parts(counts).filter(([key]) => /failed|error|timeout|unexpected|passes/.test(key))) => el('p', { class: 'counts' }, el('span', { class: 'quiet' }, `${count(done(counts))} of ${plural(needed(counts), 'trial')} ended`),
  bad.map(([key, phrase]) => el('a', { key, class: key, href: runPath(view.run) }, phrase)));

/** The last lines of the running attempts. @param {import('./run.js').RunView} view */
function running({ run, document, progress }) {
  const { in_flight: all = [] } = (progress ?? document).live ?? {};
  const list = all.filter((/** @type {any} */ one) => one.output?.text);
  return list.length > 0 && [el('h2', null, 'Running', el('small', null, plural(list.length, 'attempt'))),
    list.slice(0, MAX_RUNNING).map((/** @type {any} */ one) => el('section', { key: `${one.trial} ${one.grader}` },
      el('h3', null, link(trialPath(run, one.trial), name(one))), el('pre', { tabindex: 0, 'aria-label': `Last output of ${one.trial}` }, one.output.text.trimEnd())))];
}

/** An attempt, as `runner logs` prints it. @param {any} one */
const name = ({ trial, grader, attempt }) => `${trial}${grader ? ` ${grader}` : ''}${attempt > 1 ? ` (attempt ${attempt})` : ''}`;

/** The logs of attempts that have ended, in their order. @param {string} run @param {boolean} isFromStart */
function attempts(run, isFromStart) {
  /** Logs of graders, which later rows repeat. */
  const known = new Set();
  let from = isFromStart ? 0 : null;
  /** @param {any} entry */
  const isNew = (entry) => {
    const key = entry.grader && JSON.stringify([name(entry), entry.text]);
    return !key || (!known.has(key) && known.add(key));
  };
  const lines = (/** @type {any} */ entry) => {
    const fields = (entry.fields ?? []).map((/** @type {string[]} */ [key, value]) => ` ${key}=${value}`).join('');
    const head = /** @type {[string, string]} */ ([trialPath(run, entry.trial), name(entry)]);
    const level = entry.level ?? entry.stream;
    // Most lines are of the standard output. Only the first one of an entry has its time and level.
    const start = `${entry.at ? `${entry.at.slice(11, 23)} ` : ''}${level === 'stdout' ? '' : `${level.padEnd(6)} `}`;
    return `${entry.text.trimEnd()}${fields}`.split('\n').map((text, at) => ({ head, level, text: (at ? ' '.repeat(start.length) : start) + text }));
  };
  return async () => {
    const isFirst = from === null;
    const answer = await get(`${runPath(run)}/logs${query({ from, last: isFirst ? LAST : null })}`);
    from = answer.next;
    return { lines: answer.entries.filter(isNew).flatMap(lines), more: answer.next > answer.from, isCut: isFirst && answer.from > 0 };
  };
}

/** A log file that may grow. @param {string} path @param {() => void} redraw @param {() => boolean} isLive */
export function tail(path, redraw, isLive) {
  let [bytes, rest, stream] = [0, '', ''];
  const decoder = new TextDecoder();

  /** Reads a piece. */
  async function piece() {
    // Starts at the last known byte: browsers log an error for an empty range.
    const from = Math.max(0, bytes - 1);
    const answer = await request(path, { headers: { range: `bytes=${from}-${from + CHUNK - 1}` } }).catch((caught) => {
      // The file was truncated.
      if (caught instanceof Problem && caught.status === 416) return null;
      throw caught;
    });
    if (!answer) return { lines: [], more: false };
    const data = await answer.arrayBuffer();
    // A server that sends the whole file has sent the first bytes again.
    const added = data.slice(bytes - (answer.status === 206 ? from : 0));
    bytes += added.byteLength;
    const parts = (rest + decoder.decode(added, { stream: true })).split('\n');
    rest = parts.pop() ?? '';
    const lines = parts.map((text) => {
      // The log of an attempt ends with its streams.
      stream = /^── standard (\w+) ──$/.exec(text)?.[1].replace('error', 'stderr') ?? stream;
      return { text, level: stream || /^\S+ +(error|warn)\b/i.exec(text)?.[1].toLowerCase() };
    });
    return { lines, more: data.byteLength === CHUNK };
  }
  return viewer(piece, redraw, isLive, path);
}

/**
 * Lines that are read in pieces. Those around the visible ones have elements.
 * @param {() => Promise<Piece & {isCut?: boolean}>} piece @param {() => void} redraw @param {() => boolean} isLive @param {string} [path] of the file
 * @returns {import('./run.js').Part & {isCut: () => boolean, isEmpty: () => boolean}}
 */
function viewer(piece, redraw, isLive, path) {
  const place = Object.assign(document.createElement('div'), { className: 'log', tabIndex: 0, ariaLabel: 'Log' });
  /** @type {Line[]} */
  let lines = [];
  /** Lines with the searched text, and the place of the first one with an element. */
  let [found, start] = [lines, 0];
  let [total, isBad, hasBad, isEnd, isCut, error] = [0, false, false, false, false, /** @type {any} */ (null)];
  // The searched text, which is in the address, and the number of the line that Enter has marked.
  const asked = () => Object.fromEntries(new URLSearchParams(location.search));
  let [search, hit] = [asked().search ?? '', 0];

  const matches = (/** @type {Line} */ { text, head, level }) => (!isBad || BAD.includes(level ?? '')) && `${head?.[1] ?? ''} ${text}`.toLowerCase().includes(search.toLowerCase());
  /** Attempts of which only the head is shown, and the numbers of lines of all. @type {[Set<string>, Map<string, number>]} */
  const [folded, sizes] = [new Set(), new Map()];
  const isHead = (/** @type {number} */ at, /** @type {Line[]} */ all) => all[at].head && (at === 0 || all[at].head?.[1] !== all[at - 1].head?.[1]);
  const isFolded = (/** @type {Line} */ { head }) => folded.has(head?.[1] ?? '');
  const filtered = (all = search || isBad ? lines.filter(matches) : lines) => (folded.size ? all.filter((line, at) => !isFolded(line) || isHead(at, all)) : all);
  const fold = (/** @type {string[]} */ names, /** @type {boolean} */ is) => { names.forEach((name) => folded[is ? 'add' : 'delete'](name)); filter(); };
  /** A line with the searched text marked. @param {string} text */
  function content(text) {
    const [start] = /** @type {string[]} */ (START.exec(text));
    const rest = text.slice(start.length);
    // Every second part is the searched text, or else a digest.
    const [parts, part] = search ? [rest.split(new RegExp(`(${search.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')})`, 'i')), (/** @type {string} */ one) => el('mark', null, one)] : [rest.split(/\b([0-9a-f]{64})\b/), digest];
    return [el('span', { class: 'quiet', title: start }, start.replace(/^[\d-]{10}T([\d:.]+)Z/, '$1')), rest ? parts.map((one, at) => (at % 2 ? part(one) : one)) : ' '];
  }
  const clamp = (/** @type {number} */ at) => Math.max(0, Math.min(at, found.length - SHOWN));

  function draw() {
    render(place, found.slice(start, start + SHOWN).flatMap((one, at) => {
      const { text, level, head, n } = one;
      const number = el('a', { href: `#log-${n}`, tabindex: -1, 'aria-hidden': 'true', 'data-n': n });
      const line = el('div', { key: n, class: `line ${level ?? ''} ${n === hit ? 'hit' : ''}`, id: `log-${n}` }, number, el('span', null, content(text)));
      if (!head || at > 0 && !isHead(start + at, found)) return [line];
      const isClosed = isFolded(one);
      const toggle = button(isClosed ? '▸' : '▾', () => fold([head[1]], !isClosed), { class: 'fold', 'aria-expanded': String(!isClosed), 'aria-label': `Lines of ${head[1]}` });
      const top = el('div', { key: `head ${n}`, class: 'head' }, toggle, link(head[0], head[1]), isClosed && !search && !isBad && el('small', { class: 'quiet' }, plural(sizes.get(head[1]) ?? 0, 'line')));
      return isClosed ? [top] : [top, line];
    }));
  }

  /** Shows the lines from this place on. Lines that stay do not move. @param {number} at */
  function move(at) {
    if (clamp(at) === start) return;
    start = clamp(at);
    hold(place, draw);
  }

  /** Marks the next line with the searched text, or the one before. @param {number} by */
  function step(by) {
    const at = (found.findIndex(({ n }) => n === hit) + by + found.length) % found.length;
    hit = found[at].n;
    move(at - STEP);
    draw();
    place.querySelector('.hit')?.scrollIntoView({ block: 'nearest' });
  }

  function showEnd() {
    start = clamp(found.length);
    draw();
    place.scrollTop = place.scrollHeight;
  }

  place.onscroll = () => move(start + STEP * edgeOf(place));

  /** @param {Omit<Line, 'n'>[]} added */
  function append(added) {
    const isFollowed = isEnd && start + SHOWN >= found.length && place.scrollTop + place.clientHeight >= place.scrollHeight - 4;
    for (const line of added) lines.push({ ...line, n: ++total });
    for (const { head } of added) if (head) sizes.set(head[1], (sizes.get(head[1]) ?? 0) + 1);
    const left = lines.length - MAX_LINES;
    if (left > 0) [lines, start] = [lines.slice(left), Math.max(0, start - left)];
    found = filtered();
    hasBad ||= added.some(({ level }) => BAD.includes(level ?? ''));
    if (isFollowed) showEnd();
    else draw();
  }

  const read = paced(500, async () => {
    try {
      for (let more = true; more;) {
        const next = await piece();
        ({ more } = next);
        isCut ||= Boolean(next.isCut);
        if (next.lines.length) append(next.lines);
        redraw();
      }
      // An address with `#log-120` marks this line, once the list is in the page.
      const marked = Number(/^#log-(\d+)$/.exec(location.hash)?.[1]);
      if (!isEnd && marked) {
        move(marked - STEP);
        setTimeout(() => location.replace(location.hash), 100);
      }
      [isEnd, error] = [true, null];
    } catch (caught) {
      error = /** @type {Problem} */ (caught).status === 0 ? null : caught;
    }
    redraw();
  });
  const type = (/** @type {any} */ { target }) => {
    [search, hit] = [target.value, 0];
    if (!report) history.replaceState(history.state, '', location.pathname + query({ ...asked(), search }) + location.hash);
    folded.clear();
    filter();
  };
  const filter = () => {
    [found, start] = [filtered(), 0];
    draw();
    redraw();
  };
  return {
    content: () => {
      // A reader is told of each new line of a live log.
      place.role = isLive() ? 'log' : 'region';
      return [error && problem(error),
        el('div', { class: 'filters', hidden: isEnd && lines.length < 2 },
          el('input', { type: 'search', placeholder: 'Show only lines with…', 'aria-label': 'Search the log', title: 'Enter marks the next line, Shift+Enter the one before', value: search,
            onkeydown: (/** @type {KeyboardEvent} */ event) => event.key === 'Enter' && search && found.length && step(event.shiftKey ? -1 : 1), oninput: type }),
          hasBad && button('Warnings and errors', () => { isBad = !isBad; filter(); }, { class: 'chip', 'aria-pressed': String(isBad) }),
          el('span', { class: 'quiet' }, (search || isBad) && `${count(found.length)} of `, plural(lines.length, 'line'), total > lines.length && `, the last of ${count(total)}`),
          button('Wrap', () => { place.classList.toggle('long'); redraw(); }, { class: 'chip', 'aria-pressed': String(!place.classList.contains('long')) }),
          sizes.size > 1 && button(folded.size ? 'Unfold all' : 'Fold all', () => fold([...sizes.keys()], !folded.size)),
          found.length > FEW && button('Go to the end', showEnd),
          path && !report && el('a', { href: `/api/v1${path}`, download: '' }, 'Download')),
        isEnd && !lines.length ? el('p', { class: 'empty' }, 'The log is empty.') : null, !lines.length && !isEnd && !error && loading(), el('div', { hidden: !lines.length }, place), found.length > SHOWN && el('p', { class: 'printed quiet' }, `${plural(found.length - SHOWN, 'more line')}, not printed`)];
    },
    first: read(),
    live: read,
    isCut: () => isCut,
    isEmpty: () => isEnd && !lines.length,
  };
}
