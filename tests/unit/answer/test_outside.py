"""kdns.answer.outside: names that are forwarded, and what their clients hear."""

from __future__ import annotations

from struct import pack

import msgspec
import pytest

from kdns.answer.outside import Pending
from kdns.answer.spec import FileSpec, OutsideSpec
from kdns.wire.iana import EDE
from kdns.wire.name import ROOT, from_text
from kdns.wire.outside import NO_EDE, Ask, Purpose, Source, Told
from tests.support.engines import CLIENT, CLUSTER, Served, cluster, zone_file
from tests.support.forwarding import DEFAULT_CLUSTER, SHED, answering, forwarding, split, telling
from tests.support.messages import AD, CD, COOKIE, DO, RD, Answer, mixed_case, opt, option, query, question
from tests.support.shop import SUBTREES, WEB

WWW = "www.example.net"
ANSWER = f"{WWW}. 300 A 192.0.2.80"


@pytest.fixture
def served() -> Served:
    return forwarding(*SUBTREES)


def many(count: int) -> list[str]:
    return [f"{WWW}. 60 A 10.{at >> 16}.{at >> 8 & 255}.{at & 255}" for at in range(count)]


# What is asked


def test_a_name_in_no_zone_is_asked_outside(served: Served) -> None:
    pending = served.pend(query(mixed_case(WWW), "AAAA", flags=RD | CD, edns=opt(flags=DO)))
    assert pending.ask == Ask(0, 0, question(WWW, "AAAA"), RD | CD, True, CLIENT[0], Purpose.CLIENT)


def test_the_group_is_that_of_the_block_which_takes_the_name() -> None:
    served = split(*SUBTREES)
    assert served.pend(query(WWW)).ask.group == 1
    assert served.dig("nope.cluster.local").rcode == "NXDOMAIN"


@pytest.mark.parametrize("flags", [0, RD, AD, RD | AD | CD])
def test_only_rd_and_cd_are_passed_on(served: Served, flags: int) -> None:
    """A query without RD is forwarded too, as CoreDNS does."""
    assert served.pend(query(WWW, flags=flags)).ask.flags == flags & (RD | CD)


@pytest.mark.parametrize("qname", [WEB, "nope.shop.svc.cluster.local", "cluster.local", "svc.cluster.local"])
def test_names_of_the_cluster_never_wait(served: Served, qname: str) -> None:
    for _ in range(2):
        assert "AA" in served.dig(qname).flags


@pytest.mark.parametrize("qname", ["9.9.9.9.in-addr.arpa", "1.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"])
def test_what_the_cluster_passes_on_is_forwarded(served: Served, qname: str) -> None:
    assert served.pend(query(qname, "PTR")).ask.question == question(qname, "PTR")
    assert served.dig("1.0.0.10.in-addr.arpa", "PTR").rdata == [f"{WEB}."]


def test_an_empty_name_of_ours_is_not_denied_by_others(served: Served) -> None:
    """10.in-addr.arpa has names below it here: NXDOMAIN would deny those too (RFC 8020)."""
    soa = "in-addr.arpa. 60 SOA a. b. 1 2 3 4 60"
    reply = Answer(telling(served.pend(query("0.0.10.in-addr.arpa", "PTR")), rcode="NXDOMAIN", authority=[soa]))
    assert (reply.rcode, reply.soa) == ("NOERROR", "in-addr.arpa. 60 1 60")
    reply = Answer(telling(served.pend(query("9.9.10.in-addr.arpa", "PTR")), rcode="NXDOMAIN", authority=[soa]))
    assert reply.rcode == "NXDOMAIN"


@pytest.mark.parametrize(("qname", "qtype", "qclass"), [
    (WWW, "A", 3), ("version.bind", "TXT", 3), (WWW, "A", 255), (WWW, "AXFR", 1), (WWW, "IXFR", 1),
])
def test_other_classes_and_transfers_are_refused(served: Served, qname: str, qtype: str, qclass: int) -> None:
    assert served.dig(qname, qtype, qclass=qclass).rcode == "REFUSED"


def test_a_malformed_query_is_not_forwarded(served: Served) -> None:
    assert Answer(served.ask(query(WWW) + b"x") or b"").rcode == "FORMERR"
    assert Answer(served.ask(query(WWW, edns=opt(version=1))) or b"").rcode == "BADVERS"


@pytest.mark.parametrize(("qname", "is_outside"), [
    ("corp.test", True), ("a.corp.test", True), ("lab.corp.test", False), ("a.lab.corp.test", False),
    ("xlab.corp.test", True), ("test", False), ("example.org", True), ("a.example.org", False),
])
def test_a_forward_line_takes_its_zone_without_what_it_excepts(qname: str, is_outside: bool) -> None:
    corp = OutsideSpec(from_text("corp.test"), (from_text("lab.corp.test"),))
    example = OutsideSpec(from_text("example.org"), (from_text("example.org"),))
    served = forwarding(*SUBTREES, outside=(corp, example))
    if is_outside:
        served.pend(query(qname))
    else:
        assert served.dig(qname).rcode == "REFUSED"


