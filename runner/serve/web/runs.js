// @ts-check
// The list of runs: filters are in the address.

import { get, post } from './api.js';
import { count, duration, h, put, status, verdict } from './dom.js';

const STATUSES = ['running', 'completed', 'failed', 'incomplete', 'cancelled'];

/** @param {HTMLElement} page @param {URL} address @param {(to: string) => void} go */
export async function showRuns(page, address, go) {
  const chosen = new Set((address.searchParams.get('status') ?? '').split(',').filter(Boolean));
  const query = new URLSearchParams();
  if (chosen.size) query.set('status', [...chosen].join(','));
  const scenario = address.searchParams.get('scenario') ?? '';
  if (scenario) query.set('scenario', `*${scenario}*`);
  const answer = await get(`/runs?${query}`);

  /** @param {Set<string>} statuses @param {string} words */
  const to = (statuses, words) => {
    const next = new URLSearchParams();
    if (statuses.size) next.set('status', [...statuses].join(','));
    if (words) next.set('scenario', words);
    const text = next.toString();
    go(text ? `/runs?${text}` : '/runs');
  };
  const chips = STATUSES.map((name) =>
    h('button', {
      type: 'button',
      class: 'chip',
      'aria-pressed': String(chosen.has(name)),
      onclick: () => {
        const next = new Set(chosen);
        if (!next.delete(name)) next.add(name);
        to(next, scenario);
      },
    }, status(name)));
  const search = h('input', {
    type: 'search',
    'aria-label': 'Scenario',
    placeholder: 'scenario…',
    value: scenario,
    onchange: (/** @type {any} */ event) => to(chosen, event.target.value),
  });
  const body = h('tbody');
  put(page,
    h('h1', {}, 'Runs'),
    h('div', { class: 'filters', role: 'group', 'aria-label': 'Filters' }, ...chips, search),
    h('table', { class: 'runs' },
      h('thead', {}, h('tr', {},
        ...['Run', 'Status', 'Verdict', 'Scenario', 'Done', 'Took'].map((name) => h('th', { scope: 'col' }, name)))),
      body),
    h('p', { class: 'quiet' }, `${count(answer.runs.length)} of ${count(answer.all)} runs`));
  /** @type {Map<string, HTMLElement>} */
  const rows = new Map();
  for (const run of answer.runs) {
    const row = rowOf(run);
    rows.set(run.run, row);
    body.append(row);
  }
  if (!answer.runs.length) {
    body.append(h('tr', {}, h('td', { colspan: 6 }, answer.all ? 'No run is like that.' : 'There are no runs yet.')));
  }

  return {
    /** @param {any} run */
    run(run) {
      const fits = (!chosen.size || chosen.has(run.status)) && run.scenario.includes(scenario);
      const old = rows.get(run.run);
      if (!fits) {
        old?.remove();
        rows.delete(run.run);
        return;
      }
      const row = rowOf(run);
      if (old) old.replaceWith(row);
      else body.prepend(row);
      rows.set(run.run, row);
    },
    /** @param {any} run */
    gone(run) {
      rows.get(run.run)?.remove();
      rows.delete(run.run);
    },
  };
}

/** @param {any} run */
function rowOf(run) {
  const counts = run.counts;
  const done = counts.passed + counts.failed + counts.error + counts.timeout + counts.skipped;
  return h('tr', {},
    h('td', {}, h('a', { href: `/runs/${encodeURIComponent(run.run)}` }, run.run)),
    h('td', {}, status(run.status), run.reason ? h('span', { class: 'quiet' }, ` (${run.reason})`) : null),
    h('td', {}, verdict(run.verdict)),
    h('td', {}, run.scenario),
    h('td', { class: 'number' },
      run.status === 'running'
        ? h('progress', { max: counts.planned, value: done, 'aria-label': 'Done' })
        : null,
      ` ${count(done)}/${count(counts.planned)}`),
    h('td', { class: 'number' }, duration(run.elapsed_ms)));
}
