"""kdns.answer.outside: replies from outside that are kept, age, are asked for again, and go."""

from __future__ import annotations

from random import Random

import msgspec
import pytest

from kdns.answer.outside import DUE_AT_ONCE, KEPT_OUTSIDE, Outside, Pending
from kdns.answer.steps import _complete
from kdns.answer.table import ReplyTable
from kdns.observe.families import KDNS_RESPONSES
from kdns.wire.outside import Purpose, Source
from tests.support.engines import Served, image
from tests.support.forwarding import answering, forwarding, telling
from tests.support.messages import AD, CD, COOKIE, DO, RD, Answer, opt, option, query, question
from tests.support.shop import SUBTREES, WEB

WWW = "www.example.net"
ANSWER = f"{WWW}. 300 A 192.0.2.80"
NOW = 1000


@pytest.fixture
def served() -> Served:
    served = forwarding(*SUBTREES)
    served.engine.tick(NOW)
    return served


def keep(served: Served, octets: bytes, keep: int = 60, *answer: str, tcp: bool = False, **rest: object) -> Answer:
    """Ask, be told, and keep the reply."""
    return Answer(telling(served.pend(octets, tcp), *(answer or (ANSWER,)), keep=keep, **rest))


def is_kept(served: Served, octets: bytes, tcp: bool = False) -> bool:
    return isinstance(served.responder.respond(octets, (b"\x7f\0\0\1", 1), tcp), bytes)


def test_what_is_told_to_be_kept_answers_the_next_query(served: Served) -> None:
    first = keep(served, query(WWW))
    again = served.dig(WWW, ident=7)
    assert (again.ident, again.answer, again.flags) == (7, first.answer, first.flags)
    assert served.kept == 1


def test_what_is_told_not_to_be_kept_is_asked_again(served: Served) -> None:
    keep(served, query(WWW), 0)
    served.pend(query(WWW))
    assert served.kept == 0


def test_one_kept_reply_serves_all_common_forms(served: Served) -> None:
    keep(served, query(WWW))
    for edns in (b"", opt(512), opt(4096), opt(options=option(COOKIE, b"ABCDabcd"))):
        for flags in (RD, RD | AD):
            for tcp in (False, True):
                assert served.dig(WWW.upper(), edns=edns, flags=flags, tcp=tcp).has_edns is bool(edns)


@pytest.mark.parametrize("flags", [0, RD, CD, RD | CD])
@pytest.mark.parametrize("dnssec_ok", [False, True])
def test_do_and_cd_have_replies_of_their_own(served: Served, flags: int, dnssec_ok: bool) -> None:
    edns = opt(flags=DO if dnssec_ok else 0)
    keep(served, query(WWW, flags=flags, edns=edns))
    for other in (0, RD, CD, RD | CD):
        for ok in (False, True):
            kept = is_kept(served, query(WWW, flags=other, edns=opt(flags=DO if ok else 0)))
            assert kept is ((other, ok) == (flags, dnssec_ok))


@pytest.mark.parametrize("asked", [RD, RD | AD])
def test_an_authenticated_answer_is_kept_for_do_only(served: Served, asked: int) -> None:
    """Queries with and without AD share a reply, and only one of them may see the bit."""
    keep(served, query(WWW, flags=asked), flags="QR RD RA AD")
    assert not is_kept(served, query(WWW, flags=asked))
    keep(served, query(WWW, flags=asked, edns=opt(flags=DO)), flags="QR RD RA AD")
    for flags in (RD, RD | AD):
        assert "AD" in served.dig(WWW, flags=flags, edns=opt(flags=DO)).flags


def test_a_long_reply_is_kept_for_its_form_alone(served: Served) -> None:
    many = [f"{WWW}. 60 A 10.0.0.{at}" for at in range(60)]
    keep(served, query(WWW, edns=opt()), 60, *many)
    assert len(served.dig(WWW, edns=opt()).answer) == 60
    served.pend(query(WWW))
    cut = keep(served, query(WWW), 60, *many)
    assert "TC" in cut.flags
    assert sorted(served.dig(WWW).answer) == sorted(cut.answer)
    served.pend(query(WWW), tcp=True)


@pytest.mark.parametrize("qtype", ["A", "HTTPS", "TYPE97", "TXT"])
def test_types_that_fold_to_one_another_do_not_share_a_reply(served: Served, qtype: str) -> None:
    keep(served, query(WWW, qtype), 60, f"{WWW}. 60 CNAME x.")
    for other in (1, 65, 97, 16):
        octets = query(WWW, other)
        if is_kept(served, octets):
            assert Answer(served.ask(octets) or b"").message.question[0].rdtype == other


