"""Turns a title into the last part of an address."""

import sys


def slug(title):
    return title.lower().replace(" ", "-")


if __name__ == "__main__":
    print(slug(sys.argv[1]))
