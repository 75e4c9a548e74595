"""Who is picked: each policy by its own rule, and what holds for all of them."""

from __future__ import annotations

from collections import Counter
from math import ceil, exp
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.client.cells import Cell, Cells
from kdns.client.endpoint import Endpoint
from kdns.client.ewma import Floor, observe
from kdns.client.hashing import Rendezvous, Ring, spread
from kdns.client.options import BalancerOptions, EwmaOptions, HashOptions, Policy
from kdns.client.picker import Picker
from kdns.client.pickers import make_picker

NOW = 100.0


def make_cells(count: int, weights: tuple[int, ...] = ()) -> tuple[Cell, ...]:
    weights = weights or (1,) * count
    return Cells().of((Endpoint(f"10.0.0.{n + 1}", 80, weight=weights[n]) for n in range(count)), 0.0)


def make(
    policy: Policy,
    cells: tuple[Cell, ...],
    most: float = float("inf"),
    shares: dict[Cell, float] | None = None,
    floor: float = 0.0,
) -> Picker:
    of = Floor(EwmaOptions())
    of.value = floor
    return make_picker(policy, cells, BalancerOptions(policy=policy, max_outstanding=most), shares, of, NOW)


def picked(picker: Picker, times: int, key: bytes | None = None) -> Counter[Cell]:
    """Who is picked so often, none of them kept out."""
    rng = Random(1)
    found: Counter[Cell] = Counter()
    for _ in range(times):
        cell = picker.pick(NOW, rng, key)
        assert cell is not None
        found[cell] += 1
    return found


def test_round_robin_takes_each_in_turn() -> None:
    cells = make_cells(5)
    picker = make(Policy.ROUND_ROBIN, cells)
    rng = Random(1)
    turns = [picker.pick(NOW, rng, None) for _ in range(15)]
    start = cells.index(turns[0])  # type: ignore[arg-type]
    assert turns == [cells[(start + turn) % 5] for turn in range(15)]


def test_clients_do_not_all_begin_with_the_same_endpoint() -> None:
    cells = make_cells(5)
    firsts = {make(Policy.ROUND_ROBIN, cells).pick(NOW, Random(seed), None) for seed in range(50)}
    assert len(firsts) == 5


def test_random_is_even() -> None:
    counts = picked(make(Policy.RANDOM, make_cells(10)), 20_000)
    assert len(counts) == 10
    assert max(counts.values()) < 1.08 * 2000


def test_weights_of_srv_records_are_shares() -> None:
    cells = make_cells(3, (1, 3, 6))
    counts = picked(make(Policy.WEIGHTED, cells), 20_000)
    assert [counts[cell] / 20_000 for cell in cells] == pytest.approx([0.1, 0.3, 0.6], abs=0.01)


def test_weight_zero_is_a_very_small_chance_not_none() -> None:
    cells = make_cells(2, (0, 1))
    counts = picked(make(Policy.WEIGHTED, cells), 50_000)
    assert 0 < counts[cells[0]] < 1000


def test_least_request_takes_the_less_loaded_of_two() -> None:
    cells = make_cells(2)
    cells[0].outstanding = 2
    cells[1].outstanding = 1
    assert picked(make(Policy.LEAST_REQUEST, cells), 50) == {cells[1]: 50}


def test_the_most_loaded_of_many_is_never_the_choice_of_two() -> None:
    cells = make_cells(6)
    for cell in cells[1:]:
        cell.outstanding = 1
    cells[0].outstanding = 2
    for policy in (Policy.LEAST_REQUEST, Policy.PEAK_EWMA):
        assert cells[0] not in picked(make(policy, cells, floor=0.01), 500)


