// @ts-check
// Keys: one letter, or `g` and a letter; never while somebody writes, and never beside Ctrl, Alt or Meta.

import { button, el } from './ui.js';

/** @type {[string, string][]} */
const SHOWN = [
  ['?', 'show these keys'],
  ['/', 'go to the filter'],
  ['g r', 'all runs'],
  ['g s', 'start a run'],
  ['g q', 'the queue'],
  ['g c', 'compare'],
  ['g h', 'history'],
  ['j  k', 'next and previous: run of the list, trial of the table, failing trial of a trial\'s page'],
  ['Enter', 'open what is marked'],
  ['x', 'tick the marked run'],
  ['c', 'compare the two runs that are ticked'],
  ['u', 'up: from a trial to its run, from a run to all'],
  ['[  ]', 'attempt before and after'],
  ['Esc', 'leave a field, close a dialog'],
  ['↑ ↓ PgUp PgDn Home End', 'move in the table of trials'],
];

/** @param {Record<string, () => void>} always @param {() => Record<string, () => void>} here those of the page, which go first */
export function keys(always, here) {
  let before = '';
  document.addEventListener('keydown', (event) => {
    const target = /** @type {HTMLElement} */ (event.target);
    const isWriting = target.matches('input:not([type=checkbox]):not([type=radio]), textarea, select');
    if (event.key === 'Escape' && isWriting) { target.blur(); return; }
    if (isWriting || event.ctrlKey || event.metaKey || event.altKey || document.querySelector('dialog[open]')) return;
    const chord = before ? `${before} ${event.key}` : event.key;
    before = event.key === 'g' && !before ? 'g' : '';
    const page = here();
    const work = Object.hasOwn(page, chord) ? page[chord] : Object.hasOwn(always, chord) ? always[chord] : null;
    if (!work) return;
    event.preventDefault();
    work();
  });
}

export function showKeys() {
  const dialog = el('dialog', { 'aria-labelledby': 'keys-title' },
    el('h2', { id: 'keys-title' }, 'Keys'),
    el('dl', { class: 'keys' }, SHOWN.flatMap(([key, what]) => [el('dt', null, key.split('  ').map((one) => el('kbd', null, one))), el('dd', null, what)])),
    el('div', { class: 'actions' }, button('Close', () => dialog.close())));
  dialog.addEventListener('close', () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}
