// @ts-check
// The queue: what runs now, what waits until there is room, and what could not be started.

import { menu, sure } from './actions.js';
import { get, ofRun, post } from './api.js';
import { problem } from './problem.js';
import { visibleLine } from './text.js';
import { atMostEvery, button, el, link, put, say, table } from './ui.js';
import { count, counted, done, plural, since, stackedBar, status } from './words.js';

/** What events of all runs are about that are shown here. */
const HEARD = ['queue', 'run', 'gone', 'reset', 'ready'];

/** @type {import('./main.js').Show} */
export async function showQueue(address, { place, go, server }) {
  const told = el('div', { 'aria-live': 'polite' });
  const running = el('section', { 'aria-label': 'Running now' });
  const list = new Waiting(server.is_read_only, (path, body, method) => change(path, body, method));
  const refused = el('section', { 'aria-label': 'Could not be started' });
  const unreadable = el('div');
  let isClosed = false;
  /** @type {Api.RunQueue} */
  let queue;

  const load = async () => {
    try {
      queue = await get('/queue');
      if (!isClosed) draw();
    } catch (error) {
      if (!isClosed) put(told, problem(error));
    }
  };
  /** @param {string} path @param {object} body @param {string} [method] */
  const change = async (path, body, method) => {
    put(told);
    try {
      await post(path, body, method);
    } catch (error) {
      put(told, problem(error));
    }
    await load();
  };

  let drawn = '';
  function draw() {
    const of = (/** @type {string} */ state) => queue.requests.filter((one) => one.state === state);
    const [starting, waiting, bad] = ['starting', 'waiting', 'refused'].map(of);
    list.show(waiting, starting.length + queue.active.length >= queue.max_active_runs);
    // What has not changed is left alone, with what is opened or focused in it.
    const look = JSON.stringify([queue.active, starting, bad, queue.max_active_runs, queue.unreadable], (key, value) => (key === 'elapsed_ms' || key === 'worked_ms' ? 0 : value));
    if (look === drawn) return;
    drawn = look;
    const had = running.contains(document.activeElement) || refused.contains(document.activeElement);
    if (had && document.querySelector(':popover-open')) { drawn = ''; return; }
    put(running, el('h2', null, 'Running now ', el('small', null, `${count(queue.active.length + starting.length)} of at most ${count(queue.max_active_runs)}`)),
      queue.active.length + starting.length ? table({ class: 'runs active', label: 'Running now' }, [['Status', 'of-status'], ['Run', 'run'], ['Trials', 'of-trials'], ['Began', 'of-began'], ['', 'tools']], [
        ...queue.active.map((run) => el('tr', null,
          el('td', { class: 'of-status' }, status(run.status), run.paused ? el('span', { class: 'pill open' }, 'paused') : null),
          el('th', { scope: 'row', class: 'run' }, link(ofRun(run.run), el('span', { class: 'name' }, visibleLine(run.scenario))), el('span', { class: 'mono quiet id' }, run.run)),
          el('td', { class: 'of-trials' }, stackedBar(run.counts), el('span', { class: 'quiet' }, `${count(done(run.counts))} of ${count(run.counts.planned)}${done(run.counts) ? `: ${counted(run.counts)}` : ''}`)),
          el('td', { class: 'of-began' }, since(run.started_at)),
          el('td', { class: 'tools' }, server.is_read_only ? null : menu(run.run, { changed: load, told: (shown) => put(told, shown), deleted: load })))),
        ...starting.map((one) => el('tr', null, el('td', { class: 'of-status' }, el('span', { class: 'live' }, '○ starting')),
          el('th', { scope: 'row', class: 'run' }, what(one)), el('td', { class: 'of-trials quiet' }, 'no trial yet'), el('td', { class: 'of-began' }, since(one.since)), el('td', { class: 'tools' })))])
        : el('p', { class: 'none' }, 'No run is active.'));
    put(refused, bad.length ? [el('h2', null, 'Could not be started'), bad.map((one) => el('div', { class: 'check' },
      el('h3', null, what(one), ' ', el('small', null, by(one))),
      el('pre', { tabindex: 0, role: 'group', 'aria-label': 'Why' }, visibleLine(one.error ?? '').replaceAll('\\n', '\n')),
      server.is_read_only ? null : el('div', { class: 'actions' },
        button('Try again', () => void change(`/queue/${encodeURIComponent(one.id)}/move`, { priority: one.priority })),
        button('Remove', () => void remove(one, change), 'danger'))))] : null);
    put(unreadable, queue.unreadable.map((one) => el('p', { class: 'warn' }, `Cannot be read: ${visibleLine(one.path)}: ${visibleLine(one.error)}`)));
  }

  put(place, el('div', { class: 'title' }, el('h1', null, 'Queue'),
    server.is_read_only || !server.scenarios.length ? null : el('a', { href: '/start', class: 'button primary' }, 'Start a run')),
  told, running, list.element, refused, unreadable);
  await load();
  const again = atMostEvery(500, load);
  return {
    title: 'Queue',
    hear({ name, run }) { if (!run && HEARD.includes(name)) again(); },
    keys: { u: () => go('/runs') },
    close() { isClosed = true; again.stop(); },
  };
}

