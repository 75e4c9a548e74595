"""What goes wrong on purpose: a book of faults, each for certain requests and a number of occasions.

    Reply       the request is answered with an error
    Cut         the transport fails, before the answer or after some octets of its body
    Twist       the lines of a watch are odd
    Connection  the request gets no connection; only simulated time knows it, for a real server closes its listener

Not here: what a socket does then (server), when faults happen in simulated time (simulation).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tests.support.fakeapi import statuses
from tests.support.fakeapi.resources import Target
from tests.support.fakeapi.statuses import Response, StatusError

BEFORE_ANSWER = -1


@dataclass(frozen=True)
class Asked:
    """What a request wants, as far as an error may tell it back."""

    user: str
    verb: str
    target: Target


@dataclass(frozen=True)
class Reply:
    """Answered with an error instead; `name` is one of REPLIES."""

    name: str

    def __post_init__(self) -> None:
        if self.name not in REPLIES:
            raise ValueError(f"{self.name!r} is none of {', '.join(REPLIES)}")

    def make(self, asked: Asked) -> Response:
        return REPLIES[self.name](asked)


@dataclass(frozen=True)
class Cut:
    """The transport fails once so many octets of the body, as they stand before chunking, have been sent.

    kind: "reset" RST; "eof" both directions closed, without the terminating chunk; "half-close" only ours is closed;
        "stall" silence on an open socket; "drip" from then on one octet each `interval` seconds.
    """

    kind: str
    after_octets: int = BEFORE_ANSWER
    interval: float = 0.01


@dataclass(frozen=True)
class Twist:
    """Odd lines in a watch; `name` is one of TWISTS."""

    name: str


@dataclass(frozen=True)
class Connection:
    """No connection: kind is "refused", "unreachable", "timeout", "tls", "credentials"."""

    kind: str


Fault = Reply | Cut | Twist | Connection

def _failing(error: Callable[[], StatusError]) -> Callable[[Asked], Response]:
    return lambda asked: statuses.failure(error())


def _forbidden(asked: Asked) -> Response:
    target = asked.target
    error = statuses.forbidden(asked.user, asked.verb, target.type, target.namespace, target.name)
    return statuses.failure(error)


def _unready() -> StatusError:
    return StatusError(429, "TooManyRequests", "storage is (re)initializing", {"retryAfterSeconds": 1})


REPLIES: dict[str, Callable[[Asked], Response]] = {
    "401": _failing(statuses.unauthorized),
    "403": _forbidden,
    "404": lambda asked: statuses.not_served(),
    "410": _failing(statuses.expired_list),
    "422": _failing(lambda: statuses.invalid_options([("sendInitialEvents", "switched off")])),
    "429": lambda asked: statuses.too_many_requests(),
    "429 without Retry-After": lambda asked: statuses.too_many_requests(None),
    "429 unready": _failing(_unready),  # a watch cache that is being filled, in JSON
    "500": _failing(statuses.internal),
    "503": _failing(statuses.unavailable),
    "504": _failing(lambda: statuses.too_large(99, 9)),
}


def line(verb: bytes, json: bytes) -> bytes:
    """One line of a watch."""
    return b'{"type":"%b","object":%b}\n' % (verb, json)


_HUGE_OCTETS = 1_500_000  # the largest object that etcd takes


def _duplicate(verb: bytes, json: bytes) -> list[bytes]:
    return [line(verb, json), line(b"ADDED" if verb == b"MODIFIED" else verb, json)]


def _swapped(verb: bytes, json: bytes) -> list[bytes]:
    return [line({b"ADDED": b"MODIFIED", b"MODIFIED": b"ADDED"}.get(verb, verb), json)]


def _behind(before: bytes) -> Callable[[bytes, bytes], list[bytes]]:
    return lambda verb, json: [before + b"\n", line(verb, json)]


def _with_field(made: Callable[[], bytes]) -> Callable[[bytes, bytes], list[bytes]]:
    return lambda verb, json: [line(verb, b"{" + made() + b"," + json[1:])]


# What becomes of one event's line. None of them changes what a client should know at last: lines that cannot be read
# stand in front of the event, and are not in its stead.
TWISTS: dict[str, Callable[[bytes, bytes], list[bytes]]] = {
    "duplicate": _duplicate,  # ADDED for a known key
    "swapped": _swapped,  # MODIFIED for an unknown key, ADDED for a known one
    "unknown type": _behind(b'{"type":"HEARTBEAT","object":{"kind":"Beat","apiVersion":"v9","metadata":{}}}'),
    "unknown fields": _with_field(lambda: b'"comingSoon":{"deep":[1,{"er":null}]},"flags":null'),
    "huge": _with_field(lambda: b'"padding":"%b"' % (b"x" * _HUGE_OCTETS)),
    "blank": _behind(b""),
    "invalid JSON": _behind(b'{"type":"MODIFIED","object":{"metadata":{"na'),
    "invalid UTF-8": _behind(b'{"type":"MODIFIED","object":{"metadata":{"name":"\xff\xfe"}}}'),
    "not an object": _behind(b'["MODIFIED"]'),
}


# What a request is for, and what a fault may call it.
_PURPOSES = {
    "list": {"any", "list"},
    "watch": {"any", "watch"},
    "watchlist": {"any", "watch", "watchlist"},
    "get": {"get"},
    "write": {"write"},
}


@dataclass
class Entry:
    """A fault in the book. resource: "" for any.

    on: "list", "watch" (a watch-list too), "watchlist", or "any" of these; "get" and "write" are for one object.

    after: how many such requests it lets pass first. times: how many it is for; None for all until it is removed.
    """

    fault: Fault
    resource: str = ""
    on: str = "any"
    times: int | None = 1
    after: int = 0

    def is_for(self, resource: str, purpose: str) -> bool:
        return self.resource in ("", resource) and self.on in _PURPOSES[purpose]


@dataclass
class FaultBook:
    """The faults to come, in the order in which they were written down."""

    entries: list[Entry] = field(default_factory=list)

    def add(
        self, fault: Fault, resource: str = "", on: str = "any", times: int | None = 1, after: int = 0
    ) -> Entry:
        entry = Entry(fault, resource, on, times, after)
        self.entries.append(entry)
        return entry

    def remove(self, entry: Entry) -> None:
        if entry in self.entries:
            self.entries.remove(entry)

    def clear(self) -> None:
        self.entries.clear()

    def take(self, resource: str, purpose: str) -> Fault | None:
        """The fault for a request that comes now; counts it."""
        for entry in self.entries:
            if not entry.is_for(resource, purpose):
                continue
            if entry.after:
                entry.after -= 1
                continue
            if entry.times is not None:
                entry.times -= 1
                if not entry.times:
                    self.entries.remove(entry)
            return entry.fault
        return None
