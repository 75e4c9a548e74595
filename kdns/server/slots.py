"""One shared page per worker slot: heartbeat, state, and counters that outlive the worker.

An anonymous shared mapping made before the fork. Every field is one aligned 64-bit word with one writer, so a
reader in another process sees the old value or the new one. Not here: what a counter means
(kdns.observe.tally), what is done about a silent worker (kdns.server.supervisor).
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from enum import IntEnum

from kdns.zone.delta import is_ahead

_HEARTBEAT, _STATE, _INCARNATION, _PID, HEADER_WORDS = 0, 1, 2, 3, 8
WORD_OCTETS = 8


class SlotState(IntEnum):
    """How far the worker of a slot is."""

    EMPTY = 0  # never had a worker
    STARTING = 1  # forked; reads no queries yet
    READY = 2  # the image is published and queries are read
    DRAINING = 3  # reads no queries any more; finishes the connections it has


class Slot:
    """The words of one slot. `counters`: one word for each counter."""

    __slots__ = ("_words", "counters", "index")

    def __init__(self, index: int, words: memoryview) -> None:
        self.index = index
        self._words = words
        self.counters = words[HEADER_WORDS:]

    @property
    def heartbeat_ns(self) -> int:
        """When the worker last came round its loop, by CLOCK_MONOTONIC."""
        return int(self._words[_HEARTBEAT])

    @heartbeat_ns.setter
    def heartbeat_ns(self, now_ns: int) -> None:
        self._words[_HEARTBEAT] = now_ns

    @property
    def state(self) -> SlotState:
        """How far the worker is."""
        return SlotState(self._words[_STATE])

    @state.setter
    def state(self, state: SlotState) -> None:
        self._words[_STATE] = state

    @property
    def incarnation(self) -> int:
        """Which worker of this slot it is, counted from 1."""
        return int(self._words[_INCARNATION])

    @property
    def pid(self) -> int:
        """The worker's process id, 0 while there is none."""
        return int(self._words[_PID])

    @pid.setter
    def pid(self, pid: int) -> None:
        self._words[_PID] = pid

    @property
    def is_reading(self) -> bool:
        """Whether there is a worker that reads queries. What a dead one told last says nothing."""
        return self.pid != 0 and self.state is SlotState.READY

    def begin(self, now_ns: int) -> int:
        """Before a worker is forked: make the slot a new incarnation's and return its number."""
        self._words[_INCARNATION] += 1
        self.heartbeat_ns = now_ns
        self.state = SlotState.STARTING
        return self.incarnation


class Slots:
    """All slots of one generation of workers."""

    def __init__(self, slots: int, counters: int) -> None:
        words = HEADER_WORDS + counters
        self._map = mmap.mmap(-1, slots * words * WORD_OCTETS)
        view = memoryview(self._map).cast("Q")
        self._all = [Slot(index, view[index * words : (index + 1) * words]) for index in range(slots)]

    def __len__(self) -> int:
        return len(self._all)

    def __getitem__(self, index: int) -> Slot:
        return self._all[index]

    def __iter__(self) -> Iterator[Slot]:
        return iter(self._all)

    @property
    def are_ready(self) -> bool:
        """Whether every slot has a worker that reads queries."""
        return all(slot.is_reading for slot in self._all)


class Serials:
    """The last SOA serial that any control has published: it must not go back with a new control or a reload."""

    def __init__(self) -> None:
        self._word = memoryview(mmap.mmap(-1, WORD_OCTETS)).cast("Q")  # one more than the serial; 0 for none

    @property
    def last(self) -> int | None:
        """The serial noted last, None before the first one."""
        return int(self._word[0]) - 1 if self._word[0] else None

    def note(self, serial: int) -> None:
        """Note a serial, unless a later one (RFC 1982) is noted already."""
        if self.last is None or is_ahead(serial, self.last):
            self._word[0] = serial + 1
