"""Zone transfers: what is sent equals what queries are answered with, in messages that a secondary reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_network

import dns.message
import dns.name
import dns.query
import dns.rdatatype
import dns.xfr
import dns.zone
import pytest
from hypothesis import HealthCheck, given, settings

from kdns.answer.transfer import (
    MESSAGE_OCTETS,
    Request,
    TransferSpec,
    cluster_contents,
    is_allowed,
    is_current,
    known_serial,
    master_contents,
    messages,
    soa_message,
)
from kdns.wire.builder import MAX_MESSAGE_OCTETS
from kdns.wire.name import ROOT, from_text, to_text
from kdns.zone.cluster import ForwardZone, PodNames
from kdns.zone.model import Kind
from kdns.zone.rrset import RRset
from kdns.zone.state import ClusterState
from kdns.zone.subtree import Subtree
from tests.support.engines import CLUSTER, image, zone_rrsets
from tests.support.messages import AXFR, NS, SOA, SRV, TXT, A, message, opt, question
from tests.support.shop import SUBTREES
from tests.support.strategies import Cluster, clusters, names_of_interest
from tests.support.subtrees import headless, packed

ORG = from_text("example.org")
IXFR = 251
Record = tuple[bytes, int, int, bytes]


def cluster(*subtrees: Subtree, pods: tuple[tuple[str, str], ...] = (), lacks: int = 0,
            ttl: int = 30) -> tuple[ForwardZone, ClusterState]:
    state = ClusterState(0)
    state.load(image(*subtrees, pods=pods, lacks=lacks))
    return zone_of(state, ttl), state


def zone_of(state: ClusterState, ttl: int = 30) -> ForwardZone:
    return ForwardZone(state, CLUSTER, ttl, 5, PodNames.VERIFIED, (packed("192.0.2.53"),))


def contents(zone: ForwardZone, state: ClusterState, pods: bool = False) -> list[RRset]:
    found = cluster_contents(zone, state, pods)
    assert found is not None
    return list(found)


def request(apex: str = "cluster.local", qtype: int = AXFR, options: bytes = b"") -> Request:
    return Request(b"\x12\x34", 0x0100, question(apex, qtype), options)


def read(wires: Iterable[bytes], apex: str = "cluster.local") -> dns.zone.Zone:
    """A zone as a secondary takes it in (dnspython)."""
    zone = dns.zone.Zone(dns.name.from_text(apex))
    with dns.xfr.Inbound(zone, dns.rdatatype.AXFR) as inbound:
        done = False
        for wire in wires:
            assert not done
            parsed = dns.message.from_wire(wire, xfr=True, one_rr_per_rrset=True, origin=zone.origin)
            done = inbound.process_message(parsed)
        assert done
    return zone


def records(rrsets: Iterable[RRset]) -> list[Record]:
    return [(rrset.owner, rrset.rrtype, rrset.ttl, rdata) for rrset in rrsets for rdata in rrset.rdatas]


def taken(zone: dns.zone.Zone) -> set[Record]:
    found: set[Record] = set()
    for name, ttl, rdata in zone.iterate_rdatas():
        wire = name.to_wire(origin=zone.origin), rdata.to_wire(origin=zone.origin)
        assert wire[0] is not None
        assert wire[1] is not None
        found.add((wire[0], int(rdata.rdtype), ttl, wire[1]))
    return found


def test_a_secondary_takes_in_a_cluster_as_queries_are_answered() -> None:
    zone, state = cluster(*SUBTREES)
    found = contents(zone, state)
    wires = list(messages(request(), zone.soa, found))
    assert taken(read(wires)) == set(records([zone.soa, *found]))
    for rrset in found:
        assert zone.find(rrset.owner).rrsets[rrset.rrtype] == rrset


def test_what_belongs_to_the_cluster_itself_is_there() -> None:
    zone, state = cluster(*SUBTREES)
    found = {(to_text(rrset.owner), rrset.rrtype): rrset for rrset in contents(zone, state)}
    assert found["dns-version.cluster.local.", TXT].rdatas == (b"\x051.1.0",)
    assert found["ns.dns.cluster.local.", A].rdatas == (packed("192.0.2.53"),)
    assert ("cluster.local.", NS) in found
    assert ("cluster.local.", SOA) not in found


def test_services_endpoints_and_ports_are_there_and_each_once() -> None:
    zone, state = cluster(*SUBTREES)
    found = [(to_text(rrset.owner), rrset.rrtype) for rrset in contents(zone, state)]
    assert len(found) == len(set(found))
    for name, rrtype in (("web.shop", A), ("web.shop", SRV), ("_http._tcp.web.shop", SRV), ("db-0.db.shop", A),
                         ("10-1-0-3.db.shop", A), ("10-1-0-9.web.shop", A), ("out.shop", 5)):
        assert (f"{name}.svc.cluster.local.", rrtype) in found
    assert not [name for name, _ in found if name.startswith(("nobody.", "pending."))]


def test_verified_pods_are_there_where_they_have_names() -> None:
    zone, state = cluster(pods=(("shop", "10.1.0.1"),))
    with_pods = {to_text(rrset.owner) for rrset in contents(zone, state, pods=True)}
    assert with_pods - {to_text(rrset.owner) for rrset in contents(zone, state)} == {
        "10-1-0-1.shop.pod.cluster.local.",
    }


def test_a_cluster_that_is_not_known_wholly_is_not_transferred() -> None:
    assert cluster_contents(*cluster(*SUBTREES, lacks=1)) is None


def test_a_transfer_shows_the_cluster_of_its_start() -> None:
    zone, state = cluster(*SUBTREES)
    before = set(records(contents(zone, state)))
    under_way = cluster_contents(zone, state)
    assert under_way is not None
    state.load(image(headless("new.shop", "10.9.0.1=x"), serial=2000))
    assert set(records(under_way)) == before


def test_names_too_long_for_dns_are_left_out() -> None:
    label = "h" * 63
    zone, state = cluster(headless("s" * 63 + "." + "n" * 63, f"10.1.0.1={label} 10.1.0.2"))
    owners = [rrset.owner for rrset in contents(zone, state)]
    assert max(map(len, owners)) <= 255
    assert any(owner.startswith(b"\x0810-1-0-2") for owner in owners)


class Nodes(dict[bytes, dict[int, RRset]]):
    """A zone file's nodes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.soa = next(iter(zone_rrsets(text)))
        for rrset in zone_rrsets(text):
            self.setdefault(rrset.owner.lower(), {})[rrset.rrtype] = rrset


