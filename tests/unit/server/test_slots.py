"""kdns.server.slots: what a worker tells of itself, across processes and beyond its life."""

from __future__ import annotations

import os

from kdns.server.slots import Slots, SlotState


def test_a_child_writes_and_its_parent_reads() -> None:
    slots = Slots(2, counters=3)
    pid = os.fork()
    if pid == 0:
        slots[1].heartbeat_ns = 12345
        slots[1].state = SlotState.READY
        slots[1].counters[2] = 2**63
        os._exit(0)
    os.waitpid(pid, 0)
    assert slots[1].heartbeat_ns == 12345
    assert slots[1].state is SlotState.READY
    assert list(slots[1].counters) == [0, 0, 2**63]
    assert slots[0].state is SlotState.EMPTY
    assert list(slots[0].counters) == [0, 0, 0]


def test_a_new_incarnation_keeps_the_counters_of_the_former_one() -> None:
    slot = Slots(1, counters=2)[0]
    assert slot.begin(now_ns=1) == 1
    slot.counters[0] = 7
    slot.state = SlotState.READY
    assert slot.begin(now_ns=2) == 2
    assert slot.incarnation == 2
    assert slot.counters[0] == 7
    assert slot.state is SlotState.STARTING
    assert slot.heartbeat_ns == 2


def test_slots_are_ready_when_each_of_them_is() -> None:
    slots = Slots(2, counters=1)
    for slot in slots:
        slot.pid = 100
    slots[0].state = SlotState.READY
    assert not slots.are_ready
    slots[1].state = SlotState.READY
    assert slots.are_ready
    slots[0].state = SlotState.DRAINING
    assert not slots.are_ready


def test_a_worker_that_died_reads_nothing_whatever_it_told_last() -> None:
    slots = Slots(1, counters=1)
    slots[0].pid, slots[0].state = 100, SlotState.READY
    assert slots.are_ready
    slots[0].pid = 0
    assert not slots.are_ready
    assert slots[0].state is SlotState.READY


def test_slots_do_not_overlap() -> None:
    slots = Slots(3, counters=5)
    for slot in slots:
        slot.pid = 100 + slot.index
        for at in range(5):
            slot.counters[at] = slot.index
    assert [slot.pid for slot in slots] == [100, 101, 102]
    assert [list(slot.counters) for slot in slots] == [[0] * 5, [1] * 5, [2] * 5]
    assert len(slots) == 3
