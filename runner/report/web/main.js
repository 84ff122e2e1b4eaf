// @ts-check
// The frame of all pages: menu, connection, keys.

import { get } from './base/api.js';
import { handleKeys } from './base/keys.js';
import { start } from './base/live.js';
import { current, go, server, show, startRouter, title } from './base/router.js';
import { el, render } from './base/ui.js';

/** @type {import('./base/router.js').Route[]} */
const ROUTES = [
  [/^\/(?:runs\/?)?$/, async () => (await import('./pages/runs.js')).open, '/runs'],
  [/^\/runs\/([^/]+)$/, async () => (await import('./pages/run.js')).open, '/runs'],
  [/^\/runs\/([^/]+)\/trials\/([^/]+)$/, async () => (await import('./pages/trial.js')).open, '/runs'],
  [/^\/compare$/, async () => (await import('./pages/compare.js')).open, '/compare'],
  [/^\/history$/, async () => (await import('./pages/history.js')).open, '/history'],
  [/^\/start$/, async () => (await import('./pages/start.js')).open, '/start'],
  [/^\/queue$/, async () => (await import('./pages/queue.js')).open, '/queue'],
];

/** @param {string} id */
const find = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

/** @returns {import('./base/keys.js').Key[]} */
const keys = () => [
  ['g r', 'Runs', () => go('/runs')],
  ['g c', 'Compare', () => go('/compare')],
  ['g h', 'History', () => go('/history')],
  ['g q', 'Queue', () => go('/queue')],
  ['g s', 'Start', () => go('/start')],
  ...(current()?.keys ?? []),
];

/** @param {import('./base/live.js').LiveState} state */
function showState(state) {
  const words = { open: 'live', lost: 'Connection lost, retrying…', login: 'Not logged in', '': '' };
  const place = find('state');
  place.className = state;
  place.title = state === 'lost' ? 'Runs continue without the server.' : '';
  render(place, words[state]);
  // A visible form keeps its token and its problem. The place of the state has the same class.
  if (state === 'login' && !document.querySelector('form.login')) void show(undefined, true);
}

async function readServer() {
  Object.assign(server, await get('/server'));
  find('start').hidden = server.read_only;
  find('read-only').hidden = !server.read_only;
  render(find('root'), el('span', { title: server.root }, server.root));
}

/** Opens a page that could not be loaded. Some browsers load its scripts again only after a reload. */
function openAgain() {
  if (!current()) location.reload();
}

// The list has one address, so that its filters do not open it again.
if (location.pathname === '/') history.replaceState(null, '', `/runs${location.search}`);
startRouter(ROUTES);
handleKeys(keys);
// The page's script loads meanwhile.
void ROUTES.find(([pattern]) => pattern.test(location.pathname))?.[1]().catch(() => {});
// Without a login, the page shows the form for it.
await readServer().catch(() => {});
await show(history.state?.kept);
start((event) => {
  if (event.name === 'reset') void readServer().catch(() => {});
  if (event.name === 'reset') openAgain();
  current()?.live?.(event);
}, showState);
// After a network failure, a stream may still be open.
addEventListener('online', openAgain);
// Load the scripts of all pages, so that they open without the server.
setTimeout(() => ROUTES.forEach(([, load]) => void load().catch(() => {})), 500);
setInterval(() => {
  if (document.hidden) return;
  current()?.draw();
  title();
}, 1000);
