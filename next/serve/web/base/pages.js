// @ts-check
// The items of a long list that the server has.

import { get, getNow } from './api.js';

/** @template T @typedef {import('./rows.js').Source<T>} Source */

/** Items of a request, and requests whose items are kept. */
export const PAGE = 200;
const MAX_PAGES = 40;

/**
 * Items that the server has, in pages. One request at a time, for the rows that are in sight now.
 * @template T
 * @implements {Source<T>}
 */
export class Pages {
  /**
   * `address` is the path of a page, whose answer has the items as `key`. `changed` is called after a page has arrived.
   * @param {(offset: number, limit: number) => string} address @param {string} key @param {() => void} changed
   * @param {(error: any) => void} failed
   */
  constructor(address, key, changed, failed) {
    this.address = address;
    this.key = key;
    this.changed = changed;
    this.failed = failed;
    this.count = 0;
    this.isLoading = false;
    /** @type {Map<number, T[]>} */
    this.pages = new Map();
  }

  /** @param {number} index */
  item(index) {
    return this.pages.get(Math.floor(index / PAGE))?.[index % PAGE];
  }

  /** Replaces all items by another list, whose first page is known. @param {number} count @param {T[]} first */
  reset(count, first) {
    this.count = count;
    this.isLoading = false;
    this.pages = new Map([[0, first]]);
  }

  /** @param {number} from @param {number} to */
  async need(from, to) {
    const [first, last] = [Math.floor(from / PAGE), Math.floor((to - 1) / PAGE)];
    const missing = [first, last].find((page) => !this.pages.has(page));
    if (this.isLoading || missing === undefined) return;
    const { pages } = this;
    this.isLoading = true;
    try {
      const items = (await get(this.address(missing * PAGE, PAGE)))[this.key];
      if (pages !== this.pages) return;
      pages.set(missing, items);
      const old = [...pages.keys()].filter((page) => page !== first && page !== last);
      for (const page of old.slice(0, pages.size - MAX_PAGES)) pages.delete(page);
    } catch (error) {
      if (pages === this.pages) this.failed(error);
      return;
    } finally {
      if (pages === this.pages) this.isLoading = false;
    }
    this.changed();
  }

  /** Loads the first items for a printer. @param {number} count */
  print(count) {
    try {
      for (let page = 0; page * PAGE < count; page += 1) {
        if (!this.pages.has(page)) this.pages.set(page, getNow(this.address(page * PAGE, PAGE))[this.key]);
      }
    } catch {
      // The items that are loaded are printed.
    }
  }
}
