// @ts-check
// Texts in which everything can be seen, and nothing steers what is around it.

// What hides, turns or joins the letters around it: the same characters as in the terminal.
const STEERS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb\u{1bca0}-\u{1bca3}\u{1d173}-\u{1d17a}\u{e0000}-\u{e00ff}\u{e01f0}-\u{e0fff}]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/gu;

/** @param {unknown} text */
export const visible = (text) =>
  String(text).replaceAll('\r\n', '\n').replace(STEERS, (letter) => `\\u{${/** @type {number} */ (letter.codePointAt(0)).toString(16)}}`);

/** The same on one line. @param {unknown} text */
export const visibleLine = (text) => visible(String(text).replaceAll('\r', '\\r').replaceAll('\n', '\\n'));
