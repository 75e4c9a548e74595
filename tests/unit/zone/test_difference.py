"""What differs between two versions of a subtree: nothing missed, little too much, in small parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from kdns.zone.difference import PART_ADDRESSES, PART_ROUNDS, Difference, differences
from kdns.zone.packed import host_labels
from kdns.zone.subtree import HostSet, Subtree
from tests.support.strategies import OWNERS, subtrees
from tests.support.subtrees import all_addresses, headless, host_sets, owner, packed, ports, service


def whole(parts: Iterable[Difference]) -> tuple[list[str], list[str], list[str]]:
    """All parts as one, in text."""
    gone: list[bytes] = []
    come: list[bytes] = []
    renamed: list[bytes] = []
    for part in parts:
        gone += part.gone
        come += part.come
        renamed += part.renamed
    return _texts(gone), _texts(come), _texts(renamed)


def _texts(addresses: Iterable[bytes]) -> list[str]:
    return sorted(".".join(map(str, address)) if len(address) == 4 else address.hex() for address in addresses)


def hosts(text: str) -> Subtree:
    return headless("db.shop", text)


@pytest.mark.parametrize(
    ("old", "new", "gone", "come", "renamed"),
    [
        ("10.0.0.1 10.0.0.2", "10.0.0.1 10.0.0.2", "", "", ""),
        ("10.0.0.1 10.0.0.2", "10.0.0.1 10.0.0.2 10.0.0.3", "", "10.0.0.3", ""),
        ("10.0.0.1 10.0.0.2", "10.0.0.0 10.0.0.1 10.0.0.2", "", "10.0.0.0", ""),
        ("10.0.0.1 10.0.0.2 10.0.0.3", "10.0.0.1 10.0.0.3", "10.0.0.2", "", ""),
        ("10.0.0.1 10.0.0.2 10.0.0.3", "10.0.0.1 10.0.0.3 10.0.0.4", "10.0.0.2", "10.0.0.4", ""),
        ("10.0.0.1", "10.0.0.2", "10.0.0.1", "10.0.0.2", ""),
        ("10.0.0.1=a 10.0.0.2=b", "10.0.0.1=a 10.0.0.2=c", "", "", "10.0.0.2"),
        ("10.0.0.1=a 10.0.0.2=b", "10.0.0.1=b 10.0.0.2=a", "", "", "10.0.0.1 10.0.0.2"),
        ("10.0.0.1=a 10.0.0.2=b", "10.0.0.2=b", "10.0.0.1", "", ""),
        ("10.0.0.1=a 10.0.0.3=b", "10.0.0.1=a 10.0.0.2=x 10.0.0.3=b", "", "10.0.0.2", ""),
        ("10.0.0.1 10.0.0.2", "10.0.0.1=a 10.0.0.2", "", "", "10.0.0.1"),
        ("10.0.0.1=a 10.0.0.2=b", "10.0.0.1 10.0.0.2", "", "", "10.0.0.1 10.0.0.2"),
        ("10.0.0.1=a 10.0.0.2=bb", "10.0.0.1=aaa 10.0.0.2=bb", "", "", "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1", "", ""),
        ("", "10.0.0.1", "", "10.0.0.1", ""),
    ],
)
def test_a_difference_names_the_hosts_that_differ_and_no_others(
    old: str, new: str, gone: str, come: str, renamed: str
) -> None:
    found = whole(differences(hosts(old), hosts(new)))
    assert found == (gone.split(), come.split(), renamed.split())


def test_a_subtree_that_is_new_or_gone_differs_in_all_its_addresses() -> None:
    subtree = service("web.shop", "10.96.0.1", hosts=host_sets("10.0.0.1=a 10.0.0.2"))
    every = ["10.0.0.1", "10.0.0.2", "10.96.0.1"]
    assert whole(differences(None, subtree)) == ([], every, [])
    assert whole(differences(subtree, None)) == (every, [], [])
    assert list(differences(None, None)) == []
    assert list(differences(subtree, subtree)) == []


def test_ports_and_notes_make_no_difference() -> None:
    old = service("web.shop", "10.96.0.1", port="http/tcp/80")
    assert whole(differences(old, replace(old, ports=ports("http/tcp/81"), note="x", hidden=True))) == ([], [], [])


def test_hosts_with_other_ports_go_and_come() -> None:
    """They are others: an address that several host sets have is counted for each."""
    old = headless("db.shop", "10.0.0.1 10.0.0.2", "db/tcp/1")
    assert whole(differences(old, headless("db.shop", "10.0.0.2", "db/tcp/2"))) == (
        ["10.0.0.1", "10.0.0.2"], ["10.0.0.2"], [],
    )


def test_a_service_that_becomes_headless_differs_in_all_addresses() -> None:
    """The order of the names of an address depends on it."""
    old, new = headless("db.shop", "10.0.0.1"), service("db.shop", "10.96.0.1", hosts=host_sets("10.0.0.1"))
    assert whole(differences(old, new)) == (["10.0.0.1"], ["10.0.0.1", "10.96.0.1"], [])


def test_octets_that_only_look_like_labels_are_not_taken_for_labels() -> None:
    """A digit is the length octet of a label of 48 octets or more."""
    digits = "1" * 57
    old = hosts(f"10.0.0.1=a{digits} 10.0.0.2={digits}")
    new = hosts(f"10.0.0.1=aa{digits} 10.0.0.2={digits}")
    assert whole(differences(old, new))[2] == ["10.0.0.1"]


def test_large_differences_come_in_small_parts() -> None:
    many = [bytes((10, 1, at >> 8, at & 255)) for at in range(3000)]
    old = Subtree(owner("db.shop"), hosts=(HostSet(4, (), b"".join(many[::2])),), headless=True)
    new = replace(old, hosts=(HostSet(4, (), b"".join(many[1::2])),))
    for pair in ((old, new), (None, old), (old, None)):
        parts = list(differences(*pair))
        assert max(sum(map(len, part)) for part in parts) <= max(PART_ADDRESSES, PART_ROUNDS)
        assert len(parts) >= 1500 // PART_ADDRESSES
    assert [len(found) for found in whole(differences(old, new))] == [1500, 1500, 0]


def multiset(subtree: Subtree | None) -> Counter[bytes]:
    """How many host sets each address is in, itself being one."""
    if subtree is None:
        return Counter()
    return Counter([*set(subtree.addresses), *(one for hosts in subtree.hosts for one in hosts.split_addresses())])


def names(subtree: Subtree | None, address: bytes) -> object:
    """What a subtree contributes to the reverse name of an address."""
    if subtree is None or address not in all_addresses(subtree):
        return None
    return address in subtree.addresses, subtree.headless, host_labels(subtree, address)


VERSIONS = st.none() | subtrees(OWNERS[0])


@given(VERSIONS, VERSIONS)
def test_what_came_less_what_went_makes_one_version_of_the_other(old: Subtree | None, new: Subtree | None) -> None:
    found = multiset(old)
    for part in differences(old, new):
        assert not Counter(part.gone) - (found + Counter(part.come))
        found.subtract(part.gone)
        found.update(part.come)
        assert min(found.values(), default=0) >= 0
    assert +found == multiset(new)


@given(VERSIONS, VERSIONS)
def test_an_address_that_is_not_named_has_the_names_it_had(old: Subtree | None, new: Subtree | None) -> None:
    named = {address for part in differences(old, new) for addresses in part for address in addresses}
    for address in {*multiset(old), *multiset(new)} - named:
        assert names(old, address) == names(new, address)


@given(st.integers(0, 2**32), st.integers(1, 700), st.integers(0, 60), st.booleans())
def test_in_ascending_order_nothing_that_stayed_is_named(seed: int, size: int, changes: int, labelled: bool) -> None:
    rng = Random(seed)
    labels = {number: b"\x03a%02d" % rng.randrange(100) if labelled else b"\0" for number in range(2 * size)}
    before = set(rng.sample(range(2 * size), size))
    moved = set(rng.sample(range(2 * size), min(changes, size)))
    old, new = (_labelled_hosts(which, labels) for which in (before, before ^ moved))
    gone, come, renamed = whole(differences(old, new))
    assert gone == _texts(packed_number(one) for one in before & moved)
    assert come == _texts(packed_number(one) for one in moved - before)
    assert renamed == []


def packed_number(number: int) -> bytes:
    return packed(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")


def _labelled_hosts(numbers: Iterable[int], labels: dict[int, bytes]) -> Subtree:
    ascending = sorted(numbers)
    column = b"".join(labels[number] for number in ascending)
    addresses = b"".join(map(packed_number, ascending))
    hosts = HostSet(4, (), addresses, column.strip(b"\0") and column)
    return Subtree(owner("db.shop"), hosts=(hosts,), headless=True)
