"""An engine after any changes answers every question as one that was built from where they led."""

from __future__ import annotations

from itertools import cycle, islice
from struct import iter_unpack

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from kdns.answer.spec import ClusterSpec, SiteSpec, Specification
from kdns.zone.cluster import PodNames, ReverseZone
from kdns.zone.delta import ZoneDelta, next_serial
from kdns.zone.reverse import ReverseIndex
from tests.support.engines import CLUSTER, IN_ADDR, IP6, Served
from tests.support.messages import AAAA, ANY, CNAME, NS, PTR, SOA, SRV, TXT, A, Answer, query
from tests.support.strategies import Cluster, clusters, deltas, names_of_interest

ZONES = (CLUSTER, IN_ADDR, IP6)
TYPES = (A, AAAA, SRV, PTR, CNAME, TXT, NS, SOA, ANY)


def serve(state: Cluster, pods: PodNames) -> Served:
    spec = ClusterSpec(ZONES, 30, pods, (), (b"\x0a\0\0\1",))
    return Served(Specification((spec,), (SiteSpec(ZONES, (0,)),), ((0,),)), [state.image()])


def ask(served: Served, qname: bytes, qtype: int) -> bytes:
    """A reply over TCP, so that nothing is missing."""
    reply = served.ask(query(qname, qtype), True)
    assert reply is not None
    return reply


def compare(one: Served, other: Served, qname: bytes, qtype: int) -> None:
    """Both answer the same; rotated records are compared as a set."""
    wires = ask(one, qname, qtype), ask(other, qname, qtype)
    if wires[0] != wires[1]:
        assert _content(Answer(wires[0])) == _content(Answer(wires[1])), (qname, qtype)


def _content(answer: Answer) -> tuple[object, ...]:
    return answer.rcode, answer.flags, answer.sections(), _ordered(answer)


def _ordered(answer: Answer) -> list[str]:
    """The records of which the order matters: all but addresses."""
    return [line for line in answer.answer if line.split()[2] not in ("A", "AAAA")]


def question_types(qname: bytes, at: int) -> tuple[int, ...]:
    """Two types for each name, so that over all names and examples every type is asked."""
    return (PTR, TYPES[at % 9]) if qname.endswith(b"\x04arpa\0") else (TYPES[at % 9], TYPES[(at + 3) % 9])


@given(clusters(), st.sampled_from(PodNames), st.lists(deltas(), min_size=1, max_size=5), st.integers(0, 8))
def test_after_any_changes_every_answer_is_that_of_a_rebuild(
    state: Cluster, pods: PodNames, changes: list[ZoneDelta], salt: int
) -> None:
    served = serve(state, pods)
    names = sorted(set(names_of_interest(state)))
    for change in changes:
        for at, qname in enumerate(names[salt::3]):  # what is asked now is kept, and must go when it is wrong
            ask(served, qname, TYPES[at % 9])
        served.engine.apply(change)
        state.apply(change)
    rebuilt = serve(state, pods)
    for at, qname in enumerate(sorted({*names, *names_of_interest(state)})):
        for qtype in question_types(qname, at + salt):
            compare(served, rebuilt, qname, qtype)


@given(clusters(), st.sampled_from(PodNames), deltas(), st.integers(0, 8), st.integers(1, 7))
def test_while_a_change_is_prepared_every_answer_is_the_one_of_before(
    state: Cluster, pods: PodNames, change: ZoneDelta, salt: int, stride: int
) -> None:
    """And what is asked meanwhile is kept only where it stays right."""
    served, before = serve(state, pods), serve(state, pods)
    names = sorted(set(names_of_interest(state)))
    questions = cycle([(name, qtype) for at, name in enumerate(names) for qtype in question_types(name, at + salt)])
    for _ in served.engine.apply_in_steps(change):
        for qname, qtype in islice(questions, 7 * stride):
            compare(served, before, qname, qtype)
    state.apply(change)
    after = serve(state, pods)
    for qname, qtype in islice(questions, 2 * len(names)):
        compare(served, after, qname, qtype)


@given(clusters(), st.lists(deltas(), min_size=1, max_size=6))
def test_the_reverse_index_of_a_changed_state_is_that_of_a_rebuild(state: Cluster, changes: list[ZoneDelta]) -> None:
    served = serve(state, PodNames.DISABLED)
    for change in changes:
        served.engine.apply(change)
        state.apply(change)
    rebuilt = serve(state, PodNames.DISABLED)
    changed, fresh = (zone._state.reverse for zone in map(_reverse_zone, (served, rebuilt)))
    assert _entries(changed) == _entries(fresh)
    assert changed._numbers.keys() <= state.subtrees.keys()
    assert len(changed._owners) - len(changed._free) == len(changed._numbers)


def _entries(index: ReverseIndex) -> dict[bytes, list[tuple[int, bytes]]]:
    return {
        block: sorted((octet, index._owners[number]) for octet, number in iter_unpack("<BI", entries))
        for block, entries in index._blocks.items()
    }


def _reverse_zone(served: Served) -> ReverseZone:
    zone = served.engine._zone_maps[0][IN_ADDR]
    assert isinstance(zone, ReverseZone)
    return zone


@given(clusters(), deltas())
def test_applying_a_change_twice_is_applying_it_once(state: Cluster, change: ZoneDelta) -> None:
    """Its serial is ahead, as those of all sources are; one that is not is moved ahead each time."""
    change = replace(change, serial=next_serial(state.serial, state.serial))
    once, twice = serve(state, PodNames.VERIFIED), serve(state, PodNames.VERIFIED)
    once.engine.apply(change)
    twice.engine.apply(change)
    twice.engine.apply(change)
    for at, qname in enumerate(sorted(set(names_of_interest(state)))):
        for qtype in question_types(qname, at):
            compare(once, twice, qname, qtype)
