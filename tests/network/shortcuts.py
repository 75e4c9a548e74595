"""Stories of cuts that kdns hears of at once, of bad links, and of an API server that is not there at the start.

Each has a kdns of its own, and says what is expected of it. Not here: the tests (test_cuts.py).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import dns.edns
import dns.rcode

from tests.network.cuts import EVERYTHING, FROM_API, LASTING, RESETS, TO_API, Cut, by_rules, mend
from tests.network.site import STEADY, STEADY_ADDRESS, Site

MANY = 300  # Services: their list has some 250 kB, several hundred packets of the smallest size
SMALLEST_MTU = 576  # that every IPv4 host has to take (RFC 791)
PATIENCE = 45.0  # of a story; with a fifth of all packets lost, a handshake may take 10 s
A_FIFTH = "numgen random mod 5 == 0"
STARTUP_TIMEOUT = "500ms"
STEADY_NAME = f"{STEADY}.shop.svc.cluster.local"


def _reset(directory: Path) -> None:
    """Connections are reset, and new ones refused."""
    with Site(directory) as site:
        site.serve().wait_until_current()
        site.ask_steadily()
        site.api.control.forget_requests()
        mark = site.server.mark()
        RESETS.make(site)
        site.api.control.apply(site.web("one", "10.96.0.2"))  # its acknowledgement is what is answered with RST
        site.server.wait_for("; what is known stays answered", after=mark)
        site.api.control.apply(site.web("two", "10.96.0.3"))
        site.server.wait_for("connection refused: nothing listens there", after=mark)
        site.server.wait_for("has not been heard for .*: answers stay as they were then", after=mark)
        assert site.staleness() > 0
        assert site.get("/ready")[0] == 200  # what it knows is whole
        mend(RESETS, site)
        site.wait_for_address("one", "10.96.0.2")
        site.wait_for_address("two", "10.96.0.3")
        site.server.wait_for("is heard again: the answers are current", after=mark)
        requests = site.api.control.requests()
        assert [one["purpose"] for one in requests] == ["watch"]  # the others had nothing to acknowledge, and stand
        assert site.unanswered == []


def _one_way(directory: Path) -> None:
    """What the API server sends arrives, and nothing that kdns sends: events are answered, and nothing breaks."""
    cut = by_rules(input=f"{TO_API} drop")
    with Site(directory) as site:
        site.serve().wait_until_current()
        site.ask_steadily()
        site.api.control.forget_requests()
        cut.make(site)
        site.api.control.apply(site.web("one", "10.96.0.2"))
        site.wait_for_address("one", "10.96.0.2")
        mend(cut, site)
        site.api.control.apply(site.web("two", "10.96.0.3"))
        site.wait_for_address("two", "10.96.0.3")
        assert site.staleness() == 0
        assert site.api.control.requests() == []
        assert site.unanswered == []


def _unreachable_at_start(cut: Cut, told: str, directory: Path) -> None:
    """Names of the cluster are not denied but SERVFAIL, other zones are answered; the rest follows by itself."""
    with Site(directory, startup_timeout=STARTUP_TIMEOUT) as site:
        cut.make(site)
        site.serve()
        reply = site.ask(STEADY_NAME)
        assert reply.rcode() == dns.rcode.SERVFAIL
        assert [option.code for option in reply.options if isinstance(option, dns.edns.EDEOption)] == [
            dns.edns.EDECode.NOT_READY
        ]
        assert site.ask("www.example.org").answer
        status, reasons = site.get("/ready")
        assert status == 503
        assert "not wholly known yet: " in reasons
        site.server.wait_for(told)
        assert site.staleness() > 0
        mend(cut, site)
        site.wait_for_address(STEADY, STEADY_ADDRESS)
        site.wait_until(lambda: site.get("/ready")[0] == 200)
        site.wait_until_current()
        assert site.ask("nothing.shop.svc.cluster.local").rcode() == dns.rcode.NXDOMAIN


def _bad_link(mtu: int, loss: Cut | None, directory: Path) -> None:
    """Small packets, or a fifth of them lost in either direction: all arrives, and whole."""
    with Site(directory, mtu) as site:
        services = [site.web(f"web{number}", f"10.96.2.{number % 250}") for number in range(MANY)]
        site.api.control.apply(*services)
        if loss is not None:
            loss.make(site)
        site.serve().wait_until(lambda: site.get("/ready")[0] == 200, PATIENCE)
        for number in (0, MANY // 2, MANY - 1):
            site.wait_for_address(f"web{number}", f"10.96.2.{number % 250}")
        site.wait_until_current(PATIENCE)
        site.api.control.apply(site.web("late", "10.96.0.2"))
        site.wait_until(lambda: site.addresses("late") == ["10.96.0.2"], PATIENCE)


LOSS = by_rules(input=f"{TO_API} {A_FIFTH} drop", output=f"{FROM_API} {A_FIFTH} drop")

STORIES: dict[str, Callable[[Path], None]] = {
    "connections are reset": _reset,
    "only what kdns sends is lost": _one_way,
    "silence at the start": partial(_unreachable_at_start, EVERYTHING, "no connection in 5 s; it is not known yet"),
    "no network at the start": partial(
        _unreachable_at_start, LASTING["our own link is down"], "Network is unreachable; it is not known yet"
    ),
    "small packets": partial(_bad_link, SMALLEST_MTU, None),
    "a fifth of all packets is lost": partial(_bad_link, 1500, LOSS),
}
