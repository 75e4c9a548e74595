"""The serial that outlives controls."""

from __future__ import annotations

from kdns.kube.schema import SchemaOptions
from kdns.kube.store import ClusterStore
from kdns.server.slots import Serials


def test_the_later_serial_stays_by_rfc_1982() -> None:
    serials = Serials()
    assert serials.last is None
    for noted, last in ((0, 0), (5, 5), (4, 5), (0x7FFFFFFF, 0x7FFFFFFF), (0xFFFFFFF0, 0xFFFFFFF0), (3, 3)):
        serials.note(noted)
        assert serials.last == last


def test_a_store_goes_on_from_the_serial_of_the_one_before() -> None:
    for former, wanted, published in ((None, 100, 100), (90, 100, 100), (100, 100, 100), (110, 100, 111)):
        store = ClusterStore(0, SchemaOptions(), former)
        store.load((), wanted)
        assert store.serial == published
        store.load((), wanted)  # the rest of what is read first: nothing has been published in between
        assert store.serial == published
