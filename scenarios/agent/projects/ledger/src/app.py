"""Adds amounts of money."""

import sys


def total(amounts):
    return sum(float(amount) for amount in amounts)


if __name__ == "__main__":
    print(f"{total(sys.argv[1].split()):.2f}")
