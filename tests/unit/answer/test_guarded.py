"""A responder with a guard: nothing is sent before it was asked, and every reply has what its client is due."""

from __future__ import annotations

import dns.edns
import dns.flags
import pytest

from kdns.answer.acl import AclSpec
from kdns.answer.guard import Counted, Guard, counted
from kdns.answer.guarded import GuardedResponder
from kdns.answer.outside import Pending
from kdns.answer.responder import Responder
from kdns.observe.families import DROPPED
from kdns.wire.name import from_text
from kdns.wire.rules import AclAction
from tests.support.forwarding import SHED
from tests.support.guarding import (
    CLIENT,
    CROWD,
    DB,
    HALF,
    NOBODY,
    ORG,
    OTHER,
    OUTSIDE,
    SECRET,
    WEB,
    Guarded,
    against,
    cookie_of,
    ede_of,
    has_cookie,
    rule,
    with_cookie,
)
from tests.support.messages import ANY, COOKIE, DO, A, Answer, message, opt, option, query, question

ALLOW, BLOCK, FILTER, DROP = AclAction.ALLOW, AclAction.BLOCK, AclAction.FILTER, AclAction.DROP
MINE = "192.0.2.0/24"
NSID = 3
NAMES = (WEB, DB, NOBODY, "svc.cluster.local", "www.example.org", "nope.example.org", OUTSIDE)
FORMS = (
    b"", opt(), opt(options=option(COOKIE, HALF)), opt(options=option(COOKIE, HALF + bytes(16))), opt(flags=DO),
    opt(4096, option(NSID, b"")), opt(512),
)  # fmt: skip


# Who is guarded


def test_without_a_guard_the_responder_is_the_plain_one() -> None:
    one = Guarded()
    assert type(one.responder) is Responder
    assert one.responder.has_short_cut


@pytest.mark.parametrize(("one", "has_short_cut"), [
    (Guarded(secret=SECRET), False), (Guarded(rate=1), False), (Guarded(acl=against(BLOCK, MINE)), False),
    (Guarded(nsid=b"me"), True),
])
def test_the_short_cut_for_kept_replies_is_open_where_nothing_has_to_be_asked_first(
    one: Guarded, has_short_cut: bool
) -> None:
    assert isinstance(one.responder, GuardedResponder)
    assert one.responder.has_short_cut is has_short_cut


# acl


@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("action", "rcode", "ede"), [(BLOCK, "REFUSED", 15), (FILTER, "NOERROR", 17)])
def test_who_is_blocked_or_filtered_gets_nothing_of_what_is_kept(
    action: AclAction, rcode: str, ede: int, form: bytes, tcp: bool
) -> None:
    one = Guarded(acl=against(action, MINE))
    for at, qname in enumerate(NAMES):
        for other in FORMS:
            one.ask(query(qname, edns=other), OTHER, tcp)
        reply = one.dig(query(qname, edns=form), CLIENT, tcp)
        assert (reply.rcode, reply.counts[1:]) == (rcode, (0, 0, bool(form)))
        assert ede_of(reply) == (ede if form else None)
        assert one.count(action.value) == at + 1
    assert one.count("allow") == len(NAMES) * len(FORMS)


@pytest.mark.parametrize("tcp", [False, True])
def test_who_is_dropped_hears_nothing_and_is_counted(tcp: bool) -> None:
    one = Guarded(acl=against(DROP, MINE), secret=SECRET)
    for qname in NAMES:
        one.ask(query(qname), OTHER, tcp)
        for form in FORMS:
            assert one.ask(query(qname, edns=form), CLIENT, tcp) is None
    assert one.count("drop") == len(NAMES) * len(FORMS)
    assert one.served.counting.total(DROPPED) == 0


