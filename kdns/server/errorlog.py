"""`errors` in a worker: a line for each name that could not be resolved outside, or for many alike (`consolidate`).

What fails is what the forwarder tells as failed, or nobody could be asked for. Each server block has its own rules,
each worker its own counts. Not here: the rules (kdns.observe.consolidate), failures of kdns itself, which are logged
whatever the configuration says (kdns.server.worker).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

from kdns.observe.consolidate import ConsolidateRule, Consolidator, ErrorLine, error_line
from kdns.observe.logs import Log
from kdns.server.waiting import PATIENCE_SECONDS, Outside
from kdns.wire.outside import Ask, Purpose, Source, Told, is_unasked

# What each server block says of errors; None: it has no `errors`, and they are not logged.
ErrorRules = Sequence[tuple[ConsolidateRule, ...] | None]

# Between two lines of one server block that say, for the same reason, that a question has no answer because of us
# (kdns.wire.outside.Unasked): under overload there are thousands a second, and metrics count them.
UNASKED_SECONDS = 1.0

_TAIL_OCTETS = 4  # type and class, behind the name in a question


class Errors:
    """The errors of one worker. rules: of each server block, by the group that its questions name.

    is_debugging: whether lines of the level "debug" are of interest.
    """

    def __init__(
        self, rules: ErrorRules, log: Log, is_debugging: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._log = log
        self._is_debugging = is_debugging
        self._clock = clock
        self._blocks = [None if block is None else Consolidator(block) for block in rules]
        # By server block and reason: when a line last told of it, and how many there were since.
        self._unasked: dict[tuple[int, str], tuple[float, int]] = {}
        self._consolidators = [one for one in self._blocks if one is not None]

    def around(self, outside: Outside) -> Outside:
        """The same, with errors logged; itself if nobody wants them."""
        return _Reported(outside, self) if self._consolidators else outside

    def note(self, ask: Ask, told: Told) -> None:
        """Log what became of a question if it is an error, and somebody waited for it.

        As in CoreDNS, what an upstream says is passed on in silence, be it SERVFAIL.
        """
        block = self._blocks[ask.group]
        if block is None or told.source != Source.FAILURE or not told.text or ask.purpose == Purpose.PREFETCH:
            return
        text = told.text
        if is_unasked(told) and not block.wants(text):
            now, key = self._clock(), (ask.group, text)
            told_at, left_out = self._unasked.get(key, (now - UNASKED_SECONDS, 0))
            if now - told_at < UNASKED_SECONDS:
                self._unasked[key] = told_at, left_out + 1
                return
            self._unasked[key] = now, 0
            text += f" ({left_out} more since the last line)" if left_out else ""
        name, qtype = ask.question[:-_TAIL_OCTETS], int.from_bytes(ask.question[-_TAIL_OCTETS:-2])
        line = block.take(told.text, error_line(told.rcode, name, qtype, text), self._clock())
        if line is not None:
            self._write(line)

    def tick(self) -> None:
        """Tell of periods that are over."""
        now = self._clock()
        for block in self._consolidators:
            if block.due <= now:
                self._write(*block.collect(now))

    def finish(self) -> None:
        """Tell of those that are not, too."""
        for block in self._consolidators:
            self._write(*block.collect())

    def _write(self, *lines: ErrorLine) -> None:
        for level, text in lines:
            if level != "debug" or self._is_debugging:
                self._log.at(level, text)


class _Reported:
    """Who passes questions on, and has errors logged."""

    def __init__(self, outside: Outside, errors: Errors) -> None:
        self._outside = outside
        self._errors = errors

    def refusal(self, ask: Ask) -> Told | None:
        """As Outside.refusal."""
        refusal = self._outside.refusal(ask)
        if refusal is not None:
            self._errors.note(ask, refusal)
        return refusal

    def ask(self, ask: Ask, on_told: Callable[[Told], None], patience: float = PATIENCE_SECONDS) -> None:
        """As Outside.ask."""
        self._outside.ask(ask, partial(self._note_and_tell, ask, on_told), patience)

    def when_told(self, callback: Callable[[], None]) -> None:
        """As Outside.when_told."""
        self._outside.when_told(callback)

    def _note_and_tell(self, ask: Ask, on_told: Callable[[Told], None], told: Told) -> None:
        if told.source == Source.FAILURE:
            self._errors.note(ask, told)
        on_told(told)
