"""DNS cookies as a server makes and checks them (RFC 7873, RFC 9018)."""

from __future__ import annotations

from hashlib import blake2s
from ipaddress import ip_address

import dns.message
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.wire.cookie import (
    CLIENT_OCTETS,
    COOKIE_OPTION,
    MAX_AGE,
    MAX_AHEAD,
    RENEWAL_AGE,
    SERVER_OCTETS,
    Cookie,
    Secrets,
    Verdict,
    check,
    option,
    parse,
    reply_option,
    server_cookie,
)
from kdns.wire.query import find_option
from tests.support.messages import opt, query

SECRET, FORMER, OTHER = (bytes([octet]) * 16 for octet in (1, 2, 3))
SECRETS = Secrets(SECRET, FORMER)
CLIENT = bytes.fromhex("2464c4abcf10c957")  # of RFC 9018 appendix A, as are address and time
ADDRESS = ip_address("198.51.100.100").packed
NOW = 1559731985


def made(secret: bytes = SECRET, at: int = NOW, address: bytes = ADDRESS, client: bytes = CLIENT) -> Cookie:
    return Cookie(client, server_cookie(secret, client, address, at))


def judged(cookie: Cookie, now: int = NOW, address: bytes = ADDRESS) -> Verdict:
    return check(SECRETS, cookie, address, now)


# Its lengths


@pytest.mark.parametrize("octets", range(50))
def test_a_cookie_has_8_octets_or_16_to_40(octets: int) -> None:
    found = parse(bytes(octets))
    assert (found is not None) == (octets == 8 or 16 <= octets <= 40)
    if found is not None:
        assert (len(found.client), len(found.server)) == (8, octets - 8)


# Making and checking


def test_a_cookie_is_laid_out_as_rfc_9018_has_it() -> None:
    server = made().server
    assert len(server) == SERVER_OCTETS
    assert 240 <= server[0] <= 254  # private use: it is not the method of version 1
    assert server[1:4] == bytes(3)
    assert server[4:8] == bytes.fromhex("5cf79f11")  # appendix A.1


def test_the_ages_are_those_of_rfc_9018() -> None:
    assert (MAX_AGE, MAX_AHEAD, RENEWAL_AGE) == (3600, 300, 1800)


def test_a_cookie_of_another_version_is_bad_though_its_hash_is_right() -> None:
    head = b"\1" + made().server[1:8]
    digest = blake2s(CLIENT + head + ADDRESS, digest_size=8, key=SECRET).digest()
    assert judged(Cookie(CLIENT, head + digest)) is Verdict.BAD


def test_a_cookie_of_ours_is_good() -> None:
    assert judged(made()) is Verdict.GOOD


def test_replicas_with_one_secret_make_the_same_cookie() -> None:
    assert made() == made()
    assert len({made(secret).server for secret in (SECRET, FORMER, OTHER)}) == 3


def test_a_client_that_has_none_yet_is_known_as_that() -> None:
    assert judged(Cookie(CLIENT, b"")) is Verdict.CLIENT_ONLY


@pytest.mark.parametrize("at", range(SERVER_OCTETS))
def test_a_cookie_with_one_bit_changed_is_bad(at: int) -> None:
    server = bytearray(made().server)
    server[at] ^= 1
    assert judged(Cookie(CLIENT, bytes(server))) is Verdict.BAD


def test_a_cookie_belongs_to_one_client_cookie_and_one_address() -> None:
    assert judged(Cookie(bytes(8), made().server)) is Verdict.BAD
    assert judged(made(), address=ip_address("198.51.100.101").packed) is Verdict.BAD
    assert judged(made(), address=ip_address("2001:db8::1").packed) is Verdict.BAD


def test_a_client_may_have_an_ipv6_address() -> None:
    address = ip_address("2001:db8:220:1:59de:d0f4:8769:82b8").packed
    assert judged(made(address=address), address=address) is Verdict.GOOD


@pytest.mark.parametrize("octets", [8, 15, 17, 32])
def test_a_cookie_of_another_length_is_of_another_server(octets: int) -> None:
    assert judged(Cookie(CLIENT, (made().server * 2)[:octets])) is Verdict.BAD


