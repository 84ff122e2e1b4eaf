// @ts-check
// A table of any length. Only the lines in sight are elements; browsers give up on elements that are higher than about
// nine million pixels, so the thumb is scaled where the table is longer than that, and the wheel and keys are not.

import { el, say } from './ui.js';

const PAGE = 200;
const KEPT = 40;
const MAX_HEIGHT = 8_000_000;

/**
 * @template T
 * @typedef {{
 *   label: string,
 *   head: any,
 *   lineHeight: number,
 *   cells: () => HTMLElement[],
 *   show: (cells: HTMLElement[], item: T) => void,
 *   load: (offset: number, limit: number) => Promise<T[]>,
 *   open: (item: T, event: Event) => void,
 *   failed: (error: any) => void,
 * }} RowsOptions
 */

/** @template T */
export class Rows {
  /** @param {RowsOptions<T>} options */
  constructor(options) {
    this.options = options;
    this.count = 0;
    this.active = -1;
    /** Where the first line in sight begins, in pixels of lines. */
    this.top = 0;
    /** @type {Map<number, T[]>} */
    this.pages = new Map();
    this.version = 0;
    this.isLoading = false;
    /** @type {{line: HTMLElement, cells: HTMLElement[], index: number, item: T | undefined}[]} */
    this.pool = [];
    this.space = el('div', { class: 'rows-space', 'aria-hidden': 'true' });
    this.body = el('div', { class: 'rows-body', role: 'rowgroup' });
    this.layer = el('div', { class: 'rows-layer' }, el('div', { class: 'rows-head', role: 'rowgroup' }, options.head), this.body);
    this.element = el('div', { class: 'rows', role: 'grid', tabindex: 0, 'aria-label': options.label, 'aria-rowcount': 1 }, this.layer, this.space);
    this.element.addEventListener('scroll', () => this.#scrolled());
    this.element.addEventListener('wheel', (/** @type {WheelEvent} */ event) => this.#wheel(event), { passive: false });
    this.element.addEventListener('keydown', (/** @type {KeyboardEvent} */ event) => this.#key(event));
    this.element.addEventListener('focus', () => { if (this.active < 0 && this.count) { this.active = this.first(); this.draw(); } });
    this.element.style.setProperty('--line-height', `${options.lineHeight}px`);
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.element);
  }

  close() {
    this.observer.disconnect();
    this.version += 1;
  }

  /** Shows another list, or a newer state of it. @param {number} count @param {T[]} start its first items @param {boolean} [stays] whether the place is kept */
  reset(count, start, stays = false) {
    this.version += 1;
    this.isLoading = false;
    this.count = count;
    this.pages.clear();
    if (start.length) this.pages.set(0, start);
    if (!stays) { this.top = 0; this.active = -1; this.element.scrollTop = 0; }
    this.active = Math.min(this.active, count - 1);
    this.element.setAttribute('aria-rowcount', String(count + 1));
    const { height, view } = this.#sizes();
    this.space.style.height = `${Math.min(height, MAX_HEIGHT) + this.#headHeight()}px`;
    this.element.style.setProperty('--lines', String(Math.max(1, Math.min(count, 100))));
    this.top = Math.min(this.top, Math.max(0, height - view));
    this.draw();
  }

  #headHeight() {
    return this.layer.firstElementChild.offsetHeight;
  }

  #sizes() {
    return { height: this.count * this.options.lineHeight, view: Math.max(0, this.element.clientHeight - this.#headHeight()) };
  }

  first() {
    return Math.floor(this.top / this.options.lineHeight);
  }

  isAtTop() {
    return this.top < this.options.lineHeight && this.active < 1;
  }

  /** How many pixels of lines a pixel of the thumb's way is. */
  #scale() {
    const { height, view } = this.#sizes();
    const way = Math.min(height, MAX_HEIGHT) - view;
    return height <= MAX_HEIGHT || way <= 0 ? 1 : (height - view) / way;
  }

  #scrolled() {
    const scale = this.#scale();
    // What was set by hand is more exact than what the thumb says.
    if (Math.abs(this.top / scale - this.element.scrollTop) >= 1) this.top = this.element.scrollTop * scale;
    this.draw();
  }

