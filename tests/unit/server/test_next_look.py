"""How often control looks at its files."""

from __future__ import annotations

from kdns.server.control import MAX_POLL_SHARE, POLL_SECONDS, next_look


def test_a_quick_look_is_repeated_at_the_usual_pace() -> None:
    assert next_look(100.0, 0.0) == next_look(100.0, POLL_SECONDS * MAX_POLL_SHARE) == 100.0 + POLL_SECONDS


def test_looking_at_very_many_files_takes_no_more_than_its_share_of_a_cpu() -> None:
    assert next_look(100.0, 0.5) == 100.0 + 0.5 / MAX_POLL_SHARE
