"""Adds up prices such as "1.20" without rounding errors."""

import sys
from decimal import Decimal


def total(prices):
    return sum((Decimal(price) for price in prices), Decimal("0.00"))


def main():
    print(total(sys.argv[1:]))
