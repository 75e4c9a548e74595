"""Whatever happens to a cluster and to the connection: once all has been delivered, what is known is the truth.

The server here is a small model of one resource. It knows watch lists, does not, or ignores that it is asked for one;
it forgets its history, and is restored from a backup.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from kdns.kube.objects import Service
from kdns.kube.request import Outcome
from tests.unit.kube.reflecting import (
    BROKEN,
    EXPIRED,
    Driven,
    added,
    bookmark,
    deleted,
    end_bookmark,
    lines,
    modified,
    page,
    recorded,
    service_object,
)

NAMES = st.sampled_from("abc")
PAGE = 2  # objects, whatever limit is asked for


@dataclass
class Stored:
    version: int
    address: str
    uid: str

    def shown(self, name: str) -> dict[str, Any]:
        return service_object(name, self.version, self.address, self.uid)


@dataclass
class Server:
    """Objects, their history since `floor`, and lists that are being read."""

    version: int = 10
    born: int = 0
    objects: dict[str, Stored] = field(default_factory=dict)
    history: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    floor: int = 10
    watch_lists: str = "on"  # "off": refused; "ignored": initial events without an end
    tokens: dict[str, bytes] = field(default_factory=dict)
    past: list[tuple[int, dict[str, Stored]]] = field(default_factory=lambda: [(10, {})])

    def put(self, name: str, address: str) -> None:
        self.version += 1
        former = self.objects.get(name)
        self.born += former is None
        uid = former.uid if former else f"uid-{self.born}"
        self.objects[name] = Stored(self.version, address, uid)
        event = modified if former else added
        self.history.append((self.version, event(name, self.version, address, uid=uid)))
        self._remember()

    def delete(self, name: str) -> None:
        if name in self.objects:
            self.version += 1
            del self.objects[name]
            self.history.append((self.version, deleted(name, self.version)))
            self._remember()

    def forget(self) -> None:
        """As with a restart: history and tokens are gone."""
        self.history, self.floor, self.tokens = [], self.version, {}

    def restore(self, back: int) -> None:
        """An older state; what is new from now on has UIDs that were never used."""
        del self.past[max(1, len(self.past) - back) :]
        self.version, objects = self.past[-1]
        self.objects = dict(objects)
        self.born += 1000
        self.forget()

    def _remember(self) -> None:
        self.past.append((self.version, dict(self.objects)))

    def initial(self) -> list[dict[str, Any]]:
        """In the order of keys, not of versions."""
        return [{"type": "ADDED", "object": self.objects[name].shown(name)} for name in sorted(self.objects)]

    def pages(self) -> bytes:
        """The first page; the others wait for their tokens."""
        shown = [self.objects[name].shown(name) for name in sorted(self.objects)]
        parts = [shown[start : start + PAGE] for start in range(0, len(shown), PAGE)] or [[]]
        tokens = [*(f"{self.version}-{index}" for index in range(1, len(parts))), ""]
        bodies = [page(self.version, *part, token=token) for part, token in zip(parts, tokens, strict=True)]
        self.tokens.update(zip(tokens, bodies[1:], strict=False))
        return bodies[0]

    def truth(self) -> dict[str, str]:
        return {name: one.address for name, one in self.objects.items()}


class Following(RuleBasedStateMachine):
    """A reflector, a server, and a connection of which anything may become."""

    def __init__(self) -> None:
        super().__init__()
        self.server = Server()
        self.driven = Driven()
        self.open_number = 0  # of the stream that is open
        self.position = 0  # version up to which that stream has been told
        self.is_restored = False  # and the reflector has not been in sync since

    @initialize(names=st.lists(NAMES, max_size=8), is_known=st.booleans())
    def begin(self, names: list[str], is_known: bool) -> None:
        for last, name in enumerate(names, 10):
            self.server.put(name, f"10.96.0.{last}")
        if is_known:
            self.catch_up()

    # The cluster

    def _may_write(self) -> bool:
        """A restored store that overtakes what was known before nobody looked cannot be told from any other."""
        known = self.driven.reflector.resource_version
        return not (self.is_restored and known) or self.server.version + 1 < int(known)

    @precondition(_may_write)
    @rule(name=NAMES, last=st.integers(1, 4))
    def put(self, name: str, last: int) -> None:
        self.server.put(name, f"10.96.0.{last}")

    @precondition(_may_write)
    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        self.server.delete(name)

    @rule()
    def restart(self) -> None:
        self.cut(half=False)
        self.server.forget()

    @rule(how=st.sampled_from(["on", "off", "ignored"]))
    def upgrade(self, how: str) -> None:
        self.server.watch_lists = how

    @rule(back=st.integers(1, 6), names=st.lists(NAMES, max_size=6), last=st.integers(5, 8))
    def restore(self, back: int, names: list[str], last: int) -> None:
        """Some versions back, of which others are made then."""
        if self.is_restored:
            return
        self.cut(half=False)
        self.server.restore(back)
        known = self.driven.reflector.resource_version
        self.is_restored = bool(known) and int(known) > self.server.version
        for name in names:
            if self._may_write():
                self.server.put(name, f"10.96.0.{last}")

    # The connection

    @property
    def is_open(self) -> bool:
        return self.open_number == self.driven.number

    def _take(self, outcome: Outcome) -> None:
        self.is_restored = self.is_restored and not outcome.synced

    @rule()
    def answer(self) -> None:
        """The request that waits is answered, a list whole, a stream with nothing yet."""
        if self.is_open:
            return
        purpose, query = self.driven.purpose, self.driven.query
        if purpose == "probe":
            self._take(self.driven.answer(page(self.server.version)))
        elif purpose == "list":
            token = query.get("continue")
            body = self.server.tokens.pop(token, None) if token else self.server.pages()
            self._take(self.driven.answer(body) if body else self.driven.refuse("list_continue_410"))
        elif purpose == "watch":
            self._watch(int(query["resourceVersion"]))
        elif self.server.watch_lists == "off":
            self.driven.refuse("watchlist_gate_off")
        else:
            self._watch_list()

    def _watch(self, version: int) -> None:
        self.driven.open()
        if version < self.server.floor:
            self.driven.feed(EXPIRED)
        else:
            self.open_number, self.position = self.driven.number, version

    def _watch_list(self) -> None:
        self.driven.open()
        self.open_number, self.position = self.driven.number, self.server.version
        end = [end_bookmark(self.server.version)] if self.server.watch_lists == "on" else []
        self._take(self.driven.feed(*self.server.initial(), *end))

    @rule(most=st.integers(1, 4))
    def deliver(self, most: int) -> None:
        """Some of the events that the open stream has not been told."""
        if not self.is_open:
            return
        events = [(version, event) for version, event in self.server.history if version > self.position][:most]
        for version, event in events:
            self.position = version
            self._take(self.driven.feed(event))
            if not self.is_open:
                return
        if len(events) < most:
            self._agree()

    def _agree(self) -> None:
        """Everything has been delivered: then what is current is the truth."""
        if self.driven.reflector.is_live and not self.is_restored:
            assert self._known() == self.server.truth()

    @rule()
    def mark(self) -> None:
        """A bookmark; a server sends none that is not past where the watch began."""
        self.deliver(1000)
        if self.is_open and self.server.version >= self.position:
            self.driven.feed(bookmark(self.server.version))

    @rule(half=st.booleans())
    def cut(self, half: bool) -> None:
        if self.is_open and half:
            self.driven.feed_octets(lines(added("never", 5000))[:60])
        self.driven.fail(BROKEN)

    @rule(seconds=st.sampled_from([0.1, 30.0]))
    def end(self, seconds: float) -> None:
        if self.is_open:
            self.driven.now += seconds
            self.driven.end()

    @rule(name=st.sampled_from(["apf_429", "unauthorized", "list_forbidden"]))
    def refuse(self, name: str) -> None:
        if not self.is_open:
            self.driven.refuse(name)

    @rule()
    def fall_silent(self) -> None:
        self.driven.wake()

    @rule()
    def interrupt(self) -> None:
        """A first page or the initial events come, and the rest does not."""
        if self.is_open:
            return
        purpose = self.driven.purpose
        if purpose == "watch list" and self.server.watch_lists != "off":
            self.driven.open()
            self.driven.feed(*self.server.initial()[:2])
            self.driven.fail(BROKEN)
        elif purpose == "list" and "continue" not in self.driven.query:
            self.driven.open()
            self.driven.feed_octets(self.server.pages()[:50])
            self.driven.fail(BROKEN)

    def _known(self) -> dict[str, str]:
        found = {}
        for key, one in self.driven.objects.items():
            assert isinstance(one, Service)
            found[key[2]] = ".".join(map(str, one.addresses[0]))
        return found

    @rule()
    def catch_up(self) -> None:
        """From now on all goes well: after a while all is known as it is."""
        for _ in range(40):
            if not self.is_open:
                self.answer()
                continue
            self.deliver(1000)
            if self.driven.reflector.is_live and not self.is_restored:
                break
            self.driven.wake()
        assert self._known() == self.server.truth()
        assert self.driven.reflector.is_live

    def teardown(self) -> None:
        requests = self.driven.number
        self.catch_up()
        assert self.driven.number - requests <= 20


Following.TestCase.settings = settings(max_examples=250, stateful_step_count=40, deadline=None)
TestFollowing = Following.TestCase


def test_the_model_refuses_as_a_real_server_does() -> None:
    assert recorded("watchlist_gate_off").status == 422
    assert recorded("list_continue_410").status == 410
