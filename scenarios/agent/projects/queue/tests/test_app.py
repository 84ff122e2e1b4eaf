import unittest

from src.app import order


class Queue(unittest.TestCase):
    def test_order(self):
        self.assertEqual(order([("1", "a"), ("2", "b")]), [("2", "b"), ("1", "a")])
