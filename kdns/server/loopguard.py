"""`loop`: does what is forwarded come back? The probe of one zone, as an automaton without IO.

A query that nobody else can ask, HINFO for two random numbers below the zone, is given to the forwarder, which asks
its upstreams as for any client. No client was ever told of that name: if a worker hands over a question for it, an
upstream leads here, and every query for outside would go round. Or somebody who saw the probe on its way has sent a
copy of it, once: so another name is asked for at once, and only if that comes back as well it is a loop. CoreDNS
waits for the third, because it sends its probe to its own address, where it sees it once in any case.

    guard = LoopGuard(apex, rng, now)
    guard.wake_at, guard.wake(now)      when to ask upstreams, and whether to: the question
    guard.answered(now)                 one has answered it, whatever the answer
    guard.saw(question, now)            for each question that a worker hands over; True: it is a loop

It is over, and costs nothing any more, SETTLE_SECONDS after an answer, or after PATIENCE_SECONDS without one: an
upstream that answers nothing leads nowhere. Where one probe has come back, and the next is answered, another upstream
may have answered it: then up to SECONDS_MAX are asked for. Not here: the probes of all zones (kdns.server.probes).
"""

from __future__ import annotations

from math import inf
from random import Random

from kdns.wire.iana import RRClass, RRType
from kdns.wire.name import MAX_NAME_OCTETS, ROOT

PATIENCE_SECONDS = 30.0  # CoreDNS's, for the first answer
RETRY_SECONDS = 2.0  # CoreDNS's, after a query without an answer
SETTLE_SECONDS = 2.0  # CoreDNS's, after an answer: a loop comes round in less
# Names asked for after one has come back, each when the one before it was answered. With two upstreams, drawn by
# chance, that which leads here is passed over so often once in 256 times.
SECONDS_MAX = 8

_TAIL = int(RRType.HINFO).to_bytes(2) + int(RRClass.IN).to_bytes(2)


class LoopGuard:
    """The probe of one zone. Times are seconds by one clock.

    apex: the zone, folded; the root stands in where there is no room for the probe below it.
    """

    def __init__(self, apex: bytes, rng: Random, now: float) -> None:
        self._apex, self._rng = apex, rng
        self.question = probe_name(apex, rng) + _TAIL
        self.wake_at = now
        self._until = now + PATIENCE_SECONDS
        self._is_answered = False
        self._seconds = 0  # names asked for since one has come back

    @property
    def is_over(self) -> bool:
        """Whether there is nothing to ask and nothing to look for any more."""
        return self.wake_at == inf

    def wake(self, now: float) -> bytes | None:
        """At `wake_at`: the question to ask (name, type and class), None for none. No answer in time is no news."""
        if now < self.wake_at:
            return None
        if self._is_answered or now >= self._until:
            self.wake_at = inf
            return None
        self.wake_at = min(now + RETRY_SECONDS, self._until)
        return self.question

    def answered(self, now: float) -> None:
        """An upstream has answered: the probe went as far as it goes."""
        if self._is_answered or self.is_over:
            return
        if 0 < self._seconds < SECONDS_MAX:
            self._ask_for_another(now)
        else:
            self._is_answered = True
            self.wake_at = now + SETTLE_SECONDS

    def saw(self, question: bytes, now: float) -> bool:
        """A worker asks for this, name in any case, type and class; True if the second one shows a loop."""
        if self.is_over or question.lower() != self.question:
            return False
        if self._seconds:
            return True
        self._ask_for_another(now)
        return False

    def _ask_for_another(self, now: float) -> None:
        self._seconds += 1
        self.question = probe_name(self._apex, self._rng) + _TAIL
        self._is_answered = False
        self._until = max(self._until, now + RETRY_SECONDS)
        self.wake_at = now


def probe_name(apex: bytes, rng: Random) -> bytes:
    """Two random numbers below a zone, or below the root where the name would be too long."""
    labels = b"".join(_label(rng) for _ in range(2))
    return labels + (apex if len(labels) + len(apex) <= MAX_NAME_OCTETS else ROOT)


def _label(rng: Random) -> bytes:
    digits = str(rng.getrandbits(63)).encode()
    return bytes((len(digits),)) + digits
