// @ts-check
// Keys of all pages, and the dialog that lists them.

import { openDialog } from './dialog.js';
import { button, el } from './ui.js';

/** A key or a sequence of two, its description, and the action. @typedef {[string, string, () => void]} Key */

/** Keys of lists, which `rows.js` handles. */
const LISTS = /** @type {[string, string][]} */ ([
  ['↑ ↓ j k', 'Move in a list'],
  ['Home End', 'First or last row of a list'],
  ['Enter', 'Open'],
]);

let before = '';

/** Handles keys outside of fields, and the button that lists them. @param {() => Key[]} more keys of the page */
export function handleKeys(more) {
  /** @returns {Key[]} */
  const keys = () => [
    ['?', 'This list', () => showKeys(keys())],
    ['/', 'Search', () => /** @type {HTMLElement | null} */ (document.querySelector('main input[type=search]'))?.focus()],
    ...more(),
  ];
  /** @type {HTMLElement} */ (document.getElementById('keys')).onclick = () => showKeys(keys());
  addEventListener('keydown', (event) => {
    const target = /** @type {HTMLElement} */ (event.target);
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const isField = target.matches('input:not([type=checkbox]), textarea, select');
    if (isField && event.key === 'Escape') target.blur();
    if (isField || document.querySelector('dialog[open]')) return;
    const names = [`${before} ${event.key}`, event.key];
    before = event.key;
    const [, , action] = keys().find(([key]) => names.includes(key)) ?? [];
    if (!action) return;
    before = '';
    event.preventDefault();
    action();
  });
}

/** @param {Key[]} keys */
function showKeys(keys) {
  const kbd = (/** @type {string} */ text) => text.split(' ').map((key) => [el('kbd', null, key), ' ']);
  const rows = [...keys, ...LISTS].map(([key, words]) => [el('dt', null, kbd(key)), el('dd', null, words)]);
  openDialog('Keys', (close) => [el('dl', { class: 'keys' }, rows), el('p', { class: 'buttons' }, button('Close', close))]);
}
