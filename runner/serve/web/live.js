// @ts-check
// Events for all tabs. A browser opens six connections to a server, so one tab reads and tells the others: that of all
// runs, and those of the runs that are in sight.

import { get, ofRun } from './api.js';

/** @typedef {{name: string, run?: string, data: any}} LiveEvent */

/** How many runs are followed closely at once; how all others stand comes with the events of the root. */
const FOLLOWED = 3;

const me = `${Date.now().toString(36)}-${Math.random().toString(36).slice(2)}`;
const canShare = 'locks' in navigator && 'BroadcastChannel' in globalThis;
const channel = canShare ? new BroadcastChannel('runner-live') : null;

/** @type {Set<(event: LiveEvent) => void>} */
const hearers = new Set();
/** @type {((state: 'open' | 'lost' | 'stranger') => void)} */
let tellState = () => {};
/** @type {string | null} */
let wish = null;

// Of the tab that reads.
let isReading = false;
/** @type {Map<string, string>} */
const wishes = new Map();
/** @type {Map<string, EventSource>} */
const streams = new Map();
/** @type {'open' | 'lost' | 'stranger' | ''} */
let state = '';

/** Hears every event, until the answer is called. @param {(event: LiveEvent) => void} hearer */
export function hear(hearer) {
  hearers.add(hearer);
  return () => hearers.delete(hearer);
}

/** Says which run is in sight here. @param {string | null} run */
export function follow(run) {
  wish = run;
  tellWish();
}

/** Says that a run is in sight no more, where it was. @param {string} run */
export function unfollow(run) {
  if (wish === run) follow(null);
}

/** Begins to read or to listen. @param {(state: 'open' | 'lost' | 'stranger') => void} hearsState */
export function start(hearsState) {
  tellState = hearsState;
  addEventListener('visibilitychange', tellWish);
  // The page may come back from the browser's memory, with its connections closed.
  addEventListener('pagehide', () => { channel?.postMessage({ kind: 'want', tab: me, run: null }); });
  addEventListener('pageshow', (event) => { if (event.persisted) location.reload(); });
  if (!channel) {
    const see = () => (document.hidden ? stop() : read());
    addEventListener('visibilitychange', see);
    see();
    return;
  }
  channel.addEventListener('message', ({ data }) => {
    if (data.kind === 'event') deliver(data.event);
    else if (data.kind === 'state') tellState(data.state);
    else if (data.kind === 'reads') tellWish();
    else if (data.kind === 'want' && isReading) want(data.tab, data.run);
    else if (data.kind === 'hello' && isReading && state) channel.postMessage({ kind: 'state', state });
  });
  channel.postMessage({ kind: 'hello' });
  void navigator.locks.request('runner-live', () => {
    read();
    channel.postMessage({ kind: 'reads' });
    // The lock is held until this tab is closed; then another one reads.
    return new Promise(() => {});
  });
}

function tellWish() {
  const run = document.hidden ? null : wish;
  if (isReading) want(me, run);
  else channel?.postMessage({ kind: 'want', tab: me, run });
}

/** @param {LiveEvent} event */
function deliver(event) {
  for (const hearer of [...hearers]) hearer(event);
}

/** @param {LiveEvent} event */
function tell(event) {
  deliver(event);
  channel?.postMessage({ kind: 'event', event });
}

/** @param {'open' | 'lost' | 'stranger'} next */
function become(next) {
  if (state === next) return;
  const wasLost = state === 'lost' || state === 'stranger';
  state = next;
  tellState(next);
  channel?.postMessage({ kind: 'state', state });
  // What happened meanwhile may not be told again: every page looks for itself.
  if (wasLost && next === 'open') tell({ name: 'reset', data: {} });
}

function read() {
  isReading = true;
  open('', '/events', ['run', 'gone', 'reset', 'ready', 'queue']);
  tellWish();
}

function stop() {
  isReading = false;
  for (const stream of streams.values()) stream.close();
  streams.clear();
  state = '';
}

/** @param {string} tab @param {string | null} run */
function want(tab, run) {
  wishes.delete(tab);
  if (run) wishes.set(tab, run);
  const wanted = new Set([...wishes.values()].reverse().slice(0, FOLLOWED));
  for (const [key, stream] of streams) {
    if (key && !wanted.has(key)) { stream.close(); streams.delete(key); }
  }
  for (const run of wanted) if (!streams.has(run)) open(run, `${ofRun(run)}/events`, ['progress', 'waiting', 'finished', 'reset', 'gone']);
}

/** Opens a stream; `run` is empty for that of all runs. @param {string} run @param {string} path @param {string[]} names */
function open(run, path, names) {
  const stream = new EventSource(`/api/v1${path}`);
  streams.set(run, stream);
  for (const name of names) {
    stream.addEventListener(name, (event) => {
      const data = JSON.parse(event.data);
      tell(run ? { name, run, data } : { name, data });
      if (!run && name === 'run' && data.status === 'running') again(data.run);
      // It ends of itself, and would otherwise be opened again.
      if (run && (name === 'finished' || name === 'gone')) stream.close();
    });
  }
  if (run) {
    // The stream of all runs says when one goes on, and then it is opened anew.
    stream.addEventListener('error', () => { if (stream.readyState === EventSource.CLOSED && streams.get(run) === stream) streams.delete(run); });
    return;
  }
  stream.addEventListener('open', () => become('open'));
  stream.addEventListener('error', () => {
    if (streams.get(run) !== stream) return;
    become('lost');
    // It tries again of itself, unless it got an answer that is no stream.
    if (stream.readyState === EventSource.CLOSED) void askWhy(stream);
  });
}

/** @param {EventSource} stream */
async function askWhy(stream) {
  try {
    await get('/server');
  } catch (error) {
    if (/** @type {any} */ (error).status === 401) become('stranger');
  }
  setTimeout(() => {
    if (isReading && streams.get('') === stream) { streams.delete(''); open('', '/events', ['run', 'gone', 'reset', 'ready', 'queue']); }
  }, 1500);
}

/** A run that has ended goes on: it is followed anew. @param {string} run */
function again(run) {
  const stream = streams.get(run);
  if (stream && stream.readyState === EventSource.CLOSED) { streams.delete(run); want('', null); }
}
