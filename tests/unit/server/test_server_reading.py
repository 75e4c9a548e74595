"""kdns.server.reading: a change of a cluster as it travels to the workers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kdns.server.feed import Scope
from kdns.server.reading import DELTA_SUBTREES_MAX, PART_NAMES_MAX, PART_SUBTREES_MAX, Reading, parts_of
from kdns.zone.delta import LACKS_PODS, ZoneDelta
from kdns.zone.state import ClusterState
from kdns.zone.subtree import Subtree


def subtree(at: int) -> Subtree:
    return Subtree(f"\x04s{at:03}\x04shop\x03svc".encode(), addresses=(bytes((10, 0, at >> 8, at & 255)),))


def labels(prefix: str, count: int) -> tuple[bytes, ...]:
    return tuple(bytes((4,)) + f"{prefix}{at:03}".encode() for at in range(count))


@given(*[st.integers(0, 150)] * 6)
def test_the_parts_do_what_the_whole_does_and_are_small(
    subtrees: int, removed: int, namespaces: int, gone: int, pods: int, pods_gone: int
) -> None:
    delta = ZoneDelta(
        3,
        17,
        subtrees=tuple(map(subtree, range(subtrees))),
        removed=tuple(subtree(at).owner for at in range(200, 200 + removed)),
        namespaces=labels("n", namespaces),
        namespaces_removed=labels("g", gone),
        pods=tuple((label, b"\x0a\x00\x00\x01") for label in labels("n", pods)),
        pods_removed=tuple((label, b"\x0a\x00\x00\x02") for label in labels("g", pods_gone)),
        lacks=LACKS_PODS,
        lacking=(b"\x02n1",),
    )
    whole, in_parts = ClusterState(3), ClusterState(3)
    for state in (whole, in_parts):
        state.load(
            ZoneDelta(
                3, 16, True, subtrees=tuple(map(subtree, range(200, 350))), namespaces=labels("g", 150),
                pods=tuple((label, b"\x0a\x00\x00\x02") for label in labels("g", 150)),
            )
        )  # fmt: skip
    whole.load(delta)
    for part in parts_of(delta):
        assert (part.source, part.serial, part.lacks, part.reset) == (3, 17, LACKS_PODS, False)
        assert part.lacking == (b"\x02n1",)
        assert len(part.subtrees) + len(part.removed) <= PART_SUBTREES_MAX
        assert len(part.namespaces) + len(part.namespaces_removed) + len(part.pods) <= PART_NAMES_MAX
        in_parts.load(part)
    for field in ("subtrees", "namespaces", "pods"):
        assert getattr(in_parts, field) == getattr(whole, field)


def test_a_namespace_is_there_before_what_is_in_it_and_goes_after_it() -> None:
    delta = ZoneDelta(
        0, 1, subtrees=(subtree(1),), removed=(b"x",), namespaces=labels("n", 1), namespaces_removed=labels("g", 1)
    )
    order = [
        next(name for name in ("namespaces", "subtrees", "removed", "namespaces_removed") if getattr(part, name))
        for part in parts_of(delta)
    ]
    assert order == ["namespaces", "subtrees", "removed", "namespaces_removed"]


def test_a_change_says_what_it_is() -> None:
    reading = Reading()
    reading.change(ZoneDelta(0, 1, subtrees=(subtree(1),), namespaces=labels("n", 2), pods_removed=((b"n", b"a"),)))
    assert reading.scope is Scope.DELTA
    assert reading.what == (
        "1 services changed, 0 removed, 2 namespaces added, 0 removed, 0 pod addresses added, 1 removed"
    )


def test_more_services_than_workers_take_one_by_one_are_an_image() -> None:
    for count, scope in ((DELTA_SUBTREES_MAX, Scope.DELTA), (DELTA_SUBTREES_MAX + 1, Scope.IMAGE)):
        reading = Reading()
        reading.change(ZoneDelta(0, 1, removed=tuple(str(at).encode() for at in range(count))))
        assert reading.scope is scope
