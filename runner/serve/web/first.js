// @ts-check
// What a page asks first is asked here, while the other scripts still come.

import { expect, query } from './api.js';

/** How many runs a page of them has. */
export const PAGE = 100;

/** Which runs an address is about. @param {URL} address */
export const keysOf = (address) => {
  const get = (/** @type {string} */ key) => address.searchParams.get(key) ?? '';
  return { status: get('status'), verdict: get('verdict'), reason: get('reason'), scenario: get('scenario'), q: get('q'), sort: get('sort') };
};

/** Those that have not passed come first where nobody says otherwise, and a page has so many. */
export const SORT = 'outcome';
export const TRIALS = 200;

/** Which trials an address is about, and in which order. @param {URL} address */
export const trialKeys = (address) => ({ filter: address.searchParams.get('filter') ?? '', sort: address.searchParams.get('sort') || SORT });

const address = new URL(location.href);
const [, run] = /^\/runs\/([^/]+)$/.exec(address.pathname) ?? [];
expect('/server');
if (run) {
  expect(`/runs/${run}`);
  if (!address.searchParams.has('view')) expect(`/runs/${run}/trials${query({ ...trialKeys(address), limit: TRIALS })}`);
}
if (/^\/(runs\/?)?$/.test(address.pathname)) expect(`/runs${query({ ...keysOf(address), limit: PAGE })}`);
