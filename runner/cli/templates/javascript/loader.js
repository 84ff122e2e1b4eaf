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
  // The engine's own `fetch` would be a trap.
  globalThis.fetch = () => {
    throw new Error('there is no `fetch`: use `send` of runner:provider/http@0.1.1');
  };
  return withReason(() => {
    const provider = program(host);
    for (const name of ['describe', 'run']) {
      const names = Object.keys(provider).join(', ');
      check(typeof provider[name] === 'function', `provider.js: \`provider\` has no function \`${name}\`; it has ${names}`);
    }
    return {
      describe: () => withReason(() => checkedDescription(provider.describe())),
      async run(test) {
        try {
          return checkedReply(await provider.run(test));
        } catch (thrown) {
          throw asError(thrown);
        }
      },
    };
  });
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
  const isVerdict = (verdict) => ['pass', 'fail', 'skip'].includes(verdict);
  const { output, verdict, score = 0, checks = [], metrics = [] } = reply ?? {};
  const must = (isRight, text) => check(isRight, `the reply must have ${text}`);
  must(typeof output === 'string', 'an `output`, which is JSON text: `JSON.stringify(…)`');
  must(verdict === undefined || isVerdict(verdict), "a `verdict` of 'pass', 'fail' or 'skip', or none");
  must(Number.isFinite(score), 'a `score` that is a number, or none');
  must(checks.every((one) => isVerdict(one.verdict)), "`checks` with a `verdict` of 'pass', 'fail' or 'skip'");
  must(metrics.every((one) => Number.isFinite(one.value)), '`metrics` with a `value` that is a number');
  return { ...reply, checks, metrics };
}

function check(isRight, message) {
  if (!isRight) throw new TypeError(message);
}

// The contract has only errors with a kind. Any other exception becomes `internal`, with its stack.
function asError(thrown) {
  if (typeof thrown?.kind === 'string') {
    const { kind, code = '', message = '' } = thrown;
    const kinds = ['invalid-config', 'invalid-input', 'denied', 'unavailable', 'rate-limited', 'stopped', 'internal', 'other'];
    if (kinds.includes(kind)) return { ...thrown, code, message };
    return { kind: 'internal', code: 'exception', message: `an error has the unknown kind '${kind}': ${message}` };
  }
  // Host functions throw a word, or a word with a text: `http` throws `{ tag: 'denied', val: '…' }`.
  const payload = thrown?.payload;
  if (payload !== undefined) {
    const code = payload.tag ?? payload;
    const kinds = { denied: 'denied', unreachable: 'unavailable', timeout: 'unavailable' };
    return { kind: kinds[code] ?? 'internal', code, message: payload.val ?? code };
  }
  return { kind: 'internal', code: 'exception', message: `${shown(thrown)}\n${thrown?.stack ?? ''}` };
}

// Prints why a call fails, in one line with the place. The engine prints the message of an error alone, and nothing of other
// values. The new error has a short stack, so that the runner shows the line above it.
function withReason(call) {
  try {
    return call();
  } catch (thrown) {
    const reason = shown(thrown).replace(/\s*\n\s*/g, ' ');
    const [place = ''] = thrown?.stack?.split('\n') ?? [];
    console.error(place ? `${reason} (${place.split('@').pop()})` : reason);
    throw new Error(reason);
  }
}

function shown(thrown) {
  return thrown instanceof Error || typeof thrown !== 'object' ? `${thrown}` : JSON.stringify(thrown);
}

// Makes stacks show places in the sources, without frames of this file and of the engine.
function showPlaces(lines, name) {
  const { get } = Object.getOwnPropertyDescriptor(Error.prototype, 'stack');
  const pattern = new RegExp(`[^@]*${name}:(\\d+):\\d+$`);
  const place = (frame) => frame.replace(pattern, (whole, line) => lines[line - 1] ?? whole);
  const isSource = (frame) => !/(component|initializer)\.js/.test(frame);
  const stack = {
    get() {
      return get.call(this)?.split('\n').map(place).filter(isSource).join('\n');
    },
    configurable: true,
  };
  Object.defineProperty(Error.prototype, 'stack', stack);
}
