"""kdns.answer.outside: names of ours that are aliases of names outside, answered in one message."""

from __future__ import annotations

import msgspec
import pytest

from kdns.answer.spec import FileSpec, OutsideSpec, SiteSpec, Specification
from kdns.wire.iana import EDE
from kdns.wire.name import ROOT, from_text
from kdns.wire.outside import Ask, Source, Told
from tests.support.engines import CLIENT, Served, cluster, image, zone_file
from tests.support.forwarding import EVERYTHING, answering, forwarding, split, telling
from tests.support.messages import AD, CD, DO, RD, Answer, mixed_case, opt, query, question
from tests.support.shop import SUBTREES, WEB
from tests.support.subtrees import alias

OUT = "out.shop.svc.cluster.local"
TARGET = "www.example.org"
ALIAS = f"{OUT}. 5 CNAME {TARGET}."
ADDRESS = f"{TARGET}. 300 A 192.0.2.80"
SOA = "example.org. 60 SOA a. b. 1 2 3 4 60"
NOW = 1000
ORG = from_text("example.org")


@pytest.fixture
def served() -> Served:
    served = forwarding(*SUBTREES)
    served.engine.tick(NOW)
    return served


def zones(text: str, *, outside: bool = True) -> Served:
    """A zone file in a block of its own, beside a block with `forward`."""
    sites = [SiteSpec((ORG,), (0,)), SiteSpec((ROOT,), group=1 if outside else None, outside=EVERYTHING)]
    specification = Specification((FileSpec(ORG),), tuple(sites), ((0, 1),))
    return Served(specification, [zone_file(text, "example.org")])


def test_the_target_is_asked_outside(served: Served) -> None:
    pending = served.pend(query(OUT, "AAAA", flags=CD | AD, edns=opt(flags=DO)))
    assert pending.ask == Ask(0, 0, question(TARGET, "AAAA"), RD | CD, True, CLIENT[0])


def test_the_block_that_takes_the_target_decides() -> None:
    assert split(*SUBTREES).pend(query(OUT)).ask.group == 1


@pytest.mark.parametrize("edns", [b"", opt()])
@pytest.mark.parametrize("tcp", [False, True])
def test_the_answer_is_ours_and_theirs_in_one_message(served: Served, edns: bytes, tcp: bool) -> None:
    wire = telling(
        served.pend(query(mixed_case(OUT), ident=9, edns=edns), tcp),
        f"{TARGET}. 60 CNAME cdn.test.", "cdn.test. 30 A 192.0.2.1", "cdn.test. 30 A 192.0.2.2",
        authority=["test. 60 NS ns.test."], additional=["ns.test. 60 A 192.0.2.53"],
    )
    reply = Answer(wire)
    text = mixed_case(OUT)
    assert (reply.ident, reply.flags, reply.has_edns) == (9, {"QR", "AA", "RD", "RA"}, bool(edns))
    assert reply.answer == [
        f"{text}. 5 CNAME {TARGET}.", f"{TARGET}. 60 CNAME cdn.test.",
        "cdn.test. 30 A 192.0.2.1", "cdn.test. 30 A 192.0.2.2",
    ]
    assert (reply.authority, reply.additional) == (["test. 60 NS ns.test."], ["ns.test. 60 A 192.0.2.53"])


def test_a_name_that_does_not_exist_outside_is_a_true_nxdomain(served: Served) -> None:
    reply = Answer(telling(served.pend(query(OUT)), rcode="NXDOMAIN", authority=[SOA]))
    assert (reply.rcode, reply.answer, reply.soa) == ("NXDOMAIN", [ALIAS], "example.org. 60 1 60")


def test_a_target_without_the_type_is_nodata(served: Served) -> None:
    reply = Answer(telling(served.pend(query(OUT, "MX")), authority=[SOA]))
    assert (reply.rcode, reply.answer, reply.soa) == ("NOERROR", [ALIAS], "example.org. 60 1 60")


