"""kdns.server.outage: what the log is told while a cluster's answers are not current."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kdns.kube.request import Notice, Severity
from kdns.server.outage import TOLD_AT, TOLD_EVERY, Outage

SERVER = "https://10.96.0.1"


def tell(outage: Outage, since: float | None, now: float, is_lacking: bool = False) -> list[Notice]:
    return list(outage.notices(since, is_lacking, now))


def test_nothing_is_said_while_all_is_well_nor_of_a_moment() -> None:
    outage = Outage(SERVER)
    assert tell(outage, None, 100.0) == []
    assert tell(outage, 101.0, 101.0) == []
    assert tell(outage, 101.0, 105.9) == []
    assert tell(outage, None, 106.5) == []
    assert outage.wake_at == float("inf")


def test_an_outage_is_told_soon_and_then_seldom() -> None:
    outage = Outage(SERVER)
    told = [now for now in range(4 * 3600) if tell(outage, 0.0, float(now))]
    assert told == [*map(int, TOLD_AT), 2 * int(TOLD_EVERY), 3 * int(TOLD_EVERY)]


def test_its_texts_say_for_how_long_and_what_follows() -> None:
    outage = Outage(SERVER)
    tell(outage, 0.0, 0.0)
    text = f"{SERVER} has not been heard for 5 s: answers stay as they were then until it is back"
    assert tell(outage, 0.0, 5.0) == [Notice(Severity.WARNING, text)]
    assert "for 10 min:" in tell(outage, 0.0, 600.0)[0].text
    assert "for 2.0 h:" in tell(outage, 0.0, 7200.0)[0].text
    assert tell(outage, None, 7300.0) == [Notice(Severity.INFO, f"{SERVER} is heard again: the answers are current")]


def test_what_was_never_known_is_told_otherwise() -> None:
    outage = Outage(SERVER)
    tell(outage, 0.0, 0.0, is_lacking=True)
    (notice,) = tell(outage, 0.0, 5.0, is_lacking=True)
    assert notice.text == f"{SERVER} has not told everything for 5 s: it is asked again and again"


def test_what_began_long_ago_is_told_once_and_not_at_once() -> None:
    """As with a snapshot: its age is told where it is used, and the API server may answer in a moment."""
    outage = Outage(SERVER)
    assert tell(outage, -10_000.0, 0.0) == []
    told = [now for now in range(4000) if tell(outage, -10_000.0, float(now))]
    assert told == [5, 800]  # 10,800 s


def test_the_next_outage_begins_anew() -> None:
    outage = Outage(SERVER)
    for begin in (0.0, 1000.0):
        tell(outage, begin, begin)
        assert len(tell(outage, begin, begin + 5.0)) == 1
        assert len(tell(outage, None, begin + 6.0)) == 1


@given(st.lists(st.tuples(st.none() | st.floats(0, 5000), st.booleans(), st.floats(0, 700)), max_size=40))
def test_it_is_never_due_in_the_past_and_never_says_much(steps: list[tuple[float | None, bool, float]]) -> None:
    outage, now = Outage(SERVER), 0.0
    for age, is_lacking, later in steps:
        now += later
        assert len(tell(outage, None if age is None else now - age, now, is_lacking)) <= 1
        assert outage.wake_at > now