def test_reserved_octets_need_not_be_zero_but_are_part_of_the_hash() -> None:
    head = made().server[:1] + b"\0\7\0" + made().server[4:8]
    digest = blake2s(CLIENT + head + ADDRESS, digest_size=8, key=SECRET).digest()
    assert judged(Cookie(CLIENT, head + digest)) is Verdict.GOOD
    assert judged(Cookie(CLIENT, head + made().server[8:])) is Verdict.BAD


@pytest.mark.parametrize(
    ("age", "verdict"),
    [
        (0, Verdict.GOOD),
        (RENEWAL_AGE, Verdict.GOOD),
        (RENEWAL_AGE + 1, Verdict.RENEW),
        (MAX_AGE, Verdict.RENEW),
        (MAX_AGE + 1, Verdict.BAD),
        (-MAX_AHEAD, Verdict.GOOD),
        (-MAX_AHEAD - 1, Verdict.BAD),
        (1 << 31, Verdict.BAD),
    ],
)
def test_a_cookie_ages(age: int, verdict: Verdict) -> None:
    assert judged(made(at=NOW - age)) is verdict


@pytest.mark.parametrize("now", [0, 299, (1 << 32) - 1, 1 << 32, (1 << 32) + 100, 1 << 33])
def test_time_may_wrap_around(now: int) -> None:
    for age, verdict in ((0, Verdict.GOOD), (1000, Verdict.GOOD), (2000, Verdict.RENEW), (4000, Verdict.BAD)):
        assert judged(made(at=now - age), now) is verdict


def test_a_cookie_of_the_former_secret_is_good_and_renewed() -> None:
    assert judged(made(FORMER)) is Verdict.RENEW
    assert judged(made(FORMER, NOW - MAX_AGE - 1)) is Verdict.BAD
    assert judged(made(OTHER)) is Verdict.BAD


def test_without_a_former_secret_only_one_is_checked() -> None:
    assert check(Secrets(SECRET), made(FORMER), ADDRESS, NOW) is Verdict.BAD
    assert check(Secrets(SECRET), made(), ADDRESS, NOW) is Verdict.GOOD


@pytest.mark.parametrize("octets", [0, 1, 15, 33, 64])
def test_a_secret_of_another_length_is_refused(octets: int) -> None:
    with pytest.raises(ValueError, match=f"16 to 32 octets, not {octets}"):
        Secrets(bytes(octets))
    if octets:
        with pytest.raises(ValueError, match=f"not {octets}"):
            Secrets(SECRET, bytes(octets))


@given(st.binary(min_size=8, max_size=40), st.sampled_from([ADDRESS, bytes(16)]), st.integers(0, 1 << 34))
def test_no_octets_of_others_are_good(body: bytes, address: bytes, now: int) -> None:
    cookie = parse(body)
    if cookie is not None:
        assert check(SECRETS, cookie, address, now) is (Verdict.BAD if cookie.server else Verdict.CLIENT_ONLY)


# The option of the reply


def test_an_option_is_what_dnspython_reads() -> None:
    edns = opt(options=option(CLIENT, made().server))
    (found,) = dns.message.from_wire(query("example.org", edns=edns)).options
    assert (int(found.otype), found.to_wire()) == (COOKIE_OPTION, CLIENT + made().server)


def test_a_good_cookie_is_sent_back_as_it_is() -> None:
    cookie = made(at=NOW - 60)
    assert reply_option(SECRETS, cookie, Verdict.GOOD, ADDRESS, NOW) == option(*cookie)


@pytest.mark.parametrize("cookie", [Cookie(CLIENT, b""), made(OTHER), made(FORMER), made(at=NOW - MAX_AGE)])
def test_any_other_is_replaced_by_a_new_one(cookie: Cookie) -> None:
    sent = reply_option(SECRETS, cookie, judged(cookie), ADDRESS, NOW)
    assert sent == option(*made())
    learned = parse(sent[4:])
    assert learned is not None
    assert judged(learned, NOW + 10) is Verdict.GOOD


def test_what_a_client_learned_is_found_in_its_next_query() -> None:
    sent = reply_option(SECRETS, Cookie(CLIENT, b""), Verdict.CLIENT_ONLY, ADDRESS, NOW)
    body = find_option(sent, COOKIE_OPTION)
    assert body is not None
    assert len(body) == CLIENT_OCTETS + SERVER_OCTETS
    assert parse(body) == made()
