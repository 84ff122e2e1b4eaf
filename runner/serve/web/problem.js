// @ts-check
// What went wrong, with the words of the server.

import { ofRun, Problem } from './api.js';
import { visible } from './text.js';
import { el, link } from './ui.js';

/** @param {any} error @returns {HTMLElement} */
export function problem(error) {
  if (error?.status === 401) return stranger();
  const known = error instanceof Problem ? error : null;
  if (!known) console.error(error);
  // Where runs are in the way, they are all that is said of them.
  const isBusy = known?.kind === '/problems/busy' && known.candidates.length > 0;
  return el('div', { class: 'problem', role: 'alert' },
    el('strong', null, known ? sentence(known.name) : 'The page has failed'),
    known?.shown ? el('pre', { tabindex: 0 }, visible(known.shown)) : isBusy ? null : el('p', null, prose(error?.message ?? String(error))),
    known?.candidates.length ? el('ul', { class: 'plain' }, known.candidates.map((id) => el('li', { class: 'mono' }, link(ofRun(id), visible(id))))) : null,
    known?.help && !known.shown ? el('p', { class: 'quiet' }, prose(known.help)) : null);
}

/** A text in which names stand between backticks. @param {string} text */
const prose = (text) => text.split(/`([^`\n]+)`/).map((part, place) => (place % 2 ? el('code', null, visible(part)) : visible(part)));

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
