// @ts-check
// One run: how it stands, what can be done, its trials.

import { get, post } from './api.js';
import { count, duration, h, put, status, verdict } from './dom.js';

/** @type {Record<string, [string, string, object]>} */
const ACTIONS = {
  stop: ['Stop', 'Stopping…', {}],
  cancel: ['Cancel', 'Cancelling…', {}],
  resume: ['Resume', 'Resuming…', {}],
  rerun: ['Rerun failed', 'Starting…', { rerun: 'failed' }],
  pin: ['Pin', 'Pinning…', {}],
  unpin: ['Unpin', 'Unpinning…', {}],
};

/** @param {HTMLElement} page @param {string} id @param {URL} address @param {(to: string) => void} go */
export async function showRun(page, id, address, go) {
  const path = `/runs/${encodeURIComponent(id)}`;
  const filter = address.searchParams.get('filter') ?? '';
  const head = h('section', { 'aria-label': 'Run' });
  const trials = h('section', { 'aria-label': 'Trials' });
  put(page, head, trials);
  const says = h('p', { role: 'alert' });

  const refresh = async () => {
    const run = await get(path);
    put(head, ...heading(run, path, says, refresh));
    return run;
  };
  const run = await refresh();
  await showTrials(trials, path, filter, id, go);

  let events = /** @type {EventSource | null} */ (null);
  if (run.run.status === 'running') {
    events = new EventSource(`/api/v1${path}/events`);
    events.addEventListener('progress', (event) => {
      const progress = JSON.parse(event.data);
      const bar = head.querySelector('progress');
      if (bar) bar.value = progress.done;
      const done = head.querySelector('.done');
      if (done) done.textContent = `${count(progress.done)} of ${count(progress.planned)}`;
    });
    events.addEventListener('finished', async () => {
      events?.close();
      await refresh();
      await showTrials(trials, path, filter, id, go);
    });
  }
  return { close: () => events?.close() };
}

/** @param {any} answer @param {string} path @param {HTMLElement} says @param {() => Promise<any>} refresh */
function heading(answer, path, says, refresh) {
  const run = answer.run;
  const counts = run.counts;
  const done = counts.passed + counts.failed + counts.error + counts.timeout + counts.skipped;
  const buttons = answer.actions.filter((/** @type {string} */ name) => name in ACTIONS).map((/** @type {string} */ name) => {
    const [label, busy, body] = ACTIONS[name];
    const route = name === 'rerun' ? 'resume' : name;
    const button = h('button', {
      type: 'button',
      onclick: async () => {
        button.textContent = busy;
        button.setAttribute('disabled', '');
        says.textContent = '';
        try {
          await post(`${path}/${route}`, body);
        } catch (error) {
          says.textContent = /** @type {Error} */ (error).message;
        }
        await refresh();
      },
    }, label);
    return button;
  });
  return [
    h('h1', {}, run.scenario, ' ', h('small', {}, run.run)),
    h('p', {}, status(run.status), run.reason ? ` (${run.reason})` : '', ' · ', verdict(run.verdict), ' · ',
      h('span', { class: 'done' }, `${count(done)} of ${count(counts.planned)}`), ` · ${duration(run.elapsed_ms)}`),
    run.status === 'running' ? h('progress', { max: counts.planned, value: done, 'aria-label': 'Done' }) : '',
    h('div', { class: 'actions' }, ...buttons),
    says,
    h('table', {},
      h('thead', {}, h('tr', {}, ...['Provider', 'Passed', 'Failed', 'Errors', 'Timeouts'].map((name) => h('th', { scope: 'col' }, name)))),
      h('tbody', {}, ...answer.providers.map((/** @type {any} */ one) => h('tr', {},
        h('td', {}, one.provider ?? one.name),
        ...['passed', 'failed', 'error', 'timeout'].map((key) =>
          h('td', { class: 'number' }, count(one.counts?.[key] ?? one[key] ?? 0))))))),
  ];
}

/** @param {HTMLElement} place @param {string} path @param {string} filter @param {string} id @param {(to: string) => void} go */
async function showTrials(place, path, filter, id, go) {
  const input = h('input', {
    type: 'search',
    'aria-label': 'Filter',
    placeholder: 'outcome(failed) & tag(slow)',
    value: filter,
    onchange: (/** @type {any} */ event) => {
      const text = event.target.value.trim();
      go(`/runs/${encodeURIComponent(id)}${text ? `?filter=${encodeURIComponent(text)}` : ''}`);
    },
  });
  const body = h('tbody');
  const more = h('button', { type: 'button', hidden: true }, 'More');
  put(place,
    h('h2', {}, 'Trials'),
    input,
    h('table', { class: 'trials' },
      h('thead', {}, h('tr', {}, ...['Trial', 'Outcome', 'Attempts', 'Took'].map((name) => h('th', { scope: 'col' }, name)))),
      body),
    more);
  let after = 0;
  const load = async () => {
    const query = new URLSearchParams({ after: String(after) });
    if (filter) query.set('filter', filter);
    try {
      const page = await get(`${path}/trials?${query}`);
      for (const row of page.rows) body.append(trialRow(row, id));
      after = page.next ?? after;
      more.hidden = page.next === undefined;
    } catch (error) {
      body.append(h('tr', {}, h('td', { colspan: 4 }, /** @type {Error} */ (error).message)));
    }
  };
  more.addEventListener('click', load);
  await load();
}

/** @param {any} row @param {string} id */
function trialRow(row, id) {
  const tone = row.outcome === 'passed' ? 'good' : row.outcome === 'skipped' ? 'plain' : 'bad';
  return h('tr', {},
    h('td', {}, h('a', { href: `/runs/${encodeURIComponent(id)}/trials/${encodeURIComponent(row.trial)}` }, row.trial)),
    h('td', {}, h('span', { class: tone }, row.outcome), row.flaky ? h('span', { class: 'quiet' }, ' flaky') : null),
    h('td', { class: 'number' }, row.attempt),
    h('td', { class: 'number' }, duration(row.duration_ms)));
}
