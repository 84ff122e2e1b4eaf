// @ts-check
// The attempts of a run over its time. A lane has one attempt at a time, so a run has as many lanes as attempts that ran at once.

import { get, now, query, runPath, trialPath } from '../base/api.js';
import { problem } from '../base/problem.js';
import { go } from '../base/router.js';
import { button, el, folded, link, loading, paced, render, table } from '../base/ui.js';
import { OUTCOMES, beside, count, duration, outcome, parts, plural, result } from '../base/words.js';
import { QUICK } from './trials.js';

/** Heights of a lane, of one of a few lanes, of the words above lanes and of the axis, in pixels. */
const [LANE, TALL, MIN_LANE, HEAD, AXIS] = [22, 32, 3, 20, 22];
/** The most tall lanes, whose attempts have their durations. */
const FEW = 12;
/** Colours of providers, as those of the classes `tone-0` to `tone-5`. */
const TONES = ['link', 'series-1', 'series-2', 'series-3', 'series-4', 'series-5'];
/** Whether attempts have the colours of their providers. */
let isByProvider = false;
/** Height of all lanes if they are many. */
const MOST = 560;
/** Width of a mark that may have a name, for a part of a name, of a mark of the axis, and of the names of lanes, in pixels. */
const [NAMED, SHORT, TICK, NAMES] = [24, 44, 90, 52];
/** Rows of the table of values, and sessions with a button. */
const [MAX_ROWS, MAX_SESSIONS] = [200, 8];
/** Milliseconds between two marks of the axis. */
const STEPS = [...[1, 10, 100, 1000].flatMap((power) => [power, 2 * power, 5 * power]), 1e4, 2e4, 3e4, ...[1, 2, 5, 10, 20, 30, 60, 120, 360, 720, 1440].map((minutes) => 6e4 * minutes)];

/** The counts of a mark. @param {any} span */
const countsOf = ({ counts, outcome: one, known, attempts }) => counts ?? { passed: 0, failed: 0, error: 0, timeout: 0, [one]: attempts, known: Number(known === 'known'), unexpected_passes: Number(known === 'unexpected-pass') };

/** The numbers of attempts of a mark by outcome. @param {any} span @returns {[string, number][]} */
const mix = (span, shown = beside(countsOf(span))) => (span.counts ? OUTCOMES.map((word) => /** @type {[string, number]} */ ([word, shown[word]])).filter(([, number]) => number > 0) : [[result(span), span.attempts]]);

