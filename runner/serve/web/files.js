// @ts-check
// Files that guests have left: as a download, and as text, JSON or a picture where that does nothing by itself.

import { fileOf, ofTrial } from './api.js';
import { problem } from './problem.js';
import { block, visibleLine } from './text.js';
import { button, el, put } from './ui.js';
import { size } from './words.js';

/** Larger ones are downloads only. */
const PREVIEWED = 1024 * 1024;
const PICTURES = ['image/png', 'image/jpeg', 'image/gif', 'image/webp'];

/** @param {string} run @param {string} trial @param {any} attempt */
export function files(run, trial, attempt) {
  return el('ul', { class: 'files' }, attempt.artifacts.map((/** @type {Api.PageFile} */ file) => {
    const path = `${ofTrial(run, trial)}/attempts/${attempt.attempt}/files/${encodeURIComponent(file.name)}`;
    const place = el('div');
    const show = button('Show', () => void preview(place, path, file, show), 'small');
    const canShow = file.bytes <= PREVIEWED && (PICTURES.includes(file.media_type) || isText(file.media_type));
    const item = el('li', null, el('span', { class: 'mono' }, visibleLine(file.name)), el('span', { class: 'quiet' }, ` ${visibleLine(file.media_type)}, ${size(file.bytes)} `),
      canShow ? show : null, ' ', el('a', { href: `/api/v1${path}`, download: '' }, 'Download'), place);
    if (canShow && file.bytes <= 64 * 1024) void preview(place, path, file, show);
    return item;
  }));
}

/** @param {string} media */
const isText = (media) => /^text\/|json|xml|yaml|toml|csv|^application\/octet-stream$/.test(media);

/** @param {HTMLElement} place @param {string} path @param {any} file @param {HTMLElement} show */
async function preview(place, path, file, show) {
  show.remove();
  try {
    const { headers, bytes: all } = await fileOf(path);
    // What it is is said by the server, which has looked at its first bytes.
    if (PICTURES.includes(headers.get('content-type') ?? '')) {
      put(place, el('img', { src: `/api/v1${path}`, alt: `the picture ${visibleLine(file.name)}` }));
      return;
    }
    const bytes = new Uint8Array(all);
    if (bytes.slice(0, 4096).includes(0)) return put(place, el('p', { class: 'quiet' }, 'It is not text.'));
    const text = new TextDecoder().decode(bytes);
    put(place, block(/json/.test(file.media_type) ? laidOut(text) : text, { label: visibleLine(file.name) }));
  } catch (error) {
    put(place, problem(error));
  }
}

/** @param {string} text */
function laidOut(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
