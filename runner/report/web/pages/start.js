// @ts-check
// The start of a run: a scenario, flags of `exec`, the plan with its grants, and the command that does the same.

import { get, post, query, runPath, tried } from '../base/api.js';
import { isBusy, pair, problem } from '../base/problem.js';
import { go } from '../base/router.js';
import { button, copyable, el, facts, link, render, soon } from '../base/ui.js';
import { count, done, duration, outcome, plural, prose, time, verdict } from '../base/words.js';
import { cost } from './tables.js';

/** Key of the request, label, flag, example, and form of the value, by group. @type {[string, [string, string, string, string, 'list' | 'pairs' | 'text' | 'number'][]][]} */
const GROUPS = [
  ['Options', [
    ['tests', 'Tests', '--test', 'cart/*, pay/*', 'list'],
    ['repeat', 'Repeats', '--repeat', '3', 'number'],
    ['labels', 'Labels', '--label', 'commit=1f2e3d4', 'pairs'],
    ['providers', 'Providers', '--provider', 'small*', 'list']]],
  ['Selection', [
    ['exclude', 'Exclude', '--exclude', 'slow/*', 'list'],
    ['tags', 'Tags', '--tag', 'smoke', 'list'],
    ['filter', 'Filter', '--filter', 'tag(smoke) & !test(slow*)', 'text'],
    ['first', 'First N tests', '--first', '10', 'number'],
    ['sample', 'N tests by the seed', '--sample', '50', 'number']]],
  ['Execution', [
    ['retries', 'Retries', '--retries', '2', 'number'],
    ['jobs', 'Parallel attempts', '--jobs', '4', 'number'],
    ['timeout_minutes', 'Time limit in minutes', '--timeout-minutes', '30', 'number'],
    ['fail_fast', 'Stop after N failures', '--fail-fast', '5', 'number'],
    ['seed', 'Seed', '--seed', '42', 'number'],
    ['limits', 'Lower limits', '--limit', 'memory=64MiB', 'pairs'],
    ['set', 'Variables', '--set', 'model=small', 'pairs'],
    ['into', 'Folder of the run', '--into', 'nightly-2026-11-27', 'text']]],
];
const FIELDS = GROUPS.flatMap(([, fields]) => fields);
const [FIRST, ...MORE] = GROUPS;
/** Scenarios that are listed. A search finds the others. */
const MAX_LISTED = 50;
const LAST = 'runner-last-start';

/** The request of the last start in this browser. @returns {Record<string, any> | null} */
const lastStart = () => tried(() => JSON.parse(localStorage.getItem(LAST) ?? 'null'), null);

