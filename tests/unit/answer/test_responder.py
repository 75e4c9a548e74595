"""From a query's octets to a reply's (RFC 1035, 6891, 7873, 8482, 8906, 8914, 9619)."""

from __future__ import annotations

from random import Random
from typing import NoReturn

import pytest

from kdns.answer.engine import Engine
from kdns.answer.responder import Responder
from kdns.answer.site import Site
from kdns.answer.spec import ClusterSpec, SiteSpec, Specification
from kdns.observe.families import DROPPED
from kdns.wire.iana import EDE, Opcode
from kdns.wire.name import from_text
from tests.support.counting import Counting
from tests.support.engines import CLIENT, CLUSTER, Served, cluster, image
from tests.support.messages import ANY, COOKIE, DO, Answer, message, mixed_case, opt, option, query, question
from tests.support.shop import SUBTREES, WEB, same, twice
from tests.support.subtrees import headless


@pytest.fixture
def served() -> Served:
    return cluster(*SUBTREES)


# Answers


@pytest.mark.parametrize(
    ("qname", "qtype", "rcode", "answer"),
    [
        (WEB, "A", "NOERROR", ["10.0.0.1"]),
        (WEB, "AAAA", "NOERROR", ["2001:db8::1"]),
        (WEB, "MX", "NOERROR", []),
        ("_tcp.web.shop.svc.cluster.local", "A", "NOERROR", []),
        ("svc.cluster.local", "TXT", "NOERROR", []),
        ("cluster.local", "TXT", "NOERROR", []),
        ("shop.svc.cluster.local", "A", "NOERROR", []),
        ("nope.shop.svc.cluster.local", "A", "NXDOMAIN", []),
        ("nope.shop.svc.cluster.local", "SOA", "NXDOMAIN", []),
        ("out.shop.svc.cluster.local", "A", "NOERROR", ["www.example.org."]),
        ("out.shop.svc.cluster.local", "HTTPS", "NOERROR", ["www.example.org."]),
        ("in.shop.svc.cluster.local", "A", "NOERROR", [f"{WEB}.", "10.0.0.1"]),
        ("in.shop.svc.cluster.local", "CNAME", "NOERROR", [f"{WEB}."]),
        ("dangling.shop.svc.cluster.local", "A", "NXDOMAIN", ["nope.shop.svc.cluster.local."]),
        ("loop.shop.svc.cluster.local", "A", "NOERROR", ["loop.shop.svc.cluster.local."]),
        ("dns-version.cluster.local", "TXT", "NOERROR", ['"1.1.0"']),
        ("1.0.0.10.in-addr.arpa", "PTR", "NOERROR", [f"{WEB}."]),
        ("0.0.10.in-addr.arpa", "PTR", "NOERROR", []),
        ("9.0.0.10.in-addr.arpa", "PTR", "NXDOMAIN", []),
    ],
)
@pytest.mark.parametrize("tcp", [False, True])
def test_answers_are_authoritative_and_the_same_when_asked_again(
    served: Served, qname: str, qtype: str, rcode: str, answer: list[str], tcp: bool
) -> None:
    for reply in twice(served, query(qname, qtype, ident=0xBEEF), tcp):
        assert (reply.ident, reply.rcode, reply.rdata) == (0xBEEF, rcode, answer)
        assert reply.flags == {"QR", "AA", "RD"}
        denied = rcode == "NXDOMAIN" or not answer
        assert bool(reply.soa) is denied


def test_a_srv_answer_brings_the_addresses(served: Served) -> None:
    for reply in twice(served, query("_http._tcp.web.shop.svc.cluster.local", "SRV")):
        assert reply.rdata == [f"0 50 80 {WEB}."]
        assert reply.additional == [f"{WEB}. 5 A 10.0.0.1", f"{WEB}. 5 AAAA 2001:db8::1"]


def test_the_soa_and_the_name_servers_of_the_apex(served: Served) -> None:
    assert served.dig("cluster.local", "SOA").rdata == [
        "ns.dns.cluster.local. hostmaster.cluster.local. 1000 7200 1800 86400 5"
    ]
    reply = served.dig("cluster.local", "NS")
    assert reply.rdata == ["ns.dns.cluster.local."]
    assert reply.additional == ["ns.dns.cluster.local. 5 A 192.0.2.53"]


# Header and refusals


