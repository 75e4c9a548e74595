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
    AUTOPATH_SUCCESS,
    CACHE_HITS,
    CACHE_REQUESTS,
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
    UNASKED,
    Sample,
)
from kdns.observe.tally import (
    CELLS_MAX,
    KEPT_DENIAL,
    KEPT_SUCCESS,
    MAKERS,
    NO_ZONE,
    OTHER,
    TYPES,
    ZONE_WORDS,
    Layout,
    Making,
    Server,
    Tally,
)

SERVERS = [Server("dns://:53", (0, 1)), Server("dns://127.0.0.1:5300", (1,))]
LAYOUT = Layout(SERVERS, ["cluster.local.", "."], ["", "."])
CLUSTER, ROOT = 0, 1
A, AAAA = 1, 28
NOERROR, NXDOMAIN = 0, 3


def _tally() -> tuple[Tally, list[int]]:
    words = [0] * LAYOUT.words
    return Tally(LAYOUT, words), words


def _told(words: list[int], name: str) -> dict[tuple[str, ...], int]:
    return {sample.labels: count for sample, count in LAYOUT.samples(words).items() if sample.name == name}


def _buckets(words: list[int], name: str, zone: str = "cluster.local.") -> dict[int, int]:
    """Of a histogram of the first listener, over UDP where transports are told apart."""
    return {
        sample.bucket: count
        for sample, count in LAYOUT.samples(words).items()
        if sample.name == name and sample.labels[:4] in (("dns://:53", zone, ""), ("dns://:53", zone, "", "udp"))
    }


def test_one_cell_serves_all_sockets_and_each_socket_is_told_apart() -> None:
    tally, words = _tally()
    cell = tally.cell(CLUSTER, Making(A, NOERROR, "kubernetes"))
    for tcp, family, times in ((False, 4, 5), (False, 6, 3), (True, 4, 2), (True, 6, 1)):
        tally.meter(0, tcp, family).counts[cell] += times
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
    cell = tally.cell(ROOT, Making(AAAA, NXDOMAIN, "forward"))
    tally.meter(0, False, 4).counts[cell] += 1
    tally.meter(1, False, 4).counts[cell] += 2
    tally.fold()
    assert _told(words, RESPONSES) == {
        ("dns://:53", ".", "", "NXDOMAIN", "forward"): 1,
        ("dns://127.0.0.1:5300", ".", "", "NXDOMAIN", "forward"): 2,
    }


def test_a_cell_that_comes_later_has_its_place_in_the_lists_that_sockets_hold() -> None:
    tally, words = _tally()
    meter = tally.meter(0, False, 4)
    counts = meter.counts
    assert tally.meter(0, False, 4) is meter
    cell = tally.cell(CLUSTER, Making(A, NOERROR, "kubernetes"))
    counts[cell] += 1
    later = tally.cell(CLUSTER, Making(AAAA, NOERROR, "kubernetes"))
    counts[later] += 3
    meter.late.counts[later] += 1
    assert tally.cell(CLUSTER, Making(A, NOERROR, "kubernetes")) == cell
    tally.fold()
    tally.fold()  # what was added is not added again
    assert sorted(_told(words, REQUESTS).values()) == [1, 4]


def test_labels_that_a_client_could_invent_are_one() -> None:
    tally, words = _tally()
    assert len({tally.cell(ROOT, Making(qtype, NOERROR)) for qtype in range(65536)}) == len(TYPES) + 1
    assert tally.cell(ROOT, Making(A, 9, "forward")) == tally.cell(ROOT, Making(A, 4095, "forward"))
    tally.meter(0, False, 4).counts[tally.cell(ROOT, Making(65280, 23, "forward"))] += 1
    tally.fold()
    assert _told(words, REQUESTS) == {("dns://:53", ".", "", "udp", "1", OTHER): 1}
    assert _told(words, RESPONSES) == {("dns://:53", ".", "", OTHER, "forward"): 1}


