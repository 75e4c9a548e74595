"""The cache tells what was stored last, as old as it is, or nothing; a name belongs to the line of a plain scan."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from kdns.forward.cache import AnswerCache
from kdns.forward.groups import make_groups
from kdns.forward.reply import Answer, read_reply
from kdns.forward.timers import Timers
from kdns.forward.values import CacheSpec, ForwardSpec, GroupSpec
from kdns.wire.message import layout
from kdns.wire.name import from_text, labels
from tests.unit.forward.messages import address, nxdomain, question, upstream

NAMES = ["a.example", "b.example", "c.example", "d.example"]
ROOMY = 60  # for as many steps as there are
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["answer", "denial", "look"]),
        st.sampled_from(NAMES),
        st.integers(1, 90),  # the TTL
        st.floats(0, 40),  # seconds since the step before
    ),
    max_size=60,
)


class Kept:
    """A plain model: what was stored last under each name, whatever room there is."""

    def __init__(self, most: int, stale: float) -> None:
        self._most = most
        self._stale = stale
        self._known: dict[str, tuple[float, int, int]] = {}

    def store(self, name: str, serial: int, ttl: int, now: float) -> None:
        self._known[name] = (now, serial, min(ttl, self._most))

    def find(self, name: str, now: float) -> tuple[float, int, int] | None:
        known = self._known.get(name)
        return known if known is not None and now < known[0] + known[2] + self._stale else None


@given(STEPS, st.sampled_from([1, 2, 4, ROOMY]), st.sampled_from([20, 3600]), st.sampled_from([0.0, 50.0]))
def test_what_is_found_is_what_was_stored_last_with_the_ttl_of_now(
    steps: list[tuple[str, str, int, float]], capacity: int, most: int, stale: float
) -> None:
    spec = CacheSpec(
        success_capacity=capacity, denial_capacity=capacity, success_ttl=most, denial_ttl=most, stale=stale
    )
    cache, model, now = AnswerCache(spec), Kept(most, stale), 0.0
    for serial, (what, name, ttl, pause) in enumerate(steps):
        now += pause
        asked = question(name)
        if what == "look":
            check_found(cache, model, name, now, is_roomy=capacity == ROOMY)
            continue
        rdata = serial.to_bytes(4, "big")
        octets = address(asked, ttl, rdata) if what == "answer" else nxdomain(asked, ttl)
        answer = read_reply(octets, asked, cache.limits)
        assert answer is not None
        told, keep = cache.store((asked, 0), answer, now)
        assert keep == min(ttl, most)
        assert ttls_in(asked, told) == told.ttls == (min(ttl, most),)
        model.store(name, serial if what == "answer" else -1, ttl, now)


def check_found(cache: AnswerCache, model: Kept, name: str, now: float, is_roomy: bool) -> None:
    asked = question(name)
    entry, expected = cache.find((asked, 0), now), model.find(name, now)
    if entry is None:
        assert expected is None or not is_roomy
        return
    assert expected is not None
    stored, serial, ttl = expected
    answer = entry.at(now)
    assert answer.counts == ((1, 0, 0) if serial >= 0 else (0, 1, 0))
    assert serial < 0 or answer.body[-4:] == serial.to_bytes(4, "big")
    assert entry.expires == stored + ttl
    assert ttls_in(asked, answer) == answer.ttls == (max(0, ttl - int(now - stored)),)
    assert ttls_in(asked, entry.stale()) == (min(ttl, 30),)
    cache.hit(entry, now)


def ttls_in(asked: bytes, answer: Answer) -> tuple[int, ...]:
    """The TTLs that stand in the octets."""
    head = bytes(4) + b"\0\1" + b"".join(count.to_bytes(2, "big") for count in answer.counts)
    measured = layout(head + asked + answer.body)
    assert measured is not None
    return measured.ttls


ZONES = [".", "example", "a.example", "b.a.example", "xa.example", "org"]
FOLDED = [from_text(zone) for zone in ZONES]
LINES = st.lists(
    st.tuples(st.sampled_from(FOLDED), st.lists(st.sampled_from(FOLDED[1:]), max_size=2).map(tuple)),
    min_size=1,
    max_size=4,
    unique_by=lambda line: line[0],
)


def is_below(name: bytes, zone: bytes) -> bool:
    count = len(labels(zone))
    return count == 0 or labels(name)[-count:] == labels(zone)


@given(LINES, st.sampled_from([*ZONES, "x.a.example", "c.b.a.example", "nota.example", "com"]))
def test_the_line_of_a_name_is_the_one_with_the_longest_zone_that_does_not_except_it(
    lines: list[tuple[bytes, tuple[bytes, ...]]], text: str
) -> None:
    specs = tuple(ForwardSpec(zone, (upstream(1),), excluded) for zone, excluded in lines)
    groups, _ = make_groups({0: GroupSpec(specs)}, Random(1))
    name = from_text(text)
    covering = [
        spec
        for spec in specs
        if is_below(name, spec.zone)
        and (name == spec.zone or not any(is_below(name, zone) for zone in spec.excluded))
    ]
    found = groups[0].route(name)
    if found is None:
        assert not covering
    else:
        assert found.spec == max(covering, key=lambda spec: len(labels(spec.zone)))


class Sleeping:
    def __init__(self) -> None:
        self.due = float("inf")


@given(st.lists(st.tuples(st.integers(0, 3), st.one_of(st.none(), st.integers(0, 20)), st.booleans()), max_size=80))
def test_each_sleeper_is_woken_once_when_its_last_timer_says(steps: list[tuple[int, int | None, bool]]) -> None:
    timers: Timers[Sleeping] = Timers()
    sleepers, model, now = [Sleeping() for _ in range(4)], {}, 0
    for index, when, is_looking in steps:
        if is_looking:
            now += 1
            expected = {one for one, due in model.items() if due <= now}
            assert timers.next_due <= min(model.values(), default=float("inf"))
            woken = timers.due(now)
            assert len(woken) == len(expected)
            assert {sleepers.index(one) for one in woken} == expected
            model = {one: due for one, due in model.items() if one not in expected}
            continue
        timers.set(sleepers[index], float("inf") if when is None else when)
        model.pop(index, None)
        if when is not None:
            model[index] = when