def test_types_without_a_name_are_not_kept(served: Served) -> None:
    keep(served, query(WWW, 65280), 60, f"{WWW}. 60 CNAME x.")
    assert served.kept == 0


def test_made_up_names_do_not_fill_the_table(served: Served) -> None:
    """A denial is kept once the forwarder has it from its cache: it has been asked for before."""
    soa = ["example.net. 60 SOA a. b. 1 2 3 4 60"]
    denial = {"rcode": "NXDOMAIN", "authority": soa}
    assert Answer(telling(served.pend(query(WWW)), keep=60, **denial)).rcode == "NXDOMAIN"
    assert served.kept == 0
    telling(served.pend(query(WWW)), keep=60, source=Source.CACHE_DENIAL, **denial)
    assert (served.dig(WWW).rcode, served.dig(WWW).soa) == ("NXDOMAIN", "example.net. 60 1 60")


# Ageing


def test_ttls_count_down_each_by_itself(served: Served) -> None:
    lines = [f"{WWW}. 300 CNAME a.test.", "a.test. 7 A 192.0.2.1", "a.test. 0 A 192.0.2.2"]
    keep(served, query(WWW), 5, *lines)
    for seconds in range(5):
        served.engine.tick(NOW + seconds)
        for edns in (b"", opt()):
            ttls = [int(line.split()[1]) for line in served.dig(WWW, edns=edns).answer]
            assert ttls == [300 - seconds, 7 - seconds, 0]


def test_it_is_gone_when_it_has_expired(served: Served) -> None:
    keep(served, query(WWW), 5)
    served.engine.tick(NOW + 4)
    assert is_kept(served, query(WWW))
    served.engine.tick(NOW + 5)
    assert not is_kept(served, query(WWW))
    assert served.kept == 0


def test_the_newer_reply_stays_when_the_older_would_expire(served: Served) -> None:
    first, second = served.pend(query(WWW)), served.pend(query(WWW))
    telling(first, ANSWER, keep=5)
    telling(second, f"{WWW}. 9 A 192.0.2.9", keep=9)
    served.engine.tick(NOW + 5)
    assert served.dig(WWW).answer == [f"{WWW}. 4 A 192.0.2.9"]
    served.engine.tick(NOW + 9)
    assert served.kept == 0


def test_one_tick_has_a_bound_and_says_that_more_is_due(served: Served) -> None:
    for at in range(2 * DUE_AT_ONCE + 1):
        keep(served, query(f"h{at}.test"), 3, f"h{at}.test. 9 A 192.0.2.1")
    left = []
    while served.kept:
        served.engine.tick(NOW + 3)
        left.append((served.kept, served.engine.is_behind))
    assert left == [(DUE_AT_ONCE + 1, True), (1, True), (0, False)]


def _keep_in(served: Served, table: ReplyTable, limit: int) -> None:
    responder = served.responder
    steps = responder._steps
    outside = Outside(table, _complete, responder._replier.cell, pytest.fail, steps._settle_later, limit)
    responder.table = responder._replier._table = table
    responder._outside = steps.outside = outside


def test_the_one_that_expires_first_goes_when_there_are_too_many() -> None:
    served = forwarding(*SUBTREES)
    served.dig(WEB)
    _keep_in(served, served.responder.table, 3)
    for at, seconds in enumerate((50, 10, 30, 40, 20)):
        keep(served, query(f"h{at}.test"), seconds, f"h{at}.test. 99 A 192.0.2.1")
    assert [is_kept(served, query(f"h{at}.test")) for at in range(5)] == [True, False, False, True, True]
    assert is_kept(served, query(WEB))


def test_hits_are_counted_as_replies(served: Served) -> None:
    keep(served, query(WWW))
    for _ in range(3):
        served.dig(WWW)
    assert served.counting.replies == {("udp", "A", "NOERROR"): 4}


def test_a_reply_from_the_previous_generation_is_dropped_too() -> None:
    table = ReplyTable(1)
    served = forwarding(*SUBTREES)
    _keep_in(served, table, KEPT_OUTSIDE)
    keep(served, query("a.test"), 3, "a.test. 9 A 192.0.2.1")
    keep(served, query("b.test"), 3, "b.test. 9 A 192.0.2.1")
    assert len(table) == 2
    served.engine.tick(3)
    assert len(table) == 0


# Rotation


