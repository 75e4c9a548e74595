"""What must be begun anew in a child process: the only state of this package that belongs to the whole process.

gunicorn with preload, multiprocessing and Celery fork with a balancer at hand. What was out belongs to the parent,
locks may be held by threads that the child has not, and chance must not be the same in all children. Not here: what
each object does then.
"""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet


class Forked(Protocol):
    """Whatever has to know."""

    def forked(self) -> None:
        """This is a new child process, with one thread, and no loop of it runs yet."""


_known: WeakSet[Forked] = WeakSet()


def tell_when_forked(one: Forked) -> None:
    """Call its `forked` in each child process, as long as it lives."""
    _known.add(one)


def _tell() -> None:
    for one in list(_known):
        one.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_tell)