FILE = """\
www A 192.0.2.80
sub NS ns.sub
ns.sub A 192.0.2.53
below.sub TXT "occluded"
*.wild MX 10 mail
Mixed CNAME WWW
"""


def test_a_zone_file_is_transferred_with_glue_and_what_is_below_a_cut() -> None:
    nodes = Nodes(FILE)
    wires = list(messages(request("example.org"), nodes.soa, master_contents(nodes)))
    folded = {(owner.lower(), rrtype, ttl, rdata.lower()) for owner, rrtype, ttl, rdata in
              taken(read(wires, "example.org"))}
    assert folded == {
        (owner.lower(), rrtype, ttl, rdata.lower()) for owner, rrtype, ttl, rdata in records(zone_rrsets(FILE))
    }


def test_the_soa_is_first_and_last_and_nowhere_between() -> None:
    zone, state = cluster(*SUBTREES)
    parsed = [dns.message.from_wire(wire, xfr=True, one_rr_per_rrset=True)
              for wire in messages(request(), zone.soa, contents(zone, state))]
    types = [rrset.rdtype for one in parsed for rrset in one.answer]
    assert types[0] == types[-1] == dns.rdatatype.SOA
    assert types.count(dns.rdatatype.SOA) == 2


def test_the_question_and_the_opt_record_stand_in_the_first_message_alone() -> None:
    zone, state = cluster(headless("crowd.shop", " ".join(f"10.2.{at >> 8}.{at & 255}" for at in range(900))))
    wires = list(messages(request(options=opt()), zone.soa, contents(zone, state)))
    parsed = [dns.message.from_wire(wire, xfr=True) for wire in wires]
    assert len(parsed) > 2
    assert [len(one.question) for one in parsed] == [1] + [0] * (len(parsed) - 1)
    assert [one.edns for one in parsed] == [0] + [-1] * (len(parsed) - 1)
    assert {(one.id, int(one.rcode()), one.flags) for one in parsed} == {(0x1234, 0, 0x8500)}


def test_messages_are_bounded_and_made_one_at_a_time() -> None:
    made = 0

    def endless() -> Iterator[RRset]:
        nonlocal made
        while True:
            made += 1
            yield RRset(from_text(f"n{made}.cluster.local"), A, 5, (packed("192.0.2.1"),))

    zone, _ = cluster()
    stream = messages(request(), zone.soa, endless())
    first, second = next(stream), next(stream)
    assert max(len(first), len(second)) <= MESSAGE_OCTETS
    assert made < 2 * MESSAGE_OCTETS // 16