def test_sizes_beyond_the_number_of_cells_are_those_of_a_reply_that_is_otherwise_alike() -> None:
    tally, _ = _tally()
    cells = {tally.cell(CLUSTER, Making(A, NOERROR, "kubernetes", 40, octets)) for octets in range(2 * CELLS_MAX)}
    assert len(cells) == CELLS_MAX
    other = tally.cell(CLUSTER, Making(AAAA, NOERROR, "kubernetes", 40, 56))
    assert other not in cells  # whose labels are others is never counted as it
    assert tally.cell(CLUSTER, Making(A, NOERROR, "kubernetes", 40, 9999)) == 0
    assert len(tally.meter(0, False, 4).counts) == CELLS_MAX + 1


def test_a_query_in_no_zone_and_one_in_a_zone_that_is_not_served_there_are_of_no_zone() -> None:
    tally, words = _tally()
    tally.meter(1, False, 4).counts[tally.cell(tally.no_zone, Making(A, 5))] += 1
    tally.meter(1, False, 4).counts[tally.cell(CLUSTER, Making(A, 5))] += 1
    tally.fold()
    assert _told(words, RESPONSES) == {("dns://127.0.0.1:5300", NO_ZONE, "", "REFUSED", ""): 2}


def test_sizes_are_those_of_the_messages_by_transport() -> None:
    tally, words = _tally()
    tally.meter(0, False, 4).counts[tally.cell(CLUSTER, Making(A, NOERROR, "kubernetes", 45, 101))] += 64
    tally.meter(0, True, 4).counts[tally.cell(CLUSTER, Making(A, NOERROR, "kubernetes", 60, 65_535))] += 1
    tally.fold()
    where = ("dns://:53", "cluster.local.", "")
    sizes = LAYOUT.samples(words)
    assert sizes[Sample(REQUEST_SIZE, (*where, "udp"), 1)] == 64
    assert sizes[Sample(REQUEST_SIZE, (*where, "udp"), SUM)] == 64 * 45
    assert sizes[Sample(RESPONSE_SIZE, (*where, "udp"), 2)] == 64
    assert sizes[Sample(RESPONSE_SIZE, (*where, "udp"), SUM)] == 64 * 101
    assert sizes[Sample(RESPONSE_SIZE, (*where, "tcp"), 14)] == 1
    assert sizes[Sample(RESPONSE_SIZE, (*where, "tcp"), SUM)] == 65_535


def test_queries_with_the_do_bit_are_told_apart() -> None:
    tally, words = _tally()
    meter = tally.meter(0, False, 4)
    meter.counts[tally.cell(CLUSTER, Making(A, NOERROR, "kubernetes"))] += 5
    meter.counts[tally.cell(CLUSTER, Making(A, NOERROR, "kubernetes", dnssec_ok=True))] += 2
    tally.fold()
    assert _told(words, DO_REQUESTS) == {("dns://:53", "cluster.local.", ""): 2}
    assert sum(_told(words, REQUESTS).values()) == 7


def test_replies_of_one_batch_took_as_long_as_the_batch() -> None:
    tally, words = _tally()
    meter = tally.meter(0, False, 4)
    meter.counts[tally.cell(CLUSTER, Making(A, NOERROR, "kubernetes"))] += 65
    meter.took(250_000, 64)
    meter.took(20_000_000_000, 1)
    tally.fold()
    tally.fold()
    assert _buckets(words, DURATION) == {0: 64, 16: 1, SUM: 64 * 250_000 + 20_000_000_000}


def test_replies_that_were_waited_for_have_times_of_their_own() -> None:
    tally, words = _tally()
    meter = tally.meter(0, False, 4)
    meter.counts[tally.cell(CLUSTER, Making(A, NOERROR, "kubernetes"))] += 100
    meter.took(100_000, 103)  # three of the batch have to wait
    meter.late.counts[tally.cell(ROOT, Making(A, NOERROR, "forward"))] += 3
    for _ in range(3):
        meter.late.took(20_000_000, 1)
    tally.fold()
    assert _buckets(words, DURATION) == {0: 100, SUM: 100 * 100_000}
    assert _buckets(words, DURATION, ".") == {7: 3, SUM: 60_000_000}


