"""kdns.observe.tally: every reply is counted once under each of its labels, over sockets, workers and reloads."""

from __future__ import annotations

import mmap
from bisect import bisect_left
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.observe.families import (
    ALL,
    DO_REQUESTS,
    DROPPED,
    DURATION,
    KDNS_RESPONSES,
    PANICS,
    REQUEST_SIZE,
    REQUESTS,
    RESPONSE_SIZE,
    RESPONSES,
    SEND_FAILURES,
    SIZE_BOUNDS,
    SUM,
    TIME_BOUNDS,
    Sample,
)
from kdns.observe.tally import NO_ZONE, OTHER, PLUGINS, TYPES, ZONE_WORDS, Layout, Server, Tally

LAYOUT = Layout([Server("dns://:53", (0, 1)), Server("dns://127.0.0.1:5300", (1,))], ["cluster.local.", "."])
CLUSTER, ROOT = 0, 1
A, AAAA = 1, 28
NOERROR, NXDOMAIN = 0, 3


def _tally() -> tuple[Tally, list[int]]:
    words = [0] * LAYOUT.words
    return Tally(LAYOUT, words), words


def _told(words: list[int], name: str) -> dict[tuple[str, ...], int]:
    return {sample.labels: count for sample, count in LAYOUT.samples(words).items() if sample.name == name}


def test_one_cell_serves_all_sockets_and_each_socket_is_told_apart() -> None:
    tally, words = _tally()
    cell = tally.cell(CLUSTER, A, NOERROR, "kubernetes")
    for tcp, family, times in ((False, 4, 5), (False, 6, 3), (True, 4, 2), (True, 6, 1)):
        counts = tally.counts(0, tcp, family)
        for _ in range(times):
            counts[cell] += 1
    tally.fold()
    where = ("dns://:53", "cluster.local.", "")
    assert _told(words, REQUESTS) == {
        (*where, "udp", "1", "A"): 5,
        (*where, "udp", "2", "A"): 3,
        (*where, "tcp", "1", "A"): 2,
        (*where, "tcp", "2", "A"): 1,
    }
    assert _told(words, RESPONSES) == {(*where, "NOERROR", "kubernetes"): 11}
    assert _told(words, KDNS_RESPONSES) == {("udp", "A", "NOERROR"): 8, ("tcp", "A", "NOERROR"): 3}


def test_a_kept_reply_that_two_listeners_share_is_counted_where_it_was_asked_for() -> None:
    tally, words = _tally()
    cell = tally.cell(ROOT, AAAA, NXDOMAIN, "forward")
    tally.counts(0, False, 4)[cell] += 1
    tally.counts(1, False, 4)[cell] += 2
    tally.fold()
    assert _told(words, RESPONSES) == {
        ("dns://:53", ".", "", "NXDOMAIN", "forward"): 1,
        ("dns://127.0.0.1:5300", ".", "", "NXDOMAIN", "forward"): 2,
    }


def test_a_cell_that_comes_later_has_its_place_in_the_lists_that_sockets_hold() -> None:
    tally, words = _tally()
    counts = tally.counts(0, False, 4)
    assert tally.counts(0, False, 4) is counts
    cell = tally.cell(CLUSTER, A, NOERROR, "kubernetes")
    counts[cell] += 1
    later = tally.cell(CLUSTER, AAAA, NOERROR, "kubernetes")
    counts[later] += 4
    assert tally.cell(CLUSTER, A, NOERROR, "kubernetes") == cell
    tally.fold()
    tally.fold()  # what was added is not added again
    assert sorted(_told(words, REQUESTS).values()) == [1, 4]


def test_labels_that_a_client_could_invent_are_one() -> None:
    tally, words = _tally()
    assert len({tally.cell(ROOT, qtype, NOERROR, "") for qtype in range(65536)}) == len(TYPES) + 1
    assert tally.cell(ROOT, A, 9, "forward") == tally.cell(ROOT, A, 4095, "forward")
    tally.counts(0, False, 4)[tally.cell(ROOT, 65280, 23, "forward")] += 1
    tally.fold()
    assert _told(words, REQUESTS) == {("dns://:53", ".", "", "udp", "1", OTHER): 1}
    assert _told(words, RESPONSES) == {("dns://:53", ".", "", OTHER, "forward"): 1}


def test_a_query_in_no_zone_and_one_in_a_zone_that_is_not_served_there_are_of_no_zone() -> None:
    tally, words = _tally()
    tally.counts(1, False, 4)[tally.cell(LAYOUT.no_zone, A, 5, "")] += 1
    tally.counts(1, False, 4)[tally.cell(CLUSTER, A, 5, "")] += 1
    tally.fold()
    assert _told(words, RESPONSES) == {("dns://127.0.0.1:5300", NO_ZONE, "", "REFUSED", ""): 2}


