// @ts-check
// Escapes characters that hide text or change its direction, as `runner_model::visible` does on terminals.

const STEERS =
  /[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\u{1bca0}-\u{1bca3}\u{1d173}-\u{1d17a}\u{e0000}-\u{e00ff}\u{e01f0}-\u{e0fff}]|\r(?!\n)/gu;

/** @param {string} character */
const escaped = (character) =>
  character === '\r' ? '\\r' : `\\u{${/** @type {number} */ (character.codePointAt(0)).toString(16)}}`;

/** Escapes all such characters except line breaks and tabs. @param {unknown} text */
export const visible = (text) => String(text).replace(STEERS, escaped);

/** Escapes line breaks, too. @param {unknown} text */
export const visibleLine = (text) => visible(String(text).replaceAll('\r', '\\r').replaceAll('\n', '\\n'));