def test_times_that_nobody_took_are_none() -> None:
    tally, words = _tally()
    tally.meter(0, False, 4).counts[tally.cell(CLUSTER, Making(A, NOERROR))] += 3
    tally.fold()
    assert _buckets(words, DURATION) == {0: 3}


@given(st.lists(st.tuples(st.integers(0, 1 << 36), st.integers(1, 64)), min_size=1, max_size=9), st.integers(0, 300))
def test_each_zone_has_as_many_times_as_replies(batches: list[tuple[int, int]], of_root: int) -> None:
    tally, words = _tally()
    meter = tally.meter(0, False, 4)
    meter.counts[tally.cell(ROOT, Making(A, NOERROR))] += of_root
    meter.counts[tally.cell(CLUSTER, Making(A, NOERROR))] += 7
    for took_ns, replies in batches:
        meter.took(took_ns, replies)
    tally.fold()
    observed = {bisect_left([round(bound * 1e9) for bound in TIME_BOUNDS], took_ns) for took_ns, _ in batches}
    for zone, replies in ((".", of_root), ("cluster.local.", 7)):
        buckets = _buckets(words, DURATION, zone)
        buckets.pop(SUM, 0)
        assert sum(buckets.values()) == replies
        assert buckets.keys() <= observed


@given(st.integers(0, 1 << 40), st.integers(0, 65535))
def test_an_observation_is_in_the_first_bucket_that_takes_it(took_ns: int, octets: int) -> None:
    tally, words = _tally()
    tally.meter(0, False, 4).counts[tally.cell(CLUSTER, Making(A, NOERROR, "", octets, octets))] += 1
    tally.meter(0, False, 4).took(took_ns, 1)
    tally.fold()
    buckets = {sample.name: sample.bucket for sample in LAYOUT.samples(words) if sample.bucket != SUM}
    assert buckets[DURATION] == bisect_left([round(bound * 1e9) for bound in TIME_BOUNDS], took_ns)
    assert buckets[REQUEST_SIZE] == buckets[RESPONSE_SIZE] == bisect_left(SIZE_BOUNDS, octets)


def test_what_is_of_no_reply_is_counted_apart() -> None:
    tally, words = _tally()
    tally.dropped()
    tally.send_failed(3)
    tally.panicked()
    tally.unasked(2)
    assert LAYOUT.samples(words) == {
        Sample(DROPPED): 1,
        Sample(SEND_FAILURES): 3,
        Sample(PANICS): 1,
        Sample(UNASKED): 2,
    }


def test_the_worker_that_follows_goes_on_counting() -> None:
    memory = memoryview(mmap.mmap(-1, LAYOUT.words * 8)).cast("Q")
    for plugin in ("kubernetes", "forward"):  # cells have other numbers in another worker
        tally = Tally(LAYOUT, memory)
        counts = tally.meter(0, False, 4).counts
        counts[tally.cell(CLUSTER, Making(AAAA, NOERROR, plugin))] += 1
        counts[tally.cell(CLUSTER, Making(A, NOERROR, "kubernetes"))] += 1
        tally.fold()
    assert _told(memory.tolist(), REQUESTS)["dns://:53", "cluster.local.", "", "udp", "1", "A"] == 2


def test_counts_of_two_configurations_add_up_where_their_labels_agree() -> None:
    other = Layout([Server("dns://:53", (0,))], ["."])
    tally, words = _tally()
    tally.meter(0, False, 4).counts[tally.cell(ROOT, Making(A, NOERROR, "forward"))] += 2
    tally.fold()
    later = [0] * other.words
    second = Tally(other, later)
    second.meter(0, False, 4).counts[second.cell(0, Making(A, NOERROR, "forward"))] += 3
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
    assert LAYOUT.words == 4 + 5 * ZONE_WORDS
    assert LAYOUT.words * 8 < 64 << 10  # of shared memory for each worker