@pytest.mark.parametrize("rcode", ["SERVFAIL", "REFUSED", "FORMERR", "NOTIMP", "YXDOMAIN", "BADVERS"])
def test_a_target_that_cannot_be_resolved_is_servfail_as_a_whole(served: Served, rcode: str) -> None:
    reply = Answer(telling(served.pend(query(OUT, edns=opt())), ADDRESS, rcode=rcode))
    assert (reply.rcode, reply.counts, reply.flags) == ("SERVFAIL", (1, 0, 0, 1), {"QR", "RD", "RA"})
    assert reply.ede == [(EDE.OTHER, "the name that the alias leads to cannot be resolved")]


def test_why_it_cannot_be_resolved_is_told(served: Served) -> None:
    failed = Told(1, 2, 0, b"", (0, 0, 0), source=Source.FAILURE, ede=22, text="nobody answers")
    assert Answer(served.pend(query(OUT, edns=opt())).finish(failed)).ede == [(22, "nobody answers")]


def test_a_malformed_answer_is_servfail(served: Served) -> None:
    pending = served.pend(query(OUT, edns=opt()))
    good = answering(pending.ask, ADDRESS)
    for body in (good.body[:-1], b"\xc0\xff" + good.body[2:], good.body + b"x"):
        reply = Answer(pending.finish(msgspec.structs.replace(good, body=body)))
        assert (reply.rcode, reply.ede[0][0]) == ("SERVFAIL", EDE.INVALID_DATA)


def test_an_answer_of_another_class_is_servfail(served: Served) -> None:
    pending = served.pend(query(OUT))
    good = answering(pending.ask, ADDRESS)
    body = good.body[:4] + b"\0\3" + good.body[6:]
    assert Answer(pending.finish(msgspec.structs.replace(good, body=body))).rcode == "SERVFAIL"


@pytest.mark.parametrize("edns", [b"", opt(flags=DO)])
def test_an_alias_of_ours_is_never_authenticated(served: Served, edns: bytes) -> None:
    pending = served.pend(query(OUT, flags=RD | AD, edns=edns))
    assert "AD" not in Answer(telling(pending, ADDRESS, flags="QR RD RA AD")).flags


def test_what_does_not_fit_is_cut_at_a_record(served: Served) -> None:
    many = [f"{TARGET}. 60 A 10.0.0.{at}" for at in range(100)]
    wire = telling(served.pend(query(OUT)), *many)
    reply = Answer(wire)
    assert len(wire) <= 512
    assert "TC" in reply.flags
    assert reply.answer == [ALIAS, *many[: len(reply.answer) - 1]]
    assert len(reply.answer) > 20
    assert len(Answer(telling(served.pend(query(OUT), tcp=True), *many)).answer) == 101


@pytest.mark.parametrize("qtype", ["CNAME", "ANY"])
def test_who_asks_for_the_alias_itself_does_not_wait(served: Served, qtype: str) -> None:
    assert served.dig(OUT, qtype).rdata == [f"{TARGET}."]


@pytest.mark.parametrize("name", ["in", "dangling", "loop"])
def test_aliases_inside_do_not_wait(served: Served, name: str) -> None:
    assert served.dig(f"{name}.shop.svc.cluster.local").answer


def test_without_forward_the_alias_stands_alone() -> None:
    for served in (cluster(*SUBTREES), forwarding(*SUBTREES, outside=(OutsideSpec(from_text("corp.test")),))):
        assert served.dig(OUT).answer == [ALIAS]
    assert zones("out CNAME www.example.net.", outside=False).dig("out.example.org").rdata == ["www.example.net."]


def test_what_is_excepted_stands_alone() -> None:
    served = forwarding(*SUBTREES, outside=(OutsideSpec(ROOT, (ORG,)),))
    assert served.dig(OUT).answer == [ALIAS]


