import unittest

from src.app import total


class Ledger(unittest.TestCase):
    def test_sum(self):
        self.assertEqual(total(["1.00", "2.00"]), 3)
