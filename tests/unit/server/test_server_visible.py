"""kdns.server.visible: which changes every worker answers from."""

from __future__ import annotations

from kdns.server.visible import MAX_UNSEEN, Visibility


def test_a_change_is_told_of_once_its_generation_is_visible() -> None:
    visibility = Visibility()
    visibility.published(2, 10.0, "shop 1 services changed")
    visibility.published(3, 10.1, "shop 2 services changed")
    assert list(visibility.visible(1, 10.2)) == []
    assert list(visibility.visible(2, 10.25)) == ["visible: shop 1 services changed (generation 2, 250 ms)"]
    assert list(visibility.visible(9, 10.3)) == ["visible: shop 2 services changed (generation 3, 200 ms)"]
    assert list(visibility.visible(9, 10.3)) == []


def test_what_has_no_text_is_not_told() -> None:
    visibility = Visibility()
    visibility.published(2, 10.0, "")
    assert list(visibility.visible(2, 10.2)) == []


def test_of_too_many_the_oldest_are_forgotten() -> None:
    visibility = Visibility()
    for generation in range(MAX_UNSEEN + 5):
        visibility.published(generation, 0.0, "x")
    lines = list(visibility.visible(MAX_UNSEEN + 5, 0.0))
    assert len(lines) == MAX_UNSEEN
    assert "generation 5," in lines[0]
