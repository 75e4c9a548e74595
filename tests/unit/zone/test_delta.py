"""Deltas on the wire between processes, and serials (RFC 1982)."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.zone.delta import (
    LACKS_ENDPOINTS,
    LACKS_EVERYTHING,
    LACKS_NAMESPACES,
    LACKS_PODS,
    LACKS_SERVICES,
    SERIAL_HALF,
    SERIAL_MASK,
    ZoneDelta,
    is_ahead,
    kinds_text,
    next_serial,
)
from kdns.zone.rrset import RRset
from tests.support.subtrees import alias, headless, host_sets, service

SERIALS = st.integers(0, SERIAL_MASK)
EXTREMES = st.sampled_from([0, 1, SERIAL_HALF - 1, SERIAL_HALF, SERIAL_HALF + 1, SERIAL_MASK - 1, SERIAL_MASK])


@pytest.mark.parametrize(
    ("serial", "of", "expected"),
    [
        (1, 0, True),
        (0, 1, False),
        (5, 5, False),
        (0, SERIAL_MASK, True),
        (SERIAL_MASK, 0, False),
        (44, 0, True),
        (SERIAL_HALF - 1, 0, True),
        (SERIAL_HALF, 0, False),
        (0, SERIAL_HALF, False),
        (100, SERIAL_MASK - 100, True),
    ],
)
def test_3_2_a_serial_is_ahead_by_less_than_half_the_circle(serial: int, of: int, expected: bool) -> None:
    assert is_ahead(serial, of) is expected


@given(SERIALS | EXTREMES, SERIALS | EXTREMES)
def test_3_2_of_two_serials_at_most_one_is_ahead(one: int, other: int) -> None:
    assert not (is_ahead(one, other) and is_ahead(other, one))


@given(SERIALS | EXTREMES, st.integers(1, SERIAL_HALF - 1))
def test_3_1_adding_less_than_half_the_circle_leads_ahead(serial: int, step: int) -> None:
    assert is_ahead((serial + step) & SERIAL_MASK, serial)


@given(SERIALS | EXTREMES, st.integers(0, 1 << 70))
def test_a_published_serial_is_always_ahead_of_the_one_before(previous: int, wanted: int) -> None:
    serial = next_serial(previous, wanted)
    assert is_ahead(serial, previous)
    assert serial in (wanted & SERIAL_MASK, (previous + 1) & SERIAL_MASK)


@pytest.mark.parametrize(
    ("previous", "wanted", "serial"),
    [
        (None, 7, 7),
        (None, (1 << 32) + 7, 7),
        (7, 9, 9),
        (7, 7, 8),
        (7, 3, 8),
        (SERIAL_MASK, SERIAL_MASK, 0),
        (SERIAL_MASK, 1 << 32, 0),
        (0, SERIAL_HALF, 1),
    ],
)
def test_what_is_wanted_is_published_if_it_is_ahead(previous: int | None, wanted: int, serial: int) -> None:
    assert next_serial(previous, wanted) == serial


FULL = ZoneDelta(
    3,
    serial=7,
    reset=True,
    rrsets=(RRset(b"\0", 6, 5, (b"x", b"y")),),
    subtrees=(
        service("web.shop", "10.0.0.1", "2001:db8::1", hosts=host_sets("10.1.0.1=a"), note="why", hidden=True),
        headless("db.shop", "10.1.0.1=db-0 10.1.0.2"),
        alias("out.shop", "www.example.org"),
    ),
    removed=(b"\x01a",),
    namespaces=(b"\x04shop",),
    namespaces_removed=(b"\x03old",),
    pods=((b"\x04shop", bytes(4)),),
    pods_removed=((b"\x04shop", bytes(16)),),
    lacks=LACKS_PODS,
)


@pytest.mark.parametrize("delta", [ZoneDelta(0), FULL])
def test_a_delta_survives_the_way_to_another_process(delta: ZoneDelta) -> None:
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(delta), type=ZoneDelta) == delta


def test_what_is_not_said_takes_an_octet_for_each_field() -> None:
    assert len(msgspec.msgpack.encode(ZoneDelta(0, 7))) == 1 + len(ZoneDelta.__struct_fields__)


@pytest.mark.parametrize(
    "delta",
    [
        ZoneDelta(0, reset=True),
        ZoneDelta(0, subtrees=FULL.subtrees),
        ZoneDelta(0, removed=(b"x",)),
        ZoneDelta(0, namespaces=(b"x",)),
        ZoneDelta(0, namespaces_removed=(b"x",)),
        ZoneDelta(0, pods=FULL.pods),
        ZoneDelta(0, pods_removed=FULL.pods),
    ],
)
def test_a_delta_with_content_may_change_an_answer(delta: ZoneDelta) -> None:
    assert not delta.changes_nothing


@pytest.mark.parametrize(
    ("lacks", "text"),
    [
        (0, ""),
        (LACKS_SERVICES, "Services"),
        (LACKS_SERVICES | LACKS_ENDPOINTS, "Services and EndpointSlices"),
        (LACKS_SERVICES | LACKS_NAMESPACES | LACKS_PODS, "Services, Namespaces and Pods"),
        (LACKS_EVERYTHING, "Services, EndpointSlices, Namespaces and Pods"),
    ],
)
def test_kinds_that_are_lacking_are_said_by_name(lacks: int, text: str) -> None:
    assert kinds_text(lacks) == text


def test_a_serial_alone_changes_nothing() -> None:
    assert ZoneDelta(0, serial=9).changes_nothing
