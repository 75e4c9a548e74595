"""Queries for whole zones through a responder: who gets them, and what the others hear."""

from __future__ import annotations

from ipaddress import ip_network

import dns.message
import pytest

from kdns.answer.spec import ClusterSpec, FileSpec, SiteSpec, Specification
from kdns.answer.transfer import TransferSpec
from kdns.corefile import parse_corefile
from kdns.observe.families import RESPONSES
from kdns.server.assembly import assemble
from kdns.wire.iana import EDE
from kdns.wire.name import ROOT, from_text
from tests.support.engines import CLIENT, CLUSTER, IN_ADDR, Served, image, zone_file
from tests.support.messages import AXFR, Answer, opt, query
from tests.support.shop import SUBTREES

IXFR = 251
ORG = from_text("example.org")
EVERYBODY = TransferSpec((ROOT,), everybody=True)


def serving(*transfers: TransferSpec, lacks: int = 0, is_read: bool = True) -> Served:
    sources = (ClusterSpec((CLUSTER, IN_ADDR), 5), FileSpec(ORG))
    site = SiteSpec((ROOT,), (0, 1), transfers=transfers)
    files = [zone_file("www A 192.0.2.7", source=1)] if is_read else []
    return Served(Specification(sources, (site,), ((0,),)), [image(*SUBTREES, lacks=lacks), *files])


def whole(served: Served, qname: str, qtype: int = AXFR, has_room: bool = True, **rest: bytes) -> list[bytes] | None:
    found = served.responder.transfer(query(qname, qtype, **rest), CLIENT, has_room)
    return None if found is None else list(found)


def remark(served: Served, qname: str, qtype: int, tcp: bool = True) -> tuple[str, tuple[int, str] | None]:
    reply = served.dig(qname, qtype, tcp=tcp, edns=opt())
    (ede,) = dns.message.from_wire(reply.wire).options
    return reply.rcode, (int(ede.code), ede.text)


@pytest.mark.parametrize(("qname", "count"), [("example.org", 5), ("CLUSTER.local", 20)])
def test_the_apex_of_a_cluster_or_a_file_is_transferred(qname: str, count: int) -> None:
    served = serving(EVERYBODY)
    before = served.counting.total(RESPONSES)
    for qtype in (AXFR, IXFR):
        messages = whole(served, qname, qtype)
        assert messages is not None
        records = sum(int.from_bytes(message[6:8]) for message in messages)
        assert records >= count
    assert served.counting.total(RESPONSES) == before + 2


@pytest.mark.parametrize("qname", ["www.example.org", "svc.cluster.local", "in-addr.arpa", ".", "example.com"])
def test_other_names_are_not(qname: str) -> None:
    served = serving(EVERYBODY)
    for qtype in (AXFR, IXFR):
        assert whole(served, qname, qtype) is None
        assert remark(served, qname, qtype)[0] == "REFUSED"


def test_who_is_not_named_gets_nothing() -> None:
    served = serving(TransferSpec((ORG,), (ip_network("192.0.2.98/32"),)))
    assert whole(served, "example.org") is None
    assert remark(served, "example.org", AXFR) == ("REFUSED", (EDE.PROHIBITED, "zone transfer is not allowed"))
    assert not serving().responder.transfers
    assert whole(serving(), "example.org") is None


def test_a_zone_that_is_not_known_wholly_is_no_zone_yet() -> None:
    served = serving(EVERYBODY, lacks=2)
    assert whole(served, "cluster.local") is None
    assert remark(served, "cluster.local", AXFR) == ("SERVFAIL", (EDE.NOT_READY, "data is not loaded yet"))
    assert whole(serving(EVERYBODY, is_read=False), "example.org") is None


def test_over_udp_there_is_the_serial_alone() -> None:
    served = serving(EVERYBODY)
    assert remark(served, "example.org", AXFR, False) == (
        "REFUSED", (EDE.PROHIBITED, "a whole zone is sent over TCP alone"),
    )  # fmt: skip
    (soa,) = served.dig("example.org", IXFR).answer
    assert soa.startswith("example.org. 3600 SOA ")
    assert served.kept == 0


def test_without_room_there_is_one_message_that_says_so() -> None:
    for edns in (b"", opt()):
        messages = whole(serving(EVERYBODY), "example.org", has_room=False, edns=edns)
        assert messages is not None
        (message,) = messages
        assert Answer(message).rcode == "SERVFAIL"


def test_other_queries_are_left_to_the_responder() -> None:
    served = serving(EVERYBODY)
    assert whole(served, "example.org", 1) is None
    # The octets of the question's end may stand anywhere: in a label, or in an option.
    assert whole(served, "example.org", 1, edns=opt(options=b"\0\x0a\0\x08\0\xfc\0\1\0\0\0\0")) is None
    assert served.responder.transfer(b"\0\xfc\0\1", CLIENT, True) is None
    assert served.responder.transfer(query("example.org", AXFR, qclass=3), CLIENT, True) is None


def test_the_targets_of_a_corefile_are_networks_and_their_ports_do_not_count() -> None:
    text = (
        "example.org {\n whoami\n transfer {\n to 192.0.2.2 192.0.2.3:5353 [2001:db8::2]:5353\n"
        " to 2001:db8::3 198.51.100.0/24\n }\n transfer a.example.org {\n to *\n }\n}\n"
    )
    first, second = assemble(parse_corefile(text), lambda _: [], list).specification.sites[0].transfers
    assert list(map(str, first.networks)) == [
        "192.0.2.2/32", "192.0.2.3/32", "2001:db8::2/128", "2001:db8::3/128", "198.51.100.0/24",
    ]  # fmt: skip
    assert (first.zones, first.everybody) == ((ORG,), False)
    assert (second.zones, second.everybody) == ((from_text("a.example.org"),), True)
