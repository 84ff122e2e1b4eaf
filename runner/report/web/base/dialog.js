// @ts-check
// Dialogs: content with buttons, and confirmations of actions.

import { problem } from './problem.js';
import { button, el, render } from './ui.js';

/** Opens a dialog. Returns a function that draws its content again. @param {string} title @param {(close: () => void) => import('./ui.js').Child} content */
export function openDialog(title, content) {
  const dialog = document.createElement('dialog');
  dialog.setAttribute('aria-label', title);
  const close = () => dialog.close();
  const draw = () => render(dialog, el('h2', null, title), content(close));
  dialog.onclose = () => dialog.remove();
  // A click on the backdrop closes the dialog.
  dialog.onclick = (event) => event.target === dialog && close();
  document.body.append(dialog);
  draw();
  dialog.showModal();
  return draw;
}

/**
 * Asks before an action. The dialog stays open with the problem if the action fails. `load` runs first, and returns whether there
 * is something to do.
 * @param {{title: string, text: () => import('./ui.js').Child, yes: string, under: string, no?: string, danger?: boolean,
 *   load?: () => Promise<boolean>, act: () => Promise<void>}} question
 */
export function ask({ title, text, yes, under, no = 'Cancel', danger, load, act }) {
  let [isBusy, isReady, error] = [false, !load, /** @type {any} */ (null)];
  const failed = (/** @type {any} */ caught) => {
    [isBusy, error] = [false, caught];
    draw();
  };
  const draw = openDialog(title, (close) => {
    const go = () => {
      [isBusy, error] = [true, null];
      draw();
      act().then(close, failed);
    };
    const kind = danger ? 'danger' : 'primary';
    return [el('div', null, text()), error && problem(error, `${yes}: refused`), el('p', { class: 'buttons' },
      isReady && button(isBusy ? under : yes, go, { class: kind, disabled: isBusy }),
      // Enter must not delete anything.
      button(no, close, { autofocus: danger }))];
  });
  load?.().then((result) => {
    isReady = result;
    draw();
  }, failed);
}
