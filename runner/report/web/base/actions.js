// @ts-check
// Actions on a run: buttons for the `actions` of its document, with their state during a request.

import { get, post, runPath } from './api.js';
import { ask } from './dialog.js';
import { isBusy, pair, problem } from './problem.js';
import { button, el } from './ui.js';
import { count, plural } from './words.js';

/** `reload` reads the run again after an action, `redraw` draws the page again, `gone` is called after a deletion. @typedef {{redraw: () => void, reload: () => Promise<void>, gone: () => void}} Owner */

/** Label, label during the request, and class of each action. @type {Record<string, [string, string, string]>} */
const LABELS = {
  stop: ['■ Stop', 'Stopping…', ''],
  kill: ['Interrupt attempts', 'Interrupting…', 'danger'],
  pause: ['Pause', 'Pausing…', ''],
  unpause: ['Unpause', 'Continuing…', 'primary'],
  resume: ['Resume', 'Resuming…', 'primary'],
  rerun_failed: ['Rerun failed', 'Starting…', ''],
  rescore: ['Rescore…', 'Rescoring…', ''],
  label: ['Edit labels…', 'Saving…', ''],
  pin: ['Pin', 'Pinning…', ''],
  unpin: ['Unpin', 'Unpinning…', ''],
  cancel: ['✕ Cancel run…', 'Cancelling…', 'danger'],
  delete: ['Delete…', 'Deleting…', 'danger'],
};

/** Actions whose requests are not answered, by run. @type {Map<string, string>} */
const underWay = new Map();
/** The result of the last action, by run. @type {Map<string, import('./ui.js').Child>} */
const notes = new Map();

/** The result of the last action on a run. @param {string} run */
export const note = (run) => notes.get(run);

/** Sends a request, and keeps its button disabled until the page shows the result. @param {string} run @param {string} name @param {Owner} owner @param {() => Promise<import('./ui.js').Child | void>} send */
async function act(run, name, owner, send) {
  if (underWay.has(run) && name !== 'kill') return;
  underWay.set(run, name);
  notes.delete(run);
  owner.redraw();
  try {
    notes.set(run, await send() ?? null);
    await owner.reload();
  } finally {
    underWay.delete(run);
    owner.redraw();
  }
}

/** Buttons of actions. A run that is stopping only gets those that stop it faster or for good. @param {string} run @param {any} actions @param {string[]} names @param {Owner} owner @param {boolean} [isStopping] */
export function buttons(run, actions, names, owner, isStopping = false) {
  return names.map((name) => {
    const { allowed } = actions[name === 'kill' ? 'stop' : name];
    const [label, under, kind] = LABELS[name];
    const isBusy = underWay.get(run) === name || (name === 'stop' && isStopping);
    if (!isBusy && (!allowed || (isStopping ? name === 'pause' : name === 'kill'))) return null;
    const props = { key: name, class: kind, disabled: isBusy || (underWay.has(run) && name !== 'kill') };
    return button(isBusy ? under : label, () => (QUESTIONS[name] ? QUESTIONS[name](run, owner) : send(run, name, owner)), props);
  });
}

/** `queue` lets a resume wait until other runs have ended. @param {string} run @param {string} name @param {Owner} owner @param {boolean} [queue] */
function send(run, name, owner, queue = false) {
  const resume = name === 'resume' || name === 'rerun_failed';
  const body = { ...(name === 'rerun_failed' ? { rerun: 'failed' } : {}), ...(name === 'kill' ? { mode: 'kill' } : {}), ...(queue ? { queue } : {}) };
  const call = { rerun_failed: 'resume', kill: 'stop' }[name] ?? name;
  act(run, name, owner, async () => {
    const answer = await post(`${runPath(run)}/${call}`, body);
    return answer.queued ? el('p', { class: 'note' }, 'Waits in the ', el('a', { href: '/queue' }, 'queue'), '.') : null;
  }).catch((error) => {
    notes.set(run, [problem(error, `${LABELS[name][0].replace(/^\W+|…$/g, '')}: refused`), resume && isBusy(error) && button('Add to queue', () => send(run, name, owner, true), { class: 'primary' })]);
    owner.redraw();
  });
}

