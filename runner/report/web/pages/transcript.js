// @ts-check
// The transcript of an attempt. Only the steps around the visible ones are read and have elements.

import { get, query, readStart } from '../base/api.js';
import { problem } from '../base/problem.js';
import { report } from '../base/report.js';
import { button, drawNow, edgeOf, el, hold, loading, render } from '../base/ui.js';
import { count, duration, plural, prose, size } from '../base/words.js';

/** Steps of a request, and steps with elements. */
const [PAGE, SHOWN] = [50, 150];

/** Returns a function that shows the transcript of an attempt. @param {string} path of the trial @param {() => void} redraw @param {any} row */
export function transcriptView(path, redraw, { attempt, transcript }) {
  const place = Object.assign(document.createElement('div'), { className: 'log transcript', tabIndex: 0, role: 'region', ariaLabel: 'Transcript', title: 'Enter marks the next failed call, Shift+Enter the one before' });
  const asked = () => Object.fromEntries(new URLSearchParams(location.search));
  const marked = () => Number(/^#step-(\d+)$/.exec(location.hash)?.[1] ?? 0);
  /** The last page, its steps with their neighbours, the number of steps before them, and the open step. @type {[any, any[], number, any]} */
  let [page, steps, offset, opened] = [null, [], 0, null];
  let [tool, hit, turn, isBusy, error] = [asked().tool ?? '', marked(), 0, false, /** @type {any} */ (null)];

  /** Reads a page. Returns whether it is read and still wanted. @param {Record<string, any>} from */
  async function read(from) {
    const mine = ++turn;
    isBusy = true;
    const [fresh, caught] = await get(`${path}/transcript${query({ attempt, tool, limit: PAGE, ...from })}`).then((one) => [one, null], (one) => [null, one]);
    if (mine !== turn) return false;
    [page, isBusy, error] = [fresh ?? page, false, caught];
    return Boolean(fresh);
  }

  /** Shows the steps from a place on, and marks the step `hit`. @param {Record<string, any>} from */
  async function show(from) {
    if (!await read(from)) return redraw();
    [steps, offset] = [page.steps, page.offset];
    draw();
    redraw();
    drawNow();
    place.scrollTop = from.offset ? place.scrollHeight : 0;
    showHit();
    grow();
  }

  const showHit = () => place.querySelector('.hit')?.scrollIntoView({ block: 'nearest' });
  const showEnd = () => void show({ offset: Math.max(0, page.total - PAGE) });

  /** Adds the steps after the shown ones, or before them, and removes those at the other end. @param {number} by */
  async function extend(by) {
    const end = offset + steps.length;
    const from = by < 0 ? Math.max(0, offset - PAGE) : end;
    if (isBusy || !page || (by < 0 ? !offset : end >= page.total)) return;
    if (!await read({ offset: from, limit: by < 0 ? offset - from : PAGE })) return redraw();
    if (by < 0) [steps, offset] = [[...page.steps, ...steps].slice(0, SHOWN), from];
    else [steps, offset] = [[...steps, ...page.steps].slice(-SHOWN), offset + Math.max(0, steps.length + page.steps.length - SHOWN)];
    hold(place, draw);
  }

  /** Marks the next step of a failed check, or the one before. @param {number} by */
  function jump(by) {
    const all = [...new Set(page.failed.map((/** @type {any} */ one) => one.step))];
    if (!all.length) return;
    hit = all[(all.indexOf(hit) + (by < 0 && !all.includes(hit) ? 0 : by) + all.length) % all.length];
    history.replaceState(history.state, '', `${location.pathname}${location.search}#step-${hit}`);
    if (steps.some(({ step }) => step === hit)) {
      draw();
      showHit();
    } else {
      select('', { near: hit });
    }
  }

  /** Shows only the steps that call a tool. @param {string} name @param {Record<string, any>} [from] */
  function select(name, from = {}) {
    tool = name;
    history.replaceState(history.state, '', location.pathname + query({ ...asked(), tool }) + location.hash);
    void show(from);
  }

  /** @param {number} step @param {boolean} isOpen */
  async function toggle(step, isOpen) {
    if (isOpen === (opened?.step === step)) return;
    opened = isOpen ? { step } : null;
    draw();
    const mine = opened;
    if (!mine) return;
    Object.assign(mine, await readStart(`${path}/attempts/${attempt}/steps/${step}`).catch((caught) => ({ error: caught })));
    draw();
  }

  /** @param {any} one @param {string} [mark] @param {string} [kind] */
  const text = (one, mark = '', kind = '') => one?.bytes > 0 && el('p', { class: `pre ${kind}` }, mark, one.text, one.folded && el('span', { class: 'quiet' }, ` … ${size(one.bytes)} in all`));

  /** @param {any} one */
  function entry(one) {
    const { step, source, calls, results, failed } = one;
    const facts = [one.model, one.took_ms !== undefined && duration(one.took_ms), one.input_tokens !== undefined && `${plural(one.input_tokens, 'token')} in`, one.output_tokens !== undefined && `${plural(one.output_tokens, 'token')} out`,
      one.copied && 'given by the test', one.claimed && 'the agent’s own word'].filter(Boolean).join(', ');
    const isFolded = one.left_out > 0 || [one.reasoning, one.message, ...results, ...calls.map((/** @type {any} */ call) => call.arguments)].some((part) => part?.folded);
    const whole = opened?.step === step ? opened : null;
    return el('div', { key: step, id: `step-${step}`, class: `line ${failed.length ? 'bad' : ''} ${step === hit ? 'hit' : ''}` },
      el('a', { href: `#step-${step}`, tabindex: -1, 'aria-label': `Step ${step}`, 'data-n': step }),
      el('div', null, el('p', null, el('b', null, source), ' ', el('span', { class: 'quiet' }, facts)),
        text(one.reasoning, '', 'quiet'), text(one.message),
        calls.map((/** @type {any} */ call) => el('code', { class: 'pre' }, '→ ', el('b', null, call.tool), `(${call.arguments.text}`, call.arguments.folded && '…', ')')),
        failed.map((/** @type {string} */ words) => el('p', { class: 'failed' }, '✗ ', prose(words))),
        results.map((/** @type {any} */ result) => text(result, one.error ? `✗ ${one.error}: ` : '← ', `result ${one.error ? 'error' : ''}`)),
        one.left_out > 0 && el('p', { class: 'quiet' }, `… ${plural(one.left_out, 'more call or result', 'more calls and results')}`), one.problem && el('p', { class: 'flaky' }, one.problem),
        isFolded && !report && el('details', { open: Boolean(whole), ontoggle: (/** @type {any} */ event) => void toggle(step, event.target.open) }, el('summary', { class: 'quiet' }, 'All of the step'),
          whole && [whole.text ? el('pre', { tabindex: 0, 'aria-label': `Step ${step} in full` }, whole.text) : whole.error ? problem(whole.error) : loading(), whole.left > 0 && el('p', { class: 'quiet' }, `${size(whole.left)} more: download transcript.json`)])));
  }

  const draw = () => render(place, steps.map(entry));
  const grow = () => { const by = edgeOf(place); if (by) void extend(by); };
  place.onscroll = grow;
  place.onkeydown = (event) => {
    const { key, target, shiftKey, ctrlKey, altKey, metaKey } = event;
    if (target !== place || ctrlKey || altKey || metaKey || !page) return;
    if (key === 'Enter') jump(shiftKey ? -1 : 1);
    else if (key === 'Home' && offset) void show({});
    else if (key === 'End' && offset + steps.length < page.total) showEnd();
    else return;
    event.preventDefault();
  };
  void show(hit && !tool ? { near: hit } : {});

  return () => [el('h2', null, 'Transcript', el('small', null, plural(transcript.steps, 'step'), page && `, ${plural(page.calls, 'call of a tool', 'calls of tools')}`)), error && problem(error), !page && !error && loading(),
    page && el('div', { class: 'filters' }, page.tools.length > 0 && el('select', { 'aria-label': 'Tool', value: tool, onchange: (/** @type {any} */ { target }) => select(target.value) },
      el('option', { value: '' }, 'All steps'), page.tools.map((/** @type {any} */ one) => el('option', { key: one.tool, value: one.tool }, `${one.tool}, ${plural(one.calls, 'call')}`))),
    page.failed.length > 0 && button('Next failed call', () => jump(1)), tool && el('span', { class: 'quiet' }, `${count(page.total)} of ${plural(transcript.steps, 'step')}`),
    page.total > PAGE && button('Go to the end', showEnd)),
    el('div', { hidden: !steps.length }, place), transcript.dropped > 0 && el('p', { class: 'quiet' }, `${plural(transcript.dropped, 'more step')} did not fit `, el('code', null, 'limits.transcript')),
    page?.left > 0 && el('p', { class: 'quiet' }, `${plural(page.left, 'more step')}: `, el('code', null, `runner show ${page.run} '${page.trial}' --transcript`)),
    page?.total > steps.length && el('p', { class: 'printed quiet' }, `${plural(page.total - steps.length, 'more step')}, not printed`)];
}
