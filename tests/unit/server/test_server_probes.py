"""kdns.server.probes: what is asked for `loop`, of which server block, and what is a loop."""

from __future__ import annotations

from math import inf
from random import Random

import msgspec
import pytest

from kdns.corefile import parse_corefile
from kdns.server.assembly import assemble
from kdns.server.loopguard import PATIENCE_SECONDS, RETRY_SECONDS, SETTLE_SECONDS
from kdns.server.probes import LoopPlan, Probes
from kdns.wire.name import ROOT, from_text, to_text
from kdns.wire.outside import Ask, Source, Told

EXAMPLE = from_text("example.org")
NXDOMAIN = Told(0, 3, 0, b"", (0, 0, 0))
NOBODY = Told(0, 2, 0, b"", (0, 0, 0), source=Source.FAILURE)


def probes(*plans: tuple[int, LoopPlan]) -> Probes:
    made = Probes(plans or [(1, LoopPlan((ROOT,), ":53"))], Random(3))
    made.begin(100.0)
    return made


def returned(ask: Ask, **changes: object) -> Ask:
    """As a worker hands over the question of a client."""
    client = b"\x0a\x00\x00\x09"
    return msgspec.structs.replace(ask, number=77, client=client, **changes)


def test_without_loop_there_is_nothing_to_do() -> None:
    made = Probes([], Random(3))
    made.begin(100.0)
    assert (made.wake_at, made.wake(100.0)) == (inf, [])


def test_each_zone_of_each_block_is_probed_in_its_own_group() -> None:
    made = probes((0, LoopPlan((ROOT,), ":53")), (2, LoopPlan((EXAMPLE, ROOT), ":53")))
    asks = made.wake(100.0)
    assert [ask.group for ask in asks] == [0, 2, 2]
    assert [ask.number for ask in asks] == [0, 1, 2]
    assert asks[1].question[:-4].endswith(EXAMPLE)
    assert len({ask.question for ask in asks}) == 3


def brought_back(made: Probes, ask: Ask, now: float = 100.0) -> str:
    """What the second one that comes back makes of it, whichever was the first."""
    assert made.expects(returned(ask))
    assert made.saw(returned(ask), now) == ""
    asks = made.wake(now)
    return next((text for one in asks if (text := made.saw(returned(one), now))), "")


def test_two_returns_are_a_loop_and_are_told_in_the_words_of_coredns() -> None:
    made = probes()
    (ask,) = made.wake(100.0)
    assert made.saw(returned(ask), 100.1) == ""
    assert (made.wake_at, made.expects(returned(ask))) == (100.1, False)
    (second,) = made.wake(100.1)
    text = made.saw(returned(second), 100.2)
    assert text.startswith('plugin/loop: Loop (10.0.0.9 -> :53) detected for zone ".", see https://coredns.io/')
    assert f'Query: "HINFO {to_text(second.question[:-4])}".' in text
    assert "name upstreams in `forward`" in text


def test_our_own_asking_again_is_no_loop() -> None:
    made = probes()
    first, again = made.wake(100.0), made.wake(100.0 + RETRY_SECONDS)
    assert first == again
    assert not made.expects(returned(first[0], question=b"\x011\x011\0\0\x0d\0\1"))


def test_another_block_that_is_asked_by_ours_has_no_loop() -> None:
    made = probes()
    (ask,) = made.wake(100.0)
    assert made.saw(returned(ask, group=0), 100.1) == ""
    assert made.wake(100.1) == []


def test_an_answer_ends_it_soon_and_then_nothing_is_looked_for() -> None:
    made = probes()
    (ask,) = made.wake(100.0)
    made.told(NXDOMAIN, 100.1)
    assert made.wake_at == pytest.approx(100.1 + SETTLE_SECONDS)
    assert made.expects(returned(ask))
    assert made.wake(made.wake_at) == []
    assert (made.wake_at, made.expects(returned(ask))) == (inf, False)


def test_an_upstream_that_is_down_is_asked_again_for_half_a_minute() -> None:
    made = probes()
    now, asked = 100.0, 0
    while made.wake_at < inf:
        now = made.wake_at
        asked += len(made.wake(now))
        made.told(NOBODY, now)
    assert asked == PATIENCE_SECONDS / RETRY_SECONDS
    assert now == 100.0 + PATIENCE_SECONDS


def test_to_begin_again_is_to_ask_for_another_name() -> None:
    made = probes()
    (first,) = made.wake(100.0)
    made.begin(101.0)
    (second,) = made.wake(101.0)
    assert first.question != second.question
    assert not made.expects(returned(first))
    assert brought_back(made, second, 101.0) != ""


def test_what_is_told_of_a_probe_that_is_none_any_more_is_passed_over() -> None:
    made = probes()
    made.told(msgspec.structs.replace(NXDOMAIN, number=5), 100.0)
    assert made.wake_at == 100.0


def test_a_block_is_probed_below_what_it_forwards() -> None:
    text = (
        "example.org:5300 {\n bind 127.0.0.1 ::1\n loop\n"
        " forward . 192.0.2.1\n forward sub.example.org 192.0.2.2\n}\n"
        ". {\n loop\n whoami\n}\nexample.com {\n forward . 192.0.2.1\n}\n"
    )
    plan = assemble(parse_corefile(text), lambda _: [], list)
    apexes = (EXAMPLE, from_text("sub.example.org"))
    where = "127.0.0.1:5300, [::1]:5300"
    assert [group.loop for group in plan.groups] == [LoopPlan(apexes, where), None, None]
