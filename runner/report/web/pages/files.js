// @ts-check
// The files of an attempt. Pictures are shown, and one other file at a time opens in place, as text or as a table.

import { request, tried } from '../base/api.js';
import { pretty } from '../base/json.js';
import { problem } from '../base/problem.js';
import { report } from '../base/report.js';
import { button, el, loading, table } from '../base/ui.js';
import { plural, size } from '../base/words.js';

const IMAGES = /^image\/(png|jpeg|gif|webp)$/;
/** Bytes that are read at first, and added by a click. */
const PIECE = 64 * 1024;
/** Cells of a table. A file with more columns than this has rows is easier to read as text. */
const MAX_CELLS = 600;
const MAX_COLUMNS = 24;

/** The start of a file, up to `bytes`. @typedef {{path: string, text: string, bytes: number, isBusy: boolean, error: any, decoder: TextDecoder}} OpenFile */

/** Returns a function that shows the files of the attempt at an address. @param {() => void} redraw */
export function fileList(redraw) {
  /** @type {OpenFile | null} */
  let opened = null;

  /** @param {OpenFile} file */
  async function read(file) {
    [file.isBusy, file.error] = [true, null];
    redraw();
    try {
      const answer = await request(file.path, { headers: { range: `bytes=${file.bytes}-${file.bytes + PIECE - 1}` } });
      const data = await answer.arrayBuffer();
      file.bytes += data.byteLength;
      file.text += file.decoder.decode(data, { stream: true });
    } catch (caught) {
      file.error = caught;
    }
    file.isBusy = false;
    redraw();
  }

  /** @param {string} path @param {number} bytes @param {boolean} isOpen */
  function toggle(path, bytes, isOpen) {
    if (isOpen === (opened?.path === path)) return;
    opened = isOpen ? { path, text: '', bytes: 0, isBusy: false, error: null, decoder: new TextDecoder() } : null;
    if (opened && bytes) void read(opened);
    else redraw();
  }

  /** @param {any} one @param {OpenFile} file */
  function content(one, file) {
    const isWhole = file.bytes >= one.bytes;
    if (!one.bytes) return el('p', { class: 'quiet' }, 'The file is empty.');
    if (file.text.includes('\0')) return el('p', { class: 'quiet' }, 'The file is not a text.');
    return [file.text && preview(one, file.text, isWhole), file.error && problem(file.error),
      !isWhole && (file.bytes || !file.isBusy ? el('p', { class: 'fold' }, button(`Show more of ${size(one.bytes - file.bytes)}`, () => void read(file), { disabled: file.isBusy })) : loading())];
  }

  /** @param {any[]} files @param {string} folder path of the files */
  return (files, folder) => el('ul', { class: 'groups files' }, files.map((one) => {
    const path = `${folder}/${encodeURIComponent(one.name)}`;
    const href = `/api/v1${path}`;
    const about = el('span', { class: 'quiet' }, ` ${size(one.bytes)}, ${one.media_type}`);
    if (report) return el('li', { key: path }, one.name, about);
    const download = el('a', { href, download: one.name, 'aria-label': `Download ${one.name}` }, 'Download');
    if (IMAGES.test(one.media_type)) return el('li', { key: path }, download, el('span', null, one.name, about), el('div', null, el('img', { src: `${href}?inline=1`, alt: one.name, loading: 'lazy' })));
    const file = opened?.path === path ? opened : null;
    return el('li', { key: path }, download, el('details', { open: Boolean(file), ontoggle: (/** @type {any} */ event) => toggle(path, one.bytes, event.target.open) },
      el('summary', null, one.name, about), file && content(one, file)));
  }));
}

/** A file as a table, as JSON with one value a line, or as text. @param {any} file @param {string} text @param {boolean} isWhole */
function preview({ name, media_type: type }, text, isWhole) {
  const is = (/** @type {string} */ end) => name.toLowerCase().endsWith(`.${end}`) || type.split(';')[0].endsWith(`/${end}`);
  const rows = is('csv') ? csv(text, isWhole) : [];
  const width = Math.max(0, ...rows.map((row) => row.length));
  if (width > 1 && width <= MAX_COLUMNS) {
    const shown = rows.slice(1, Math.floor(MAX_CELLS / width));
    const left = rows.length - 1 - shown.length;
    return [table(name, rows[0], shown.map((row, at) => el('tr', { key: at }, row.map((cell) => el('td', null, cell))))),
      left > 0 && el('p', { class: 'quiet' }, `and ${plural(left, 'more row')}${isWhole ? '' : ' so far'}: download the file`)];
  }
  const isJson = isWhole && is('json') && tried(() => JSON.parse(text) !== undefined, false);
  return el('pre', { tabindex: 0, 'aria-label': name }, isJson ? pretty(text.trim()) : text);
}

/** The rows of a CSV file. The last row of a part may be incomplete, and is left out. @param {string} text @param {boolean} isWhole */
function csv(text, isWhole) {
  /** @type {string[][]} */
  const rows = [[]];
  for (const [, quoted, plain, end] of text.matchAll(/(?:"([^"]*(?:""[^"]*)*)"|([^,\r\n]*))(,|\r?\n|$)/g)) {
    rows.at(-1)?.push(quoted?.replaceAll('""', '"') ?? plain);
    if (!end) break;
    if (end !== ',') rows.push([]);
  }
  const last = rows.pop() ?? [];
  if (isWhole && last.join('')) rows.push(last);
  return rows;
}