@pytest.mark.parametrize("maker", MAKERS)
def test_every_directive_that_makes_replies_is_told_by_its_name(maker: str) -> None:
    tally, words = _tally()
    tally.meter(0, True, 6).counts[tally.cell(CLUSTER, Making(A, NOERROR, maker))] += 1
    tally.fold()
    assert _told(words, RESPONSES) == {("dns://:53", "cluster.local.", "", "NOERROR", maker.partition(":")[0]): 1}


def test_what_was_found_on_a_walk_of_autopath_is_a_success_of_its_listener() -> None:
    tally, words = _tally()
    counts = tally.meter(0, False, 4).counts
    for zone, rcode, maker in (
        (CLUSTER, NOERROR, "autopath"), (ROOT, NOERROR, "autopath"), (ROOT, NXDOMAIN, "autopath"),
        (ROOT, 2, "autopath"), (ROOT, NOERROR, "forward"),
    ):  # fmt: skip
        counts[tally.cell(zone, Making(A, rcode, maker))] += 1
    tally.fold()
    assert _told(words, AUTOPATH_SUCCESS) == {("dns://:53",): 2}


def test_what_workers_keep_from_outside_are_hits_of_the_cache() -> None:
    tally, words = _tally()
    counts = tally.meter(0, False, 4).counts
    for zone in (CLUSTER, ROOT):  # of which only the second has a cache
        for maker, count in ((KEPT_SUCCESS, 3), (KEPT_DENIAL, 2), ("cache", 7)):
            counts[tally.cell(zone, Making(A, NOERROR, maker))] += count
    tally.fold()
    assert _told(words, CACHE_HITS) == {
        ("dns://:53", "success", ".", ""): 3,
        ("dns://:53", "denial", ".", ""): 2,
    }
    assert _told(words, CACHE_REQUESTS) == {("dns://:53", ".", ""): 5}


_REPLIES = st.lists(
    st.tuples(
        st.integers(0, 1), st.booleans(), st.sampled_from((4, 6)), st.booleans(), st.integers(0, 2),
        st.builds(
            Making, st.integers(0, 300), st.integers(0, 4095), st.sampled_from(MAKERS),
            st.integers(17, 300), st.integers(17, 65535), st.booleans(),
        ),
        st.booleans(),
    ),
    max_size=40,
)  # fmt: skip


@given(_REPLIES)
def test_nothing_is_lost_and_nothing_counted_twice(
    replies: list[tuple[int, bool, int, bool, int, Making, bool]],
) -> None:
    tally, words = _tally()
    for listener, tcp, family, is_late, zone, making, is_folded in replies:
        meter = tally.meter(listener, tcp, family)
        meter = meter.late if is_late else meter
        meter.counts[tally.cell(zone, making)] += 1
        meter.took(making.reply_octets * 1000, 1)
        if is_folded:
            tally.fold()
    tally.fold()
    for name in (REQUESTS, RESPONSES, KDNS_RESPONSES):
        assert sum(_told(words, name).values()) == len(replies)
    told: Counter[str] = Counter()
    samples = LAYOUT.samples(words)
    for name in (DURATION, REQUEST_SIZE, RESPONSE_SIZE):
        counts = [count for sample, count in samples.items() if sample.name == name and sample.bucket != SUM]
        assert sum(counts) == len(replies)
    makings = [making for *_, making, _ in replies]
    assert sum(_told(words, DO_REQUESTS).values()) == sum(making.dnssec_ok for making in makings)
    for (*_, plugin), count in _told(words, RESPONSES).items():
        told[plugin] += count
    assert told == Counter(making.maker.partition(":")[0] for making in makings)
