// @ts-check
// Addresses have the state of pages. The browser's history keeps the position in each page.

import { noAnswer, tried } from './api.js';
import { login, notFound, problem } from './problem.js';
import { here, href, report } from './report.js';
import { drawNow, el, link, render } from './ui.js';
import { visibleLine } from './visible.js';

/**
 * `place` holds the page, `names` are the parts of the path, `kept` is the position of an earlier visit.
 * @typedef {{place: HTMLElement, address: URL, names: string[], kept: any, server: any}} Context
 * `update` handles another query of the same path, `draw` runs every second, `place` is kept in the history. The page has its full
 * height once `ready` is resolved.
 * @typedef {{
 *   title: () => string, draw: () => void, update?: (address: URL) => void, live?: (event: import('./live.js').LiveEvent) => void,
 *   keys?: import('./keys.js').Key[], place?: () => any, ready?: Promise<unknown>, close?: () => void,
 * }} Page
 * @typedef {(context: Context) => Promise<Page>} Open
 * The third item is the menu entry of the page.
 * @typedef {[RegExp, () => Promise<Open>, string]} Route
 */

/** @type {Route[]} */
let routes = [];
/** The page, and the path that it was opened for. @type {Page | null} */
let shown = null;
let path = '';
let turn = 0;
/** The positions in pages that were left, by address. @type {Map<string, any>} */
const places = new Map();
/** The document `/server`. */
export const server = /** @type {any} */ ({ read_only: true });

/** @param {Route[]} list */
export function startRouter(list) {
  routes = list;
  history.scrollRestoration = 'manual';
  addEventListener('popstate', () => void show(history.state?.kept));
  addEventListener('pagehide', keep);
  document.addEventListener('click', (event) => {
    const target = /** @type {Element} */ (event.target).closest('a');
    if (!target || event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    const { origin, pathname, search, hash } = target;
    const isFile = target.hasAttribute('download') || /^\/(api|web)\//.test(pathname);
    const isPage = report ? hash.startsWith('#/') : origin === location.origin && !isFile && !(hash && pathname === location.pathname);
    if (!isPage) return;
    event.preventDefault();
    const to = report ? hash.slice(1) : pathname + search + hash;
    if (target.closest('.crumbs')) up(to);
    else go(to);
  });
}

/** Stores the position in the entry of the history that is left. */
function keep() {
  if (!shown) return;
  const kept = { scroll: scrollY, page: shown.place?.() };
  const { pathname, search } = here();
  history.replaceState({ kept }, '');
  places.set(pathname + search, kept);
}

/** Opens an address. `replaces` replaces the entry of the history, `kept` is the position in the page. @param {string} to @param {boolean} [replaces] @param {any} [kept] */
export function go(to, replaces = false, kept = undefined) {
  if (replaces) history.replaceState(null, '', href(to));
  else {
    keep();
    history.pushState(null, '', href(to));
  }
  void show(kept);
}

/** Changes the address of a page to another one of the same page, unless the reader has left it. @param {URL} from @param {string} to */
export function rename(from, to) {
  if (here().href === from.href) history.replaceState(history.state, '', href(to));
}

/** Opens the page above this one, at the position where it was left. @param {string} to */
export const up = (to) => go(to, false, places.get(to));

/** Opens a row of a list, with Ctrl or Cmd in a new tab. @param {string} to @param {Event} event */
export function openRow(to, event) {
  const { ctrlKey, metaKey } = /** @type {MouseEvent} */ (event);
  if (ctrlKey || metaKey) open(href(to) ?? '', '_blank');
  else go(to);
}

export const current = () => shown;

const frame = () => /** @type {HTMLElement} */ (document.querySelector('main'));

/** Shows the page of the current address. @param {any} [kept] @param {boolean} [again] opens the page even if it is shown */
export async function show(kept, again = false) {
  const address = here();
  if (shown?.update && path === address.pathname && !again) {
    shown.update(address);
    return;
  }
  const mine = ++turn;
  shown?.close?.();
  [shown, path] = [null, address.pathname];
  const [pattern, load, menu] = routes.find(([pattern]) => pattern.test(path)) ?? [/^/, null, ''];
  for (const item of document.querySelectorAll('nav a')) item.ariaCurrent = item.getAttribute('href') === menu ? 'page' : null;
  // The page that was left is closed, and stays readable until this one has its first data.
  const place = document.createElement('div');
  place.className = 'page';
  frame().ariaBusy = 'true';
  // Its fields know only the address that was left: a second choice would undo the first one.
  for (const one of frame().querySelectorAll('button, input, select, textarea')) /** @type {any} */ (one).disabled = true;
  const replace = () => {
    frame().replaceChildren(place);
    frame().ariaBusy = null;
  };
  try {
    // A part with an invalid escape stays as it is, and the server finds nothing.
    const names = (pattern.exec(path) ?? []).slice(1).map((part) => tried(() => decodeURIComponent(part), part));
    const open = await load?.().catch((error) => { throw error instanceof TypeError ? noAnswer() : error; });
    const page = await open?.({ place, address, names, kept: kept?.page, server });
    if (mine !== turn) return page?.close?.();
    [shown, path] = [page ?? null, here().pathname];
    if (!page) {
      const near = [...document.querySelectorAll('nav a')].filter((one) => one.getAttribute('href')?.slice(0, 3) === path.slice(0, 3));
      render(place, notFound(`No page has the address ${path}.`), near.length > 0 && el('p', null, 'Did you mean ', near.map((one) => link(one.getAttribute('href') ?? '', one.textContent)), '?'));
    }
    replace();
    drawNow();
    title();
    scrollTo(0, 0);
    // The focus was on the page that was left.
    const heading = frame().querySelector('h1');
    if (mine > 1 && heading && document.activeElement === document.body) Object.assign(heading, { tabIndex: -1 }).focus({ preventScroll: true });
    await (kept?.scroll && page?.ready);
    if (mine === turn && kept?.scroll) scrollTo(0, kept.scroll);
  } catch (error) {
    if (mine !== turn) return;
    const isUnknown = /** @type {any} */ (error).status === 404;
    if (/** @type {any} */ (error).status === 401) login(place, mine === 1);
    else render(place, isUnknown ? notFound(/** @type {Error} */ (error).message) : problem(error));
    replace();
  }
}

/** Updates the title of the document, also for screen readers. */
export function title() {
  if (frame().ariaBusy) return;
  const text = `${visibleLine(shown?.title() ?? (document.querySelector('form.login') ? 'Log in' : 'Not found'))} · runner`;
  if (document.title !== text) document.title = text;
}
