// @ts-check
// Elements, and nothing but text in them: what a guest has written can never become markup.

/**
 * Makes an element.
 * @param {string} name
 * @param {Record<string, any>} [attributes]
 * @param {...(Node | string | number | null | undefined | false)} children
 */
export function h(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith('on')) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? '' : String(value));
  }
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
  return element;
}

/** @param {Element} place @param {...(Node | string)} children */
export function put(place, ...children) {
  place.replaceChildren(...children);
}

/** @param {number} ms */
export function duration(ms) {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.round(seconds % 60)} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** @param {number} count */
export const count = (count) => count.toLocaleString('en').replaceAll(',', '\u202f');

/** @type {Record<string, [string, string]>} */
const STATUS = {
  completed: ['✓', 'good'],
  failed: ['✗', 'bad'],
  running: ['○', 'live'],
  incomplete: ['◐', 'open'],
  cancelled: ['⊘', 'dropped'],
};

/** @param {string} status */
export function status(status) {
  const [glyph, tone] = STATUS[status] ?? ['?', 'plain'];
  return h('span', { class: `status ${tone}` }, h('span', { 'aria-hidden': 'true' }, glyph), ` ${status}`);
}

/** @param {string} verdict */
export function verdict(verdict) {
  const tone = verdict === 'passed' ? 'good' : verdict === 'failed' ? 'bad' : 'plain';
  return h('span', { class: `verdict ${tone}` }, verdict === 'none' ? '–' : verdict);
}
