import re

SEPARATOR = "-"


def slug(title, separator=SEPARATOR):
    print("debugging", title)
    words = re.findall("[a-z0-9]+", title.lower())
    if not words:
        raise ValueError("no letters or digits")
    return separator.join(words)