@pytest.mark.parametrize(
    ("qname", "qtype", "qclass", "code", "text"),
    [
        ("www.example.org", "A", 1, EDE.NOT_AUTHORITATIVE, "name is in no zone of this server"),
        (".", "NS", 1, EDE.NOT_AUTHORITATIVE, "name is in no zone of this server"),
        (WEB, "A", 3, EDE.NOT_SUPPORTED, "only class IN is served"),
        (WEB, "A", 255, EDE.NOT_SUPPORTED, "only class IN is served"),
        ("version.bind", "TXT", 3, EDE.NOT_SUPPORTED, "only class IN is served"),
        ("cluster.local", "AXFR", 1, EDE.PROHIBITED, "zone transfer is not allowed"),
        ("cluster.local", "IXFR", 1, EDE.PROHIBITED, "zone transfer is not allowed"),
    ],
)
@pytest.mark.parametrize("tcp", [False, True])
def test_what_we_do_not_answer_is_refused_with_the_reason(
    served: Served, qname: str, qtype: str, qclass: int, code: int, text: str, tcp: bool
) -> None:
    for reply in twice(served, query(qname, qtype, qclass=qclass, edns=opt()), tcp):
        assert (reply.rcode, reply.ede, reply.flags) == ("REFUSED", [(code, text)], {"QR", "RD"})
        assert reply.counts == (1, 0, 0, 1)
    [reply, _] = twice(served, query(qname, qtype, qclass=qclass), tcp)
    assert (reply.rcode, reply.has_edns) == ("REFUSED", False)


def test_before_data_is_loaded_nothing_is_denied() -> None:
    spec = ClusterSpec((CLUSTER,))
    served = Served(Specification((spec,), (SiteSpec((CLUSTER,), (0,)),), ((0,),)), ready=False)
    for qname in ("cluster.local", WEB, "nope.cluster.local"):
        reply = served.dig(qname, edns=opt())
        assert (reply.rcode, reply.ede) == ("SERVFAIL", [(EDE.NOT_READY, "data is not loaded yet")])
        assert "AA" not in reply.flags
    served.publish([image(*SUBTREES)])
    assert served.dig(WEB).rdata == ["10.0.0.1"]


@pytest.mark.parametrize("opcode", [Opcode.IQUERY, Opcode.STATUS, Opcode.NOTIFY, Opcode.UPDATE, 15])
def test_another_opcode_is_not_implemented(served: Served, opcode: int) -> None:
    reply = served.dig("cluster.local", "SOA", flags=opcode << 11)
    assert (reply.rcode, reply.counts) == ("NOTIMP", (0, 0, 0, 0))


@pytest.mark.parametrize(
    "octets",
    [
        message(b"", (0, 0, 0, 0)),
        message(question(WEB) * 2, (2, 0, 0, 0)),
        message(b"\xc0\x0c\0\x01\0\x01"),
        query(WEB) + b"x",
        query(WEB, edns=opt() + opt()),
        message(question(WEB) + opt() + opt(), (1, 0, 0, 2)),
        query(WEB, edns=opt(options=b"\0\x0a\0")),
        message(question(WEB), (1, 0, 0, 1)),
    ],
)
def test_a_malformed_query_is_told_so_and_never_kept(served: Served, octets: bytes) -> None:
    served.dig(WEB)
    served.dig(WEB, edns=opt())
    before = served.kept
    for reply in [served.ask(octets), served.ask(octets)]:
        assert reply is not None
        assert (reply[:2], reply[2] & 0x80, reply[3] & 15) == (octets[:2], 0x80, 1)
        assert Answer(reply).rcode == "FORMERR"
    assert served.kept == before


@pytest.mark.parametrize("octets", [b"", b"\x12", query(WEB)[:11], query(WEB, flags=0x8000), bytes([0xFF]) * 40])
def test_silence_is_for_what_is_no_query(served: Served, octets: bytes) -> None:
    assert served.ask(octets) is None
    assert served.counting.total(DROPPED) == 1


def test_two_listeners_answer_from_their_own_blocks() -> None:
    sites = (SiteSpec((CLUSTER,), (0,)), SiteSpec((from_text("who.test"),), whoami=True))
    specification = Specification((ClusterSpec((CLUSTER,)),), sites, ((0,), (1,), (0, 1)))
    engine = Engine(specification, Counting(specification).tally, Random(0), _raise)
    part = engine.new_image()
    part.apply(image(*SUBTREES))
    engine.publish(part)
    rcodes = []
    for listener in range(3):
        for qname in (WEB, "who.test"):
            reply = engine.responder(listener).respond(query(qname), CLIENT, False)
            assert reply is not None
            rcodes.append(Answer(reply).rcode)
    assert rcodes == ["NOERROR", "REFUSED", "REFUSED", "NOERROR", "NOERROR", "NOERROR"]


