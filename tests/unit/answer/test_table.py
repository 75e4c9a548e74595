"""The table of kept replies: two generations, dependencies, denials."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import cycle

from hypothesis import given
from hypothesis import strategies as st

from kdns.answer.table import DENIALS, DROPPED_AT_ONCE, FREED_AT_ONCE, DenialKey, Entry, ReplyTable
from kdns.zone.model import Dependency

WEB, DB, OTHER = (0, b"web"), (0, b"db"), (1, b"web")


def entry(*depends: Dependency) -> Entry:
    return (b"head", b"head with OPT"), b"body", b"opt", 0, None, depends


def denial_key(length: int) -> DenialKey:
    return b"\0\1\0\1", length, b"\x05local\0", 5


def dependencies(table: ReplyTable) -> int:
    """How many notes of what replies were made of the table holds."""
    return sum(len(keys) for one in (table._new, table._old) for keys in one.keys.values())


def drop(table: ReplyTable, changed: Iterable[Dependency]) -> int:
    """Drop all that a change makes wrong; gives the number of steps that took."""
    return sum(1 for _ in table.drop(changed))


def test_a_kept_reply_is_found_and_another_is_not() -> None:
    table = ReplyTable()
    kept = entry(WEB)
    table.keep(b"a", kept)
    assert table.find(b"a") is table.current.get(b"a") is kept
    assert table.find(b"b") is None


def test_a_change_drops_exactly_the_replies_made_of_it() -> None:
    table = ReplyTable()
    table.keep(b"web", entry(WEB))
    table.keep(b"db", entry(DB))
    table.keep(b"both", entry(DB, WEB))
    table.keep(b"elsewhere", entry(OTHER))
    table.keep(b"static", entry())
    drop(table, {WEB})
    assert [key for key in (b"web", b"db", b"both", b"elsewhere", b"static") if table.find(key)] == [
        b"db", b"elsewhere", b"static",
    ]
    drop(table, [DB, (9, b"unknown")])
    assert len(table) == 2


def test_a_dropped_reply_can_be_kept_again_and_dropped_again() -> None:
    table = ReplyTable()
    for dependency in (WEB, DB, WEB):
        table.keep(b"both", entry(WEB, DB))
        drop(table, [dependency])
        assert table.find(b"both") is None
        assert len(table) == dependencies(table) == 0


def test_a_full_generation_becomes_the_old_one() -> None:
    table = ReplyTable(generation=3)
    for at in range(7):
        table.keep(b"%d" % at, entry(WEB))
    assert [at for at in range(7) if table.find(b"%d" % at)] == [3, 4, 5, 6]


def test_what_is_asked_for_again_stays() -> None:
    table = ReplyTable(generation=3)
    table.keep(b"hot", entry(WEB))
    for at in range(20):
        table.keep(b"%d" % at, entry(DB))
        assert table.find(b"hot") is not None
    assert len(table) <= 6


def test_the_current_generation_is_replaced_and_not_emptied() -> None:
    """The hot path holds on to it during one batch."""
    table = ReplyTable(generation=1)
    table.keep(b"a", entry(WEB))
    current = table.current
    table.keep(b"b", entry(WEB))
    assert b"a" in current
    assert table.current is not current


def test_a_change_drops_old_replies_too() -> None:
    table = ReplyTable(generation=2)
    for key in (b"a", b"b", b"c"):
        table.keep(key, entry(WEB))
    drop(table, {WEB})
    assert len(table) == 0


def test_a_reply_that_moved_to_the_new_generation_is_dropped_there() -> None:
    table = ReplyTable(generation=2)
    for key in (b"a", b"b", b"c"):
        table.keep(key, entry(WEB, DB))
    assert table.find(b"a") is not None
    drop(table, {DB})
    drop(table, {WEB})
    assert len(table) == 0


def test_notes_on_dependencies_do_not_pile_up() -> None:
    table = ReplyTable(generation=8)
    for at in range(1000):
        table.keep(b"hot", entry(WEB, DB))
        table.keep(b"%d" % at, entry((0, b"%d" % at), DB))
        drop(table, {(0, b"%d" % at)})
        drop(table, {WEB})
    assert dependencies(table) == len(table) == 0
    assert sum(len(one.keys) for one in (table._new, table._old)) <= 2 * 8


def test_clear_forgets_everything() -> None:
    table = ReplyTable()
    table.keep(b"a", entry(WEB))
    table.keep_denial(denial_key(9), entry())
    table.clear()
    assert (len(table), dependencies(table), table.denials) == (0, 0, {})


def test_denials_are_bounded() -> None:
    table = ReplyTable()
    for at in range(3 * DENIALS):
        table.keep_denial(denial_key(at), entry())
        assert len(table.denials) <= DENIALS
    assert table.denials.get(denial_key(3 * DENIALS - 1)) is not None


def test_changes_leave_denials_alone() -> None:
    table = ReplyTable()
    table.keep_denial(denial_key(9), entry(WEB))
    drop(table, {WEB})
    assert denial_key(9) in table.denials


def test_many_replies_made_of_one_thing_are_dropped_in_steps() -> None:
    table = ReplyTable()
    for at in range(3 * DROPPED_AT_ONCE):
        table.keep(b"%d" % at, entry(WEB, DB))
    before = len(table)
    for _ in table.drop({WEB}):
        assert before - len(table) <= DROPPED_AT_ONCE
        before = len(table)
    assert len(table) == dependencies(table) == 0


def test_a_change_that_no_reply_was_made_of_takes_no_step() -> None:
    table = ReplyTable()
    table.keep(b"web", entry(WEB))
    assert drop(table, [DB, OTHER]) == 0


def test_generations_that_are_over_are_freed_little_by_little_and_in_time() -> None:
    table = ReplyTable(generation=64)
    for at in range(1000):
        table.keep(b"%d" % at, entry((0, b"%d" % at)))
        left = sum(map(len, table._retired))
        table.keep(b"%d" % at, entry())
        assert left - sum(map(len, table._retired)) <= FREED_AT_ONCE
        assert left <= 2 * 64


@given(st.integers(1, 40), st.lists(st.integers(0, 59), min_size=1, max_size=80))
def test_whatever_is_asked_while_a_drop_goes_on_nothing_of_it_is_left(size: int, asked: list[int]) -> None:
    """Replies move between generations meanwhile, and others are kept."""
    table = ReplyTable(size)
    for at in range(60):
        table.keep(b"%d" % at, entry((0, b"%d" % (at % 3)), WEB))
    questions = cycle(asked)
    for _ in table.drop([(0, b"0"), (0, b"1")]):
        table.find(b"%d" % next(questions))
        table.keep(b"new %d" % next(questions), entry(DB))
    left = [table.find(b"%d" % at) for at in range(60)]
    assert {kept[5][0] for kept in left if kept} <= {(0, b"2")}


KEYS = st.sampled_from([b"%d" % at for at in range(6)])
DEPENDS = st.lists(st.sampled_from([WEB, DB, OTHER]), unique=True, max_size=3)
STEPS = st.lists(
    st.tuples(st.just("ask"), KEYS, DEPENDS) | st.tuples(st.just("drop"), KEYS, DEPENDS), max_size=60
)


@given(STEPS, st.integers(1, 4))
def test_nothing_found_was_made_of_what_changed_since(
    steps: list[tuple[str, bytes, list[Dependency]]], size: int
) -> None:
    table, made = ReplyTable(size), dict[bytes, Entry]()
    for action, key, depends in steps:
        if action == "drop":
            drop(table, depends)
            made = {one: kept for one, kept in made.items() if not set(depends) & set(kept[5])}
            continue
        found = table.find(key)
        assert found is None or found is made.get(key)
        if found is None:
            made[key] = entry(*depends)
            table.keep(key, made[key])
        assert table.find(key) is made[key]
        assert len(table) <= 2 * size
        assert dependencies(table) <= 3 * 2 * size


# One reply by itself


def test_a_reply_is_discarded_from_either_generation() -> None:
    table = ReplyTable(1)
    old, new = entry(WEB, DB), entry(WEB)
    table.keep(b"old", old)
    table.keep(b"new", new)
    assert (table.holds(b"old", old), table.holds(b"new", new), table.holds(b"old", new)) == (True, True, False)
    table.discard(b"old", old)
    table.discard(b"new", new)
    assert (len(table), dependencies(table)) == (0, 0)
    assert not table.holds(b"old", old)


def test_another_reply_under_the_same_key_is_not_discarded() -> None:
    table = ReplyTable()
    first, second = entry(WEB), entry(WEB)
    table.keep(b"a", first)
    table.keep(b"a", second)
    table.discard(b"a", first)
    assert table.find(b"a") is second
    table.discard(b"b", second)
    assert len(table) == 1


@given(st.lists(st.tuples(st.sampled_from("kdxfc"), st.integers(0, 5), st.sets(st.sampled_from((WEB, DB, OTHER))))))
def test_discarding_among_all_else_leaves_no_reply_that_a_change_would_miss(
    steps: list[tuple[str, int, set[Dependency]]]
) -> None:
    table = ReplyTable(3)
    made: dict[bytes, Entry] = {}
    for what, number, depends in steps:
        key = bytes((number,))
        if what == "k":
            made[key] = entry(*sorted(depends))
            table.keep(key, made[key])
        elif what == "d" and key in made:
            table.discard(key, made[key])
            assert not table.holds(key, made[key])
        elif what == "x":
            drop(table, depends)
            assert not any(
                table.holds(one, kept) for one, kept in made.items() if depends.intersection(kept[5])
            )
        elif what == "f":
            table.find(key)
        elif what == "c":
            table.clear()