def test_addresses_take_turns_in_being_first(served: Served) -> None:
    lines = [f"{WWW}. 60 CNAME a.{WWW}.", *(f"a.{WWW}. 60 A 192.0.2.{at}" for at in range(1, 4))]
    additional = [f"a.{WWW}. 60 TXT x"]
    replies = [keep(served, query(WWW), 60, *lines, additional=additional)]
    for second in range(1, 9):
        served.engine.tick(NOW + second)
        replies.append(served.dig(WWW, edns=opt() if second % 2 else b""))
    assert [reply.rdata[0] for reply in replies] == [f"a.{WWW}."] * 9
    assert replies[0].rdata[1:] == ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
    assert [reply.rdata[1] for reply in replies] == ["192.0.2.1", "192.0.2.2", "192.0.2.3"] * 3
    assert {frozenset(reply.rdata) for reply in replies} == {frozenset(replies[0].rdata)}
    assert {tuple(line.split()[1] for line in replies[5].answer)} == {("55",) * 4}
    assert replies[5].additional == [f'a.{WWW}. 55 TXT "x"']


@pytest.mark.parametrize("lines", [
    [f"{WWW}. 60 A 192.0.2.1"],
    [f"{WWW}. 60 A 192.0.2.1", f"{WWW}. 61 A 192.0.2.2"],
    [f"{WWW}. 60 A 192.0.2.1", f"a.{WWW}. 60 A 192.0.2.2"],
    [f"{WWW}. 60 AAAA ::1", f"{WWW}. 60 A 192.0.2.2"],
    [f"{WWW}. 60 A 192.0.2.1", f"{WWW}. 60 A 192.0.2.2", f"{WWW}. 60 TXT x"],
    [f"{WWW}. 60 MX 1 a.", f"{WWW}. 60 MX 1 b."],
    [f"{WWW}. 60 TYPE65280 \\# 4 C0000201", f"{WWW}. 60 TYPE65280 \\# 4 C0000202"],
])
def test_what_differs_in_more_than_the_address_keeps_its_order(served: Served, lines: list[str]) -> None:
    keep(served, query(WWW), 60, *lines)
    assert len({tuple(served.dig(WWW).rdata) for _ in range(4)}) == 1


# Asking again


def prefetching(
    served: Served, hits: int, wanted: int = 3, seconds: int = 100, gap: int = 99, left: int = 10
) -> None:
    keep(served, query(WWW), seconds, prefetch_hits=wanted, prefetch_gap=gap, prefetch_left=left)
    for _ in range(hits - 1):  # the first one was the reply that was waited for
        served.dig(WWW)


def asked_at(served: Served, *times: int) -> list[Pending]:
    """A query at each of these times, and what is to be asked again for it a second later."""
    again: list[Pending] = []
    for at in times:
        again += served.engine.tick(NOW + at)
        served.dig(WWW)
    return again + served.engine.tick(NOW + times[-1] + 1)


def test_what_is_asked_for_often_is_asked_again_before_it_expires(served: Served) -> None:
    prefetching(served, 2)
    assert asked_at(served, 50, 89) == []
    [again] = asked_at(served, 90)
    assert (again.ask.question, again.ask.purpose) == (question(WWW), Purpose.PREFETCH)
    assert again.finish(answering(again.ask, f"{WWW}. 200 A 192.0.2.81", keep=200)) == b""
    assert served.dig(WWW).answer == [f"{WWW}. 200 A 192.0.2.81"]
    served.engine.tick(NOW + 101)
    assert served.dig(WWW).answer == [f"{WWW}. 190 A 192.0.2.81"]


@pytest.mark.parametrize(("left", "first"), [(10, 90), (50, 50), (90, 10), (1, 98)])
def test_it_is_asked_again_when_the_share_that_is_configured_is_left(served: Served, left: int, first: int) -> None:
    prefetching(served, 3, left=left)
    found = [at for at in range(1, 100) if asked_at(served, at)]
    assert found == [first]


@pytest.mark.parametrize(("times", "is_asked"), [((4, 7, 10, 90), False), ((3, 6, 9), False), ((84, 87, 90), True)])
def test_a_gap_that_is_too_long_starts_the_count_again(
    served: Served, times: tuple[int, ...], is_asked: bool
) -> None:
    prefetching(served, 5, gap=3)
    assert bool(asked_at(served, *times)) is is_asked


def test_silence_is_not_followed_by_a_prefetch(served: Served) -> None:
    prefetching(served, 5)
    assert [pending for at in range(101) for pending in served.engine.tick(NOW + at)] == []