/** @type {import('../base/router.js').Open} */
export async function open({ place, address, server }) {
  const { scenarios: files } = server.scenarios ? await get('/scenarios') : { scenarios: [] };
  const scenarios = files.filter((/** @type {any} */ one) => !isKnownList(one));
  const title = (/** @type {any} */ one) => one.name ?? one.path;
  // Running ones and those that ran last are first, those with problems last.
  const rank = (/** @type {any} */ { problems, last_run: run }) => (problems?.length ? '' : run ? (run.status === 'running' ? '~' : '') + run.started_at : ' ');
  scenarios.sort((/** @type {any} */ one, /** @type {any} */ other) => Number(rank(one) < rank(other)) - Number(rank(one) > rank(other)) || title(one).localeCompare(title(other)));
  // The path of a run's scenario is absolute.
  const find = (/** @type {string} */ path = '') => scenarios.filter((/** @type {any} */ one) => `/${path}`.endsWith(`/${one.path}`) && (one.path === path || path.startsWith('/')))
    .sort((/** @type {any} */ one, /** @type {any} */ other) => other.path.length - one.path.length)[0];
  /** Texts of the fields by their key. @type {Record<string, string>} */
  let texts = {};
  let scenario = address.searchParams.get('scenario') ?? '';
  // Flags that were shown once stay visible.
  let [search, isLastFailed, isOpen] = ['', false, false];
  /** An id for each start, so that a repeated request starts nothing. */
  let request = id();
  /** @type {any} */
  let [plan, error, busy] = [null, null, ''];
  /** Attempts at once without a flag, and the cost of the last run. @type {[number | string, any]} */
  let [jobs, spent] = ['', undefined];
  /** The names of the scenario's providers. @type {string[]} */
  let providers = [];

  /** @param {string} text @param {string} form */
  const value = (text, form) => {
    const parts = text.split(',').map((part) => part.trim()).filter(Boolean);
    if (form === 'list') return parts;
    if (form === 'pairs') return Object.fromEntries(parts.map(pair));
    return form === 'number' ? Number(text) : text;
  };
  const body = () => ({ scenario, ...(isLastFailed ? { last_failed: true } : {}),
    ...Object.fromEntries(FIELDS.filter(([key]) => texts[key]?.trim()).map(([key, , , , form]) => [key, value(texts[key].trim(), form)])) });

  let [turn, typing] = [0, 0];
  async function check() {
    const mine = ++turn;
    if (!scenario) return;
    [busy, error] = ['check', null];
    draw();
    try {
      const answer = await post('/plan', body());
      // A plan has the chosen providers only.
      const all = providers.length || !texts.providers?.trim() ? answer : await post('/plan', { scenario });
      const last = find(scenario)?.last_run?.run;
      const price = spent ?? (last && cost(await get(runPath(last)).catch(() => ({}))));
      if (mine === turn) [spent, plan, providers, jobs] = [price, answer, providers.length ? providers : named(all.plan.providers, 'provider'), texts.jobs ? jobs : answer.plan.jobs];
    } catch (caught) {
      if (mine === turn) [plan, error] = [null, caught];
    }
    if (mine !== turn) return;
    busy = '';
    draw();
  }

  /** @param {boolean} queue */
  async function start(queue) {
    clearTimeout(typing);
    turn++;
    [busy, error] = [queue ? 'queue' : 'start', null];
    draw();
    try {
      const answer = await post('/runs', { ...body(), request, ...(queue ? { queue } : {}) });
      // A second start into the same folder would only continue the run there.
      localStorage.setItem(LAST, JSON.stringify({ scenario, texts: { ...texts, into: '' }, isLastFailed }));
      request = id();
      go(answer.queued ? '/queue' : runPath(answer.id));
    } catch (caught) {
      // A refused start can be sent again, with another id.
      if (/** @type {any} */ (caught).status !== 0) request = id();
      [busy, error] = ['', caught];
      draw();
    }
  }

  function again() {
    const last = /** @type {any} */ (lastStart());
    ({ texts, isLastFailed } = last);
    go(`/start${query({ scenario: last.scenario })}`);
  }

  const later = () => {
    clearTimeout(typing);
    [plan, turn] = [null, turn + 1];
    typing = setTimeout(check, 400);
  };

  /** The result of the last run. @param {any} run */
  const lastRun = (run) => run && [verdict(run), ' ', link(runPath(run.run), time(run.started_at, 'age')), run.status !== 'running' && ` in ${duration(run.worked_ms)}`];

  /** The duration and the cost to expect. @param {any} run */
  const took = (run) => run && run.status !== 'running' && el('span', { class: 'quiet' }, 'The ', link(runPath(run.run), 'last run'), ` took ${duration(run.worked_ms)} for ${plural(done(run.counts), 'trial')}`, spent && ` and cost ${spent}`, '.');

  /** All scenarios, to choose one. */
  function list() {
    const words = search.toLowerCase().split(/\s+/);
    const found = scenarios.filter((/** @type {any} */ one) =>
      words.every((word) => `${one.name} ${one.path} ${one.description}`.toLowerCase().includes(word)));
    const item = (/** @type {any} */ one) => el('li', { key: one.path },
      el('p', null, link(`/start${query({ scenario: one.path })}`, el(one.problems?.length ? 'span' : 'strong', null, title(one))), ' ', one.name && el('code', { class: 'quiet' }, one.path),
        one.problems?.length && outcome('failed', plural(one.problems.length, 'problem'))),
      el('p', null, lastRun(one.last_run) ?? el('span', { class: 'quiet' }, !one.problems?.length && 'never run')), one.description && el('p', { class: 'quiet' }, one.description));
    return [el('div', { class: 'filters' },
      el('input', { type: 'search', placeholder: 'Search names, descriptions and paths', 'aria-label': 'Search scenarios',
        oninput: (/** @type {any} */ event) => { search = event.target.value.trim(); draw(); } }),
      el('span', { class: 'quiet' }, plural(found.length, 'scenario')),
      find(lastStart()?.scenario) && button('Same as last time', again, { title: `runner exec ${lastStart()?.scenario}` })),
    el('ul', { class: 'groups scenarios', 'aria-label': 'Scenarios' }, found.slice(0, MAX_LISTED).map(item)),
    el('p', { class: 'quiet' }, found.length ? found.length > MAX_LISTED && `and ${count(found.length - MAX_LISTED)} more` : 'No scenarios match.')];
  }

  /** The providers to choose from. `null` for a glob. @param {import('../base/ui.js').Child} label */
  function choices(label) {
    const chosen = texts.providers?.trim() ? value(texts.providers, 'list') : providers;
    if (!providers.length || chosen.some((/** @type {string} */ name) => !providers.includes(name))) return null;
    const toggle = (/** @type {string} */ name) => {
      const next = providers.filter((one) => chosen.includes(one) !== (one === name));
      texts.providers = next.length < providers.length ? next.join(', ') : '';
      void check();
    };
    return el('div', { key: 'choices', role: 'group', 'aria-label': 'Providers' }, label, el('div', { class: 'chips' }, providers.map((name) => el('label', { key: name, class: 'tick' },
      el('input', { type: 'checkbox', checked: chosen.includes(name), disabled: chosen.length === 1 && chosen.includes(name), onchange: () => toggle(name) }), name))));
  }

  /** @param {[string, string, string, string, string]} field */
  function field([key, label, flag, hint, form]) {
    const name = el('span', null, label, ' ', el('code', { class: 'quiet' }, flag));
    const number = form === 'number' ? { type: 'number', min: 0, step: 'any' } : { type: 'text' };
    return (key === 'providers' && choices(name)) || el('label', { key }, name, el('input', { ...number, placeholder: key === 'jobs' && jobs ? String(jobs) : `e.g. ${hint}`, value: texts[key] ?? '',
      oninput: (/** @type {any} */ event) => { texts[key] = event.target.value; later(); } }));
  }

  /** @param {(typeof GROUPS)[number]} group */
  const group = ([name, fields]) => [el('h2', null, name), el('div', { class: 'grid', role: 'group', 'aria-label': name }, fields.map(field),
    name === 'Selection' && el('label', { class: 'tick' }, el('input', { type: 'checkbox', checked: isLastFailed, onchange: (/** @type {any} */ event) => { isLastFailed = event.target.checked; void check(); } }), el('span', null, 'Only trials that failed last time ', el('code', { class: 'quiet' }, '--last-failed'))))];

  function form() {
    const { name, description } = find(scenario) ?? {};
    return el('form', { class: 'start', onsubmit: (/** @type {Event} */ event) => { event.preventDefault(); if (plan && !busy) void start(false); } },
      el('p', null, name && [el('span', { class: 'lead' }, name), ' '], el('code', null, scenario), ' ', link('/start', 'Choose another')),
      description && el('p', { class: 'quiet' }, description),
      group(FIRST), el('details', { open: (isOpen ||= MORE.some(([, fields]) => fields.some(([key]) => texts[key])) || isLastFailed) }, el('summary', null, 'More options', el('span', { class: 'quiet' }, ' filters, limits, retries and more')),
        MORE.map(group)));
  }

  function preview() {
    if (!scenario) return null;
    if (!plan) return busy === 'check' ? el('p', { class: 'quiet' }, 'Checking…') : null;
    const { scenario: name, trials, jobs, providers, missing_secrets: missing, receivers, notices } = plan.plan;
    return [
      el('h2', null, `${name}: ${plural(trials, 'trial')}, ${jobs} at a time`),
      notices.map((/** @type {string} */ text) => el('p', { class: 'note incomplete' }, prose(text))),
      missingGrants(plan.missing_grants),
      missing.length > 0 && el('p', { class: 'note bad' }, `Secrets without a value in the environment of the server: ${missing.join(', ')}.`),
      facts([
        ['Providers', named(providers, 'provider').join(', ')],
        ['Graders', named(providers, 'grader').join(', ')],
        ['Tools', named(providers, 'tool').join(', ')],
        ['Grants', plan.grants.length ? el('pre', { tabindex: 0, 'aria-label': 'Grants' }, plan.grants.join('\n')) : 'No provider has grants.'],
        ['Access', plan.access.length > 0 && el('ul', { class: 'names' }, plan.access.map((/** @type {string} */ line) => el('li', null, prose(line))))],
        ['Notified at the end', receivers.map((/** @type {any} */ one) => one.to).join(', ')],
        ['In a terminal', copyable(plan.command)],
        ['First trials', el('details', null, el('summary', null, plan.trials[0], trials > 1 && ` and ${count(trials - 1)} more`), el('ul', { class: 'names', tabindex: 0, 'aria-label': 'First trials' }, plan.trials.slice(1).map((/** @type {string} */ one) => el('li', null, one)),
          trials > plan.trials.length && el('li', { class: 'quiet' }, `and ${count(trials - plan.trials.length)} more`)))],
      ]),
    ];
  }

  const draw = soon(() => {
    render(place, el('h1', null, 'Start a run'),
      scenario ? form() : scenarios.length ? list() : el('p', { class: 'empty' }, server.scenarios ? 'No scenarios yet. ' : ['This server starts no scenarios. Start it with ', el('code', null, 'runner serve --scenarios DIR'), '. '], 'To create one, type ', el('code', null, 'runner init'), '.'),
      preview(),
      scenario && el('div', { class: 'buttons foot' }, error && problem(error),
        button(busy === 'start' ? 'Starting…' : 'Start', () => void start(false), { class: isBusy(error) ? null : 'primary', disabled: !plan || Boolean(busy) }),
        button(busy === 'queue' ? 'Adding…' : 'Add to queue', () => void start(true), { class: isBusy(error) ? 'primary' : null, disabled: !plan || Boolean(busy) }), took(find(scenario)?.last_run)));
  });
  draw();
  if (scenario) void check();
  return {
    title: () => 'Start',
    draw: () => {},
    update(next) {
      scenario = next.searchParams.get('scenario') ?? '';
      [plan, error, providers, spent] = [null, null, [], undefined];
      draw();
      void check();
    },
  };
}

