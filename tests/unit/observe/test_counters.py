"""Counters: one place for each combination of labels, and no label that a client can invent."""

from __future__ import annotations

from kdns.observe import families
from kdns.observe.counters import (
    DROPPED,
    PANICKED,
    PROTOCOLS,
    RCODES,
    SEND_FAILED,
    SLOTS,
    TYPES,
    labels,
    new_counts,
    reply_counter,
    samples,
)
from kdns.observe.families import Sample
from kdns.wire.iana import Rcode, RRType


def test_each_combination_of_labels_has_its_own_place() -> None:
    places = {
        reply_counter(tcp, qtype, rcode): (PROTOCOLS[tcp], qtype, rcode)
        for tcp in (False, True)
        for qtype in (*map(int, TYPES), 65280)
        for rcode in (*map(int, RCODES), 23)
    }
    assert sorted(places) == list(range(DROPPED))
    for at, (protocol, qtype, rcode) in places.items():
        assert labels(at)["proto"] == protocol
        assert labels(at)["type"] == (next((one.name for one in TYPES if one == qtype), "other"))
        assert labels(at)["rcode"] == next((one.name for one in RCODES if one == rcode), "other")


def test_types_that_clusters_do_not_ask_for_share_one_place() -> None:
    assert len({reply_counter(False, qtype, 0) for qtype in range(65536)}) == len(TYPES) + 1


def test_codes_that_only_upstreams_know_share_one_place() -> None:
    assert len({reply_counter(False, RRType.A, rcode) for rcode in range(4096)}) == len(RCODES) + 1


def test_what_the_counters_say_is_told_by_all_names() -> None:
    counts = new_counts()
    counts[reply_counter(True, RRType.A, 23)] = 2
    counts[reply_counter(True, RRType.A, Rcode.NOERROR)] = 3
    counts[PANICKED] = 1
    assert samples(counts) == {
        Sample(families.KDNS_RESPONSES, ("tcp", "A", "other")): 2,
        Sample(families.KDNS_RESPONSES, ("tcp", "A", "NOERROR")): 3,
        Sample(families.REQUESTS, ("", "", "", "tcp", "", "A")): 5,
        Sample(families.RESPONSES, ("", "", "", "other", "")): 2,
        Sample(families.RESPONSES, ("", "", "", "NOERROR", "")): 3,
        Sample(families.PANICS): 1,
        Sample(families.DROPPED): 0,
        Sample(families.SEND_FAILURES): 0,
    }


def test_what_gets_no_reply_is_counted_apart() -> None:
    assert DROPPED < SEND_FAILED < PANICKED < SLOTS == len(new_counts())
    assert sum(new_counts()) == 0
