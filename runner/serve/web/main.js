// @ts-check
// Addresses are the state: this shows the one that is there.

import { get } from './api.js';
import { keys, showKeys } from './keys.js';
import { hear, start } from './live.js';
import { problem, stranger } from './problem.js';
import { showRuns } from './runs.js';
import { visibleLine } from './text.js';
import { el, find, put, say } from './ui.js';
import { age } from './words.js';

/**
 * What a page gets, and what it gives.
 * @typedef {{place: HTMLElement, go: (to: string, replaces?: boolean) => void, server: any}} Context
 * @typedef {{title: string, close?: () => void, change?: (address: URL) => boolean, hear?: (event: import('./live.js').LiveEvent) => void, keys?: Record<string, () => void>}} Page
 * @typedef {(address: URL, context: Context, names: string[]) => Promise<Page>} Show
 */

/** Addresses, what shows them, and which item of the head that is. The first page does not wait for the others. @type {[RegExp, () => Promise<Show>, string][]} */
const PAGES = [
  [/^\/(?:runs\/?)?$/, async () => showRuns, '/runs'],
  [/^\/runs\/([^/]+)$/, async () => (await import('./run.js')).showRun, '/runs'],
  [/^\/runs\/([^/]+)\/trials\/([^/]+)$/, async () => (await import('./trial.js')).showTrial, '/runs'],
  [/^\/start$/, async () => (await import('./start.js')).showStart, '/start'],
  [/^\/queue$/, async () => (await import('./queue.js')).showQueue, '/queue'],
  [/^\/compare$/, async () => (await import('./compare.js')).showCompare, '/compare'],
  [/^\/history$/, async () => (await import('./history.js')).showHistory, '/history'],
];

const place = find('#page');
const state = find('#state');
/** @type {Page | null} */
let shown = null;
let turn = 0;
/** @type {any} */
let server = { is_read_only: true };

/** @param {string} to @param {boolean} [replaces] */
function go(to, replaces = false) {
  if (replaces) history.replaceState(null, '', to);
  else history.pushState(null, '', to);
  void show();
}

/** @param {boolean} [anew] */
async function show(anew = false) {
  const address = new URL(location.href);
  if (!anew && shown?.change?.(address)) return;
  const mine = ++turn;
  const old = shown;
  shown = null;
  old?.close?.();
  const found = PAGES.find(([pattern]) => pattern.test(address.pathname));
  const [pattern, load, nav] = found ?? [/(?:)/, async () => nowhere, ''];
  for (const item of document.querySelectorAll('header nav a')) {
    if (item.getAttribute('href') === nav) item.setAttribute('aria-current', 'page');
    else item.removeAttribute('aria-current');
  }
  const names = (address.pathname.match(pattern) ?? []).slice(1);
  // What comes late of a page that was left goes nowhere.
  const room = el('div', { class: 'page' });
  put(place, room);
  const quiet = setTimeout(() => { if (!room.firstChild) put(room, el('p', { class: 'quiet loading' }, 'Loading…')); }, 250);
  try {
    const make = await load();
    const page = await make(address, { place: room, go, server }, names.map(decodeURIComponent));
    if (mine !== turn) return page.close?.();
    shown = page;
    document.title = `${visibleLine(page.title)} · runner`;
    say(find('#told'), visibleLine(page.title));
  } catch (error) {
    if (mine !== turn) return;
    put(room, problem(error));
  } finally {
    clearTimeout(quiet);
  }
}

/** @type {Show} */
async function nowhere(address, { place }) {
  put(place, el('h1', null, 'There is no such page'), el('p', null, el('code', null, address.pathname), ' is not one of ours. ', el('a', { href: '/runs' }, 'All runs')));
  return { title: 'No such page' };
}

/** @param {'open' | 'lost' | 'stranger'} next */
function hearsState(next) {
  // Whoever opens the link of the server in another tab is let in here as well.
  const wasStranger = document.body.classList.contains('stranger');
  document.body.classList.toggle('stranger', next === 'stranger');
  state.className = next === 'open' ? 'state' : 'state lost';
  say(state, { open: 'live', lost: 'Connection lost; trying again…', stranger: 'Not logged in' }[next]);
  state.title = next === 'open' ? 'What happens is shown as it happens' : 'Runs go on all the same';
  if (next === 'stranger') put(place, stranger());
  else if (wasStranger) void begin();
}

document.addEventListener('click', (event) => {
  const target = /** @type {Element} */ (event.target).closest('a');
  if (!target || event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  const isPage = target.origin === location.origin && !target.hasAttribute('download') && !target.pathname.startsWith('/api/');
  // A place in the page is the browser's own business.
  if (!isPage || (target.hash && target.pathname === location.pathname)) return;
  event.preventDefault();
  go(target.pathname + target.search);
  scrollTo(0, 0);
  place.focus({ preventScroll: true });
});
addEventListener('popstate', () => void show());
keys({
  '?': showKeys,
  '/': () => find('input[type=search]', place)?.focus(),
  'g r': () => go('/runs'),
  'g s': () => { if (!server.is_read_only) go('/start'); },
  'g q': () => go('/queue'),
  'g h': () => go('/history'),
  'g c': () => go('/compare'),
}, () => shown?.keys ?? {});

hear((event) => shown?.hear?.(event));
setInterval(() => age(document), 5000);

async function begin() {
  try {
    server = await get('/server');
    find('nav a[href="/start"]').hidden = server.is_read_only || !server.scenarios.length;
    find('#read-only').hidden = !server.is_read_only;
    find('#root').textContent = server.results;
  } catch (error) {
    put(place, problem(error));
    if (/** @type {any} */ (error).status === 401) return;
  }
  await show(true);
}

find('#keys').addEventListener('click', showKeys);
// The first events make the server look at all runs, which the first page does not have to wait for.
await Promise.race([begin(), new Promise((go) => setTimeout(go, 1000))]);
start(hearsState);
// What the other pages are made of is there before somebody goes to one.
setTimeout(() => { for (const [, load] of PAGES) load().catch(() => {}); }, 500);
