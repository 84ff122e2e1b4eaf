// @ts-check
// Problem documents of the server, and the login.

import { Problem, post, runPath } from './api.js';
import { home, report } from './report.js';
import { el, link, render } from './ui.js';
import { prose } from './words.js';

/** @param {any} place @returns {string} */
const position = ({ file, line, column }) => [file, line, column].filter((part) => part !== undefined && part !== null).join(':');

/** Whether a request was refused because other runs are active. @param {any} error */
export const isBusy = (error) => error?.document?.type === '/problems/busy';

/** Shows an error with its help. `refused` names the request that the server has refused. @param {any} error @param {string} [refused] @returns {import('./ui.js').Description} */
export function problem(error, refused) {
  if (isBusy(error)) {
    const { active = [], detail } = error.document;
    const runs = active.map((/** @type {string} */ run) => [' ', link(runPath(run), run)]);
    return el('p', { class: 'note incomplete', role: 'alert' }, 'Not possible now: ', runs.length ? ['a run is active:', runs, '. Add this one to the ', link('/queue', 'queue'), ' to start it afterwards.'] : [prose(detail), '.']);
  }
  const document = error instanceof Problem ? error.document : { title: 'Error in this page', detail: String(error) };
  const places = (document.problems ?? []).map((/** @type {any} */ one) =>
    el('li', null, el('code', null, position(one)), ' ', prose(one.message), one.help ? el('p', { class: 'quiet' }, prose(one.help)) : null));
  const runs = (document.candidates ?? []).map((/** @type {string} */ run) => el('li', null, link(runPath(run), run)));
  return el('div', { class: 'note bad', role: 'alert' }, el('strong', null, (error?.status >= 400 && refused) || document.title || 'Error'),
    el(document.detail?.includes('\n') ? 'pre' : 'p', null, prose(document.detail ?? '')), document.help ? el('p', { class: 'quiet' }, prose(document.help)) : null,
    places.length + runs.length ? el('ul', null, places, runs) : null);
}

/** The form for the token of a browser that is not logged in. `isFirst` is set for the first page: the server has redirected it from a link. @param {Element} place @param {boolean} isFirst */
export function login(place, isFirst) {
  const { redirectCount: redirects } = /** @type {any} */ (performance.getEntriesByType('navigation')[0]);
  let [token, isBusy, error] = ['', false, /** @type {any} */ (null)];
  const submit = async (/** @type {Event} */ event) => {
    event.preventDefault();
    isBusy = true;
    draw();
    try {
      // The link logs in at a random host name, which other programs of this machine do not know.
      const { link } = await post('/login', { token: token.trim(), page: location.href });
      location.replace(link);
    } catch (caught) {
      [isBusy, error] = [false, caught];
      draw();
    }
  };
  const draw = () => render(place, el('form', { class: 'login', onsubmit: submit },
    el('h1', null, 'Log in'), isFirst && redirects > 0 && el('p', { class: 'note' }, 'This link was used already or is older than 5 minutes.'),
    el('p', null, 'Open the link that ', el('code', null, 'runner serve'), ' printed, print a new one with ',
      el('code', null, 'runner serve --link'), ', or paste the token of the server.'),
    // Names of `--allow-host`. A login at another name moves to a name that only this server has.
    /(^|\.)localhost$|^127\.|^\[::1\]$/.test(location.hostname) ? null : el('p', { class: 'quiet' },
      `Your browser will send this login to all ports of ${location.hostname}.`),
    el('label', null, 'Token', el('input', { type: 'password', autocomplete: 'current-password', required: true,
      oninput: (/** @type {any} */ event) => { token = event.target.value; }, ref: (/** @type {HTMLElement} */ input) => setTimeout(() => input.focus()) })),
    el('button', { class: 'primary', disabled: isBusy }, isBusy ? 'Logging in…' : 'Log in'),
    error && problem(error)));
  draw();
}

/** Splits `KEY=VALUE`. Throws a problem for other texts. @param {string} text */
export function pair(text) {
  const at = text.indexOf('=');
  if (at < 1) throw new Problem(400, { title: 'invalid request', detail: `expected \`KEY=VALUE\`, found \`${text.trim()}\`` });
  return [text.slice(0, at).trim(), text.slice(at + 1).trim()];
}

/** The page for an address without a page. @param {string} text */
export const notFound = (text, of = /^\/runs\/[^/]+(?=\/trials\/)/.exec(location.pathname)?.[0]) => el('div', null, el('h1', null, 'Not found'), el('p', { class: 'pre' }, prose(text.charAt(0).toUpperCase() + text.slice(1).replace(/; to list all \w+: .*/s, '.'))), !report && /^.runs/.test(location.pathname) && el('p', { class: 'quiet' }, 'It may have been deleted, or be in another results root.'), el('p', { class: 'buttons' }, of && link(of, 'All trials of the run'), link(home, report ? 'All trials' : 'All runs')));
