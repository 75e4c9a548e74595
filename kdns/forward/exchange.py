"""What a flight does: which upstream it asks, over what, when the next one, and what becomes of late answers.

- An upstream that has not answered after its hedge delay is still listened to while the next one is asked; the first
  good answer wins. When all were asked, they are asked again, after twice as long each round.
- What shows at once that an upstream is of no use (connection refused, SERVFAIL) makes the next one be asked at once.
- Truncated, or with the letter case of the question not echoed: the same upstream again, over TCP. Somebody may be
  guessing there, but over TCP nobody can.
- EDNS not understood: the same upstream again without it, for this flight alone. What is answered then has no
  signatures, and is not kept for those who want them.
- While all are known to be down, each is asked once more at most, and the answer is that none is there, unless one is
  back by then. What is down is asked as well before a flight waits for those that refuse connections.
- An answer with which the `forward` line has the next line asked (`next`) is as good as none if there is such a line.
- An upstream whose answer is not needed any more is listened to all the same, for that is how its health is learned.

Not here: who waits and what they are told (kdns.forward.resolver).
"""

from __future__ import annotations

from collections import OrderedDict
from math import inf
from typing import TYPE_CHECKING

import msgspec

from kdns.forward.flights import Attempt, Flight
from kdns.forward.health import HEDGE_MAX, PROBE_TIMEOUT, Rank, Upstream
from kdns.forward.reply import ALL_MALFORMED, NONE_OF_USE, Answer, read_reply, unkept
from kdns.forward.timers import Timers
from kdns.forward.values import Action, Cancel, Fault, Limits, Send, Transport
from kdns.wire.exchange import SENDS_MAX, TURNS, Turn, turn_of
from kdns.wire.upstream import Judged, randomise_case

if TYPE_CHECKING:
    from random import Random

# How long a flight takes that begins while all upstreams are down: two hedge delays and a little, so that two have
# their chance, and the probes, which go out as often, have found what is back.
DOWN_PATIENCE = 0.5
# Messages whose answer nobody waits for any more; beyond it the oldest is given up. Each holds a socket.
ORPHANS_MAX = 512

# Nobody answered at all. Other faults are answers of a kind, or our own.
_SILENT = frozenset((Fault.REFUSED, Fault.UNREACHABLE, Fault.TIMEOUT, Fault.BROKEN, Fault.TLS))
# Somebody was heard there, who said nothing of use.
_HEARD = frozenset((Fault.BROKEN, Fault.TLS, Fault.TRUNCATED, Fault.NO_CASE, Fault.NO_EDNS))
# What is done next about those that are a judgement on a message.
_TURNS = {
    Fault.TRUNCATED: TURNS[Judged.TRUNCATED],
    Fault.NO_CASE: TURNS[Judged.NO_CASE],
    Fault.NO_EDNS: TURNS[Judged.EDNS_REFUSED],
    Fault.MALFORMED: TURNS[Judged.MALFORMED],
}
# Reading a member of an enumeration costs more than comparing it.
_UDP, _GOOD, _DOWN = Transport.UDP, Rank.GOOD, Rank.DOWN


class Outcome(msgspec.Struct, frozen=True):
    """What a flight has come to. answer: None if no upstream gave one. is_over: if not, `stale_at` has passed."""

    flight: Flight
    answer: Answer | None
    is_over: bool = True


