// What the contract, `wit/provider.wit`, asks of a provider. The work is done in `shout.js`, which is handed what it
// needs of the host, so that it can be tested without WASM.

import { log } from 'runner:provider/log@0.1.0';
import { describe, run } from './shout.js';

export const provider = {
  describe,
  run: (test) => run(test, { log }),
};