/** The requests that wait, in their order. A line keeps its elements, so that the focus moves along with it. */
class Waiting {
  /** @param {boolean} isReadOnly @param {(path: string, body: object, method?: string) => Promise<void>} change */
  constructor(isReadOnly, change) {
    this.isReadOnly = isReadOnly;
    this.change = change;
    /** @type {Api.QueuedRun[]} */
    this.requests = [];
    /** @type {Map<string, {line: HTMLElement, place: HTMLElement, priority: any, up: any, down: any, first: any}>} */
    this.lines = new Map();
    this.count = el('small');
    this.body = el('tbody');
    this.none = el('p', { class: 'none' }, 'Nothing waits. What is started while others are at work can wait here: by ', el('code', null, 'runner exec --queue'), ' in a terminal, or by the button “Wait in the queue” of a start.');
    const heads = ['Place', 'What', 'Priority', 'Asked for', ''];
    this.table = el('div', { class: 'wide' }, el('table', { class: 'queue', 'aria-label': 'Waiting' },
      el('thead', null, el('tr', null, heads.map((name) => (name ? el('th', { scope: 'col' }, name) : el('td'))))), this.body));
    this.why = el('p', { class: 'quiet' });
    this.element = el('section', { 'aria-label': 'Waiting' }, el('h2', null, 'Waiting ', this.count), this.why, this.none, this.table);
  }

  /** @param {Api.QueuedRun[]} requests @param {boolean} isFull whether as many runs are active as may be */
  show(requests, isFull) {
    this.requests = requests;
    this.none.hidden = requests.length > 0;
    this.table.hidden = !requests.length;
    say(this.count, requests.length ? plural(requests.length, 'request') : '');
    say(this.why, !requests.length ? ''
      : isFull ? 'The first of them begins when a run that is active now ends.'
        : this.isReadOnly ? 'There is room for the first of them. A server that is not read-only, or runner queue work, starts it.' : 'There is room for the first of them: it begins in a moment.');
    const focused = /** @type {HTMLElement | null} */ (this.body.contains(document.activeElement) ? document.activeElement : null);
    for (const id of this.lines.keys()) if (!requests.some((one) => one.id === id)) { this.lines.get(id)?.line.remove(); this.lines.delete(id); }
    for (const [place, one] of requests.entries()) {
      const line = this.lines.get(one.id) ?? this.#make(one);
      say(line.place, String(one.place ?? place + 1));
      if (this.isReadOnly) say(line.priority, String(one.priority));
      else {
        if (document.activeElement !== line.priority) line.priority.value = String(one.priority);
        line.up.disabled = line.first.disabled = place === 0;
        line.down.disabled = place === requests.length - 1;
      }
      if (this.body.children[place] !== line.line) this.body.insertBefore(line.line, this.body.children[place] ?? null);
    }
    if (!focused?.isConnected) return;
    const next = /** @type {any} */ (focused).disabled ? focused.parentElement?.querySelector('button:not(:disabled)') : focused;
    if (document.activeElement !== next) /** @type {HTMLElement | null | undefined} */ (next)?.focus();
  }

  /** @param {Api.QueuedRun} one */
  #make(one) {
    const path = `/queue/${encodeURIComponent(one.id)}`;
    const name = visibleLine(one.what);
    const before = (/** @type {string | undefined} */ id, /** @type {string} */ moved) => { if (id) void this.change(`/queue/${encodeURIComponent(moved)}/move`, { before: id }); };
    const at = () => this.requests.findIndex((other) => other.id === one.id);
    const tool = (/** @type {string} */ sign, /** @type {string} */ words, /** @type {() => void} */ work) => {
      const made = button(sign, work, 'small');
      made.setAttribute('aria-label', `${words}: ${name}`);
      made.title = words;
      return made;
    };
    const up = tool('↑', 'Move up', () => before(this.requests[at() - 1]?.id, one.id));
    const down = tool('↓', 'Move down', () => before(one.id, this.requests[at() + 1]?.id));
    const first = tool('First', 'First of all', () => void this.change(`${path}/move`, {}));
    const priority = this.isReadOnly ? el('span') : el('input', { type: 'number', step: 1, value: one.priority, 'aria-label': `Priority: ${name}`, title: 'Greater ones come first; requests of the same priority in the order in which they were asked for',
      onchange: () => { if (Number.isInteger(priority.valueAsNumber)) void this.change(`${path}/move`, { priority: priority.valueAsNumber }); else priority.value = String(one.priority); } });
    const place = el('td', { class: 'place' });
    const line = el('tr', null, place,
      el('th', { scope: 'row', class: 'what' }, what(one)),
      el('td', { class: 'priority' }, priority),
      el('td', { class: 'asked quiet' }, since(one.since), ` ${by(one)}`),
      el('td', { class: 'tools' }, this.isReadOnly ? null : [up, ' ', down, ' ', first, ' ', tool('Remove', 'Remove from the queue', () => void remove(one, this.change))]));
    const made = { line, place, priority, up, down, first };
    this.lines.set(one.id, made);
    return made;
  }
}

/** @param {Api.QueuedRun} one @param {(path: string, body: object, method?: string) => Promise<void>} change */
async function remove(one, change) {
  const isSure = await sure('Take it out of the queue?', visibleLine(one.what), 'It will not run, unless somebody asks for it again.', 'Remove', 'danger', 'Keep it');
  if (isSure) await change(`/queue/${encodeURIComponent(one.id)}`, {}, 'DELETE');
}

/** What is to run: a scenario's file, or a run that is to go on. @param {Api.QueuedRun} one */
const what = (one) => [one.command === 'resume' ? el('span', { class: 'name mono' }, 'resume ', link(ofRun(one.what), visibleLine(one.what))) : el('span', { class: 'name mono' }, visibleLine(one.what)), el('span', { class: 'mono quiet id' }, visibleLine(one.folder))];

/** @param {Api.QueuedRun} one */
const by = (one) => `by ${visibleLine(one.by.user ?? String(one.by.uid))}${one.by.text ? `: ${visibleLine(one.by.text)}` : ''}`;
