"""DNS cookies in replies (RFC 7873 section 5.2): what of a query's cookie, and what goes into the reply's OPT record.

    served = cookies.serve(body, client, now)        before anything else is decided
    served.options                                   for the OPT record of this reply, whatever it says
    COOKIE_ROOM                                      octets to leave for them in a reply that is kept for all clients

Every reply to a query with a cookie carries one: errors, truncated and shed ones, forwarded ones; a client that saw
one from a server drops replies without (c-ares). A bad one is answered all the same, with a new cookie and without
BADCOOKIE: so that turning cookies on, a new secret, or a server without them behind the same address costs nobody an
answer. What it is worth is told, for whoever limits or refuses clients without a good cookie.

A cookie of a length that none has is FORMERR (section 5.2.2), with no cookie in the reply. A query without a question
may ask for a cookie alone (section 5.4): it is NOERROR, with a cookie and nothing else.
Not here: how a cookie is made and checked (kdns.wire.cookie), files with secrets, limits of clients.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from kdns.wire import cookie
from kdns.wire.cookie import CLIENT_OCTETS, SERVER_OCTETS, Secrets
from kdns.wire.iana import Opcode
from kdns.wire.query import HEADER_OCTETS, QR_BIT

# Octets of the option in a reply: code and length, the client's cookie and ours. A reply that is kept for all clients
# is compiled with so much less room, for the client that asks next may have a cookie.
COOKIE_ROOM = 4 + CLIENT_OCTETS + SERVER_OCTETS

_QUESTIONS_AT = 4


class Standing(Enum):
    """What is known of who asks."""

    NONE = "none"  # no cookie: the address may be anybody's
    NEW = "new"  # the client's half alone
    GOOD = "good"  # the address is the client's own
    BAD = "bad"
    MALFORMED = "malformed"  # to be answered FORMERR


class Served(NamedTuple):
    """What of a query's cookie. options: of the reply's OPT record, b"" for none."""

    standing: Standing
    options: bytes = b""


_MALFORMED = Served(Standing.MALFORMED)
_STANDINGS = {
    cookie.Verdict.CLIENT_ONLY: Standing.NEW,
    cookie.Verdict.GOOD: Standing.GOOD,
    cookie.Verdict.RENEW: Standing.GOOD,
    cookie.Verdict.BAD: Standing.BAD,
}


class Cookies:
    """The server's side. secrets: the same in all workers and replicas, or clients get a new cookie each time."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets

    def serve(self, body: bytes, client: bytes, now: int) -> Served:
        """What of the body of a query's COOKIE option.

        client: its packed address. now: seconds since 1970.
        """
        sent = cookie.parse(body)
        if sent is None:
            return _MALFORMED
        verdict = cookie.check(self._secrets, sent, client, now)
        return Served(_STANDINGS[verdict], cookie.reply_option(self._secrets, sent, verdict, client, now))


def asks_for_cookie_alone(message: bytes) -> bool:
    """Whether a query has a header and no question: with a cookie it is no error (RFC 7873 section 5.4)."""
    if len(message) < HEADER_OCTETS:
        return False
    flags = int.from_bytes(message[2:_QUESTIONS_AT])
    return not flags & QR_BIT and flags >> 11 & 15 == Opcode.QUERY and message[_QUESTIONS_AT:10] == bytes(6)
