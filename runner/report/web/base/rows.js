// @ts-check
// A list of any length, with elements only for visible rows. Browsers cannot show elements that are higher than about nine
// million pixels (Firefox gives them the height 0), so the scroll bar of longer lists is scaled. The wheel and the keys are not.

import { el, render } from './ui.js';
import { plural } from './words.js';

const MAX_HEIGHT = 8_000_000;
/** Rows of a printed list. */
const MAX_PRINTED = 1000;

/**
 * The items of a list. `item` is `undefined` for an item that is not loaded; `need` loads a range, `print` the first items at once.
 * @template T
 * @typedef {{count: number, item: (index: number) => T | undefined, need: (from: number, to: number) => void,
 *   print?: (count: number) => void}} Source
 */

/**
 * `height` is that of a row. Where rows differ, `start` is the distance from the start of the list to a row.
 * @template T
 * @typedef {{
 *   label: string,
 *   head: () => import('./ui.js').Child,
 *   row: (item: T, index: number) => import('./ui.js').Child,
 *   kind?: (item: T) => string,
 *   height: () => number,
 *   start?: (index: number) => number,
 *   source: Source<T>,
 *   open: (item: T, event: Event) => void,
 * }} RowsOptions
 */

/** A cell of a row. @param {string} kind @param {...import('./ui.js').Child} children */
export const cell = (kind, ...children) => el('div', { role: 'gridcell', class: kind }, ...children);

/** A cell of the head. @param {string} kind @param {...import('./ui.js').Child} children */
export const head = (kind, ...children) => el('div', { role: 'columnheader', class: kind }, ...children);

/**
 * The range of the visible columns of a list that is wider than its window. A list has elements for them only.
 * @param {HTMLElement} element @param {number} count @param {string} width of a column with the space beside it, in `rem`
 * @param {number} [before] width of other columns that are scrolled, too, in `rem`
 * @returns {[number, number]}
 */
export function visibleColumns({ scrollLeft, clientWidth }, count, width, before = 0) {
  const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
  const pixels = parseFloat(width) * rem;
  // Those below the first column, which stays in place, are drawn, too.
  return [Math.max(0, Math.floor((scrollLeft - before * rem) / pixels)), Math.min(count, Math.ceil((scrollLeft + clientWidth) / pixels) + 1)];
}

/** @template T */
export class Rows {
  /** @param {RowsOptions<T>} options */
  constructor(options) {
    this.options = options;
    /** The row that the keys act on. */
    this.active = -1;
    /** Distance from the start of the list to the first visible pixel. */
    this.top = 0;
    /** The first visible row of the last drawing, and its start. Rows above it may have become higher since. */
    this.anchor = { row: 0, start: 0 };
    /** The last position of the scroll bar that this list knows. Any other is from the user. */
    this.bar = 0;
    const make = (/** @type {string} */ className, /** @type {string?} */ role = null) =>
      Object.assign(document.createElement('div'), { className, role });
    this.element = Object.assign(make('rows', 'grid'), { ariaLabel: options.label, tabIndex: 0 });
    this.layer = make('rows-layer');
    this.headRow = make('rows-head', 'rowgroup');
    this.body = make('rows-body', 'rowgroup');
    this.space = make('rows-space');
    this.layer.append(this.headRow, this.body);
    this.element.append(this.layer, this.space);
    this.closed = new AbortController();
    const listen = (/** @type {string[]} */ names, /** @type {(event: Event) => void} */ listener) => names.forEach((name) => addEventListener(name, listener, { signal: this.closed.signal }));
    this.element.onscroll = () => this.draw();
    // A list that the style sheet does not cut is scrolled with the page.
    listen(['scroll', 'resize'], () => this.draw());
    this.element.addEventListener('wheel', (event) => this.#wheel(event), { passive: false });
    this.element.onkeydown = (event) => this.#key(event);
    this.element.onclick = (event) => this.#click(event);
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.element);
    this.isPrinted = false;
    listen(['beforeprint', 'afterprint'], ({ type }) => {
      this.isPrinted = type === 'beforeprint';
      // The list would keep an element for each printed row.
      this.body.replaceChildren();
      this.draw();
    });
  }

  close() {
    this.observer.disconnect();
    this.closed.abort();
  }

  /** The position, for the browser's history. */
  get place() {
    return { top: this.top, active: this.active };
  }

  /** @param {{top: number, active: number} | undefined} place */
  set place(place) {
    this.active = place?.active ?? -1;
    this.#moveTo(place?.top ?? 0);
  }