def test_aliases_of_a_zone_file_are_followed() -> None:
    served = zones("a CNAME b\nb CNAME www.example.net.\n*.w CNAME www.example.net.\nd DNAME example.net.")
    for qname in ("a", "x.w", "www.d"):
        pending = served.pend(query(f"{qname}.example.org"))
        assert pending.ask.question == question("www.example.net")
        reply = Answer(telling(pending, "www.example.net. 60 A 192.0.2.1"))
        assert (reply.rcode, reply.rdata[-1]) == ("NOERROR", "192.0.2.1")
        assert reply.answer[0].split()[0] in (f"{qname}.example.org.", "d.example.org.")


def test_an_alias_of_a_name_that_the_cluster_passes_on_is_followed() -> None:
    served = forwarding(alias("rev.shop", "9.9.9.9.in-addr.arpa"))
    pending = served.pend(query("rev.shop.svc.cluster.local", "PTR"))
    assert pending.ask.question == question("9.9.9.9.in-addr.arpa", "PTR")
    telling(pending, "9.9.9.9.in-addr.arpa. 60 PTR dns9.test.", keep=60)
    assert served.kept == 0, "it may turn up in the cluster"


# Kept


def test_it_is_kept_as_long_as_the_shortest_of_both(served: Served) -> None:
    telling(served.pend(query(OUT)), ADDRESS, keep=300)
    served.engine.tick(NOW + 4)
    assert served.dig(OUT).answer == [f"{OUT}. 1 CNAME {TARGET}.", f"{TARGET}. 296 A 192.0.2.80"]
    served.engine.tick(NOW + 5)
    assert served.kept == 0
    telling(served.pend(query(OUT)), ADDRESS, keep=2)
    served.engine.tick(NOW + 7)
    assert served.kept == 0


def test_a_change_of_the_service_drops_it(served: Served) -> None:
    telling(served.pend(query(OUT)), ADDRESS, keep=300)
    served.apply(alias("other.shop", "x.test"))
    assert served.dig(OUT).rdata[-1] == "192.0.2.80"
    served.apply(alias("out.shop", "www.example.net"))
    assert served.pend(query(OUT)).ask.question == question("www.example.net")


@pytest.mark.parametrize("is_changed", [False, True])
def test_what_is_told_after_a_change_is_not_kept(served: Served, is_changed: bool) -> None:
    pending = served.pend(query(OUT))
    if is_changed:
        served.apply(alias("out.shop", "www.example.net"))
    telling(pending, ADDRESS, keep=300)
    assert served.kept == (not is_changed)


def test_a_change_of_the_zone_file_drops_it() -> None:
    served = zones("a CNAME www.example.net.")
    pending = served.pend(query("a.example.org"))
    telling(pending, "www.example.net. 60 A 192.0.2.1", keep=60)
    assert served.kept == 1
    source = served.engine.new_source(0)
    source.load(zone_file("a A 192.0.2.5", "example.org"))
    served.engine.publish_source(0, source)
    assert served.dig("a.example.org").rdata == ["192.0.2.5"]


def test_below_a_wildcard_nothing_is_kept() -> None:
    served = zones("*.w CNAME www.example.net.")
    telling(served.pend(query("x.w.example.org")), "www.example.net. 60 A 192.0.2.1", keep=60)
    assert served.kept == 0


def test_the_note_of_a_service_is_told_beside_the_answer() -> None:
    served = forwarding(msgspec.structs.replace(alias("out.shop", TARGET), note="odd"))
    reply = Answer(telling(served.pend(query(OUT, edns=opt())), ADDRESS))
    assert (reply.rdata[-1], reply.ede) == ("192.0.2.80", [(EDE.OTHER, "odd")])


def test_a_new_image_forgets_it(served: Served) -> None:
    telling(served.pend(query(OUT)), ADDRESS, keep=300)
    served.publish([image(*SUBTREES)])
    assert served.kept == 0
    assert served.dig(WEB).rdata == ["10.0.0.1"]
