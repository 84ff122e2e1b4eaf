// @ts-check
// The queue: active runs, waiting requests in their order, and refused requests.

import { buttons, note } from '../base/actions.js';
import { get, post, runPath } from '../base/api.js';
import { follow } from '../base/live.js';
import { problem } from '../base/problem.js';
import { button, el, link, paced, render, soon, table } from '../base/ui.js';
import { actor, bar, count, done, local, needed, pace, plural, prose, shell, state, time, worked } from '../base/words.js';

/** The queue, and the runs with their counts. */
const read = () => Promise.all([get('/queue'), get('/runs?status=running&limit=200')]);

/** The reason of a refusal, which is a message for a terminal: each problem with its place and its help. @param {string} text */
const refusal = (text) => text.split(/\n+(?=error: )/).map((one) => {
  const [place, help] = [/\n *--> (.*)/, /\n *= help: ([^]*)/].map((pattern) => pattern.exec(one)?.[1]);
  const message = one.replace(/^error: /, '');
  return [el('p', { class: 'pre' }, place && [el('code', null, place), ' '], prose(place ? message.split('\n')[0] : message)), help && el('p', { class: 'quiet' }, prose(help))];
});

/** @type {import('../base/router.js').Open} */
export async function open({ place, server }) {
  /** @type {any} */
  let [queue, { runs }] = await read();
  let [busy, error, removed] = ['', /** @type {any} */ (null), /** @type {any} */ (null)];
  /** The newest progress of active runs. @type {Map<string, any>} */
  const progress = new Map();
  const watch = () => follow(...queue.active.map((/** @type {any} */ one) => one.run));
  const draw = soon(() => render(place, el('h1', null, 'Queue'), error && problem(error), undo(), content()));
  const update = async () => {
    try {
      [queue, { runs }] = await read();
      watch();
    } catch (caught) {
      error = caught;
    }
    draw();
  };

  /** Sends a change of a request, whose answer may be a removal. @param {string} request @param {() => Promise<any>} send */
  async function change(request, send) {
    [busy, error] = [request, null];
    draw();
    const answer = await send().catch((caught) => { error = caught; });
    if (answer) removed = answer.result === 'removed' ? answer : null;
    if (answer) await update();
    busy = '';
    draw();
    // The button with the focus is gone.
    if (answer && removed) setTimeout(() => /** @type {HTMLElement | null} */ (place.querySelector('[role=status] button'))?.focus(), 50);
  }

  const path = (/** @type {string} */ request) => `/queue/${encodeURIComponent(request)}`;

  const undo = () => el('div', { role: 'status' }, removed && el('p', { class: 'note' }, 'Removed ', el('code', null, `runner ${shell(removed.command)}`), ' ',
    button('Undo', () => change(removed.request, () => post(`${path(removed.request)}/restore`)), { disabled: Boolean(busy) })));

  function content() {
    const waiting = queue.requests.filter((/** @type {any} */ one) => one.place !== null);
    const refused = queue.requests.filter((/** @type {any} */ one) => one.place === null);
    const { active, max_active_runs: limit } = queue;
    const hasNotes = active.some(notes);
    return [
      queue.problems.map((/** @type {string} */ text) => el('p', { class: 'note bad' }, prose(text))),
      el('h2', null, 'Active', active.length > 0 && ` ${count(active.length)}`, el('small', null, `limit ${count(limit)} (`, el('code', null, 'max_active_runs'), '). Runs from a terminal are not limited.')),
      active.length ? table('Active runs', ['Run', 'Done', 'By', 'Time', hasNotes && 'Notes', 'Actions'].filter(Boolean), active.map(activeRow), 'active-runs') : el('p', { class: 'quiet' }, 'No run is active.'),
      queue.active.map((/** @type {any} */ run) => note(run.run)),
      el('h2', null, 'Waiting', waiting.length > 0 && ` ${count(waiting.length)}`),
      waiting.length ? list(waiting) : el('p', { class: 'quiet' }, 'No requests wait. Add one ', !server.read_only && [link('/start', 'here'), ', or '], 'with ', el('code', null, 'runner exec --queue'), '.'),
      refused.length > 0 && [el('h2', null, 'Refused'), list(refused)],
    ];
  }

  const owner = { redraw: draw, reload: update, gone: draw };
  const pause = (/** @type {any} */ run) => (run.preempted ? 'paused for another run' : run.paused && 'paused');
  const notes = (/** @type {any} */ run) => [pause(run), run.priority && `priority ${run.priority}`].filter(Boolean).join(', ');

  /** @param {any} run */
  function activeRow(run) {
    const full = runs.find((/** @type {any} */ one) => one.run === run.run);
    const now = progress.get(run.run);
    const counts = full && { ...full.counts, ...now?.counts };
    return el('tr', { key: run.run }, el('td', null, state(pause(run) ? 'paused' : 'running', ''), ' ', link(runPath(run.run), `${run.scenario} ${run.short}`)),
      el('td', null, counts && [`${count(done(counts))} of ${count(needed(counts))} `, bar(counts)]), el('td', null, run.user), el('td', { title: `since ${local(run.started_at)}` }, full && [worked(full), !full.paused && el('span', { class: 'quiet' }, ' · ', pace(full, counts, now?.rate ?? (1000 * done(counts)) / full.worked_ms))]),
      queue.active.some(notes) && el('td', null, notes(run)), el('td', null, full && el('span', { class: 'buttons' }, buttons(run.run, full.actions, ['stop', 'kill'], owner, full.stopping))));
  }

  /** @param {any[]} requests */
  const list = (requests, isRefused = requests[0].place === null) => table(isRefused ? 'Refused requests' : 'Requests', [!isRefused && 'Place', 'Request', !isRefused && 'Priority', 'By', 'Since', 'Actions'].filter(Boolean), requests.map(row), 'queue');

  /** A button that moves a request before another one. @param {any} one @param {any} other @param {string} mark @param {string} words */
  const swap = (one, other, mark, words) => button(mark, () => change(one.request, () => post(`${path(one.request)}/move`, { before: other.request })),
    { key: mark, disabled: Boolean(busy || one.foreign), title: words, 'aria-label': words });

  /** The scenario or the run of a request. @param {any} one */
  const subject = (one) => (one.run ? link(runPath(one.run), one.run) : one.command.find((/** @type {string} */ word) => word.endsWith('.toml'))?.replace(/.*\/|\.toml$/g, '') ?? '');

  /** @param {any} one */
  function row(one) {
    const isBusy = busy === one.request;
    const tools = server.read_only || one.foreign ? null : el('span', { class: 'buttons' },
      one.place > 1 && button('To the front', () => change(one.request, () => post(`${path(one.request)}/move`)), { disabled: Boolean(busy) }),
      one.place > 2 && swap(one, queue.requests[one.place - 2], '↑', 'Move up'),
      one.place && queue.requests[one.place]?.place && swap(queue.requests[one.place], one, '↓', 'Move down'),
      one.place === null && button('Queue again', () => change(one.request, () => post(`${path(one.request)}/move`, { priority: one.priority })), { disabled: Boolean(busy) }),
      button(isBusy ? 'Removing…' : 'Remove', () => change(one.request, () => post(path(one.request), {}, 'DELETE')), { disabled: Boolean(busy), class: 'danger' }));
    const priority = server.read_only || one.foreign ? String(one.priority)
      : el('input', { type: 'number', value: String(one.priority), disabled: Boolean(busy), 'aria-label': `Priority of ${one.short}`,
        onchange: (/** @type {any} */ event) => change(one.request, () => post(`${path(one.request)}/move`, { priority: Number(event.target.value) })) });
    const notes = [one.refused && el('div', { class: 'note bad' }, refusal(one.refused)), one.foreign && el('p', { class: 'quiet' }, 'This request ', prose(one.foreign), '.'),
      one.preempts && el('small', null, 'pauses runs of lower priority'), one.tries > 0 && el('small', null, `${plural(one.tries, 'start')} ended without a run`)];
    return el('tr', { key: one.request }, one.place !== null && el('td', null, one.place), el('td', { class: 'request' }, el('b', null, subject(one)), el('small', null, el('code', { title: one.folder }, `runner ${shell(one.command)}`)), notes),
      one.place !== null && el('td', { class: 'priority' }, priority), el('td', null, actor(one.by)), el('td', null, time(one.at, 'age')), el('td', null, tools));
  }

  const refresh = paced(500, update);
  draw();
  watch();
  const live = (/** @type {import('../base/live.js').LiveEvent} */ { name, run = '', data }) => {
    if (name === 'progress') progress.set(run, data);
    else void refresh();
    draw();
  };
  return { title: () => `Queue (${queue.requests.length})`, draw, live, close: () => follow(null) };
}