def test_peak_ewma_costs_latency_by_what_is_outstanding() -> None:
    slow, fast = cells = make_cells(2)
    observe(slow, 0.100, NOW, 10.0)
    observe(fast, 0.040, NOW, 10.0)
    fast.outstanding = 1  # 0.040 * 2 < 0.100 * 1
    assert picked(make(Policy.PEAK_EWMA, cells), 50) == {fast: 50}
    fast.outstanding = 2  # 0.040 * 3 > 0.100
    assert picked(make(Policy.PEAK_EWMA, cells), 50) == {slow: 50}


def test_latency_is_forgotten_by_and_by() -> None:
    slow, fast = cells = make_cells(2)
    observe(slow, 0.100, NOW - 20.0, 10.0)
    observe(fast, 0.020, NOW, 10.0)
    assert 0.100 * exp(-2) < 0.020
    assert picked(make(Policy.PEAK_EWMA, cells), 50) == {slow: 50}


def test_below_the_floor_latency_makes_no_difference() -> None:
    cells = make_cells(2)
    observe(cells[0], 0.002, NOW, 10.0)
    observe(cells[1], 0.001, NOW, 10.0)
    counts = picked(make(Policy.PEAK_EWMA, cells, floor=0.003), 2000)
    assert counts[cells[0]] == pytest.approx(1000, abs=100)


def test_one_that_is_not_measured_begins_at_the_floor() -> None:
    new, known = cells = make_cells(2)
    observe(known, 0.010, NOW, 10.0)
    known.outstanding = new.outstanding = 1
    assert picked(make(Policy.PEAK_EWMA, cells, floor=0.015), 2000)[new] == pytest.approx(1000, abs=100)


@pytest.mark.parametrize("policy", [Policy.RANDOM, Policy.ROUND_ROBIN, Policy.WEIGHTED])
def test_slow_start_is_a_share_where_picks_are_random(policy: Policy) -> None:
    cells = make_cells(4)
    shares = dict.fromkeys(cells, 1.0) | {cells[0]: 0.25}
    counts = picked(make(policy, cells, shares=shares), 20_000)
    assert counts[cells[0]] / 20_000 == pytest.approx(0.25 / 3.25, abs=0.01)


@pytest.mark.parametrize("policy", [Policy.LEAST_REQUEST, Policy.PEAK_EWMA])
def test_slow_start_makes_load_count_for_more(policy: Policy) -> None:
    new, old = cells = make_cells(2)
    old.outstanding = 3
    shares = {new: 0.1, old: 1.0}
    assert picked(make(policy, cells, shares=shares, floor=0.01), 50) == {old: 50}
    old.outstanding = 10
    assert picked(make(policy, cells, shares=shares, floor=0.01), 50) == {new: 50}


@pytest.mark.parametrize("policy", [Policy.RENDEZVOUS, Policy.RING_HASH])
def test_a_key_has_one_endpoint_in_every_process_and_order(policy: Policy) -> None:
    cells = make_cells(10)
    for number in range(200):
        key = f"user-{number}".encode()
        first = make(policy, cells).pick(NOW, Random(1), key)
        again = make(policy, cells[::-1]).pick(NOW, Random(2), key)
        assert first is not None
        assert again is not None
        assert first.key == again.key


def test_the_spread_of_a_key_is_the_same_for_ever() -> None:
    assert spread(b"123456789") == 0xCBF43926 * 0x9E3779B97F4A7C15 % 2**64  # CRC-32's own check value


@pytest.mark.parametrize("policy", [Policy.RENDEZVOUS, Policy.RING_HASH])
def test_who_goes_changes_only_its_own_keys(policy: Policy) -> None:
    cells = make_cells(10)
    before, after = make(policy, cells), make(policy, cells[:-1])
    for number in range(2000):
        key = f"user-{number}".encode()
        was = before.pick(NOW, Random(1), key)
        if was is not cells[-1]:
            assert after.pick(NOW, Random(1), key) is was


