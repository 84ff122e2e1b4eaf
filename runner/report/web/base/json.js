// @ts-check
// Reads and formats JSON without changing its numbers: `1.0` and 2^53 + 1 stay as they are.

/** Tokens of JSON: strings, punctuation, and runs of other characters. */
const TOKEN = /"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s"{}[\],:]+/g;

/** The text of a JSON string, or JSON with one value a line. @param {string} json */
export function pretty(json) {
  if (json.startsWith('"')) return /** @type {string} */ (JSON.parse(json));
  const tokens = json.match(TOKEN) ?? [];
  let [text, depth] = ['', 0];
  const line = () => `\n${'  '.repeat(depth)}`;
  tokens.forEach((token, at) => {
    const [before, after] = [tokens[at - 1], tokens[at + 1]];
    if (token === '}' || token === ']') {
      depth -= 1;
      text += before === '{' || before === '[' ? token : line() + token;
    } else if (token === '{' || token === '[') {
      depth += 1;
      text += after === '}' || after === ']' ? token : token + line();
    } else if (token === ',') text += token + line();
    else text += token === ':' ? ': ' : token;
  });
  return text;
}

/**
 * Parses JSON. An integer that a JavaScript number cannot hold, such as a seed, becomes its text. So does each number with the key
 * `value`, because a test or a provider has chosen it.
 * @param {string} text @returns {any}
 */
export function parse(text) {
  const exact = (/** @type {string} */ key, /** @type {any} */ value, /** @type {any} */ context) => {
    const isTooLarge = Number.isInteger(value) && !Number.isSafeInteger(value);
    return typeof value === 'number' && (key === 'value' || isTooLarge) ? context?.source ?? value : value;
  };
  return JSON.parse(text, /** @type {any} */ (exact));
}