/** Names of a trial, the longest first: with its provider and repeat, and the test with its last folder. @param {string} trial @param {boolean} hasRepeats whether `#1` is of use */
const names = (trial, hasRepeats, whole = hasRepeats ? trial : trial.replace(/#1$/, ''), test = trial.slice(0, trial.lastIndexOf('@'))) => [whole, test, test.split('/').slice(-2).join('/')];

/** The sessions that ran attempts: their numbers, and their ranges in milliseconds from the start of the run. @param {any} manifest @returns {[number, number, number | null][]} */
export const sessions = ({ sessions: all }) => all.filter((/** @type {any} */ one) => !one.rescores).map((/** @type {any} */ { number, ...one }) =>
  [number, ...[one.started_at, one.ended_at].map((time) => time && Date.parse(time) - Date.parse(all[0].started_at))]);

/** The legend of a time without attempts. @param {string} colour @param {string} words */
const free = (colour, words) => el('span', { class: 'legend quiet' }, el('span', null, el('i', { class: 'swatch', style: { '--heat': `var(--${colour})` } }), words));

/** What a lane has. @param {any} lane */
const kind = ({ worker, is_waiting: isWaiting }) => (isWaiting ? 'Waits before a retry' : worker ? `On ${worker}` : 'Attempts');

/** @param {import('./run.js').RunView} view @param {URL} address @returns {import('./run.js').Part} */
export function timeline(view, address) {
  const read = (/** @type {URL} */ from) => Object.fromEntries(['from', 'to', 'filter', 'provider'].map((key) => [key, from.searchParams.get(key) ?? '']));
  let keys = read(address);
  // Attempts would be too narrow next to a long time between sessions.
  const last = sessions(view.document.manifest).at(-1);
  if (!keys.from && last && last[1] > 2 * view.document.run.worked_ms) [keys.from, keys.to] = [String(last[1]), String(last[2] ?? '')];
  /** @type {any} */
  let [times, shown, error, turn] = [null, null, null, 0];
  /** The pixel where the pointer was pressed, and where it is. @type {[number, number] | null} */
  let drag = null;
  const tip = Object.assign(document.createElement('div'), { className: 'tip', hidden: true });
  /** @type {HTMLCanvasElement | undefined} */
  let canvas;
  /** First lines of reasons by the address of an attempt, and the attempt at the pointer. @type {[Map<string, string>, string]} */
  let [reasons, pointed] = [new Map(), ''];

  const load = async () => {
    const mine = ++turn;
    try {
      const { from, to, filter, provider } = keys;
      const filters = [filter, provider && `provider("${provider.replace(/["\\]/g, '\\$&')}")`].filter(Boolean).join(' & ');
      const answer = await get(`${runPath(view.run)}/timeline${query({ from, to, filter: filters })}`);
      if (mine === turn) [times, error] = [answer, null];
    } catch (caught) {
      if (mine === turn) error = caught;
    }
    view.redraw();
  };
  const change = (/** @type {object} */ more) => go(`${runPath(view.run)}${query({ view: 'timeline', ...keys, ...more })}`, true);
  const to = (/** @type {number | null} */ from, /** @type {number | null} */ until) =>
    change({ from: from === null ? null : Math.round(from), to: until === null ? null : Math.round(until) });
  /** Shows a range of another length, moved by some of its lengths. @param {number} factor @param {number} [far] */
  const look = (factor, far = 0) => {
    const { from_ms: from, to_ms: until, end_ms: end } = shown;
    const size = Math.min(end, Math.max(1, (until - from) * factor));
    const start = Math.min(Math.max(0, (from + until - size) / 2 + far * size), end - size);
    to(start, start + size);
  };

  /** The attempts with those that run now, up to now, each in the first free lane of its worker. Outcomes select only attempts that have ended. */
  function live() {
    const { document: { run, manifest }, progress } = view;
    const { in_flight: all = [], at = '', paused = false } = (run.status === 'running' && !keys.filter && (progress ?? view.document).live) || {};
    const zero = Date.parse(manifest.sessions[0].started_at);
    const [lanes, spans, ends, end] = [times.lanes.map((/** @type {any} */ lane, /** @type {number} */ at) => ({ ...lane, slot: at - times.lanes.findIndex((/** @type {any} */ one) => kind(one) === kind(lane)) + 1 })), [...times.spans], /** @type {number[]} */ ([]), (paused ? Date.parse(at) : now()) - zero];
    const last = all.length ? { end_ms: Math.max(times.end_ms, end), to_ms: Math.min(Number(keys.to || end), end) } : {};
    for (const { lane, to_ms: to } of spans) ends[lane] = Math.max(ends[lane] ?? 0, to);
    // The times are rounded, so an attempt may start before the one before it ends.
    for (const { trial, grader, attempt, worker = null, ms } of [...all].sort((one, other) => other.ms - one.ms)) {
      const [from, isEnded] = [Date.parse(at) - ms - zero, !grader && times.spans.some((/** @type {any} */ one) => one.trial === trial && one.attempt === attempt && one.wait === null)];
      if (isEnded || from > (last.to_ms ?? 0) || (keys.provider && providerOf(trial) !== keys.provider)) continue;
      let lane = lanes.findIndex((/** @type {any} */ one, /** @type {number} */ at) => !one.is_waiting && one.worker === worker && !(ends[at] > from + 100));
      if (lane < 0) lane = lanes.push({ worker, is_waiting: false, slot: lanes.filter((/** @type {any} */ one) => !one.is_waiting && one.worker === worker).length + 1 }) - 1;
      ends[lane] = Infinity;
      spans.push({ lane, from_ms: from, to_ms: end, trial, grader, attempt, attempts: 1, outcome: 'running', wait: null, counts: null, is_running: true });
    }
    // Lanes without a mark in the range are left out, and those of a kind stay together.
    const kept = [...lanes.keys()].filter((at) => spans.some(({ lane }) => lane === at) || (!spans.length && !lanes[at].is_waiting)).sort((one, other) => kind(lanes[one]).localeCompare(kind(lanes[other])));
    return { ...times, ...last, lanes: kept.map((at) => lanes[at]), spans: spans.map((span) => ({ ...span, lane: kept.indexOf(span.lane) })) };
  }

  /** The height of lanes, the top of each, and the height of all. */
  function places() {
    const { lanes } = shown;
    const size = Math.max(MIN_LANE, Math.min(lanes.length > FEW ? LANE : TALL, MOST / Math.max(1, lanes.length)));
    const hasHeads = lanes.some((/** @type {any} */ lane) => kind(lane) !== kind(lanes[0]));
    let bottom = 0;
    const tops = lanes.map((/** @type {any} */ lane, /** @type {number} */ at) => {
      bottom += size + (hasHeads && (!at || kind(lane) !== kind(lanes[at - 1])) ? HEAD : 0);
      return bottom - size;
    });
    return { size, tops, bottom };
  }
  const providers = () => (view.document.providers ?? []).map((/** @type {any} */ one) => one.provider);
  const providerOf = (/** @type {string} */ trial) => trial.slice(trial.lastIndexOf('@') + 1, trial.lastIndexOf('#'));
  const toneOf = (/** @type {string} */ name) => TONES[providers().indexOf(name) % TONES.length];
  /** The session of the shown range. Its times are from the start of the session. */
  const session = () => sessions(view.document.manifest).findLast(([, from, until]) => from <= shown.from_ms && shown.to_ms <= (until ?? Infinity));
  const clock = (/** @type {number} */ ms, start = session()?.[1] ?? 0) => (ms > start ? duration(ms - start) : '0 s');
  const timeAt = (/** @type {number} */ x) => shown.from_ms + (Math.max(0, x - NAMES) / (/** @type {HTMLCanvasElement} */ (canvas).clientWidth - NAMES)) * (shown.to_ms - shown.from_ms);

  function paint() {
    if (!canvas?.isConnected || !shown) return;
    const width = canvas.clientWidth - NAMES;
    const { size: lane, tops, bottom } = places();
    const tall = Math.ceil(bottom + AXIS);
    const scale = devicePixelRatio || 1;
    [canvas.width, canvas.height] = [(width + NAMES) * scale, tall * scale];
    canvas.style.height = `${tall}px`;
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
    context.scale(scale, scale);
    // Custom properties keep `light-dark()`, which a canvas does not know.
    const probe = document.createElement('i');
    canvas.after(probe);
    const colours = Object.fromEntries([...OUTCOMES, 'passes', 'flaky', ...TONES, 'quiet', 'line', 'soft', 'none', 'page', 'text'].map((name) => {
      probe.style.color = `var(--${name})`;
      return [name, getComputedStyle(probe).color];
    }));
    probe.remove();
    const fill = (/** @type {string} */ colour, /** @type {number} */ left, /** @type {number} */ top, /** @type {number} */ wide, /** @type {number} */ high) => {
      context.fillStyle = colour;
      context.fillRect(left, top, wide, high);
    };
    context.font = getComputedStyle(canvas).font;
    context.fillStyle = colours.quiet;
    // Lanes have their numbers if these fit.
    if (lane >= 12) tops.forEach((/** @type {number} */ top, /** @type {number} */ at) => context.fillText(`${shown.lanes[at].is_waiting ? 'wait' : 'slot'} ${shown.lanes[at].slot}`, 0, top + (lane + 7) / 2));
    context.translate(NAMES, 0);
    context.clip(new Path2D(`M0 0h${width}v${tall}h${-width}z`));
    const range = shown.to_ms - shown.from_ms || 1;
    const x = (/** @type {number} */ ms) => Math.round(((ms - shown.from_ms) / range) * width);
    fill(colours.soft, 0, 0, width, bottom);
    for (const [from, until] of shown.pauses) fill(colours.none, x(from), 0, Math.max(1, x(until) - x(from)), bottom);
    context.fillStyle = colours.quiet;
    const step = STEPS.find((one) => range / one <= width / TICK) ?? range;
    const zero = session()?.[1] ?? 0;
    for (let at = zero + Math.ceil((shown.from_ms - zero) / step) * step; at <= shown.to_ms; at += step) {
      const wide = context.measureText(clock(at)).width;
      fill(colours.line, x(at), 0, 1, bottom);
      context.fillStyle = colours.quiet;
      context.fillText(clock(at), Math.min(Math.max(0, x(at) - wide / 2), width - wide), tall - 6);
    }
    tops.forEach((/** @type {number} */ top, /** @type {number} */ at) => top > (at && tops[at - 1] + lane) && context.fillText(kind(shown.lanes[at]), 4, top - 5));
    const hasRepeats = shown.spans.some((/** @type {any} */ { trial }) => trial && !trial.endsWith('#1'));
    const height = lane - (lane > 5 ? 2 : 0.5);
    for (const span of shown.spans) {
      const [left, right] = [Math.max(-9, x(span.from_ms)), Math.min(width + 9, x(span.to_ms))];
      // A line between two wide marks keeps them apart.
      const wide = Math.max(1, right - left - Number(right - left > 3));
      let top = tops[span.lane];
      // Attempts of a lane may overlap by a millisecond.
      if (wide > 3) fill(colours.soft, left - 1, top, 1, height);
      const end = top + height;
      if (span.wait) fill(colours.flaky, left, top + height / 3, wide, height / 3);
      else if (isByProvider) fill(colours[span.trial ? toneOf(providerOf(span.trial)) : 'quiet'], left, top, wide, height);
      else mix(span).forEach(([word, number], at, all) => {
        const size = at === all.length - 1 ? end - top : Math.max(1, (height * number) / span.attempts);
        fill(colours[word] ?? (span.is_running ? colours.link : colours.quiet), left, top, wide, size);
        top += size;
      });
      // A running attempt is an open bar.
      if (span.is_running) fill(colours.page, left + 1, end - height + 1, wide, height - 2);
      if (!span.trial || span.wait || wide < NAMED || lane < LANE) continue;
      context.fillStyle = span.is_running ? colours.text : colours.page;
      const start = Math.max(left, 0);
      const room = Math.min(left + wide, width) - start - 8;
      // Measuring takes long, and no letter has less than three pixels on average.
      const fits = (/** @type {string} */ text) => 3 * text.length < room && context.measureText(text).width <= room;
      const all = names(span.trial, hasRepeats), last = all[all.length - 1];
      // The end of a name is more distinct than its start.
      let name = all.find(fits) ?? (room > SHORT && `…${last.slice(1 - Math.floor((room * last.length) / context.measureText(last).width))}`);
      // Digits are wider than most letters.
      while (name && context.measureText(name).width > room) name = `…${name.slice(2)}`;
      const took = lane > LANE ? duration(span.to_ms - span.from_ms) : '';
      if (name) context.fillText(name, start + 4, end - (took ? 17 : 6));
      if (took && fits(took)) context.fillText(took, start + 4, end - (name ? 4 : 10));
    }
    if (drag) fill('#8886', Math.min(...drag) - NAMES, 0, Math.abs(drag[1] - drag[0]), bottom);
  }

  /** The attempt at a place. @param {{offsetX: number, offsetY: number}} event */
  function at({ offsetX, offsetY }) {
    const { size, tops } = places();
    const [lane, ms] = [tops.findIndex((/** @type {number} */ top) => top <= offsetY && offsetY < top + size), timeAt(offsetX)];
    const slack = timeAt(2) - timeAt(0);
    const found = shown.spans.filter((/** @type {any} */ span) => span.lane === lane && span.from_ms - slack <= ms && ms <= span.to_ms + slack);
    return found.find((/** @type {any} */ span) => span.from_ms <= ms && ms <= span.to_ms) ?? found[0];
  }

  /** The outcome of an attempt, or the numbers of outcomes. @param {any} span */
  const words = (span) => (span.wait ? `waits after ${span.wait}` : span.counts ? parts(span.counts).map(([word, text]) => [outcome(word, text), ' ']) : outcome(result(span)));

  /** @param {PointerEvent} event */
  function point(event) {
    if (drag) {
      [drag, tip.hidden] = [[drag[0], event.offsetX], true];
      return paint();
    }
    const span = at(event);
    tip.hidden = !span;
    if (!span) return;
    const { worker } = shown.lanes[span.lane];
    const path = !span.trial || span.wait || ['passed', 'running'].includes(span.outcome) ? '' : `${trialPath(view.run, span.trial)}${query({ attempt: span.attempt })}`;
    pointed = path;
    if (path && !reasons.has(path)) {
      setTimeout(async () => {
        if (path !== pointed || reasons.has(path)) return;
        reasons.set(path, '');
        reasons.set(path, (await get(path).catch(() => null))?.reasons[0]?.text.slice(0, 200));
        if (path === pointed && !tip.hidden) point(event);
      }, 100);
    }
    render(tip, el('strong', null, span.trial ? `${span.trial}, ${span.grader ? `grader ${span.grader}, ` : ''}attempt ${span.attempt}` : plural(span.attempts, span.wait ? 'wait' : 'attempt')), el('span', null, words(span)),
      el('span', { class: 'quiet' }, `${duration(span.to_ms - span.from_ms)} from ${clock(span.from_ms)}${worker ? ` on ${worker}` : ''}`), reasons.get(path) && el('span', null, reasons.get(path)));
    tip.style.setProperty('--up', `${places().tops[span.lane]}px`);
    tip.style.setProperty('--at', `${event.offsetX}px`);
    tip.classList.toggle('left', event.offsetX > /** @type {HTMLCanvasElement} */ (canvas).clientWidth / 2);
  }

  /** @param {PointerEvent} event */
  function release(event) {
    const [from, until] = [...drag ?? [0, 0]].sort((left, right) => left - right);
    drag = null;
    if (until - from > 4) return to(timeAt(from), timeAt(until));
    const span = at(event);
    if (span?.trial) go(`${trialPath(view.run, span.trial)}${query({ attempt: span.is_running ? null : span.attempt })}`);
    else if (span) to(span.from_ms, span.to_ms);
  }

  function values() {
    const row = (/** @type {any} */ span) => el('tr', null,
      el('td', null, span.trial ? link(trialPath(view.run, span.trial), span.trial) : plural(span.attempts, 'attempt')),
      el('td', null, words(span)), el('td', { class: 'n' }, clock(span.from_ms)), el('td', { class: 'n' }, duration(span.to_ms - span.from_ms)),
      el('td', null, shown.lanes[span.lane].worker ?? ''));
    return table('Attempts over time', ['Attempt', 'Outcome', 'Start', 'Duration', 'Worker'], shown.spans.slice(0, MAX_ROWS).map(row), 'values');
  }

  function content() {
    if (!times) return error ? problem(error) : loading();
    shown = live();
    const isWhole = shown.from_ms === 0 && shown.to_ms >= shown.end_ms;
    setTimeout(paint);
    const [list, current] = [sessions(view.document.manifest), session()];
    const lanes = shown.lanes.filter((/** @type {any} */ lane) => !lane.is_waiting).length;
    if (!lanes) return el('p', { class: 'empty' }, 'No attempt has started yet.');
    const sums = /** @type {Record<string, number>} */ ({});
    for (const [word, number] of shown.spans.flatMap((/** @type {any} */ span) => (span.wait ? [] : Object.entries(countsOf(span))))) sums[word] = (sums[word] ?? 0) + number;
    return [error && problem(error),
      el('div', { class: 'filters' },
        el('div', { class: 'chips', role: 'group', 'aria-label': 'Filters' }, QUICK.map(([words, filter]) => button(words, () => change({ filter }), { class: 'chip', 'aria-pressed': String(keys.filter === filter) }))),
        providers().length > 1 && [el('select', { 'aria-label': 'Provider', value: keys.provider, onchange: (/** @type {any} */ event) => change({ provider: event.target.value }) },
          el('option', { value: '' }, 'All providers'), providers().map((/** @type {string} */ name) => el('option', { value: name }, name))),
        el('select', { 'aria-label': 'Colours', value: isByProvider ? 'provider' : '', onchange: (/** @type {any} */ event) => { isByProvider = Boolean(event.target.value); view.redraw(); paint(); } },
          el('option', { value: '' }, 'Colour by outcome'), el('option', { value: 'provider' }, 'Colour by provider'))],
        !shown.spans.length && el('span', { class: 'quiet' }, 'No attempts match.')),
      el('div', { class: 'filters' }, el('span', { class: 'buttons' },
        button('+', () => look(0.5), { 'aria-label': 'Zoom in' }), button('−', () => look(2), { 'aria-label': 'Zoom out', disabled: isWhole }),
        button('←', () => look(1, -0.5), { 'aria-label': 'Earlier', disabled: shown.from_ms <= 0 }), button('→', () => look(1, 0.5), { 'aria-label': 'Later', disabled: shown.to_ms >= shown.end_ms }),
        button('Whole run', () => to(list.length > 1 ? 0 : null, null), { disabled: isWhole }),
        list.length > 1 && list.slice(-MAX_SESSIONS).map(([number, from, until]) => button(`Session ${number}`, () => to(from, until), { class: 'chip', 'aria-pressed': String(shown.from_ms === from && shown.to_ms === Math.min(until ?? Infinity, shown.end_ms)) })),
        el('a', { href: `/api/v1${runPath(view.run)}/report?form=trace`, download: `${view.document.run.short}.trace` }, 'Trace for Perfetto')),
      el('p', { class: 'quiet' }, `${clock(shown.from_ms)} to ${clock(shown.to_ms)}${list.length > 1 && current ? ` of session ${current[0]}` : ''}, up to ${plural(lanes, 'attempt')} at once`)),
      el('figure', { class: 'timeline', 'aria-label': 'Attempts over time' },
        el('canvas', { ref: (/** @type {HTMLCanvasElement} */ node) => { canvas = node; }, role: 'img', 'aria-label': `${count(shown.spans.length)} attempts or groups of attempts over time`,
          onpointerdown: (/** @type {PointerEvent} */ event) => { drag = [event.offsetX, event.offsetX]; /** @type {any} */ (event.target).setPointerCapture(event.pointerId); },
          onpointermove: point, onpointerup: release, onpointerleave: () => { tip.hidden = true; } }), tip),
      isByProvider && el('p', { class: 'legend' }, providers().map((/** @type {string} */ name) => el('span', { key: name, style: { color: `var(--${toneOf(name)})` } }, '■ ', el('span', null, name)))),
      el('p', { class: 'counts' }, parts(sums).map(([word, text]) => outcome(word, text)), sums.running > 0 && outcome('running', `${count(sums.running)} running`), shown.lanes.length > lanes && outcome('flaky', 'wait before a retry'), shown.pauses.some((/** @type {number[]} */ [from, until]) => from < shown.to_ms && shown.from_ms < until) && free('none', 'pause'), free('soft', 'no attempt in the slot')),
      el('p', { class: 'quiet hint' }, 'Drag to zoom. A click opens the trial.', shown.spans.some((/** @type {any} */ span) => span.counts) && ' Attempts closer than a pixel are one mark with a share for each outcome.'),
      folded('Values', values)];
  }

  const open = new AbortController();
  addEventListener('resize', paint, open);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', paint, open);
  const first = load();
  return {
    content,
    first,
    ready: first,
    live: paced(500, load),
    update(next) {
      const fresh = read(next);
      if (query(fresh) === query(keys)) return;
      keys = fresh;
      void load();
    },
    close: () => open.abort(),
  };
}