def test_any_is_answered_here_where_the_block_says_so() -> None:
    assert forwarding(any_hinfo=True).dig(WWW, "ANY").rdata == ['"RFC8482" ""']
    forwarding().pend(query(WWW, "ANY"), tcp=True)


def test_any_for_a_name_outside_goes_by_tcp_and_so_amplifies_nothing() -> None:
    """RFC 8482 section 4.4; whoever's address is forged gets no more than was sent in it."""
    for edns in (b"", opt(4096), opt(4096, option(COOKIE, bytes(8)))):
        sent = query(WWW, "ANY", edns=edns)
        reply = forwarding().ask(sent)
        assert reply is not None
        assert "TC" in Answer(reply).flags
        assert not Answer(reply).answer
        assert len(reply) <= len(sent)


def test_forward_comes_before_whoami() -> None:
    served = forwarding(whoami=True, outside=(OutsideSpec(from_text("example.net")),))
    served.pend(query(WWW))
    assert served.dig("who.test").additional[0] == "who.test. 0 A 192.0.2.99"


def test_a_cluster_that_is_not_known_yet_passes_nothing_on() -> None:
    served = forwarding(*SUBTREES)
    served.apply(lacks=1)
    assert served.dig("9.9.9.9.in-addr.arpa", "PTR").rcode == "SERVFAIL"


def test_a_zone_file_passes_on_what_it_lacks_once_it_is_loaded() -> None:
    example = from_text("example.net")
    served = forwarding(source=FileSpec(example, (example,)))
    assert served.dig(WWW).rcode == "SERVFAIL"
    served.publish([zone_file("own A 192.0.2.7", "example.net")])
    assert served.dig("own.example.net").rdata == ["192.0.2.7"]
    assert served.pend(query(WWW)).ask.question == question(WWW)


def test_without_forward_nothing_waits() -> None:
    assert cluster(*SUBTREES).dig(WWW).rcode == "REFUSED"


# What the client hears


@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize("edns", [b"", opt()])
def test_the_reply_is_the_upstreams_for_this_very_query(served: Served, tcp: bool, edns: bytes) -> None:
    text = mixed_case(WWW)
    pending = served.pend(query(text, ident=0xBEEF, edns=edns), tcp)
    wire = telling(pending, f"{WWW}. 300 CNAME a.{WWW}.", f"a.{WWW}. 60 A 192.0.2.1")
    reply = Answer(wire)
    assert (reply.ident, reply.rcode, reply.flags) == (0xBEEF, "NOERROR", {"QR", "RD", "RA"})
    assert wire[12 : 12 + len(WWW) + 2] == from_text(text)
    assert reply.rdata == [f"a.{text}.", "192.0.2.1"]
    assert (reply.has_edns, reply.ede) == (bool(edns), [])
    assert not edns or reply.payload == 1232


@pytest.mark.parametrize("flags", [0, RD, CD, AD, RD | CD | AD])
@pytest.mark.parametrize("dnssec_ok", [False, True])
@pytest.mark.parametrize("upstream", ["QR RD RA AD", "QR AA RD RA", "QR"])
def test_the_header_is_ours(served: Served, flags: int, dnssec_ok: bool, upstream: str) -> None:
    edns = opt(flags=DO) if dnssec_ok else b""
    reply = Answer(telling(served.pend(query(WWW, flags=flags, edns=edns)), ANSWER, flags=upstream))
    wanted = {"QR", "RA"} | ({"RD"} if flags & RD else set()) | ({"CD"} if flags & CD else set())
    if "AD" in upstream and (dnssec_ok or flags & AD):
        wanted |= {"AD"}
    assert (reply.flags, reply.dnssec_ok) == (wanted, dnssec_ok)


@pytest.mark.parametrize("rcode", ["NXDOMAIN", "REFUSED", "SERVFAIL", "NOTIMP", "YXDOMAIN", "NXRRSET", "NOTAUTH"])
def test_every_rcode_of_a_header_is_passed_on(served: Served, rcode: str) -> None:
    reply = Answer(telling(served.pend(query(WWW)), rcode=rcode, authority=["example.net. 9 SOA a. b. 1 2 3 4 5"]))
    assert (reply.rcode, reply.soa) == (rcode, "example.net. 9 1 5")


def test_an_extended_rcode_of_the_upstream_is_a_failure(served: Served) -> None:
    """BADVERS and the like are about the upstream's EDNS; without EDNS its low bits would be NOERROR."""
    for edns in (b"", opt()):
        reply = Answer(telling(served.pend(query(WWW, edns=edns)), ANSWER, rcode="BADVERS"))
        assert (reply.rcode, reply.counts[1]) == ("SERVFAIL", 0)


def test_why_it_failed_is_told_who_has_edns(served: Served) -> None:
    failed = Told(1, 2, 0, b"", (0, 0, 0), ede=22, text="no upstream answers")
    reply = Answer(served.pend(query(WWW, edns=opt())).finish(failed))
    assert (reply.rcode, reply.ede, reply.flags) == ("SERVFAIL", [(22, "no upstream answers")], {"QR", "RD", "RA"})
    assert not Answer(served.pend(query(WWW)).finish(failed)).has_edns


