// `build.mjs` puts this text behind the start of the component: `host`, an object with the contract's modules, and the provider.

// The development form: reads the program when it is called, once in each instance, so that an edit needs no new component.
function load() {
  let provider;
  const loaded = () => {
    if (provider === undefined) {
      const bytes = host['runner:provider/files@0.1.1'].read('.source', 0, 2 ** 32 - 1);
      const { program, lines } = JSON.parse(new TextDecoder().decode(bytes));
      provider = provide((0, eval)(program), lines, '> eval');
    }
    return provider;
  };
  return { describe: () => loaded().describe(), run: (test) => loaded().run(test) };
}

// Evaluates the program. `lines` has the place of each of its lines in the sources. `name` is what the engine calls its file.
function provide(program, lines, name) {
  showPlaces(lines, name);
  const settled = watchTimers();
  // The engine's own `fetch` would be a trap.
  globalThis.fetch = () => {
    throw new Error('there is no `fetch`: use `send` of runner:provider/http@0.1.1');
  };
  return withReason(() => {
    const provider = withoutHost(program);
    for (const name of ['describe', 'run']) {
      const names = Object.keys(provider ?? {}).join(', ') || 'none';
      const message = `provider.js: \`provider\` has no function \`${name}\`; it has ${names}`;
      check(typeof provider?.[name] === 'function', message);
    }
    return {
      describe: () => withReason(() => checkedDescription(provider.describe())),
      async run(test) {
        try {
          return checkedReply(await settled(provider.run(test)));
        } catch (thrown) {
          throw asError(thrown);
        }
      },
    };
  });
}

// Evaluates the program. The final form does that when it is built, without a host and without random numbers, so the development
// form has none of them here, either.
function withoutHost(program) {
  let isLoading = true;
  const only = (call, name) =>
    function (...values) {
      if (isLoading) throw new Error(`\`${name}\` is called outside of functions: call it in \`run\``);
      return call.apply(this, values);
    };
  const modules = Object.entries(host).map(([module, functions]) => {
    const guarded = Object.entries(functions).map(([name, call]) => [name, only(call, name)]);
    return [module, Object.fromEntries(guarded)];
  });
  Math.random = only(Math.random, 'Math.random');
  for (const name of ['getRandomValues', 'randomUUID']) {
    crypto[name] = only(crypto[name], `crypto.${name}`);
  }
  const provider = program(Object.fromEntries(modules));
  isLoading = false;
  return provider;
}

// Guards timers. Returns a function that waits for the reply of `run`, which may be a promise. If the callback of a timer throws
// or nothing can settle the promise, the call fails with the reason: the engine would end the instance in words of its own.
function watchTimers() {
  const { setTimeout, setInterval, clearTimeout, clearInterval, queueMicrotask } = globalThis;
  // Only timers can let a promise settle later.
  const timers = new Set();
  let failCall = () => {};
  const checkSoon = () => {
    const fail = failCall;
    const check = () => timers.size === 0 && fail('`run` returned a promise that nothing settles: no timer is left');
    // Some work of the engine ends a moment after its call.
    if (timers.size === 0) setTimeout(check, 10);
  };
  const guarded = (callback) => (...values) => {
    try {
      callback(...values);
    } catch (thrown) {
      failCall(thrown);
    }
  };
  const added = (id) => {
    timers.add(id);
    return id;
  };
  const removed = (id) => {
    timers.delete(id);
    checkSoon();
  };
  globalThis.setTimeout = (callback, ...rest) => {
    const call = guarded(callback);
    const ended = (...values) => {
      call(...values);
      removed(id);
    };
    const id = added(setTimeout(ended, ...rest));
    return id;
  };
  globalThis.setInterval = (callback, ...rest) => added(setInterval(guarded(callback), ...rest));
  globalThis.queueMicrotask = (callback) => queueMicrotask(guarded(callback));
  for (const [name, clear] of Object.entries({ clearTimeout, clearInterval })) {
    globalThis[name] = (id) => {
      clear(id);
      removed(id);
    };
  }
  return (reply) => {
    if (typeof reply?.then !== 'function') return reply;
    return new Promise((resolve, reject) => {
      failCall = reject;
      reply.then(resolve, reject);
      checkSoon();
    });
  };
}

// Without these checks, another description or reply would be a trap without a reason.
function checkedDescription(description) {
  const isText = (value) => typeof value === 'string';
  const isOptional = (value) => value === undefined || isText(value);
  const isList = (value) => Array.isArray(value) && value.every(isText);
  const kinds = [
    [isText, 'a string', ['name', 'version', 'summary']],
    [isOptional, 'JSON text: `JSON.stringify(…)`, or none', ['configSchema', 'inputSchema', 'extra']],
    [isList, 'a list of strings', ['requests']],
  ];
  for (const [is, kind, names] of kinds) {
    names.forEach((name) => check(is(description?.[name]), `\`${name}\` of the description must be ${kind}`));
  }
  return description;
}

