"""Tests the agent without WASM, with the contract's types in `.bindings` and mocked tools."""

import json
import sys
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).parent / ".bindings"))

from componentize_py_types import Err
from provider import Provider
from wit_world.imports.tools import ToolError, ToolErrorKind
from wit_world.imports.types import Test


def run(task, tool, max_turns=3, used_up=None):
    test = Test(
        trial_id="a@it#1", test_id="a", provider="it", repeat=1, attempt=1, seed=0,
        input=json.dumps({"task": task}), config=json.dumps({"max_turns": max_turns}), tags=[], extra=None,
    )
    usage = mock.patch("provider.control.report_usage", return_value=used_up)
    with usage, mock.patch("provider.tools.call", tool), mock.patch("provider.transcript.append") as append:
        output = json.loads(Provider().run(test).output)
    return output, [json.loads(call.args[0]) for call in append.call_args_list]


def convert(_, given):
    given = json.loads(given)
    return json.dumps({"value": given["value"] * (1000 if given["from"] == "km" else 1)})


def refuse(*_):
    raise Err(ToolError(kind=ToolErrorKind.INVALID_INPUT, message="unknown unit", details=None))


class ProviderTest(unittest.TestCase):
    def test_lengths_are_added(self):
        output, steps = run("3 km + 20 m", convert)
        self.assertEqual(output, "3020 m")
        self.assertEqual(steps[1], {"source": "agent", "message": "3020 m"})

    def test_an_error_of_the_tool_is_a_result(self):
        output, _ = run("3 apples", refuse)
        self.assertEqual(output, "no sum: unknown unit")

    def test_too_many_actions_are_an_error(self):
        with self.assertRaises(Err) as raised:
            run("1 m + 1 m", convert, max_turns=2)
        self.assertEqual(raised.exception.value.code, "max-turns")

    def test_a_limit_that_is_used_up_is_an_error(self):
        with self.assertRaises(Err) as raised:
            run("1 m + 1 m", convert, used_up="total_tokens")
        self.assertEqual(raised.exception.value.code, "limit")


if __name__ == "__main__":
    unittest.main()
