"""Engines without sockets: say what is served, and ask it as dig would."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random
from typing import NoReturn

from kdns.answer.engine import Engine
from kdns.answer.guard import UNPROTECTED, Protection
from kdns.answer.outside import Pending
from kdns.answer.spec import ClusterSpec, FileSpec, SiteSpec, Specification
from kdns.wire.name import from_text
from kdns.zone.cluster import PodNames
from kdns.zone.delta import ZoneDelta
from kdns.zone.masterfile import read
from kdns.zone.rrset import RRset
from kdns.zone.subtree import Subtree
from tests.support.counting import Counting
from tests.support.messages import Answer, query
from tests.support.subtrees import packed, relative

CLUSTER = from_text("cluster.local")
IN_ADDR = from_text("in-addr.arpa")
IP6 = from_text("ip6.arpa")
SERIAL = 1000
CLIENT = (packed("192.0.2.99"), 5353)

ZONE_HEAD = """\
$TTL 3600
@ IN SOA ns hostmaster 7 3600 600 86400 300
@ NS ns
ns A 192.0.2.1
"""


class Served:
    """An engine that has its data, and what answers at one of its listeners.

    Unlike in a worker, an exception in the responder is not turned into SERVFAIL but fails the test.
    """

    def __init__(self, specification: Specification, parts: Iterable[ZoneDelta] = (), seed: int = 0,
                 negative_ttl: int = 5, ready: bool = True, protection: Protection = UNPROTECTED) -> None:
        self.counting = Counting(specification)
        self.engine = Engine(
            specification, self.counting.tally, Random(seed), _fail, negative_ttl, protection=protection
        )
        self.responder = self.engine.responder(0)
        if ready:
            self.publish(parts)

    def publish(self, parts: Iterable[ZoneDelta]) -> None:
        image = self.engine.new_image()
        for part in parts:
            image.apply(part)
        self.engine.publish(image)

    def ask(self, message: bytes, tcp: bool = False) -> bytes | None:
        reply = self.responder.respond(message, CLIENT, tcp)
        assert not isinstance(reply, Pending)
        return reply

    def pend(self, message: bytes, tcp: bool = False) -> Pending:
        """What a query waits for that is answered outside."""
        pending = self.responder.respond(message, CLIENT, tcp)
        assert isinstance(pending, Pending)
        return pending

    def dig(self, qname: str | bytes, qtype: str | int = "A", *, tcp: bool = False, edns: bytes = b"",
            flags: int = 0x0100, ident: int = 0x1234, qclass: int = 1) -> Answer:
        """The reply to a query; see tests.support.messages.query."""
        reply = self.ask(query(qname, qtype, edns=edns, flags=flags, ident=ident, qclass=qclass), tcp)
        assert reply is not None
        return Answer(reply)

    def apply(self, *subtrees: Subtree, removed: Sequence[bytes] = (), serial: int | None = None,
              namespaces: Sequence[str] = (), namespaces_removed: Sequence[str] = (),
              pods: Sequence[tuple[str, str]] = (), pods_removed: Sequence[tuple[str, str]] = (),
              lacks: int = 0) -> None:
        """Apply a change of source 0."""
        self.engine.apply(ZoneDelta(
            0, serial, False, (), subtrees, tuple(removed),
            tuple(map(relative, namespaces)), tuple(map(relative, namespaces_removed)),
            _pods(pods), _pods(pods_removed), lacks,
        ))

    @property
    def kept(self) -> int:
        """How many replies are kept for UDP."""
        return len(self.responder.table)


def cluster(*subtrees: Subtree, namespaces: Sequence[str] = ("shop", "default"), pods: Sequence[tuple[str, str]] = (),
            zones: Sequence[bytes] = (CLUSTER, IN_ADDR, IP6), ttl: int = 5, pod_names: PodNames = PodNames.DISABLED,
            listeners: Sequence[str] = ("192.0.2.53",), bufsize: int = 1232, negative_ttl: int = 5,
            seed: int = 0, lacks: int = 0) -> Served:
    """One cluster, served by one block."""
    spec = ClusterSpec(tuple(zones), ttl, pod_names, (), tuple(map(packed, listeners)))
    specification = Specification((spec,), (SiteSpec(tuple(zones), (0,), max_udp_octets=bufsize),), ((0,),))
    known = image(*subtrees, namespaces=namespaces, pods=pods, lacks=lacks)
    return Served(specification, [known], seed, negative_ttl)


def image(*subtrees: Subtree, source: int = 0, serial: int = SERIAL, namespaces: Sequence[str] = ("shop", "default"),
          pods: Sequence[tuple[str, str]] = (), lacks: int = 0) -> ZoneDelta:
    """The whole of a cluster, as far as it is known."""
    return ZoneDelta(
        source, serial, True, (), subtrees, (), tuple(map(relative, namespaces)), (), _pods(pods), lacks=lacks
    )


def zone_file(text: str, origin: str = "example.org", source: int = 0, head: str = ZONE_HEAD) -> ZoneDelta:
    """The whole of a zone file: these records below a usual head."""
    return ZoneDelta(source, reset=True, rrsets=zone_rrsets(text, origin, head))


def zone_rrsets(text: str, origin: str = "example.org", head: str = ZONE_HEAD) -> tuple[RRset, ...]:
    return tuple(read(head + text, from_text(origin), "test.zone", None).rrsets)


def files(*zones: tuple[str, str], seed: int = 0, bufsize: int = 1232) -> Served:
    """Zone files (origin, text), served by one block."""
    apexes = [from_text(origin) for origin, _ in zones]
    site = SiteSpec(tuple(apexes), tuple(range(len(zones))), max_udp_octets=bufsize)
    parts = [zone_file(text, origin, at) for at, (origin, text) in enumerate(zones)]
    return Served(Specification(tuple(map(FileSpec, apexes)), (site,), ((0,),)), parts, seed)


def _pods(pods: Sequence[tuple[str, str]]) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((relative(namespace), packed(address)) for namespace, address in pods)


def _fail(error: Exception, message: bytes) -> NoReturn:
    raise AssertionError(f"query {message.hex()} made the responder fail") from error
