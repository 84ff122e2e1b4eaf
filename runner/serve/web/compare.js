// @ts-check
// Two runs beside each other: the same as `runner compare`.

import { get, named, ofRun, query } from './api.js';
import { problem } from './problem.js';
import { visibleLine } from './text.js';
import { el, link, put, table } from './ui.js';
import { count, counted, duration, number, outcome, plural, since, stackedBar, status, verdict } from './words.js';

/** @type {Record<string, [string, string]>} */
const CLASSES = {
  regressed: ['Regressed', 'bad'], fixed: ['Fixed', 'good'], 'still-failing': ['Still failing', 'bad'], flaky: ['Flaky', 'open'],
  'not-judged': ['Not judged on both sides', 'quiet'], new: ['New', 'live'], gone: ['Gone', 'quiet'], 'still-passing': ['Still passing', 'good'],
};
/** How many of a class are shown at first. */
const SHOWN = 200;

/** @type {import('./main.js').Show} */
export async function showCompare(address, { place, go }) {
  const key = (/** @type {string} */ name) => address.searchParams.get(name) ?? '';
  const keys = { base: key('base'), new: key('new'), providers: key('providers'), filter: key('filter') };
  const { runs } = await get('/runs?limit=200');
  const choose = (/** @type {'base' | 'new'} */ name, /** @type {string} */ label) => {
    const known = runs.some((/** @type {any} */ run) => run.run === keys[name]);
    const select = el('select', { onchange: () => go(`/compare${query({ ...keys, [name]: select.value })}`) },
      el('option', { value: '' }, 'choose a run…'),
      keys[name] && !known ? el('option', { value: keys[name] }, keys[name]) : null,
      runs.map((/** @type {any} */ run) => el('option', { value: run.run }, `${visibleLine(run.scenario)} · ${run.run} · ${run.status}${run.verdict === 'none' ? '' : `, ${run.verdict}`}`)));
    select.value = keys[name];
    return el('label', null, el('span', null, label), select);
  };
  const filter = el('input', { type: 'search', 'aria-label': 'Filter', placeholder: 'outcome(failed) & test(units/*)', value: keys.filter, onchange: () => go(`/compare${query({ ...keys, filter: filter.value.trim() })}`) });
  const providers = el('input', { type: 'search', placeholder: 'all', title: 'Two names with a comma between them: two providers beside each other, also of one run', value: keys.providers, onchange: () => go(`/compare${query({ ...keys, providers: providers.value.replace(/\s*,\s*/, ',').trim() })}`) });
  const body = el('div');
  put(place, el('div', { class: 'title' }, el('h1', null, 'Compare')),
    el('div', { class: 'filters compare-choice' }, choose('base', 'Base'), keys.base && keys.new ? el('a', { class: 'button', href: `/compare${query({ ...keys, base: keys.new, new: keys.base })}`, title: 'The other way round' }, '⇄') : null, choose('new', 'New'), el('label', { class: 'two' }, el('span', null, 'Providers'), providers), filter), body);
  if (!keys.base || (!keys.new && !keys.providers)) {
    put(body, el('p', { class: 'quiet' }, 'Choose two runs, or tick two in the ', link('/runs', 'list of runs'), '.'));
    return { title: 'Compare' };
  }
  put(body, el('p', { class: 'quiet' }, 'Comparing…'));
  try {
    const answer = await get(`/compare${query({ ...keys, new: keys.new || null })}`);
    draw(body, answer);
  } catch (error) {
    put(body, problem(error));
  }
  return { title: 'Compare' };
}

