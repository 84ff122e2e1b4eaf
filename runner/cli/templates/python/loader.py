"""The development form: loads the provider from data, so that an edit needs no new component.

`python3 loader.py MODULE FILE` writes the module and the modules that it imports into FILE, as JSON. The other half of this file
is the component that reads them, one for all versions of the provider.
"""

import ast
import importlib
import json
import pkgutil
import sys
import sysconfig
import traceback
from importlib.machinery import ModuleSpec
from pathlib import Path

# The runner gives a development form its source under this name.
SOURCE = ".source"
# Modules that each instance finds imported. Others of the standard library are compiled at their import.
READY = """
    argparse array ast asyncio base64 binascii bisect calendar collections.abc configparser contextlib copy csv dataclasses datetime
    decimal difflib enum fractions functools glob hashlib heapq hmac html.parser inspect io ipaddress itertools json logging math
    numbers operator os pathlib pprint random re secrets shlex shutil statistics string struct tempfile textwrap threading time
    tokenize tomllib traceback types typing unicodedata urllib.parse uuid warnings weakref xml.etree.ElementTree zoneinfo
""".split()
# Parts of the standard library that need a terminal, windows, a database or a compiler.
LEFT_OUT = """
    curses dbm ensurepip idlelib lib2to3 pydoc_data site-packages sqlite3 test tkinter turtledemo venv
""".split()


def collect(name, roots, modules):
    """Adds a module's path and text, and those of its imports. Others are in the loader, or missing."""
    if name in modules:
        return
    for root in roots:
        for end in (".py", "/__init__.py"):
            path = root / (name.replace(".", "/") + end)
            if path.is_file():
                text = path.read_text(encoding="utf-8")
                modules[name] = [str(path.relative_to(root)), text]
                for imported in imports(name, end != ".py", text):
                    for length in range(1, imported.count(".") + 2):
                        collect(".".join(imported.split(".")[:length]), roots, modules)
                return


def imports(name, is_package, text):
    """Returns the names of modules that a module imports, and of parts of modules."""
    try:
        nodes = list(ast.walk(ast.parse(text)))
    except SyntaxError:
        # The loader reports it.
        return
    parts = name.split(".")
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            base = parts[: len(parts) - node.level + is_package] if node.level else []
            base += node.module.split(".") if node.module else []
            yield from (".".join([*base, alias.name]) for alias in node.names)


class Finder:
    """Finds modules by their texts: those of the provider before all others, and those of the standard library after them."""

    def __init__(self, modules):
        self.modules = modules

    def find_spec(self, name, path=None, target=None):
        if name not in self.modules:
            return None
        place = self.modules[name][0]
        spec = ModuleSpec(name, self, origin=place, is_package=place.endswith("__init__.py"))
        spec.has_location = True
        return spec

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        place, text = self.modules[module.__name__]
        exec(compile(text, place, "exec", dont_inherit=True), module.__dict__)

    def get_source(self, name):
        """Returns the lines that a traceback shows."""
        return self.modules[name][1]


class Missing:
    """Refuses modules that no other finder has found."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        advice = (
            "it is neither in this folder nor in `.venv`, where `pip install` puts packages; "
            "some modules of the standard library are only in the final form, by `runner plugin build`"
        )
        raise ModuleNotFoundError(f"No module named {name!r}: {advice}", name=name)


def add_place(error, paths):
    """Adds file and line to the message of an error, because a description that fails has no traceback."""
    if isinstance(error, SyntaxError):
        error.msg += f" ({error.filename}, line {error.lineno})"
        return
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in paths]
    if frames and isinstance(error, ImportError):
        error.msg += f" ({frames[-1].filename}, line {frames[-1].lineno})"
    elif frames:
        error.args = (f"{error} ({frames[-1].filename}, line {frames[-1].lineno})",)


if __name__ == "__main__":
    module, file = sys.argv[1:]
    found = {}
    collect(module, [Path(), *map(Path, {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})], found)
    Path(file).write_text(json.dumps({"provider": module, "modules": found}), encoding="utf-8")
else:
    import wit_world.imports
    from wit_world import exports
    from wit_world.imports import files

    for interface in pkgutil.iter_modules(wit_world.imports.__path__):
        importlib.import_module(f"wit_world.imports.{interface.name}")
    for name in READY:
        importlib.import_module(name)
    library = Path(json.__file__).parents[1]
    texts = {}
    for path in library.rglob("*.py"):
        place = path.relative_to(library)
        if not set(place.parts).intersection(LEFT_OUT):
            name = ".".join(place.with_suffix("").parts).removesuffix(".__init__")
            texts[name] = [str(place), path.read_text(encoding="utf-8")]

    source = None
    provider = None

    def load():
        """Imports the provider, once in each instance."""
        global provider, source
        if provider is None:
            source = json.loads(bytes(files.read(SOURCE, 0, 2**32 - 1)))
            sys.meta_path.insert(0, Finder(source["modules"]))
            sys.meta_path += [Finder(texts), Missing]
            provider = importlib.import_module(source["provider"]).Provider()
        return provider

    class Provider(exports.Provider):
        def describe(self):
            try:
                return load().describe()
            except Exception as error:
                add_place(error, [place for place, _ in source["modules"].values()])
                raise

        def run(self, test):
            return load().run(test)
