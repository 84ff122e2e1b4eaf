// @ts-check
// Starting a run: which scenario, which part of it, and what would be granted before anything begins.

import { get, ofRun, post, query } from './api.js';
import { access } from './about.js';
import { queueOffer, waits } from './actions.js';
import { problem } from './problem.js';
import { visible, visibleLine } from './text.js';
import { el, put, say } from './ui.js';
import { count, plural } from './words.js';

const LISTS = [['tests', 'Tests', 'units/*, greeting'], ['providers', 'Providers', 'gpt*'], ['tags', 'Tags', 'smoke'], ['exclude', 'Leave out', '*/slow']];
const OVERRIDES = [['jobs', 'At the same time', 'as the scenario says'], ['timeout-minutes', 'Minutes for the whole run', 'as the scenario says'], ['fail-fast', 'Begin no more after so many bad ones', 'off'], ['seed', 'Seed', 'as the scenario says']];

/** What tells one start from another, however often it is sent. */
const newKey = () => [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('');

/** @type {import('./main.js').Show} */
export async function showStart(address, { place, go, server }) {
  if (server.is_read_only) {
    put(place, el('h1', null, 'Start a run'), el('p', null, 'This server is read-only: nothing can be started here.'));
    return { title: 'Start' };
  }
  put(place, el('h1', null, 'Start a run'), el('p', { class: 'quiet' }, 'Reading the scenarios…'));
  /** @type {Api.ScenarioList} */
  const { scenarios } = await get('/scenarios');
  let chosen = address.searchParams.get('scenario') ?? '';
  const list = el('ul', { class: 'scenarios' });
  const form = el('div', { class: 'start-form' });

  const drawList = () => put(list, scenarios.map((one) => el('li', null,
    el('a', { href: `/start${query({ scenario: one.path })}`, 'aria-current': one.path === chosen ? 'true' : null, class: one.problem ? 'broken' : null },
      el('span', { class: 'name' }, visibleLine(one.name ?? one.path)),
      el('span', { class: 'mono quiet' }, visibleLine(one.path)),
      one.problem ? el('span', { class: 'bad' }, '✗ not valid') : el('span', { class: 'quiet' }, `${plural(one.tests, 'test')}, ${plural(one.trials, 'trial')}, ${one.providers.map(visibleLine).join(', ')}`)))));

  /** @type {AbortController | null} */
  let asking = null;
  function drawForm() {
    const one = scenarios.find((found) => found.path === chosen);
    if (!one) return put(form, el('p', { class: 'quiet' }, scenarios.length ? chosen ? 'There is no such scenario.' : 'Choose a scenario.' : 'The folders of scenarios that the server was started with have none.'));
    if (one.problem) return put(form, el('h2', null, visibleLine(one.path)), el('div', { class: 'problem' }, el('strong', null, 'This scenario is not valid'), el('pre', { tabindex: 0, role: 'group', 'aria-label': 'What is wrong' }, visible(one.problem))));

    const asked = new URL(location.href).searchParams;
    const field = (/** @type {string} */ name, /** @type {string} */ label, /** @type {string} */ hint) => el('label', null, el('span', null, label), el('input', { name, value: asked.get(name) ?? '', placeholder: hint, autocomplete: 'off', spellcheck: 'false' }));
    const told = el('div', { 'aria-live': 'polite' });
    const plan = el('section', { 'aria-label': 'What would run', 'aria-live': 'polite' });
    const press = el('button', { type: 'submit', class: 'primary', disabled: true }, 'Start');
    const body = () => {
      const value = (/** @type {string} */ name) => fields.elements.namedItem(name).value.trim();
      const lists = Object.fromEntries(LISTS.map(([name]) => [name, value(name).split(',').map((/** @type {string} */ text) => text.trim()).filter(Boolean)]));
      const overrides = Object.fromEntries(OVERRIDES.map(([name]) => [name, value(name)]).filter(([, text]) => text));
      return { scenario: one.path, ...lists, filter: value('filter') || null, repeat: value('repeat') ? Number(value('repeat')) : null, overrides };
    };
    const seePlan = async () => {
      if (!fields.isConnected) return;
      // What is filled in can be sent to somebody else.
      const filled = [...new FormData(fields)].map(([name, text]) => [name, String(text).trim()]);
      history.replaceState(null, '', `/start${query({ scenario: one.path, ...Object.fromEntries(filled) })}`);
      asking?.abort();
      const mine = (asking = new AbortController());
      press.disabled = true;
      try {
        /** @type {Api.StartPlan} */
        const { plan: head, trials } = await post('/runs/plan', body());
        if (mine.signal.aborted) return;
        const missing = [...head.providers, ...(head.graders ?? [])].some((provider) => provider.missing_secrets.length);
        const wasOpen = plan.querySelector('details')?.open;
        put(plan, el('h2', null, 'What would run'),
          el('p', null, el('strong', null, plural(head.pending, 'trial')), ` of ${visibleLine(head.scenario)}, ${count(head.jobs)} at the same time`),
          trials.length ? el('details', { open: wasOpen }, el('summary', null, 'Its trials'), el('ul', { class: 'plain trial-names mono' }, trials.map((name) => el('li', null, visibleLine(name)))),
            head.pending > trials.length ? el('p', { class: 'quiet' }, `and ${count(head.pending - trials.length)} more`) : null) : null,
          missing ? el('p', { class: 'bad' }, 'A secret that is granted has no value in the server\'s environment: no run begins without it.') : null,
          el('h2', null, 'What is granted'), [...head.providers, ...(head.graders ?? [])].map(access));
        put(told);
        press.disabled = head.pending === 0;
      } catch (error) {
        if (!mine.signal.aborted) put(plan, problem(error));
      }
    };
    /** @type {any} */
    let typing = null;
    let isStarting = false;
    let [key, sent] = ['', ''];
    const begin = async (/** @type {object} */ more) => {
      if (isStarting || press.disabled) return;
      isStarting = true;
      press.disabled = true;
      say(press, 'Starting…');
      put(told);
      try {
        const asked = body();
        // What is sent again is what was asked for before, until something else is or there was an answer.
        const meant = JSON.stringify(asked);
        if (!key || meant !== sent) [key, sent] = [newKey(), meant];
        const { run, queued } = await post('/runs', { ...asked, ...more }, 'POST', { 'idempotency-key': key });
        if (run) {
          go(ofRun(run));
          scrollTo(0, 0);
          return;
        }
        put(told, queued ? waits() : el('p', { class: 'warn', role: 'status' }, 'Nothing was left to do.'));
        key = '';
      } catch (error) {
        // Somebody else is at work, and it may wait for them.
        const canWait = /** @type {any} */ (error).status === 409 && !('queue' in more);
        put(told, problem(error), canWait ? queueOffer((place) => void begin(place)) : null);
      }
      isStarting = false;
      press.disabled = false;
      say(press, 'Start');
    };
    const fields = el('form', {
      oninput: () => { clearTimeout(typing); press.disabled = true; typing = setTimeout(seePlan, 300); },
      onsubmit: (/** @type {Event} */ event) => {
        event.preventDefault();
        void begin({});
      },
    },
    el('h2', null, visibleLine(one.name), ' ', el('small', { class: 'mono' }, visibleLine(one.path))),
    el('fieldset', null, el('legend', null, 'Which part of it'), LISTS.map(([name, label, hint]) => field(name, label, hint)), field('filter', 'Filter', 'test(units/*) & !tag(slow)'), field('repeat', 'How often each test', 'as the scenario says')),
    el('fieldset', null, el('legend', null, 'Instead of what the scenario says'), OVERRIDES.map(([name, label, hint]) => field(name, label, hint))),
    told, el('div', { class: 'actions' }, press));
    put(form, fields, plan);
    void seePlan();
  }

  put(place, el('div', { class: 'title' }, el('h1', null, 'Start a run')), el('div', { class: 'start' }, el('nav', { 'aria-label': 'Scenarios' }, list), form));
  drawList();
  drawForm();
  return {
    title: 'Start a run',
    change(next) {
      if (next.pathname !== '/start') return false;
      chosen = next.searchParams.get('scenario') ?? '';
      drawList();
      drawForm();
      form.scrollIntoView({ block: 'nearest' });
      return true;
    },
    close() { asking?.abort(); },
  };
}
