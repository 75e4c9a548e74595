"""Domain names (RFC 1035 section 3.1, RFC 4343): uncompressed wire form as `bytes`, ending in the root label.

Folding to lower case is `name.lower()`: a length octet is at most 63 and so below "A", hence one call folds a
whole wire name. Text is for people: files and logs; escapes are RFC 1035 section 5.1's `\\.` and `\\DDD`.
Not here: names inside messages, with compression (kdns.wire.question, kdns.wire.builder).
"""

from __future__ import annotations

import re

ROOT = b"\0"
MAX_NAME_OCTETS = 255  # RFC 1035 section 2.3.4
MAX_LABEL_OCTETS = 63  # RFC 1035 section 2.3.4

_ESCAPE = re.compile(rb"\\(\d{3}|\D)")
# A label up to its dot or the end; an escaped dot or backslash does not end it.
_LABEL = re.compile(rb"((?:\\\d{3}|\\\D|[^.\\])*)(\.|$)")
_SPECIAL = frozenset(b'."$();@\\')


class InvalidName(ValueError):
    """A text that is no domain name; the message says why."""


def from_text(text: str) -> bytes:
    """Parse an absolute name, `web.shop.svc.cluster.local` with or without the last dot, to wire form.

    Raises InvalidName for an empty or over-long label, an over-long name, a bad escape, or non-ASCII text.
    """
    return ROOT if text in (".", "") else join(_split_text(text))


def join(labels: list[bytes]) -> bytes:
    """Labels, leftmost first, to a wire name. Raises InvalidName when a limit of RFC 1035 is broken."""
    for label in labels:
        if not 0 < len(label) <= MAX_LABEL_OCTETS:
            raise InvalidName("empty label" if not label else f"label longer than {MAX_LABEL_OCTETS} octets")
    wire = b"".join(bytes((len(label),)) + label for label in labels) + ROOT
    if len(wire) > MAX_NAME_OCTETS:
        raise InvalidName(f"name longer than {MAX_NAME_OCTETS} octets")
    return wire


def to_text(name: bytes) -> str:
    """Wire form to text with the last dot; labels are escaped where RFC 1035 section 5.1 wants it."""
    return ".".join(map(_label_text, labels(name))) + "."


def labels(name: bytes) -> list[bytes]:
    """The labels of a well-formed wire name, leftmost first, without the root label."""
    found, at = [], 0
    while length := name[at]:
        found.append(name[at + 1 : at + 1 + length])
        at += 1 + length
    return found


def suffixes(name: bytes) -> list[bytes]:
    """The name itself and all its ancestors, longest first, the root last."""
    found, at = [name], 0
    while length := name[at]:
        at += 1 + length
        found.append(name[at:])
    return found


def parent(name: bytes) -> bytes:
    """The name without its leftmost label; the root's parent is the root."""
    return name[name[0] + 1 :] if name[0] else ROOT


def is_subdomain(name: bytes, ancestor: bytes) -> bool:
    """Whether the folded `name` is the folded `ancestor` or below it."""
    return name.endswith(ancestor) and ancestor in suffixes(name)


def _split_text(text: str) -> list[bytes]:
    try:
        raw = text.encode("ascii")
    except UnicodeEncodeError:
        raise InvalidName(f"{text!r} is not ASCII: write the name in its xn-- form") from None
    parts = _LABEL.findall(raw)
    if b"".join(label + dot for label, dot in parts) != raw:
        raise InvalidName(f"bad escape in {text!r}")
    # The last match is the empty one at the very end, behind the last label and its dot, if any.
    return [_ESCAPE.sub(_unescape, label) for label, _ in parts[:-1]]


def _unescape(match: re.Match[bytes]) -> bytes:
    body = match.group(1)
    if len(body) == 1:
        return body
    if int(body) > 255:
        raise InvalidName(f"escape \\{body.decode()} is above 255")
    return bytes((int(body),))


def _label_text(label: bytes) -> str:
    return "".join(
        f"\\{chr(c)}" if c in _SPECIAL else chr(c) if 33 <= c <= 126 else f"\\{c:03d}" for c in label
    )