def _raise(error: Exception, message: bytes) -> None:
    raise error


def test_a_failure_is_reported_and_answered_with_servfail() -> None:
    class Broken(Site):
        def passage(self, qname: bytes, qtype: int) -> NoReturn:
            raise RuntimeError("bug")

    failures: list[tuple[str, bytes]] = []
    broken = Broken((CLUSTER,), (), False, False, 1232)
    tally = Counting().tally
    responder = Responder((broken,), tally, Random(0), lambda _: [b""], lambda e, m: failures.append((str(e), m)))
    responder.publish()
    octets = query(WEB, edns=opt())
    reply = responder.respond(octets, CLIENT, False)
    assert reply is not None
    assert (Answer(reply).rcode, Answer(reply).ede) == ("SERVFAIL", [(0, "kdns failed to answer; its log says why")])
    assert failures == [("bug", octets)]
    assert len(responder.table) == 0


# EDNS


def test_badvers_tells_our_version(served: Served) -> None:
    for reply in twice(served, query(WEB, edns=opt(version=1))):
        assert (reply.rcode, reply.answer, reply.message.edns) == ("BADVERS", [], 0)


def test_edns_is_answered_only_where_it_was_used(served: Served) -> None:
    assert not served.dig(WEB).has_edns
    reply = served.dig(WEB, edns=opt(4096, flags=DO))
    assert (reply.payload, reply.dnssec_ok, reply.options) == (1232, True, [])
    assert not served.dig(WEB, edns=opt(4096)).dnssec_ok


@pytest.mark.parametrize(
    ("asked", "limit"), [(0, 512), (512, 512), (1000, 1000), (1232, 1232), (4096, 1232), (65535, 1232)]
)
def test_a_udp_reply_is_as_long_as_the_client_and_we_allow(served: Served, asked: int, limit: int) -> None:
    for reply in twice(served, query("crowd.shop.svc.cluster.local", edns=opt(asked))):
        assert len(reply.wire) <= limit
        assert "TC" in reply.flags
        assert len(reply.answer) > 20


def test_a_large_answer_is_whole_over_tcp(served: Served) -> None:
    for reply in twice(served, query("crowd.shop.svc.cluster.local"), tcp=True):
        assert ("TC" in reply.flags, len(set(reply.answer))) == (False, 300)


def test_srv_additional_that_does_not_fit_does_not_truncate(served: Served) -> None:
    served.apply(headless("many.shop", " ".join(f"10.4.0.{at}" for at in range(8))))
    for reply in twice(served, query("_http._tcp.many.shop.svc.cluster.local", "SRV")):
        assert "TC" not in reply.flags
        assert len(reply.answer) == 8
        assert len(reply.additional) < 8


@pytest.mark.parametrize("bufsize", [512, 4096])
def test_the_cap_is_the_blocks(bufsize: int) -> None:
    served = cluster(*SUBTREES, bufsize=bufsize)
    reply = served.dig("crowd.shop.svc.cluster.local", edns=opt(65535))
    assert reply.payload == bufsize
    assert bufsize - 16 < len(reply.wire) <= bufsize


OPTIONS = [
    option(COOKIE, b"ABCDabcd"),
    option(COOKIE, b"\0" * 8),
    option(COOKIE, b"ABCDabcd" * 2),
    option(3, b""),
    option(12, bytes(40)),
    option(8, b"\0\1\x18\0\x0a\0\0"),
    option(COOKIE, b"ABCDabcd") + option(3, b""),
    option(3, b"") + option(COOKIE, b"ABCDabcd"),
    option(65001, b"\0\x0c\0\x0a\0\x08ABCDabcd"),
]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize(
    "qname", [WEB, "nope.cluster.local", "db.shop.svc.cluster.local", "pending.shop.svc.cluster.local"]
)
def test_options_change_nothing_and_share_the_kept_reply(served: Served, qname: str, options: bytes) -> None:
    plain = served.dig(qname, edns=opt())
    before = served.kept, len(served.responder.table.denials)
    for _ in range(3):
        mixed = mixed_case(qname)
        assert same(served.dig(mixed, edns=opt(options=options)), served.dig(mixed, edns=opt()))
    assert same(served.dig(qname, edns=opt(options=options)), plain)
    assert (served.kept, len(served.responder.table.denials)) == before


def test_a_query_that_ends_like_a_cookie_is_not_taken_for_one(served: Served) -> None:
    tail = b"\0\x0c\0\x0a\0\x08ABCDabcd"
    for edns in (opt(), b""):
        served.dig(WEB, edns=edns)
        octets = query(WEB, edns=edns)
        for cut in (0, 2, 4):
            reply = served.ask(octets[: len(octets) - cut] + tail)
            fresh = cluster(*SUBTREES).ask(octets[: len(octets) - cut] + tail)
            assert reply == fresh


