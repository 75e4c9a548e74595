"""What can happen to the way between two hosts: each is done, and undone.

Not here: what kdns makes of it (test_cuts.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.network.site import API_PORT, Site
from tests.support.namespaces import LINK_HERE, LINK_THERE

FROM_API = f"tcp sport {API_PORT}"
TO_API = f"tcp dport {API_PORT}"


@dataclass(frozen=True)
class Cut:
    """make: what happens. mend: what undoes it; None if nothing has to be undone."""

    make: Callable[[Site], None]
    mend: Callable[[Site], None] | None = None


def by_rules(**rules: str) -> Cut:
    """Rules of nft on the API server's host, one for each hook: input, output."""
    chains = "".join(
        f"chain {hook} {{ type filter hook {hook} priority 0; {rule}; }}\n" for hook, rule in rules.items()
    )
    table = f"table inet cut {{\n{chains}}}\n"
    return Cut(lambda site: site.there.nft(table), lambda site: site.there.nft("delete table inet cut"))


def _link(where: str, link: str) -> Cut:
    """A host's end of the cable."""

    def turn(site: Site, state: str) -> None:
        getattr(site, where).run("ip", "link", "set", link, state)

    return Cut(lambda site: turn(site, "down"), lambda site: turn(site, "up"))


EVERYTHING = by_rules(input=f"{TO_API} drop", output=f"{FROM_API} drop")
# What kdns sends is answered with RST, be it an acknowledgement or the wish for a connection.
RESETS = by_rules(input=f"{TO_API} reject with tcp reset")


def _forget_connections(site: Site) -> None:
    """The API server's end of all connections goes, and nobody hears of it: as when a NAT is restarted."""
    EVERYTHING.make(site)
    site.api.server("reset_connections")
    site.wait_until(lambda: site.api.server("connections") == 0)


def _forget_and_go_on(site: Site) -> None:
    _forget_connections(site)
    mend(EVERYTHING, site)


def _replace_host(site: Site) -> None:
    """Power fails, and another machine takes over the address and what etcd knows."""
    _forget_connections(site)
    site.api.restart()
    mend(EVERYTHING, site)


def mend(cut: Cut, site: Site) -> None:
    """Undo a cut."""
    if cut.mend is not None:
        cut.mend(site)


LASTING = {
    "everything is dropped": EVERYTHING,
    "what the API server sends is dropped": by_rules(output=f"{FROM_API} drop"),
    "the API server's link is down": _link("there", LINK_THERE),
    "our own link is down": _link("here", LINK_HERE),
}
FORGETFUL = {
    "the API server has forgotten its connections": Cut(_forget_and_go_on),
    "the API server's host is replaced": Cut(_replace_host),
}
