"""What goes wrong in a simulated day: each trouble at random times, some of them for a while.

    Simulation(cluster, followers, rng, Troubles(every=300.0, churn_every=5.0))

Not here: what each does to a connection (simulation, faults).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from tests.support.fakeapi.access import ADMIN, READ, Grant
from tests.support.fakeapi.cache import End
from tests.support.fakeapi.churn import Churn
from tests.support.fakeapi.faults import REPLIES, TWISTS, Connection, Cut, Reply, Twist
from tests.support.fakeapi.resources import TYPES
from tests.support.fakeapi.simulation import Simulation

Trouble = Callable[[Simulation], None]

# By how much a restored backup is older than what was seen. What reflectors notice takes them 90 s of silence, and
# versions that have been caught up with by then are beyond anybody's noticing. So is what went back before the
# versions are raised again, for who was cut off all the time between: hence the hours.
ROLLED_BACK_REVISIONS = 100_000
BETWEEN_ROLLBACKS_SECONDS = 6 * 3600.0
_BACKUP_AGE_SECONDS = 120.0


def _resource(simulation: Simulation) -> str:
    return simulation.rng.choice([*TYPES, ""])


def _seconds(simulation: Simulation, longest: float) -> float:
    return simulation.rng.uniform(0.1, longest)


def _refusals(simulation: Simulation) -> None:
    rng = simulation.rng
    fault = Reply(rng.choice([name for name in REPLIES if name != "422"]))
    on = rng.choice(("any", "list", "watch"))
    simulation.cluster.faults.add(fault, _resource(simulation), on, rng.randint(1, 6))


def _cuts(simulation: Simulation) -> None:
    rng = simulation.rng
    cut = Cut(rng.choice(("reset", "eof", "half-close", "stall")), rng.choice((-1, 0, 10, 500, 5000, 50_000)))
    simulation.cluster.faults.add(cut, _resource(simulation), "any", rng.randint(1, 4))


def _odd_lines(simulation: Simulation) -> None:
    name = simulation.rng.choice([name for name in TWISTS if name != "huge"])
    simulation.cluster.faults.add(Twist(name), _resource(simulation), "watch", simulation.rng.randint(1, 3))
    simulation.cluster.end_watches(end=End.BROKEN)


def _outage(simulation: Simulation) -> None:
    kind = simulation.rng.choice(("refused", "unreachable", "timeout", "tls", "credentials"))
    simulation.reset()

    def set_down(down: Connection | None) -> None:
        simulation.network.down = down

    simulation.for_a_while(lambda: set_down(Connection(kind)), lambda: set_down(None), _seconds(simulation, 900.0))


def _blackhole(simulation: Simulation) -> None:
    def set_silent(is_silent: bool) -> None:
        simulation.network.is_silent = is_silent
        if is_silent:
            simulation.sever()

    simulation.for_a_while(lambda: set_silent(True), lambda: set_silent(False), _seconds(simulation, 600.0))


def _restart(simulation: Simulation) -> None:
    simulation.cluster.restart(end=simulation.rng.choice((End.BROKEN, End.CLEAN)))


def _rollback(simulation: Simulation) -> None:
    """A backup is made now, and restored later; much has been written in between."""
    store = simulation.cluster.store
    if simulation.now < simulation.rolled_back_at + BETWEEN_ROLLBACKS_SECONDS:
        return
    simulation.rolled_back_at = simulation.now
    backup = store.rv
    store.tick(ROLLED_BACK_REVISIONS)

    def restore() -> None:
        if store.compacted <= backup <= store.rv and not simulation.is_calm:
            simulation.cluster.rollback(backup)

    simulation.after(_BACKUP_AGE_SECONDS, restore)


def _watch_list_mode(simulation: Simulation) -> None:
    behaviour = simulation.cluster.behaviour
    mode = simulation.rng.choice(("refused", "error", "ignored", "endless"))

    def set_mode(name: str) -> None:
        behaviour.watch_list = name
        simulation.cluster.expire()
        simulation.cluster.end_watches()

    simulation.for_a_while(lambda: set_mode(mode), lambda: set_mode("served"), _seconds(simulation, 3600.0))


def _no_bookmarks(simulation: Simulation) -> None:
    behaviour = simulation.cluster.behaviour

    def set_progress(seconds: float) -> None:
        behaviour.progress_seconds = seconds

    simulation.for_a_while(
        lambda: set_progress(math.inf), lambda: set_progress(5.0), _seconds(simulation, 1800.0)
    )  # fmt: skip


def _revocation(simulation: Simulation) -> None:
    access = simulation.cluster.access
    kept = frozenset(TYPES) - {simulation.rng.choice([*TYPES])}

    def grant(resources: frozenset[str]) -> None:
        access.grants[ADMIN] = [Grant(resources, frozenset(READ))]
        simulation.cluster.end_watches()

    simulation.for_a_while(lambda: grant(kept), lambda: grant(frozenset(TYPES)), _seconds(simulation, 900.0))


def _expiry(simulation: Simulation) -> None:
    simulation.cluster.expire(_resource(simulation))
    simulation.cluster.compact()
    simulation.reset()


TROUBLES: dict[str, Trouble] = {
    "refusals": _refusals,
    "cuts": _cuts,
    "odd lines": _odd_lines,
    "outage": _outage,
    "blackhole": _blackhole,
    "restart": _restart,
    "rollback": _rollback,
    "watch list mode": _watch_list_mode,
    "no bookmarks": _no_bookmarks,
    "revocation": _revocation,
    "expiry": _expiry,
    "clean end": lambda simulation: simulation.cluster.end_watches(),
    "reset": lambda simulation: simulation.reset(),
    "severed": lambda simulation: simulation.sever(),
}


class Troubles:
    """Each `every` seconds on average one of `troubles`, and each `churn_every` seconds a write. Until it is calm."""

    def __init__(
        self, every: float, churn_every: float = math.inf, troubles: Mapping[str, Trouble] = TROUBLES
    ) -> None:
        self._every = every
        self._churn_every = churn_every
        self._troubles = troubles
        self.happened: list[tuple[float, str]] = []

    def __call__(self, simulation: Simulation) -> None:
        churn = Churn(simulation.cluster, simulation.rng)
        churn.fill(50, simulation.now)
        self._repeat(simulation, self._every, lambda: self._one(simulation))
        self._repeat(simulation, self._churn_every, lambda: churn.write(simulation.now))

    def _repeat(self, simulation: Simulation, every: float, action: Callable[[], None]) -> None:
        if every == math.inf or simulation.is_calm:
            return

        def act() -> None:
            if not simulation.is_calm:
                action()
                self._repeat(simulation, every, action)

        simulation.after(simulation.rng.expovariate(1 / every), act)

    def _one(self, simulation: Simulation) -> None:
        name = simulation.rng.choice(sorted(self._troubles))
        self.happened.append((simulation.now, name))
        self._troubles[name](simulation)
