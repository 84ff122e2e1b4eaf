"""A grader that runs hidden `unittest` files, while the agent's code runs in another sandbox.

The tests import the agent's modules as usual, and get stand-ins: each call of a function is a call of a tool, which imports the
module and calls the function. Arguments and results cross as literals, such as texts, numbers, lists, tuples and tables. So the
agent's code can return a wrong value, and can neither end the tests nor read or change them.
"""

import ast
import builtins
import json
import sys
import types
import unittest
from pathlib import Path

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import tools
from wit_world.imports.tools import ToolErrorKind
from wit_world.imports.types import Description, ErrorKind, ProviderError, Reply, Test, Verdict

CONFIG_SCHEMA = {
    "type": "object",
    "properties": {
        "tool": {"type": "string", "description": "The tool that runs Python code, `{{input.code}}`."},
        "folder": {"type": "string", "description": "The folder of the agent's modules."},
        "modules": {"type": "array", "items": {"type": "string"}, "description": "The agent's modules that tests import."},
    },
    "required": ["tool", "folder", "modules"],
    "additionalProperties": False,
}
INPUT_SCHEMA = {
    "type": "object",
    "properties": {"tests": {"type": "string", "description": "The folder with the hidden files `test*.py`."}},
    "required": ["tests"],
    "additionalProperties": False,
}

# Runs next to the agent's code. The answer is the last line, because the code may print, too.
CALL = """
import importlib, sys
sys.path.insert(0, {folder!r})
call = {call!r}
try:
    value = getattr(importlib.import_module({module!r}), {name!r})
    if call is not None:
        answer = "value", value(*call[0], **call[1])
    elif callable(value):
        answer = "function", None
    else:
        answer = "value", value
except BaseException as error:
    answer = "raised", (type(error).__name__, str(error))
print()
print(repr(answer))
"""


class NoAnswer(BaseException):
    """The code has ended without an answer. No exception that a test may expect."""


class Agent:
    """The agent's code, in another sandbox."""

    def __init__(self, config):
        self.config = config
        self.has_failed = False
        # The reason why the tool cannot be used, which is no fault of the code.
        self.broken = None

    def module(self, module):
        """Returns a stand-in for a module."""
        stand_in = types.ModuleType(module)

        def get(name):
            if name.startswith("__"):
                raise AttributeError(name)
            kind, value = self.ask(module, name, None)
            return value if kind == "value" else lambda *args, **named: self.ask(module, name, (args, named))[1]

        stand_in.__getattr__ = get
        return stand_in

    def ask(self, module, name, call):
        try:
            kind, value = self.answer(CALL.format(folder=self.config["folder"], module=module, name=name, call=call))
            if kind == "raised":
                kind, text = value
                kind = getattr(builtins, kind, None)
                # Not `SystemExit`, which would end the tests.
                is_error = isinstance(kind, type) and issubclass(kind, Exception)
                raise kind(text) if is_error else RuntimeError(f"{value[0]}: {text}")
        except BaseException:
            self.has_failed = True
            raise
        return kind, value

    def answer(self, code):
        try:
            result = json.loads(tools.call(self.config["tool"], json.dumps({"code": code})))
        except Err as raised:
            if raised.value.kind in (ToolErrorKind.DENIED, ToolErrorKind.STOPPED, ToolErrorKind.INVALID_INPUT):
                self.broken = raised.value.message
            raise NoAnswer(raised.value.message) from None
        last = (result["stdout"].strip().splitlines() or [""])[-1]
        try:
            kind, value = ast.literal_eval(last)
            return kind, value
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            said = (result["stderr"].strip().splitlines() or [last])[-1]
            raise NoAnswer(f"no answer, or one that is not a literal: {said[:200]}") from None


def load(folder):
    """Loads the tests. A function `test_…` outside of a class is a test, too."""
    suite = unittest.TestSuite()
    sys.path.insert(0, folder)
    for path in sorted(Path(folder).glob("test*.py")):
        module = types.ModuleType(path.stem)
        module.__file__ = str(path)
        exec(compile(path.read_text(encoding="utf-8"), path.name, "exec"), module.__dict__)
        suite.addTest(unittest.defaultTestLoader.loadTestsFromModule(module))
        for name, value in vars(module).items():
            if name.startswith("test") and isinstance(value, types.FunctionType):
                suite.addTest(unittest.FunctionTestCase(value, description=name))
    return suite


def judge(agent, folder):
    """Returns the number of tests, and the failures with their reasons."""
    sys.modules.update((module, agent.module(module)) for module in agent.config["modules"])
    result = unittest.TestResult()
    try:
        load(folder).run(result)
    except BaseException as error:
        if not agent.has_failed:
            raise
        return 1, [f"the tests cannot start: {type(error).__name__}: {error}"]
    wrong = [f"{test}: {text.strip().splitlines()[-1]}" for test, text in result.failures + result.errors]
    wrong += [f"{test}: unexpected success" for test in result.unexpectedSuccesses]
    return result.testsRun - len(result.skipped), wrong


def failed(kind, message):
    return Err(ProviderError(kind=kind, code="tests", message=message, retry_after=None, details=None))


class Provider(exports.Provider):
    def describe(self) -> Description:
        return Description(
            name="unittest",
            version="0.1.0",
            summary="Runs hidden tests, with the agent's code in another sandbox",
            config_schema=json.dumps(CONFIG_SCHEMA),
            input_schema=json.dumps(INPUT_SCHEMA),
            requests=[],
            extra=None,
        )

    def run(self, test: Test) -> Reply:
        agent = Agent(json.loads(test.config))
        folder = json.loads(test.input)["tests"]
        count, wrong = judge(agent, folder)
        if agent.broken:
            raise failed(ErrorKind.INVALID_CONFIG, agent.broken)
        if not count:
            raise failed(ErrorKind.INVALID_INPUT, f"`{folder}` has no tests")
        passed = max(count - len(wrong), 0)
        return Reply(
            output="null",
            verdict=Verdict.FAIL if wrong else Verdict.PASS,
            score=passed / count,
            summary="; ".join([f"{passed} of {count} tests", *wrong[:3]]),
            checks=[],
            metrics=[],
            extra=None,
        )
