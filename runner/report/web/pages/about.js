// @ts-check
// Details of a run: scenario, selection, sessions, history, and plugins with their grants.

import { get, runPath } from '../base/api.js';
import { report } from '../base/report.js';
import { copyable, el, facts } from '../base/ui.js';
import { actor, count, digest, done, duration, money, number, percent, plural, prose, shell, size, time } from '../base/words.js';
import { known } from './failures.js';

/** @param {Record<string, any>} table @param {(value: number, name: string) => string} [words] */
const entries = (table, words = number) => Object.entries(table).map(([name, value]) => {
  const parts = [value].flat().map((part) => (typeof part === 'object' ? JSON.stringify(part) : typeof part === 'number' ? words(part, name) : part));
  return el('div', null, `${name}: ${parts.join(', ')}`);
});

/** A limit of guests. The others are bytes. @param {number} value @param {string} name */
const limit = (value, name) => (name === 'time' ? duration(value) : name === 'cost_usd' ? money(value) : /files|requests|records|elements|tokens|calls/.test(name) ? count(value) : size(value));
/** Reports of a run: form and name. */
const FORMS = [['html', 'HTML'], ['markdown', 'Markdown'], ['junit', 'JUnit'], ['csv', 'CSV'], ['trace', 'Trace']];

/** Names of providers or graders with the same facts, by these. @param {any[]} list @returns {Record<string, string[]>} */
const alike = (list) => list.reduce((all, { name, ...one }) => ({ ...all, [JSON.stringify(one)]: [...all[JSON.stringify(one)] ?? [], name] }), {});

/** @param {import('./run.js').RunView} view @returns {import('./run.js').Part} */
export function about(view) {
  /** @type {any} */
  let failures = null;
  const first = get(`${runPath(view.run)}/failures`).then((document) => { failures = document; view.redraw(); }, () => {});
  return { first, content: () => [content(view), el('div', null, known(view.document.run, failures))] };
}

/** @param {any} one */
const attempt = ({ trial, grader, attempt, worker, ms, what, output }) =>
  el('div', null, `${trial}${grader ? ` judged by ${grader}` : ''}, attempt ${attempt}${worker ? ` on ${worker}` : ''}, after ${duration(ms)}${what ? `: ${what}` : ''}`, output && el('pre', null, output.text));

