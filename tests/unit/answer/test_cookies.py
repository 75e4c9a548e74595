"""Cookies in replies: what the client hears for what it sent."""

from __future__ import annotations

from typing import Any

import dns.edns
import dns.message
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.answer.cookies import COOKIE_ROOM, Cookies, Served, Standing, asks_for_cookie_alone
from kdns.wire.cookie import MAX_AGE, RENEWAL_AGE, Secrets, server_cookie
from kdns.wire.query import HEADER_OCTETS, parse_query
from tests.support.messages import COOKIE, message, opt, option, query
from tests.support.subtrees import packed

SECRET, OTHER = b"s" * 16, b"t" * 16
NOW = 1_800_000_000
CLIENT = packed("192.0.2.99")
HALF = b"\x01\x02\x03\x04\x05\x06\x07\x08"
COOKIES = Cookies(Secrets(SECRET))


def serve(body: bytes, cookies: Cookies = COOKIES, client: bytes = CLIENT, now: int = NOW) -> Served:
    return cookies.serve(body, client, now)


def told(served: Served) -> bytes:
    """The body of the one cookie in a reply's options, read by dnspython."""
    [found] = dns.message.from_wire(message(opt(options=served.options), (0, 0, 0, 1), flags=0x8000)).options
    assert isinstance(found, dns.edns.CookieOption)
    return found.client + found.server


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
def test_a_length_that_no_cookie_has_is_malformed_and_gets_none(octets: int) -> None:
    assert serve(b"x" * octets) == Served(Standing.MALFORMED)


def test_the_room_to_leave_is_what_every_cookie_takes() -> None:
    assert {len(serve(body).options) for body in (HALF, told(serve(HALF)), HALF + b"x" * 32)} == {COOKIE_ROOM}


def test_a_query_without_a_question_asks_for_a_cookie_alone() -> None:
    assert asks_for_cookie_alone(message(opt(options=option(COOKIE, HALF)), (0, 0, 0, 1)))


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
def test_any_octets_ask_for_a_cookie_alone_or_do_not(octets: bytes) -> None:
    query = parse_query(octets)
    if asks_for_cookie_alone(octets):
        assert query is not None
        assert query.end == HEADER_OCTETS
