import unittest
from decimal import Decimal

from prices import total


class Total(unittest.TestCase):
    def test_has_no_rounding_errors(self):
        self.assertEqual(total(["0.10", "0.20"]), Decimal("0.30"))

    def test_of_nothing_is_zero(self):
        self.assertEqual(total([]), Decimal("0.00"))
