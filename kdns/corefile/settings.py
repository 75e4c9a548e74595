"""What is said of the whole process, outside of any Corefile: flags of `kdns serve`, and environment variables.

    --kubeconfig PATH           KUBECONFIG              --ready-when POLICY      KDNS_READY_WHEN
    --snapshot PATH             KDNS_SNAPSHOT           --negative-ttl SECONDS   KDNS_NEGATIVE_TTL
    --snapshot-max-age DURATION KDNS_SNAPSHOT_MAX_AGE   --lameduck DURATION      KDNS_LAMEDUCK
    --cookie-secret PATH        KDNS_COOKIE_SECRET      --log-format text|json   KDNS_LOG_FORMAT
    --client-queries N          KDNS_CLIENT_QUERIES     --rrl N                  KDNS_RRL

A flag comes before its variable, and a variable that is empty is not set. In: texts. Out: Settings, or a
CorefileError that names the flag or the variable. Not here: flags that stand for a Corefile (flags.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from kdns.corefile.duration import NANOSECONDS, format_duration, parse_duration
from kdns.corefile.errors import CorefileError, Position

T = TypeVar("T")

# A snapshot older than that tells of pods that have nearly all been replaced: better no answer.
DEFAULT_SNAPSHOT_MAX_AGE = 24 * 3600.0
# How long a client may believe that a name does not exist. A new Service is asked for before it is there.
DEFAULT_NEGATIVE_TTL = 5
MAX_NEGATIVE_TTL = 3600  # as `ttl`
# Questions for outside that one client may have under way. A pod that starts asks for a few dozen names at once; a
# node cache or a proxy, behind which are many, is given more.
DEFAULT_CLIENT_QUERIES = 512
MAX_CLIENT_QUERIES = 100_000
# Replies a second; more goes to no client.
MAX_RRL = 1_000_000

KUBECONFIG = "KUBECONFIG"  # kubectl's, and so not KDNS_KUBECONFIG
KUBECONFIG_SEPARATOR = ":"

_FRESH = "fresh="


class Condition(Enum):
    """What /ready waits for."""

    WHOLE = "whole"
    SYNCED = "synced"
    SERVING = "serving"
    FRESH = "fresh"


@dataclass(frozen=True, slots=True)
class ReadyWhen:
    """`--ready-when`: when /ready says OK.

    whole: every cluster that is watched is known wholly, from its API server or a snapshot.
    synced: every API server itself has said all there is, once.
    serving: queries are read.
    fresh: as `synced`, and no cluster's data is older than max_staleness_ns.
    """

    condition: Condition = Condition.WHOLE
    max_staleness_ns: int = 0

    def __str__(self) -> str:
        is_fresh = self.condition is Condition.FRESH
        return _FRESH + format_duration(self.max_staleness_ns) if is_fresh else str(self.condition.value)


class LogFormat(Enum):
    """How a line of the log is written."""

    TEXT = "text"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of a process.

    kubeconfig: for clusters whose `kubernetes` directive names none, several paths joined by `:`; empty: they are the
        cluster around us.
    snapshot: the file that clusters are kept in for a start without an API server; empty for none.
    snapshot_max_age: seconds; an older one is not served.
    negative_ttl: seconds, at most, that denials of cluster names may be kept; `ttl` if that is less.
    lameduck: seconds from the order to end until queries are no longer read; None: as `health` says.
    cookie_secret: the file with the secret of DNS cookies (RFC 7873); empty: no cookies.
    client_queries: questions for outside that one client may have under way.
    rrl: replies a second over UDP to the clients of one network; 0 for no limit.
    """

    kubeconfig: str = ""
    snapshot: str = ""
    snapshot_max_age: float = DEFAULT_SNAPSHOT_MAX_AGE
    ready_when: ReadyWhen = ReadyWhen()
    negative_ttl: int = DEFAULT_NEGATIVE_TTL
    lameduck: float | None = None
    cookie_secret: str = ""
    log_format: LogFormat = LogFormat.TEXT
    client_queries: int = DEFAULT_CLIENT_QUERIES
    rrl: int = 0


