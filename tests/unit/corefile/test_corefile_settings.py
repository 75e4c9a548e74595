"""What is said of the whole process: flags before variables, and errors that name which of them is wrong."""

from __future__ import annotations

import dataclasses

import pytest

from kdns.corefile import Condition, CorefileError, LogFormat, ReadyWhen, Settings, read_settings
from kdns.corefile.settings import SETTING_NAMES

SECOND = 10**9
VARIABLES = {
    "kubeconfig": "KUBECONFIG",
    "snapshot": "KDNS_SNAPSHOT",
    "snapshot_max_age": "KDNS_SNAPSHOT_MAX_AGE",
    "ready_when": "KDNS_READY_WHEN",
    "negative_ttl": "KDNS_NEGATIVE_TTL",
    "lameduck": "KDNS_LAMEDUCK",
    "cookie_secret": "KDNS_COOKIE_SECRET",
    "log_format": "KDNS_LOG_FORMAT",
    "client_queries": "KDNS_CLIENT_QUERIES",
    "rrl": "KDNS_RRL",
}
FLAGS = {
    "kubeconfig": "--kubeconfig",
    "snapshot": "--snapshot",
    "snapshot_max_age": "--snapshot-max-age",
    "ready_when": "--ready-when",
    "negative_ttl": "--negative-ttl",
    "lameduck": "--lameduck",
    "cookie_secret": "--cookie-secret",
    "log_format": "--log-format",
    "client_queries": "--client-queries",
    "rrl": "--rrl",
}
GOOD = [
    ("kubeconfig", "/root/.kube/config", "/root/.kube/config"),
    ("snapshot", "/var/lib/kdns/snapshot", "/var/lib/kdns/snapshot"),
    ("snapshot_max_age", "1h30m", 5400.0),
    ("snapshot_max_age", "500ms", 0.5),
    ("ready_when", "whole", ReadyWhen(Condition.WHOLE)),
    ("ready_when", "synced", ReadyWhen(Condition.SYNCED)),
    ("ready_when", "serving", ReadyWhen(Condition.SERVING)),
    ("ready_when", "fresh=1m30s", ReadyWhen(Condition.FRESH, 90 * SECOND)),
    ("negative_ttl", "0", 0),
    ("negative_ttl", "3600", 3600),
    ("lameduck", "0", 0.0),
    ("lameduck", "7s", 7.0),
    ("cookie_secret", "/run/secrets/kdns/cookie", "/run/secrets/kdns/cookie"),
    ("log_format", "text", LogFormat.TEXT),
    ("log_format", "json", LogFormat.JSON),
    ("client_queries", "1", 1),
    ("client_queries", "100000", 100_000),
    ("rrl", "0", 0),
    ("rrl", "1000000", 1_000_000),
]
BAD = [
    ("snapshot_max_age", "24", "`24` is no duration: write it as in 30s, 5m or 100ms"),
    ("snapshot_max_age", "0s", "`0s` is no time at all: write it as in 30s or 24h"),
    ("ready_when", "always", "one of whole, synced, serving, fresh=DURATION expected, not `always`"),
    ("ready_when", "Whole", "one of whole, synced, serving, fresh=DURATION expected, not `Whole`"),
    ("ready_when", "fresh", "one of whole, synced, serving, fresh=DURATION expected, not `fresh`"),
    ("ready_when", "fresh=", "`` is no duration"),
    ("ready_when", "fresh=60", "`60` is no duration"),
    ("ready_when", "fresh=0", "`0` is no time at all"),
    ("negative_ttl", "5s", "a number of seconds from 0 to 3600 expected, not `5s`"),
    ("negative_ttl", "-1", "a number of seconds from 0 to 3600 expected, not `-1`"),
    ("negative_ttl", "3601", "a number of seconds from 0 to 3600 expected, not `3601`"),
    ("negative_ttl", "٥", "a number of seconds from 0 to 3600 expected"),
    ("negative_ttl", "9" * 5000, "a number of seconds from 0 to 3600 expected"),
    ("lameduck", "-5s", "`-5s` is no duration"),
    ("lameduck", "5", "`5` is no duration"),
    ("log_format", "JSON", "one of text, json expected, not `JSON`"),
    ("client_queries", "0", "a number of queries from 1 to 100000 expected, not `0`"),
    ("client_queries", "many", "a number of queries from 1 to 100000 expected, not `many`"),
    ("rrl", "1000001", "a number of replies a second from 0 to 1000000 expected, not `1000001`"),
    ("rrl", "-1", "a number of replies a second from 0 to 1000000 expected, not `-1`"),
]


