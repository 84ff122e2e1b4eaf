// Builds the component from `provider.js`. `runner plugin build` runs `node build.mjs FILE`.
//
// The development form has two parts: `node build.mjs --loader FILE` builds the component that reads the program, and
// `node build.mjs --source FILE` writes the program. Both forms have the same program, so they accept the same sources.

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
const { types, hostModules } = await readContract();

if (values.source) {
  await writeFile(file, JSON.stringify(await bundle()));
} else if (values.loader) {
  await build('load()', [...hostModules.keys()]);
} else {
  const { program, lines, used } = await bundle();
  await build(`provide(${program}, ${JSON.stringify(lines)}, 'component.js')`, used);
}

// Builds a component that imports modules of the host, and whose provider is an expression with functions of `loader.js`. The
// lines of a program in it are lines of `component.js`.
async function build(expression, names) {
  const imports = names.map((name, index) => `import * as host${index} from '${name}';`);
  const entries = names.map((name, index) => `'${name}': host${index}`);
  const contract = JSON.stringify({ types, functions: Object.fromEntries(hostModules) });
  const start = `${imports.join(' ')} const host = { ${entries.join(', ')} }; const contract = ${contract};`;
  const loader = await readFile(here('loader.js'), 'utf8');
  await writeFile(here('dist/component.js'), `${start} export const provider = ${expression};\n\n${loader}`);
  const { componentize } = await import('@bytecodealliance/componentize-js');
  const { component } = await componentize({
    sourcePath: here('dist/component.js'),
    witPath: here('wit'),
    worldName,
    // Requests use the contract's `http`, which scenarios grant.
    disableFeatures: ['http', 'fetch-event'],
  }).catch(fail);
  await writeFile(file, component);
}

// Returns the fields of each record, the cases of each enum, and the modules of the world with the parameters of their functions.
async function readContract() {
  const wit = (await readFile(here('wit/provider.wit'), 'utf8')).replace(/\/\/.*/g, '');
  const bodyOf = (name) => wit.match(new RegExp(`^${name} {(.*?)^}`, 'ms'))[1];
  const importsOf = (world) => {
    const namesOf = (word) => [...bodyOf(`world ${world}`).matchAll(`(?<=${word} )[^;]*`)].flat();
    return [...namesOf('include').flatMap(importsOf), ...namesOf('import')];
  };
  const camelCase = (name) => name.replace('%', '').replace(/-(.)/g, (_, letter) => letter.toUpperCase());
  // `<a, b>` is one type.
  const split = (list) => list.split(/,(?![^<]*>)/).flatMap((one) => one.trim() || []);
  const fieldsOf = (list) => split(list).map((one) => one.split(': ')).map(([name, type]) => [camelCase(name), type]);
  const types = [...wit.matchAll(/(record|enum) (\S+) {([^}]*)}/g)];
  const functionsOf = (name) => [...bodyOf(`interface ${name}`).matchAll(/(\S+): func\(([^)]*)\)/g)];
  const entriesOf = (name) => functionsOf(name).map(([, name, parameters]) => [camelCase(name), fieldsOf(parameters)]);
  return {
    types: Object.fromEntries(types.map(([, kind, name, list]) => [name, kind === 'enum' ? split(list) : fieldsOf(list)])),
    hostModules: new Map(
      importsOf(worldName).map((name) => [`runner:provider/${name}@0.1.2`, Object.fromEntries(entriesOf(name))]),
    ),
  };
}

// Returns `provider.js` and all that it imports as a function of the host's modules, with the place of each of its lines.
async function bundle() {
  const { rolldown } = await import('rolldown');
  const imports = {
    name: 'imports',
    async resolveId(name, importer) {
      if (hostModules.has(name)) return name;
      const found = await this.resolve(name, importer, { skipSelf: true });
      if (found && !found.external) return found;
      if (!importer) fail(new Error('there is no `provider.js`: it must be next to build.mjs, and export `provider`'));
      const what = name.startsWith('.') ? 'a file that does not exist' : 'which is neither in node_modules nor in this world';
      fail(new Error(`${await place(importer, name)}${what}`));
    },
    load(name) {
      const functions = hostModules.get(name);
      return functions && Object.keys(functions).map((one) => `export const ${one} = host['${name}'].${one};`).join('\n');
    },
  };
  const resolved = { mainFields: ['module', 'main'] };
  const input = await rolldown({ input: here('provider.js'), platform: 'neutral', resolve: resolved, plugins: [imports] });
  // Only this format can be evaluated as data. It has no `await` outside of functions.
  const { output } = await input.generate({ format: 'iife', name: 'exported', exports: 'named', sourcemap: true }).catch(fail);
  const [{ map, exports, ...bundled }] = output;
  const code = bundled.code.replace(/^#!.*/, '');
  if (!exports.includes('provider')) {
    fail(new Error(`provider.js must export \`provider\`; it exports ${exports.join(', ') || 'nothing'}`));
  }
  const program = `(host) => { 'use strict'; ${code}\nreturn exported.provider; }`;
  const sources = map.sources.map((source) => relative(here('.'), resolve(here('dist'), source)));
  const places = new SourceMap({ ...map, sources });
  const lines = code.split('\n').map((line, index) => {
    const { originalSource, originalLine } = places.findEntry(index, line.search(/\S|$/));
    return originalSource && `${originalSource}:${originalLine + 1}`;
  });
  return { program, lines, used: [...hostModules.keys()].filter((name) => code.includes(`host["${name}"]`)) };
}

// Returns the start of a message about an import.
async function place(importer, name) {
  const lines = (await readFile(importer, 'utf8')).split('\n');
  const line = lines.findIndex((text) => text.includes(`'${name}'`) || text.includes(`"${name}"`)) + 1;
  return `${relative(here('.'), importer)}${line > 0 ? `:${line}` : ''} imports \`${name}\`, `;
}

// Prints the reason, which has the place in the source, without words of the build tools.
function fail({ message }) {
  const ofTools = /^Build failed with .*\n+|^Failed to initialize component.*\n|\nException while evaluating[^]*/g;
  const reason = message.replace(/Module format "iife" .*/, '`await` is possible in functions only.').replace(ofTools, '');
  console.error(reason);
  process.exit(1);
}
