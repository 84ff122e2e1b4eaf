// @ts-check
// Calls of the API. An error is thrown with the server's own words.

/** What the server has refused, in its own words. */
export class Problem extends Error {
  /** @param {number} status @param {any} document */
  constructor(status, document) {
    super(document.detail ?? 'the server has not said why');
    this.name = document.title ?? 'It has not worked';
    this.status = status;
    /** @type {string} */
    this.kind = document.type ?? '';
    /** @type {string | undefined} */
    this.help = document.help;
    /** @type {string | undefined} */
    this.shown = document.shown;
    /** @type {{start: number, end: number} | undefined} */
    this.at = document.at;
    /** @type {string[]} */
    this.candidates = document.candidates ?? [];
  }
}

let ahead = 0;

/** The server's clock: that of the machine with the browser may be wrong. */
export const now = () => Date.now() + ahead;

/** What is asked of runs at the moment, by their paths. @type {Map<string, Set<AbortController>>} */
const underWay = new Map();
/** Runs that are being deleted, by their paths: this comes to an end only where such a run stays. @type {Map<string, Promise<void>>} */
const leaving = new Map();

/**
 * Asks nothing more of a run that is about to be deleted, neither what is under way nor what anybody asks for from now on:
 * that waits until it is said that the run stays, and for ever where it does not.
 * @param {string} run
 */
export function leave(run) {
  const path = ofRun(run);
  /** @type {(value?: any) => void} */
  let stays = () => {};
  leaving.set(path, new Promise((go) => { stays = go; }));
  for (const request of underWay.get(path) ?? []) request.abort();
  const over = () => leaving.delete(path);
  return { stays() { over(); stays(); }, gone: over };
}

/** Tells whether a run is being deleted here. @param {string} run */
export const isLeaving = (run) => leaving.has(ofRun(run));

/** @template T @param {string} path @param {RequestInit | undefined} options @param {(response: Response) => Promise<T>} take @returns {Promise<T>} */
async function ask(path, options, take) {
  const [run] = /^\/runs\/[^/?]+/.exec(path) ?? [];
  // What changes something is never given up: it may have been done.
  if (!run || options?.method) return take(await raw(path, options));
  for (;;) {
    await leaving.get(run);
    const mine = new AbortController();
    const all = underWay.get(run) ?? new Set();
    underWay.set(run, all.add(mine));
    try {
      return await take(await raw(path, { ...options, signal: options?.signal ? AbortSignal.any([options.signal, mine.signal]) : mine.signal }));
    } catch (error) {
      if (!mine.signal.aborted) throw error;
    } finally {
      all.delete(mine);
      if (!all.size) underWay.delete(run);
    }
  }
}

/** @param {string} path @param {RequestInit} [options] @returns {Promise<Response>} */
async function raw(path, options) {
  let response;
  try {
    response = await fetch(`/api/v1${path}`, options);
  } catch (error) {
    if (/** @type {Error} */ (error).name === 'AbortError') throw error;
    throw new Problem(0, { title: 'The server does not answer', detail: 'It may have been stopped. What it shows is on disk, and runs go on without it.' });
  }
  if (response.ok) return response;
  const document = await response.json().catch(() => ({ detail: response.statusText }));
  throw new Problem(response.status, document);
}

/** Bytes of a file, with the answer that they came with. @param {string} path @param {RequestInit} [options] @returns {Promise<{headers: Headers, bytes: ArrayBuffer}>} */
export const fileOf = (path, options) => ask(path, options, async (answer) => ({ headers: answer.headers, bytes: await answer.arrayBuffer() }));

/** @param {string} path @param {RequestInit} [options] @returns {Promise<any>} */
async function call(path, options) {
  const document = await ask(path, options, (answer) => answer.json());
  if (typeof document.now === 'string') ahead = Date.parse(document.now) - Date.now();
  return document;
}

/** What was asked for before anybody needed it, by its path. @type {Map<string, Promise<any>>} */
const early = new Map();

/** Asks for what a page is about to ask for, while something else is awaited. @param {string} path */
export function expect(path) {
  const answer = call(path);
  early.set(path, answer);
  // Whoever asks for it hears what is wrong; later, it is another answer.
  answer.catch(() => {});
  setTimeout(() => early.delete(path), 2000);
}

/** @param {string} path @param {AbortSignal} [signal] */
export function get(path, signal) {
  const answer = early.get(path);
  early.delete(path);
  return answer ?? call(path, { signal });
}

/** @param {string} path @param {object} [body] @param {string} [method] @param {Record<string, string>} [headers] */
export const post = (path, body = {}, method = 'POST', headers = {}) =>
  call(path, { method, headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify(body) });

/** The path of a run. @param {string} run */
export const ofRun = (run) => `/runs/${encodeURIComponent(run)}`;

/** The path of a trial; also that of its page. @param {string} run @param {string} trial */
export const ofTrial = (run, trial) => `${ofRun(run)}/trials/${encodeURIComponent(trial)}`;

/** The part of an address behind the `?`, without what is empty. @param {Record<string, string | number | null | undefined>} keys */
export function query(keys) {
  const all = new URLSearchParams();
  for (const [key, value] of Object.entries(keys)) if (value !== null && value !== undefined && value !== '') all.set(key, String(value));
  const text = all.toString();
  return text ? `?${text}` : '';
}

/** A question of a filter about a name as it is: what a glob would read in another way stands for any letter. @param {string} question @param {string} name */
export const named = (question, name) => `${question}("${name.replace(/[*?[\]{}]/g, '?').replace(/["\\]/g, '\\$&')}")`;