def refusal(flags: dict[str, str | None], environment: dict[str, str]) -> str:
    with pytest.raises(CorefileError) as caught:
        read_settings(flags, environment)
    return str(caught.value)


def test_without_flags_and_variables_the_defaults_hold() -> None:
    settings = read_settings({}, {})
    assert settings == Settings(
        kubeconfig="",
        snapshot="",
        snapshot_max_age=24 * 3600.0,
        ready_when=ReadyWhen(Condition.WHOLE, 0),
        negative_ttl=5,
        lameduck=None,
        cookie_secret="",
        log_format=LogFormat.TEXT,
        client_queries=512,
        rrl=0,
    )
    assert read_settings(dict.fromkeys(SETTING_NAMES), dict.fromkeys(VARIABLES.values(), "")) == settings


def test_every_setting_has_a_flag_and_a_variable() -> None:
    assert list(SETTING_NAMES) == list(VARIABLES) == list(FLAGS)
    assert [field.name for field in dataclasses.fields(Settings)] == list(SETTING_NAMES)


@pytest.mark.parametrize(("name", "text", "value"), GOOD)
def test_a_setting_comes_from_its_flag_or_its_variable(name: str, text: str, value: object) -> None:
    by_flag = read_settings({name: text}, {})
    by_variable = read_settings({}, {VARIABLES[name]: text})
    assert by_flag == by_variable == dataclasses.replace(Settings(), **{name: value})


@pytest.mark.parametrize(("name", "text", "message"), BAD)
def test_what_is_wrong_names_the_flag_or_the_variable(name: str, text: str, message: str) -> None:
    assert refusal({name: text}, {}).startswith(f"{FLAGS[name]}: {message}")
    assert refusal({}, {VARIABLES[name]: text}).startswith(f"{VARIABLES[name]}: {message}")


@pytest.mark.parametrize(("name", "text", "value"), GOOD)
def test_a_flag_comes_before_a_variable_even_a_wrong_one(name: str, text: str, value: object) -> None:
    settings = read_settings({name: text}, {VARIABLES[name]: "!"})
    assert getattr(settings, name) == value


@pytest.mark.parametrize("name", FLAGS)
def test_an_empty_flag_is_wrong_and_an_empty_variable_is_not_set(name: str) -> None:
    assert refusal({name: ""}, {}).startswith(f"{FLAGS[name]}: ")
    assert read_settings({}, {VARIABLES[name]: ""}) == Settings()


@pytest.mark.parametrize("name", ["kubeconfig", "snapshot", "cookie_secret"])
def test_a_path_with_a_nul_is_refused(name: str) -> None:
    assert refusal({name: "a\0b"}, {}) == f"{FLAGS[name]}: a path cannot hold a NUL"


@pytest.mark.parametrize(
    ("text", "path"),
    [(":", ""), ("/a:", "/a"), (":/a", "/a"), ("::/a:", "/a"), ("/a:/b", "/a:/b"), (":/a::/b", "/a:/b")],
)
def test_empty_parts_of_kubectls_variable_are_left_out(text: str, path: str) -> None:
    assert read_settings({}, {"KUBECONFIG": text}).kubeconfig == path
    assert read_settings({"kubeconfig": text}, {}).kubeconfig == text


@pytest.mark.parametrize("text", ["whole", "synced", "serving", "fresh=30s", "fresh=1h0m1s"])
def test_a_policy_reads_as_it_is_written(text: str) -> None:
    when = read_settings({"ready_when": text}, {}).ready_when
    assert read_settings({"ready_when": str(when)}, {}).ready_when == when
    assert str(when) == text.replace("0m", "")
