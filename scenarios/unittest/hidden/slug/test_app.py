import unittest
from pathlib import Path

from app import SEPARATOR, slug


class SlugTest(unittest.TestCase):
    def test_words_are_joined(self):
        self.assertEqual(slug("Hello, World"), "hello-world")
        self.assertEqual(SEPARATOR, "-")

    def test_separator_is_an_option(self):
        self.assertEqual(slug("a b", separator="_"), "a_b")

    def test_empty_title_is_an_error(self):
        with self.assertRaisesRegex(ValueError, "no letters"):
            slug("?!")


def test_tests_of_the_project_are_kept():
    assert "slug" in Path("/work/README.md").read_text()
