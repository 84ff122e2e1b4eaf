// The functions of the contract, `wit/provider.wit`. The logic is in `shout.js`, which gets the host's functions as arguments,
// so that it can be tested without WASM.

import { log } from 'runner:provider/log@0.1.2';
import { describe, run } from './shout.js';

export const provider = {
  describe,
  run: (test) => run(test, { log }),
};
