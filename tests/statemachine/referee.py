"""What must be so of the answers at any moment, whatever happens, and once everything has settled.

At any moment, for what has been told (the resource versions that the reflectors have come to, as states of History):

    standing    a question that has had an answer ever since what was told is not denied
    whole       without anything lacking there is no SERVFAIL, and while something lacks there is no NXDOMAIN
    addresses   of a headless Service all that have been ready ever since are there, none that was not ready for
                longer than endpoints are held, and none that stands as not ready
    gone        what has not existed ever since is not answered
    serial      does not go back as long as a worker lives

Once everything has settled: each answer is that of an engine built from the objects of the cluster, and that which
follows from their JSON by the specification.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

from kdns.kube.decode import ObjectDecoder
from kdns.kube.mirror import HOLD_SECONDS
from kdns.kube.objects import Object
from kdns.kube.store import ClusterStore
from kdns.server.feed import Scope
from kdns.wire.name import from_text
from kdns.zone.delta import is_ahead
from tests.statemachine.chain import Chain, Worker
from tests.statemachine.expectation import APEXES, ZONE, Question
from tests.statemachine.history import UNKNOWN, History
from tests.support.fakeapi.cluster import FakeCluster
from tests.support.fakeapi.simulation import truth
from tests.support.messages import Answer, query

NXDOMAIN, SERVFAIL, NOERROR = 3, 2, 0
# Control applies what it is told at once, and lets go of what is held when it is due.
HELD_SECONDS = HOLD_SECONDS + 0.001
FORWARD_TYPES, REVERSE_TYPES, APEX_TYPES = ("A", "AAAA", "SRV"), ("PTR", "A"), ("SOA", "NS", "TXT")
GONE_NAMES_MAX = 100  # that are asked for when all has settled: those that went last
ABSENT = (
    f"absent.{ZONE}", f"absent.svc.{ZONE}", f"absent.shop.svc.{ZONE}", f"1-2-3-4.absent.pod.{ZONE}",
    f"_absent._tcp.web.shop.svc.{ZONE}", "9.9.9.9.in-addr.arpa",
)  # fmt: skip


@cache
def message(question: Question) -> bytes:
    name, rrtype = question
    return query(from_text(name), rrtype)


def questions_about(names: Iterable[str]) -> Iterator[Question]:
    """The questions that names of their kind are asked."""
    for name in names:
        types = REVERSE_TYPES if name.endswith(".arpa") else FORWARD_TYPES
        yield from ((name, rrtype) for rrtype in (*types, *(APEX_TYPES if name in APEXES else ())))


def is_denial(reply: bytes) -> bool:
    rcode = reply[3] & 15
    return rcode == NXDOMAIN or (rcode == NOERROR and reply[6:8] == b"\0\0")


@dataclass(frozen=True)
class _Followed:
    """What was told at a time: the state of which all was told; `even`: the same, if nothing of a later one was."""

    at: float
    state: int
    even: int


class Referee:
    """Watches one chain. Its history may be replaced, with `forget`."""

    def __init__(self, chain: Chain, history: History) -> None:
        self.chain = chain
        self.history = history
        self._plurals = [one.plural for one in chain.resources]
        self._told: dict[str, int] = {}  # by resource: the state that answers are as of
        self._followed = deque([_Followed(0.0, UNKNOWN, UNKNOWN)])
        self._asked = 0
        self._serial: int | None = None  # that `_worker` has shown last
        self._worker = chain.control.worker
        self._control = chain.control
        self.checks = 0
        chain.after_turn, chain.between_steps = self.look, self.glance

    # Whenever something may have changed

    def look(self) -> None:
        """Take note of what has been told, and ask a question."""
        if self._may_judge:
            self._note_told()
            self.check(self._next())

    def glance(self) -> None:
        """Ask a question in the middle of a change: what has been told is not answered yet, or not all of it."""
        if self._may_judge:
            self.check(self._next())

    def check_all(self) -> None:
        """Ask everything."""
        if not self._may_judge:
            return
        self._note_told()
        for question in self.history.questions:
            self.check(question)
        for owner in sorted({owner for owner, _ in self.history.last_ready}):
            self.check_addresses(owner)
        for name in self.history.gone_since:
            self.check_gone(name)
        self.check_serial()

    def check(self, question: Question) -> None:
        """What has an answer is not denied; SERVFAIL and NXDOMAIN only where they may be."""
        self.checks += 1
        reply = self._ask(question)
        rcode = reply[3] & 15
        lacks = self.chain.control.worker.lacks
        may_be = {NOERROR, *(SERVFAIL if each else NXDOMAIN for each in lacks)}
        assert rcode in may_be, f"{question}: rcode {rcode}, lacks {lacks}"
        if is_denial(reply) and self.history.stands_since(question, self._shown_since):
            raise AssertionError(self._told_of(question, reply))

    def check_addresses(self, owner: str) -> None:
        history, shown = self.history, set()
        for rrtype in ("A", "AAAA"):
            shown |= set(Answer(self._ask((owner, rrtype))).rdata)
        if not self._is_headless(owner):
            return
        is_known = self._ask((owner, "A"))[3] & 15 != SERVFAIL
        for address in {each for place, each in history.last_ready if place == owner}:
            place = owner, address
            if is_known and history.ready_since.get(place, history.state + 1) <= self._shown_since:
                assert address in shown, f"{place} is ready and missing: {self._situation()}"
            if history.unready_since.get(place, history.state + 1) <= self.as_of:
                assert address not in shown, f"{place} is not ready and shown: {self._situation()}"
        for address in shown:
            last = history.last_ready.get((owner, address), UNKNOWN)
            assert last >= self._held_since, f"{owner} {address} is gone for long and shown: {self._situation()}"

    def check_gone(self, name: str) -> None:
        """Only what is held may be answered although it is gone, and it is so for a moment."""
        if self.history.gone_since[name] <= self._held_since and not any(self.chain.control.worker.lacks):
            reply = self._ask((name, "A"))
            assert reply[3] & 15 == NXDOMAIN, f"{name} is gone and answered: {self._situation()}"

    def check_serial(self) -> None:
        """The serial of the zone does not go back as long as a worker lives, whoever feeds it."""
        if self._worker is not self.chain.control.worker:
            self._worker, self._serial = self.chain.control.worker, None
        answer = Answer(self._ask((ZONE, "SOA")))
        if not answer.answer:
            return
        serial = int(answer.rdata[0].split()[2])
        former, self._serial = self._serial, serial
        assert former is None or serial == former or is_ahead(serial, former), f"from {former} to {serial}"

    def forget(self) -> None:
        """All of kdns begins anew: nobody remembers what was answered before."""
        self._told.clear()
        self._followed = deque([_Followed(self.chain.simulation.now, UNKNOWN, UNKNOWN)])

    # Once everything has settled

    def check_settled(self) -> None:
        """After long enough without faults and changes."""
        control = self.chain.control
        mirror = control.mirror
        assert self.chain.coming is None
        assert control.is_published
        assert not mirror.lacks
        assert mirror.stale_since is None, f"stale since {mirror.stale_since}: {self.chain.notices[-10:]}"
        assert mirror.is_confirmed
        assert mirror.store.held == 0
        for resource, one in zip(self.chain.resources, mirror.reflectors, strict=True):
            assert one.is_live, f"{resource} is not live"
            assert one.refusal is None
        self.check_all()
        names = self.names_of_interest()
        self.check_specified(names)
        self.check_rebuilt(names)

    def names_of_interest(self) -> list[str]:
        """What exists, what has gone lately, what never existed."""
        gone_since = self.history.gone_since
        gone = sorted(gone_since, key=gone_since.__getitem__)[-GONE_NAMES_MAX:]
        return sorted({*self.history.now.names, *gone, *ABSENT, ZONE})

    def check_specified(self, names: Iterable[str]) -> None:
        """Each answer is what the specification makes of the objects."""
        now = self.history.now
        for name, rrtype in questions_about(names):
            if rrtype in APEX_TYPES:
                continue
            answer = Answer(self._ask((name, rrtype)))
            wanted = now.records.get((name, "CNAME")) or now.records.get((name, rrtype), frozenset())
            rcode = "NOERROR" if name in now.names or name in APEXES else "NXDOMAIN"
            found = {line.split(" ", 3)[3] for line in answer.answer if line.startswith(f"{name}. ")}
            assert (answer.rcode, found) == (rcode, wanted), (name, rrtype)

    def check_rebuilt(self, names: Iterable[str]) -> None:
        """Each reply is that of an engine built from nothing, but for the order of records."""
        serial = self.chain.control.mirror.store.serial
        assert serial is not None
        rebuilt = rebuilt_worker(self.chain, self.chain.simulation.cluster, serial)
        for question in questions_about(names):
            one, other = self._ask(question), rebuilt.served.ask(message(question), tcp=True)
            assert other is not None
            if one != other:
                assert _parts(one) == _parts(other), question

    # Inside

    @property
    def as_of(self) -> int:
        """The last state that all kinds that are known have been told of."""
        return min(self._told.values(), default=UNKNOWN)

    @property
    def _held_since(self) -> int:
        """The earliest state that anything that is held may be of; UNKNOWN if it may be of more than one."""
        return min(one.even for one in self._followed)

    @property
    def _shown_since(self) -> int:
        """The last state of which everything must be shown. What is held counts as ready: meanwhile what is draining
        is not shown, where it may be.
        """
        is_put_off = self.chain.options.terminating_serving
        return min(one.state for one in self._followed) if is_put_off else self.as_of

    def _note_told(self) -> None:
        if not self.chain.control.is_published:
            return
        now = self.chain.simulation.now
        if self._control is not self.chain.control:  # a new one, which may hold what others let go of long ago
            self._control = self.chain.control
            self._followed.append(_Followed(now, UNKNOWN, UNKNOWN))
        self._told = dict(self._states())
        # What is known of two kinds at different times is together what never was.
        is_even = len(set(self._told.values())) == 1
        self._followed.append(_Followed(now, self.as_of, self.as_of if is_even else UNKNOWN))
        while len(self._followed) > 1 and self._followed[1].at <= now - HELD_SECONDS:
            self._followed.popleft()

    def _states(self) -> Iterable[tuple[str, int]]:
        """The state that each known resource is known as of; one that is to be listed anew stays as it was.

        UNKNOWN: restored, and to be listed before it was seen what of.
        """
        mirror, history = self.chain.control.mirror, self.history
        if mirror.restored is not None:
            for plural, section in zip(self._plurals, mirror.restored.sections, strict=True):
                yield plural, history.state_of(plural, section.resource_version)
            return
        for plural, one in zip(self._plurals, mirror.reflectors, strict=True):
            told = history.state_of(plural, one.resource_version) if one.is_synced else UNKNOWN
            if one.is_synced or plural in self._told:
                yield plural, told if told != UNKNOWN else self._told.get(plural, UNKNOWN)

    def _is_headless(self, owner: str) -> bool:
        """Whether it has been so ever since what was told."""
        return any(
            reason.endswith("headless") and self.history.since[question, reason] <= self.as_of
            for question, reasons in self.history.now.reasons.items() if question[0] == owner
            for reason in reasons
        )  # fmt: skip

    def _next(self) -> Question:
        """One question after the other, neighbours far apart."""
        questions = self.history.questions
        self._asked = (self._asked + 7) % len(questions)
        return questions[self._asked]

    @property
    def _may_judge(self) -> bool:
        """Whether anything is answered, and by what was told of this cluster."""
        control = self.chain.control
        snapshot = control.restored
        is_foreign = snapshot is not None and snapshot.cluster != self.history.uid and not control.mirror.is_confirmed
        return control.worker.has_data and not is_foreign

    def _ask(self, question: Question) -> bytes:
        reply = self.chain.control.worker.served.ask(message(question), tcp=True)
        assert reply is not None
        return reply

    def _told_of(self, question: Question, reply: bytes) -> str:
        return f"{question} is denied though it stands: {Answer(reply).message}\n{self._situation()}"

    def _situation(self) -> str:
        now = self.chain.simulation.now
        return f"at {now:.3f}, as of state {self.as_of} of {self.history.state}, told {self._told}"


def rebuilt_worker(chain: Chain, cluster: FakeCluster, serial: int) -> Worker:
    """A worker of nothing but the objects of a cluster."""
    store = ClusterStore(0, chain.options)
    store.load(_objects(chain, cluster), serial)
    worker = Worker(chain.options)
    worker.take(Scope.IMAGE, store.image(), 0)
    return worker


def _objects(chain: Chain, cluster: FakeCluster) -> list[Object]:
    decoder = ObjectDecoder(chain.options.keep)
    return [one for each in chain.resources for one in truth(cluster, each.plural, decoder).values()]


def _parts(reply: bytes) -> tuple[object, ...]:
    answer = Answer(reply)
    return answer.rcode, answer.flags, answer.sections(), answer.ede
