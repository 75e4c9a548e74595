"""Whatever objects there are, a snapshot of them says the same; whatever octets there are, nothing else does."""

from __future__ import annotations

from hashlib import blake2b
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kdns.kube.objects import EndpointSlice, Namespace, Object, Pod, Service
from kdns.kube.snapshot import Section, Snapshot, SnapshotError, choose, decode, encode

PRELUDE_OCTETS = 12
TRAILER_OCTETS = 48
PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    str: st.sampled_from(["", "shop", "web"]) | st.text(max_size=5),
    bytes: st.binary(max_size=20),
    int: st.integers(-(2**63), 2**64 - 1),
    bool: st.booleans(),
}


def values(hint: Any) -> st.SearchStrategy[Any]:
    """Any values of a type that a field of an object has."""
    if hint in PLAIN:
        return PLAIN[hint]
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        hints = get_type_hints(hint)
        return st.builds(hint, **{name: values(hints[name]) for name in hint.__struct_fields__})
    items = get_args(hint)
    if get_origin(hint) is UnionType:
        return st.one_of(*(st.none() if item is NoneType else values(item) for item in items))
    assert get_origin(hint) is tuple
    if items[1:] == (...,):
        return st.lists(values(items[0]), max_size=3).map(tuple)
    return st.tuples(*map(values, items))


def objects(kind: type[Object]) -> st.SearchStrategy[tuple[Object, ...]]:
    return st.lists(values(kind), max_size=4).map(tuple)


WORDS = st.text(max_size=8)
SECTIONS = st.builds(Section, WORDS, WORDS, st.one_of(*map(objects, (Namespace, Service, EndpointSlice, Pod))))
SNAPSHOTS = st.lists(
    st.builds(
        Snapshot, WORDS, WORDS, st.floats(allow_nan=False, allow_infinity=False),
        st.lists(SECTIONS, max_size=3).map(tuple),
    ),
    max_size=2,
).map(tuple)


def written(snapshots: tuple[Snapshot, ...]) -> bytes:
    return b"".join(encode(snapshots))


def sealed(before: bytes) -> bytes:
    """What a forger makes who knows the format: a prelude and any frames, with the trailer that suits them."""
    length = len(before) + TRAILER_OCTETS
    return before + blake2b(before, digest_size=32).digest() + length.to_bytes(8, "big") + b"kdns-end"


@given(SNAPSHOTS)
def test_what_is_read_is_what_was_written(snapshots: tuple[Snapshot, ...]) -> None:
    assert decode(written(snapshots)) == snapshots


@given(SNAPSHOTS, st.data())
def test_every_flipped_bit_is_noticed(snapshots: tuple[Snapshot, ...], data: st.DataObject) -> None:
    whole = bytearray(written(snapshots))
    at = data.draw(st.integers(0, len(whole) * 8 - 1))
    whole[at // 8] ^= 1 << at % 8
    with pytest.raises(SnapshotError):
        decode(bytes(whole))


@given(SNAPSHOTS, st.data())
def test_every_truncation_and_every_octet_too_many_is_noticed(
    snapshots: tuple[Snapshot, ...], data: st.DataObject
) -> None:
    whole = written(snapshots)
    cut = data.draw(st.integers(0, len(whole) - 1))
    for broken in (whole[:cut], whole[cut + 1 :], whole[:cut] + whole[cut + 1 :], whole + whole[: cut + 1]):
        with pytest.raises(SnapshotError):
            decode(broken)


@given(SNAPSHOTS, SNAPSHOTS, st.data())
def test_a_mixture_of_two_snapshots_is_noticed(
    some: tuple[Snapshot, ...], other: tuple[Snapshot, ...], data: st.DataObject
) -> None:
    one, two = written(some), written(other)
    cut = data.draw(st.integers(0, max(len(one), len(two))))
    mixed = one[:cut] + two[cut:]
    assume(mixed not in (one, two))
    with pytest.raises(SnapshotError):
        decode(mixed)


@given(st.binary(max_size=200), st.booleans())
def test_any_octets_are_refused_and_nothing_else_happens(octets: bytes, like_ours: bool) -> None:
    start = written(())[:PRELUDE_OCTETS] if like_ours else b""
    with pytest.raises(SnapshotError):
        decode(start + octets)


@given(SNAPSHOTS, st.data())
def test_forged_octets_are_read_or_refused_and_nothing_else_happens(
    snapshots: tuple[Snapshot, ...], data: st.DataObject
) -> None:
    forged = bytearray(written(snapshots)[:-TRAILER_OCTETS])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(PRELUDE_OCTETS, len(forged) - 1))
        forged[at] = data.draw(st.sampled_from([0, 1, 0x7F, 0x80, 0x91, 0xC0, 0xC4, 0xCB, 0xDC, 0xDD, 0xFF]))
    try:
        found = decode(sealed(bytes(forged)))
    except SnapshotError:
        return
    assert choose(found, [one.fingerprint for one in found], 1e9, 3600).notices is not None


@given(SNAPSHOTS, st.binary(max_size=60))
def test_forged_frames_are_read_or_refused_and_nothing_else_happens(
    snapshots: tuple[Snapshot, ...], body: bytes
) -> None:
    start = written(snapshots)[:-TRAILER_OCTETS]
    with pytest.raises(SnapshotError):
        decode(sealed(start + len(body).to_bytes(4, "big") + body))
    with pytest.raises(SnapshotError):
        decode(sealed(start[:PRELUDE_OCTETS] + len(body).to_bytes(4, "big") + body))