def test_one_exchange_stands_for_its_batch() -> None:
    tally, words = _tally()
    cell = tally.cell(CLUSTER, A, NOERROR, "kubernetes")
    tally.observe(0, False, cell, 64, 45, 101, 250_000)
    tally.observe(0, True, cell, 1, 60, 65_535, 20_000_000_000)
    tally.fold()
    tally.fold()
    where = ("dns://:53", "cluster.local.", "")
    times = {sample.bucket: count for sample, count in LAYOUT.samples(words).items() if sample.name == DURATION}
    assert times == {0: 64, 16: 1, SUM: 64 * 250_000 + 20_000_000_000}
    sizes = LAYOUT.samples(words)
    assert sizes[Sample(REQUEST_SIZE, (*where, "udp"), 1)] == 64
    assert sizes[Sample(REQUEST_SIZE, (*where, "udp"), SUM)] == 64 * 45
    assert sizes[Sample(RESPONSE_SIZE, (*where, "udp"), 2)] == 64
    assert sizes[Sample(RESPONSE_SIZE, (*where, "tcp"), 14)] == 1
    assert sizes[Sample(RESPONSE_SIZE, (*where, "tcp"), SUM)] == 65_535


@given(st.integers(0, 1 << 40), st.integers(0, 65535))
def test_an_observation_is_in_the_first_bucket_that_takes_it(took_ns: int, octets: int) -> None:
    tally, words = _tally()
    tally.observe(0, False, tally.cell(CLUSTER, A, NOERROR, ""), 1, octets, octets, took_ns)
    tally.fold()
    buckets = {sample.name: sample.bucket for sample in LAYOUT.samples(words) if sample.bucket != SUM}
    assert buckets[DURATION] == bisect_left([round(bound * 1e9) for bound in TIME_BOUNDS], took_ns)
    assert buckets[REQUEST_SIZE] == buckets[RESPONSE_SIZE] == bisect_left(SIZE_BOUNDS, octets)


def test_what_is_of_no_reply_is_counted_apart() -> None:
    tally, words = _tally()
    tally.dropped()
    tally.send_failed(3)
    tally.panicked()
    tally.dnssec_ok(0, CLUSTER)
    assert LAYOUT.samples(words) == {
        Sample(DROPPED): 1,
        Sample(SEND_FAILURES): 3,
        Sample(PANICS): 1,
        Sample(DO_REQUESTS, ("dns://:53", "cluster.local.", "")): 1,
    }


def test_the_worker_that_follows_goes_on_counting() -> None:
    memory = memoryview(mmap.mmap(-1, LAYOUT.words * 8)).cast("Q")
    for plugin in ("kubernetes", "forward"):  # cells have other numbers in another worker
        tally = Tally(LAYOUT, memory)
        counts = tally.counts(0, False, 4)
        counts[tally.cell(CLUSTER, AAAA, NOERROR, plugin)] += 1
        counts[tally.cell(CLUSTER, A, NOERROR, "kubernetes")] += 1
        tally.fold()
    assert _told(memory.tolist(), REQUESTS)["dns://:53", "cluster.local.", "", "udp", "1", "A"] == 2


def test_counts_of_two_configurations_add_up_where_their_labels_agree() -> None:
    other = Layout([Server("dns://:53", (0,))], ["."])
    tally, words = _tally()
    tally.counts(0, False, 4)[tally.cell(ROOT, A, NOERROR, "forward")] += 2
    tally.fold()
    later = [0] * other.words
    second = Tally(other, later)
    second.counts(0, False, 4)[second.cell(0, A, NOERROR, "forward")] += 3
    second.fold()
    both = LAYOUT.samples(words) + other.samples(later)
    assert both[Sample(REQUESTS, ("dns://:53", ".", "", "udp", "1", "A"))] == 5


def test_every_word_has_its_meaning_and_every_sample_its_family() -> None:
    for at in range(LAYOUT.words):
        words = [0] * LAYOUT.words
        words[at] = 1
        samples = LAYOUT.samples(words)
        assert samples
        assert all(len(sample.labels) == len(ALL[sample.name].labels) for sample in samples)
    assert LAYOUT.words == 3 + 5 * ZONE_WORDS
    assert LAYOUT.words * 8 < 64 << 10  # of shared memory for each worker


@pytest.mark.parametrize("plugin", PLUGINS)
def test_every_directive_that_makes_replies_is_told_by_its_name(plugin: str) -> None:
    tally, words = _tally()
    tally.counts(0, True, 6)[tally.cell(CLUSTER, A, NOERROR, plugin)] += 1
    tally.fold()
    assert _told(words, RESPONSES) == {("dns://:53", "cluster.local.", "", "NOERROR", plugin): 1}


_REPLIES = st.lists(
    st.tuples(
        st.integers(0, 1), st.booleans(), st.sampled_from((4, 6)), st.integers(0, 2), st.integers(0, 300),
        st.integers(0, 4095), st.sampled_from(PLUGINS), st.booleans(),
    ),
    max_size=40,
)  # fmt: skip


@given(_REPLIES)
def test_nothing_is_lost_and_nothing_counted_twice(
    replies: list[tuple[int, bool, int, int, int, int, str, bool]],
) -> None:
    tally, words = _tally()
    for listener, tcp, family, zone, qtype, rcode, plugin, is_folded in replies:
        counts = tally.counts(listener, tcp, family)
        counts[tally.cell(zone, qtype, rcode, plugin)] += 1
        if is_folded:
            tally.fold()
    tally.fold()
    for name in (REQUESTS, RESPONSES, KDNS_RESPONSES):
        assert sum(_told(words, name).values()) == len(replies)
    plugins = Counter(plugin for *_, plugin, _ in replies)
    told = Counter(dict.fromkeys(plugins, 0))
    for (*_, plugin), count in _told(words, RESPONSES).items():
        told[plugin] += count
    assert told == plugins
