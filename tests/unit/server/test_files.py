"""kdns.server.files: when a file is read, said of stamps and times alone."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from kdns.server.files import STILL_SECONDS, Events, FileWatch, Stamp

OLD = 1_000_000_000.0  # long ago


def stamp(version: int = 1, *, size: int = 10, inode: int = 1, mtime: float = OLD) -> Stamp:
    return Stamp(size, int(mtime * 1e9) + version, inode)


def events(watch: FileWatch, now: float, **stamps: Stamp | None) -> Events:
    return watch.observe(stamps, now)


NOW = OLD + 1000


def test_a_file_that_has_stood_still_is_read_at_once() -> None:
    assert events(FileWatch(), NOW, a=stamp()).read == ["a"]


def test_a_file_is_read_once() -> None:
    watch = FileWatch()
    events(watch, NOW, a=stamp())
    assert events(watch, NOW + 1, a=stamp()) == Events()


def test_a_file_that_was_just_written_is_waited_for() -> None:
    watch = FileWatch()
    fresh = stamp(mtime=NOW)
    assert events(watch, NOW + STILL_SECONDS / 2, a=fresh) == Events()
    assert not watch.is_settled()
    assert events(watch, NOW + STILL_SECONDS * 1.1, a=fresh).read == ["a"]
    assert watch.is_settled()


def test_a_change_is_read_once_it_has_stood_still_whatever_its_own_time_says() -> None:
    watch = FileWatch()
    events(watch, NOW, a=stamp(1))
    assert events(watch, NOW + 1.0, a=stamp(2)) == Events()  # as `cp -p` leaves it, with an old mtime
    assert events(watch, NOW + 1.05, a=stamp(3)) == Events()
    assert events(watch, NOW + 1.12, a=stamp(3)) == Events()
    assert events(watch, NOW + 1.16, a=stamp(3)).read == ["a"]


def test_another_file_with_the_same_size_and_time_is_a_change() -> None:
    watch = FileWatch()
    events(watch, NOW, a=stamp(inode=1))
    events(watch, NOW + 1, a=stamp(inode=2))
    assert events(watch, NOW + 2, a=stamp(inode=2)).read == ["a"]


def test_a_file_that_vanishes_is_told_once() -> None:
    watch = FileWatch()
    events(watch, NOW, a=stamp())
    assert events(watch, NOW + 1, a=None) == Events()
    assert events(watch, NOW + 2, a=None).vanished == ["a"]
    assert events(watch, NOW + 3, a=None) == Events()


def test_a_file_that_is_no_longer_mentioned_has_vanished() -> None:
    watch = FileWatch()
    events(watch, NOW, a=stamp())
    events(watch, NOW + 1)
    assert events(watch, NOW + 2).vanished == ["a"]


def test_a_file_that_is_away_for_a_moment_is_not_told_of() -> None:
    watch = FileWatch()
    events(watch, NOW, a=stamp(1))
    assert events(watch, NOW + 1.0, a=None) == Events()
    assert events(watch, NOW + 1.05, a=stamp(2)) == Events()
    assert events(watch, NOW + 1.2, a=stamp(2)) == Events(read=["a"])


def test_the_very_same_file_that_comes_back_is_not_read_again() -> None:
    watch = FileWatch()
    events(watch, NOW, a=stamp())
    for now in (NOW + 1, NOW + 2):
        events(watch, now, a=None)
    for now in (NOW + 3, NOW + 4):
        assert events(watch, now, a=stamp()) == Events()
    assert watch.is_settled()


def test_an_emptied_file_is_told_once_and_read_when_it_is_filled_again() -> None:
    watch = FileWatch()
    events(watch, NOW, a=stamp(1))
    events(watch, NOW + 1, a=stamp(2, size=0))
    assert events(watch, NOW + 2, a=stamp(2, size=0)) == Events(emptied=["a"])
    assert events(watch, NOW + 3, a=stamp(2, size=0)) == Events()
    events(watch, NOW + 4, a=stamp(3))
    assert events(watch, NOW + 5, a=stamp(3)).read == ["a"]


def test_a_file_that_does_not_exist_yet_is_no_event_and_is_read_when_it_does() -> None:
    watch = FileWatch()
    assert events(watch, NOW, a=None) == Events()
    assert watch.is_settled()
    events(watch, NOW + 1, a=stamp())
    assert events(watch, NOW + 2, a=stamp()).read == ["a"]


def test_a_renamed_file_is_a_rename_and_no_vanishing() -> None:
    watch = FileWatch()
    events(watch, NOW, a=stamp())
    assert events(watch, NOW + 1, b=stamp()) == Events(read=["b"], renamed={"a": "b"})
    assert events(watch, NOW + 2, b=stamp()) == Events()


def test_a_file_renamed_over_another_one_takes_its_place() -> None:
    watch = FileWatch()
    events(watch, NOW, a=stamp(inode=1), b=stamp(inode=2))
    events(watch, NOW + 1, b=stamp(inode=1))
    assert events(watch, NOW + 2, b=stamp(inode=1)) == Events(read=["b"], renamed={"a": "b"})


def test_a_clock_that_is_set_back_delays_by_no_more_than_the_wait() -> None:
    watch = FileWatch()
    events(watch, NOW, a=stamp(1))
    events(watch, NOW + 1, a=stamp(2))
    assert events(watch, NOW - 3600, a=stamp(2)) == Events()
    assert events(watch, NOW - 3600 + STILL_SECONDS, a=stamp(2)).read == ["a"]


def test_a_time_from_the_future_does_not_keep_a_file_from_being_read() -> None:
    watch = FileWatch()
    ahead = stamp(mtime=NOW + 3600)
    events(watch, NOW, a=ahead)
    assert events(watch, NOW + STILL_SECONDS * 1.01, a=ahead).read == ["a"]


STAMPS = st.none() | st.builds(stamp, st.integers(1, 3), size=st.sampled_from([0, 10]), inode=st.integers(1, 2))
HISTORIES = st.lists(
    st.tuples(st.sampled_from([0.01, 0.05, 0.12, 1.0]), st.dictionaries(st.sampled_from("abc"), STAMPS)),
    max_size=30,
)
History = Sequence[tuple[float, dict[str, Stamp | None]]]


@given(history=HISTORIES)
def test_whatever_happened_each_file_that_stands_still_is_read_in_its_last_state(history: History) -> None:
    watch, taken, now = FileWatch(), {}, NOW
    last: dict[str, Stamp | None] = {}
    for wait, stamps in [*history, (1.0, None), (1.0, None)]:
        now += wait
        last = last if stamps is None else stamps
        happened = watch.observe(last, now)
        for old in happened.renamed:
            taken.pop(old, None)
        for path in happened.read:
            taken[path] = last[path]
    for path, current in last.items():
        if current is not None and current.size:
            assert taken[path] == current
    assert watch.is_settled()


@given(history=HISTORIES)
def test_nothing_is_read_that_is_not_there_or_empty_and_nothing_is_read_twice_in_a_row(history: History) -> None:
    watch, taken, now = FileWatch(), {}, NOW
    for wait, stamps in history:
        now += wait
        happened = watch.observe(stamps, now)
        for path in happened.read:
            current = stamps[path]
            assert current is not None
            assert current.size
            assert taken.get(path) != current
            taken[path] = current
        for old in happened.renamed:
            taken.pop(old, None)
        for path in happened.vanished:
            assert stamps.get(path) is None


@given(history=HISTORIES)
def test_a_change_is_never_read_before_it_has_stood_still(history: History) -> None:
    watch, seen, now = FileWatch(), {}, NOW
    for wait, stamps in history:
        now += wait
        for path in {*seen, *stamps}:
            known = seen.get(path)
            if known is None or known[0] != stamps.get(path):
                # What is met for the first time is old, by its own time.
                seen[path] = (stamps.get(path), OLD if known is None else now)
        happened = watch.observe(stamps, now)
        for path in happened.read:
            assert now - seen[path][1] >= STILL_SECONDS
        for old in happened.renamed:
            seen.pop(old, None)