function checkedReply(reply) {
  const isText = (value) => typeof value === 'string';
  const isVerdict = (value) => ['pass', 'fail', 'skip'].includes(value);
  const isOptional = (is) => (value) => value === undefined || is(value);
  const must = (isRight, text) => check(isRight, `the reply must have ${text}`);
  const { output, verdict, score, summary, checks = [], metrics = [], extra, ...others } = reply ?? {};
  must(isText(output), 'an `output`, which is JSON text: `JSON.stringify(…)`');
  must(isOptional(isVerdict)(verdict), "a `verdict` of 'pass', 'fail' or 'skip', or none");
  must(isOptional(Number.isFinite)(score), 'a `score` that is a number, or none');
  must([summary, extra].every(isOptional(isText)), 'a `summary` and an `extra` that are strings, or none');
  for (const [name, list] of Object.entries({ checks, metrics })) {
    must(Array.isArray(list) && list.every((one) => isText(one?.name)), `a list of \`${name}\`, each with a \`name\``);
  }
  must(checks.every((one) => isVerdict(one.verdict)), "`checks` with a `verdict` of 'pass', 'fail' or 'skip'");
  must(metrics.every((one) => Number.isFinite(one.value)), '`metrics` with a `value` that is a number');
  must(Object.keys(others).length === 0, `known fields only, not \`${Object.keys(others).join('`, `')}\``);
  return { ...reply, checks, metrics };
}

function check(isRight, message) {
  if (!isRight) throw new TypeError(message);
}

// The contract has only errors with a kind. Any other exception becomes `internal`, with its stack.
function asError(thrown) {
  const exception = (message) => ({ kind: 'internal', code: 'exception', message });
  const kinds = ['invalid-config', 'invalid-input', 'denied', 'unavailable', 'rate-limited', 'stopped', 'internal', 'other'];
  if (kinds.includes(thrown?.kind)) {
    const { kind, code = '', message = '', retryAfter, details } = thrown;
    return { kind, code: `${code}`, message: `${message}`, retryAfter, details };
  }
  if (typeof thrown?.kind === 'string' && !(thrown instanceof Error)) {
    return exception(`${shown(thrown)} has an unknown kind; known are ${kinds.join(', ')}`);
  }
  // Host functions throw a word, or a word with a text: `http` throws `{ tag: 'denied', val: '…' }`.
  const { payload } = thrown ?? {};
  const code = payload?.tag ?? payload;
  if (typeof code === 'string') {
    const kinds = { denied: 'denied', unreachable: 'unavailable', timeout: 'unavailable' };
    return { kind: kinds[code] ?? 'internal', code, message: `${payload.val ?? code}${placeOf(thrown)}` };
  }
  return exception([shown(thrown), ...stackOf(thrown)].join('\n'));
}

// Prints why a call fails, in one line with the place. The engine prints the message of an error alone, and nothing of other
// values. The new error has a short stack, so that the runner shows the line above it.
function withReason(call) {
  try {
    return call();
  } catch (thrown) {
    const reason = shown(thrown).replace(/\s*\n\s*/g, ' ');
    console.error(`${reason}${placeOf(thrown)}`);
    throw new Error(reason);
  }
}

function shown(thrown) {
  try {
    // Errors of host functions are of another realm, where `instanceof Error` is false.
    if (Object.prototype.toString.call(thrown) === '[object Error]') return `${thrown}`;
    return typeof thrown === 'object' ? JSON.stringify(thrown) : String(thrown);
  } catch {
    return 'a value that has no JSON';
  }
}

// Returns the frames of a stack that are in the sources. A `var`, because `showPlaces` sets it before this line is reached.
var framesOf;

function stackOf(thrown) {
  return typeof thrown?.stack === 'string' ? framesOf(thrown.stack).filter(Boolean) : [];
}

function placeOf(thrown) {
  const [frame] = stackOf(thrown);
  return frame ? ` (${frame.split('@').pop()})` : '';
}

// Makes stacks show places in the sources, without frames of this file and of the engine.
function showPlaces(lines, name) {
  const { get } = Object.getOwnPropertyDescriptor(Error.prototype, 'stack');
  const pattern = new RegExp(`[^@]*${name}:(\\d+):\\d+$`);
  const places = (frame) => {
    const place = lines[frame.match(pattern)?.[1] - 1];
    if (place) return frame.replace(pattern, place);
    return /(component|initializer)\.js/.test(frame) ? [] : frame;
  };
  framesOf = (stack) => stack.split('\n').flatMap(places);
  const stack = {
    get() {
      const stack = get.call(this);
      return stack && framesOf(stack).join('\n');
    },
    configurable: true,
  };
  Object.defineProperty(Error.prototype, 'stack', stack);
}