def test_an_rrset_longer_than_a_message_goes_on_in_the_next_one() -> None:
    zone, _ = cluster()
    many = tuple(at.to_bytes(4) for at in range(5000))
    wires = list(messages(request(), zone.soa, [zone.find(CLUSTER).rrsets[NS], RRset(CLUSTER, A, 5, many)]))
    assert len(wires) > 3
    assert {rdata for _, rrtype, _, rdata in taken(read(wires)) if rrtype == A} == set(many)


@pytest.mark.parametrize("octets", [MESSAGE_OCTETS - 100, MESSAGE_OCTETS, 40_000, MAX_MESSAGE_OCTETS - 538])
def test_a_record_longer_than_a_message_has_a_larger_one(octets: int) -> None:
    zone, _ = cluster()
    strings = b"".join(b"\xff" + b"x" * 255 for _ in range(octets // 256))
    large = RRset(CLUSTER, TXT, 5, (strings,))
    small = RRset(from_text("z.cluster.local"), A, 5, (packed("192.0.2.1"),))
    wires = list(messages(request(), zone.soa, [small, zone.find(CLUSTER).rrsets[NS], large, small]))
    assert max(map(len, wires)) <= MAX_MESSAGE_OCTETS
    assert (CLUSTER, TXT, 5, strings) in taken(read(wires))


def test_the_soa_alone_says_which_serial_there_is() -> None:
    zone, _ = cluster()
    parsed = dns.message.from_wire(soa_message(request(qtype=IXFR), zone.soa))
    assert [rrset.rdtype for rrset in parsed.answer] == [dns.rdatatype.SOA]
    assert parsed.question[0].rdtype == dns.rdatatype.IXFR


def ixfr(serial: int) -> bytes:
    wire, _ = dns.xfr.make_query(dns.zone.Zone("example.org."), serial=serial)
    return wire.to_wire()


def test_the_serial_of_an_ixfr_query_stands_in_its_authority_section() -> None:
    assert known_serial(ixfr(4_000_000_000)) == 4_000_000_000
    assert known_serial(message(question("example.org", IXFR))) is None
    assert known_serial(b"garbage") is None


@pytest.mark.parametrize(("known", "current"), [
    (1000, True), (1001, True), (999, False), (None, False), ((1000 + 2**31 - 1), True), (1000 - 2**31 + 2**32, True),
])
def test_a_client_with_this_serial_or_a_later_one_is_current(known: int | None, current: bool) -> None:
    zone, _ = cluster()
    assert is_current(known, zone.soa) is current


def spec(*zones: bytes, to: str = "") -> TransferSpec:
    return TransferSpec(zones, tuple(map(ip_network, to.split())), not to)


@pytest.mark.parametrize(("client", "allowed"), [
    ("192.0.2.7", True), ("192.0.3.7", False), ("::ffff:192.0.2.7", True), ("2001:db8::1", True),
    ("2001:db9::1", False),
])
def test_only_the_networks_named_may_have_a_zone(client: str, allowed: bool) -> None:
    assert is_allowed([spec(ORG, to="192.0.2.0/24 2001:db8::/32")], ORG, packed(client)) is allowed


def test_the_transfer_with_the_longest_zone_says_who_may_have_it() -> None:
    specs = [spec(ROOT), spec(ORG, to="192.0.2.1/32"), spec(ORG)]
    assert is_allowed(specs, from_text("example.net"), packed("198.51.100.1"))
    assert not is_allowed(specs, from_text("sub.example.org"), packed("198.51.100.1"))
    assert not is_allowed([], ORG, packed("192.0.2.1"))
    assert not is_allowed([spec(from_text("sub.example.org"))], ORG, packed("192.0.2.1"))


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(clusters())
def test_a_transfer_holds_what_queries_for_its_names_are_answered(known: Cluster) -> None:
    state = ClusterState(0)
    state.load(known.image())
    zone = zone_of(state)
    sent: dict[bytes, dict[int, RRset]] = {}
    for rrset in contents(zone, state, pods=True):
        assert rrset.rrtype not in sent.setdefault(rrset.owner, {})
        sent[rrset.owner][rrset.rrtype] = rrset
    for owner, rrsets in sent.items():
        there = zone.find(owner).rrsets
        assert rrsets == {rrtype: rrset for rrtype, rrset in there.items() if rrtype != SOA}
    for name in names_of_interest(known):
        if name.endswith(CLUSTER) and (found := zone.find(name)).kind is Kind.NODE and name not in sent:
            # Ports and protocols are found without underscores as well.
            assert set(found.rrsets) == {SRV}
