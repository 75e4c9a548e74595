"""When what an EndpointSlice shows has happened: told of headless services, of what watches show and lists do not."""

from __future__ import annotations

from typing import Any

import pytest

from kdns.kube.api import ObjectMeta
from kdns.kube.decode import TRIGGER_ANNOTATION, trigger_time
from tests.unit.kube.mirroring import SHOP, Watching, modified, rows, service

SELECTED = service("db", 11, clusterIP="None", selector={"app": "db"})


def triggered(value: dict[str, Any], at: str = "2026-11-23T19:00:00Z") -> dict[str, Any]:
    value["metadata"]["annotations"] = {TRIGGER_ANNOTATION: at}
    return value


def watching(db: dict[str, Any] = SELECTED) -> Watching:
    one = Watching()
    one.sync("namespaces", *SHOP["namespaces"])
    one.sync("services", db)
    one.sync("endpointslices", triggered(rows("db-1", 12, "db", "10.0.0.1")))
    return one


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("1970-01-01T00:01:00Z", 60.0),
        ("1970-01-01T00:01:00.25Z", 60.25),
        ("1970-01-01T01:01:00+01:00", 60.0),
        ("", None),
        ("yesterday", None),
        ("9999-99-99T00:00:00Z", None),
        (None, None),
    ],
)
def test_the_annotation_is_a_time_or_nothing(text: str | None, at: float | None) -> None:
    assert trigger_time(ObjectMeta(annotations={TRIGGER_ANNOTATION: text})) == at


def test_without_annotations_there_is_no_time() -> None:
    assert trigger_time(None) is trigger_time(ObjectMeta()) is None


def test_what_a_watch_shows_of_a_headless_service_is_timed() -> None:
    one = watching()
    assert [turn.triggered for turn in one.turns if turn.triggered] == []
    turn = one.say("endpointslices", modified(triggered(rows("db-1", 113, "db", "10.0.0.1", "10.0.0.2"))))
    assert turn.delta is not None
    assert turn.triggered == [1795460400.0]
    assert one.say("endpointslices", modified(rows("db-1", 114, "db", "10.0.0.1"))).triggered == []


def test_a_change_of_no_answer_is_not_timed() -> None:
    one = watching()
    turn = one.say("endpointslices", modified(triggered(rows("db-1", 113, "db", "10.0.0.1"))))
    assert (turn.delta, turn.triggered) == (None, [])


@pytest.mark.parametrize(
    "db",
    [service("db", 11, clusterIP="10.96.0.9", selector={"app": "db"}), service("db", 11, clusterIP="None")],
)
def test_other_services_are_not_timed(db: dict[str, Any]) -> None:
    one = watching(db)
    assert one.say("endpointslices", modified(triggered(rows("db-1", 113, "db", "10.0.0.2")))).triggered == []
