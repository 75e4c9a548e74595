"""Directives that kdns reads and does not serve yet, and Corefiles of our own without them."""

from __future__ import annotations

import re

from kdns.server import assembly

PENDING = frozenset(getattr(assembly, "PENDING", ()))
_DIRECTIVE = re.compile(r"^    (\w+)", re.MULTILINE)


def without_pending(corefile: str) -> str:
    """What is not served yet becomes a comment on its line."""
    return _DIRECTIVE.sub(lambda line: f"    # {line[1]}" if line[1] in PENDING else line[0], corefile)