def test_what_was_asked_again_goes_on_with_its_hits(served: Served) -> None:
    prefetching(served, 3)
    [again] = asked_at(served, 90)
    again.finish(answering(again.ask, ANSWER, keep=100, prefetch_hits=5, prefetch_gap=99, prefetch_left=10))
    assert len(asked_at(served, 181)) == 1


def test_a_prefetch_is_not_counted_as_a_reply(served: Served) -> None:
    prefetching(served, 3)
    [again] = asked_at(served, 90)
    before = served.counting.total(KDNS_RESPONSES)
    again.finish(answering(again.ask, ANSWER, keep=200))
    assert served.counting.total(KDNS_RESPONSES) == before


@pytest.mark.parametrize(("hits", "wanted", "seconds"), [(1, 3, 100), (9, 0, 100), (9, 3, 2)])
def test_what_is_asked_for_seldom_or_lives_too_short_is_not(
    served: Served, hits: int, wanted: int, seconds: int
) -> None:
    prefetching(served, hits, wanted, seconds)
    assert asked_at(served, seconds - 1) == []
    assert served.kept == 0


def test_it_is_asked_again_once(served: Served) -> None:
    prefetching(served, 5)
    assert len(asked_at(served, *range(90, 100))) == 1


def test_a_failed_prefetch_leaves_what_is_kept(served: Served) -> None:
    prefetching(served, 5)
    [again] = asked_at(served, 90)
    again.finish(answering(again.ask, rcode="SERVFAIL", source=Source.FAILURE, keep=5))
    assert served.dig(WWW).answer == [f"{WWW}. 209 A 192.0.2.80"]


def test_nothing_that_has_gone_is_asked_again(served: Served) -> None:
    prefetching(served, 5)
    served.engine.tick(NOW + 90)
    served.dig(WWW)
    served.publish([image(*SUBTREES)])
    assert served.engine.tick(NOW + 91) == []


# Changes of the zones


def test_nothing_survives_a_publication(served: Served) -> None:
    keep(served, query(WWW))
    served.publish([image(*SUBTREES)])
    assert not is_kept(served, query(WWW))


def test_what_is_told_after_a_publication_is_not_kept(served: Served) -> None:
    pending = served.pend(query(WWW))
    served.publish([image(*SUBTREES)])
    assert Answer(telling(pending, ANSWER, keep=60)).answer == [ANSWER]
    assert served.kept == 0


def test_changes_of_the_cluster_leave_it(served: Served) -> None:
    keep(served, query(WWW))
    served.apply(removed=[SUBTREES[0].owner])
    assert served.dig(WWW).answer == [ANSWER]


def test_what_a_cluster_passes_on_is_not_kept() -> None:
    """The name may turn up there with the next change."""
    served = forwarding(*SUBTREES)
    keep(served, query("9.9.9.9.in-addr.arpa", "PTR"), 60, "9.9.9.9.in-addr.arpa. 60 PTR dns9.test.")
    assert served.kept == 0


def test_the_bounds_are_below_those_of_the_table() -> None:
    """Or replies from outside would push out replies to cluster names."""
    assert ReplyTable().size > 4 * KEPT_OUTSIDE


def test_a_random_history_keeps_only_what_is_told_and_has_not_expired() -> None:
    served, rng = forwarding(*SUBTREES), Random(7)
    expires: dict[str, tuple[int, int]] = {}
    for now in range(1, 300):
        while True:
            served.engine.tick(now)
            if not served.engine.is_behind:
                break
        name = f"h{rng.randrange(12)}.test"
        reply = served.responder.respond(query(name), (b"\x7f\0\0\1", 1), False)
        if isinstance(reply, Pending):
            assert now >= expires.get(name, (0, 0))[1]
            seconds = rng.choice((0, 1, 2, 5, 20))
            ttl = seconds + rng.randrange(3)
            telling(reply, f"{name}. {ttl} A 192.0.2.1", keep=seconds, prefetch_hits=rng.choice((0, 1)))
            expires[name] = now + ttl, now + seconds
        else:
            until, end = expires[name]
            assert now < end
            assert reply is not None
            assert Answer(reply).answer == [f"{name}. {until - now} A 192.0.2.1"]


def test_ttls_that_stay_are_told_as_they_came(served: Served) -> None:
    pending = served.pend(query(WWW))
    pending.finish(msgspec.structs.replace(answering(pending.ask, ANSWER, keep=60), keeps_ttls=True))
    served.engine.tick(NOW + 50)
    assert "300" in str(served.dig(WWW).answer)
    served.engine.tick(NOW + 60)
    served.pend(query(WWW))
