"""Replies that are kept: who gets one, who must not, and how they take turns."""

from __future__ import annotations

from collections import Counter

import pytest

from kdns.wire.name import from_text
from kdns.zone.cluster import PodNames
from tests.support.engines import Served, cluster
from tests.support.messages import AD, CD, COOKIE, RD, mixed_case, opt, option, query
from tests.support.shop import SUBTREES, WEB, same


@pytest.fixture
def served() -> Served:
    return cluster(*SUBTREES)


def test_the_case_of_the_question_is_the_clients(served: Served) -> None:
    for qname in (WEB, "nope.shop.svc.cluster.local", "cluster.local", "1.0.0.10.in-addr.arpa", "www.example.org"):
        for text in (qname, qname.upper(), mixed_case(qname), qname):
            reply = served.dig(text)
            assert reply.wire[12 : 12 + len(text) + 2] == from_text(text)
            assert all(line.startswith(f"{text}. ") for line in reply.answer)


def test_case_and_id_do_not_make_another_kept_reply(served: Served) -> None:
    for ident, text in enumerate((WEB, WEB.upper(), mixed_case(WEB))):
        served.dig(text, ident=ident)
    assert served.kept == 1


@pytest.mark.parametrize("flags", [0, RD, CD, AD, RD | AD, RD | AD | CD, 0x0040, 0x0200, 0x0041, 0x4B00 & 0x07FF])
def test_flags_are_answered_as_if_nothing_were_kept(served: Served, flags: int) -> None:
    for other in (0, RD, CD, AD, RD | AD, 0x0061, 0x0041):
        served.dig(WEB, flags=other)
        served.dig("nope.cluster.local", flags=other)
    for qname in (WEB, "nope.cluster.local"):
        assert same(served.dig(qname, flags=flags), cluster(*SUBTREES).dig(qname, flags=flags))


@pytest.mark.parametrize(("one", "other"), [(65, 97), (0x4101, 0x6101), (0x0142, 0x0162), (90, 122)])
def test_types_that_fold_to_one_another_do_not_share_a_reply(served: Served, one: int, other: int) -> None:
    """Type 65, HTTPS, is the octet "A", and 97 is "a"."""
    for qname in (WEB, "in.shop.svc.cluster.local", "nope.cluster.local"):
        for _ in range(2):
            for qtype in (one, other):
                reply = served.dig(qname, qtype)
                assert reply.message.question[0].rdtype == qtype
                assert same(reply, cluster(*SUBTREES).dig(qname, qtype))


@pytest.mark.parametrize(("one", "other"), [(0x0241, 0x0261), (0x0441, 0x0461), (0x0358, 0x0378), (0x0558, 0x0578)])
def test_payload_sizes_that_fold_to_one_another_do_not_share_a_reply(one: int, other: int) -> None:
    served = cluster(*SUBTREES, bufsize=4096)
    for size in (one, other, one, other):
        reply = served.dig("crowd.shop.svc.cluster.local", edns=opt(size))
        fresh = cluster(*SUBTREES, bufsize=4096).dig("crowd.shop.svc.cluster.local", edns=opt(size))
        assert len(reply.wire) == len(fresh.wire) <= size


@pytest.mark.parametrize("edns", [b"", opt(0x0578), opt(0x0241), opt(1232)])
@pytest.mark.parametrize("qtype", [1, 65, 97])
def test_a_kept_reply_is_never_given_to_a_query_with_junk_behind_it(served: Served, edns: bytes, qtype: int) -> None:
    octets = query(WEB, qtype, edns=edns)
    for table in (served.responder.table, served.responder.table):
        served.ask(octets, table is served.responder.table)
        for key in list(table.current):
            reply = served.ask(octets[:2] + key + b"\0" * (len(key) < 30), table is served.responder.table)
            if len(key) != len(octets) - 2:
                assert reply is not None
                assert reply[3] & 15 == 1, "FORMERR"


def test_only_replies_that_can_be_asked_for_again_are_kept() -> None:
    served = cluster(*SUBTREES, pod_names=PodNames.INSECURE)
    for at in range(100):
        served.dig(f"10-0-0-{at}.shop.pod.cluster.local")
        served.dig(f"name-{at}.cluster.local")
        served.dig(f"name-{at}.shop.svc.cluster.local", edns=opt())
        served.dig(f"{at}.9.9.10.in-addr.arpa", "PTR")
        served.dig("www.example.org", at)
        served.dig(WEB, qclass=at + 2)
        served.dig("dangling.shop.svc.cluster.local", flags=RD | (at & 1) * CD)
    assert served.kept == 0
    assert len(served.responder.table.denials) < 30


# Rotation


@pytest.mark.parametrize("edns", [b"", opt(), opt(options=option(COOKIE, bytes(8)))])
@pytest.mark.parametrize("tcp", [False, True])
def test_over_ten_thousand_answers_every_address_is_first_equally_often(
    served: Served, edns: bytes, tcp: bool
) -> None:
    octets = query("db.shop.svc.cluster.local", edns=edns)
    firsts: Counter[bytes] = Counter()
    for _ in range(10_000):
        reply = served.ask(octets, tcp)
        assert reply is not None
        firsts[reply[len(octets) - len(edns) + 12 :][:4]] += 1
    assert set(firsts) == {bytes([10, 1, 0, at]) for at in (1, 2, 3)}
    assert max(firsts.values()) - min(firsts.values()) <= 1


def test_clients_that_ask_in_turn_for_two_types_meet_all_addresses(served: Served) -> None:
    """A rotation belongs to one kept reply: asking AAAA in between does not skip addresses."""
    firsts: Counter[str] = Counter()
    for _ in range(30):
        firsts[served.dig("db.shop.svc.cluster.local").rdata[0]] += 1
        served.dig("db.shop.svc.cluster.local", "AAAA")
    assert set(firsts.values()) == {10}
