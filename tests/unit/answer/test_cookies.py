"""Cookies in replies: what the client hears for what it sent."""

from __future__ import annotations

from typing import Any

import dns.edns
import dns.message
import dns.rcode
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.answer.cookies import COOKIE_ROOM, Cookies, Served, Standing, asks_for_cookie_alone, cookie_reply
from kdns.wire.cookie import MAX_AGE, RENEWAL_AGE, Secrets, server_cookie
from kdns.wire.query import parse_query
from tests.support.messages import COOKIE, message, opt, option, query
from tests.support.subtrees import packed

SECRET, OTHER = b"s" * 16, b"t" * 16
NOW = 1_800_000_000
CLIENT = packed("192.0.2.99")
HALF = b"\x01\x02\x03\x04\x05\x06\x07\x08"
COOKIES = Cookies(Secrets(SECRET))


def asked(body: bytes | None, *others: bytes) -> bytes:
    options = b"".join(others) + (b"" if body is None else option(COOKIE, body))
    return query("www.example.org", edns=opt(options=options))


def serve(body: bytes | None, cookies: Cookies = COOKIES, client: bytes = CLIENT, now: int = NOW) -> Served:
    return cookies.serve(asked(body), client, now)


def told(served: Served) -> bytes:
    """The body of the one cookie in a reply's options, read by dnspython."""
    wire = cookie_reply(message(b"", (0, 0, 0, 0)), served, 1232)
    [found] = dns.message.from_wire(wire).options
    assert isinstance(found, dns.edns.CookieOption)
    return found.client + found.server


def test_a_query_without_a_cookie_gets_none() -> None:
    assert serve(None) == Served(Standing.NONE)
    assert COOKIES.serve(query("www.example.org"), CLIENT, NOW) == Served(Standing.NONE)


def test_the_first_query_learns_a_cookie_that_is_good_from_then_on() -> None:
    first = serve(HALF)
    assert first.standing is Standing.NEW
    again = serve(told(first), now=NOW + 10)
    assert again.standing is Standing.GOOD
    assert told(again) == told(first)


@pytest.mark.parametrize("change", [
    {"client": packed("192.0.2.98")}, {"client": packed("2001:db8::1")}, {"now": NOW + MAX_AGE + 1},
    {"now": NOW - 3600},
    {"cookies": Cookies(Secrets(OTHER))},
])
def test_a_cookie_of_another_client_time_or_secret_is_bad_and_replaced(change: dict[str, Any]) -> None:
    learned = told(serve(HALF))
    served = serve(learned, **change)
    assert served.standing is Standing.BAD
    assert told(served)[:8] == HALF
    assert told(served) != learned


def test_an_old_cookie_is_good_and_renewed() -> None:
    learned = told(serve(HALF))
    later = NOW + RENEWAL_AGE + 1
    served = serve(learned, now=later)
    assert served.standing is Standing.GOOD
    assert told(served) == HALF + server_cookie(SECRET, HALF, CLIENT, later)


def test_a_cookie_of_the_former_secret_is_good_and_renewed() -> None:
    learned = told(serve(HALF))
    served = serve(learned, Cookies(Secrets(OTHER, SECRET)))
    assert served.standing is Standing.GOOD
    assert told(served) == HALF + server_cookie(OTHER, HALF, CLIENT, NOW)


def test_workers_and_replicas_with_one_secret_make_the_same_cookie() -> None:
    assert serve(HALF) == serve(HALF, Cookies(Secrets(SECRET)))


def test_a_cookie_of_another_server_is_bad_whatever_its_length() -> None:
    for octets in (8, 15, 16, 17, 32):
        served = serve(HALF + b"x" * octets)
        assert served.standing is Standing.BAD
        assert len(served.options) == COOKIE_ROOM


@pytest.mark.parametrize("octets", [0, 1, 7, 9, 15, 41, 100])
def test_a_length_that_no_cookie_has_is_formerr_without_a_cookie(octets: int) -> None:
    served = serve(b"x" * octets)
    assert served == Served(Standing.MALFORMED)
    reply = dns.message.from_wire(cookie_reply(message(b"", (0, 0, 0, 0)), served, 1232))
    assert reply.rcode() == dns.rcode.FORMERR
    assert reply.edns == 0
    assert not reply.options


def test_the_first_of_several_cookies_counts() -> None:
    served = COOKIES.serve(asked(b"y" * 8, option(3, b""), option(COOKIE, HALF)), CLIENT, NOW)
    assert told(served)[:8] == HALF


def test_the_room_to_leave_is_what_every_cookie_takes() -> None:
    assert {len(serve(body).options) for body in (HALF, told(serve(HALF)), HALF + b"x" * 32)} == {COOKIE_ROOM}


def test_a_query_without_a_question_asks_for_a_cookie_alone() -> None:
    bare = message(opt(options=option(COOKIE, HALF)), (0, 0, 0, 1))
    assert asks_for_cookie_alone(bare)
    served = COOKIES.serve(bare, CLIENT, NOW)
    reply = dns.message.from_wire(cookie_reply(bare, served, 1232))
    assert (reply.id, reply.rcode(), reply.question, reply.payload) == (0x1234, dns.rcode.NOERROR, [], 1232)
    assert reply.flags == 0x8100
    assert told(served)[:8] == HALF


@pytest.mark.parametrize("other", [
    query("www.example.org"), b"", b"\0" * 11, message(b"", (0, 0, 0, 0), flags=0x8000),
    message(b"", (0, 0, 0, 0), flags=4 << 11), message(b"", (0, 1, 0, 0)),
])
def test_other_messages_do_not(other: bytes) -> None:
    assert not asks_for_cookie_alone(other)


@given(st.binary(max_size=60), st.sampled_from([CLIENT, packed("2001:db8::1")]))
def test_any_body_is_served_and_what_is_told_is_good_for_that_client(body: bytes, client: bytes) -> None:
    served = serve(body, client=client)
    assert served.standing is not Standing.NONE
    if served.options:
        assert serve(told(served), client=client).standing is Standing.GOOD


@given(st.binary(max_size=80))
def test_any_octets_are_served_without_raising(octets: bytes) -> None:
    served = COOKIES.serve(octets, CLIENT, NOW)
    if parse_query(octets) is not None:
        assert dns.message.from_wire(cookie_reply(octets, served, 1232)).edns == 0
    assert asks_for_cookie_alone(octets) in (True, False)
