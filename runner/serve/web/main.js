// @ts-check
// Addresses are the state: this shows the one that is there.

import { h, put } from './dom.js';
import { showRun } from './run.js';
import { showRuns } from './runs.js';

const page = /** @type {HTMLElement} */ (document.querySelector('#page'));
const link = /** @type {HTMLElement} */ (document.querySelector('#link'));
/** @type {any} */
let shown = null;
let turn = 0;

/** @param {string} to */
function go(to) {
  history.pushState(null, '', to);
  void show();
}

async function show() {
  const mine = ++turn;
  shown?.close?.();
  const address = new URL(location.href);
  const run = address.pathname.match(/^\/runs\/([^/]+)$/);
  try {
    const next = run
      ? await showRun(page, decodeURIComponent(run[1]), address, go)
      : await showRuns(page, address, go);
    if (mine !== turn) return next?.close?.();
    shown = next;
    document.title = run ? `${decodeURIComponent(run[1])} · runner` : 'runner';
  } catch (error) {
    put(page, h('h1', {}, /** @type {Error} */ (error).name), h('p', { role: 'alert' }, /** @type {Error} */ (error).message));
  }
}

document.addEventListener('click', (event) => {
  const target = /** @type {Element} */ (event.target).closest('a');
  if (!target || event.ctrlKey || event.metaKey || event.shiftKey || target.origin !== location.origin) return;
  event.preventDefault();
  go(target.pathname + target.search);
});
addEventListener('popstate', () => void show());

const events = new EventSource('/api/v1/events');
events.addEventListener('open', () => { link.textContent = ''; });
events.addEventListener('error', () => { link.textContent = 'Connection lost; trying again…'; });
events.addEventListener('run', (event) => shown?.run?.(JSON.parse(event.data)));
events.addEventListener('gone', (event) => shown?.gone?.(JSON.parse(event.data)));

void show();
