"""Whoever asks, however: a cookie for a cookie, no reply larger than may be, nothing for who is not to have it."""

from __future__ import annotations

import dns.message
from hypothesis import given
from hypothesis import strategies as st

from kdns.answer.acl import REPLIES, AclAction
from kdns.answer.form import form_with_cookie
from kdns.wire.cookie import CLIENT_OCTETS
from kdns.wire.query import find_option, parse_query
from tests.support.guarding import (
    CLIENT,
    CROWD,
    DB,
    NOBODY,
    OTHER,
    OUTSIDE,
    SECRET,
    WEB,
    Guarded,
    against,
    cookie_of,
    ede_of,
    has_cookie,
)
from tests.support.messages import COOKIE, Answer, message, opt, option, query, question

LONG = ".".join(["q" * 63] * 3 + ["r" * 40, "example.org"])
NAMES = st.sampled_from((
    WEB, WEB.upper(), DB, CROWD, NOBODY, OUTSIDE, LONG, "example.org", "www.example.org", "a.sub.example.org",
    "svc.cluster.local", ".", "version.bind", "1.0.0.10.in-addr.arpa",
))
QTYPES = st.sampled_from([1, 1, 1, 28, 33, 16, 2, 6, 12, 65, 252, 255, 41, 0, 65280])
SIZES = st.sampled_from([0, 511, 512, 513, 600, 1220, 1232, 1410, 4096, 65535])
COOKIES = st.binary(min_size=8, max_size=8) | st.binary(min_size=16, max_size=40) | st.just(b"c" * 24)
OTHERS = st.lists(st.sampled_from((option(3, b""), option(12, bytes(9)), option(8, b"\0\1\0\0"), option(3, b""))),
                  max_size=2).map(b"".join)
FLAGS = st.sampled_from([0x0100, 0x0100, 0x0120, 0, 0x0110])
CLIENTS = st.sampled_from([CLIENT, OTHER, bytes(15) + b"\1", bytes(10) + b"\xff\xff" + CLIENT])


@st.composite
def with_a_cookie(draw: st.DrawFn) -> bytes:
    """A query with a well-formed cookie: sound, or with a mistake elsewhere; and often in a common form."""
    options = draw(st.just(b"") | OTHERS) + option(COOKIE, draw(COOKIES)) + draw(st.just(b"") | OTHERS)
    edns = opt(draw(SIZES), options, draw(st.sampled_from([0, 0, 0, 1])), draw(st.sampled_from([0, 0x8000])))
    sound = query(draw(NAMES), draw(QTYPES), edns=edns, flags=draw(FLAGS), qclass=draw(st.sampled_from([1, 1, 3])))
    return draw(st.sampled_from((
        sound, sound, sound, sound + b"x", message(edns, (0, 0, 0, 1)), message(edns, (0, 0, 0, 1), 0x2800),
        message(question(WEB) * 2 + edns, (2, 0, 0, 1)), sound[:2] + b"\x28" + sound[3:],
    )))


@given(with_a_cookie())
def test_a_form_that_is_known_without_parsing_has_the_cookie_that_parsing_finds(octets: bytes) -> None:
    form, found = form_with_cookie(octets[2:]), parse_query(octets)
    assert found is not None
    if form is not None and found.rcode == 0:
        assert found.edns is not None
        question_sent, payload, cookie = form
        assert (question_sent, payload) == (octets[12 : found.end], found.edns.payload_octets)
        assert cookie == find_option(found.edns.options, COOKIE)


def limit(octets: bytes, tcp: bool, bufsize: int) -> int:
    found = parse_query(octets)
    assert found is not None
    if tcp:
        return 65535
    return min(bufsize, found.edns.payload_octets) if found.edns else 512


@given(
    st.lists(st.tuples(with_a_cookie(), CLIENTS, st.booleans()), min_size=1, max_size=12),
    st.sampled_from([512, 1232, 4096]), st.sampled_from([b"", b"n" * 128]), st.sampled_from([0, 0, 3]),
    st.sampled_from([(), against(AclAction.BLOCK, "198.51.100.0/24"), against(AclAction.FILTER, "198.51.100.0/24")]),
)
def test_every_reply_to_a_cookie_has_one_and_fits(
    asked: list[tuple[bytes, bytes, bool]], bufsize: int, nsid: bytes, rate: int, acl: tuple[()]
) -> None:
    one = Guarded(secret=SECRET, bufsize=bufsize, nsid=nsid, rate=rate, acl=acl)
    for octets, client, tcp in asked * 2:
        wire = one.ask(octets, client, tcp)
        if wire is None:
            assert rate
            continue
        assert len(wire) <= limit(octets, tcp, bufsize)
        dns.message.from_wire(wire)
        found = parse_query(octets)
        assert found is not None
        assert found.edns is not None
        cookie = cookie_of(Answer(wire))
        assert option(COOKIE, cookie[:CLIENT_OCTETS])[4:] in found.edns.options
        before = one.count("cookie_good")
        again = one.dig(query(WEB, edns=opt(options=option(COOKIE, cookie))), client)
        assert cookie_of(again) == cookie
        assert one.count("cookie_good") == before + 1


@given(st.lists(st.tuples(NAMES, QTYPES, SIZES, CLIENTS, st.booleans(), st.booleans()), min_size=1, max_size=20))
def test_who_sends_no_cookie_gets_none_and_a_reply_that_fits(
    asked: list[tuple[str, int, int, bytes, bool, bool]]
) -> None:
    one = Guarded(secret=SECRET)
    for name, qtype, size, client, tcp, has_edns in asked:
        one.ask(query(name, qtype, edns=opt(size, option(COOKIE, bytes(8)))), client, tcp)
        octets = query(name, qtype, edns=opt(size) if has_edns else b"")
        reply = one.dig(octets, client, tcp)
        assert not has_cookie(reply)
        assert len(reply.wire) <= limit(octets, tcp, 1232)


@given(
    st.lists(st.tuples(NAMES, QTYPES, OTHERS, SIZES, st.booleans(), st.booleans()), min_size=1, max_size=20),
    st.sampled_from([AclAction.BLOCK, AclAction.FILTER, AclAction.DROP]),
)
def test_who_is_not_to_have_it_never_gets_data_whatever_was_kept_for_others(
    asked: list[tuple[str, int, bytes, int, bool, bool]], action: AclAction
) -> None:
    one = Guarded(acl=against(action, "192.0.2.0/24"))
    for name, qtype, options, size, tcp, has_edns in asked:
        octets = query(name, qtype, edns=opt(size, options) if has_edns else b"")
        for _ in range(2):
            one.ask(octets, OTHER, tcp)
        wire = one.ask(octets, CLIENT, tcp)
        if action is AclAction.DROP:
            assert wire is None
            continue
        rcode, code, _ = REPLIES[action]
        reply = Answer(wire or b"")
        assert (reply.message.rcode(), reply.counts[1:3]) == (rcode, (0, 0))
        assert not reply.additional
        assert ede_of(reply) == (code if has_edns else None)


@given(st.binary(max_size=80), st.booleans())
def test_any_octets_are_answered_as_without_a_guard(octets: bytes, tcp: bool) -> None:
    """As far as the guard has no say in it."""
    for whole in (octets, message(octets), query(WEB, edns=octets[:20])):
        plain, guarded = Guarded().ask(whole, tcp=tcp), Guarded(nsid=b"me", rate=1000).ask(whole, tcp=tcp)
        assert (plain is None) is (guarded is None)
        if plain is not None and guarded is not None:
            assert (plain[:12], len(plain)) == (guarded[:12], len(guarded))
