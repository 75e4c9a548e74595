"""One question and several servers: what is sent to which, over what, and when it is over. No sockets, no clock.

- A server that has not answered after a while is still listened to while the next one is asked; the first answer of
  use wins. When all were asked they are asked again, after twice as long each round.
- What shows at once that a server is of no use (connection refused, SERVFAIL, REFUSED, a referral) makes the next one
  be asked at once.
- Truncated, or with the letter case of the question not echoed, or one datagram too many that is for no question of
  ours: the same server again, over TCP. Somebody may be guessing over UDP (RFC 5452); over TCP nobody can.
- EDNS not understood: the same server again without it (RFC 6891 section 7).

    exchange = Exchange(question, ("10.96.0.10",), 5.0, now, SystemRandom())
    actions = exchange.start(now)      # then received, failed, woken (at `wake_at`) until a Done is among the actions

Each Send is a socket of its own, by its token, until Close or Done; so its port is another one each time. What a
judgement makes us do next (TURNS, turn_of) holds for the forwarder as well. Not here: sockets (kdns.client.talking),
what the message says (kdns.client.reading), the forwarder's flights, with their many who wait (kdns.forward.exchange).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from math import inf
from typing import NamedTuple

from kdns.wire.framing import Framer, frame
from kdns.wire.iana import Rcode, RRType, rcode_text
from kdns.wire.message import Message, build_query, parse_message
from kdns.wire.query import AA_BIT, RD_BIT
from kdns.wire.upstream import Judged, RandomBits, Sent, judge, randomise_case

# Messages for one question, to all servers and over all transports: as many as two servers, each over UDP and TCP,
# take in two rounds. More would make us part of their trouble.
SENDS_MAX = 8
# For how long a server is waited for before the next one is asked, in the first round. In a cluster an answer takes
# a millisecond, from outside some 100 ms; glibc waits 5 s, which is all the time that a caller has.
PATIENCE_SECONDS = 0.4
# Datagrams on one socket that answer nothing of ours. One or two are late or stray; more are guesses.
STRANGERS_MAX = 8
# Rounds in which no server could be reached at all, after which it is over: one that is restarted has its chance.
UNREACHED_ROUNDS_MAX = 2


class Turn(Enum):
    """What is done next about a message that was sent."""

    TAKE = "take the answer"
    WAIT = "keep waiting"
    TCP = "the same server over TCP"
    WITHOUT_EDNS = "the same server without EDNS"
    NEXT = "the next server"


TURNS: dict[Judged, Turn] = {
    Judged.ANSWER: Turn.TAKE,
    Judged.MISMATCH: Turn.WAIT,
    Judged.TRUNCATED: Turn.TCP,
    Judged.NO_CASE: Turn.TCP,
    Judged.EDNS_REFUSED: Turn.WITHOUT_EDNS,
    Judged.MALFORMED: Turn.NEXT,
}


def turn_of(turn: Turn, is_udp: bool, has_edns: bool) -> Turn:
    """What is really to be done: TCP only after UDP, and without EDNS only after with it; else the next server."""
    if (turn is Turn.TCP and not is_udp) or (turn is Turn.WITHOUT_EDNS and not has_edns):
        return Turn.NEXT
    return turn


class Send(NamedTuple):
    """Send these octets to a server from a new socket. server: its index. tcp: over a stream, framed already."""

    token: int
    server: int
    tcp: bool
    octets: bytes


class Close(NamedTuple):
    """Close the socket of a Send."""

    token: int


class Done(NamedTuple):
    """It is over. message: the reply that counts, maybe a SERVFAIL; None if there is none. server: whose it is.

    reason: why there is no answer of use, for people, "" if there is one.
    """

    message: Message | None
    server: int | None
    reason: str


Action = Send | Close | Done


class _Attempt:
    """One message on its way."""

    __slots__ = ("framer", "sent", "server", "strangers")

    def __init__(self, server: int, sent: Sent, framer: Framer | None) -> None:
        self.server = server
        self.sent = sent
        self.framer = framer
        self.strangers = 0


class Exchange:
    """See the module's docstring. Times are seconds of one monotonic clock.

    question: name, type and class as they stand in a message, folded. servers: their names, for texts; at least one.
    timeout: after which it is over. rng: must not be predictable (random.SystemRandom). first: index of the server
    that is asked first. After Done, everything that comes in is passed over.
    """

    __slots__ = (
        "_attempts", "_faults", "_is_over", "_left", "_patience", "_question", "_refusal", "_retry_at", "_rng",
        "_round", "_sends", "_servers", "_timeout", "_token", "deadline",
    )  # fmt: skip

    def __init__(
        self, question: bytes, servers: Sequence[str], timeout: float, now: float, rng: RandomBits, first: int = 0
    ) -> None:
        self._question = question
        self._servers = tuple(servers)
        self._timeout = timeout
        self._rng = rng
        self._patience = min(PATIENCE_SECONDS, timeout / (len(self._servers) + 1))
        self._attempts: dict[int, _Attempt] = {}
        self._faults: dict[int, str] = {}
        self._left = _order(len(self._servers), first)
        self._refusal: tuple[Message, int] | None = None
        self._retry_at = inf
        self._round = self._sends = self._token = 0
        self._is_over = False
        self.deadline = now + timeout

    @property
    def wake_at(self) -> float:
        """When `woken` is to be called; infinity when it is over."""
        return inf if self._is_over else min(self._retry_at, self.deadline)

    @property
    def is_over(self) -> bool:
        """Whether there was a Done."""
        return self._is_over

    def start(self, now: float) -> list[Action]:
        """Ask the first server."""
        out: list[Action] = []
        self._next(now, out)
        return out

    def received(self, token: int, data: bytes, now: float) -> list[Action]:
        """A datagram, or octets of a stream however they are cut; b"" of a stream: the server has closed it."""
        attempt = self._attempts.get(token)
        if attempt is None:
            return []
        if attempt.framer is None:
            return self._heard(token, attempt, data, now)
        if not data:
            return self.failed(token, "connection closed", now)
        attempt.framer.feed(data)
        message = attempt.framer.take()
        return self._heard(token, attempt, message, now) if message is not None else []

    def failed(self, token: int, why: str, now: float) -> list[Action]:
        """A socket could not be had, was refused, or broke. why: for people, "connection refused"."""
        attempt = self._attempts.get(token)
        out: list[Action] = []
        if attempt is not None:
            self._turn(token, attempt, Turn.NEXT, why, now, out)
        return out

    def woken(self, now: float) -> list[Action]:
        """Do what is due."""
        out: list[Action] = []
        if self._is_over:
            return out
        if now >= self.deadline:
            self._conclude(None, None, self._silence(), out)
        elif now >= self._retry_at:
            self._retry_at = inf
            if not self._left and self._sends < SENDS_MAX:
                self._round += 1
                self._left = _order(len(self._servers), 0)
            self._next(now, out)
        return out

    def _heard(self, token: int, attempt: _Attempt, reply: bytes, now: float) -> list[Action]:
        is_tcp = attempt.framer is not None
        out: list[Action] = []
        judged = judge(attempt.sent, reply, is_tcp)
        turn = TURNS[judged]
        if turn is Turn.WAIT:
            turn = self._stranger(attempt)
        if turn is Turn.TAKE:
            self._take(token, attempt, reply, now, out)
        elif turn is not Turn.WAIT:
            self._turn(token, attempt, turn, judged.value, now, out)
        return out

    def _stranger(self, attempt: _Attempt) -> Turn:
        """Something came that is for no question of ours."""
        if attempt.framer is not None:
            return Turn.NEXT  # nobody else writes to a stream
        attempt.strangers += 1
        return Turn.TCP if attempt.strangers > STRANGERS_MAX else Turn.WAIT

    def _take(self, token: int, attempt: _Attempt, reply: bytes, now: float, out: list[Action]) -> None:
        message = parse_message(reply)
        useless = _uselessness(message)
        if message is None or useless:
            if message is not None:
                self._refusal = message, attempt.server
            self._turn(token, attempt, Turn.NEXT, useless, now, out)
        else:
            self._conclude(message, attempt.server, "", out)

    def _turn(self, token: int, attempt: _Attempt, turn: Turn, why: str, now: float, out: list[Action]) -> None:
        """A message is over without an answer: close its socket, and go on as `turn` says."""
        is_udp, has_edns = attempt.framer is None, attempt.sent.has_edns
        del self._attempts[token]
        self._faults[attempt.server] = why if is_udp else f"{why} over TCP"
        out.append(Close(token))
        turn = turn_of(turn, is_udp, has_edns)
        if turn is Turn.NEXT or self._sends >= SENDS_MAX:
            self._next(now, out)
        else:
            self._send(attempt.server, turn is Turn.TCP or not is_udp, turn is not Turn.WITHOUT_EDNS, now, out)

    def _next(self, now: float, out: list[Action]) -> None:
        """Ask the next server of this round; if there is none, wait, or end if there is no use in it."""
        if self._left and self._sends < SENDS_MAX:
            self._send(self._left.pop(0), False, True, now, out)
        elif self._attempts:
            if self._retry_at == inf and self._sends < SENDS_MAX:
                self._retry_at = now + self._patience * (1 << self._round)
        elif self._refusal is not None:
            self._conclude(*self._refusal, self._told(), out)
        elif self._round + 1 >= UNREACHED_ROUNDS_MAX or self._sends >= SENDS_MAX:
            self._conclude(None, None, self._told(), out)
        else:
            self._retry_at = now + self._patience

    def _send(self, server: int, tcp: bool, with_edns: bool, now: float, out: list[Action]) -> None:
        self._token += 1
        self._sends += 1
        # Over TCP nobody can guess, and letter case need not tell.
        question = self._question if tcp else randomise_case(self._question, self._rng)
        sent = Sent(self._rng.getrandbits(16), question, with_edns)
        query = build_query(sent.id, question, RD_BIT) if with_edns else build_query(sent.id, question, RD_BIT, 0)
        self._attempts[self._token] = _Attempt(server, sent, Framer() if tcp else None)
        self._retry_at = now + self._patience * (1 << self._round)
        out.append(Send(self._token, server, tcp, frame(query) if tcp else query))

    def _conclude(self, message: Message | None, server: int | None, reason: str, out: list[Action]) -> None:
        self._is_over = True
        out.extend(map(Close, self._attempts))
        self._attempts.clear()
        out.append(Done(message, server, reason))

    def _silence(self) -> str:
        """Why there is no answer when the time is over. Who was asked and said nothing is named as well."""
        for attempt in self._attempts.values():
            self._faults.setdefault(attempt.server, "silent")
        return f"no answer in {self._timeout:g} s: {self._told()}"

    def _told(self) -> str:
        return ", ".join(f"{why} ({self._servers[server]})" for server, why in sorted(self._faults.items()))


def _order(count: int, first: int) -> list[int]:
    """All servers, one of them first, the others as they are configured."""
    return [first, *(server for server in range(count) if server != first)]


def _uselessness(message: Message | None) -> str:
    """Why a reply makes the next server be asked; "" if it does not."""
    if message is None:
        return Judged.MALFORMED.value
    if message.rcode not in (Rcode.NOERROR, Rcode.NXDOMAIN):
        return rcode_text(message.rcode)
    if message.answer or message.rcode or message.flags & AA_BIT:
        return ""
    kinds = {record.rrtype for record in message.authority}
    # RFC 2308 section 2.2: without an SOA record, and with NS records, it refers us to others.
    return "referral, for it does not recurse" if RRType.NS in kinds and RRType.SOA not in kinds else ""
