"""The classes of POSIX in a regular expression of Go's, `[[:alpha:]]`: written out, for `re` does not know them.

    [[:digit:]a-f]  ->  [0-9a-f]

Not here: `[[:^alpha:]]`, which is left as it is, and refused by whoever reads it (kdns.corefile.goregex).
"""

from __future__ import annotations

import re

# As Go has them, regexp/syntax: ASCII alone.
CLASSES = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "ascii": r"\x00-\x7F",
    "blank": r"\t ",
    "cntrl": r"\x00-\x1F\x7F",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\t\n\v\f\r ",
    "upper": "A-Z",
    "word": "0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}

CLASS = re.compile(rf"\[:({'|'.join(CLASSES)}):\]")
_TOKEN = re.compile(r"\\.|\[\^?\]?|.", re.DOTALL)


def spelled_out(text: str) -> str:
    """The same expression, without the classes of POSIX in its sets."""
    parts, at, is_in_set = [], 0, False
    while at < len(text):
        found = CLASS.match(text, at) if is_in_set else None
        token = found or _TOKEN.match(text, at)
        if token is None:
            break
        word = token.group()
        if is_in_set and not found and word.startswith("["):
            word = "["  # one more character of the set
        parts.append(CLASSES[found[1]] if found else word)
        is_in_set = word != "]" if is_in_set else word.startswith("[")
        at += len(word)
    return "".join(parts)
