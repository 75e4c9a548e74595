"""Whatever octets arrive: a reply with their ID and the QR bit, or silence; never an exception."""

from __future__ import annotations

from collections.abc import Iterator

import dns.message
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kdns.answer.spec import ClusterSpec, FileSpec, SiteSpec, Specification
from kdns.wire.name import ROOT, from_text, is_subdomain
from kdns.wire.query import name_end
from kdns.zone.cluster import PodNames
from kdns.zone.model import Kind
from tests.support.engines import CLUSTER, IN_ADDR, IP6, Served, image, zone_file
from tests.support.loopback import Server, ask, client
from tests.support.messages import COOKIE, message, opt, option, query, question
from tests.support.subtrees import alias, headless, owner, packed, relative, service

FILE = "*.wild TXT x\nsub NS ns.sub\nns.sub A 192.0.2.1\nold DNAME new\nloop CNAME loop\nwww A 192.0.2.2\n"
NAMES = (
    "web.shop.svc.cluster.local", "_http._tcp.web.shop.svc.cluster.local", "nope.shop.svc.cluster.local",
    "cluster.local",
    "web-0.db.shop.svc.cluster.local", "1-2-3-4.shop.pod.cluster.local", "1.0.0.10.in-addr.arpa", "0.10.in-addr.arpa",
    "8.b.d.0.1.0.0.2.ip6.arpa", "a.wild.example.org", "x.sub.example.org", "x.y.old.example.org", "loop.example.org",
    "example.org", "who.test", "org", ".", "x" * 63 + ".cluster.local",
)


def serve(whoami: bool = True) -> Served:
    zones = (CLUSTER, IN_ADDR, IP6)
    sources = (
        ClusterSpec(zones, pods=PodNames.INSECURE, fallthrough=(IN_ADDR,), listeners=(packed("10.0.0.1"),)),
        FileSpec(from_text("example.org")), FileSpec(from_text("10.in-addr.arpa")),
    )
    sites = (SiteSpec((*zones, from_text("example.org"), from_text("who.test")), (0, 1, 2), False, whoami, 4096),)
    parts = [
        image(service("web.shop", "10.0.0.1", "2001:db8::1"), headless("db.shop", "10.1.0.1=web-0 10.1.0.2"),
              alias("out.shop", "x.sub.example.org"), headless("none.shop")),
        zone_file(FILE, source=1), zone_file("*.9 PTR host.example.org.\n", "10.in-addr.arpa", 2),
    ]
    return Served(Specification(sources, sites, ((0,),)), parts)