/** Asks before trials of a pinned run are run again, and those that call other servers, which may cost money. @param {string} run @param {Owner} owner */
async function rerunFailed(run, owner) {
  const body = { rerun: 'failed' };
  const { manifest, run: { pinned } } = await get(runPath(run)).catch(() => ({ manifest: { providers: [] }, run: {} }));
  const names = manifest.providers.filter((/** @type {any} */ one) => one.grants?.net?.length).map((/** @type {any} */ one) => one.name);
  if (!names.length && !pinned) return send(run, 'rerun_failed', owner);
  let words = 'Counting…';
  ask({
    title: 'Run the failed trials again?', yes: 'Rerun', under: 'Starting…',
    load: async () => {
      const { pending } = await post(`${runPath(run)}/resume`, { ...body, dry_run: true });
      words = `${plural(pending, 'trial')} would run.`;
      return pending > 0;
    },
    text: () => [el('p', null, words), pinned && el('p', null, 'The run is pinned. Their results and the end of the run would be replaced.'),
      names.length > 0 && el('p', null, `They may call other servers, which may cost money: ${names.join(', ')}.`)],
    act: () => act(run, 'rerun_failed', owner, async () => { await post(`${runPath(run)}/resume`, body); }),
  });
}

/** @type {Record<string, (run: string, owner: Owner) => void>} */
const QUESTIONS = {
  cancel: (run, owner) => ask({
    title: 'Cancel this run?',
    text: () => 'Running attempts are interrupted, and the run stops for good. Its results are kept.',
    yes: 'Cancel run', under: 'Cancelling…', no: 'Keep running', danger: true,
    act: () => act(run, 'cancel', owner, async () => { await post(`${runPath(run)}/cancel`); }),
  }),
  delete: (run, owner) => ask({
    title: 'Delete this run?',
    text: () => [el('p', null, el('code', null, run)), el('p', null, 'Its results, logs and files are deleted permanently.')],
    yes: 'Delete run', under: 'Deleting…', danger: true,
    act: () => post(runPath(run), {}, 'DELETE').then(owner.gone),
  }),
  rerun_failed: rerunFailed,
  rescore,
  label: labels,
};

/** Shows the result of a dry run before a rescore. @param {string} run @param {Owner} owner */
function rescore(run, owner) {
  const path = `${runPath(run)}/rescore`;
  let preview = /** @type {any} */ ({});
  let words = 'Checking…';
  ask({
    title: 'Rescore the stored outputs', yes: 'Rescore', under: 'Rescoring…', no: 'Close',
    load: async () => {
      preview = await post(path, { dry_run: true }).finally(() => { words = ''; });
      words = preview.judged === 0 ? 'The expectations and graders are the same: nothing would change.'
        : `${plural(preview.judged, 'output')} would be judged again without calling providers. `
          + `${plural(preview.changed, 'outcome')} would change.`;
      return preview.judged > 0;
    },
    text: () => [el('p', null, 'The expectations and graders of the current scenario file are used.'), el('p', null, words), el('ul', null,
      (preview.outcomes ?? []).map((/** @type {any} */ { trials, before, after }) => el('li', null, `${count(trials)} × ${before} → ${after}`)),
      Object.entries(preview.graders ?? {}).map(([name, calls]) => el('li', null, `${plural(calls, 'call')} of the grader ${name}`)))],
    act: () => act(run, 'rescore', owner, async () => {
      await post(path);
      return el('p', { class: 'note' }, `Rescore of ${plural(preview.judged, 'output')} started.`);
    }),
  });
}

/** Edits labels as lines of `key=value`. @param {string} run @param {Owner} owner */
async function labels(run, owner) {
  const old = /** @type {Record<string, string>} */ ((await get(runPath(run))).run.labels ?? {});
  let text = Object.entries(old).map(([key, value]) => `${key}=${value}`).join('\n');
  ask({
    title: 'Labels',
    text: () => el('label', null, 'One label a line, such as ', el('code', null, 'commit=1f2e3d4'),
      el('textarea', { rows: 6, value: text, oninput: (/** @type {any} */ event) => { text = event.target.value; } })),
    yes: 'Save labels', under: 'Saving…',
    act: () => act(run, 'label', owner, async () => {
      const lines = text.split('\n').filter((line) => line.trim());
      const set = Object.fromEntries(lines.map(pair));
      const remove = Object.keys(old).filter((key) => !(key in set));
      await post(`${runPath(run)}/labels`, { set, remove });
    }),
  });
}
