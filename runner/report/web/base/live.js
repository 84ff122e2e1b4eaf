// @ts-check
// Events for all tabs. A browser opens up to six connections to a server, so one tab reads the events and sends them to the others.

import { Problem, get, runPath, setClock } from './api.js';

/** @typedef {{name: string, run?: string, data: any}} LiveEvent @typedef {'open' | 'lost' | 'login' | ''} LiveState */

/** Number of runs whose progress is followed. The events of the root have the changes of all others. */
const MAX_FOLLOWED = 3;
const ROOT_EVENTS = ['ready', 'run', 'gone', 'queue', 'reset'];
const RUN_EVENTS = ['progress', 'finished', 'reset'];

const tab = crypto.randomUUID?.() ?? String(Math.random());
// Both APIs need a secure context, such as a name of this machine.
const channel = 'locks' in navigator && 'BroadcastChannel' in globalThis ? new BroadcastChannel('runner-events') : null;
/** @type {(event: LiveEvent) => void} */
let receive = () => {};
/** @type {(state: LiveState) => void} */
let receiveState = () => {};
/** The runs that this tab shows. @type {string[]} */
let followed = [];

// The state of the reading tab.
let isReader = false;
/** Runs that tabs show, by tab. @type {Map<string, string[]>} */
const wanted = new Map();
/** Streams by run. The stream of the root has the key ''. @type {Map<string, EventSource>} */
const streams = new Map();
/** @type {LiveState} */
let state = '';

/** Starts to read events, or to receive them from another tab. @param {(event: LiveEvent) => void} onEvent @param {(state: LiveState) => void} onState */
export function start(onEvent, onState) {
  [receive, receiveState] = [onEvent, onState];
  addEventListener('pagehide', () => channel?.postMessage({ want: [], tab }));
  if (!channel) {
    // Without locks, every visible tab reads.
    const change = () => (document.hidden ? close() : read());
    addEventListener('visibilitychange', change);
    change();
    return;
  }
  channel.onmessage = ({ data }) => {
    if (data.event) receive(data.event);
    if (data.state) receiveState(data.state);
    if (data.reader) follow(...followed);
    if (isReader && 'want' in data) want(data.tab, data.want);
    if (isReader && data.hello && state) channel.postMessage({ state });
  };
  channel.postMessage({ hello: true });
  // The lock is free once the reading tab is closed.
  void navigator.locks.request('runner-events', () => {
    read();
    channel.postMessage({ reader: true });
    return new Promise(() => {});
  });
}

/** Sets the runs whose progress this tab shows. @param {...(string | null)} runs */
export function follow(...runs) {
  followed = runs.filter((run) => run !== null);
  if (isReader) want(tab, followed);
  else channel?.postMessage({ want: followed, tab });
}

/** @param {LiveEvent} event */
function send(event) {
  receive(event);
  channel?.postMessage({ event });
}

/** @param {LiveState} next */
function change(next) {
  const wasClosed = state === 'lost' || state === 'login';
  if (state === next) return;
  state = next;
  receiveState(next);
  channel?.postMessage({ state });
  // Events may be missing: pages read their documents again.
  if (wasClosed && next === 'open') send({ name: 'reset', data: {} });
}

function read() {
  isReader = true;
  open('', '/events', ROOT_EVENTS);
  want(tab, followed);
}

function close() {
  isReader = false;
  for (const stream of streams.values()) stream.close();
  streams.clear();
}

/** @param {string} tab @param {string[]} shown */
function want(tab, shown) {
  wanted.delete(tab);
  if (shown.length) wanted.set(tab, shown);
  const runs = new Set([...wanted.values()].reverse().flat().slice(0, MAX_FOLLOWED));
  for (const [run, stream] of streams) {
    if (run === '' || (runs.has(run) && stream.readyState !== EventSource.CLOSED)) continue;
    stream.close();
    streams.delete(run);
  }
  for (const run of runs) if (!streams.has(run)) open(run, `${runPath(run)}/events`, RUN_EVENTS);
}

/** @param {string} run @param {string} path @param {string[]} names */
function open(run, path, names) {
  const stream = new EventSource(`/api/v1${path}`);
  streams.set(run, stream);
  for (const name of names) {
    stream.addEventListener(name, (event) => {
      const data = JSON.parse(event.data);
      setClock(data.now);
      send(run ? { name, run, data } : { name, data });
      // The server ends this stream, and the browser would open it again.
      if (run && name === 'finished') stream.close();
    });
  }
  if (run) return;
  stream.onopen = () => change('open');
  stream.onerror = () => {
    if (stream.readyState === EventSource.CLOSED) void reopen();
    else change('lost');
  };
}

/** Finds the reason for an answer that is not a stream, and tries again. */
async function reopen() {
  try {
    await get('/server');
    change('lost');
  } catch (error) {
    change(/** @type {Problem} */ (error).status === 401 ? 'login' : 'lost');
  }
  setTimeout(() => isReader && open('', '/events', ROOT_EVENTS), 1500);
}
