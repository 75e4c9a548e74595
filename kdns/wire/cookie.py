"""DNS cookies, the server's side (RFC 7873; layout, ages and renewal of RFC 9018).

A server cookie is version, three reserved octets, a timestamp, and a keyed hash of these, the client's cookie and its
address: nothing is remembered, and whoever has the secret can check it. The hash is BLAKE2s instead of SipHash-2-4,
which in Python would cost more than the rest of the answer; hence a version for private use (RFC 9018 section 8.2),
for version 1 would claim that other servers with the same secret can check it. Replicas of kdns can. Not here: what
the reply to a bad cookie is, where the secrets come from, and how an option is found (kdns.wire.query).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from hashlib import blake2s
from hmac import compare_digest
from struct import Struct
from typing import NamedTuple

COOKIE_OPTION = 10
CLIENT_OCTETS, SERVER_OCTETS = 8, 16
# A server cookie of anybody's making (RFC 7873 section 4.2); with others an anycast address may be shared.
MIN_SERVER_OCTETS, MAX_SERVER_OCTETS = 8, 32
MIN_SECRET_OCTETS, MAX_SECRET_OCTETS = 16, 32  # 128 bits are asked for (RFC 7873 section 6); BLAKE2s takes 256
# RFC 9018 section 4.3, in seconds.
MAX_AGE, MAX_AHEAD, RENEWAL_AGE = 3600, 300, 1800

_VERSION = 240
_HASH_OCTETS = 8
_head = Struct(">B3xI").pack
_timestamp = Struct(">4xI").unpack_from
_option = Struct(">2H")
_HALF, _WHOLE = 1 << 31, 1 << 32


@dataclass(frozen=True, slots=True)
class Secrets:
    """current: makes and checks; former: checks only, b"" for none. It may be the next one as well, on its way in.

    Raises ValueError for a length that is no secret.
    """

    current: bytes
    former: bytes = b""

    def __post_init__(self) -> None:
        for secret in (self.current, self.former) if self.former else (self.current,):
            if not MIN_SECRET_OCTETS <= len(secret) <= MAX_SECRET_OCTETS:
                raise ValueError(
                    f"a cookie secret has {MIN_SECRET_OCTETS} to {MAX_SECRET_OCTETS} octets, not {len(secret)}"
                )


class Cookie(NamedTuple):
    """What a client sent. server: b"" if it has not learned one yet."""

    client: bytes
    server: bytes


class Verdict(Enum):
    """What a cookie is worth."""

    CLIENT_ONLY = "client only"
    GOOD = "good"
    RENEW = "renew"  # good, but it is to have a new one: this one is old, or made with the former secret
    BAD = "bad"  # forged, expired, or of another server or address


def parse(body: bytes) -> Cookie | None:
    """A COOKIE option's body; None if it has a length that no cookie has: such a query is FORMERR."""
    octets = len(body) - CLIENT_OCTETS
    if octets and not MIN_SERVER_OCTETS <= octets <= MAX_SERVER_OCTETS:
        return None
    return Cookie(body[:CLIENT_OCTETS], body[CLIENT_OCTETS:])


def check(secrets: Secrets, cookie: Cookie, address: bytes, now: int) -> Verdict:
    """Judge what a client sent from a packed address; now: seconds since 1970."""
    server = cookie.server
    if not server:
        return Verdict.CLIENT_ONLY
    if len(server) != SERVER_OCTETS or server[0] != _VERSION:
        return Verdict.BAD
    age = _age(_timestamp(server)[0], now)
    if not -MAX_AHEAD <= age <= MAX_AGE:
        return Verdict.BAD
    # The reserved octets need not be zero (RFC 9018 section 4.2), and are hashed as they are.
    head, digest = server[:-_HASH_OCTETS], server[-_HASH_OCTETS:]
    if compare_digest(digest, _digest(secrets.current, cookie.client, head, address)):
        return Verdict.RENEW if age > RENEWAL_AGE else Verdict.GOOD
    if secrets.former and compare_digest(digest, _digest(secrets.former, cookie.client, head, address)):
        return Verdict.RENEW
    return Verdict.BAD


def server_cookie(secret: bytes, client: bytes, address: bytes, now: int) -> bytes:
    """A new server cookie for a client's cookie and packed address; now: seconds since 1970."""
    head = _head(_VERSION, now % _WHOLE)
    return head + _digest(secret, client, head, address)


def option(client: bytes, server: bytes) -> bytes:
    """A COOKIE option, whole."""
    return _option.pack(COOKIE_OPTION, len(client) + len(server)) + client + server


def reply_option(secrets: Secrets, cookie: Cookie, verdict: Verdict, address: bytes, now: int) -> bytes:
    """The COOKIE option of the reply: with the client's server cookie if it is good, else with a new one."""
    if verdict is Verdict.GOOD:
        return option(cookie.client, cookie.server)
    return option(cookie.client, server_cookie(secrets.current, cookie.client, address, now))


def _age(timestamp: int, now: int) -> int:
    """Seconds since a timestamp of 32 bits, by serial number arithmetic (RFC 1982): it survives the year 2106."""
    return (now - timestamp + _HALF) % _WHOLE - _HALF


def _digest(secret: bytes, client: bytes, head: bytes, address: bytes) -> bytes:
    return blake2s(client + head + address, digest_size=_HASH_OCTETS, key=secret).digest()
