"""How an upstream fares, learned from its traffic; probes only ask one that gave reason for doubt.

An upstream that lets a flight wait for longer than its hedge delay is doubted at once: others are asked before it,
and it is probed, so that a dead one costs the flights of one moment once, and later ones nothing. It is down after so
many failures in a row, and good again with the first answer in time. A slow one that lives stays doubted while it is
slow, and is asked while there is no better one.

The round-trip time is smoothed as RFC 6298 section 2 does. Not here: which upstream is asked (kdns.forward.policy).
"""

from __future__ import annotations

from enum import IntEnum
from math import inf
from typing import NamedTuple

from kdns.forward.values import Transport, UpstreamSpec
from kdns.observe.families import TIME_BOUNDS, time_bucket

# A flight waits so long for an answer before it asks the next upstream: three round-trip times lose against one late
# answer in hundreds; less than 50 ms is what a busy machine takes at times, and more than 200 ms is felt.
HEDGE_MIN = 0.05
HEDGE_MAX = 0.2
HEDGE_TRIPS = 3
EDNS_REFUSED_SECONDS = 900.0  # what does not understand EDNS will not learn it soon, but it may be replaced
# Different questions in a row that it must have refused for that. One name proves nothing: whoever owns it may have
# made the answer, and all other clients would go without DNSSEC for it.
EDNS_REFUSALS_MIN = 3
PROBE_TIMEOUT = 1.0  # CoreDNS's
# However often is configured: what refuses connections answers at once, and would be probed without a pause.
PROBE_INTERVAL_MIN = 0.05

_SMOOTHING, _VARIANCE_SMOOTHING = 1 / 8, 1 / 4  # RFC 6298's alpha and beta


class Rank(IntEnum):
    """How good an upstream is: the lowest are asked first."""

    GOOD = 0
    DOUBTED = 1
    DOWN = 2


# Reading a member of an enumeration costs more than comparing it.
_UDP, _GOOD = Transport.UDP, Rank.GOOD


class Care(NamedTuple):
    """What a `forward` line says of how its upstreams are cared for. transport: the first one to ask over."""

    transport: Transport
    max_fails: int
    interval: float
    question: bytes
    flags: int


class Upstream:
    """One upstream. srtt, rttvar: seconds, 0 before the first answer. The counts are for metrics."""

    __slots__ = (
        "_edns_refusals",
        "_edns_refused_until",
        "_knows_edns",
        "answered_sent_at",
        "care",
        "due",
        "fails",
        "failures",
        "index",
        "is_probed",
        "malformed",
        "probe_at",
        "probe_failures",
        "probes",
        "rank",
        "requests",
        "rtt_count",
        "rtt_sum",
        "rttvar",
        "spec",
        "srtt",
        "times",
    )

    def __init__(self, index: int, spec: UpstreamSpec, care: Care) -> None:
        self.index, self.spec, self.care = index, spec, care
        self.due = inf  # when a probe is to be thought of
        self.is_probed = False  # a probe is out
        self.probe_at = -inf  # before which none goes
        self.rank = Rank.GOOD
        self.fails = 0  # in a row
        self.answered_sent_at = -inf  # when the latest message that it answered was sent
        self.srtt = self.rttvar = 0.0
        self._edns_refused_until = -inf
        self._edns_refusals: set[bytes] = set()  # questions, in a row; EDNS_REFUSALS_MIN of them at most
        self._knows_edns = False
        self.requests = self.failures = self.probes = self.probe_failures = self.rtt_count = 0
        self.malformed = 0  # replies
        self.rtt_sum = 0.0
        self.times: dict[int, list[int]] = {}  # by rcode: buckets of TIME_BOUNDS, and the sum in nanoseconds

    def hedge_delay(self, transport: Transport) -> float:
        """Seconds without an answer after which the next upstream is asked."""
        if transport is not _UDP or not self.rtt_count:
            return HEDGE_MAX  # a connection may have to be made first
        delay = HEDGE_TRIPS * self.srtt
        return HEDGE_MIN if delay < HEDGE_MIN else min(delay, HEDGE_MAX)

    def answered(self, sent_at: float, transport: Transport, now: float) -> None:
        """It answered, whatever it said."""
        rtt = now - sent_at
        self.fails = 0
        if sent_at > self.answered_sent_at:
            self.answered_sent_at = sent_at
        # An answer that was too late to be waited for does not remove the doubt, but shows that it lives.
        if rtt <= HEDGE_MAX:
            self.rank = _GOOD
        elif self.rank is Rank.DOWN:
            self.rank = Rank.DOUBTED
        if transport is _UDP:  # those of connections are longer by making them
            self._smooth(rtt)
        self.rtt_sum += rtt
        self.rtt_count += 1

    def observe(self, rcode: int, sent_at: float, now: float) -> None:
        """It answered a question with this rcode, of 4 bits, so that there are at most 16."""
        times = self.times.get(rcode)
        if times is None:
            times = self.times[rcode] = [0] * (len(TIME_BOUNDS) + 2)
        took_ns = int((now - sent_at) * 1e9)
        times[time_bucket(took_ns)] += 1
        times[-1] += took_ns

    def overdue(self, sent_at: float) -> None:
        """It let a flight wait for too long."""
        if self.rank is Rank.GOOD and sent_at >= self.answered_sent_at:
            self.rank = Rank.DOUBTED

    def failed(self, sent_at: float) -> None:
        """It did not answer at all."""
        self.failures += 1
        if sent_at < self.answered_sent_at:
            return  # one message was lost: a later one was answered
        self.fails += 1
        is_down = 0 < self.care.max_fails <= self.fails
        self.rank = Rank.DOWN if is_down else Rank.DOUBTED

    def probe_sent(self, now: float) -> None:
        """A probe goes out."""
        self.is_probed = True
        self.probe_at = now + max(PROBE_INTERVAL_MIN, self.care.interval)
        self.probes += 1

    def refused_edns(self, question: bytes, now: float) -> None:
        """It says that it does not understand EDNS, when asked this folded question."""
        if self._knows_edns:
            return  # whatever it is that makes it say so
        self._edns_refusals.add(question)
        if len(self._edns_refusals) >= EDNS_REFUSALS_MIN:
            self._edns_refusals.clear()
            self._edns_refused_until = now + EDNS_REFUSED_SECONDS

    def took_edns(self, has_opt: bool) -> None:
        """It answered a question with EDNS. has_opt: with EDNS, so that it is never taken for one without it."""
        if self._edns_refusals:
            self._edns_refusals.clear()
        if has_opt:
            self._knows_edns = True

    def takes_edns(self, now: float) -> bool:
        """Whether it is asked with EDNS."""
        return now >= self._edns_refused_until

    def _smooth(self, rtt: float) -> None:
        if not self.srtt:
            self.srtt, self.rttvar = rtt, rtt / 2
            return
        self.rttvar += _VARIANCE_SMOOTHING * (abs(self.srtt - rtt) - self.rttvar)
        self.srtt += _SMOOTHING * (rtt - self.srtt)
