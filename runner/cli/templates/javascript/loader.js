// `build.mjs` puts this text behind the start of the component: `host`, an object with the contract's modules, and the provider.

// The development form: reads the program when it is called, once in each instance, so that an edit needs no new component.
function load() {
  let provider;
  const loaded = () => {
    if (provider === undefined) {
      const bytes = host['runner:provider/files@0.1.2'].read('.source', 0, 2 ** 32 - 1);
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
    throw new Error('there is no `fetch`: use `send` of runner:provider/http@0.1.2');
  };
  return withReason(() => {
    const provider = withoutHost(program);
    for (const name of ['describe', 'run']) {
      const names = Object.keys(provider ?? {}).join(', ') || 'none';
      const message = `provider.js: \`provider\` has no function \`${name}\`; it has ${names}`;
      check(typeof provider?.[name] === 'function', message);
    }
    return {
      describe() {
        return withReason(() => {
          const description = provider.describe();
          check(typeof description?.then !== 'function', '`describe` cannot be `async`: it must return the description itself');
          return typed('description', description, '', 'the description');
        });
      },
      async run(test) {
        try {
          const reply = await settled(provider.run(test));
          check(typeof reply === 'object' && reply !== null, '`run` must return a reply, which is an object');
          const { checks, metrics } = reply;
          return typed('reply', { ...reply, checks: checks ?? [], metrics: metrics ?? [] }, '', 'the reply');
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
    const guarded = Object.entries(functions).map(([name, call]) => {
      const parameters = contract.functions[module][name];
      const typedCall = (...values) =>
        call(...parameters.map(([parameter, type], index) => typed(type, values[index], parameter, `\`${name}\``)));
      return [name, only(typedCall, name)];
    });
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

// Returns a value as a type of the contract. Otherwise the engine silently converts some values, such as a string to no bytes,
// and drops unknown fields. Other values end the instance, without a place in the sources.
function typed(type, value, path, owner) {
  const name = path ? `\`${path}\` of ${owner}` : owner;
  const isOptional = type.startsWith('option<');
  if (isOptional && (value === undefined || value === null)) return undefined;
  if (isOptional) type = type.slice('option<'.length, -1);
  const must = (isRight, kind) => check(isRight, `${name} must be ${kind}${isOptional ? ', or none' : ''}`);

  const isText = (value) => typeof value === 'string';
  const isWhole = (value) => Number.isInteger(value) && value >= 0 && value < 2 ** 32;
  // Values of the host are of another realm, where `instanceof Uint8Array` is false.
  const isBytes = (value) => Object.prototype.toString.call(value) === '[object Uint8Array]';
  const isPair = (value) => Array.isArray(value) && value.length === 2 && value.every(isText);
  const kinds = {
    string: [isText, 'a string'],
    json: [isText, 'JSON text: `JSON.stringify(…)`'],
    f64: [Number.isFinite, 'a finite number'],
    u32: [isWhole, 'a whole number from 0 to 4294967295'],
    ms: [isWhole, 'milliseconds: a whole number from 0 to 4294967295'],
    'list<u8>': [isBytes, 'a Uint8Array, such as `new TextEncoder().encode(text)`'],
    'tuple<string, string>': [isPair, 'a pair of strings: `[name, value]`'],
  };
  if (kinds[type]) {
    const [is, kind] = kinds[type];
    // Details can be any value, such as an object.
    if (path.endsWith('details') && !isText(value)) value = JSON.stringify(value);
    must(is(value), kind);
    return value;
  }
  if (type.startsWith('list<')) {
    const itemType = type.slice('list<'.length, -1);
    const [, kind] = kinds[itemType] ?? [, 'an object'];
    must(Array.isArray(value), `a list, each item ${kind}`);
    return value.map((item, index) => typed(itemType, item, `${path}[${index}]`, owner));
  }
  const fields = contract.types[type];
  if (isText(fields[0])) {
    must(fields.includes(value), `one of '${fields.join("', '")}'`);
    return value;
  }
  must(typeof value === 'object' && value !== null, 'an object');
  const names = fields.map(([name]) => name);
  const unknown = Object.keys(value).find((key) => !names.includes(key));
  check(unknown === undefined, `${name} has an unknown field \`${unknown}\`; known are ${names.join(', ')}`);
  const pathOf = (name) => (path ? `${path}.${name}` : name);
  return Object.fromEntries(fields.map(([name, type]) => [name, typed(type, value[name], pathOf(name), owner)]));
}

function check(isRight, message) {
  if (!isRight) throw new TypeError(message);
}

// The contract has only errors with a kind. Any other exception becomes `internal`, with its stack.
function asError(thrown) {
  const exception = (message) => ({ kind: 'internal', code: 'exception', message });
  const kinds = contract.types['error-kind'];
  if (kinds.includes(thrown?.kind)) {
    const { kind, code, message, retryAfter, details } = thrown;
    const text = (value) => (typeof value === 'number' ? `${value}` : (value ?? ''));
    const error = { kind, code: text(code), message: text(message), retryAfter, details };
    try {
      // An exception may have fields of its own.
      return typed('provider-error', thrown instanceof Error ? error : { ...thrown, ...error }, '', 'the error');
    } catch (wrong) {
      return exception([`${shown(wrong)}; it is ${shown(thrown)}`, ...stackOf(thrown)].join('\n'));
    }
  }
  if (typeof thrown?.kind === 'string' && !(thrown instanceof Error)) {
    return exception(`${shown(thrown)} has an unknown kind; known are ${kinds.join(', ')}`);
  }
  // Host functions throw a word, or a word with a text: `http` throws `{ tag: 'denied', val: '…' }`, and `tools` throws
  // `{ kind: 'denied', message: '…' }`.
  const { payload } = thrown ?? {};
  const code = payload?.tag ?? payload?.kind ?? payload;
  if (typeof code === 'string') {
    const kinds = { denied: 'denied', unreachable: 'unavailable', timeout: 'unavailable' };
    return { kind: kinds[code] ?? 'internal', code, message: `${payload.val ?? payload.message ?? code}${placeOf(thrown)}` };
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