/** @param {HTMLElement} body @param {Api.Comparison} answer */
function draw(body, answer) {
  const [base, next] = [answer.base, answer.new];
  const byClass = Object.entries(CLASSES).map(([name, look]) => ({ name, look, number: answer.counts[/** @type {keyof Api.CaseCounts} */ (name.replaceAll('-', '_'))] ?? 0, cases: answer.cases.filter((one) => one.class === name) }));
  put(body,
    el('div', { class: 'sides' }, [base, next].map((side, place) => el('section', { class: 'side' },
      el('h2', null, place ? 'New' : 'Base'),
      el('p', null, link(ofRun(side.run), visibleLine(side.scenario)), side.provider ? ` on ${visibleLine(side.provider)}` : '', ' ', el('span', { class: 'mono quiet' }, side.run)),
      el('p', { class: 'facts' }, status(side.status), verdict(side.verdict), since(side.started_at)),
      stackedBar(side.counts), el('p', { class: 'quiet' }, counted(side.counts))))),
    answer.warnings.map((/** @type {any} */ warning) => el('p', { class: 'warn' }, '⚠ ', visibleLine(warning.text))),
    el('p', { class: 'facts tallies' }, byClass.filter(({ number }) => number > 0).map(({ name, look, number }) => (name === 'still-passing'
      ? el('span', { class: look[1] }, `${count(number)} ${look[0].toLowerCase()}`)
      : el('a', { href: `#${name}`, class: `tally ${look[1]}` }, `${count(number)} ${look[0].toLowerCase()}`)))),
    byClass.filter(({ cases }) => cases.length).map(({ name, look, cases }) => el('section', { id: name },
      el('h2', { class: look[1] }, look[0], ' ', el('small', null, count(cases.length))),
      table({ class: 'cases', label: look[0] }, ['Test', 'Provider', 'Base', 'New', 'Why'], cases.slice(0, SHOWN).map((/** @type {any} */ one) => el('tr', null,
        el('td', { class: 'mono' }, link(`${ofRun((one.new ? next : base).run)}${query({ filter: named('test', one.test) })}`, visibleLine(one.test))),
        el('td', null, visibleLine(one.provider)), el('td', null, side(one.base)), el('td', null, side(one.new)), el('td', { class: 'quiet' }, one.why ? visibleLine(one.why) : '')))),
      cases.length > SHOWN ? el('p', { class: 'quiet' }, `and ${plural(cases.length - SHOWN, 'more test', 'more tests')}: narrow it by the filter`) : null)),
    answer.providers.some((/** @type {any} */ one) => one.measures.length) ? el('section', null, el('h2', null, 'Measured on both sides'), answer.providers.map((/** @type {any} */ one) => [
      el('h3', null, visibleLine(one.provider), one.base_provider ? ` (base: ${visibleLine(one.base_provider)})` : ''),
      one.measures.length ? table({ label: `Measures of ${visibleLine(one.provider)}` }, ['Measure', ['Base', 'n'], ['New', 'n'], ['Change', 'n'], ['95 %', 'n'], ['p', 'n'], ''], one.measures.map(measure)) : el('p', { class: 'quiet' }, 'nothing')])) : null,
    answer.differences.length ? el('section', null, el('h2', null, 'How the two came about'), table({ label: 'Differences' }, ['What', 'Base', 'New'], answer.differences.map((/** @type {any} */ one) =>
      el('tr', null, el('td', null, visibleLine(one.what)), el('td', { class: 'mono' }, one.base === null ? '–' : visibleLine(one.base)), el('td', { class: 'mono' }, one.new === null ? '–' : visibleLine(one.new)))))) : null);
}

/** @param {any} one */
function side(one) {
  if (!one) return el('span', { class: 'quiet' }, '–');
  if (!one.settled) return el('span', { class: 'quiet' }, 'not run');
  return [one.trials === 1 && one.outcome ? outcome(one.outcome) : `${one.passed} of ${one.trials} passed`, one.flaky ? el('span', { class: 'pill open' }, 'flaky') : null,
    typeof one.duration_ms === 'number' ? el('span', { class: 'quiet' }, ` ${duration(one.duration_ms)}`) : null];
}

/** @param {any} one */
function measure(one) {
  const show = (/** @type {number} */ value) => (one.kind === 'pass-rate' ? `${(value * 100).toFixed(1)} %` : one.kind === 'duration' ? (value < 0 ? `−${duration(-value)}` : duration(value)) : number(value));
  const signed = (/** @type {number} */ value) => (value > 0 ? `+${show(value)}` : show(value).replace('-', '−'));
  const isWorse = one.change === 0 || one.kind === 'metric' ? null : (one.kind === 'duration') === (one.change > 0);
  return el('tr', null,
    el('td', null, visibleLine(one.name), one.unit ? el('span', { class: 'quiet' }, ` ${visibleLine(one.unit)}`) : null, el('span', { class: 'quiet' }, ` of ${plural(one.tests, 'test')}`)),
    el('td', { class: 'n' }, show(one.base)), el('td', { class: 'n' }, show(one.new)), el('td', { class: 'n' }, signed(one.change)),
    el('td', { class: 'n' }, one.interval ? `${signed(one.interval[0])} to ${signed(one.interval[1])}` : '–'),
    el('td', { class: 'n' }, one.p_corrected === null ? '–' : one.p_corrected < 0.001 ? '< 0.001' : one.p_corrected.toFixed(one.p_corrected < 0.1 ? 3 : 2)),
    el('td', { class: isWorse === null ? '' : isWorse ? 'bad' : 'good' }, one.significant ? (isWorse === null ? 'significant' : isWorse ? 'significantly worse' : 'significantly better') : ''));
}

