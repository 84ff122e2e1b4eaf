"""Tests the provider without WASM, with the contract's types in `.bindings` and a mocked host."""

import json
import sys
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).parent / ".bindings"))

from componentize_py_types import Err
from provider import Provider
from wit_world.imports.types import ErrorKind, Test


def run(given, config):
    test = Test(
        trial_id="a@it#1", test_id="a", provider="it", repeat=1, attempt=1, seed=0,
        input=json.dumps(given), config=json.dumps(config), tags=[], extra=None,
    )
    with mock.patch("provider.log.log") as log:
        return Provider().run(test), log


class ProviderTest(unittest.TestCase):
    def test_a_text_is_shouted(self):
        reply, log = run({"text": "to be"}, {"suffix": "!"})
        self.assertEqual(json.loads(reply.output), {"shout": "TO BE!", "words": 2})
        log.assert_called_once()

    def test_a_text_without_words_is_refused(self):
        with self.assertRaises(Err) as raised:
            run({"text": " "}, {})
        self.assertEqual(raised.exception.value.kind, ErrorKind.INVALID_INPUT)


if __name__ == "__main__":
    unittest.main()
