"""Random clusters, changes and questions for hypothesis, from few enough words that they meet each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from hypothesis import strategies as st

from kdns.wire.name import ROOT, from_text, join
from kdns.zone.addresses import dashed, reverse_name
from kdns.zone.delta import ZoneDelta, next_serial
from kdns.zone.subtree import HostSet, Port, Subtree
from tests.support.engines import CLUSTER, IN_ADDR, IP6
from tests.support.messages import COOKIE, DO, opt, option
from tests.support.subtrees import all_addresses, packed

NAMESPACES = (b"\x04shop", b"\x02db", b"\x03svc")
NAMES = (b"\x03web", b"\x02db", b"\x04_tcp", b"\x031-2")
OWNERS = tuple(name + namespace + b"\x03svc" for name in NAMES for namespace in NAMESPACES)
LABELS = (b"\x05web-0", b"\x05web-1", b"\x03tcp", b"\x0810-0-0-1")
PORTS = (Port(b"http", b"tcp", 80), Port(b"dns", b"udp", 53), Port(b"dns", b"tcp", 53), Port(b"", b"tcp", 7))
V4 = tuple(map(packed, ("10.0.0.1", "10.0.0.2", "10.0.0.254", "10.0.1.1", "10.200.0.1", "192.0.2.7")))
V6 = tuple(map(packed, ("2001:db8::1", "2001:db8::10", "2001:db8::ff", "2001:db8:1::1", "10::")))
POOLS = {4: V4, 16: V6}
TARGETS = (
    *(from_text("example.net") if at == 0 else owner + CLUSTER for at, owner in enumerate(OWNERS)),
    from_text("cluster.local"), from_text("nope.cluster.local"), from_text("alias.example.org"),
    from_text("1.0.0.10.in-addr.arpa"),
)
# Enough of them that a reply over UDP is cut.
MANY = tuple(bytes([10, 9, at >> 8, at & 255]) for at in range(90))


@st.composite
def host_sets(draw: st.DrawFn) -> HostSet:
    octets = draw(st.sampled_from([4, 16]))
    if octets == 4 and draw(st.integers(0, 9)) == 0:
        addresses: tuple[bytes, ...] = MANY
    else:
        addresses = tuple(draw(st.lists(st.sampled_from(POOLS[octets]), min_size=1, max_size=4, unique=True)))
    labels = draw(st.lists(st.sampled_from((b"\0", *LABELS)), min_size=len(addresses), max_size=len(addresses)))
    column = b"".join(labels)
    return HostSet(octets, draw(port_tuples()), b"".join(addresses), column if column.strip(b"\0") else b"")


def port_tuples() -> st.SearchStrategy[tuple[Port, ...]]:
    return st.lists(st.sampled_from(PORTS), max_size=3, unique=True).map(tuple)


@st.composite
def subtrees(draw: st.DrawFn, owner: bytes | None = None) -> Subtree:
    """A Service of any kind."""
    owner = owner or draw(st.sampled_from(OWNERS))
    hosts = tuple(draw(st.lists(host_sets(), max_size=3)))
    kind = draw(st.sampled_from(["cluster", "cluster", "headless", "headless", "alias", "note"]))
    if kind == "alias":
        return Subtree(owner, target=draw(st.sampled_from(TARGETS)))
    if kind == "headless":
        return Subtree(owner, hosts=hosts, headless=True)
    if kind == "note":
        return Subtree(owner, hosts=hosts, note="no address")
    addresses = draw(st.lists(st.sampled_from(V4 + V6), min_size=1, max_size=2, unique=True))
    return Subtree(owner, tuple(addresses), draw(port_tuples()), hosts, hidden=draw(st.integers(0, 5)) == 0)


@dataclass
class Cluster:
    """What a source has said so far, kept as plainly as can be."""

    serial: int = 1
    subtrees: dict[bytes, Subtree] = field(default_factory=dict)
    namespaces: set[bytes] = field(default_factory=set)
    pods: set[tuple[bytes, bytes]] = field(default_factory=set)

    def apply(self, delta: ZoneDelta) -> None:
        if delta.serial is not None and delta.serial != self.serial:
            self.serial = next_serial(self.serial, delta.serial)
        for owner in delta.removed:
            self.subtrees.pop(owner, None)
        self.subtrees.update((subtree.owner, subtree) for subtree in delta.subtrees)
        self.namespaces = (self.namespaces - set(delta.namespaces_removed)) | set(delta.namespaces)
        self.pods = (self.pods - set(delta.pods_removed)) | set(delta.pods)

    def image(self) -> ZoneDelta:
        """The whole, in an order that has nothing to do with how it came about."""
        by_owner = sorted(self.subtrees.items())
        return ZoneDelta(
            0, self.serial, True, (), tuple(subtree for _, subtree in by_owner), (),
            tuple(sorted(self.namespaces)), (), tuple(sorted(self.pods)),
        )


@st.composite
def deltas(draw: st.DrawFn) -> ZoneDelta:
    """A change of any parts, of things that are there or not."""
    owners = draw(st.lists(st.sampled_from(OWNERS), max_size=4, unique=True))
    cut = draw(st.integers(0, len(owners)))
    namespaces = draw(st.lists(st.sampled_from(NAMESPACES), max_size=2, unique=True))
    at = draw(st.integers(0, len(namespaces)))
    pods = draw(st.lists(st.tuples(st.sampled_from(NAMESPACES), st.sampled_from(V4 + V6)), max_size=3, unique=True))
    half = draw(st.integers(0, len(pods)))
    return ZoneDelta(
        0, draw(st.none() | st.integers(0, 2**32 - 1)), False, (),
        tuple(draw(subtrees(owner)) for owner in owners[:cut]), tuple(owners[cut:]),
        tuple(namespaces[:at]), tuple(namespaces[at:]), tuple(pods[:half]), tuple(pods[half:]),
    )


@st.composite
def clusters(draw: st.DrawFn) -> Cluster:
    found = draw(st.lists(subtrees(), max_size=6, unique_by=lambda subtree: subtree.owner))
    namespaces = draw(st.sets(st.sampled_from(NAMESPACES)))
    pods = draw(st.sets(st.tuples(st.sampled_from(NAMESPACES), st.sampled_from(V4 + V6)), max_size=3))
    return Cluster(draw(st.integers(0, 2**32 - 1)), {one.owner: one for one in found}, namespaces, pods)


# Questions

WORDS = (
    b"svc", b"pod", b"dns", b"ns", b"shop", b"db", b"web", b"nope", b"_tcp", b"tcp", b"_udp", b"_http", b"http",
    b"_dns", b"web-0", b"web-1", b"10-0-0-1", b"2001-db8--1", b"dns-version", b"hostmaster", b"*", b"1-2", b"in-addr",
    b"x" * 63, b"\0", b"a.b", b"10", b"0", b"1", b"f",
)
APEXES = (CLUSTER, CLUSTER, CLUSTER, IN_ADDR, IP6, from_text("example.org"), from_text("local"), ROOT)
TYPES = (1, 28, 33, 12, 5, 6, 2, 15, 16, 43, 64, 65, 97, 255, 257, 252, 0, 65535)


@st.composite
def random_names(draw: st.DrawFn) -> bytes:
    """A name of a few words below one of the apexes, or some way into a reverse tree."""
    words = draw(st.lists(st.sampled_from(WORDS), max_size=6))
    apex = draw(st.sampled_from(APEXES))
    while sum(len(word) + 1 for word in words) + len(apex) > 255:
        words = words[1:]
    return join(words)[:-1] + apex if words else apex


@st.composite
def parts_of_names(draw: st.DrawFn, of: tuple[bytes, ...]) -> bytes:
    """One of these names, with labels taken off or added on the left."""
    name = draw(st.sampled_from(of))
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        name = name[name[0] + 1 :] if name != ROOT else name
    for word in draw(st.lists(st.sampled_from(WORDS[:-6]), max_size=draw(st.sampled_from([0, 0, 1, 2])))):
        name = bytes((len(word),)) + word + name if len(name) + len(word) < 255 else name
    return name


def names_of_interest(state: Cluster) -> Iterator[bytes]:
    """Every name that exists or could be mistaken for one that does."""
    yield from (CLUSTER, IN_ADDR, IP6)
    yield from (from_text(f"{left}.cluster.local") for left in ("svc", "pod", "dns", "ns.dns", "dns-version", "nope"))
    for namespace in NAMESPACES:
        yield from (namespace + branch + CLUSTER for branch in (b"\x03svc", b"\x03pod"))
        yield from (_label(dashed(address)) + namespace + b"\x03pod" + CLUSTER for address in (V4[0], V6[0]))
    for owner in OWNERS:
        yield from _names_below(owner + CLUSTER)
    addresses = {address for subtree in state.subtrees.values() for address in all_addresses(subtree)}
    for address in sorted({*V4, *V6, *list(addresses)[:20]}):
        name = reverse_name(address)
        yield from (name, name[2:] if len(address) == 16 else name[name[0] + 1 :])
        yield _label(dashed(address)) + OWNERS[0] + CLUSTER


def _names_below(base: bytes) -> Iterable[bytes]:
    yield base
    yield from (label + base for label in (*LABELS, b"\x04_tcp", b"\x04_udp", b"\x04nope"))
    for port in (b"\x05_http\x04_tcp", b"\x04_dns\x04_udp", b"\x03dns\x03tcp", b"\x01_\x04_tcp"):
        yield port + base


def _label(text: bytes) -> bytes:
    return bytes((len(text),)) + text


NAMES_ASKED = random_names() | parts_of_names(tuple(owner + CLUSTER for owner in OWNERS)) | parts_of_names(
    tuple(reverse_name(address) for address in V4 + V6)
)
SIZES = st.sampled_from([0, 0x0241, 0x0261, 512, 513, 700, 0x0441, 0x0461, 1232, 1232, 1232, 0x0578, 4096, 65535])
OPTIONS = st.lists(
    st.sampled_from([option(COOKIE, b"ABCDabcd"), option(COOKIE, bytes(24)), option(3, b""), option(12, bytes(9))]),
    max_size=2,
).map(b"".join)
EDNS = st.just(b"") | st.builds(opt, SIZES, OPTIONS, st.just(0), st.sampled_from([0, DO, 0x1234]))
FLAGS = st.sampled_from([0x0100, 0x0100, 0x0120, 0, 0x0010, 0x0130, 0x0020, 0x0040, 0x0041, 0x0061, 0x0241])


@dataclass(frozen=True)
class Question:
    """One question and how it is put; `qname` is folded."""

    qname: bytes
    qtype: int
    edns: bytes
    flags: int
    tcp: bool


QUESTIONS = st.builds(Question, NAMES_ASKED, st.sampled_from(TYPES), EDNS, FLAGS, st.booleans())


def mixed(name: bytes) -> bytes:
    """The name with every other octet in upper case where it is a letter; length octets are none."""
    return bytes(octet - 32 if at % 2 and 97 <= octet <= 122 else octet for at, octet in enumerate(name))
