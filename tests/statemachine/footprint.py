"""How much a value holds: all that can be reached from it, walked by the garbage collector's own means.

Only containers count, each with its entries: what leaks is kept in one. Values that are no part of what is measured
(classes, modules, functions) are not gone into.
"""

from __future__ import annotations

import gc
import sys
from collections import deque
from collections.abc import Iterable
from types import BuiltinFunctionType, FunctionType, ModuleType

_CONTAINERS = (dict, list, set, frozenset, deque, bytearray)
_APART = (type, ModuleType, FunctionType, BuiltinFunctionType)


def in_modules(package: str) -> int:
    """How many entries the modules of a package hold outside of functions and classes."""
    modules = [module for name, module in sys.modules.items() if name.partition(".")[0] == package]
    return entries([vars(module) for module in modules])


def entries(roots: Iterable[object], without: tuple[type, ...] = ()) -> int:
    """How many entries there are in all containers that can be reached; of a bytearray, octets.

    without: values of these types are not gone into, for they have bounds of their own.
    """
    seen: set[int] = set()
    found = 0
    waiting = list(roots)
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, (*_APART, *without)):
            continue
        seen.add(id(one))
        found += len(one) if isinstance(one, _CONTAINERS) else 0
        waiting += gc.get_referents(one)
    return found