def test_acl_comes_before_any_and_before_what_is_for_outside() -> None:
    one = Guarded(acl=against(BLOCK, MINE))
    assert one.dig(query("www.example.org", "ANY")).rcode == "REFUSED"
    assert one.dig(query("www.example.org", "AXFR"), tcp=True).rcode == "REFUSED"
    assert not isinstance(one.outcome(query(OUTSIDE)), Pending)
    assert isinstance(one.outcome(query(OUTSIDE), OTHER), Pending)


def test_acl_comes_before_the_data_are_there() -> None:
    one = Guarded(acl=against(BLOCK, MINE))
    one.responder.ready = False
    assert one.dig(query(WEB)).rcode == "REFUSED"
    assert one.dig(query(WEB), OTHER).rcode == "SERVFAIL"


def test_acl_is_for_its_zones_and_types() -> None:
    one = Guarded(acl=against(BLOCK, zone=ORG, types=(A,)))
    assert one.dig(query("www.example.org")).rcode == "REFUSED"
    assert one.dig(query("mx.example.org", "MX")).rcode == "NOERROR"
    assert one.dig(query(WEB)).rcode == "NOERROR"
    assert (one.count("block", ORG), one.count("allow")) == (1, 2)


def test_an_ipv4_mapped_address_is_an_ipv4_client() -> None:
    one = Guarded(acl=against(BLOCK, MINE))
    assert one.dig(query(WEB), bytes(10) + b"\xff\xff" + CLIENT).rcode == "REFUSED"


def test_malformed_queries_are_answered_as_such_for_they_are_for_no_name() -> None:
    one = Guarded(acl=against(BLOCK))
    assert one.dig(query(WEB) + b"x").rcode == "FORMERR"
    assert one.dig(query(WEB, edns=opt(version=1))).rcode == "BADVERS"
    assert one.ask(b"x") is None
    assert one.served.counting.total(DROPPED) == 1


def test_what_is_counted_is_known_from_the_configuration_alone() -> None:
    net = from_text("example.net")
    lines = (AclSpec((ORG, net), (rule(BLOCK),)), AclSpec((ORG,), (rule(DROP),)))
    one = Guarded(acl=lines)
    assert isinstance(one.responder, GuardedResponder)
    guard = one.responder.guard
    assert guard.counted == counted([ORG, net] for _ in range(1))
    actions = ("block", "filter", "drop")
    assert guard.counted[-6:] == tuple(Counted(what, zone) for zone in (ORG, net) for what in actions)
    one.ask(query("www.example.org"))
    one.ask(query("example.net"))
    assert (one.count("block", ORG), one.count("block", net), sum(guard.counts)) == (1, 1, 2)


# Cookies


@pytest.mark.parametrize("tcp", [False, True])
def test_every_reply_kept_or_not_has_the_cookie_of_its_client(tcp: bool) -> None:
    one = Guarded(secret=SECRET)
    for qname in (*NAMES, "who.else.test", CROWD):
        for qtype in ("A", "TXT", "ANY", "AXFR", "TYPE65280"):
            for client in (CLIENT, OTHER) * 2:
                reply = one.dig(query(qname, qtype, edns=with_cookie()), client, tcp)
                assert cookie_of(reply)[:8] == HALF
                again = one.dig(query(qname, qtype, edns=with_cookie(cookie_of(reply))), client, tcp)
                assert cookie_of(again) == cookie_of(reply)
    assert one.count("cookie_bad") == 0
    assert one.count("cookie_good") == one.count("cookie_new") > 100


def test_a_cookie_changes_nothing_else_in_a_reply() -> None:
    one, plain = Guarded(secret=SECRET), Guarded()
    for qname in (WEB, NOBODY, "mx.example.org", OUTSIDE):
        ours, theirs = one.dig(query(qname, edns=with_cookie())), plain.dig(query(qname, edns=with_cookie()))
        assert (ours.rcode, ours.flags, ours.counts, ours.answer) == (
            theirs.rcode, theirs.flags, theirs.counts, theirs.answer)
        assert (ours.authority, ours.additional) == (theirs.authority, theirs.additional)


