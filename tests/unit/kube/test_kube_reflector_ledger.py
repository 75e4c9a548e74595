"""Mark and sweep: what is told of a list, when, and what an object's version is worth."""

from __future__ import annotations

import pytest

from kdns.kube import api
from kdns.kube.ledger import UNKNOWN, Ledger, Sweep, is_behind, is_comparable, version_of
from kdns.kube.objects import Key, Namespace, Tombstone

A, B, C = (("Namespace", "", name) for name in "abc")


def namespace(key: Key, labels: str = "") -> Namespace:
    return Namespace(key, labels)


def known(*keys: Key) -> Ledger:
    ledger = Ledger()
    for version, key in enumerate(keys, 1):
        ledger.put(key, version, namespace(key))
    ledger.take()
    return ledger


def test_a_change_is_told_once() -> None:
    ledger = Ledger()
    ledger.put(A, 1, namespace(A))
    assert ledger.take() == [namespace(A)]
    assert ledger.take() == []


def test_what_is_gone_is_told_only_if_it_was_known() -> None:
    ledger = known(A)
    ledger.drop(B)
    assert ledger.take() == []
    ledger.drop(A)
    assert ledger.take() == [Tombstone(A)]
    ledger.drop(A)
    assert ledger.take() == []


def test_an_object_without_a_version_is_never_known() -> None:
    ledger = Ledger([A])
    ledger.put(B, UNKNOWN, namespace(B))
    assert not ledger.is_known(A, UNKNOWN)
    assert not ledger.is_known(B, UNKNOWN)
    assert not ledger.is_known(C, 1)


def test_an_object_is_known_in_one_version() -> None:
    assert known(A).is_known(A, 1)
    assert not known(A).is_known(A, 2)


def test_a_list_that_holds_back_tells_nothing_before_its_end() -> None:
    ledger = known(A, B)
    sweep = Sweep(ledger, holds_back=True)
    sweep.keep(A)
    sweep.put(C, 7, namespace(C))
    assert ledger.take() == []
    sweep.finish()
    assert ledger.take() == [Tombstone(B), namespace(C)]
    assert ledger.versions == {A: 1, C: 7}


def test_a_list_that_is_broken_off_leaves_everything_as_it_was() -> None:
    ledger = known(A, B)
    sweep = Sweep(ledger, holds_back=True)
    sweep.put(A, 9, namespace(A, "new"))
    sweep.drop(B)
    assert ledger.take() == []
    assert ledger.versions == {A: 1, B: 2}


def test_the_last_state_that_a_list_shows_is_the_one_told() -> None:
    ledger = known(A)
    sweep = Sweep(ledger, holds_back=True)
    sweep.put(A, 5, namespace(A, "x"))
    sweep.put(B, 6, namespace(B))
    sweep.put(A, 7, namespace(A, "y"))
    sweep.finish()
    assert ledger.take() == [namespace(B), namespace(A, "y")]
    assert ledger.versions == {A: 7, B: 6}


def test_what_was_deleted_while_the_list_came_is_gone_at_its_end() -> None:
    ledger = known(A)
    sweep = Sweep(ledger, holds_back=True)
    sweep.keep(A)
    sweep.put(B, 6, namespace(B))
    sweep.drop(A)
    sweep.drop(B)
    sweep.finish()
    assert ledger.take() == [Tombstone(A)]
    assert ledger.versions == {}


def test_what_came_back_to_its_known_state_is_no_change() -> None:
    ledger = known(A)
    sweep = Sweep(ledger, holds_back=True)
    sweep.put(A, 5, namespace(A, "x"))
    sweep.keep(A)
    sweep.finish()
    assert ledger.take() == []


def test_the_first_list_tells_as_it_comes_and_sweeps_what_a_broken_one_left() -> None:
    ledger = Ledger()
    broken = Sweep(ledger, holds_back=False)
    broken.put(A, 1, namespace(A))
    broken.put(B, 2, namespace(B))
    assert ledger.take() == [namespace(A), namespace(B)]
    again = Sweep(ledger, holds_back=False)
    assert again.is_known(A, 1)
    again.keep(A)
    again.put(C, 3, namespace(C))
    assert ledger.take() == [namespace(C)]
    again.finish()
    assert ledger.take() == [Tombstone(B)]


def test_keys_from_elsewhere_are_swept_too() -> None:
    ledger = Ledger([A, B])
    sweep = Sweep(ledger, holds_back=True)
    sweep.put(A, 4, namespace(A))
    sweep.finish()
    assert ledger.take() == [Tombstone(B), namespace(A)]


def test_forgotten_versions_are_asked_for_again_but_the_objects_stay() -> None:
    ledger = known(A, B)
    ledger.forget_versions()
    assert not ledger.is_known(A, 1)
    sweep = Sweep(ledger, holds_back=True)
    sweep.put(A, 1, namespace(A))
    sweep.finish()
    assert ledger.take() == [Tombstone(B), namespace(A)]


def test_arrivals_count_objects_and_not_their_changes() -> None:
    sweep = Sweep(known(A), holds_back=True)
    sweep.keep(A)
    sweep.keep(A)
    sweep.put(B, 3, namespace(B))
    sweep.put(B, 4, namespace(B))
    assert sweep.arrivals == 2


def test_a_version_is_of_one_state_of_one_object() -> None:
    first = version_of(api.ObjectMeta(uid="u", resource_version="7"))
    assert first == version_of(api.ObjectMeta(name="other", uid="u", resource_version="7"))
    assert first != version_of(api.ObjectMeta(uid="u", resource_version="8"))
    assert first != version_of(api.ObjectMeta(uid="v", resource_version="7"))
    assert version_of(api.ObjectMeta(uid="u")) == version_of(api.ObjectMeta(uid="u", resource_version="")) == UNKNOWN


@pytest.mark.parametrize(
    ("version", "other", "expected"),
    [
        ("9", "10", True),
        ("10", "9", False),
        ("10", "10", False),
        ("", "10", False),
        ("9", "", False),
        ("abc", "10", False),
        ("9", "1e3", False),
        ("-1", "10", False),
        ("²", "10", False),
        ("18446744073709551614", "18446744073709551615", True),
        ("0" * 21, "10", False),
    ],
)
def test_versions_are_compared_as_numbers_and_only_if_they_are(version: str, other: str, expected: bool) -> None:
    assert is_behind(version, other) is expected


@pytest.mark.parametrize("text", ["", "abc", "1.5", " 1", "1_0", "٣", "9" * 5000])
def test_what_is_no_number_of_64_bits_is_not_comparable(text: str) -> None:
    assert not is_comparable(text)


def test_an_object_that_cannot_be_told_stays_in_the_version_that_is_known() -> None:
    ledger = known(A)
    assert ledger.stay(A)
    assert not ledger.stay(B)
    assert ledger.is_known(A, 1)
    assert ledger.take() == []


@pytest.mark.parametrize("holds_back", [True, False])
def test_a_list_keeps_what_it_cannot_tell_as_it_showed_it_last_or_as_it_was(holds_back: bool) -> None:
    ledger = known(A)
    sweep = Sweep(ledger, holds_back)
    sweep.put(B, 7, namespace(B))
    assert sweep.stay(A)
    assert sweep.stay(B)
    assert not sweep.stay(C)
    sweep.finish()
    assert ledger.take() == [namespace(B)]
    assert ledger.versions == {A: 1, B: 7}
