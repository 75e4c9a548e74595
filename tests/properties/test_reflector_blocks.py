"""However the octets of an answer are cut into blocks, the same follows from them."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from kdns.kube.lines import LineSplitter
from tests.unit.kube.reflecting import (
    EXPIRED,
    NAMESPACES,
    SLICES,
    Driven,
    added,
    bookmark,
    deleted,
    end_bookmark,
    error,
    lines,
    modified,
    page,
    recorded,
    recorded_watch,
    service_object,
)

Told = tuple[list[object], bool, list[str], tuple[object, ...], str]

EVENTS = st.sampled_from(
    [
        added("a", 5),
        added("b", 30),
        added("a", 40, "10.96.0.9"),
        modified("a", 101),
        modified("b", 120, "10.96.0.3"),
        deleted("a", 121),
        bookmark(130),
        bookmark(90),
        end_bookmark(100),
        {"type": "NEW", "object": {}},
        error(500, "InternalError", "no"),
        EXPIRED,
        b'{"type":"ADDED","object":{"metadata":{"name":"c"},"spec":{"ports":7}}}',
        b"{",
        b"",
        b"\xff",
    ]
)


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    """In blocks of these sizes, again and again."""
    blocks, start, turn = [], 0, 0
    while start < len(data):
        blocks.append(data[start : start + sizes[turn % len(sizes)]])
        start, turn = start + len(blocks[-1]), turn + 1
    return blocks


def told(driven: Driven, blocks: list[bytes]) -> Told:
    """All that follows from an answer in these blocks."""
    driven.open()
    number = driven.number
    for block in blocks:
        driven.outcomes.append(driven.reflector.received(number, block, driven.now))
    request = driven.reflector.request
    return (
        [change for outcome in driven.outcomes for change in outcome.changes],
        any(outcome.synced for outcome in driven.outcomes),
        sorted(notice.text for notice in driven.notices),
        (request.number, request.query, request.due, driven.reflector.wake_at, driven.reflector.is_live),
        driven.reflector.resource_version,
    )


SIZES = st.lists(st.integers(1, 700), min_size=1, max_size=6)


@given(st.lists(EVENTS, max_size=12), SIZES)
@settings(max_examples=300, deadline=None)
def test_a_stream_says_the_same_in_any_blocks(events: list[bytes], sizes: list[int]) -> None:
    data = lines(*events)
    assert told(Driven(), cut(data, sizes)) == told(Driven(), [data])


@given(SIZES)
@settings(max_examples=30, deadline=None)
def test_a_recorded_watch_list_says_the_same_in_any_blocks(sizes: list[int]) -> None:
    body = recorded("watchlist").body
    assert told(Driven(SLICES), cut(body, sizes)) == told(Driven(SLICES), [body])


def test_a_recorded_watch_says_the_same_octet_by_octet() -> None:
    body = recorded("watchlist").body[-300:] + recorded_watch("namespaces")
    assert told(Driven(NAMESPACES), cut(body, [1])) == told(Driven(NAMESPACES), [body])


@given(st.lists(st.sampled_from("abc"), max_size=5), SIZES)
def test_a_page_says_the_same_in_any_blocks(names: list[str], sizes: list[int]) -> None:
    data = page(50, *(service_object(name, version) for version, name in enumerate(names, 1)))
    assert told(Driven(is_paged=True), cut(data, sizes)) == told(Driven(is_paged=True), [data])


@given(st.lists(st.binary(max_size=40)))
def test_lines_are_those_of_the_whole_in_any_blocks(blocks: list[bytes]) -> None:
    splitter = LineSplitter()
    found = [line for block in blocks for line in splitter.feed(block)]
    *whole, rest = b"".join(blocks).split(b"\n")
    assert found == [line for line in whole if line]
    assert splitter.pending_octets == len(rest)
