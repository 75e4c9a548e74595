"""The probes of all server blocks with `loop`: what the forwarder asks for them, and whether one comes back.

    probes.begin(now)            at the start, and whenever upstreams may lead elsewhere
    probes.wake_at, wake(now)    when to ask upstreams, and what
    probes.told(number, told)    what became of it
    probes.expects(ask)          for each question of a worker: whether it is a probe that has come back
    probes.saw(ask, now)         for one that is: a complaint if there is a loop

Pure. A question counts for the server block alone that sent it out: one block may forward to another one of the
same process. One probe goes out for each zone that a block forwards, through the upstream that a client's query would
take: where several take turns, those that were not asked are not found out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf
from random import Random

from kdns.server.loopguard import LoopGuard
from kdns.wire.name import to_text
from kdns.wire.outside import Ask, Source, Told
from kdns.wire.query import RD_BIT
from kdns.zone.addresses import address_text

PROBER = -1  # who asks, where the forwarder knows workers by numbers from 0 on
_OURSELVES = b"\x7f\0\0\1"  # to the limits by client we are one, too
_QUESTION_TAIL = 4


@dataclass(frozen=True, slots=True)
class LoopPlan:
    """`loop` in one server block. apexes: of the zones to look below. where: what it listens on, for people."""

    apexes: tuple[bytes, ...]
    where: str


class Probes:
    """See the module's docstring. plans: by the number of the group that the block forwards by."""

    def __init__(self, plans: Iterable[tuple[int, LoopPlan]], rng: Random) -> None:
        self._plans = [(group, plan, apex) for group, plan in plans for apex in plan.apexes]
        self._rng = rng
        self._guards: Sequence[tuple[int, LoopPlan, bytes, LoopGuard]] = ()
        self._looked_for: frozenset[bytes] = frozenset()
        self.wake_at = inf

    def begin(self, now: float) -> None:
        """Look for loops, from now on for a while."""
        self._guards = [(group, plan, apex, LoopGuard(apex, self._rng, now)) for group, plan, apex in self._plans]
        self._note()

    def wake(self, now: float) -> list[Ask]:
        """What is to be asked now, on behalf of PROBER."""
        asks = []
        for number, (group, _, _, guard) in enumerate(self._guards):
            question = guard.wake(now)
            if question is not None:
                asks.append(Ask(number, group, question, RD_BIT, False, _OURSELVES))
        self._note()
        return asks

    def told(self, told: Told, now: float) -> None:
        """What became of a probe. That nobody has answered it says nothing: somebody may, the next time."""
        if told.source is not Source.FAILURE and told.number < len(self._guards):
            self._guards[told.number][3].answered(now)
            self._note()

    def expects(self, ask: Ask) -> bool:
        """Whether this question of a worker may be a probe that has come back; as good as never."""
        return ask.question in self._looked_for

    def saw(self, ask: Ask, now: float) -> str:
        """What to log if this question of a worker, which is expected, shows a loop; "" if it does not."""
        complaint = ""
        for group, plan, apex, guard in self._guards:
            if group == ask.group and guard.saw(ask.question, now):
                complaint = _complaint(ask, plan, apex)
        self._note()
        return complaint

    def _note(self) -> None:
        guards = [guard for _, _, _, guard in self._guards]
        self.wake_at = min((guard.wake_at for guard in guards), default=inf)
        self._looked_for = frozenset(guard.question for guard in guards if not guard.is_over)


def _complaint(ask: Ask, plan: LoopPlan, apex: bytes) -> str:
    """CoreDNS's words, and what to do."""
    return (
        f'plugin/loop: Loop ({address_text(ask.client)} -> {plan.where}) detected for zone "{to_text(apex)}", see'
        f' https://coredns.io/plugins/loop#troubleshooting. Query: "HINFO {to_text(ask.question[:-_QUESTION_TAIL])}".'
        " What kdns forwards comes back to it: name upstreams in `forward` that do not ask this server (where it"
        " takes /etc/resolv.conf from a node, a stub resolver at 127.0.0.53 is the usual reason: give kubelet the"
        " file with the real ones, `resolvConf: /run/systemd/resolve/resolv.conf`)"
    )
