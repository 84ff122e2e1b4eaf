"""The development form: loads the provider from data, so that an edit needs no new component.

`python3 loader.py MODULE FILE` writes the module and the modules that it imports into FILE, as JSON. Without arguments, it compares
the installed tools with `requirements.txt`. The other half of this file is the component that reads the modules, one for all
versions of the provider.
"""

import ast
import contextlib
import functools
import importlib
import inspect
import json
import pkgutil
import re
import sys
import sysconfig
import traceback
from dataclasses import is_dataclass
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as metadata_version
from importlib.util import decode_source
from pathlib import Path
from typing import Union, get_args, get_origin, get_type_hints

# Version of the loader's Python.
VERSION = (3, 14)
# The runner gives a development form its source under this name.
SOURCE = ".source"
# Modules that each instance finds imported. Others of the standard library are compiled at their import.
READY = """
    argparse array ast asyncio base64 binascii bisect calendar collections.abc configparser contextlib copy csv dataclasses
    datetime decimal difflib email.message email.parser enum fractions functools glob gzip hashlib heapq hmac html.parser inspect
    io ipaddress itertools json logging math numbers operator os pathlib pickle pprint random re secrets shlex shutil statistics
    string struct tempfile textwrap threading time tokenize tomllib traceback types typing unicodedata urllib.parse uuid warnings
    weakref xml.etree.ElementTree zipfile zoneinfo
""".split()
# Parts of the standard library that need a terminal, windows, a database or a compiler.
LEFT_OUT = """
    curses dbm ensurepip idlelib lib2to3 pydoc_data site-packages sqlite3 test tkinter turtledemo venv
""".split()
# Modules that the loader has, in addition to the standard library of the Python that runs this. The last ones are newer.
PROVIDED = """
    __main__ componentize_py_async_support componentize_py_runtime componentize_py_types poll_loop wit_world
    annotationlib compression tomllib
""".split()


def collect(provider, roots):
    """Returns paths and texts of a module and of all that it imports, and a message for each import that must fail.

    A namespace package has no text. Other modules are in the loader.
    """
    modules, folders, problems = {}, {"": roots}, {}
    # Imports that always happen come first: all others may fail, as may those of modules that only they reach.
    always, maybe, read = [(provider, "plugin.toml")], [], set()
    while always or maybe:
        is_needed = bool(always)
        name, place = (always or maybe).pop(0)
        problem = add(name, modules, folders)
        if problem and is_needed:
            problems.setdefault(problem, place)
        if name in read or name not in modules:
            continue
        read.add(name)
        file, text = modules[name]
        # Packages may have files for other versions.
        if text and Path(file).is_file():
            check_syntax(file, text, problems)
        if name == provider:
            check_methods(file, text, problems)
        for imported, line, is_certain in imports(name, file.endswith("__init__.py"), text or ""):
            package = imported.removesuffix(".*")
            if package != imported and not add(package, modules, folders):
                # `__all__` may name modules.
                parts = [part for folder in folders.get(package, []) for part in sorted(folder.glob("[!_]*.py"))]
                maybe += [(f"{package}.{part.stem}", f"{file}, line {line}") for part in parts]
            names = package.split(".")
            for length in range(1, len(names) + 1):
                place = f"{file}, line {line}"
                (always if is_needed and is_certain else maybe).append((".".join(names[:length]), place))
    return modules, [f"{place}: {problem}" for problem, place in problems.items()]


def add(name, modules, folders):
    """Adds a module, after the packages that contain it. Returns the reason if there is no such module."""
    package, _, last = name.rpartition(".")
    problem = add(package, modules, folders) if package else None
    if problem or name in modules:
        return problem
    places = folders.get(package, [])
    for place in places:
        for file, parts in ((place / last / "__init__.py", [place / last]), (place / f"{last}.py", [])):
            if file.is_file():
                if place == Path() and last in sys.stdlib_module_names and last not in LEFT_OUT:
                    return f"`{file}` has the name of a module of the standard library, which is imported in its place: rename it"
                root = next(root for root in folders[""] if file.is_relative_to(root))
                try:
                    modules[name] = [str(file.relative_to(root)), decode_source(file.read_bytes())]
                except (SyntaxError, UnicodeDecodeError) as error:
                    return f"`{file}` is not text: {error}"
                folders[name] = parts
                return None
    if not package and (last in PROVIDED or last in sys.stdlib_module_names):
        return None
    extensions = [file for place in places for file in place.glob(f"{last}.*so")]
    if extensions:
        advice = "only the final form can have" if "wasm32" in extensions[0].name else "cannot run in WASM"
        return f"`{name}` is native code, which {advice}: {extensions[0]}"
    parts = [place / last for place in places if (place / last).is_dir()]
    if parts:
        modules[name], folders[name] = [f"{name.replace('.', '/')}/", None], parts
    elif not package or modules.get(package, ["", ""])[1] is None:
        return f"no module named `{name}` in this folder or in `.venv`, where `.venv/bin/pip install` puts packages"
    # In other packages, it may be an attribute.
    return None


