"""Counters: one place for each combination of labels, and no label that a client can invent."""

from __future__ import annotations

from kdns.observe.counters import (
    DROPPED,
    PROTOCOLS,
    RCODES,
    SEND_FAILED,
    SLOTS,
    TYPES,
    labels,
    new_counts,
    reply_counter,
)


def test_each_combination_of_labels_has_its_own_place() -> None:
    places = {
        reply_counter(tcp, qtype, rcode): (PROTOCOLS[tcp], qtype, rcode)
        for tcp in (False, True)
        for qtype in (*map(int, TYPES), 65280)
        for rcode in map(int, RCODES)
    }
    assert sorted(places) == list(range(DROPPED))
    for at, (protocol, qtype, rcode) in places.items():
        assert labels(at)["proto"] == protocol
        assert labels(at)["type"] == (next((one.name for one in TYPES if one == qtype), "other"))
        assert labels(at)["rcode"] == next(one.name for one in RCODES if one == rcode)


def test_types_that_clusters_do_not_ask_for_share_one_place() -> None:
    assert len({reply_counter(False, qtype, 0) for qtype in range(65536)}) == len(TYPES) + 1


def test_what_gets_no_reply_is_counted_apart() -> None:
    assert DROPPED < SEND_FAILED < SLOTS == len(new_counts())
    assert sum(new_counts()) == 0
