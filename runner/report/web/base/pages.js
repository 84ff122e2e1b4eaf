// @ts-check
// Long lists of the server, loaded page by page.

import { get, getNow } from './api.js';

/** @template T @typedef {import('./rows.js').Source<T>} Source */

/** Items of a page by default, and number of pages that are kept. */
export const PAGE = 200;
const MAX_PAGES = 40;

/**
 * A list that is loaded in pages. Sends one request at a time, for the visible rows.
 * @template T
 * @implements {Source<T>}
 */
export class Pages {
  /**
   * `address` returns the path of a page. Its answer has the items as `key`. `changed` is called after a page has arrived.
   * @param {(offset: number, limit: number) => string} address @param {string} key @param {() => void} changed
   * @param {(error: any) => void} failed @param {(answer: any) => boolean} [isSame] returns whether an answer is about the same list
   */
  constructor(address, key, changed, failed, isSame = () => true) {
    this.address = address;
    this.isSame = isSame;
    this.key = key;
    this.changed = changed;
    this.failed = failed;
    this.count = 0;
    /** Items of a page. A change needs a reset. */
    this.size = PAGE;
    this.isLoading = false;
    /** @type {Map<number, T[]>} */
    this.pages = new Map();
  }

  /** @param {number} index */
  item(index) {
    return this.pages.get(Math.floor(index / this.size))?.[index % this.size];
  }

  /** Replaces all items with another list, whose first page is known. @param {number} count @param {T[]} first */
  reset(count, first) {
    this.count = count;
    this.isLoading = false;
    this.pages = new Map([[0, first]]);
  }

  /** @param {number} from @param {number} to */
  async need(from, to) {
    const [first, last] = [Math.floor(from / this.size), Math.floor((to - 1) / this.size)];
    const missing = [first, last].find((page) => !this.pages.has(page));
    if (this.isLoading || missing === undefined) return;
    const { pages } = this;
    this.isLoading = true;
    try {
      const answer = await get(this.address(missing * this.size, this.size));
      if (pages !== this.pages) return;
      if (!this.isSame(answer)) return this.failed(null);
      pages.set(missing, answer[this.key]);
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

  /** Loads the first items to print them. @param {number} count */
  print(count) {
    try {
      for (let page = 0; page * this.size < count; page += 1) {
        if (!this.pages.has(page)) this.pages.set(page, getNow(this.address(page * this.size, this.size))[this.key]);
      }
    } catch {
      // Loaded items are printed.
    }
  }
}