def test_who_sends_no_cookie_gets_none() -> None:
    one = Guarded(secret=SECRET)
    one.dig(query(WEB, edns=with_cookie()))
    for form in (b"", opt(), opt(options=option(NSID, b"")), opt(options=option(12, bytes(8)))):
        for _ in range(2):
            assert not has_cookie(one.dig(query(WEB, edns=form)))


@pytest.mark.parametrize(("octets", "rcode"), [
    (query(WEB, edns=with_cookie()) + b"x", "FORMERR"),
    (query(WEB, edns=with_cookie() * 2)[:10] + b"\0\2" + question(WEB) + with_cookie() * 2, "FORMERR"),
    (message(question(WEB) * 2 + with_cookie(), (2, 0, 0, 1)), "FORMERR"),
    (message(question(WEB) + question(WEB) + bytes(6) + with_cookie(), (1, 1, 0, 1)), "FORMERR"),
    (query(WEB, edns=with_cookie(version=1)), "BADVERS"),
    (query(WEB, edns=with_cookie(), flags=5 << 11), "NOTIMP"),
    (query(WEB, qclass=3, edns=with_cookie()), "REFUSED"),
])
def test_errors_have_a_cookie_too(octets: bytes, rcode: str) -> None:
    reply = Guarded(secret=SECRET).dig(octets)
    assert reply.rcode == rcode
    assert cookie_of(reply)[:8] == HALF


def test_who_is_refused_by_acl_has_a_cookie_too() -> None:
    for action in (BLOCK, FILTER):
        one = Guarded(secret=SECRET, acl=against(action))
        reply = one.dig(query(WEB, edns=with_cookie()))
        assert (cookie_of(reply)[:8], reply.answer) == (HALF, [])


