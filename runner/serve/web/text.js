// @ts-check
// What guests have written, as text in which everything can be seen and nothing steers.

import { el } from './ui.js';
import { visible, visibleLine } from './visible.js';

export { visible, visibleLine };

/** The classes of colours that a guest may ask for. @type {Record<string, string>} */
const COLOURS = { 1: 'b', 2: 'quiet', 31: 'bad', 91: 'bad', 32: 'good', 92: 'good', 33: 'open', 93: 'open', 34: 'live', 94: 'live', 35: 'dropped', 95: 'dropped', 36: 'live', 96: 'live', 90: 'quiet' };

/** A text of a terminal: its colours as ours, and every other sequence made visible. @param {string} text */
export function coloured(text) {
  const parts = [];
  let kind = '';
  let from = 0;
  for (const found of text.matchAll(/\u001b\[([0-9;]{0,20})m/g)) {
    parts.push(part(text.slice(from, found.index), kind));
    const last = found[1].split(';').filter((code) => code in COLOURS).at(-1);
    kind = last ? COLOURS[last] : '';
    from = found.index + found[0].length;
  }
  parts.push(part(text.slice(from), kind));
  return parts;
}

/** @param {string} text @param {string} kind */
const part = (text, kind) => (kind ? el('span', { class: kind }, visible(text)) : visible(text));

/** How much of a text is shown before somebody asks for all of it. */
const SHOWN = 64 * 1024;

/** A block of text, of which a long one has only its beginning until it is asked for. @param {string} text @param {{colours?: boolean, label?: string}} [how] */
export function block(text, how = {}) {
  const shown = (/** @type {string} */ piece) => (how.colours ? coloured(piece) : [visible(piece)]);
  const pre = el('pre', { tabindex: 0, 'aria-label': how.label, role: how.label ? 'group' : null }, shown(text.slice(0, SHOWN)));
  if (text.length <= SHOWN) return pre;
  const more = el('button', {
    type: 'button',
    class: 'small',
    onclick: () => { pre.replaceChildren(...shown(text)); more.remove(); },
  }, `Show all ${text.length.toLocaleString('en')} characters`);
  return el('div', null, pre, more);
}

/** A value as people read it: a text as itself, anything else as JSON. @param {unknown} value */
export const written = (value) => (typeof value === 'string' ? value : JSON.stringify(value, null, 2) ?? 'null');
