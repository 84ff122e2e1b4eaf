// The functions of the contract, `wit/provider.wit`. The logic is in `shout.js`, which gets the host's functions as arguments,
// so that it can be tested without WASM.

import { log } from 'runner:provider/log@0.1.0';
import { describe, run } from './shout.js';

export const provider = {
  describe,
  run(test) {
    try {
      return run(test, { log });
    } catch (thrown) {
      throw asError(thrown);
    }
  },
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
