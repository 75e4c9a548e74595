"""The line format of `log`: CoreDNS's placeholders, checked. Filling them in is the query log's work.

A placeholder is `{name}`; `{/label}` is a metadata label, which kdns never has, so it prints as `-`.
Braces that hold no placeholder are plain text, so that a format may spell JSON.
"""

from __future__ import annotations

import re

from kdns.corefile.errors import nearest

COMMON_LOG_FORMAT = (
    '{remote}:{port} - {>id} "{type} {class} {name} {proto} {size} {>do} {>bufsize}" '
    "{rcode} {>rflags} {rsize} {duration}"
)
COMBINED_LOG_FORMAT = COMMON_LOG_FORMAT + ' "{>opcode}"'

PLACEHOLDERS = frozenset(
    {
        "{type}",
        "{name}",
        "{class}",
        "{proto}",
        "{size}",
        "{remote}",
        "{port}",
        "{local}",
        "{rcode}",
        "{rsize}",
        "{duration}",
        "{>rflags}",
        "{>id}",
        "{>opcode}",
        "{>do}",
        "{>bufsize}",
    }
)
SHORTHANDS = {"{common}": COMMON_LOG_FORMAT, "{combined}": COMBINED_LOG_FORMAT}

PLACEHOLDER = re.compile(r"\{[>/]?[A-Za-z0-9_]+\}")
"""What looks like a placeholder; metadata labels with more characters than these are rendered as they stand."""


def expand_format(text: str) -> str:
    """The format with `{common}` and `{combined}` put in. Raises ValueError for an unknown placeholder."""
    for shorthand, written_out in SHORTHANDS.items():
        text = text.replace(shorthand, written_out)
    for found in PLACEHOLDER.findall(text):
        if found not in PLACEHOLDERS and not found.startswith("{/"):
            raise ValueError(f"unknown placeholder `{found}`{nearest(found, [*PLACEHOLDERS, *SHORTHANDS])}")
    return text


def shorten_format(text: str) -> str:
    """The shorthand where the whole format has one, else the format."""
    return next((short for short, written_out in SHORTHANDS.items() if written_out == text), text)