def test_a_reply_that_was_shed_and_one_made_of_a_failure_have_a_cookie(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Guarded(secret=SECRET)
    pending = one.outcome(query(OUTSIDE, edns=with_cookie()))
    assert isinstance(pending, Pending)
    shed = Answer(pending.finish(SHED))
    assert (shed.rcode, cookie_of(shed)[:8], ede_of(shed)) == ("SERVFAIL", HALF, 23)
    failures: list[Exception] = []
    monkeypatch.setattr(one.responder, "_on_failure", lambda error, _: failures.append(error))
    monkeypatch.setattr(one.responder, "_answer", lambda *_: 1 // 0)
    broken = one.dig(query(WEB, edns=with_cookie()))
    assert (broken.rcode, cookie_of(broken)[:8], len(failures)) == ("SERVFAIL", HALF, 1)


def test_a_guard_that_fails_lets_nothing_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Guarded(acl=against(BLOCK, MINE))
    one.ask(query(WEB), OTHER)
    failures: list[Exception] = []
    monkeypatch.setattr(one.responder, "_on_failure", lambda error, _: failures.append(error))
    monkeypatch.setattr(Guard, "judge", lambda *_: 1 // 0)
    assert one.dig(query(WEB), OTHER).rcode == "SERVFAIL"
    assert one.dig(query(WEB, edns=with_cookie())).rcode == "SERVFAIL"
    assert len(failures) == 2


@pytest.mark.parametrize("octets", [0, 7, 9, 15, 41, 100])
def test_a_malformed_cookie_is_formerr_without_a_cookie(octets: int) -> None:
    one = Guarded(secret=SECRET)
    one.ask(query(WEB, edns=opt()))
    reply = one.dig(query(WEB, edns=with_cookie(bytes(octets))))
    assert (reply.rcode, reply.answer, reply.has_edns, has_cookie(reply)) == ("FORMERR", [], True, False)
    assert reply.question == f"{WEB}. IN A"
    assert one.count("cookie_malformed") == 1


def test_without_cookies_a_malformed_one_is_an_unknown_option() -> None:
    assert Guarded().dig(query(WEB, edns=with_cookie(bytes(7)))).rdata == ["10.0.0.1"]
    assert Guarded(nsid=b"me").dig(query(WEB, edns=with_cookie(bytes(7)))).rdata == ["10.0.0.1"]


def test_a_bad_cookie_is_answered_with_a_new_one_and_without_badcookie() -> None:
    one = Guarded(secret=SECRET)
    for body in (HALF + bytes(16), HALF + bytes(8), HALF + bytes(32)):
        reply = one.dig(query(WEB, edns=with_cookie(body)))
        assert (reply.rcode, reply.rdata, cookie_of(reply)[:8]) == ("NOERROR", ["10.0.0.1"], HALF)
        assert cookie_of(reply) != body
    assert one.count("cookie_bad") == 3


@pytest.mark.parametrize("tcp", [False, True])
def test_a_query_without_a_question_is_answered_with_a_cookie(tcp: bool) -> None:
    """RFC 7873 section 5.4."""
    bare = message(with_cookie(), (0, 0, 0, 1))
    reply = Guarded(secret=SECRET).dig(bare, tcp=tcp)
    assert (reply.rcode, reply.counts, cookie_of(reply)[:8]) == ("NOERROR", (0, 0, 0, 1), HALF)


@pytest.mark.parametrize("bare", [
    message(opt(), (0, 0, 0, 1)), message(b"", (0, 0, 0, 0)), message(with_cookie(bytes(7)), (0, 0, 0, 1)),
    message(with_cookie(version=1), (0, 0, 0, 1)),
])
def test_without_a_sound_cookie_a_query_without_a_question_is_formerr(bare: bytes) -> None:
    assert Guarded(secret=SECRET).dig(bare).rcode == "FORMERR"
    assert Guarded().dig(message(with_cookie(), (0, 0, 0, 1))).rcode == "FORMERR"


def test_a_reply_leaves_room_for_the_cookie_whoever_it_was_kept_for() -> None:
    for bufsize in (512, 1232, 4096):
        for payload in (512, 1232, 4096):
            one = Guarded(secret=SECRET, bufsize=bufsize, nsid=b"n" * 128)
            forms = (b"", opt(payload), with_cookie(payload=payload), with_cookie(HALF + bytes(16), payload))
            for form in forms * 2:
                reply = one.dig(query(CROWD, edns=form))
                assert len(reply.wire) <= (min(payload, bufsize) if form else 512)
                assert reply.answer
            many = one.dig(query(CROWD, edns=forms[2]))
            assert len(many.wire) > min(payload, bufsize) - 16 - 132 or "TC" not in many.flags


# nsid


@pytest.mark.parametrize("tcp", [False, True])
def test_who_asks_for_the_identity_hears_it_in_every_reply(tcp: bool) -> None:
    one = Guarded(nsid=b"eu-west, rack 7", acl=against(BLOCK, zone=from_text("blocked.test")))
    for qname, rcode in ((WEB, "NOERROR"), (NOBODY, "NXDOMAIN"), (OUTSIDE, "NOERROR"), ("blocked.test", "REFUSED")):
        asking = option(NSID, b"")
        for form in (b"", opt(), opt(options=asking), opt(options=asking + option(COOKIE, HALF))):
            for _ in range(2):
                reply = one.dig(query(qname, edns=form), tcp=tcp)
                found = [one for one in reply.message.options if isinstance(one, dns.edns.NSIDOption)]
                assert reply.rcode == rcode
                assert [one.nsid for one in found] == ([b"eu-west, rack 7"] if len(form) > 11 else [])


def test_errors_tell_the_identity_too() -> None:
    one = Guarded(nsid=b"me", secret=SECRET)
    for octets in (query(WEB, edns=opt(options=option(NSID, b""))) + b"x",
                   query(WEB, edns=opt(options=option(NSID, b""), version=1)),
                   query(WEB, edns=opt(options=option(NSID, b"") + option(COOKIE, b"")))):
        assert [one.to_wire() for one in one.dig(octets).message.options] == [b"me"]


def test_extended_errors_cookie_and_identity_fit_into_the_smallest_reply() -> None:
    one = Guarded(nsid=b"n" * 128, secret=SECRET, acl=against(BLOCK))
    longest = ".".join(["q" * 63] * 3 + ["r" * 61])
    reply = one.dig(query(longest, edns=opt(512, option(NSID, b"") + option(COOKIE, HALF))))
    assert {int(one.otype) for one in reply.message.options} == {NSID, COOKIE, 15}
    assert len(reply.wire) <= 512


# The rate limit


def flood(one: Guarded, count: int, edns: bytes = b"", client: bytes = CLIENT, tcp: bool = False) -> list[str]:
    """What becomes of queries of one moment."""
    found = []
    for _ in range(count):
        reply = one.ask(query(WEB, edns=edns), client, tcp)
        found.append("-" if reply is None else "TC" if "TC" in Answer(reply).flags else Answer(reply).rdata[0])
    return found


def test_over_the_limit_every_second_reply_sends_to_tcp_and_the_others_are_silence() -> None:
    one = Guarded(rate=3)
    assert flood(one, 7) == ["10.0.0.1"] * 3 + ["TC", "-", "TC", "-"]
    assert (one.count("rrl_slip"), one.count("rrl_drop")) == (2, 2)
    one.clock.now += 1
    assert flood(one, 4) == ["10.0.0.1"] * 3 + ["TC"]


def test_over_tcp_and_with_a_good_cookie_nobody_is_limited() -> None:
    one = Guarded(rate=1, secret=SECRET)
    learned = cookie_of(one.dig(query(WEB, edns=with_cookie())))
    assert flood(one, 3, with_cookie(learned)) == ["10.0.0.1"] * 3
    assert flood(one, 3, tcp=True) == ["10.0.0.1"] * 3
    assert flood(one, 2, with_cookie()) == ["TC", "-"]
    assert flood(one, 2, with_cookie(learned), client=OTHER) == ["10.0.0.1", "TC"]


def test_a_slipped_reply_is_no_longer_than_the_query_but_for_the_cookie_that_frees_its_client() -> None:
    one = Guarded(rate=1, secret=SECRET)
    for form in (b"", opt(), opt(options=option(12, bytes(20)))):
        flood(one, 3, form)
    for form, more in ((b"", 0), (opt(), 0), (with_cookie(), 16)):
        sent = query(WEB, edns=form, ident=7)
        replies = [reply for reply in (one.ask(sent) for _ in range(2)) if reply]
        assert len(replies) == 1
        assert len(replies[0]) <= len(sent) + more
        reply = Answer(replies[0])
        assert (reply.ident, reply.question, reply.answer) == (7, f"{WEB}. IN A", [])
        assert has_cookie(reply) is bool(more)


def test_the_limit_is_asked_for_errors_refusals_and_names_outside_too() -> None:
    for octets in (query(WEB) + b"x", query("nobody.has.it", qclass=3), query(OUTSIDE), message(b"", (0, 0, 0, 0))):
        one = Guarded(rate=1)
        outcomes = [one.outcome(octets) for _ in range(3)]
        assert outcomes[0] is not None
        assert isinstance(outcomes[1], bytes)
        assert outcomes[2] is None
    one = Guarded(rate=1, acl=against(BLOCK))
    assert [bool(one.ask(query(WEB))) for _ in range(3)] == [True, True, False]


def test_any_is_small_whatever_stands_at_a_name() -> None:
    """RFC 8482: no name makes a reply to ANY over UDP that is much longer than the query."""
    for one in (Guarded(), Guarded(secret=SECRET)):
        for qname in (CROWD, DB, WEB, "example.org", "www.example.org", OUTSIDE):
            for form in (b"", opt(4096)):
                sent = query(qname, ANY, edns=form)
                assert len(one.ask(sent) or b"") <= len(sent) + 21
