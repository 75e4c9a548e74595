"""kdns.kube.chorus: what several reflectors say alike is told once."""

from __future__ import annotations

from kdns.kube.chorus import REMEMBERED_MAX, TOGETHER_SECONDS, Chorus
from kdns.kube.request import Notice, Severity


def told(chorus: Chorus, singer: str, text: str, now: float = 0.0) -> bool:
    return bool(list(chorus.admit(singer, [Notice(Severity.WARNING, text)], now)))


def test_what_one_has_told_another_one_does_not_tell_again() -> None:
    chorus = Chorus()
    assert told(chorus, "services", "services: connection refused")
    assert not told(chorus, "namespaces", "namespaces: connection refused", 5.0)
    assert told(chorus, "namespaces", "namespaces: something else", 5.0)


def test_lines_that_differ_in_numbers_alone_are_alike() -> None:
    chorus = Chorus()
    assert told(chorus, "services", "services: watched again after 1.5 s and 2 failures")
    assert not told(chorus, "namespaces", "namespaces: watched again after 12 s and 3 failures")


def test_one_may_repeat_itself() -> None:
    chorus = Chorus()
    assert all(told(chorus, "services", "services: listed anew") for _ in range(3))


def test_what_is_not_about_the_resource_itself_is_always_told() -> None:
    chorus = Chorus()
    assert all(told(chorus, singer, "Service shop/web: ignored") for singer in ("services", "namespaces"))


def test_after_a_time_it_is_news_again() -> None:
    chorus = Chorus()
    told(chorus, "services", "services: connection refused")
    assert told(chorus, "namespaces", "namespaces: connection refused", TOGETHER_SECONDS)


def test_it_remembers_no_more_than_it_may() -> None:
    chorus = Chorus()
    for at in range(2 * REMEMBERED_MAX):
        told(chorus, "services", "services: " + "x" * at)
    assert len(chorus._told) <= REMEMBERED_MAX
