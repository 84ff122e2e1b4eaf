// @ts-check
// Requests to the server, errors, and the server's clock. In a report, the answers are in the page.

import { parse } from './json.js';
import { answer, report } from './report.js';

/** An error answer, or no answer (`status` 0). `document` is the problem document. */
export class Problem extends Error {
  /** @param {number} status @param {any} document */
  constructor(status, document) {
    super(document.detail ?? document.title ?? `status ${status}`);
    this.status = status;
    this.document = document;
  }
}

export const noAnswer = () => new Problem(0, {
  title: 'No connection', detail: 'The server does not answer. Runs continue without it. Start it again with `runner serve`.',
});

/** Returns the result of `work`, or `other` if it fails. @template T @param {() => T} work @param {T} other */
export function tried(work, other) {
  try {
    return work();
  } catch {
    return other;
  }
}

/** The server's clock minus the browser's, in milliseconds. */
let ahead = 0;

/** Returns the server's time. The browser's clock may be wrong. */
export const now = () => Date.now() + ahead;

/** @param {string | undefined} time */
export function setClock(time) {
  if (time) ahead = Date.parse(time) - Date.now();
}

/** @param {string} path @param {RequestInit} [options] @returns {Promise<Response>} */
export async function request(path, options) {
  if (report) return new Response(stored(path));
  const answer = await fetch(`/api/v1${path}`, options).catch((error) => { throw error.name === 'AbortError' ? error : noAnswer(); });
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({ detail: `${answer.status} ${answer.statusText}` }));
  throw new Problem(answer.status, problem);
}

/** Bytes of a text that are read at first. */
const START = 64 * 1024;

/** Reads the start of a text. `left` is the number of bytes after it. @param {string} path */
export async function readStart(path) {
  const answer = await request(path, { headers: { range: `bytes=0-${START - 1}` } });
  return { text: await answer.text(), left: Number(answer.headers.get('content-range')?.split('/')[1]) - START };
}

/** @param {string} path @param {RequestInit} [options] @returns {Promise<any>} */
async function call(path, options) {
  const text = await (await request(path, options)).text();
  const document = text ? parse(text) : {};
  setClock(document.now);
  return document;
}

/** @param {string} path */
function stored(path) {
  const document = answer(path);
  if (document !== undefined) return document;
  throw new Problem(404, { detail: 'The report has details of the first failures only. For those of another trial: `runner show RUN TRIAL`' });
}

/** @param {string} path @param {AbortSignal} [signal] */
export const get = async (path, signal) => (report ? stored(path) : call(path, { signal }));

/** Reads a document and blocks the page: browsers do not wait for requests before they print. @param {string} path */
export function getNow(path) {
  if (report) return stored(path);
  const request = new XMLHttpRequest();
  request.open('GET', `/api/v1${path}`, false);
  request.send();
  if (request.status !== 200) throw new Problem(request.status, {});
  return parse(request.responseText);
}

/** @param {string} path @param {object} [body] @param {string} [method] */
export const post = (path, body = {}, method = 'POST') =>
  call(path, { method, headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });

/** Path of a run, for pages and requests. @param {string} run */
export const runPath = (run) => `/runs/${encodeURIComponent(run)}`;

/** Path of a trial, for pages and requests. @param {string} run @param {string} trial */
export const trialPath = (run, trial) => `${runPath(run)}/trials/${encodeURIComponent(trial)}`;

/** Formats the query of an address. Empty values are left out. @param {Record<string, string | number | null | undefined>} values */
export function query(values) {
  const entries = Object.entries(values).filter(([, value]) => value !== null && value !== undefined && value !== '');
  const text = new URLSearchParams(entries.map(([key, value]) => [key, String(value)])).toString();
  return text && `?${text}`;
}
