// @ts-check
// What went wrong, with the words of the server.

import { Problem } from './api.js';
import { visible } from './text.js';
import { el } from './ui.js';

/** @param {any} error */
export function problem(error) {
  if (error?.status === 401) return stranger();
  const known = error instanceof Problem ? error : null;
  if (!known) console.error(error);
  return el('div', { class: 'problem', role: 'alert' },
    el('strong', null, known ? sentence(known.name) : 'The page has failed'),
    known?.shown ? el('pre', { tabindex: 0 }, visible(known.shown)) : el('p', null, visible(error?.message ?? String(error))),
    known?.help && !known.shown ? el('p', { class: 'quiet' }, visible(known.help)) : null,
    known?.candidates.length ? el('ul', null, known.candidates.map((id) => el('li', { class: 'mono' }, visible(id)))) : null);
}

/** Whoever has restarted the server has a new link. */
export function stranger() {
  return el('div', { class: 'problem', role: 'alert' },
    el('strong', null, 'Open the link of the server'),
    el('p', null, 'The server does not know this browser. ', el('code', null, 'runner serve'),
      ' prints a link when it starts, which lets one browser in: open that link, and this page goes on by itself. After a restart the link is a new one, unless the server has a ',
      el('code', null, '--token-file'), '.'));
}

/** @param {string} text */
const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);
