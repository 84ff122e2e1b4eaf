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

/** @param {string} path @param {RequestInit} [options] @returns {Promise<Response>} */
export async function raw(path, options) {
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

/** @param {string} path @param {RequestInit} [options] @returns {Promise<any>} */
async function call(path, options) {
  const response = await raw(path, options);
  const document = await response.json();
  if (typeof document.now === 'string') ahead = Date.parse(document.now) - Date.now();
  return document;
}

/** @param {string} path @param {AbortSignal} [signal] */
export const get = (path, signal) => call(path, { signal });

/** @param {string} path @param {object} [body] @param {string} [method] */
export const post = (path, body = {}, method = 'POST') =>
  call(path, { method, headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });

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
