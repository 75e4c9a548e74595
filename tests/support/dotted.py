"""What a dotted path in a page of the documentation names: a module, or something in one."""

from __future__ import annotations

import importlib
from typing import Any


def look_up(path: str) -> Any:
    """What stands there. AttributeError if there is nothing. A field of a class is its default value."""
    words = path.split(".")
    for length in range(len(words), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(words[:length]))
        except ModuleNotFoundError:
            continue
        for word in words[length:]:
            found = getattr(found() if isinstance(found, type) else found, word)
        return found
    raise AttributeError(path)
