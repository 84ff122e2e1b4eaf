// The development form: evaluates the source that `build.mjs` has bundled, so that an edit needs no new component. `build.mjs`
// puts `host` before this text, an object with the contract's modules.

let loaded;

// Evaluates the source, once in each instance.
function load() {
  if (loaded === undefined) {
    const bytes = host['runner:provider/files@0.1.1'].read('.source', 0, 2 ** 32 - 1);
    const { code, lines } = JSON.parse(new TextDecoder().decode(bytes));
    showPlaces(lines);
    loaded = new Function('host', `${code}\nreturn provider;`)(host).provider;
  }
  return loaded;
}

function describe() {
  try {
    return load().describe();
  } catch (error) {
    // The engine prints the message again, with places in the bundle.
    const [frame = ''] = error?.stack?.split('\n') ?? [];
    console.error(`${error} (${frame.split('@').pop()})`);
    throw error;
  }
}

// Shows places in the files of the source. `lines` has the file and the line of each line of the bundle, which follows two lines
// of the function that contains it.
function showPlaces(lines) {
  const { get } = Object.getOwnPropertyDescriptor(Error.prototype, 'stack');
  const stack = {
    get() {
      return get.call(this)?.replace(/[^@\n]*> Function:(\d+):\d+/g, (place, line) => lines[line - 3] ?? place);
    },
    configurable: true,
  };
  Object.defineProperty(Error.prototype, 'stack', stack);
}

export const provider = {
  describe,
  run: (test) => load().run(test),
};
