"""What the endurance run has seen, told by what was restarted when. Pure.

An attempt without an answer is explained by the restart of the server that it went to, by that of an upstream if it
was about a name outside, by that of the API server if it was about the cluster; from when the restart began until
AFTER_SECONDS after what was restarted was there again. What is left is put down to the neighbours if they kept the
machine busy then, and else explained by nothing. That excuses single attempts; a name that nobody answered is lost,
and a wrong answer wrong, whoever kept the machine busy. Where that was for much of the run, what seems good is not
judged: nobody knows what a quiet machine would have shown.

An address that a name has no more is a wrong answer, unless the API server was restarted and kdns may not have asked
it again yet, which takes it RETURN_SECONDS at most.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from bench.stamps import Latencies, judged, told
from bench.stub import NOBODY, TIMED_OUT, TIMEOUT_SECONDS, Attempt, Resolution, Server
from bench.truth import STALE_SECONDS, Judgement, Question, Verdict
from kdns.kube.backoff import FIRST_DELAY, JITTER
from kdns.server.streams import KNOCK_SECONDS

AFTER_SECONDS = 3.0
# From when an API server is there again until it is asked: the longest wait between two connections that are refused,
# and that before a list, should it have forgotten the versions from before.
RETURN_SECONDS = 2 * KNOCK_SECONDS + FIRST_DELAY * (1 + JITTER)
NOISY_SHARE = 0.2  # of the run in which others used much of the machine: more, and it shows nothing good
NOT_JUDGED = "not judged: noisy"
EXAMPLES_MAX = 20
NEIGHBOURS = "nothing, but others used the machine"
UNEXPLAINED = "nothing"
_WRONGS = ("mismatched", "not_response", "malformed", "wrong_answers")
UPSTREAM, API_SERVER, OUTSIDE = "upstream", "API server", "outside"
HEAD = (
    "restarted", "times", "away s", TIMED_OUT, NOBODY, "SERVFAIL", "other", "slowest ms",
    "load: lost", "load: refused", "load: SERVFAIL",
)  # fmt: skip


@dataclass(slots=True)
class Event:
    """Something was ended and started again: began to end, was gone, was there again (monotonic seconds).

    server: where it listens, if it is one that the stub asks.
    """

    name: str
    is_kill: bool
    began: float
    server: Server | None = None
    down: float = float("inf")
    ended: float = float("inf")

    @property
    def label(self) -> str:
        """What was done to what."""
        return f"{self.name}, {'SIGKILL' if self.is_kill else 'politely'}"

    def explains(self, question: Question, attempt: Attempt) -> bool:
        """Whether an attempt may have had no answer because of this."""
        if not self.began - TIMEOUT_SECONDS <= attempt.at <= self.ended + AFTER_SECONDS:
            return False
        if self.server is not None:
            return self.server == attempt.server
        is_outside = question.kind.startswith(OUTSIDE)
        return is_outside if self.name.startswith(UPSTREAM) else not is_outside


class Span(NamedTuple):
    """From when to when: monotonic seconds."""

    began: float
    ended: float


class Seen(NamedTuple):
    """A resolution, and what its answer is worth; None if there is none."""

    question: Question
    resolution: Resolution
    judgement: Judgement | None


def is_wrong(one: Seen, events: Sequence[Event]) -> bool:
    """Whether a name was answered, and wrongly."""
    if one.judgement is None or one.judgement.verdict is Verdict.RIGHT:
        return False
    sent = one.resolution.attempts[-1].at
    return one.judgement.verdict is not Verdict.STALE or not any(
        event.name == API_SERVER and event.began <= sent <= event.ended + RETURN_SECONDS + STALE_SECONDS
        for event in events
    )


class Load(NamedTuple):
    """What a driver found of one kdns in some seconds. result: what dnsload has printed."""

    name: str
    began: float
    ended: float
    result: dict[str, Any]

    @property
    def wrong(self) -> int:
        """Replies that broke a rule, or were to have another answer. Late ones have been counted as lost."""
        return sum(self.result[key] for key in _WRONGS)

    @property
    def unanswered(self) -> int:
        """Queries without an answer, for whatever reason."""
        return int(self.result["lost"] + self.result["overrun"] + self.result["failures"])

    def cause(self, events: Sequence[Event], busy: Sequence[Span]) -> str:
        """The restart of this kdns in this time, or who else explains that queries had no answer."""
        around = (one for one in events if one.began <= self.ended and self.began <= one.ended + AFTER_SECONDS)
        mine = next((one.label for one in around if one.name == self.name), None)
        return mine or _otherwise(self.began, self.ended, busy)


class Report(NamedTuple):
    """Rows of what is judged, of what was restarted, and examples of what went wrong."""

    rows: list[tuple[str, ...]]
    causes: list[tuple[str, ...]]
    examples: list[str]


def report(
    seen: Sequence[Seen],
    events: Sequence[Event],
    loads: Sequence[Load],
    busy: Sequence[Span] = (),
    seconds: float = float("inf"),
) -> Report:
    """Everything; see README.md. busy: when others used much of the machine, of `seconds` in all."""
    failures = [(one, attempt, cause(one.question, attempt, events, busy)) for one in seen
                for attempt in one.resolution.failures]  # fmt: skip
    wrong = [one for one in seen if is_wrong(one, events)]
    stale = sum(map(_is_stale, seen))
    lost = [one for one in seen if one.judgement is None]
    unexplained = [(one, attempt) for one, attempt, label in failures if label == UNEXPLAINED]
    unexplained_load = sum(one.unanswered for one in loads if one.cause(events, busy) == UNEXPLAINED)
    began = min((one.resolution.at for one in seen), default=0.0)
    rows = [
        told("names resolved", f"{len(seen):,}"),
        judged("wrong answers", len(wrong), 0, ""),
        told(f"  changed {STALE_SECONDS:g} s before, API server restarted", str(stale - sum(map(_is_stale, wrong)))),
        judged("lost names", len(lost), 0, ""),
        told("  of these while others used the machine", str(sum(_is_among(one, busy) for one in lost))),
        judged("attempts without an answer that no restart explains", len(unexplained), 0, ""),
        *_latencies(seen, events),
        told("load: queries answered", f"{sum(one.result['answered'] for one in loads):,}"),
        judged("load: wrong answers", sum(one.wrong for one in loads), 0, ""),
        judged("load: unanswered while this kdns was not restarted", unexplained_load, 0, ""),
    ]
    is_noisy = sum(one.ended - one.began for one in busy) > NOISY_SHARE * seconds
    if is_noisy:
        rows = [(*row[:3], NOT_JUDGED if row[3] == "ok" else row[3]) for row in rows]
    examples = [_example(one, began) for one in (*wrong, *lost, *(pair[0] for pair in unexplained))]
    causes = [HEAD, *_causes(events, failures, [(one, one.cause(events, busy)) for one in loads])]
    return Report(rows, causes, list(dict.fromkeys(examples))[:EXAMPLES_MAX])


def cause(question: Question, attempt: Attempt, events: Sequence[Event], busy: Sequence[Span] = ()) -> str:
    """Which restart explains that an attempt had no answer: the latest one that does; or who else does."""
    explained = (one.label for one in reversed(events) if one.explains(question, attempt))
    return next(explained, None) or _otherwise(attempt.at, attempt.at + TIMEOUT_SECONDS, busy)


def _otherwise(began: float, ended: float, busy: Sequence[Span]) -> str:
    return NEIGHBOURS if _is_during(began, ended, busy) else UNEXPLAINED


def _is_during(began: float, ended: float, busy: Sequence[Span]) -> bool:
    return any(one.began <= ended and began <= one.ended for one in busy)


def _is_among(one: Seen, busy: Sequence[Span]) -> bool:
    """Whether a resolution was under way while others used the machine."""
    return _is_during(one.resolution.at, one.resolution.at + one.resolution.seconds, busy)


def _is_stale(one: Seen) -> bool:
    return one.judgement is not None and one.judgement.verdict is Verdict.STALE


def _latencies(seen: Sequence[Seen], events: Sequence[Event]) -> Iterator[tuple[str, ...]]:
    whole = [round(one.resolution.seconds * 1e9) for one in seen if one.judgement is not None]
    if whole:
        found = Latencies.of(whole)
        yield told("  p50 / p99 / max", f"{found.p50_ms:.2f} / {found.p99_ms:.2f} / {found.max_ms:.0f} ms")
    again = sum(len(one.resolution.attempts) > 1 for one in seen)
    yield told("  that needed more than one attempt", f"{again:,} ({100 * again / max(1, len(seen)):.3f} %)")
    stale = max((one.judgement.stale_seconds for one in seen if one.judgement is not None), default=0.0)
    outages = (one.ended - one.began for one in events if one.name == API_SERVER and one.ended < float("inf"))
    goal = max(outages, default=0.0) + RETURN_SECONDS + STALE_SECONDS
    yield judged("oldest address that was still answered, after the change", stale, goal, "s")


def _causes(
    events: Sequence[Event], failures: Sequence[tuple[Seen, Attempt, str]], loads: Sequence[tuple[Load, str]]
) -> Iterator[tuple[str, ...]]:
    """A row for each kind of restart, and those for what none explains."""
    for label in dict.fromkeys([*(one.label for one in events), NEIGHBOURS, UNEXPLAINED]):
        mine = [one for one in events if one.label == label]
        outcomes = Counter(attempt.outcome for _, attempt, said in failures if said == label)
        slowest = max((one.resolution.seconds for one, _, said in failures if said == label), default=0.0)
        away = max((one.ended - one.down for one in mine if one.ended < float("inf")), default=0.0)
        under = [one for one, said in loads if said == label]
        named = [outcomes.pop(key, 0) for key in (TIMED_OUT, NOBODY, "SERVFAIL")]
        drivers = [sum(one.result[key] for one in under) for key in ("lost", "refused", "failures")]
        cells = (len(mine), f"{away:.2f}", *named, outcomes.total(), f"{1e3 * slowest:.0f}", *drivers)
        yield label, *map(str, cells)


def _example(one: Seen, began: float) -> str:
    attempts = ", ".join(
        f"{attempt.server[0]} at {attempt.at - began:.2f} s: {attempt.outcome}" for attempt in one.resolution.attempts
    )
    said = "lost" if one.judgement is None else one.judgement.verdict.value
    if one.judgement is not None and one.judgement.verdict is not Verdict.RIGHT:
        assert one.resolution.message is not None
        said += f" after {one.judgement.stale_seconds:.2f} s: {one.resolution.message.to_text()!r}"
    return f"{one.question.name} ({one.question.kind}, {one.question.answer or 'changes'}): {attempts}; {said}"
