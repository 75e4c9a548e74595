"""What the reflectors of one API server say alike is told once: it went away for all of them, and so it comes back.

Each reflector tells of its own troubles without repeating itself (kdns.kube.troubles), and knows of no other one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from kdns.kube.request import Notice

# Reflectors notice within seconds that an API server is away, and by their backoffs within a minute that it is back.
TOGETHER_SECONDS = 60.0
REMEMBERED_MAX = 256  # several times the number of things that can go wrong

_NUMBER = re.compile(r"\d+(\.\d+)?")  # seconds, failures, resource versions: what alone tells alike lines apart


class Chorus:
    """Times are monotonic seconds."""

    def __init__(self) -> None:
        self._told: dict[str, tuple[float, str]] = {}  # when each thing was told last, and by whom

    def admit(self, singer: str, notices: Iterable[Notice], now: float) -> Iterator[Notice]:
        """Those of these notices that are told. singer: what notices on oneself begin with."""
        for notice in notices:
            what = notice.text.removeprefix(f"{singer}: ")
            if what == notice.text or self._is_news(_NUMBER.sub("#", what), singer, now):
                yield notice

    def _is_news(self, what: str, singer: str, now: float) -> bool:
        when, who = self._told.get(what, (-TOGETHER_SECONDS, singer))
        if who != singer and now - when < TOGETHER_SECONDS:
            return False
        if len(self._told) >= REMEMBERED_MAX:
            self._told.clear()
        self._told[what] = now, singer
        return True
