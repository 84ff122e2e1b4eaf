// @ts-check
// Dialogs: content with buttons, and questions before an action.

import { problem } from './problem.js';
import { button, el, render } from './ui.js';

/**
 * Opens a dialog. The content is drawn again by `redraw`.
 * @param {string} title @param {(close: () => void, redraw: () => void) => import('./ui.js').Child} content
 */
export function openDialog(title, content) {
  const dialog = document.createElement('dialog');
  dialog.setAttribute('aria-label', title);
  const close = () => dialog.close();
  const draw = () => render(dialog, el('h2', null, title), content(close, draw));
  dialog.onclose = () => dialog.remove();
  // A click on the backdrop closes.
  dialog.onclick = (event) => event.target === dialog && close();
  document.body.append(dialog);
  draw();
  dialog.showModal();
}

/**
 * Asks before an action. The dialog stays open with the problem if the action fails.
 * @param {{title: string, text: import('./ui.js').Child, yes: string, under: string, no?: string, danger?: boolean,
 *   act: () => Promise<void>}} question
 */
export function ask({ title, text, yes, under, no = 'Cancel', danger, act }) {
  let [isBusy, error] = [false, /** @type {any} */ (null)];
  openDialog(title, (close, redraw) => {
    const go = async () => {
      [isBusy, error] = [true, null];
      redraw();
      try {
        await act();
        close();
      } catch (caught) {
        [isBusy, error] = [false, caught];
        redraw();
      }
    };
    return [el('div', null, text), error && problem(error), el('p', { class: 'buttons' },
      button(isBusy ? under : yes, () => void go(), { class: danger ? 'danger' : 'primary', disabled: isBusy }), button(no, close))];
  });
}
