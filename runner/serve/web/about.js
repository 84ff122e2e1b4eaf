// @ts-check
// What a run is: its sessions, every change of its status, its providers, where it is.

import { visible, visibleLine, written } from './text.js';
import { copyable, el, put, table } from './ui.js';
import { clock, count, plural, reason, size, status } from './words.js';

/** @param {HTMLElement} place @param {Api.RunPage} answer */
export function showAbout(place, { run, manifest }) {
  const { scenario, metadata, sessions, transitions, providers, graders = [] } = manifest;
  const command = `runner show ${run.run}`;
  put(place,
    el('section', null, el('h2', null, 'What it is'),
      el('dl', { class: 'facts-list' }, pairs({
        Scenario: [visibleLine(scenario.name), ' ', el('span', { class: 'mono quiet' }, visibleLine(scenario.path))],
        'Scenario digest': el('span', { class: 'mono' }, scenario.sha256),
        Planned: plural(metadata.planned_test_count, 'trial'),
        'Plan digest': el('span', { class: 'mono' }, metadata.plan_digest),
        'Begun by runner': manifest.runner_version,
        Directory: el('span', { class: 'mono' }, visibleLine(run.run_dir)),
        'In a terminal': [el('code', null, command), ' ', copyable(command)],
        Selection: isEmpty(manifest.selection) ? null : el('code', null, visible(JSON.stringify(manifest.selection))),
        Options: isEmpty(manifest.options) ? null : el('code', null, visible(JSON.stringify(manifest.options))),
      }))),
    el('section', null, el('h2', null, 'Sessions'), table({ label: 'Sessions' }, ['Session', 'By', 'Opened', 'Closed', 'Why it ended', 'Rows before', 'Machine'], sessions.map((one) =>
      el('tr', null, el('td', null, one.n), el('td', null, el('code', null, visibleLine(one.opened_by)), one.rerun ? ` rerun ${visibleLine(one.rerun)}` : ''), el('td', null, clock(one.opened_at)), el('td', null, one.closed_at ? clock(one.closed_at) : 'open'),
        el('td', null, reason(one.reason) ?? '', one.error ? el('pre', null, visible(one.error)) : null), el('td', { class: 'n' }, one.from_seq),
        el('td', { class: 'quiet' }, one.machine ? visibleLine(`${one.machine.host}, ${one.machine.architecture}, ${plural(one.machine.cores, 'core')}`) : ''))))),
    el('section', null, el('h2', null, 'Changes of its status'), table({ label: 'Changes of its status' }, ['When', 'Status', 'Why', 'Written by', 'Asked for by'], transitions.map((one) =>
      el('tr', null, el('td', null, clock(one.at)), el('td', null, status(one.to)), el('td', null, reason(one.reason, one.signal) ?? ''), el('td', null, el('code', null, visibleLine(one.writer))),
        el('td', null, one.by ? `${visibleLine(one.by.user ?? one.by.uid)} on ${visibleLine(one.by.host)}${one.by.text ? `: ${visibleLine(one.by.text)}` : ''}` : ''))))),
    el('section', null, el('h2', null, 'Providers'), [...providers, ...graders].map(access)),
    el('details', null, el('summary', null, 'benchmark.json'), el('pre', { tabindex: 0 }, visible(written(manifest)))));
}

/** A plugin as a run uses it: what it may use and what it is granted. @param {any} one */
export function access(one) {
  const limits = Object.entries(one.limits ?? {}).filter(([, value]) => value !== null && typeof value !== 'object');
  return el('div', { class: 'access' },
    el('h3', null, visibleLine(one.name), ' ', el('small', { class: 'quiet' }, one.kind)),
    el('dl', { class: 'facts-list' }, pairs({
      Granted: isEmpty(one.grants) ? 'nothing: no network, no secrets, no files' : el('pre', { tabindex: 0 }, visible(granted(one.grants))),
      'Missing secrets': one.missing_secrets?.length ? el('span', { class: 'bad' }, one.missing_secrets.map(visibleLine).join(', ')) : null,
      Limits: limits.map(([key, value]) => `${key.replace(/_(ms|bytes)$/, '').replaceAll('_', ' ')} ${limit(key, value)}`).join(', ') || null,
      Plugin: el('span', { class: 'mono quiet' }, one.plugin_sha256),
    })));
}

/** @param {any} grants */
const granted = (grants) => Object.entries(grants).map(([key, value]) => `${key}: ${Array.isArray(value) && value.every((one) => typeof one === 'string') ? value.join(', ') : JSON.stringify(value)}`).join('\n');

/** @param {string} key @param {any} value */
function limit(key, value) {
  if (typeof value !== 'number') return String(value);
  if (key.endsWith('_ms')) return value >= 1000 ? `${value / 1000} s` : `${value} ms`;
  return /records|files|requests|elements|fuel/.test(key) ? count(value) : value >= 1024 ? size(value) : String(value);
}

/** @param {any} value @returns {boolean} */
const isEmpty = (value) => value === null || value === undefined || (typeof value === 'object' && Object.values(value).every((one) => one === null || one === false || (typeof one === 'object' && isEmpty(one))));

/** @param {Record<string, any>} facts */
export const pairs = (facts) => Object.entries(facts).flatMap(([name, value]) => (value === null ? [] : [el('dt', null, name), el('dd', null, value)]));
