"""Packed columns: what goes in comes out, sorted and once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kdns.kube.columns import NO_LABEL, Host, HostSorter, pack_hosts, split_addresses, split_labels, unpack_hosts
from kdns.kube.objects import EndpointSlice, Hosts
from tests.unit.kube.builders import packed, wire

LABELS = st.sampled_from([NO_LABEL, wire("a"), wire("web-0"), wire("a" * 63)])


def hosts_of(octets: int) -> st.SearchStrategy[set[Host]]:
    return st.sets(st.tuples(st.binary(min_size=octets, max_size=octets), LABELS, LABELS), max_size=8)


def piece(octets: int, sorter: HostSorter) -> EndpointSlice:
    return EndpointSlice(("EndpointSlice", "s", "a"), "", ("Service", "s", "a"), octets, (), **sorter.columns())


@given(st.sampled_from([4, 16]), st.data())
def test_hosts_come_out_of_columns_as_they_went_in(octets: int, data: st.DataObject) -> None:
    hosts = data.draw(hosts_of(octets))
    assert list(unpack_hosts(piece(octets, HostSorter(ready=hosts)))) == sorted(hosts)


def test_columns_without_any_label_take_no_room() -> None:
    address = packed("10.0.0.1")
    assert pack_hosts([(address, NO_LABEL, NO_LABEL)]) == Hosts(address, b"", b"")
    assert pack_hosts([(address, NO_LABEL, wire("p"))]) == Hosts(address, b"", wire("p"))
    assert pack_hosts([]) == Hosts(b"", b"", b"")


def test_an_empty_column_of_labels_has_none_in_every_row() -> None:
    assert split_labels(b"", 3) == [NO_LABEL] * 3
    assert split_labels(wire("a") + NO_LABEL + wire("b"), 3) == [wire("a"), NO_LABEL, wire("b")]


def test_addresses_of_a_column_are_split_by_their_length() -> None:
    assert split_addresses(packed("10.0.0.1", "10.0.0.2"), 4) == [packed("10.0.0.1"), packed("10.0.0.2")]
    assert split_addresses(packed("fd00::1", "fd00::2"), 16) == [packed("fd00::1"), packed("fd00::2")]
    assert split_addresses(b"", 4) == []


@given(hosts_of(4), st.sets(st.binary(min_size=4, max_size=4), max_size=4), hosts_of(4))
def test_an_address_is_ready_or_unready_or_neither_and_drains_only_if_it_is_unready(
    ready: set[Host], unready: set[bytes], drained: set[Host]
) -> None:
    unready |= {address for address, _, _ in drained}
    found = piece(4, HostSorter(ready, unready, drained))
    good = set(split_addresses(found.addresses, 4))
    bad = split_addresses(found.unready, 4)
    assert good == {address for address, _, _ in ready}
    assert bad == sorted(unready - good)
    draining = set(split_addresses(found.draining.addresses, 4)) if found.draining else set()
    assert draining == {address for address, _, _ in drained} - good
    assert found.draining is None or found.draining.addresses
    assert found.endpoints == len(ready) + len(bad)
