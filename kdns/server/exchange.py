"""One question to an upstream while it is under way, and what an error of a socket means for it.

What upstream_udp and upstream_stream have in common. Not here: which upstream is asked, and what follows from a
fault (kdns.forward).
"""

from __future__ import annotations

import errno
import ssl
from collections.abc import Callable
from typing import NamedTuple, Protocol

import msgspec

from kdns.forward.values import Fault, Send
from kdns.wire.message import PAYLOAD_OCTETS, build_query
from kdns.wire.upstream import Judged, Sent

ID_BITS = 16

_UNSENT = Sent(-1, b"", False)

# Draws that many random bits, of the operating system's; 16 of them are an ID.
Draw = Callable[[int], int]


class Endpoint(NamedTuple):
    """Where an upstream listens: family, and an address as `socket.connect` takes it."""

    family: int
    sockaddr: tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]


class Outcome(Protocol):
    """Who is told what became of a question; may ask the next one while it is told."""

    def replied(self, token: int, reply: bytes) -> None:
        """A reply that is worth reading: it has the ID and the question that were sent."""

    def failed(self, token: int, fault: Fault) -> None:
        """There is none."""


class Home(Protocol):
    """The socket or connection that an exchange is waiting at."""

    def leave(self, exchange: Exchange) -> None:
        """Nobody waits for it any more: forget it."""


class Exchange(msgspec.Struct, eq=False):
    """A question under way.

    token: the resolver's. deadline: monotonic seconds. sent: what a reply is held against, home: where it is waited
    for, once it is sent. tries: connections that it has been sent over. is_over: nobody waits any more.
    """

    send: Send
    token: int
    deadline: float
    tries: int = 0
    is_over: bool = False
    home: Home | None = None
    sent: Sent = _UNSENT

    def message(self, message_id: int, home: Home) -> bytes:
        """What is sent under this ID, from there."""
        send = self.send
        self.home = home
        self.sent = Sent(message_id, send.question, send.with_edns)
        payload = PAYLOAD_OCTETS if send.with_edns else 0
        return build_query(message_id, send.question, send.flags, payload, send.dnssec_ok)


# What a reply that is no answer says; a MISMATCH says nothing.
FAULTS: dict[Judged, Fault] = {
    Judged.TRUNCATED: Fault.TRUNCATED,
    Judged.NO_CASE: Fault.NO_CASE,
    Judged.MALFORMED: Fault.MALFORMED,
    Judged.EDNS_REFUSED: Fault.NO_EDNS,
}

_BY_ERRNO: dict[int, Fault] = {
    errno.ECONNREFUSED: Fault.REFUSED,
    **dict.fromkeys(
        # EPERM and EACCES are how a local packet filter refuses; EINVAL a route that leaves the loopback.
        (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.EADDRNOTAVAIL, errno.EPERM,
         errno.EACCES, errno.EAFNOSUPPORT, errno.EINVAL),
        Fault.UNREACHABLE,
    ),
    **dict.fromkeys(
        (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EAGAIN, errno.EADDRINUSE), Fault.NO_ROOM
    ),
}  # fmt: skip


def fault_of(error: BaseException | None) -> Fault:
    """What an exception of a socket, or of TLS, says; None is a connection that the other side has closed."""
    if isinstance(error, ssl.SSLError | ssl.CertificateError):
        return Fault.TLS
    if isinstance(error, TimeoutError):
        return Fault.TIMEOUT
    return _BY_ERRNO.get(error.errno or 0, Fault.BROKEN) if isinstance(error, OSError) else Fault.BROKEN
