// @ts-check
// Elements, and nothing but text in them: what a guest has written can never become markup, a link, an id or a class, and
// all of it can be seen.

import { visible } from './visible.js';

/** @typedef {Node | string | number | null | undefined | false} Leaf */
/** @typedef {Leaf | Leaf[] | (Leaf | Leaf[])[]} Child */

const SVG = 'http://www.w3.org/2000/svg';

/**
 * Makes an element. A key that begins with `on` is a listener, and `children` that are no nodes are texts.
 * @param {string} name
 * @param {Record<string, any> | null} [attributes]
 * @param {...(Child | Child[])} children
 * @returns {any}
 */
export function el(name, attributes, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/**
 * The same of a drawing.
 * @param {string} name
 * @param {Record<string, any> | null} [attributes]
 * @param {...(Child | Child[])} children
 * @returns {any}
 */
export function svg(name, attributes, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

/** @param {Element} element @param {Record<string, any> | null | undefined} attributes @param {(Child | Child[])[]} children */
function fill(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith('on')) element.addEventListener(key.slice(2), value);
    else if (key === 'title' || key === 'alt' || key.startsWith('aria-')) element.setAttribute(key, visible(value));
    else element.setAttribute(key, value === true ? '' : String(value));
  }
  element.append(...nodes(children));
  return element;
}

/** @param {(Child | Child[])[]} children @returns {(Node | string)[]} */
function nodes(children) {
  return /** @type {Leaf[]} */ (children.flat(9)).flatMap((child) =>
    child === null || child === undefined || child === false ? [] : [child instanceof Node ? child : visible(child)]);
}

/** Puts these in the place of all that is there. @param {Element} place @param {...(Child | Child[])} children */
export function put(place, ...children) {
  place.replaceChildren(...nodes(children));
}

/** Writes a text where it is another one: nothing that is read or selected is touched without need. @param {Element} place @param {string} text */
export function say(place, text) {
  const shown = visible(text);
  if (place.textContent !== shown) place.textContent = shown;
}

/** Does something once all that is there now is painted: the frame after that begins when it is. @param {() => void} work */
export const afterPaint = (work) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(work)));

/** @param {string} selector @param {ParentNode} [within] @returns {any} */
export const find = (selector, within = document) => within.querySelector(selector);

/**
 * Does something at most so often, always after the last time that it was asked for, and the less often the longer it takes:
 * what is work for the server, such as a look at a million rows, is not asked for again at once.
 * @param {number} ms @param {() => any} work @param {number} [rest] how many times as long as it took it is not done
 */
export function atMostEvery(ms, work, rest = 3) {
  /** @type {any} */
  let timer = null;
  let next = -Infinity;
  let [isBusy, isAsked, isOver] = [false, false, false];
  const run = async () => {
    timer = null;
    [isBusy, isAsked] = [true, false];
    const began = performance.now();
    try {
      await work();
    } finally {
      isBusy = false;
      const ended = performance.now();
      next = Math.max(began + ms, ended + (ended - began) * rest);
      if (isAsked) ask();
    }
  };
  const ask = () => {
    isAsked = true;
    if (isOver || isBusy || timer !== null) return;
    timer = setTimeout(run, Math.max(0, next - performance.now()));
  };
  return Object.assign(ask, { stop() { isOver = true; clearTimeout(timer); } });
}

/**
 * A table whose head says what the columns are.
 * @param {{class?: string, label?: string}} what
 * @param {(string | [string, string])[]} columns a name, or a name and the class of its cells
 * @param {Child[]} lines
 */
export function table(what, columns, lines) {
  const head = columns.map((column) => {
    const [name, kind] = typeof column === 'string' ? [column, null] : column;
    return name ? el('th', { scope: 'col', class: kind }, name) : el('td', { class: kind });
  });
  return wide(el('table', { class: what.class, 'aria-label': what.label }, el('thead', null, el('tr', null, head)), el('tbody', null, lines)));
}

const sizes = new ResizeObserver((changed) => {
  for (const { target } of changed) {
    // What scrolls is reached by keys as well; what does not is no stop on the way.
    if (target.scrollWidth > target.clientWidth + 1) target.setAttribute('tabindex', '0');
    else target.removeAttribute('tabindex');
  }
});

/** A place in which something is scrolled that is wider than the page. @param {Leaf} child */
export function wide(child) {
  const place = el('div', { class: 'wide' }, child);
  sizes.observe(place);
  return place;
}

/** @param {string} label @param {(event: any) => any} onclick @param {string} [kind] */
export const button = (label, onclick, kind) => el('button', { type: 'button', class: kind, onclick }, label);

/** A link to a page of ours; what stands in it is text. @param {string} href @param {...(Child | Child[])} children */
export const link = (href, ...children) => el('a', { href }, ...children);

/** A text that can be taken along. @param {string} text @param {string} [label] */
export function copyable(text, label = 'Copy') {
  const copy = button(label, async () => {
    try {
      await navigator.clipboard.writeText(text);
      say(copy, 'Copied');
    } catch {
      say(copy, 'Select it and copy');
    }
    setTimeout(() => say(copy, label), 1500);
  }, 'small');
  return copy;
}
