"""The way to the API server is cut, and nobody is told: no FIN, no RST, no ICMP.

A watch only listens, so that nothing but TCP's keepalive finds out. Here is how a cut is watched from before it until
after it, by a kdns of its own; what has to be true of it is in test_cuts.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kdns.server.dialing import KEEPALIVE_COUNT, KEEPALIVE_IDLE_SECONDS, KEEPALIVE_INTERVAL_SECONDS
from tests.network.cuts import FORGETFUL, LASTING, Cut, mend
from tests.network.site import Site

LIMIT = KEEPALIVE_IDLE_SECONDS + KEEPALIVE_COUNT * KEEPALIVE_INTERVAL_SECONDS
SLACK = 5.0  # for the kernel's timers, and for a machine that does all this at once
# After that the next attempt comes within 1.6 s, and if that was too early, it has 5 s and the one after it 3.2 s.
BACK_WITHIN = 15.0
FRESH_SECONDS = 5.0  # data that is older ends readiness
CUTS = LASTING | FORGETFUL


@dataclass
class Look:
    """What kdns says of itself at one time."""

    staleness: float
    ready: int


@dataclass
class Seen:
    """What was seen of one cut. Times in seconds. requests: what the API server was asked for since it."""

    looks: list[Look] = field(default_factory=list)  # before it, in it if it lasts, and after it
    noticed_after: float = 0.0
    back_after: float = 0.0
    requests: list[dict[str, Any]] = field(default_factory=list)
    unanswered: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)  # addresses of a Service made in the cut, when it was over
    log: str = ""


def watch_through(directory: Path, cut: Cut, on_cut: Callable[[], None]) -> Seen:
    """What is seen of a cut. on_cut: told when there is nothing to do any more but to wait."""
    seen = Seen()
    with Site(directory) as site:
        site.serve("--ready-when", f"fresh={FRESH_SECONDS:g}s")
        site.wait_until_current()
        seen.looks.append(_look(site))
        site.ask_steadily()
        site.api.control.forget_requests()
        mark, began = site.server.mark(), time.monotonic()
        cut.make(site)
        site.api.control.apply(site.web("late", "10.96.0.2"))
        on_cut()
        site.server.wait_for("; what is known stays answered", after=mark, patience=LIMIT + SLACK)
        seen.noticed_after = time.monotonic() - began
        if cut.mend is not None:
            site.wait_until(lambda: site.staleness() > 0)
            seen.looks.append(_look(site))
        mend(cut, site)
        mended = time.monotonic()
        site.wait_until_current(BACK_WITHIN)
        seen.back_after = time.monotonic() - mended
        site.wait_for_address("late", "10.96.0.2")
        seen.late = site.addresses("late")
        site.wait_until(lambda: site.get("/ready")[0] == 200)
        seen.looks.append(_look(site))
        seen.requests, seen.unanswered, seen.log = site.api.control.requests(), site.unanswered, site.server.log
    return seen


def _look(site: Site) -> Look:
    return Look(site.staleness(), site.get("/ready")[0])
