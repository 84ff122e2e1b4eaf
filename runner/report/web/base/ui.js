// @ts-check
// Pages describe elements with `el`; `render` changes the document where it differs. Focus, selection and scroll positions
// stay. Texts become text nodes only, with hidden characters made visible.

import { href } from './report.js';
import { visible } from './visible.js';

/**
 * @typedef {{name: string, props: Record<string, any>, children: Child[]}} Description
 * @typedef {Description | Node | string | number | null | undefined | false} Leaf
 * @typedef {Leaf | any[]} Child
 */

const SVG = 'http://www.w3.org/2000/svg';
/** Properties that users change, so that attributes do not show the current value. */
const LIVE = new Set(['value', 'checked', 'open']);
/** The last properties of each element. @type {WeakMap<Node, Record<string, any>>} */
const given = new WeakMap();

/**
 * Describes an element. `key` identifies it among its siblings, `ref` receives the new element once, `on…` is a listener.
 * @param {string} name @param {Record<string, any> | null} [props] @param {...Child} children @returns {Description}
 */
export const el = (name, props, ...children) => ({ name, props: props ?? {}, children });

/**
 * Replaces the content of an element. Descriptions update the elements at the same place, or with the same key. So a list whose
 * length changes needs keys, or an element of its own.
 * @param {Element} place @param {...Child} children
 */
export function render(place, ...children) {
  const old = [...place.childNodes];
  const keyed = new Map(old.map((node) => [given.get(node)?.key, node]));
  const leaves = /** @type {Leaf[]} */ (children.flat(9));
  const nodes = leaves.map((leaf, index) => {
    if (leaf instanceof Node) return leaf;
    if (typeof leaf !== 'object' || leaf === null) return text(leaf, old[index]);
    const { key } = leaf.props;
    return element(leaf, key === undefined ? old[index] : keyed.get(key), place);
  });
  const kept = new Set(nodes);
  for (const node of old) if (!kept.has(node)) place.removeChild(node);
  let next = place.firstChild;
  for (const node of nodes) {
    if (node === next) next = node.nextSibling;
    else place.insertBefore(node, next);
  }
}

/** @param {string | number | null | undefined | false} leaf @param {Node | undefined} old */
function text(leaf, old) {
  // An empty text keeps the place of an element that is absent for now.
  const shown = leaf === null || leaf === undefined || leaf === false ? '' : visible(leaf);
  if (!(old instanceof Text)) return document.createTextNode(shown);
  if (old.data !== shown) old.data = shown;
  return old;
}

/** @param {Description} leaf @param {Node | undefined} old @param {Element} place */
function element({ name, props, children }, old, place) {
  const last = old && given.get(old);
  const isSame = last && old instanceof Element && old.localName === name && last.key === props.key;
  const isDrawing = name === 'svg' || place.namespaceURI === SVG;
  const node = /** @type {any} */ (isSame ? old : isDrawing ? document.createElementNS(SVG, name) : document.createElement(name));
  // The options of a list come before its value.
  if (!props.ref) render(node, children);
  set(node, isSame ? last : {}, props);
  if (!isSame) props.ref?.(node);
  return node;
}

/** @param {any} node @param {Record<string, any>} last @param {Record<string, any>} props */
function set(node, last, props) {
  given.set(node, props);
  for (const key of new Set([...Object.keys(last), ...Object.keys(props)])) {
    const value = key === 'href' && props.href ? href(props.href) : props[key];
    if (LIVE.has(key)) {
      // A focused field keeps its text, which may be newer.
      const isTyped = key === 'value' && node === document.activeElement;
      if (last[key] !== value && node[key] !== value && !isTyped) node[key] = value;
    } else if (key === 'key' || key === 'ref' || last[key] === value) continue;
    else if (key.startsWith('on')) node[key] = value ?? null;
    else if (key === 'style') for (const [name, one] of Object.entries(value ?? {})) node.style.setProperty(name, one);
    else if (value === undefined || value === null || value === false) node.removeAttribute(key);
    else node.setAttribute(key, value === true ? '' : visible(value));
  }
}

/** Functions that draw soon. @type {Set<() => void>} */
const waiting = new Set();

