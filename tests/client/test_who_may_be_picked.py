"""Who may be picked at all: subsets, priorities, zones, slow start, and of those who is up."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.client.cells import Cell, Cells, State
from kdns.client.choice import Chooser
from kdns.client.endpoint import Endpoint
from kdns.client.errors import OptionError
from kdns.client.options import BalancerOptions, Outliers, SlowStart, Subset, ZonePreference
from kdns.client.order import order
from kdns.client.priorities import levels_in_use
from kdns.client.slow_start import ramp
from kdns.client.subset import subset
from kdns.client.weighted import Alias, shares
from kdns.client.zones import zone_teller

NOW = 100.0


def make_cells(count: int, priorities: tuple[int, ...] = ()) -> tuple[Cell, ...]:
    levels = priorities or (0,) * count
    return Cells().of((Endpoint(f"10.0.{n % 2}.{n + 1}", 80, levels[n]) for n in range(count)), 0.0)


def choose(cells: tuple[Cell, ...], **options: object) -> list[int]:
    """The indexes of those who may be picked."""
    picked = Chooser(BalancerOptions(**options)).choose(cells, NOW).picked  # type: ignore[arg-type]
    return [cells.index(cell) for cell in picked]


def test_those_who_are_up_are_picked() -> None:
    cells = make_cells(4)
    cells[1].state = State.EJECTED
    assert choose(cells) == [0, 2, 3]
    assert choose(()) == []


def test_a_probe_has_its_one_request_and_no_other() -> None:
    cells = make_cells(4)
    cells[1].state = State.PROBING
    assert choose(cells) == [0, 2, 3]
    for cell in cells:
        cell.state = State.PROBING
    assert choose(cells) == []


def test_with_too_few_up_those_ejected_are_used_as_well() -> None:
    cells = make_cells(4)
    for cell in cells[:3]:
        cell.state = State.EJECTED
    choice = Chooser(BalancerOptions()).choose(cells, NOW)
    assert (choice.is_panic, len(choice.picked)) == (True, 4)
    assert choose(cells, outliers=Outliers(panic=0.0)) == [3]


def test_who_cannot_be_reached_is_a_last_resort_even_in_panic() -> None:
    cells = make_cells(4)
    for cell in cells[:3]:
        cell.state = State.UNREACHABLE
    choice = Chooser(BalancerOptions()).choose(cells, NOW)
    assert (choice.is_panic, choice.picked, choice.last_resorts) == (False, cells[3:], cells[:3])


def test_the_lowest_priority_has_all_until_too_few_are_up() -> None:
    cells = make_cells(6, (1, 1, 1, 2, 2, 2))
    assert choose(cells) == [0, 1, 2]
    cells[0].state = State.EJECTED  # two of three are less than 70 %
    assert choose(cells) == [3, 4, 5]
    assert choose(cells, priority_healthy_least=0.5) == [1, 2]
    for cell in cells[3:5]:
        cell.state = State.EJECTED
    assert levels_in_use(cells, 0.7) == cells  # none has enough: all together
    assert choose(cells) == [1, 2, 5]


def test_our_zone_is_preferred_while_enough_of_it_is_up() -> None:
    zones = ZonePreference(zone="a", cidrs={"10.0.0.0/24": "a", "10.0.0.0/16": "b"})
    cells = make_cells(6)
    assert choose(cells, zones=zones) == [0, 2, 4]  # the longest prefix holds
    cells[0].state = State.EJECTED
    assert choose(cells, zones=zones) == [1, 2, 3, 4, 5]


def test_zones_may_be_told_by_a_function() -> None:
    zones = ZonePreference(zone="a", zone_of=lambda endpoint: "a" if endpoint.host.endswith(".1") else None)
    assert choose(make_cells(4), zones=zones) == [0]


def test_a_zone_without_endpoints_prefers_nobody() -> None:
    zones = ZonePreference(zone="c", cidrs={"10.0.0.0/24": "a"})
    assert choose(make_cells(4), zones=zones) == [0, 1, 2, 3]


def test_zones_that_are_none_are_the_apps_fault() -> None:
    with pytest.raises(OptionError, match="needs zone_of or cidrs"):
        ZonePreference(zone="a")
    with pytest.raises(OptionError, match="zone preference: "):
        zone_teller(ZonePreference(zone="a", cidrs={"10.0.0.1/8": "a"}))


def test_a_subset_is_the_same_whatever_order_dns_gives() -> None:
    cells = make_cells(50)
    options = Subset(size=10, seed="me")
    assert len(subset(cells, options)) == 10
    assert set(subset(cells[::-1], options)) == set(subset(cells, options))
    assert set(subset(cells, Subset(size=10, seed="you"))) != set(subset(cells, options))
    assert subset(cells[:10], options) == cells[:10]


@given(count=st.integers(12, 60), gone=st.integers(0, 59), seed=st.text(max_size=5))
def test_a_change_of_the_set_changes_one_endpoint_of_a_subset_at_most(count: int, gone: int, seed: str) -> None:
    cells = make_cells(count)
    options = Subset(size=10, seed=seed or "x")
    before = set(subset(cells, options))
    after = set(subset(cells[: gone % count] + cells[gone % count + 1 :], options))
    assert len(before - after) <= 1


@given(hands=st.integers(2, 8), rounds=st.integers(1, 5))
def test_with_indexes_whole_rounds_are_exactly_even(hands: int, rounds: int) -> None:
    cells = make_cells(hands * 5)
    clients = hands * rounds
    counts: Counter[Cell] = Counter()
    for index in range(clients):
        counts.update(subset(cells, Subset(size=5, index=index, clients=clients)))
    assert set(counts.values()) == {rounds}


def test_a_new_endpoint_begins_with_a_tenth_and_grows() -> None:
    options = SlowStart(window=30.0)
    assert [ramp(age, options) for age in (-1.0, 0.0, 15.0, 30.0, 99.0)] == [0.1, 0.1, 0.5, 1.0, 1.0]
    assert ramp(15.0, SlowStart(aggression=2.0)) == pytest.approx(0.5**0.5)


def test_where_all_are_new_nobody_is_spared() -> None:
    cells = make_cells(3)
    chooser = Chooser(BalancerOptions(slow_start=SlowStart(window=30.0)))
    assert chooser.choose(cells, 5.0).weights is None
    for cell in cells[1:]:
        cell.since = -100.0
    assert chooser.choose(cells, 15.0).weights == {cells[0]: 0.5, cells[1]: 1.0, cells[2]: 1.0}


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=30))
def test_an_alias_table_has_the_shares_of_its_weights(weights: list[int]) -> None:
    total = sum(weights)
    wanted = [weight / total if total else 1 / len(weights) for weight in weights]
    assert shares(Alias(weights)) == pytest.approx(wanted, abs=1e-9)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=9), st.floats(0, 1, exclude_max=True))
def test_whatever_is_drawn_is_an_index(weights: list[int], drawn: float) -> None:
    assert 0 <= Alias(weights).index(drawn) < len(weights)


def firsts(weights: tuple[int, ...], strict: bool) -> list[float]:
    """With what share each of one priority comes first."""
    rng = Random(1)
    endpoints = [Endpoint(f"10.0.0.{n}", 80, 0, weight) for n, weight in enumerate(weights)]
    counts = Counter(order(endpoints, rng, strict)[0].host for _ in range(20_000))
    return [counts[endpoint.host] / 20_000 for endpoint in endpoints]


def test_the_order_is_unbiased_by_default() -> None:
    assert firsts((1, 1), strict=False) == pytest.approx([0.5, 0.5], abs=0.02)
    assert firsts((1, 3, 6), strict=False) == pytest.approx([0.1, 0.3, 0.6], abs=0.02)
    assert firsts((0, 1), strict=False) == [0.0, 1.0]


def test_on_request_it_is_as_the_rfc_writes_it_with_its_bias() -> None:
    # 0 to 2 inclusive are three numbers, of which the record that stands first has two; which one that is is random.
    assert firsts((1, 1), strict=True) == pytest.approx([0.5, 0.5], abs=0.02)
    assert firsts((0, 9), strict=True) == pytest.approx([0.1, 0.9], abs=0.02)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=12), st.booleans(), st.integers(0, 9))
def test_an_order_has_all_of_them_lowest_priority_first(
    records: list[tuple[int, int]], strict: bool, seed: int
) -> None:
    endpoints = [Endpoint(f"10.0.0.{n}", 80, *record) for n, record in enumerate(records)]
    ordered = order(endpoints, Random(seed), strict)
    assert sorted(ordered, key=str) == sorted(endpoints, key=str)
    assert [one.priority for one in ordered] == sorted(one.priority for one in endpoints)
