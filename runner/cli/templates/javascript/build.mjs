// Builds the component from `provider.js`. `runner plugin build` runs `node build.mjs FILE`.
//
// The development form has two parts: `node build.mjs --loader FILE` builds the component that reads the source, and
// `node build.mjs --source FILE` writes the source.

import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { SourceMap } from 'node:module';
import { dirname, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const worldName = 'plugin';

const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const options = { loader: { type: 'boolean' }, source: { type: 'boolean' } };
const { values, positionals } = parseArgs({ options, allowPositionals: true });
const [file = here('dist/plugin.wasm')] = positionals;
await mkdir(dirname(file), { recursive: true });

if (values.loader) {
  const modules = await hostModules();
  const imports = modules.map((name, index) => `import * as host${index} from '${name}';\n`);
  const entries = modules.map((name, index) => `  '${name}': host${index},\n`);
  const host = `${imports.join('')}const host = {\n${entries.join('')}};\n`;
  await writeFile(here('dist/loader.js'), host + (await readFile(here('loader.js'), 'utf8')));
  await build('dist/loader.js');
} else if (values.source) {
  await bundle();
} else {
  await build('provider.js');
}

async function build(source) {
  const { componentize } = await import('@bytecodealliance/componentize-js');
  const { component } = await componentize({
    sourcePath: here(source),
    witPath: here('wit'),
    worldName,
    // Requests use the contract's `http`, which scenarios grant.
    disableFeatures: ['http', 'fetch-event'],
  }).catch(fail);
  await writeFile(file, component);
}

// Returns the modules of the world.
async function hostModules() {
  const wit = await readFile(here('wit/provider.wit'), 'utf8');
  const importsOf = (world) => {
    const [, body] = wit.match(new RegExp(`^world ${world} {([^}]*)}`, 'm'));
    const names = (word) => [...body.matchAll(new RegExp(`^ *${word} ([^;]*);`, 'gm'))].map(([, name]) => name);
    return [...names('include').flatMap(importsOf), ...names('import')];
  };
  return importsOf(worldName).map((name) => `runner:provider/${name}@0.1.1`);
}

// Writes `provider.js` and the files that it imports as one text, with the place of each of its lines.
async function bundle() {
  const { rolldown } = await import('rolldown');
  const external = await hostModules();
  const relativeImports = {
    name: 'relative-imports',
    resolveId(name, importer) {
      if (importer && !name.startsWith('.') && !external.includes(name)) {
        const from = relative(here('.'), importer);
        fail(new Error(`${from} imports \`${name}\`, which is neither a relative path nor a module of the world \`${worldName}\``));
      }
    },
  };
  const input = await rolldown({ input: here('provider.js'), external, platform: 'neutral', plugins: [relativeImports] });
  const globals = (name) => `host['${name}']`;
  const options = { format: 'iife', name: 'provider', exports: 'named', sourcemap: true, globals };
  const { output } = await input.generate(options).catch(fail);
  const [{ code, map }] = output;
  const sources = map.sources.map((source) => relative(here('.'), resolve(here('dist'), source)));
  const places = new SourceMap({ ...map, sources });
  const lines = code.split('\n').map((line, index) => {
    const { originalSource, originalLine } = places.findEntry(index, line.search(/\S|$/));
    return originalSource && `${originalSource}:${originalLine + 1}`;
  });
  await writeFile(file, JSON.stringify({ code, lines }));
}

function fail(error) {
  // The message has the place in the source. The stack is the build tool's own.
  console.error(error.message);
  process.exit(1);
}