/** Whether a file is a list of known failures. @param {any} file */
const isKnownList = ({ problems = [] }) => problems.some((/** @type {any} */ one) => one.help?.includes('list of known failures'))
  && problems.every((/** @type {any} */ one) => /^(the scenario has no |unknown key `failures`)/.test(one.message));

/** @param {any[]} providers @param {'provider' | 'grader' | 'tool'} role */
const named = (providers, role) => providers.filter((one) => (one.grader ? 'grader' : one.tool ? 'tool' : 'provider') === role).map((one) => one.name);

/** Access that plugins request and the scenario does not grant. @param {any[]} list */
const missingGrants = (list, table = list.flatMap((one) => one.table)) => list.length > 0 && el('div', { class: 'note' },
  el('p', null, 'These plugins request access that is not granted:'),
  el('ul', null, list.map((one) => el('li', null, el('code', null, one.name), ' ', one.is_grader && 'as a grader ', one.is_tool && 'as a tool ', one.requests.map((/** @type {string} */ text) => [el('code', null, text), ' '])))),
  table.length > 0 && [el('p', null, 'To grant it, add to the scenario:'), el('pre', { tabindex: 0, 'aria-label': 'Missing grants' }, table.join('\n'))]);

const id = () => [...crypto.getRandomValues(new Uint8Array(8))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
