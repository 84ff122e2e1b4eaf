'use strict';
(() => {
  const find = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const json = selector => JSON.parse(find(selector).textContent);
  const make = (tag, parent, className, text) => {
    const element = parent.appendChild(document.createElement(tag));
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const rows = json('#rows');
  const [providers, reasons] = json('#names');
  const OUTCOMES = ['passed', 'failed', 'error', 'timeout', 'skipped', 'flaky', 'no result'];
  const PAGE = 100, PRINTED = 2000;
  const [TEST, PROVIDER, REPEAT, OUTCOME, MS, REASON, DETAILS, SCORE] = [0, 1, 2, 3, 4, 5, 6, 7];
  const search = find('#search'), select = find('#provider'), table = find('.trials'), body = find('tbody', table);
  const chips = all('.chips button'), cases = all('details.case'), groups = all('.group');
  const state = { words: '', outcome: '', provider: '', column: -1, way: 1, page: 0 };
  let shown = rows.map((_, index) => index);

  const reason = row => typeof row[REASON] === 'number' ? reasons[row[REASON] - 1] : row[REASON];
  const number = value => value.toLocaleString('en-US', { maximumSignificantDigits: 6 });
  // The same as in the pages of `runner serve`.
  const duration = ms => {
    const micros = Math.round(ms * 1000);
    const rounded = (step) => Math.round(micros / step);
    if (micros < 1000) return `${micros} µs`;
    for (const { unit, size, end } of [{ unit: 'ms', size: 1000, end: 999_500 }, { unit: 's', size: 1_000_000, end: 119_500_000 }]) {
      const tenths = rounded(size / 10);
      if (micros < end && tenths < 100 && micros % size) return `${(tenths / 10).toFixed(1)} ${unit}`;
      if (micros < end) return `${rounded(size)} ${unit}`;
    }
    const [seconds, minutes, hours] = [1e6, 6e7, 3.6e9].map(rounded);
    if (seconds < 7200) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
    return minutes < 2880 ? `${Math.floor(minutes / 60)} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
  };

  function matches(row) {
    const outcome = OUTCOMES[row[OUTCOME]];
    if (state.outcome && outcome !== state.outcome && !(state.outcome === 'passed' && outcome === 'flaky')) return false;
    if (state.provider !== '' && row[PROVIDER] !== +state.provider) return false;
    if (!state.words) return true;
    const text = `${row[TEST]}@${providers[row[PROVIDER]]}#${row[REPEAT]} ${reason(row)}`.toLowerCase();
    return state.words.toLowerCase().split(/\s+/).every(word => text.includes(word));
  }

  function order(column) {
    const key = {
      [OUTCOME]: row => (row[OUTCOME] + 6) % 7,
      [PROVIDER]: row => row[PROVIDER],
      [REASON]: reason,
    }[column] || (row => row[column]);
    return (left, right) => {
      const [a, b] = [key(rows[left]), key(rows[right])];
      return (a < b ? -1 : a > b ? 1 : 0) * state.way || left - right;
    };
  }

  function draw(most = PAGE) {
    const from = most === PAGE ? state.page * PAGE : 0;
    body.textContent = '';
    for (const index of shown.slice(from, from + most)) {
      const row = rows[index], outcome = OUTCOMES[row[OUTCOME]], line = make('tr', body);
      make('span', make('td', line, 'outcome'), outcome, outcome);
      const test = make('td', line, 'test name');
      if (row[DETAILS]) make('a', test, '', row[TEST]).href = `#f${row[DETAILS]}`;
      else test.textContent = row[TEST];
      if (row[REPEAT] > 1) make('span', test, 'quiet', ` #${row[REPEAT]}`);
      make('td', line, 'provider', providers[row[PROVIDER]]);
      make('td', line, 'score number', row[SCORE] === null ? '' : number(row[SCORE]));
      make('td', line, 'reason', reason(row));
      make('td', line, 'time number', row[MS] === null ? '' : duration(row[MS]));
    }
    const last = Math.min(from + PAGE, shown.length);
    find('#place').textContent = shown.length > PAGE ? `${number(from + 1)}–${number(last)} of ${number(shown.length)}` : '';
    find('#before').disabled = from === 0;
    find('#after').disabled = last === shown.length;
    find('.pager').hidden = shown.length <= PAGE;
  }

  function update() {
    const isAll = !state.words && !state.outcome && state.provider === '';
    shown = [];
    for (let index = 0; index < rows.length; index += 1) if (isAll || matches(rows[index])) shown.push(index);
    if (state.column >= 0) shown.sort(order(state.column));
    state.page = 0;
    for (const one of cases) one.hidden = !isAll && !matches(rows[one.dataset.row]);
    for (const group of groups) group.hidden = !all('details.case', group).some(one => !one.hidden);
    const failures = find('#failures');
    if (failures) failures.hidden = groups.every(group => group.hidden);
    find('#nothing').hidden = shown.length > 0 || rows.length === 0;
    find('#shown').textContent = isAll ? `${rows.length.toLocaleString('en-US')} trials`
      : `${shown.length.toLocaleString('en-US')} of ${rows.length.toLocaleString('en-US')} trials`;
    for (const chip of chips) chip.setAttribute('aria-pressed', chip.dataset.outcome === state.outcome);
    draw();
  }

  // Keeps the selection in the address, so that a link or a reload shows it again.
  function choose(changes) {
    Object.assign(state, changes);
    const query = new URLSearchParams();
    for (const key of ['words', 'outcome', 'provider']) if (state[key] !== '') query.set(key, state[key]);
    history.replaceState(null, '', query.size ? `#?${query}` : location.pathname + location.search);
    update();
  }

  function open() {
    const hash = location.hash;
    if (hash.startsWith('#?')) {
      const query = new URLSearchParams(hash.slice(2));
      for (const key of ['words', 'outcome', 'provider']) state[key] = query.get(key) || '';
      search.value = state.words;
      if (select) select.value = state.provider;
      update();
    } else if (/^#f\d+$/.test(hash) && find(hash)) {
      const one = find(hash);
      one.open = true;
      one.scrollIntoView();
      find('summary', one).focus({ preventScroll: true });
    }
  }

  function step(by) {
    const visible = cases.filter(one => !one.hidden);
    const at = visible.indexOf(document.activeElement.closest('details.case'));
    const next = visible[at < 0 ? 0 : Math.min(Math.max(at + by, 0), visible.length - 1)];
    if (next) find('summary', next).focus();
  }

  document.documentElement.classList.add('js');
  find('#tools').hidden = false;
  find('#rest')?.remove();
  const pager = make('div', find('#trials'), 'pager');
  for (const [id, text, by] of [['before', '← Previous', -1], ['place'], ['after', 'Next →', 1]]) {
    const part = make(by ? 'button' : 'span', pager, by ? '' : 'quiet', text || '');
    part.id = id;
    if (by) part.addEventListener('click', () => { state.page += by; draw(); table.scrollIntoView(); });
  }
  const columns = [OUTCOME, TEST, PROVIDER, SCORE, REASON, MS];
  all('th', table).forEach((head, index) => {
    const text = head.textContent;
    head.textContent = '';
    const button = make('button', head, 'sort', text);
    button.addEventListener('click', () => {
      const isSame = state.column === columns[index];
      state.way = isSame ? -state.way : columns[index] === MS ? -1 : 1;
      state.column = columns[index];
      for (const other of all('.sort', table)) other.removeAttribute('data-way');
      button.dataset.way = state.way;
      all('th', table).forEach(one => one.removeAttribute('aria-sort'));
      head.setAttribute('aria-sort', state.way > 0 ? 'ascending' : 'descending');
      update();
    });
  });
  let timer = 0;
  search.addEventListener('input', () => {
    clearTimeout(timer);
    timer = setTimeout(() => choose({ words: search.value.trim() }), 120);
  });
  select?.addEventListener('change', () => choose({ provider: select.value }));
  for (const chip of chips) {
    chip.addEventListener('click', () => choose({ outcome: state.outcome === chip.dataset.outcome ? '' : chip.dataset.outcome }));
  }
  const unfold = find('#unfold');
  unfold.hidden = cases.length === 0;
  unfold.addEventListener('click', () => {
    const isOpen = unfold.textContent === 'Fold all';
    for (const one of cases) one.open = !isOpen;
    unfold.textContent = isOpen ? 'Unfold all' : 'Fold all';
  });
  for (const command of all('.command')) {
    const button = make('button', command, 'copy', 'Copy');
    button.addEventListener('click', () => {
      // Unlike `navigator.clipboard`, this needs no permission in a local file.
      getSelection().selectAllChildren(find('pre', command));
      button.textContent = document.execCommand('copy') ? 'Copied' : 'Selected';
      setTimeout(() => { button.textContent = 'Copy'; }, 1500);
    });
  }
  document.addEventListener('keydown', event => {
    const isField = event.target.closest('input, select');
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === 'Escape' && event.target === search) {
      search.value = '';
      choose({ words: '' });
      search.blur();
    } else if (isField) {
      return;
    } else if (event.key === '/') {
      event.preventDefault();
      search.focus();
    } else if (event.key === 'j' || event.key === 'k') {
      step(event.key === 'j' ? 1 : -1);
    }
  });
  let folded = [];
  addEventListener('beforeprint', () => {
    folded = cases.filter(one => !one.open);
    for (const one of folded) one.open = true;
    draw(PRINTED);
  });
  addEventListener('afterprint', () => {
    for (const one of folded) one.open = false;
    draw();
  });
  addEventListener('hashchange', open);
  update();
  open();
})();