def check_syntax(file, text, problems):
    """Adds a syntax error to the problems. An older Python than the loader's prints it, because it may not know new syntax."""
    try:
        compile(text, file, "exec", dont_inherit=True)
    except SyntaxError as error:
        place = f"{file}, line {error.lineno}"
        problem = f"{type(error).__name__}: {error.msg}: `{(error.text or '').strip()}`"
        if sys.version_info >= VERSION:
            problems.setdefault(problem, place)
            return
        older, newer = (".".join(map(str, version[:2])) for version in (sys.version_info, VERSION))
        print(f"note: {place}: {problem}; this is Python {older}, and the plugin has {newer}", file=sys.stderr)


def check_methods(file, text, problems):
    """Adds methods that wait. In the final form, they would be a trap without a line of the provider."""
    with contextlib.suppress(SyntaxError):
        nodes = [node for kind in ast.parse(text).body if getattr(kind, "name", "") == "Provider" for node in kind.body]
        for node in nodes:
            if isinstance(node, ast.AsyncFunctionDef) and node.name in ("describe", "run"):
                problem = f"`{node.name}` of the class `Provider` is `async`: make it a plain method"
                problems.setdefault(problem, f"{file}, line {node.lineno}")


def imports(name, is_package, text):
    """Returns the modules that a module imports, and parts of modules, with their lines, and whether that always happens."""
    parts = name.split(".")

    def absolute(level, module):
        base = parts[: max(len(parts) - level + is_package, 0)] if level else []
        return base + (module.split(".") if module else [])

    try:
        tree = ast.parse(text)
    except SyntaxError:
        # It is reported, and the Python of the loader may be newer and know this syntax.
        for match in re.finditer(r"^\s*(?:from\s+(\.*)([\w.]*)\s+import|import\s+([\w., \t]+))", text, re.MULTILINE):
            dots, module, plain = match.groups()
            line = text.count("\n", 0, match.end()) + 1
            names = plain.split(",") if plain else [".".join([*absolute(len(dots), module), "*"])]
            yield from ((name.split()[0], line, False) for name in names if name.strip())
        return
    certain = set(tree.body)
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            names = [".".join([*absolute(node.level, node.module), alias.name]) for alias in node.names]
        yield from ((name, node.lineno, node in certain) for name in names)


class Finder:
    """Finds modules by their texts: those of the provider before all others, and those of the standard library after them."""

    def __init__(self, modules):
        self.modules = modules

    def find_spec(self, name, path=None, target=None):
        if name not in self.modules:
            return None
        place, text = self.modules[name]
        if text is None:
            return ModuleSpec(name, None, is_package=True)
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
        library = name.partition(".")[0]
        if library in LEFT_OUT:
            advice = "only the final form can have it, by `runner plugin build`, if it is imported at the top of a module"
        elif library in sys.stdlib_module_names:
            advice = "Python in WASM lacks this part of the standard library"
        else:
            advice = (
                "when the provider was built, it was neither in this folder nor in `.venv`, where `.venv/bin/pip install` puts "
                "packages, or its name is computed; to build it again: runner plugin build --dev"
            )
        raise ModuleNotFoundError(f"No module named {name!r}: {advice}", name=name)


def check_tools():
    """Fails if a tool is not of the version that the cache would keep its loader for."""
    for line in Path("requirements.txt").read_text(encoding="utf-8").splitlines():
        name, _, version = line.partition("==")
        with contextlib.suppress(PackageNotFoundError, ValueError):
            if version and (installed := metadata_version(name)) != version:
                sys.exit(f"`{name}` is {installed}, and `requirements.txt` has {version}: .venv/bin/pip install -r requirements.txt")


if __name__ == "__main__":
    if len(sys.argv) == 1:
        check_tools()
        sys.exit()
    module, file = sys.argv[1:]
    folders = dict.fromkeys([Path(), Path(sysconfig.get_path("purelib")), Path(sysconfig.get_path("platlib"))])
    found, problems = collect(module, list(folders))
    if problems:
        sys.exit("\n".join(problems))
    Path(file).write_text(json.dumps({"provider": module, "modules": found}), encoding="utf-8")