APEXES = tuple(map(from_text, ("cluster.local", "in-addr.arpa", "0.10.in-addr.arpa", "ip6.arpa", "example.org", ".")))
# Octets that come close to a query: names that end like ours, wrong lengths, wrong counts, records cut or doubled.
LABELS = st.sampled_from((
    b"", b"\0", b"x", b"\x01x", b"\x02x", b"\x3f" + b"a" * 63, b"\x40" + b"a" * 64, b"\xc0\x0c", b"\x03svc",
    b"\x04shop\x03svc", b"\x01*", b"\x03pod", b"\x011\x010\x010\x0210",
))
ODD_NAMES = st.builds(
    lambda parts, apex: b"".join(parts) + apex, st.lists(LABELS, max_size=6), st.sampled_from(APEXES)
)
# The octets of an apex inside one label.
INSIDE = st.builds(
    lambda left, apex: bytes((len(left) + len(apex) - 1,)) + left + apex,
    st.binary(max_size=6),
    st.sampled_from(APEXES),
)
QNAMES = st.sampled_from(NAMES).map(from_text) | ODD_NAMES | INSIDE | st.binary(max_size=30)
QTYPES = st.sampled_from([1, 28, 33, 12, 2, 5, 6, 16, 65, 97, 251, 252, 255, 41, 43, 0]) | st.integers(0, 65535)
QUESTIONS = st.builds(question, QNAMES, QTYPES, st.sampled_from([1, 1, 1, 1, 3, 255, 0]))
OPTIONS = st.sampled_from([b"", option(COOKIE, b"ABCDabcd"), b"\0\x0a\0\x08", option(15, b"\0\0x"), b"\0"])
SIZES = st.sampled_from([0, 512, 0x0241, 1232, 4096, 65535])
OPTS = st.builds(opt, SIZES, OPTIONS, st.sampled_from([0, 0, 0, 1]), st.integers(0, 65535))
RECORDS = OPTS | st.sampled_from((
    b"", b"\0\0\x01\0\x01\0\0\0\0\0\0", b"\xc0\x0c\0\x01\0\x01\0\0\0\0\xff\xff",
    b"\0\x0c\0\x0a\0\x08ABCDabcd",
))
BODIES = st.builds(lambda first, more: first + b"".join(more), QUESTIONS, st.lists(RECORDS, max_size=3))
COUNTS = st.sampled_from((
    (1, 0, 0, 0), (1, 0, 0, 1), (1, 0, 0, 1), (0, 0, 0, 0), (2, 0, 0, 0), (1, 0, 0, 2), (1, 1, 1, 1),
))
FLAGS = st.sampled_from([0x0100, 0x0100, 0x0120, 0, 0x8000, 0x2800]) | st.integers(0, 65535)
MESSAGES = st.builds(message, BODIES, COUNTS, FLAGS, st.integers(0, 65535))


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A sound query with a few octets changed, cut or doubled."""
    octets = bytearray(query(draw(st.sampled_from(NAMES)), draw(QTYPES), edns=draw(st.just(b"") | OPTS)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(octets) - 1))
        change = draw(st.sampled_from(["set", "cut", "double", "insert"]))
        if change == "set":
            octets[at] = draw(st.integers(0, 255))
        elif change == "cut":
            del octets[max(at, 1) :]
        elif change == "double":
            octets += octets[at:]
        else:
            octets[at:at] = draw(st.binary(max_size=3))
    return bytes(octets)


ANYTHING = MESSAGES | mutated() | st.binary(max_size=100)


def check(octets: bytes, reply: bytes | None) -> None:
    answerable = len(octets) >= 12 and not octets[2] & 0x80
    assert (reply is not None) is answerable
    if reply is not None:
        assert reply[:2] == octets[:2]
        assert reply[2] & 0x80
        assert reply[2] & 0x78 in (0, octets[2] & 0x78)
        dns.message.from_wire(reply)


@given(st.lists(ANYTHING, min_size=1, max_size=40))
@example([query("x" * 63 + ".who.test"), query(".".join(["a" * 63] * 3 + ["a" * 51, "who.test"]))])
def test_any_octets_get_a_reply_or_silence_from_the_responder(messages: list[bytes]) -> None:
    served = serve()
    for octets in messages + messages:
        for tcp in (False, True):
            check(octets, served.ask(octets, tcp))


@given(st.lists(ANYTHING, min_size=1, max_size=30))
def test_a_table_full_of_replies_changes_none(messages: list[bytes]) -> None:
    """As from an empty table: same length, same header, but for rotation the same octets."""
    full, empty = serve(), serve()
    for octets in messages:
        empty.responder.publish()
        kept, again, fresh = full.ask(octets), full.ask(octets), empty.ask(octets)
        assert _form(kept) == _form(again) == _form(fresh)


def _form(reply: bytes | None) -> tuple[int, bytes]:
    return (len(reply), reply[:12]) if reply else (0, b"")


@pytest.fixture(scope="module")
def loopback() -> Iterator[tuple[Served, Server]]:
    served = serve()
    with Server(served.responder) as server:
        yield served, server


@given(messages=st.lists(ANYTHING, min_size=1, max_size=64))
def test_any_datagrams_get_a_reply_or_silence_from_the_server(
    loopback: tuple[Served, Server], messages: list[bytes]
) -> None:
    served, server = loopback
    with client(server) as one:
        replies = iter(ask(server, one, *messages))
        for octets in messages:
            alone = served.ask(octets)
            if alone is not None:
                reply = next(replies)
                check(octets, reply)
                assert (len(reply), reply[:12]) == (len(alone), alone[:12])
        assert list(replies) == []


@given(st.lists(ODD_NAMES | INSIDE | st.sampled_from(NAMES).map(from_text), min_size=1, max_size=60))
def test_what_is_denied_before_a_query_is_parsed_is_a_name_that_does_not_exist(names: list[bytes]) -> None:
    served = serve()
    for octets in names:
        qname = octets.lower()
        for apex, zone in served.engine._zone_maps[0].items() | served.engine._zone_maps[1].items():
            ttl = zone.denies(qname) if qname.endswith(apex) else None
            if ttl is not None:
                assert name_end(octets, 0) == len(octets)
                assert is_subdomain(qname, apex)
                found = zone.find(qname)
                assert (found.kind, found.note) == (Kind.ABSENT, "")
                assert ttl == (zone.negative_ttl if found.negative_ttl is None else found.negative_ttl)


@given(st.lists(ANYTHING, min_size=1, max_size=20), st.integers(0, 2**32 - 1))
def test_changes_between_any_octets_do_no_harm(messages: list[bytes], serial: int) -> None:
    served = serve(whoami=False)
    for at, octets in enumerate(messages):
        check(octets, served.ask(octets))
        if at % 2:
            served.apply(service("web.shop", f"10.0.0.{at}"), serial=serial, namespaces=["new"])
        else:
            served.apply(removed=[owner("web.shop")], namespaces_removed=["new"])
    assert served.engine.responder(0).respond(query(relative("x") + ROOT), (bytes(4), 1), False) is not None
