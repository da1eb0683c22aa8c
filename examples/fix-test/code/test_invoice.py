import unittest

from invoice import total, with_tax


class Invoice(unittest.TestCase):
    def test_total(self):
        self.assertEqual(total([250, 100, 50]), 400)

    def test_no_prices(self):
        self.assertEqual(total([]), 0)

    def test_tax(self):
        self.assertEqual(with_tax([1000], 19), 1190)


if __name__ == "__main__":
    unittest.main()