else:
    import wit_world.imports
    from componentize_py_types import Err
    from wit_world import exports
    from wit_world.imports import files
    from wit_world.imports.types import Description, ProviderError, Reply

    def check(value, kind, name):
        """Refuses a value that the host cannot take. The runtime would end the component without a line of the provider."""
        origin, parts = get_origin(kind), get_args(kind)
        if origin is Union:
            if value is not None:
                check(value, parts[0], name)
            return
        kinds = (int, float) if kind is float else origin or kind
        if not isinstance(value, kinds):
            raise TypeError(f"{name} must be a `{(origin or kind).__name__}`, not `{type(value).__name__}`")
        if origin is tuple and len(value) != len(parts):
            raise TypeError(f"{name} must have {len(parts)} values, not {len(value)}")
        if origin in (list, tuple):
            for item, part in zip(value, parts if origin is tuple else parts * len(value)):
                check(item, part, f"an item of {name}")
        if kind is int and value < 0:
            raise ValueError(f"{name} must not be negative: {value}")
        if kind is str:
            try:
                value.encode()
            except UnicodeEncodeError as error:
                raise ValueError(f"{name} must be Unicode text: {error}") from None
        if is_dataclass(kind):
            for field, field_kind in hints(kind).items():
                check(getattr(value, field), field_kind, f"`{field}` of {name}")

    hints = functools.cache(get_type_hints)

    def guarded(name, function):
        """Returns a function of the host that checks its arguments first."""
        signature = inspect.signature(function)

        def call(*values, **named):
            for parameter, value in signature.bind(*values, **named).arguments.items():
                check(value, hints(function)[parameter], f"`{parameter}` of `{name}`")
            return function(*values, **named)

        # In a traceback, it is a part of the function.
        call.__code__ = call.__code__.replace(co_filename=function.__code__.co_filename)
        return functools.wraps(function)(call)

    for interface in pkgutil.iter_modules(wit_world.imports.__path__):
        module = importlib.import_module(f"wit_world.imports.{interface.name}")
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__ == module.__name__:
                setattr(module, name, guarded(f"{interface.name}.{name}", function))
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
        global provider
        if provider is None:
            sys.meta_path.insert(0, Finder(source["modules"]))
            sys.meta_path += [Finder(texts), Missing]
            kind = getattr(importlib.import_module(source["provider"]), "Provider", None)
            for name in ("describe", "run"):
                if getattr(kind, name, None) in (None, getattr(exports.Provider, name)):
                    raise TypeError(
                        f"the module needs a class `Provider` with the methods `describe` and `run`: there is no `{name}`"
                    )
            provider = kind()
        return provider

    def explain(error):
        """Returns an exception with reason and place in one line, because the runner shows the last line of a traceback."""
        text = traceback.format_exception_only(error)
        text = " ".join("".join(text[-1:] if isinstance(error, SyntaxError) else text).split())
        if isinstance(error, SystemExit):
            text = "SystemExit: a provider cannot exit: return a value, or raise another exception"
        paths = {place for place, _ in source["modules"].values()}
        calls = traceback.extract_tb(error.__traceback__)
        # The template's `checked` reports mistakes of its caller.
        frames = [(frame.filename, frame.lineno) for frame in calls if frame.name != "checked"]
        if isinstance(error, SyntaxError):
            frames.append((error.filename, error.lineno))
        # A call with wrong arguments has no frame in the provider.
        module = sys.modules.get(source["provider"])
        start = getattr(getattr(module, "Provider", None), "__firstlineno__", 1)
        frames.insert(0, (source["modules"][source["provider"]][0], start))
        file, line = [frame for frame in frames if frame[0] in paths][-1]
        kind, _, reason = text.partition(": ")
        return type(kind, (Exception,), {"__module__": "builtins"})(f"{reason} ({file}, line {line})".lstrip())

    def call(method, *values):
        global source
        if source is None:
            source = json.loads(bytes(files.read(SOURCE, 0, 2**32 - 1)))
        try:
            result = getattr(load(), method)(*values)
            kind, name = (Description, "the description") if method == "describe" else (Reply, "the reply")
            check(result, kind, name)
            return result
        except BaseException as error:
            if method == "run" and isinstance(error, Err):
                try:
                    check(error.value, ProviderError, "the error")
                except (TypeError, ValueError) as wrong:
                    # The template raises its errors twice.
                    origin = error.__context__ if isinstance(error.__context__, Err) else error
                    raise explain(wrong.with_traceback(origin.__traceback__)) from None
                raise
            raise explain(error).with_traceback(error.__traceback__) from error.__cause__ or error.__context__

    class Provider(exports.Provider):
        def describe(self):
            return call("describe")

        def run(self, test):
            return call("run", test)