@pytest.mark.parametrize(("policy", "most"), [(Policy.RENDEZVOUS, 1.35), (Policy.RING_HASH, 1.6)])
def test_keys_are_spread_over_all(policy: Policy, most: float) -> None:
    picker = make(policy, make_cells(10))
    counts: Counter[Cell] = Counter()
    for number in range(20_000):
        counts.update([picker.pick(NOW, Random(1), f"user-{number}".encode())])  # type: ignore[list-item]
    assert len(counts) == 10
    assert max(counts.values()) < most * 2000


@pytest.mark.parametrize("policy", [Policy.RENDEZVOUS, Policy.RING_HASH])
def test_one_hot_key_is_bounded_to_its_share(policy: Policy) -> None:
    cells = make_cells(10)
    picker = make(policy, cells)
    for total in range(1, 101):
        cell = picker.pick(NOW, Random(1), b"hot")
        assert cell is not None
        cell.outstanding += 1
        assert cell.outstanding <= ceil(1.25 * total / 10)


@pytest.mark.parametrize("kind", [Rendezvous, Ring])
def test_without_a_bound_a_key_stays_where_it_is(kind: type[Rendezvous] | type[Ring]) -> None:
    cells = make_cells(10)
    picker = kind(cells, HashOptions(load_bound=0), float("inf"))
    for _ in range(50):
        cell = picker.pick(NOW, Random(1), b"hot")
        assert cell is not None
        cell.outstanding += 1
    assert sorted(cell.outstanding for cell in cells) == [0] * 9 + [50]


@pytest.mark.parametrize("kind", [Rendezvous, Ring])
def test_of_a_large_set_the_bound_is_counted_now_and_then_and_holds_nearly(kind: type[Rendezvous] | type[Ring]) -> None:
    cells = make_cells(250)
    picker = kind(cells, HashOptions(), float("inf"))
    for total in range(1, 1001):
        cell = picker.pick(NOW, Random(total), None)
        assert cell is not None
        cell.outstanding += 1
        assert cell.outstanding <= ceil(1.25 * total / 250)


@pytest.mark.parametrize("policy", [Policy.RENDEZVOUS, Policy.RING_HASH])
def test_without_a_key_picks_are_random(policy: Policy) -> None:
    assert len(picked(make(policy, make_cells(10)), 500)) == 10


LOADS = st.lists(st.integers(0, 4), min_size=1, max_size=12)


@given(policy=st.sampled_from(Policy), loads=LOADS, key=st.none() | st.binary(max_size=8), seed=st.integers(0, 99))
def test_whoever_is_picked_has_room_and_nobody_only_if_all_are_full(
    policy: Policy, loads: list[int], key: bytes | None, seed: int
) -> None:
    cells = make_cells(len(loads))
    for cell, load in zip(cells, loads, strict=True):
        cell.outstanding = load
    cell = make(policy, cells, most=3).pick(NOW, Random(seed), key)
    if cell is None:
        assert min(loads) >= 3
    else:
        assert cell in cells
        assert cell.outstanding < 3


@given(policy=st.sampled_from(Policy), loads=LOADS, tried=st.sets(st.integers(0, 11)), seed=st.integers(0, 99))
def test_another_one_is_none_of_those_tried(policy: Policy, loads: list[int], tried: set[int], seed: int) -> None:
    cells = make_cells(len(loads))
    for cell, load in zip(cells, loads, strict=True):
        cell.outstanding = load
    before = [cells[index] for index in tried if index < len(cells)]
    cell = make(policy, cells, most=3).pick_other(NOW, Random(seed), b"key", before)
    left = [cell for cell in cells if cell.outstanding < 3 and cell not in before]
    assert (cell in left) if left else (cell is None)


@given(policy=st.sampled_from(Policy), count=st.integers(1, 12), seed=st.integers(0, 99))
def test_everybody_is_picked_sooner_or_later(policy: Policy, count: int, seed: int) -> None:
    picker = make(policy, make_cells(count), floor=0.01)
    rng = Random(seed)
    assert {picker.pick(NOW, rng, None) for _ in range(60 * count)} == set(picker.cells)