  #sizes() {
    const row = this.options.height();
    const isInPage = getComputedStyle(this.element).overflowY === 'visible';
    const view = Math.max(row, (isInPage ? innerHeight : this.element.clientHeight) - this.headRow.offsetHeight);
    const height = this.#start(this.options.source.count);
    // Pixels of the list for a pixel of the scroll bar.
    const scale = height <= MAX_HEIGHT ? 1 : (height - view) / (MAX_HEIGHT - view);
    const bar = isInPage ? -this.element.getBoundingClientRect().top : this.element.scrollTop;
    return { row, view, height, scale, isInPage, bar };
  }

  #start = (/** @type {number} */ index) => this.options.start?.(index) ?? index * this.options.height();

  /** The row at a distance from the start of the list. @param {number} place @returns {number} */
  #at(place, low = 0, high = this.options.source.count) {
    if (high - low < 2) return low;
    const middle = Math.floor((low + high) / 2);
    return this.#start(middle) <= place ? this.#at(place, middle, high) : this.#at(place, low, middle);
  }

  /** @param {number} top */
  #moveTo(top) {
    this.top = top;
    this.draw();
  }

  /** @param {WheelEvent} event */
  #wheel(event) {
    const { scale, row, view, isInPage } = this.#sizes();
    if (scale === 1 || isInPage || event.ctrlKey || !event.deltaY) return;
    event.preventDefault();
    this.#moveTo(this.top + event.deltaY * [1, row, view][event.deltaMode]);
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const { row, view } = this.#sizes();
    const page = Math.max(1, Math.floor(view / row) - 1);
    const moves = /** @type {Record<string, number>} */ ({
      ArrowDown: this.active + 1, ArrowUp: this.active - 1, j: this.active + 1, k: this.active - 1,
      PageDown: this.active + page, PageUp: this.active - page, Home: 0, End: this.options.source.count - 1,
    });
    if (event.target !== this.element || event.ctrlKey || event.metaKey || event.altKey) return;
    const item = this.options.source.item(this.active);
    if (event.key in moves) this.activate(moves[event.key]);
    else if (event.key === 'Enter' && item !== undefined) this.options.open(item, event);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** @param {MouseEvent} event */
  #click(event) {
    const target = /** @type {Element} */ (event.target);
    const row = /** @type {HTMLElement | null} */ (target.closest('[data-index]'));
    if (!row || target.closest('a, button, input, label')) return;
    const item = this.options.source.item(Number(row.dataset.index));
    if (item !== undefined) this.options.open(item, event);
  }

  /** Moves to a row. @param {number} index */
  activate(index) {
    const { view } = this.#sizes();
    this.active = Math.max(0, Math.min(index, this.options.source.count - 1));
    const start = this.#start(this.active);
    if (start < this.top) this.#moveTo(start);
    else this.#moveTo(Math.max(this.top, this.#start(this.active + 1) - view));
  }

  draw() {
    const { source } = this.options;
    if (this.isPrinted) return this.#print(source);
    const { row, view, height, scale, isInPage, bar } = this.#sizes();
    this.element.style.setProperty('--row', `${row}px`);
    this.element.style.setProperty('--rows', String(Math.max(1, Math.min(height / row, 500))));
    // Outside of the document, it has no scroll position, and a restored one must stay.
    if (!this.element.isConnected) return;
    this.active = Math.min(this.active, source.count - 1);
    const place = (/** @type {number} */ of) => Math.max(0, Math.min(of, height - view));
    if (bar !== this.bar) this.top = bar * scale;
    this.top += this.#start(this.anchor.row) - this.anchor.start;
    this.top = place(this.top);
    this.element.setAttribute('aria-rowcount', String(source.count + 1));
    this.space.style.height = `${Math.min(height, MAX_HEIGHT) + this.headRow.offsetHeight}px`;
    this.layer.style.height = `${Math.min(this.element.clientHeight, innerHeight)}px`;
    // A position that keys or the wheel have set is more exact than that of the scroll bar.
    if (Math.abs(this.top - place(bar * scale)) >= scale) /** @type {Element} */ (isInPage ? document.scrollingElement : this.element).scrollTop += this.top / scale - bar;
    this.bar = this.#sizes().bar;
    render(this.headRow, el('div', { role: 'row', class: 'row' }, this.options.head()));
    const first = this.#at(this.top);
    this.anchor = { row: first, start: this.#start(first) };
    const shown = Math.min(source.count - first, this.#at(this.top + view) - first + 2);
    const size = Math.max(shown, this.body.childElementCount);
    // Item i is in element i modulo the number of elements, so that scrolling by a row changes one element.
    const nodes = Array.from({ length: size }, (_, place) => {
      const index = first + ((place - (first % size) + size) % size);
      return index < first + shown ? this.#row(index, this.#start(index)) : el('div', { role: 'row', class: 'row', hidden: true });
    });
    render(this.body, nodes);
    const isActiveShown = this.active >= first && this.active < first + shown;
    if (isActiveShown) this.element.setAttribute('aria-activedescendant', `row-${this.active}`);
    else this.element.removeAttribute('aria-activedescendant');
    if (shown > 0) source.need(first, first + shown);
  }

  /** @param {Source<T>} source */
  #print(source) {
    const count = Math.min(source.count, MAX_PRINTED);
    source.print?.(count);
    const left = source.count - count;
    render(this.body, Array.from({ length: count }, (_, index) => this.#row(index)),
      left > 0 && el('p', { class: 'quiet' }, `and ${plural(left, 'more row')}, not printed`));
  }

  /** @param {number} index @param {number} [start] */
  #row(index, start = this.top) {
    const item = this.options.source.item(index);
    const kind = `row ${index === this.active ? 'active' : ''} ${item === undefined ? '' : this.options.kind?.(item) ?? ''}`;
    const style = { transform: `translateY(${start - this.top}px)`, '--row': this.options.start ? `${this.#start(index + 1) - this.#start(index)}px` : '' };
    const props = { role: 'row', class: kind, id: `row-${index}`, 'aria-rowindex': index + 2, 'data-index': index, style };
    return el('div', props, item === undefined ? cell('quiet', '…') : this.options.row(item, index));
  }
}
