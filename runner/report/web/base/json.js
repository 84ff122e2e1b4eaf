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

/** `JSON` with the functions for numbers as they are written. @type {any} */
const { isRawJSON, rawJSON } = JSON;

/** An output with the expected values where it differs from them. Other keys of its objects are not compared. @param {any} expected @param {any} output @param {number} tolerance @returns {any} */
function merged(expected, output, tolerance) {
  if (isRawJSON(expected) && isRawJSON(output)) {
    const [left, right] = [expected.rawJSON, output.rawJSON];
    // A float does not keep larger integers.
    return left === right || (Math.abs(left) < 2 ** 53 && Math.abs(left - right) <= tolerance) ? output : expected;
  }
  if (Array.isArray(expected) && Array.isArray(output)) return expected.map((item, at) => (at in output ? merged(item, output[at], tolerance) : item));
  const areObjects = [expected, output].every((one) => typeof one === 'object' && one && !Array.isArray(one) && !isRawJSON(one));
  return areObjects ? { ...output, ...Object.fromEntries(Object.entries(expected).map(([key, item]) => [key, Object.hasOwn(output, key) ? merged(item, output[key], tolerance) : item])) } : expected;
}

/** The output that the check `json` expects, and the actual one. `null` in a browser that cannot keep numbers as they are written. @param {string} expectations @param {string} output @param {number} tolerance of numbers @returns {string[] | null} */
export function contained(expectations, output, tolerance) {
  try {
    const [{ json }, actual] = [expectations, output].map((text) => JSON.parse(text, /** @type {any} */ ((/** @type {string} */ _, /** @type {any} */ value, /** @type {any} */ { source }) => (typeof value === 'number' ? rawJSON(source) : value))));
    return [merged(json, actual, tolerance), actual].map((one) => JSON.stringify(one));
  } catch {
    return null;
  }
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
