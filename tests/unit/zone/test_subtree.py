"""Host sets: reading packed columns."""

from __future__ import annotations

import pytest

from kdns.zone.subtree import BY_ADDRESS, HostSet
from tests.support.subtrees import host_sets, packed

[DB] = host_sets("10.1.0.1=db-0 10.1.0.2 10.1.0.3=a")
[PLAIN] = host_sets("10.1.0.1 10.1.0.2")


def test_columns_are_split_into_hosts() -> None:
    assert DB.split_addresses() == [packed(f"10.1.0.{at}") for at in (1, 2, 3)]
    assert list(DB.split_labels()) == [b"\x04db-0", BY_ADDRESS, b"\x01a"]
    assert list(PLAIN.split_labels()) == []
    assert HostSet(4, (), b"").split_addresses() == []


def test_a_part_of_the_addresses_can_be_had_alone() -> None:
    assert DB.split_addresses(1) == DB.split_addresses()[1:]
    assert DB.split_addresses(1, 2) == [packed("10.1.0.2")]
    assert DB.split_addresses(2, 2) == DB.split_addresses(3) == []


@pytest.mark.parametrize(
    ("address", "index"), [("10.1.0.1", 0), ("10.1.0.3", 2), ("10.1.0.4", -1), ("2001:db8::1", -1)]
)
def test_a_host_is_found_by_its_address(address: str, index: int) -> None:
    assert DB.index(packed(address)) == index


def test_the_end_of_one_address_and_the_start_of_the_next_are_no_address() -> None:
    [hosts] = host_sets("10.1.10.1 10.1.10.1")
    assert hosts.index(packed("10.1.10.1")) == 0
    assert hosts.index(packed("1.10.1.10")) == hosts.index(packed("10.1.10.2")) == -1
    [shifted] = host_sets("1.1.1.9 9.1.1.1 1.9.9.1 9.1.1.1")
    assert shifted.index(packed("1.9.9.1")) == 2


def test_each_host_has_the_label_at_its_place() -> None:
    assert [DB.label_at(at) for at in range(3)] == [b"\x04db-0", BY_ADDRESS, b"\x01a"]
    assert [PLAIN.label_at(at) for at in range(2)] == [BY_ADDRESS] * 2
