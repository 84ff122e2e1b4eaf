// The functions of the contract, `wit/provider.wit`. The logic is in `shout.js`, which gets the host's functions as arguments,
// so that it can be tested without WASM.

import { log } from 'runner:provider/log@0.1.0';
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
  if (typeof reply?.output !== 'string') {
    throw new TypeError('the reply must have an `output`, which is JSON text: `JSON.stringify(…)`');
  }
  return { checks: [], metrics: [], ...reply };
}

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
