// The functions of the contract, `wit/provider.wit`. The logic is in `shout.js`, which gets the host's functions as arguments,
// so that it can be tested without WASM.

import { log } from 'runner:provider/log@0.1.1';
import { describe, run } from './shout.js';

export const provider = {
  describe,
  run(test) {
    try {
      return checked(run(test, { log }));
    } catch (thrown) {
      throw asError(thrown);
    }
  },
};

// Without these checks, another reply would be a trap without a reason.
function checked(reply) {
  const check = (isRight, text) => {
    if (!isRight) throw new TypeError(`the reply must have ${text}`);
  };
  const isVerdict = (verdict) => ['pass', 'fail', 'skip'].includes(verdict);
  const { output, verdict, score = 0, checks = [], metrics = [] } = reply ?? {};
  check(typeof output === 'string', 'an `output`, which is JSON text: `JSON.stringify(…)`');
  check(verdict === undefined || isVerdict(verdict), "a `verdict` of 'pass', 'fail' or 'skip', or none");
  check(Number.isFinite(score), 'a `score` that is a number, or none');
  check(checks.every((one) => isVerdict(one.verdict)), "`checks` with a `verdict` of 'pass', 'fail' or 'skip'");
  check(metrics.every((one) => Number.isFinite(one.value)), '`metrics` with a `value` that is a number');
  return { ...reply, checks, metrics };
}

// The engine's own `fetch` would be a trap.
globalThis.fetch = () => {
  throw new Error('there is no `fetch`: use `send` of runner:provider/http@0.1.1');
};

// The contract has only errors with a kind. Any other exception becomes `internal`, with its stack.
function asError(thrown) {
  if (typeof thrown?.kind === 'string') return thrown;
  // Host functions throw a word, or a word with a text: `http` throws `{ tag: 'denied', val: '…' }`.
  const payload = thrown?.payload;
  if (payload !== undefined) {
    const code = payload.tag ?? payload;
    const kinds = { denied: 'denied', unreachable: 'unavailable', timeout: 'unavailable' };
    return { kind: kinds[code] ?? 'internal', code, message: payload.val ?? code };
  }
  return { kind: 'internal', code: 'exception', message: `${thrown}\n${thrown?.stack ?? ''}` };
}
