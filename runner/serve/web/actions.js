// @ts-check
// What can be done with a run: the server says what that is, and nothing here decides it.

import { get, leave, ofRun, post, Problem } from './api.js';
import { unfollow } from './live.js';
import { problem } from './problem.js';
import { button, el, link, put } from './ui.js';

/**
 * @typedef {{label: string, busy: string, route: string, body?: object, method?: string, kind?: string, sure?: [string, string]}} Action
 * @type {Record<string, Action>}
 */
const ACTIONS = {
  stop: { label: '❚❚ Stop', busy: 'Stopping…', route: '/stop', kind: 'neutral' },
  resume: { label: '▶ Resume', busy: 'Resuming…', route: '/resume', kind: 'primary' },
  rerun_failed: { label: '↻ Rerun failed', busy: 'Starting…', route: '/resume', body: { rerun: 'failed' } },
  rescore: { label: 'Judge again', busy: 'Judging…', route: '/rescore' },
  pause: { label: 'Pause', busy: 'Pausing…', route: '/pause' },
  unpause: { label: '▶ Go on', busy: 'Going on…', route: '/unpause', kind: 'primary' },
  pin: { label: 'Pin', busy: 'Pinning…', route: '/pin' },
  unpin: { label: 'Unpin', busy: 'Unpinning…', route: '/unpin' },
  cancel: {
    label: '✕ Cancel', busy: 'Cancelling…', route: '/cancel', kind: 'danger',
    sure: ['Cancel this run for good?', 'It ends now, and its status says that it is not meant to go on. What was recorded stays. To go on with it later, stop it instead.'],
  },
  delete: {
    label: 'Delete', busy: 'Deleting…', route: '', method: 'DELETE', kind: 'danger',
    sure: ['Delete this run?', 'Its rows, logs and files go for good.'],
  },
};
const ORDER = ['unpause', 'stop', 'pause', 'resume', 'rerun_failed', 'pin', 'unpin', 'rescore', 'cancel', 'delete'];

/** What is under way here, by run: a page that is drawn anew meanwhile still says so. @type {Map<string, string>} */
const underWay = new Map();

/** @param {any[]} actions @returns {string[]} */
export const possible = (actions) => {
  const can = new Set(actions.filter((one) => one.is_possible).map((one) => one.action));
  return ORDER.filter((name) => can.has(name));
};

/**
 * Buttons for what can be done now, and for what is under way.
 * @param {string} run @param {any[]} actions @param {{changed: () => any, told: (shown: Node) => void, deleted: () => void}} then
 */
export function buttons(run, actions, then) {
  const busy = underWay.get(run);
  const names = possible(actions);
  if (busy && !names.includes(busy)) names.unshift(busy);
  return names.map((name) => {
    const made = button(ACTIONS[name].label, () => void act(run, name, made, then), ACTIONS[name].kind);
    made.dataset.action = name;
    if (busy) {
      made.disabled = true;
      if (name === busy) made.textContent = ACTIONS[name].busy;
    }
    return made;
  });
}

/** @param {string} run @param {string} name @param {HTMLButtonElement} pressed @param {{changed: () => any, told: (shown: Node) => void, deleted: () => void}} then @param {object} [more] what is asked for beside it */
async function act(run, name, pressed, then, more = {}) {
  const action = ACTIONS[name];
  if (underWay.has(run) || (action.sure && !(await isSure(run, action)))) return;
  underWay.set(run, name);
  for (const other of pressed.parentElement?.querySelectorAll('button') ?? []) other.disabled = true;
  pressed.textContent = action.busy;
  // What is asked of a run that is gone meanwhile is an error that nobody needs to see.
  const left = name === 'delete' ? leave(run) : null;
  if (left) unfollow(run);
  /** @type {HTMLElement | null} */
  let failed = null;
  let said = null;
  try {
    const { queued } = await post(`${ofRun(run)}${action.route}`, { ...action.body, ...more }, action.method);
    if (queued) said = waits();
  } catch (error) {
    left?.stays();
    const shown = problem(error);
    const { status, help, message } = /** @type {any} */ (error);
    // The scenario or a plugin is another one now, which somebody has to say yes to.
    if (action.route === '/resume' && status === 422 && /accept-changes/.test(`${help} ${message}`)) {
      shown.append(button('Accept the changes, and go on', (/** @type {any} */ event) => void act(run, name, event.target, then, { accept_changes: true })));
    }
    // Somebody else is at work, and it may wait for them.
    if (action.route === '/resume' && error instanceof Problem && error.kind === '/problems/busy' && !('queue' in more)) {
      shown.append(queueOffer((place) => void act(run, name, pressed, then, { ...more, ...place })));
    }
    failed = shown;
  }
  underWay.delete(run);
  if (left && !failed) {
    left.gone();
    then.deleted();
  } else await then.changed();
  // After the page has been drawn anew, which takes away what was said before.
  if (failed ?? said) then.told(/** @type {HTMLElement} */ (failed ?? said));
}

