// What the contract, `wit/provider.wit`, asks of a provider. The work is done in `shout.js`, which is handed what it
// needs of the host, so that it can be tested without WASM.

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

// The contract knows errors that have a kind. Whatever else was thrown becomes one, with its stack for its author.
function asError(thrown) {
  if (typeof thrown?.kind === 'string') return thrown;
  // The host's functions throw a word, or one with a text: `http` throws `{ tag: 'denied', val: '…' }`.
  const payload = thrown?.payload;
  if (payload !== undefined) {
    const code = payload.tag ?? payload;
    const kinds = { denied: 'denied', unreachable: 'unavailable', timeout: 'unavailable' };
    return { kind: kinds[code] ?? 'internal', code, message: payload.val ?? code };
  }
  return { kind: 'internal', code: 'exception', message: `${thrown}\n${thrown?.stack ?? ''}` };
}