  /** @param {number} top */
  #moveTo(top) {
    const { height, view } = this.#sizes();
    this.top = Math.max(0, Math.min(top, height - view));
    this.element.scrollTop = this.top / this.#scale();
    this.draw();
  }

  /** @param {WheelEvent} event */
  #wheel(event) {
    if (this.#scale() === 1 || event.ctrlKey || !event.deltaY) return;
    event.preventDefault();
    const unit = [1, this.options.lineHeight, this.#sizes().view][event.deltaMode];
    this.#moveTo(this.top + event.deltaY * unit);
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const page = Math.max(1, Math.floor(this.#sizes().view / this.options.lineHeight) - 1);
    const at = Math.max(this.active, 0);
    /** @type {Record<string, number>} */
    const to = { ArrowDown: this.active < 0 ? 0 : at + 1, ArrowUp: at - 1, PageDown: at + page, PageUp: at - page, Home: 0, End: this.count - 1 };
    if (event.key in to && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      this.activate(to[event.key]);
    } else if (event.key === 'Enter' && event.target === this.element) {
      const item = this.item(this.active);
      if (item) this.options.open(item, event);
    }
  }

  /** Moves to a line. @param {number} index */
  activate(index) {
    this.active = Math.max(0, Math.min(index, this.count - 1));
    const { view } = this.#sizes();
    const start = this.active * this.options.lineHeight;
    if (start < this.top) this.#moveTo(start);
    else if (start + this.options.lineHeight > this.top + view) this.#moveTo(start + this.options.lineHeight - view);
    else this.draw();
  }

  /** @param {number} index @returns {T | undefined} */
  item(index) {
    return this.pages.get(Math.floor(index / PAGE))?.[index % PAGE];
  }

  draw() {
    const { lineHeight } = this.options;
    const { view } = this.#sizes();
    this.layer.style.height = `${this.element.clientHeight}px`;
    const first = this.first();
    const wanted = Math.min(this.count, Math.ceil(view / lineHeight) + 2);
    while (this.pool.length < wanted) {
      const cells = this.options.cells();
      const line = el('div', { role: 'row', class: 'rows-line', id: `line-${this.pool.length}` }, cells);
      const node = { line, cells, index: -1, item: /** @type {T | undefined} */ (undefined) };
      line.addEventListener('click', (/** @type {MouseEvent} */ event) => {
        if (node.item && !(/** @type {Element} */ (event.target).closest('a'))) this.options.open(node.item, event);
      });
      this.pool.push(node);
      this.body.append(line);
    }
    const size = this.pool.length;
    for (let place = 0; place < size; place += 1) {
      // A node keeps its line for as long as that is in sight.
      const index = first + ((place - (first % size) + size) % size);
      this.#drawLine(this.pool[place], index, index < this.count && index < first + wanted);
    }
    const active = this.pool.find((node) => node.index === this.active && !node.line.hidden);
    if (active) this.element.setAttribute('aria-activedescendant', active.line.id);
    else this.element.removeAttribute('aria-activedescendant');
    this.#loadWhatIsMissing(first, Math.min(first + wanted, this.count));
  }

  /** @param {{line: HTMLElement, cells: HTMLElement[], index: number, item: T | undefined}} node @param {number} index @param {boolean} isShown */
  #drawLine(node, index, isShown) {
    node.line.hidden = !isShown;
    if (!isShown) { node.index = -1; return; }
    node.line.style.transform = `translateY(${index * this.options.lineHeight - this.top}px)`;
    node.line.classList.toggle('active', index === this.active);
    const item = this.item(index);
    if (node.index === index && node.item === item) return;
    if (node.index !== index) node.line.setAttribute('aria-rowindex', String(index + 2));
    node.index = index;
    node.item = item;
    if (item) this.options.show(node.cells, item);
    else for (const [place, cell] of node.cells.entries()) say(cell, place ? '' : '…');
  }

  /** One request at a time, for what is in sight now: lines that were scrolled past are never fetched. @param {number} from @param {number} to */
  async #loadWhatIsMissing(from, to) {
    if (this.isLoading || to <= from) return;
    const pages = [Math.floor(from / PAGE), Math.floor((to - 1) / PAGE)];
    const missing = pages.find((page) => !this.pages.has(page));
    if (missing === undefined) return;
    this.isLoading = true;
    const version = this.version;
    try {
      const items = await this.options.load(missing * PAGE, PAGE);
      if (version !== this.version) return;
      this.pages.set(missing, items);
      for (const old of this.pages.keys()) {
        if (this.pages.size <= KEPT) break;
        if (!pages.includes(old)) this.pages.delete(old);
      }
    } catch (error) {
      if (version === this.version) this.options.failed(error);
      return;
    } finally {
      if (version === this.version) this.isLoading = false;
    }
    this.draw();
  }
}
