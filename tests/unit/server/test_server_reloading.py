"""kdns.server.reloading: when a configuration is looked at, and what a look means."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.corefile import Corefile, CorefileError, parse_corefile
from kdns.server.reloading import (
    SETTLE_SECONDS,
    ConfigurationWatch,
    Decider,
    Pace,
    Verdict,
    Version,
    digest_of,
    no_watch,
    pace_of,
)

STEADY = Pace(30.0, 0.0)
BAD = Version("bad", "Corefile:2:5: unknown directive")


def _decider(pace: Pace | None = STEADY) -> Decider:
    decider = Decider(Random(1))
    decider.adopt("a", pace, 0.0)
    return decider


def test_an_unchanged_configuration_is_looked_at_once_in_each_interval() -> None:
    decider = _decider()
    assert decider.due == 30.0
    assert decider.judge(Version("a"), 30.0) is Verdict.NOTHING
    assert decider.due == 60.0


def test_a_change_is_loaded_when_a_second_look_confirms_it() -> None:
    decider = _decider()
    assert decider.judge(Version("b"), 30.0) is Verdict.NOTHING
    assert decider.due == 30.0 + SETTLE_SECONDS
    assert decider.judge(Version("b"), 31.0) is Verdict.RELOAD


def test_a_file_that_is_being_written_is_waited_for() -> None:
    decider = _decider()
    for at, digest in enumerate("bcdef"):
        assert decider.judge(Version(digest), 30.0 + at) is Verdict.NOTHING
    assert decider.judge(Version("f"), 36.0) is Verdict.RELOAD


def test_a_change_that_is_taken_back_before_it_is_confirmed_is_none() -> None:
    decider = _decider()
    verdicts = [decider.judge(Version(digest), at) for at, digest in enumerate("baba")]
    assert verdicts == [Verdict.NOTHING] * 4


def test_a_bad_configuration_is_refused_once_and_its_mending_needs_no_reload() -> None:
    decider = _decider()
    looks = [BAD, BAD, BAD, BAD, Version("a"), Version("a")]
    verdicts = [decider.judge(look, at) for at, look in enumerate(looks)]
    assert verdicts == [Verdict.NOTHING, Verdict.REFUSE, *[Verdict.NOTHING] * 4]


def test_a_bad_configuration_that_comes_again_is_refused_again() -> None:
    decider = _decider()
    verdicts = [decider.judge(look, at) for at, look in enumerate([BAD, BAD, Version("a"), BAD, BAD])]
    assert verdicts.count(Verdict.REFUSE) == 2


def test_one_mistake_after_the_other_is_told_each() -> None:
    decider = _decider()
    other = Version("worse", "Corefile:3:1: unknown directive")
    looks = [BAD, BAD, other, other, Version("b"), Version("b")]
    verdicts = [decider.judge(look, at) for at, look in enumerate(looks)]
    assert [verdict for verdict in verdicts if verdict is not Verdict.NOTHING] == [
        Verdict.REFUSE,
        Verdict.REFUSE,
        Verdict.RELOAD,
    ]


def test_what_could_not_be_loaded_is_not_tried_again_until_something_else_was_there() -> None:
    decider = _decider()
    decider.refuse("b")
    assert [decider.judge(Version("b"), at) for at in range(3)] == [Verdict.NOTHING] * 3
    assert [decider.judge(Version("c"), at) for at in range(2)] == [Verdict.NOTHING, Verdict.RELOAD]


def test_a_reload_that_came_to_nothing_is_not_repeated() -> None:
    decider = _decider()
    assert [decider.judge(Version("b"), at) for at in range(2)][-1] is Verdict.RELOAD
    assert decider.judge(Version("b"), 60.0) is Verdict.NOTHING


def test_a_configuration_without_reload_is_never_looked_at() -> None:
    assert _decider(None).due == inf
    decider = _decider()
    decider.adopt("b", None, 1.0)
    assert decider.due == inf
    assert no_watch().look(1e12) is Verdict.NOTHING


@given(st.floats(2, 1e6), st.floats(0, 1e6), st.randoms(use_true_random=False))
def test_the_interval_stays_within_the_jitter_and_half_of_itself(interval: float, jitter: float, rng: Random) -> None:
    drawn = Pace(interval, jitter).draw(rng)
    assert abs(drawn - interval) <= min(jitter, interval / 2) + interval * 1e-9  # floats are that exact


def test_replicas_do_not_look_at_the_same_moment() -> None:
    drawn = {Pace().draw(Random(seed)) for seed in range(20)}
    assert len(drawn) == 20
    assert min(drawn) < 22 < 38 < max(drawn)


@pytest.mark.parametrize(
    ("directives", "pace"),
    [
        ("whoami", None),
        ("reload", Pace(30.0, 15.0)),
        ("reload 10s 2s", Pace(10.0, 2.0)),
        ("reload 4s", Pace(4.0, 2.0)),
    ],
)
def test_the_directive_says_how_often(directives: str, pace: Pace | None) -> None:
    assert pace_of(parse_corefile(f"a.example {{\n whoami\n}}\n. {{\n {directives}\n}}\n", "Corefile")) == pace


class _Texts:
    """What stands in the files."""

    def __init__(self, corefile: str, **imports: str) -> None:
        self.corefile = corefile
        self.imports = imports

    def read(self) -> Corefile:
        return parse_corefile(self.corefile, "Corefile", read=lambda _: sorted(self.imports.items()))


def _watch(read: Callable[[], Corefile]) -> ConfigurationWatch:
    return ConfigurationWatch(read, Random(1), lambda _: STEADY)


def test_layout_and_comments_change_nothing_and_words_do() -> None:
    plain = digest_of(parse_corefile("example.org {\n whoami\n}\n", "Corefile"))
    assert len(plain) == 128
    assert digest_of(parse_corefile("# says\nexample.org:53 { \n\n  whoami  # it\n}\n", "Corefile")) == plain
    assert digest_of(parse_corefile("example.net {\n whoami\n}\n", "Corefile")) != plain


def test_an_import_and_a_new_file_that_a_pattern_matches_are_changes() -> None:
    texts = _Texts(". {\n import custom/*.override\n}\n", a="whoami\n")
    watch = _watch(texts.read)
    watch.load()
    watch.adopt(0.0)
    first = watch.version
    texts.imports["b"] = "any\n"
    assert [watch.look(at) for at in (29.0, 30.0, 31.0)] == [Verdict.NOTHING, Verdict.NOTHING, Verdict.RELOAD]
    watch.load()
    watch.adopt(31.5)
    assert watch.version != first
    assert watch.look(70.0) is Verdict.NOTHING


def test_nothing_is_read_before_it_is_time() -> None:
    reads: list[int] = []

    def read() -> Corefile:
        reads.append(1)
        return Corefile(())

    watch = _watch(read)
    watch.load()
    watch.adopt(0.0)
    assert watch.look(29.9) is Verdict.NOTHING
    assert len(reads) == 1
    watch.look(30.0)
    assert len(reads) == 2


def test_a_mistake_is_told_with_its_place() -> None:
    texts = _Texts(". {\n whoami\n}\n")
    watch = _watch(texts.read)
    watch.load()
    watch.adopt(0.0)
    texts.corefile = ". {\n whoaim\n}\n"
    assert [watch.look(30.0), watch.look(31.0), watch.look(61.0)] == [
        Verdict.NOTHING,
        Verdict.REFUSE,
        Verdict.NOTHING,
    ]
    texts.corefile = ". {\n  whoaim\n}\n"
    watch.look(91.0)
    assert watch.complaint.startswith("Corefile:2:3: ")
    assert watch.look(92.0) is Verdict.REFUSE


def test_a_mistake_that_an_order_to_reload_met_is_not_told_again() -> None:
    texts = _Texts(". {\n whoami\n}\n")
    watch = _watch(texts.read)
    watch.load()
    watch.adopt(0.0)
    texts.corefile = ". {\n whoaim\n}\n"
    with pytest.raises(CorefileError):
        watch.load()
    watch.refuse()
    assert [watch.look(at) for at in (30.0, 31.0, 61.0)] == [Verdict.NOTHING] * 3


def test_data_that_could_not_be_served_is_not_tried_again() -> None:
    texts = _Texts(". {\n whoami\n}\n")
    watch = _watch(texts.read)
    watch.load()
    watch.adopt(0.0)
    in_use = watch.version
    texts.corefile = ". {\n any\n}\n"
    watch.load()
    watch.refuse()
    assert [watch.look(at) for at in (30.0, 31.0, 61.0)] == [Verdict.NOTHING] * 3
    assert watch.version == in_use


def test_a_path_that_only_a_flag_can_hold_has_a_digest_too() -> None:
    from kdns.corefile import from_flags

    odd = from_flags(["127.0.0.1:53"], ["a\nb.yaml"], [])
    assert digest_of(odd) != digest_of(from_flags(["127.0.0.1:53"], ["a\nc.yaml"], []))
