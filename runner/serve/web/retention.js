// @ts-check
// What the settings of the results root would delete, before a server does so.

import { get, ofRun } from './api.js';
import { problem } from './problem.js';
import { visibleLine } from './text.js';
import { el, link, put, table } from './ui.js';
import { plural, since, size, status } from './words.js';

/** All runs are measured for it, so it is asked for only when somebody opens it. */
export function retention() {
  const body = el('div');
  const details = el('details', { class: 'retention', ontoggle: async () => {
    if (!details.open) return;
    put(body, el('p', { class: 'quiet' }, 'Looking…'));
    try {
      draw(body, (await get('/retention')).would_go);
    } catch (error) {
      put(body, problem(error));
    }
  } }, el('summary', null, 'What retention deletes next'), body);
  return details;
}

/** @param {HTMLElement} body @param {Api.PruneReport | null} plan */
function draw(body, plan) {
  if (!plan) return put(body, el('p', null, 'Nothing. ', el('code', null, '[retention]'), ' in ', el('code', null, 'runner.toml'), ' of the results root says which runs are kept: ', el('code', null, 'older_than'), ', ', el('code', null, 'keep_last'), ' and ', el('code', null, 'max_size'), '.'));
  put(body,
    el('p', null, plan.runs.length ? `${plural(plan.runs.length, 'run')} when a server looks next, which is once an hour.` : 'Nothing at the moment.', ` ${plural(plan.left.count, 'run')} stay, with ${size(plan.left.bytes)}.`),
    plan.runs.length ? table({ label: 'Runs that go' }, ['Run', 'Status', 'Ended', 'Size', 'Because of'], plan.runs.slice(0, 200).map((run) => el('tr', null,
      el('th', { scope: 'row' }, link(ofRun(run.run), visibleLine(run.scenario)), ' ', el('span', { class: 'mono quiet' }, run.run)),
      el('td', null, status(run.status)), el('td', null, run.completed_at ? since(run.completed_at) : ''), el('td', { class: 'n' }, size(run.bytes)),
      el('td', null, run.because_of.map(visibleLine).join(', '))))) : null,
    plan.spared.length ? el('p', { class: 'quiet' }, `${plural(plan.spared.length, 'run')} the policy names stay all the same: `, plan.spared.slice(0, 20).map((one) => `${one.run} (${visibleLine(one.because)})`).join(', ')) : null);
}