@pytest.mark.parametrize(
    ("head", "rcode"),
    [
        (b"\x28\0\0\1\0\0\0\0\0\1", "NOTIMP"),
        (b"\1\0\0\0\0\0\0\0\0\1", "FORMERR"),
        (b"\1\0\0\2\0\0\0\0\0\1", "FORMERR"),
        (b"\1\0\0\1\0\0\0\0\0\1", "REFUSED"),
    ],
)
def test_rfc_6891_6_1_1_whatever_is_wrong_a_query_with_opt_is_answered_with_one(
    served: Served, head: bytes, rcode: str
) -> None:
    asked = query("www.elsewhere.test")[12:] * head[3]
    reply = served.ask(b"\0\1" + head + asked + opt())
    assert reply is not None
    assert (Answer(reply).rcode, Answer(reply).payload) == (rcode, 1232)


def test_badvers_tells_our_payload_size_too(served: Served) -> None:
    reply = served.dig(WEB, edns=b"\0\0\x29\x04\xd0\0\1\0\0\0\0")
    assert (reply.rcode, reply.payload) == ("BADVERS", 1232)


# ANY, whoami


def test_rfc_8482_any_is_answered_with_one_record(served: Served) -> None:
    for reply in twice(served, query(WEB, ANY)):
        assert [line.split()[2] for line in reply.answer] == ["HINFO"]
        assert reply.rdata == ['"RFC8482" ""']
    assert served.dig("nope.cluster.local", ANY).rcode == "NXDOMAIN"
    assert served.dig("svc.cluster.local", ANY).answer == []
    assert served.dig("out.shop.svc.cluster.local", ANY).rdata == ["www.example.org."]


def whoami(**more: bool) -> Served:
    site = SiteSpec((CLUSTER, from_text("who.test")), (0,), **more)
    return Served(Specification((ClusterSpec((CLUSTER,)),), (site,), ((0,),)), [image(*SUBTREES)])


def test_the_any_directive_answers_without_a_lookup() -> None:
    served = whoami(any_hinfo=True)
    for qname in (WEB, "nope.cluster.local", "x.who.test"):
        assert served.dig(qname, ANY).rdata == ['"RFC8482" ""']
    assert served.dig(WEB).rdata == ["10.0.0.1"]


@pytest.mark.parametrize(("tcp", "owner_label"), [(False, "_udp"), (True, "_tcp")])
def test_whoami_tells_the_client_its_address_where_no_zone_answers(tcp: bool, owner_label: str) -> None:
    served = whoami(whoami=True)
    for _ in range(2):
        reply = served.dig("x.who.test", "A", tcp=tcp)
        assert (reply.rcode, reply.answer, reply.flags) == ("NOERROR", [], {"QR", "AA", "RD"})
        assert reply.additional == ["x.who.test. 0 A 192.0.2.99", f"{owner_label}.x.who.test. 0 SRV 0 0 5353 ."]
    assert served.kept == 0
    assert served.dig("nope.cluster.local").rcode == "NXDOMAIN"
    assert whoami().dig("x.who.test").rcode == "REFUSED"


def test_whoami_tells_an_ipv6_client_too() -> None:
    served = whoami(whoami=True)
    reply = served.responder.respond(query("who.test"), (bytes(15) + b"\x01", 9), False)
    assert reply is not None
    assert Answer(reply).additional == ["who.test. 0 AAAA ::1", "_udp.who.test. 0 SRV 0 0 9 ."]


def test_whoami_of_the_longest_name_makes_no_name_that_is_too_long() -> None:
    served = whoami(whoami=True)
    qname = ".".join(["a" * 63] * 3 + ["a" * 51, "who.test"])
    assert len(from_text(qname)) == 254
    reply = served.dig(qname)
    assert reply.additional == [f"{qname}. 0 A 192.0.2.99"]


# Counters


def test_replies_are_counted_by_type_and_rcode(served: Served) -> None:
    served.dig(WEB)
    served.dig(WEB)
    served.dig(WEB, "AAAA")
    served.dig("nope.cluster.local", "NAPTR")
    served.dig("www.example.org", 65)
    assert served.counting.replies == {
        ("udp", "A", "NOERROR"): 2,
        ("udp", "AAAA", "NOERROR"): 1,
        ("udp", "other", "NXDOMAIN"): 1,
        ("udp", "HTTPS", "REFUSED"): 1,
    }
