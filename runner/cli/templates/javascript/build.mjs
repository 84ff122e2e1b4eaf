// Builds the component from `provider.js`. `runner plugin build` runs `node build.mjs [FILE]`.

import { mkdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { componentize } from '@bytecodealliance/componentize-js';

const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const [file = here('dist/plugin.wasm')] = process.argv.slice(2);

const { component } = await componentize({
  sourcePath: here('provider.js'),
  witPath: here('wit'),
  worldName: 'plugin',
  // Requests use the contract's `http`, which scenarios grant.
  disableFeatures: ['http', 'fetch-event'],
}).catch((error) => {
  // The message has the place in the source. The stack is the build tool's own.
  console.error(error.message);
  process.exit(1);
});
await mkdir(dirname(file), { recursive: true });
await writeFile(file, component);