/** Returns a function that calls `draw` soon, once for several calls. @param {() => void} draw */
export function soon(draw) {
  const now = () => { if (waiting.delete(now)) draw(); };
  return () => {
    if (!waiting.has(now)) setTimeout(now, 16);
    waiting.add(now);
  };
}

/** Draws now instead of soon, so that a page that has just been opened is never empty. */
export const drawNow = () => [...waiting].forEach((now) => now());

/**
 * Returns a function that repeats `work` at most every `ms`, and pauses for three times the duration of the work: reading a million
 * rows takes the server a while.
 * @param {number} ms @param {() => Promise<void>} work
 */
export function paced(ms, work) {
  let [next, isBusy, isWanted] = [0, false, false];
  const run = async () => {
    [isBusy, isWanted] = [true, false];
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, next - performance.now())));
    const start = performance.now();
    await work();
    next = performance.now() + Math.max(ms, 3 * (performance.now() - start));
    isBusy = false;
    if (isWanted) void run();
  };
  return () => {
    isWanted = true;
    return isBusy ? undefined : run();
  };
}

/** Draws a scrolled place again. The first visible element that stays does not move. @param {HTMLElement} place @param {() => void} draw */
export function hold(place, draw) {
  const nodes = /** @type {HTMLElement[]} */ ([...place.children]);
  const anchor = nodes.find((node) => node.id && node.offsetTop + node.offsetHeight > place.scrollTop);
  const top = anchor?.offsetTop ?? 0;
  draw();
  if (anchor?.isConnected) place.scrollTop += anchor.offsetTop - top;
}

/** Returns -1 if less than a screen is left above the visible part of a place, 1 if below, or else 0. @param {HTMLElement} place */
export const edgeOf = (place) => (place.scrollTop < place.clientHeight ? -1 : Number(place.scrollTop + 2 * place.clientHeight > place.scrollHeight));

/** A placeholder for data that is being read. Its text appears after a moment. */
export const loading = () => el('p', { class: 'loading' }, 'Loading…');

/** @param {string} to @param {...Child} children */
export const link = (to, ...children) => el('a', { href: to }, ...children);

/** @param {Child} label @param {() => void} onclick @param {Record<string, any>} [props] */
export const button = (label, onclick, props) => el('button', { type: 'button', onclick, ...props }, label);

/** A table that scrolls sideways in a narrow window. `more` are groups of rows below `rows`. @param {string} label @param {Child[]} heads @param {Child} rows @param {string} [kind] @param {...Child} more */
export const table = (label, heads, rows, kind, ...more) => el('div', { class: 'wide', tabindex: 0, role: kind === 'diff' ? 'group' : 'region', 'aria-label': label },
  el('table', { class: kind }, el('thead', null, el('tr', null, heads.map((head) => el('th', { scope: 'col' }, head)))),
    el('tbody', null, rows), more));

/** A part that is made once it is opened. @param {Child} summary @param {() => Child} content @param {boolean} [open] */
export const folded = (summary, content, open = false) => el('details', {
  open,
  ontoggle: (/** @type {any} */ { target }) => render(target.lastElementChild, target.open && content()),
}, el('summary', null, summary), el('div', { ref: () => {} }));

/** A list of names and values. Entries without a value are left out. @param {[string, Child][]} rows */
export const facts = (rows) => el('dl', { class: 'facts-list' }, rows.filter(([, value]) => value)
  .map(([name, value]) => [el('dt', null, name), el('dd', null, value)]));

/** A text with a button that copies it. @param {string} text */
export function copyable(text) {
  const copy = (/** @type {any} */ event) => {
    const { target } = event;
    // Unlike `navigator.clipboard`, this needs no permission in a local file.
    getSelection()?.selectAllChildren(target.previousSibling);
    render(target, document.execCommand('copy') ? 'Copied' : 'Selected');
    setTimeout(() => render(target, 'Copy'), 1500);
  };
  return el('div', { class: 'command' }, el('pre', { tabindex: 0 }, text.split(/(?<!\S)(--[a-z-]+)/).map((part, at) => (at % 2 ? el('span', { class: 'flag' }, part) : part))), el('button', { type: 'button', onclick: copy }, 'Copy'));
}
