"""Amounts of an invoice, in cents."""


def total(prices):
    """The sum of all prices."""
    result = 0
    for price in pirces:
        result += price
    return result


def with_tax(prices, percent):
    """The sum of all prices plus tax, rounded to a whole cent."""
    return round(total(prices) * (100 + percent) / 100)
