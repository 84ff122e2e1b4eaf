// @ts-check
// Details of a run: scenario, selection, sessions, history, and plugins with their grants.

import { runPath } from '../base/api.js';
import { report } from '../base/report.js';
import { el, facts } from '../base/ui.js';
import { actor, duration, plural, prose, time } from '../base/words.js';

/** @param {Record<string, any>} table */
const entries = (table) => Object.entries(table).map(([name, value]) => {
  const parts = [value].flat().map((part) => (typeof part === 'object' ? JSON.stringify(part) : part));
  return el('div', null, `${name}: ${parts.join(', ')}`);
});

/** @param {import('./run.js').RunView} view @returns {import('./run.js').Part} */
export function about(view) {
  return { content: () => content(view) };
}

/** @param {import('./run.js').RunView} view */
function content({ run, document }) {
  const { manifest, run: head } = document;
  const { metadata } = manifest;
  const code = (/** @type {any} */ text) => (text === undefined ? null : el('code', null, text));
  const named = Object.entries({ ...metadata.vars, ...head.labels }).map(([key, value]) => el('div', null, `${key} = ${value}`));
  return [
    el('h2', null, 'Run'),
    facts([
      ['Id', code(run)],
      ['Folder', code(head.run_dir)],
      ['Scenario', [code(manifest.scenario_path), ' ', code(metadata.scenario_sha256)]],
      ['Tests', code(metadata.suite)],
      ['Variables and labels', named.length > 0 && named],
      ['Selection', Object.keys(metadata.selection ?? {}).length > 0 && entries(metadata.selection)],
      ['Seed', metadata.seed && String(metadata.seed)],
      ['Exit code', head.exit_code === null ? null : String(head.exit_code)],
      ['Version', `runner ${metadata.runner_version}`],
      ['Files', !report && [['benchmark.json', ''], ['runner.log', '/log'], ['index.jsonl', '/rows']].map(([name, path]) =>
        [el('a', { href: `/api/v1${runPath(run)}${path}`, download: '' }, name), ' '])],
    ]),
    el('h2', null, 'History'),
    el('ul', { class: 'history' }, manifest.transitions.map((/** @type {any} */ one) => el('li', null, time(one.at, 'full'), ' ',
      el('strong', null, one.to), ' by ', el('code', null, one.writer), one.reason ? [' (', prose(one.reason), ')'] : null,
      one.by && `, ${actor(one.by)}`))),
    el('h2', null, 'Sessions'),
    manifest.sessions.map((/** @type {any} */ one) => facts([
      [`Session ${one.number}`, el('code', null, one.command.join(' '))],
      ['Process', `${one.pid} on ${one.host}, user ${one.user}`],
      ['Time', [time(one.started_at, 'full'), ' – ', one.ended_at ? time(one.ended_at, 'full') : 'running']],
      ['Worked', one.worked_ms && duration(one.worked_ms)],
      ['Stopped by', one.stopped_by && actor(one.stopped_by)],
      ['Parallel attempts', String(one.jobs)],
      ['Time limit', one.timeout_ms ? duration(one.timeout_ms) : 'none'],
      ['Sandbox', one.wall],
      ['Changes', one.adopted && 'took over changes of the scenario'],
      ['End', one.in_flight?.length && 'its process died'],
    ])),
    el('h2', null, 'Providers and graders'),
    manifest.providers.map((/** @type {any} */ one) => facts([
      [one.name, el('code', null, one.plugin)],
      ['Plugin', one.description ? `${one.description.name} ${one.description.version ?? ''} ${one.description.summary ?? ''}` : null],
      ['Digest', code(one.digest)],
      ['Grants', one.grants && entries(one.grants)],
      ['Limits', el('details', null, el('summary', null, 'Show'), entries(one.limits ?? {}))],
    ])),
  ];
}
