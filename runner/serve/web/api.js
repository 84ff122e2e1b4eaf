// @ts-check
// Calls of the API. An error is thrown with the server's own words.

/** @param {string} path @param {RequestInit} [options] */
async function call(path, options) {
  const response = await fetch(`/api/v1${path}`, options);
  if (response.ok) return response.json();
  const problem = await response.json().catch(() => ({ detail: response.statusText }));
  const error = new Error(problem.detail);
  error.name = problem.title ?? 'Error';
  throw error;
}

/** @param {string} path */
export const get = (path) => call(path);

/** @param {string} path @param {object} [body] */
export const post = (path, body = {}) =>
  call(path, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