/** @param {import('./run.js').RunView} view */
function content({ run, document }) {
  const { manifest, run: head } = document;
  const { metadata } = manifest;
  const code = (/** @type {any} */ text) => (text === undefined ? null : el('code', null, text));
  const named = Object.entries({ ...metadata.vars, ...head.labels }).map(([key, value]) => el('div', null, `${key} = ${value}`));
  const file = (/** @type {string} */ path, /** @type {string} */ words) => [el('a', { href: `/api/v1${runPath(run)}${path}`, download: '' }, words), ' '];
  return el('div', { class: 'about' },
    el('section', null, el('h2', null, 'Run'),
      facts([
        ['Command', manifest.sessions.length > 0 && copyable(shell(manifest.sessions[0].command))],
        ['In a terminal', copyable(`runner show ${head.short}`)],
        ['Scenario', code(manifest.scenario_path)],
        ['Variables and labels', named.length > 0 && named],
        ['Selection', Object.keys(metadata.selection ?? {}).length > 0 && entries(metadata.selection)],
        ['Group', head.group && ['run ', `${head.group.place} of ${head.group.of} in `, code(head.group.id)]],
        ['Merged from', manifest.merged?.map((/** @type {any} */ one) => el('div', null, `shard ${one.shard}: `, code(one.run), `, ${plural(one.sessions, 'session')}`))],
        ['Pinned by', head.pinned && [actor(head.pinned.by), ', ', time(head.pinned.at, 'full')]],
        ['Paid', document.paid && [document.paid.tokens && `${number(document.paid.tokens)} tokens`, document.paid.cost_usd && money(document.paid.cost_usd)].filter(Boolean).join(', ')],
        ['Retries', Object.entries(document.retries ?? {}).map(([why, number]) => `${plural(Number(number), 'attempt')}: ${why}`).join(', ')],
        ['Reports', !report && FORMS.map(([form, name]) => file(`/report?form=${form}`, name))],
        ['Files', !report && [file('', 'benchmark.json'), file('/log', 'runner.log'), file('/rows', 'index.jsonl'), manifest.rows && `(${size(manifest.rows.length)})`]],
        ['Exit code', head.exit_code === null ? null : String(head.exit_code)],
        ['Seed', metadata.seed && String(metadata.seed)],
        ['Version', `runner ${metadata.runner_version}`],
        ['Id', code(run)],
        ['Number', head.number && `${count(head.number)} of the results root`],
        ['Folder', code(head.run_dir)],
        ['Digests', [digest(metadata.scenario_sha256), ' of the scenario, ', digest(metadata.suite), ' of its tests']],
      ])),
    el('section', null, el('h2', null, manifest.providers.some((/** @type {any} */ one) => one.tool) ? 'Providers, tools and graders' : 'Providers and graders'),
      Object.entries(alike([...manifest.providers, ...manifest.planned_graders ?? []])).map(([key, names, one = JSON.parse(key)]) => [el('h3', null, names.join(', ')), facts([
        ['Plugin', [one.description && el('div', null, el('strong', null, [one.description.name, one.description.version].filter(Boolean).join(' ')), one.description.summary && `: ${one.description.summary}`),
          el('code', null, one.plugin), `, ${one.development ? 'development form of a ' : ''}${one.kind}${one.grader ? ', grader' : one.tool ? ', tool' : ''}, `, digest(one.digest)]],
        ['Requests', one.description?.requests?.join(', ')],
        ['Grants', one.grants ? entries(one.grants) : 'none'],
        ['Folders', one.mounts?.map((/** @type {any} */ { host, guest, mode }) => el('div', null, `${host} as ${guest}: ${mode}`))],
        ['Limits', one.limits && el('details', null, el('summary', null, `memory ${size(one.limits.memory)} and ${Object.keys(one.limits).length - 1} more`), entries(one.limits, limit))],
      ])])),
    el('section', null, el('h2', null, 'Sessions'),
      manifest.sessions.map((/** @type {any} */ one) => facts([
        [`Session ${one.number}`, [time(one.started_at, 'full'), ' – ', one.ended_at ? time(one.ended_at, 'full') : 'running', one.number > 1 && copyable(shell(one.command))]],
        ['Judged again', one.rescores && ['by the tests', digest(one.suite)]],
        ['Runs again', one.rerun && [one.rerun.filter ?? one.rerun, one.pending && `: ${plural(one.pending, 'trial')}`]],
        ['Process', `${one.pid} on ${one.host}, user ${one.user}`],
        ['Took', one.worked_ms && [duration(one.worked_ms), one.suspended_ms && `, paused or suspended ${duration(one.suspended_ms)}`]],
        ['Pauses', one.pauses?.map((/** @type {any} */ { from, to, by }) => el('div', null, time(from, 'full'), ' – ', to && time(to, 'full'), by && `, ${actor(by)}`))],
        ['Stopped by', one.stopped_by && actor(one.stopped_by)],
        ['Parallel attempts', String(one.jobs)],
        ['Time limit', one.timeout_ms && duration(one.timeout_ms)],
        ['Time to stop', one.grace_ms && duration(one.grace_ms)],
        ['Stops after', one.fail_fast && (one.fail_fast < 1 ? `${percent(one.fail_fast)} bad trials` : plural(one.fail_fast, 'bad trial'))],
        ['Budgets', one.budgets && entries(one.budgets)],
        ['Request', one.request && [code(one.request.id), `, priority ${one.request.priority}`]],
        ['Sandbox', one.wall],
        ['Changes', one.adopted && ['took over changes of the scenario', done(one.adopted) > 0 && `; ${plural(done(one.adopted), 'trial')} left out`]],
        ['End', one.in_flight?.length && ['its process died while these ran: ', one.in_flight.map(attempt)]],
      ]))),
    el('section', null, el('h2', null, 'History'),
      el('ul', { class: 'history' }, manifest.transitions.map((/** @type {any} */ one) => el('li', null, time(one.at, 'full'), ' ',
        el('strong', null, one.to), ' by ', el('code', null, one.writer), one.reason ? [' (', prose(one.reason), ')'] : null,
        one.by && `, ${actor(one.by)}`)))));
}