SETTING_NAMES = tuple(Settings.__dataclass_fields__)


def read_settings(flags: Mapping[str, str | None], environment: Mapping[str, str]) -> Settings:
    """The settings that flags and the environment say. Raises CorefileError.

    flags: the text of each flag that was given, by the name of its field (`snapshot_max_age`).
    """
    said = _Said(flags, environment)
    return Settings(
        kubeconfig=said.kubeconfig(),
        snapshot=said.value("snapshot", _path, ""),
        snapshot_max_age=said.value("snapshot_max_age", _some_seconds, DEFAULT_SNAPSHOT_MAX_AGE),
        ready_when=said.value("ready_when", _ready_when, ReadyWhen()),
        negative_ttl=said.value("negative_ttl", _negative_ttl, DEFAULT_NEGATIVE_TTL),
        lameduck=said.value("lameduck", _seconds, None),
        cookie_secret=said.value("cookie_secret", _path, ""),
        log_format=said.value("log_format", _log_format, LogFormat.TEXT),
        client_queries=said.value("client_queries", _client_queries, DEFAULT_CLIENT_QUERIES),
        rrl=said.value("rrl", _rrl, 0),
    )


@dataclass(frozen=True, slots=True)
class _Said:
    flags: Mapping[str, str | None]
    environment: Mapping[str, str]

    def value(self, name: str, read: Callable[[str], T], default: T) -> T:
        """The value of a setting. `read` raises ValueError."""
        text, place = self.flags.get(name), "--" + name.replace("_", "-")
        if text is None:
            place = f"KDNS_{name.upper()}"
            text = self.environment.get(place) or None
        if text is None:
            return default
        try:
            return read(text)
        except ValueError as error:
            raise CorefileError(Position(place), str(error)) from None

    def kubeconfig(self) -> str:
        """What the variable holds is not judged before it is used: the environment may be meant for kubectl alone."""
        if self.flags.get("kubeconfig") is not None:
            return self.value("kubeconfig", _path, "")
        paths = self.environment.get(KUBECONFIG, "").split(KUBECONFIG_SEPARATOR)
        return KUBECONFIG_SEPARATOR.join(filter(None, paths))


def _path(text: str) -> str:
    if not text or "\0" in text:
        raise ValueError("the path is empty" if not text else "a path cannot hold a NUL")
    return text


def _seconds(text: str) -> float:
    return parse_duration(text) / NANOSECONDS["s"]


def _some_seconds(text: str) -> float:
    return _some_time(text) / NANOSECONDS["s"]


def _some_time(text: str) -> int:
    nanoseconds = parse_duration(text)
    if not nanoseconds:
        raise ValueError(f"`{text}` is no time at all: write it as in 30s or 24h")
    return nanoseconds


def _ready_when(text: str) -> ReadyWhen:
    if text.startswith(_FRESH):
        return ReadyWhen(Condition.FRESH, _some_time(text.removeprefix(_FRESH)))
    for condition in (Condition.WHOLE, Condition.SYNCED, Condition.SERVING):
        if text == condition.value:
            return ReadyWhen(condition)
    raise ValueError(f"one of whole, synced, serving, fresh=DURATION expected, not `{text}`")


def _log_format(text: str) -> LogFormat:
    try:
        return LogFormat(text)
    except ValueError:
        raise ValueError(f"one of {', '.join(form.value for form in LogFormat)} expected, not `{text}`") from None


def _negative_ttl(text: str) -> int:
    return _number(text, "a number of seconds", 0, MAX_NEGATIVE_TTL)


def _client_queries(text: str) -> int:
    return _number(text, "a number of queries", 1, MAX_CLIENT_QUERIES)


def _rrl(text: str) -> int:
    return _number(text, "a number of replies a second", 0, MAX_RRL)


def _number(text: str, what: str, lowest: int, highest: int) -> int:
    # int() is slow, or refuses, on endless digits.
    if not (text.isascii() and text.isdecimal() and len(text) <= 10 and lowest <= int(text) <= highest):
        raise ValueError(f"{what} from {lowest} to {highest} expected, not `{text}`")
    return int(text)
