"""kdns.server.parcel: ZoneDeltas packed and unpacked, inline or in a memfd."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.server.parcel import MAX_INLINE_OCTETS, MalformedParcel, Parcel, unpack, unpack_file
from kdns.zone.delta import ZoneDelta
from kdns.zone.rrset import RRset
from kdns.zone.subtree import HostSet, Port, Subtree

NAMES = st.binary(min_size=1, max_size=20)
SUBTREES = st.builds(
    Subtree,
    owner=NAMES,
    addresses=st.lists(st.binary(min_size=4, max_size=4), max_size=3).map(tuple),
    hosts=st.lists(
        st.builds(HostSet, st.just(4), st.just((Port(b"http", b"tcp", 80),)), st.binary(max_size=40)), max_size=2
    ).map(tuple),
    headless=st.booleans(),
    note=st.text(max_size=10),
)
DELTAS = st.builds(
    ZoneDelta,
    source=st.integers(0, 10),
    serial=st.none() | st.integers(0, 2**32 - 1),
    reset=st.booleans(),
    rrsets=st.lists(
        st.builds(RRset, NAMES, st.integers(1, 65535), st.integers(0, 2**31), st.just((b"x",))), max_size=5
    ).map(tuple),
    subtrees=st.lists(SUBTREES, max_size=5).map(tuple),
    removed=st.lists(NAMES, max_size=5).map(tuple),
)


def _large(parts: int) -> list[ZoneDelta]:
    """Parts that together are too large for a message."""
    rrset = RRset(b"\x01a\x00", 16, 60, (bytes(MAX_INLINE_OCTETS // 2),))
    return [ZoneDelta(source, rrsets=(rrset,)) for source in range(parts)]


def _received(parcel: Parcel) -> list[ZoneDelta]:
    """What a worker makes of it, by whichever way it comes."""
    if parcel.data is not None:
        return list(unpack(parcel.data))
    return list(unpack_file(os.dup(parcel.fd)))


@given(st.lists(DELTAS, max_size=6))
def test_what_is_unpacked_is_what_was_packed(deltas: list[ZoneDelta]) -> None:
    parcel = Parcel(deltas)
    assert _received(parcel) == deltas
    parcel.close()


def test_a_small_parcel_is_inline_and_a_large_one_is_not() -> None:
    small, large = Parcel([ZoneDelta(1)]), Parcel(_large(10))
    assert small.fd < 0
    assert small.data is not None
    assert large.data is None
    assert _received(large) == _large(10)
    assert _received(large) == _large(10)  # every worker maps the same file
    large.close()
    large.close()


def test_a_parcel_that_was_sent_cannot_be_changed() -> None:
    parcel = Parcel(_large(3))
    for change in (lambda: os.write(parcel.fd, b"x"), lambda: os.ftruncate(parcel.fd, 0)):
        with pytest.raises(PermissionError):
            change()
    parcel.close()


def test_the_descriptor_is_closed_however_the_unpacking_ends() -> None:
    parcel = Parcel(_large(3))
    fd = os.dup(parcel.fd)
    unpack_file(fd)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    parcel.close()


@pytest.mark.parametrize("data", [b"\0\0\0\x09short", b"\0\0\0\x01\xc1", b"\0\0\0\x02\x91\xc0", b"\xff\xff\xff\xff"])
def test_nonsense_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedParcel):
        list(unpack(data))


@given(st.binary(max_size=200))
def test_any_octets_are_deltas_or_refused(data: bytes) -> None:
    try:
        parts = list(unpack(data))
    except MalformedParcel:
        return
    assert all(isinstance(part, ZoneDelta) for part in parts)


def test_parts_are_decoded_one_at_a_time() -> None:
    whole = Parcel([ZoneDelta(1)]).data
    assert whole is not None
    parts = unpack(whole + b"\0\0\0\x01\xc1")
    assert next(parts) == ZoneDelta(1)
    with pytest.raises(MalformedParcel):
        next(parts)


def test_an_empty_parcel_has_no_parts() -> None:
    assert _received(Parcel([])) == []