class Exchange:
    """All messages that are on their way to upstreams. Actions are added to the lists that are passed in."""

    def __init__(self, limits: Limits, rng: Random) -> None:
        self._rng = rng
        self._timers: Timers[Flight | Upstream] = Timers()
        self._attempts: dict[int, Attempt] = {}
        self._orphans: OrderedDict[int, None] = OrderedDict()
        self._token = 0

    def __len__(self) -> int:
        return len(self._attempts)

    @property
    def wake_at(self) -> float:
        """When to call `wake`; infinity for never."""
        return self._timers.next_due

    def start(self, flight: Flight, now: float, out: list[Action]) -> Outcome | None:
        """Ask the first upstream."""
        route = flight.route
        upstream = route.choice.next(())
        if upstream is None or upstream.rank is _DOWN:  # one that is down is asked if all are
            route.broken += route.is_down
        if upstream is None:
            return self._next(flight, now, out)
        self._ask(flight, upstream, now, out)
        return None

    def replied(self, token: int, reply: bytes, now: float, out: list[Action]) -> Outcome | None:
        """An upstream's reply to a message, found to be to it."""
        attempt = self._attempts.pop(token, None)
        if attempt is None:
            return None
        attempt.upstream.answered(attempt.sent_at, attempt.transport, now)
        if attempt.flight is not None:
            attempt.upstream.observe(int.from_bytes(reply[2:4]) & 15, attempt.sent_at, now)
        flight = self._flight(token, attempt, now)
        if flight is None:
            return None
        answer = read_reply(reply, flight.question, flight.group.limits)
        if attempt.with_edns:
            if answer is not None:
                attempt.upstream.took_edns(answer.has_opt)
        elif answer is not None and flight.dnssec_ok:
            answer = unkept(answer)
        if answer is None or answer.is_truncated:
            if answer is not None and attempt.transport is _UDP:
                return self._over_tcp(flight, attempt, now, out)
            self._note_malformed(flight, attempt.upstream)
            return self._next(flight, now, out)
        if answer.rcode in flight.route.failover:
            flight.refusal = answer
            flight.unanswered -= 1
            return self._next(flight, now, out)
        return self._settle(flight, answer, now, out)

    def failed(self, token: int, fault: Fault, now: float, out: list[Action]) -> Outcome | None:
        """A message got no reply that is worth something."""
        attempt = self._attempts.pop(token, None)
        if attempt is None:
            return None
        self._learn(attempt, fault, now, out)
        flight = self._flight(token, attempt, now)
        if flight is None:
            return None
        if fault is Fault.MALFORMED:
            self._note_malformed(flight, attempt.upstream)
        elif fault in _HEARD and flight.useless is None:
            flight.useless = NONE_OF_USE
        turn = turn_of(_TURNS.get(fault, Turn.NEXT), attempt.transport is _UDP, attempt.with_edns)
        if turn is Turn.TCP:
            return self._over_tcp(flight, attempt, now, out)
        if turn is Turn.WITHOUT_EDNS:
            return self._again(flight, attempt, now, out)
        if fault is Fault.TIMEOUT and flight.tokens:
            return None  # the next upstream was asked long ago
        return self._next(flight, now, out)

    def wake(self, now: float, out: list[Action]) -> list[Outcome]:
        """Do what is due."""
        outcomes = []
        for sleeper in self._timers.due(now):
            if isinstance(sleeper, Upstream):
                self._probe(sleeper, now, out)
            else:
                outcome = self._woken(sleeper, now, out)
                if outcome is not None:
                    outcomes.append(outcome)
        return outcomes

    def abandon(self, flight: Flight, out: list[Action]) -> None:
        """Nobody waits for it any more, and its room is needed."""
        self._end(flight)
        for token in flight.tokens:
            self._attempts.pop(token, None)
            out.append(Cancel(token))
        flight.tokens.clear()

    def _woken(self, flight: Flight, now: float, out: list[Action]) -> Outcome | None:
        if now >= flight.deadline and not flight.go_on(now):
            return self._conclude(flight, flight.refusal, out)
        if now >= flight.retry_at:
            flight.retry_at = inf
            self._doubt(flight, now, out)
            outcome = self._next(flight, now, out, is_late=True)
            if outcome is not None:
                return outcome
        if now >= flight.stale_at:
            flight.stale_at = inf
            self._sleep(flight)
            return Outcome(flight, None, is_over=False)
        self._sleep(flight)
        return None

    def _next(self, flight: Flight, now: float, out: list[Action], is_late: bool = False) -> Outcome | None:
        """Ask the next upstream, or end if there is no use in it. is_late: those that were asked had their time."""
        upstream = self._choose(flight, is_late)
        if upstream is not None:
            self._ask(flight, upstream, now, out)
            return None
        if flight.refusal is not None and (is_late or not flight.tokens):
            return self._settle(flight, flight.refusal, now, out)
        if flight.tokens:
            return None
        return self._pause(flight, now, out)

    def _ask(self, flight: Flight, upstream: Upstream, now: float, out: list[Action]) -> None:
        if not flight.sends and upstream.rank is _DOWN:  # and so are all others
            flight.hurry(now + DOWN_PATIENCE)
        flight.tried.append(upstream.index)
        flight.unanswered += 1
        self._send(flight, upstream, upstream.care.transport, now, out, upstream.takes_edns(now))

    def _choose(self, flight: Flight, is_late: bool) -> Upstream | None:
        if _has_tried_enough(flight):
            return None
        choice = flight.route.choice
        upstream = choice.next(flight.tried)
        if upstream is not None or flight.refusal is not None:
            return upstream
        if not is_late:
            return choice.last_resort(flight.tried) if not flight.tokens else None
        if not flight.tried or (flight.respite and flight.route.is_down):
            return None
        flight.tried.clear()
        flight.round += 1
        return choice.next(())

    def _pause(self, flight: Flight, now: float, out: list[Action]) -> Outcome | None:
        """None can be reached: wait a little, for one may be restarting, unless they were down before."""
        flight.retry_at = now + HEDGE_MAX * (1 << flight.round)
        if flight.route.is_down or _has_tried_enough(flight) or flight.retry_at >= flight.deadline:
            return self._conclude(flight, None, out)
        self._sleep(flight)
        return None

    def _over_tcp(self, flight: Flight, attempt: Attempt, now: float, out: list[Action]) -> Outcome | None:
        if flight.sends >= SENDS_MAX:
            return self._next(flight, now, out)
        self._send(flight, attempt.upstream, Transport.TCP, now, out, attempt.with_edns)
        return None

    def _again(self, flight: Flight, attempt: Attempt, now: float, out: list[Action]) -> Outcome | None:
        """Over the same transport, without EDNS."""
        if flight.sends >= SENDS_MAX:
            return self._next(flight, now, out)
        self._send(flight, attempt.upstream, attempt.transport, now, out, with_edns=False)
        return None

    def _send(
        self, flight: Flight, upstream: Upstream, transport: Transport, now: float, out: list[Action], with_edns: bool
    ) -> None:
        self._token = token = self._token + 1
        self._attempts[token] = flight.sent = Attempt(flight, upstream, transport, with_edns, now)
        flight.tokens.add(token)
        flight.sends += 1
        upstream.requests += 1
        # Over TCP nobody can guess, and letter case need not tell.
        is_udp = transport is _UDP
        question = randomise_case(flight.question, self._rng) if is_udp else flight.question
        timeout = flight.route.spec.read_timeout
        out.append(
            Send(token, upstream.index, transport, question, flight.flags, flight.dnssec_ok, with_edns, timeout)
        )
        flight.retry_at = now + upstream.hedge_delay(transport) * (1 << flight.round)
        self._sleep(flight)

    def _sleep(self, flight: Flight) -> None:
        due = flight.retry_at if flight.retry_at < flight.deadline else flight.deadline
        self._timers.set(flight, due if due < flight.stale_at else flight.stale_at)

    def _doubt(self, flight: Flight, now: float, out: list[Action]) -> None:
        """The last upstream that was asked has let the flight wait."""
        if flight.sent is not None and flight.tokens:
            upstream = flight.sent.upstream
            upstream.overdue(flight.sent.sent_at)
            self._probe(upstream, now, out)

    def _note_malformed(self, flight: Flight, upstream: Upstream) -> None:
        upstream.malformed += 1
        flight.useless = ALL_MALFORMED

    def _learn(self, attempt: Attempt, fault: Fault, now: float, out: list[Action]) -> None:
        """What a fault says of an upstream."""
        upstream = attempt.upstream
        if fault in _SILENT:
            upstream.failed(attempt.sent_at)
            if attempt.flight is None:
                upstream.probe_failures += 1
            else:
                self._probe(upstream, now, out)
        elif fault is not Fault.NO_ROOM:
            upstream.answered(attempt.sent_at, attempt.transport, now)
        if fault is Fault.NO_EDNS:
            upstream.refused_edns(upstream.care.question if attempt.flight is None else attempt.flight.question, now)

    def _probe(self, upstream: Upstream, now: float, out: list[Action]) -> None:
        """Probe it if it is in doubt, one probe at a time."""
        if upstream.rank is _GOOD or upstream.is_probed:
            return
        if now < upstream.probe_at:
            self._timers.set(upstream, upstream.probe_at)
            return
        care = upstream.care
        self._token = token = self._token + 1
        self._attempts[token] = Attempt(None, upstream, care.transport, upstream.takes_edns(now), now)
        upstream.probe_sent(now)
        out.append(
            Send(
                token,
                upstream.index,
                care.transport,
                care.question,
                care.flags,
                False,
                upstream.takes_edns(now),
                PROBE_TIMEOUT,
            )
        )

    def _probed(self, upstream: Upstream, now: float) -> None:
        """A probe is over: the next one is due in a while, if it is still in doubt then."""
        upstream.is_probed = False
        if upstream.rank is not Rank.GOOD:
            self._timers.set(upstream, max(now, upstream.probe_at))

    def _flight(self, token: int, attempt: Attempt, now: float) -> Flight | None:
        """Who waits for an attempt that is over; None if nobody does: it was a probe, or is not needed any more."""
        flight = attempt.flight
        if flight is None:
            self._probed(attempt.upstream, now)
            return None
        if token not in flight.tokens:
            self._orphans.pop(token, None)
            return None
        flight.tokens.remove(token)
        return flight

    def _settle(self, flight: Flight, answer: Answer, now: float, out: list[Action]) -> Outcome | None:
        """This is the answer, unless its `forward` line has the next one asked."""
        if not flight.route.may_pass_on or not flight.route.passes_on(answer):
            return self._conclude(flight, answer, out)
        route = flight.group.route_after(flight.route, flight.question[:-4])
        if route is None or route.is_full:
            return self._conclude(flight, answer, out)
        self._leave(flight, out)
        flight.move_to(route)
        return self._next(flight, now, out)

    def _conclude(self, flight: Flight, answer: Answer | None, out: list[Action]) -> Outcome:
        """It is over."""
        self._end(flight)
        if flight.tokens:
            self._leave(flight, out)
        return Outcome(flight, answer or flight.useless)

    def _leave(self, flight: Flight, out: list[Action]) -> None:
        """Messages that are still out become orphans."""
        self._orphans.update(dict.fromkeys(flight.tokens))
        flight.tokens.clear()
        while len(self._orphans) > ORPHANS_MAX:
            token, _ = self._orphans.popitem(last=False)
            del self._attempts[token]
            out.append(Cancel(token))

    def _end(self, flight: Flight) -> None:
        flight.is_over = True
        flight.sent = None  # or flight and attempt would hold each other, and wait for a garbage collection
        flight.due = inf


def _has_tried_enough(flight: Flight) -> bool:
    tries = flight.route.spec.tries
    return flight.sends >= SENDS_MAX or 0 < tries <= flight.unanswered
