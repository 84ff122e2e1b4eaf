// @ts-check
// The attempts of a run over its time. A lane has one attempt at a time, so a run has as many lanes as attempts that ran at once.

import { get, query, runPath, trialPath } from '../base/api.js';
import { problem } from '../base/problem.js';
import { go } from '../base/router.js';
import { button, el, folded, link, loading, paced, render, table } from '../base/ui.js';
import { count, duration, outcome, plural } from '../base/words.js';

/** Heights of a lane and of the axis, in pixels. */
const [LANE, MIN_LANE, AXIS] = [14, 3, 22];
/** Height of all lanes if they are many. */
const MOST = 560;
/** Rows of the table of values. */
const MAX_ROWS = 200;

/** @param {import('./run.js').RunView} view @param {URL} address @returns {import('./run.js').Part} */
export function timeline(view, address) {
  const read = (/** @type {URL} */ from) => ({ from: from.searchParams.get('from'), to: from.searchParams.get('to') });
  let keys = read(address);
  /** @type {any} */
  let [shown, error, turn] = [null, null, 0];
  /** The pixel where the pointer was pressed, and where it is. @type {[number, number] | null} */
  let drag = null;
  /** @type {HTMLCanvasElement | undefined} */
  let canvas;
  /** @type {HTMLElement | undefined} */
  let tip;

  const load = async () => {
    const mine = ++turn;
    try {
      const answer = await get(`${runPath(view.run)}/timeline${query(keys)}`);
      if (mine === turn) [shown, error] = [answer, null];
    } catch (caught) {
      if (mine === turn) error = caught;
    }
    view.redraw();
  };
  const to = (/** @type {number | null} */ from, /** @type {number | null} */ until) =>
    go(`${runPath(view.run)}${query({ view: 'timeline', from: from === null ? null : Math.round(from), to: until === null ? null : Math.round(until) })}`, true);
  const zoom = (/** @type {number} */ factor, /** @type {number} */ at) => {
    const [from, until] = [at - (at - shown.from_ms) * factor, at + (shown.to_ms - at) * factor];
    to(Math.max(0, from), Math.min(shown.end_ms, Math.max(until, from + 1)));
  };
  const middle = () => (shown.from_ms + shown.to_ms) / 2;

  const height = () => Math.max(MIN_LANE, Math.min(LANE, MOST / Math.max(1, shown.lanes.length)));
  const timeAt = (/** @type {number} */ x) => shown.from_ms + (x / /** @type {HTMLCanvasElement} */ (canvas).clientWidth) * (shown.to_ms - shown.from_ms);

  function paint() {
    if (!canvas?.isConnected || !shown) return;
    const { clientWidth: width } = canvas;
    const tall = Math.ceil(shown.lanes.length * height() + AXIS);
    const scale = devicePixelRatio || 1;
    [canvas.width, canvas.height] = [width * scale, tall * scale];
    canvas.style.height = `${tall}px`;
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
    context.scale(scale, scale);
    const style = getComputedStyle(canvas);
    const colour = (/** @type {string} */ name) => style.getPropertyValue(`--${name}`);
    // Custom properties keep `light-dark()`, which a canvas does not know.
    const probe = document.createElement('i');
    canvas.after(probe);
    const colours = Object.fromEntries(['passed', 'failed', 'error', 'timeout', 'quiet', 'flaky', 'line', 'soft', 'none'].map((name) => {
      probe.style.color = colour(name);
      return [name, getComputedStyle(probe).color];
    }));
    probe.remove();
    const x = (/** @type {number} */ ms) => ((ms - shown.from_ms) / (shown.to_ms - shown.from_ms || 1)) * width;
    const lanes = tall - AXIS;
    context.fillStyle = colours.soft;
    context.fillRect(0, 0, width, lanes);
    context.fillStyle = colours.none;
    for (const [from, until] of shown.pauses) context.fillRect(x(from), 0, Math.max(1, x(until) - x(from)), lanes);
    for (const span of shown.spans) {
      const [left, top, size] = [x(span.from_ms), span.lane * height(), height() - (height() > 5 ? 2 : 0.5)];
      context.fillStyle = colours[span.wait ? 'flaky' : { skipped: 'quiet', ungraded: 'quiet' }[/** @type {string} */ (span.outcome)] ?? span.outcome];
      context.globalAlpha = span.wait ? 0.45 : 1;
      // A line between two attempts, so that they stay apart.
      context.fillRect(left, top + (span.wait ? size / 3 : 0), Math.max(1, x(span.to_ms) - left - 0.5), span.wait ? size / 3 : size);
    }
    context.globalAlpha = 1;
    context.fillStyle = colours.quiet;
    context.font = style.font;
    for (let at = 0; at <= 4; at += 1) {
      const text = duration(shown.from_ms + (at / 4) * (shown.to_ms - shown.from_ms)) || '0 ms';
      const wide = context.measureText(text).width;
      context.fillText(text, Math.min(Math.max(0, (at / 4) * width - wide / 2), width - wide), tall - 6);
    }
    if (drag) {
      context.globalAlpha = 0.25;
      context.fillRect(Math.min(...drag), 0, Math.abs(drag[1] - drag[0]), lanes);
      context.globalAlpha = 1;
    }
  }

  /** The attempt at a place. @param {{offsetX: number, offsetY: number}} event */
  function at({ offsetX, offsetY }) {
    const [lane, ms] = [Math.floor(offsetY / height()), timeAt(offsetX)];
    const slack = timeAt(2) - timeAt(0);
    const found = shown.spans.filter((/** @type {any} */ span) => span.lane === lane && span.from_ms - slack <= ms && ms <= span.to_ms + slack);
    return found.find((/** @type {any} */ span) => span.from_ms <= ms && ms <= span.to_ms) ?? found[0];
  }

  /** @param {any} span */
  const words = (span) => [
    span.wait ? `waits after ${span.wait}` : outcome(span.outcome, span.trial ? span.outcome : `${span.outcome} is the worst`),
    ` ${duration(span.to_ms - span.from_ms)} from ${duration(span.from_ms) || '0 ms'}`,
    span.trial ? ` ${span.trial}, attempt ${span.attempt}` : ` ${plural(span.attempts, 'attempt')}`];

  /** @param {PointerEvent} event */
  function move(event) {
    if (drag) {
      drag = [drag[0], event.offsetX];
      return paint();
    }
    const span = at(event);
    if (!tip) return;
    tip.hidden = !span;
    if (!span) return;
    const { worker } = shown.lanes[span.lane];
    render(tip, el('span', null, words(span)), worker && el('span', { class: 'quiet' }, `on ${worker}`));
    tip.style.setProperty('--at', `${event.offsetX}px`);
    tip.classList.toggle('left', event.offsetX > /** @type {HTMLCanvasElement} */ (canvas).clientWidth / 2);
  }

  /** @param {PointerEvent} event */
  function release(event) {
    const [from, until] = [...drag ?? [0, 0]].sort((left, right) => left - right);
    drag = null;
    if (until - from > 4) return to(timeAt(from), timeAt(until));
    const span = at(event);
    if (span?.trial) go(`${trialPath(view.run, span.trial)}${query({ attempt: span.attempt })}`);
    else if (span) to(span.from_ms, span.to_ms);
  }

  function values() {
    const row = (/** @type {any} */ span) => el('tr', null,
      el('td', null, span.trial ? link(trialPath(view.run, span.trial), span.trial) : plural(span.attempts, 'attempt')),
      el('td', null, span.wait ? `waits after ${span.wait}` : outcome(span.outcome)), el('td', { class: 'n' }, duration(span.from_ms) || '0 ms'), el('td', { class: 'n' }, duration(span.to_ms - span.from_ms)),
      el('td', null, shown.lanes[span.lane].worker ?? ''));
    return table('Attempts over time', ['Attempt', 'Outcome', 'Start', 'Duration', 'Worker'], shown.spans.slice(0, MAX_ROWS).map(row), 'values');
  }

  function content() {
    if (!shown) return error ? problem(error) : loading();
    const isWhole = shown.from_ms === 0 && shown.to_ms >= shown.end_ms;
    setTimeout(paint);
    const lanes = shown.lanes.filter((/** @type {any} */ lane) => !lane.is_waiting).length;
    return [error && problem(error),
      el('div', { class: 'filters' }, el('p', { class: 'quiet' }, `${plural(lanes, 'attempt')} at once, ${duration(shown.from_ms) || '0 ms'} to ${duration(shown.to_ms)}`),
        button('+', () => zoom(0.5, middle()), { 'aria-label': 'Zoom in' }), button('−', () => zoom(2, middle()), { 'aria-label': 'Zoom out', disabled: isWhole }),
        button('Whole run', () => to(null, null), { disabled: isWhole }),
        el('a', { class: 'chip', href: `/api/v1${runPath(view.run)}/report?form=trace`, download: `${view.document.run.short}.trace` }, 'Trace for Perfetto')),
      el('figure', { class: 'timeline', 'aria-label': 'Attempts over time' },
        el('canvas', { ref: (/** @type {HTMLCanvasElement} */ node) => { canvas = node; }, role: 'img', 'aria-label': `${count(shown.spans.length)} attempts or groups of attempts over time`,
          onpointerdown: (/** @type {PointerEvent} */ event) => { drag = [event.offsetX, event.offsetX]; /** @type {any} */ (event.target).setPointerCapture(event.pointerId); },
          onpointermove: move, onpointerup: release, onpointerleave: () => { if (tip) tip.hidden = true; } }),
        el('div', { class: 'tip', hidden: true, ref: (/** @type {HTMLElement} */ node) => { tip = node; } })),
      el('p', { class: 'counts' }, ['passed', 'failed', 'error', 'timeout', 'skipped'].map((word) => outcome(word)), outcome('flaky', 'wait before a retry'), el('span', { class: 'quiet' }, '■ pause')),
      el('p', { class: 'quiet' }, 'Drag to zoom. A click opens the trial.', shown.spans.some((/** @type {any} */ span) => span.attempts > 1) && ' Attempts closer than a pixel are one mark in the colour of the worst.'),
      folded('Values', values)];
  }

  const resized = () => paint();
  addEventListener('resize', resized);
  const dark = matchMedia('(prefers-color-scheme: dark)');
  dark.addEventListener('change', resized);
  const first = load();
  return {
    content,
    first,
    ready: first,
    live: paced(3000, load),
    update(next) {
      const fresh = read(next);
      if (fresh.from === keys.from && fresh.to === keys.to) return;
      keys = fresh;
      void load();
    },
    close() {
      removeEventListener('resize', resized);
      dark.removeEventListener('change', resized);
    },
  };
}