def test_shed_queries_hear_servfail_with_the_reason(served: Served) -> None:
    reply = Answer(served.pend(query(WWW, edns=opt())).finish(SHED))
    assert (reply.rcode, reply.ede) == ("SERVFAIL", [(EDE.NETWORK_ERROR, "too many queries")])


def test_what_is_told_wrongly_is_a_failure_that_is_reported() -> None:
    served = forwarding()
    pending = served.pend(query(WWW))
    broken = msgspec.structs.replace(answering(pending.ask, ANSWER), ttls=())
    with pytest.raises(AssertionError, match="made the responder fail"):
        pending.finish(broken)


def test_ttls_are_those_that_are_told(served: Served) -> None:
    pending = served.pend(query(WWW))
    aged = msgspec.structs.replace(answering(pending.ask, ANSWER), ttls=(17,))
    assert Answer(pending.finish(aged)).answer == [f"{WWW}. 17 A 192.0.2.80"]


# Size


@pytest.mark.parametrize("payload", [0, 512, 1232, 4096])
@pytest.mark.parametrize("count", [1, 28, 29, 30, 73, 74, 75, 500])
def test_what_does_not_fit_over_udp_is_cut_at_a_record_and_marked(served: Served, payload: int, count: int) -> None:
    edns = opt(payload) if payload else b""
    wire = telling(served.pend(query(WWW, edns=edns)), *many(count))
    limit = min(payload or 512, 1232)
    reply = Answer(wire)
    fitting = (limit - 12 - len(question(WWW)) - (11 if edns else 0)) // 16
    assert len(wire) <= limit
    assert len(reply.answer) == min(count, fitting)
    assert ("TC" in reply.flags) is (count > fitting)
    assert reply.answer == many(count)[:fitting]


def test_over_tcp_nothing_is_cut(served: Served) -> None:
    reply = Answer(telling(served.pend(query(WWW), tcp=True), *many(3000)))
    assert (len(reply.answer), "TC" in reply.flags) == (3000, False)


def test_additional_records_go_first_and_silently(served: Served) -> None:
    additional = [f"ns{at}.example.net. 60 A 192.0.2.{at}" for at in range(40)]
    authority = ["example.net. 60 NS ns1.example.net."]
    wire = telling(served.pend(query(WWW)), ANSWER, authority=authority, additional=additional)
    reply = Answer(wire)
    assert (reply.answer, reply.authority, reply.additional) == ([ANSWER], authority, [])
    assert "TC" not in reply.flags


def test_an_authority_section_that_does_not_fit_is_marked(served: Served) -> None:
    authority = [f"example.net. 60 NS {'n' * 50}{at}.example." for at in range(20)]
    reply = Answer(telling(served.pend(query(WWW)), ANSWER, authority=authority))
    assert (reply.answer, reply.authority, "TC" in reply.flags) == ([ANSWER], [], True)


def test_a_single_record_that_is_too_long_leaves_none(served: Served) -> None:
    text = " ".join(['"' + "x" * 250 + '"'] * 6)
    reply = Answer(telling(served.pend(query(WWW, "TXT")), f"{WWW}. 60 TXT {text}"))
    assert (reply.counts[1], "TC" in reply.flags) == (0, True)


def test_the_longest_question_and_reason_fit(served: Served) -> None:
    label = b"\x3f" + b"y" * 63
    longest = label * 3 + b"\x3d" + b"y" * 61 + ROOT
    failed = Told(1, 2, 0, b"", (0, 0, 0), source=Source.FAILURE, ede=22, text="x" * 500)
    wire = served.pend(query(longest, edns=opt(512))).finish(failed)
    assert Answer(wire).rcode == "SERVFAIL"
    assert len(wire) <= 512


def test_pending_queries_do_not_share_anything(served: Served) -> None:
    one, other = (served.pend(query(WWW, ident=ident)) for ident in (1, 2))
    assert isinstance(one, Pending)
    assert Answer(telling(other, ANSWER)).ident == 2
    assert Answer(telling(one, ANSWER)).ident == 1
    assert one.ask == other.ask


def test_the_root_is_forwarded(served: Served) -> None:
    pending = served.pend(query(".", "NS"))
    assert pending.ask.question == ROOT + pack(">2H", 2, 1)
    assert Answer(telling(pending, ". 60 NS a.root.")).rdata == ["a.root."]


def test_cluster_zones_are_never_asked_outside_even_below_an_exception() -> None:
    served = forwarding(*SUBTREES, outside=(OutsideSpec(CLUSTER),), source=DEFAULT_CLUSTER)
    assert served.dig(WEB).rdata == ["10.0.0.1"]
    assert served.dig(WWW).rcode == "REFUSED"


def test_no_remark_is_no_option(served: Served) -> None:
    pending = served.pend(query(WWW, edns=opt()))
    assert Answer(pending.finish(answering(pending.ask, ANSWER, ede=NO_EDE))).options == []