/** Offers to wait for those who are at work. @param {(place: {queue: true, priority: number}) => void} begin */
export function queueOffer(begin) {
  const priority = el('input', { type: 'number', step: 1, value: 0, 'aria-label': 'Priority', title: 'Greater ones come first' });
  return el('div', { class: 'actions' },
    button('Wait in the queue', () => begin({ queue: true, priority: priority.valueAsNumber || 0 }), 'primary'),
    el('span', { class: 'quiet' }, 'with priority'), priority, link('/queue', 'See the queue'));
}

/** Says that something waits. */
export const waits = () => el('p', { class: 'warn', role: 'status' }, 'It waits in the queue, and begins once there is room: ', link('/queue', 'see the queue'));

/** @param {string} run @param {Action} action @returns {Promise<boolean>} */
function isSure(run, action) {
  const [question, means] = action.sure ?? ['', ''];
  return sure(question, run, means, action.label.replace(/^[^A-Za-z]+/, ''), action.kind, 'Keep it as it is');
}

/** Asks before something that is for good. @param {string} question @param {string} name of what it is about @param {string} means @param {string} yes @param {string | undefined} kind @param {string} no @returns {Promise<boolean>} */
export function sure(question, name, means, yes, kind, no) {
  return new Promise((answer) => {
    const dialog = el('dialog', { 'aria-labelledby': 'sure' },
      el('h2', { id: 'sure' }, question),
      el('p', { class: 'mono quiet' }, name),
      el('p', null, means),
      el('div', { class: 'actions' },
        button(yes, () => dialog.close('yes'), kind),
        button(no, () => dialog.close(''))));
    dialog.addEventListener('close', () => {
      dialog.remove();
      answer(dialog.returnValue === 'yes');
    });
    document.body.append(dialog);
    dialog.showModal();
    dialog.querySelectorAll('button')[1].focus();
  });
}

/** A button that opens a list of what can be done with a run. @param {string} run @param {{changed: () => any, told: (shown: Node) => void, deleted: () => void}} then */
export function menu(run, then) {
  const list = el('div', { popover: 'auto', class: 'menu', role: 'group', 'aria-label': `What can be done with ${run}` });
  const opener = button('⋯', async () => {
    put(list, el('span', { class: 'quiet' }, '…'));
    list.showPopover();
    place();
    try {
      const { actions } = await get(ofRun(run));
      const made = buttons(run, actions, {
        changed: () => { list.hidePopover(); return then.changed(); },
        told: (shown) => { list.hidePopover(); then.told(shown); },
        deleted: () => { list.hidePopover(); then.deleted(); },
      });
      put(list, made.length ? made : el('span', { class: 'quiet' }, 'nothing'));
      made[0]?.focus();
    } catch (error) {
      put(list, problem(error));
    }
    place();
  }, 'quiet small menu-opener');
  opener.setAttribute('aria-label', `Actions for ${run}`);
  opener.title = 'Actions';
  const place = () => {
    const { bottom, right } = opener.getBoundingClientRect();
    list.style.top = `${Math.max(4, Math.min(bottom + 4, innerHeight - list.offsetHeight - 4))}px`;
    list.style.left = `${Math.max(4, right - list.offsetWidth)}px`;
  };
  list.addEventListener('keydown', (/** @type {KeyboardEvent} */ event) => {
    const all = [...list.querySelectorAll('button')];
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step || !all.length) return;
    event.preventDefault();
    all[(all.indexOf(/** @type {any} */ (document.activeElement)) + step + all.length) % all.length].focus();
  });
  return el('span', null, opener, list);
}
