"""`loop`: does what is forwarded come back? CoreDNS's probe, as an automaton without IO.

A query that nobody else can ask, HINFO for two random numbers below the block's zone, is sent to the block's own
address. It is forwarded like any other. If it is seen more than twice, once as sent and twice on its way back, an
upstream leads here: every query for outside would go round until all sockets are full. CoreDNS ends its process then;
its kubelet restarts it until the configuration is mended.

    guard = LoopGuard(apex, rng, now)
    guard.wake_at, guard.wake(now)      when to send, and whether to: the question of a query to the own address
    guard.answered(now)                 somebody answered it, whatever the answer
    guard.saw(question)                 for each query of type HINFO, of all workers; True: it is a loop

It is over, and costs nothing any more, SETTLE_SECONDS after an answer, or after PATIENCE_SECONDS without one: a
server that does not answer itself has other troubles than a loop. Not here: sending, ending the process.
"""

from __future__ import annotations

from math import inf
from random import Random

from kdns.wire.iana import RRClass, RRType
from kdns.wire.name import MAX_NAME_OCTETS, ROOT

SEEN_MAX = 2  # once as sent, once through an upstream that is asked twice over; CoreDNS's
PATIENCE_SECONDS = 30.0  # CoreDNS's, for the first answer
RETRY_SECONDS = 2.0  # CoreDNS's, after a query without an answer
SETTLE_SECONDS = 2.0  # CoreDNS's, after an answer: a loop comes round in less
LABEL_DIGITS_MAX = 19  # of a random number of 63 bits

_TAIL = int(RRType.HINFO).to_bytes(2) + int(RRClass.IN).to_bytes(2)


class LoopGuard:
    """The probe of one server block. Times are seconds by one clock.

    apex: the block's first zone, folded; the root where there is no room for the probe below it.
    """

    def __init__(self, apex: bytes, rng: Random, now: float) -> None:
        self.question = probe_name(apex, rng) + _TAIL
        self.seen = 0
        self.wake_at = now
        self._until = now + PATIENCE_SECONDS
        self._is_answered = False

    @property
    def is_over(self) -> bool:
        """Whether there is nothing to send and nothing to count any more."""
        return self.wake_at == inf

    def wake(self, now: float) -> bytes | None:
        """At `wake_at`: the question to send (name, type and class), None for none. No answer in time is no news."""
        if now < self.wake_at:
            return None
        if self._is_answered or now >= self._until:
            self.wake_at = inf
            return None
        self.wake_at = min(now + RETRY_SECONDS, self._until)
        return self.question

    def answered(self, now: float) -> None:
        """There was an answer, a denial or an error: it went round as far as it goes."""
        if not self._is_answered and not self.is_over:
            self._is_answered = True
            self.wake_at = now + SETTLE_SECONDS

    def saw(self, question: bytes, times: int = 1) -> bool:
        """A query for this was read, name in any case, type and class; True if there is a loop."""
        if not self.is_over and question.lower() == self.question:
            self.seen += times
        return self.is_loop

    @property
    def is_loop(self) -> bool:
        """Whether the probe came back."""
        return self.seen > SEEN_MAX

    def complaint(self, name: str, where: str) -> str:
        """What to log of it. name: of the probe, as text. where: the address that it was sent to."""
        return (
            f'plugin/loop: Seen "HINFO IN {name}" to {where} more than twice, loop detected: an upstream of `forward`'
            " leads back here. Name upstreams that are not this server (in a pod, /etc/resolv.conf of a node whose"
            " resolver listens on 127.0.0.0/8 is the usual reason)"
        )


def probe_name(apex: bytes, rng: Random) -> bytes:
    """Two random numbers below a zone, or below the root where the name would be too long."""
    labels = b"".join(_label(rng) for _ in range(2))
    return labels + (apex if len(labels) + len(apex) <= MAX_NAME_OCTETS else ROOT)


def _label(rng: Random) -> bytes:
    digits = str(rng.getrandbits(63)).encode()
    return bytes((len(digits),)) + digits
