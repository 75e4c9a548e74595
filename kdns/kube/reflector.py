"""Following one resource of an API server: list and watch as an automaton, without IO and without a clock.

    watch list --------------- end bookmark --------------+
        | not on this server                              v
    list (pages) ------------------------------------> watch --- silent ---> probe
        ^                                                 |                    |
        +------------ resource version expired -----------+<-------------------+

It asks for one `request` at a time, is told what became of it, and answers with an Outcome. What is known stays known
whatever happens: a watch that breaks is resumed from the last resource version, and only where that is not possible
all is listed anew, by mark and sweep (kdns.kube.ledger). After client-go's reflector (tools/cache/reflector.go), but:
a failure in transport never leads to a list, silence is found out, and so is an etcd that was restored from a backup.

A resource version to resume from comes from a list, an end bookmark or an event after it, never from initial events:
those come in the order of their keys. Not here: objects (kdns.kube.intake), connections (kdns.server), what the
changes answer (kdns.kube.store).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from kdns.kube.backoff import Backoff, Pace
from kdns.kube.decode import ObjectDecoder
from kdns.kube.events import ADDED, BOOKMARK, DELETED, ERROR, MODIFIED, Sighting, Status, Unreadable, read_page
from kdns.kube.failures import (
    CUT_SHORT,
    INITIAL_END,
    VERY_SHORT_WATCH,
    Trouble,
    broken_off,
    in_transport,
    no_answer,
    rolled_back,
    stalled,
    token_lost,
    unreadable,
    version_lost,
)
from kdns.kube.intake import Intake
from kdns.kube.ledger import is_behind, is_comparable
from kdns.kube.lines import MAX_LINE_OCTETS, LineSplitter
from kdns.kube.objects import Key
from kdns.kube.paging import Pager
from kdns.kube.queries import Query, probe_query, watch_list_query, watch_query
from kdns.kube.refusals import Refusal, refusal_of_answer, refusal_of_event, trouble_of
from kdns.kube.request import Failure, Fault, Headers, Notice, Outcome, Request, Resource, Severity
from kdns.kube.stages import (
    LIST_IDLE_SECONDS,
    OPENING_SECONDS,
    PATIENCE,
    PROVING_SECONDS,
    STAGES,
    WATCH_SECONDS_MAX,
    WATCH_SECONDS_MIN,
    Purpose,
    Stage,
)
from kdns.kube.troubles import Remarks, Troubles

if TYPE_CHECKING:
    from random import Random

OK = 200

# For how long a server without watch lists is not asked for one: it may be upgraded, and a list takes more memory.
PAGES_SECONDS = 3600.0
BODY_OCTETS_MAX = MAX_LINE_OCTETS  # of a probe, which is one object; of a refusal, what is over is not read
SPOILED_MAX = 3  # streams in a row, without progress, whose content is bad: then it is tried in another way

_NO_HEADERS: Headers = {}


@dataclass(frozen=True, slots=True)
class Resume:
    """What is known from elsewhere, and is to be followed from there.

    resource_version: "" if it is not known; all is listed then. keys: of its objects. heard_at: when it was current.
    """

    resource_version: str
    keys: Iterable[Key]
    heard_at: float = -math.inf


@dataclass(slots=True)
class Statistics:
    """Counters. lists: begun, as watch lists or in pages. relists: those for want of a version to resume from."""

    lists: int = 0
    relists: int = 0
    watches: int = 0  # asked for, not counting those that watch lists turn into
    events: int = 0
    silences: int = 0  # watches that were given up because nothing was heard
    rollbacks: int = 0  # of the API server's store
    failures: dict[str, int] = field(default_factory=dict)  # by cause: faults, statuses and a few more


class Reflector:
    """See the module's docstring. Times are monotonic seconds; `rng` spreads the load of many clients.

    request: what is open, or to be opened when it is due. A new number is another request: the one before is over.
    is_synced: whether all objects have been known once. is_confirmed: whether the API server itself has said so, not
        only `resume`. refusal: what it refuses for good, until it does not. resource_version: to resume from.
    heard_at: when something last said that we are current; before the first time, when this began.
    number: of the last request of whoever followed this resource before.
    """

    def __init__(
        self,
        resource: Resource,
        decoder: ObjectDecoder,
        rng: Random,
        now: float,
        resume: Resume | None = None,
        number: int = 0,
    ) -> None:
        self.resource = resource
        self.statistics = Statistics()
        self.is_synced = resume is not None
        self.is_confirmed = False
        self.refusal: Notice | None = None
        self.resource_version = ""
        self.heard_at = resume.heard_at if resume is not None else now
        self.request = Request(number, resource.path, (), now)
        self._stage = Stage.OPENING
        self._rng = rng
        self._pace = Pace(rng)
        self._intake = Intake(resource.kind, decoder, resume.keys if resume is not None else ())
        self._pager = Pager()
        self._listed_at = -math.inf  # when the first page of the list in progress came
        self._pages_until = -math.inf
        self._spoiled = 0  # streams, in a row
        self._was_short = False  # the last watch that ended
        self._has_synced = False  # with this input
        self._notices: list[Notice] = []
        self._troubles = Troubles(str(resource))
        self._remarks = Remarks()
        if resume is not None and is_comparable(resume.resource_version):
            self.resource_version = resume.resource_version
            self._ask(Purpose.WATCH, now)
        else:
            self._sync(now, now)

    @property
    def is_live(self) -> bool:
        """Whether we are current, as far as can be known: a watch is open and has said something or stood a while."""
        return self._stage is Stage.WATCHING and self._is_proved

    @property
    def wake_at(self) -> float:
        """When `wake` is due."""
        proving = self._opened_at + PROVING_SECONDS if self._is_to_prove else math.inf
        return min(self._quiet_since + PATIENCE[self._stage], proving)

    # Inputs. What is told of an earlier request than `request` is stale, and ignored.

    def wake(self, now: float) -> Outcome:
        """The time is `wake_at`, or later. What has arrived by then is to be told first."""
        if self._is_to_prove and now >= self._opened_at + PROVING_SECONDS:
            self._prove(now)
        if now >= self._quiet_since + PATIENCE[self._stage]:
            _ON_SILENCE[self._stage](self, now)
        return self._outcome(now)

    def opened(self, number: int, status: int, headers: Headers, now: float) -> Outcome:
        """The answer has begun."""
        if number == self.request.number and self._stage is Stage.OPENING:
            self._quiet_since = self._opened_at = now
            self._status, self._headers = status, headers
            self._stage = STAGES[self._purpose] if status == OK else Stage.REFUSED
            if status == OK:
                self.refusal = None
        return self._outcome(now)

    def received(self, number: int, block: bytes, now: float) -> Outcome:
        """Octets of its body have arrived, cut anywhere."""
        if number == self.request.number:
            _ON_BLOCK[self._stage](self, block, now)
        return self._outcome(now)

    def ended(self, number: int, now: float) -> Outcome:
        """Its body has ended as it should."""
        if number == self.request.number:
            _ON_END[self._stage](self, now)
        return self._outcome(now)

    def failed(self, number: int, failure: Failure, now: float) -> Outcome:
        """The request, or its answer, was cut short."""
        if number == self.request.number:
            if self._stage is Stage.REFUSED:
                self._refused(now)
            else:
                (self._find_nobody if failure.fault is Fault.REFUSED else self._fail)(in_transport(failure), now)
        return self._outcome(now)

    # Requests

    def _ask(self, purpose: Purpose, due: float) -> None:
        self._purpose = purpose
        self._stage = Stage.OPENING
        self._quiet_since = self._opened_at = due
        self._is_proved, self._proved_at = False, due
        self._version_before = self.resource_version
        self._status, self._headers = 0, _NO_HEADERS
        self._body = bytearray()
        self._lines = LineSplitter()
        self.statistics.watches += purpose is Purpose.WATCH
        self.request = Request(self.request.number + 1, self.resource.path, _QUERIES[purpose](self), due)

    def _sync(self, due: float, now: float) -> None:
        """List all objects, in the way that this server has."""
        self.statistics.lists += 1
        self._intake.begin_list(holds_back=self.is_synced)
        self._pager.begin()
        self._ask(Purpose.LIST if now < self._pages_until else Purpose.WATCH_LIST, due)

    def _sync_in_pages(self, why: str, now: float) -> None:
        self._notices.append(Notice(Severity.INFO, f"{self.resource}: listed in pages, for {why}"))
        self._pages_until = now + PAGES_SECONDS
        self._sync(now, now)

    def _relist(self, due: float, now: float) -> None:
        """List all objects because the last resource version is of no use any more."""
        self.statistics.relists += 1
        self._sync(due, now)

    def _after_backoff(self, backoff: Backoff, now: float, retry_after: float = 0.0) -> float:
        self._end_standing(now)
        return now + max(backoff.next_delay(now), retry_after)

    def _end_standing(self, now: float) -> None:
        """If a watch was good, it has been so for as long as it stood."""
        if self.is_live:
            self._pace.stood(now - self._proved_at)

    def _again(self, due: float, now: float) -> None:
        """Ask for the same once more. Initial events begin anew, a list goes on with the same page."""
        if self._purpose is Purpose.WATCH_LIST:
            self._sync(due, now)
        else:
            self._ask(self._purpose, due)

    def _watch_seconds(self) -> int:
        return self._rng.randint(WATCH_SECONDS_MIN, WATCH_SECONDS_MAX)

    def _watch_list_query(self) -> Query:
        return watch_list_query(self.resource, self._watch_seconds())

    def _list_query(self) -> Query:
        return self._pager.query(self.resource)

    def _watch_query(self) -> Query:
        return watch_query(self.resource, self.resource_version, self._watch_seconds())

    # What goes wrong

    def _complain(self, trouble: Trouble, now: float) -> None:
        failures = self.statistics.failures
        failures[trouble.cause] = failures.get(trouble.cause, 0) + 1
        consequence = "what is known stays answered" if self.is_synced else "it is not known yet"
        self._notices += self._troubles.begin(trouble, consequence, now)

    def _fail(self, trouble: Trouble, now: float, retry_after: float = 0.0) -> None:
        self._complain(trouble, now)
        is_list = self._purpose in (Purpose.WATCH_LIST, Purpose.LIST)
        backoff = self._pace.list if is_list else self._pace.watch
        self._again(self._after_backoff(backoff, now, retry_after), now)

    def _find_nobody(self, trouble: Trouble, now: float) -> None:
        """The connection was refused: who comes back there is asked soon."""
        self._complain(trouble, now)
        self._again(self._after_backoff(self._pace.absence, now), now)
        self.request = replace(self.request, when_heard_of=True)

    def _spoil(self, trouble: Trouble, now: float) -> None:
        """The content of an answer is bad. If it is so again and again, it may be one bad event in the way."""
        self._spoiled += 1
        if self._spoiled < SPOILED_MAX:
            self._fail(trouble, now)
            return
        self._complain(trouble, now)
        self._spoiled = 0
        self._pager.forgive()
        if self._purpose is Purpose.WATCH_LIST:
            self._pages_until = now + PAGES_SECONDS
        self._relist(self._after_backoff(self._pace.list, now), now)

    def _lose_version(self, refusal: Refusal, now: float) -> None:
        self._complain(version_lost(self.resource_version, refusal.why), now)
        self._relist(self._after_backoff(self._pace.list, now, refusal.retry_after), now)

    def _roll_back(self, version: str, now: float) -> None:
        """The API server's store is older than what it has told before: an etcd that was restored from a backup.

        The same version may now be of another state, so that nothing that is known says anything.
        """
        self.statistics.rollbacks += 1
        self._complain(rolled_back(version, self.resource_version), now)
        self.resource_version = ""
        self._intake.forget_versions()
        self._relist(self._after_backoff(self._pace.list, now), now)

    # Ends that should not be, and silence

    def _cut_short(self, now: float) -> None:
        self._fail(CUT_SHORT, now)

    def _initial_end(self, now: float) -> None:
        self._spoil(INITIAL_END, now)

    def _no_answer(self, now: float) -> None:
        self._fail(no_answer(OPENING_SECONDS), now)

    def _stalled(self, now: float) -> None:
        self._fail(stalled(LIST_IDLE_SECONDS), now)

    def _no_end_bookmark(self, now: float) -> None:
        self._sync_in_pages("the API server does not end its initial events (before Kubernetes 1.27)", now)

    def _fell_silent(self, now: float) -> None:
        """The connection is dead, or the server sends no bookmarks, or its store has gone back: ask which it is.

        A store that has gone back is silent until its versions are past the one that the watch began with.
        """
        self.statistics.silences += 1
        self._end_standing(now)
        self._ask(Purpose.PROBE, now)

    # Refusals

    def _keep_body(self, block: bytes, now: float) -> None:
        self._body += block[: BODY_OCTETS_MAX - len(self._body)]

    def _refused(self, now: float) -> None:
        refusal = refusal_of_answer(self._status, self._headers, self._body)
        _ON_REFUSAL[self._purpose](self, refusal, now)

    def _put_off(self, refusal: Refusal, now: float) -> None:
        """A refusal with which there is nothing to do but to ask again later."""
        trouble = trouble_of(refusal, self.resource)
        if refusal.is_for_good:
            self.refusal = Notice(trouble.severity, f"{self.resource}: {trouble.text}")
        self._fail(trouble, now, refusal.retry_after)

    def _refused_probe(self, refusal: Refusal, now: float) -> None:
        self._purpose = Purpose.WATCH  # which may be permitted where a list is not
        self._put_off(refusal, now)

    def _refused_watch_list(self, refusal: Refusal, now: float) -> None:
        if refusal.is_of_watch_lists:
            self._sync_in_pages("the API server's feature gate WatchList is off", now)
        else:
            self._put_off(refusal, now)

    def _refused_watch(self, refusal: Refusal, now: float) -> None:
        if refusal.is_of_version:
            self._lose_version(refusal, now)
        else:
            self._put_off(refusal, now)

    def _refused_page(self, refusal: Refusal, now: float) -> None:
        if self._pager.token and refusal.is_of_version:
            self._complain(token_lost(refusal.why), now)
            self._pager.expire()
            self._sync(self._after_backoff(self._pace.list, now, refusal.retry_after), now)
        else:
            self._put_off(refusal, now)

    # Lists

    def _read_page(self, block: bytes, now: float) -> None:
        self._quiet_since = now
        self._pager.feed(block)
        if not self._pager.is_too_large:
            return
        if self._pager.shrink():
            self._ask(Purpose.LIST, now)
        else:
            self._spoil(unreadable("a list that is too large"), now)

    def _page_ended(self, now: float) -> None:
        if not self._pager.version:
            self._listed_at = self._opened_at
        try:
            items = self._pager.items()
        except Unreadable as error:
            self._spoil(unreadable(str(error)), now)
            return
        for item in items:
            self._intake.show_item(item)
        if self._pager.token:
            self._ask(Purpose.LIST, now)
        elif self._finish_sync(self._pager.version, now):
            self.heard_at = max(self.heard_at, self._listed_at)
            self._ask(Purpose.WATCH, now)

    def _finish_sync(self, version: str, now: float) -> bool:
        """All objects are known as of this version. False if it cannot be."""
        if is_behind(version, self.resource_version):
            self._roll_back(version, now)
            return False
        self._intake.finish_list()
        self.resource_version = version
        self.is_synced = self.is_confirmed = self._has_synced = True
        self._spoiled = 0
        self._pager.forgive()
        return True

    def _probed(self, now: float) -> None:
        try:
            version = read_page(self._body).resource_version
        except Unreadable as error:
            self._spoil(unreadable(str(error)), now)
            return
        if is_behind(version, self.resource_version):
            self._roll_back(version, now)
        else:
            self._ask(Purpose.WATCH, now)

    # Streams

    def _pass_over(self, block: bytes, now: float) -> None:
        """Octets without a status before them are no answer."""

    def _read_initial(self, block: bytes, now: float) -> None:
        arrivals = self._intake.arrivals
        self._read_lines(block, now)
        if self._stage is Stage.SYNCING and self._intake.arrivals > arrivals:
            self._quiet_since = now

    def _read_news(self, block: bytes, now: float) -> None:
        self._quiet_since = now
        self._read_lines(block, now)

    def _read_lines(self, block: bytes, now: float) -> None:
        number = self.request.number
        for line in self._lines.feed(block):
            self._read_line(line, now)
            if self.request.number != number:
                return
        if self._lines.is_overlong:
            self._spoil(unreadable(f"a line of more than {MAX_LINE_OCTETS} octets"), now)

    def _read_line(self, line: bytes, now: float) -> None:
        self.statistics.events += 1
        try:
            sighting = self._intake.look(line)
        except Unreadable as error:
            self._spoil(unreadable(str(error)), now)
            return
        if sighting is not None:
            _ON_EVENT.get((self._stage, sighting.type), Reflector._ignore)(self, sighting, now)

    def _ignore(self, sighting: Sighting, now: float) -> None:
        self._intake.ignore(sighting)

    def _initial_show(self, sighting: Sighting, now: float) -> None:
        self._intake.show(sighting)

    def _initial_hide(self, sighting: Sighting, now: float) -> None:
        self._intake.hide(sighting)

    def _initial_bookmark(self, sighting: Sighting, now: float) -> None:
        """The end of initial events. A server that knows watch lists sends no other bookmark before it."""
        if not sighting.ends_initial_events:
            self._no_end_bookmark(now)
        elif not sighting.resource_version:
            self._spoil(unreadable("an end bookmark without resourceVersion"), now)
        elif self._finish_sync(sighting.resource_version, now):
            self._purpose, self._stage = Purpose.WATCH, Stage.WATCHING
            self._quiet_since = now
            self._prove(now)

    def _initial_error(self, sighting: Sighting, now: float) -> None:
        """As from a server whose etcd is too old for watch lists (RequestWatchProgress)."""
        refusal = refusal_of_event(sighting.status or Status())
        self._sync_in_pages(f"the API server answers a watch list with: {refusal.why}", now)

    def _news(self, sighting: Sighting, now: float) -> bool:
        """Whether an event brings us forward, as all do unless the store has gone back."""
        version = sighting.resource_version
        if is_behind(version, self.resource_version):
            self._roll_back(version, now)
            return False
        if version and version != self.resource_version:
            self.resource_version = version
            self._spoiled = 0
        self.heard_at = now
        if not self._is_proved:
            self._prove(now)
        return True

    def _show(self, sighting: Sighting, now: float) -> None:
        if self._news(sighting, now):
            self._intake.show(sighting)

    def _hide(self, sighting: Sighting, now: float) -> None:
        if self._news(sighting, now):
            self._intake.hide(sighting)

    def _bookmark(self, sighting: Sighting, now: float) -> None:
        self._news(sighting, now)

    def _error(self, sighting: Sighting, now: float) -> None:
        refusal = refusal_of_event(sighting.status or Status())
        if refusal.is_of_version:
            self._lose_version(refusal, now)
        else:
            self._spoil(broken_off(refusal.why), now)

    def _watch_ended(self, now: float) -> None:
        """The server has ended the watch, as it does every few minutes, or with its own end."""
        was_short, self._was_short = self._was_short, now - self._opened_at < PROVING_SECONDS
        if self._was_short and (was_short or self.resource_version == self._version_before):
            self._fail(VERY_SHORT_WATCH, now)
        else:
            self._prove(now)
            self._end_standing(now)
            self._ask(Purpose.WATCH, now)

    # What follows

    @property
    def _is_to_prove(self) -> bool:
        return self._stage is Stage.WATCHING and not self._is_proved

    def _prove(self, now: float) -> None:
        """A watch is good: the API server is well."""
        if not self._is_proved:
            self._proved_at = now
        self._is_proved = self.is_confirmed = True
        self.heard_at = now
        self._notices += self._troubles.end(now)

    def _outcome(self, now: float) -> Outcome:
        remarks = self._intake.take_remarks()
        notices, self._notices = self._notices, []
        synced, self._has_synced = self._has_synced, False
        if remarks:
            notices += self._remarks.admit(remarks, now)
        return Outcome(self._intake.take(), synced, notices, self._intake.take_triggers())


_QUERIES: dict[Purpose, Callable[[Reflector], Query]] = {
    Purpose.WATCH_LIST: Reflector._watch_list_query,
    Purpose.LIST: Reflector._list_query,
    Purpose.WATCH: Reflector._watch_query,
    Purpose.PROBE: lambda reflector: probe_query(),
}
_ON_BLOCK: dict[Stage, Callable[[Reflector, bytes, float], None]] = {
    Stage.OPENING: Reflector._pass_over,
    Stage.REFUSED: Reflector._keep_body,
    Stage.SYNCING: Reflector._read_initial,
    Stage.LISTING: Reflector._read_page,
    Stage.WATCHING: Reflector._read_news,
    Stage.PROBING: Reflector._keep_body,
}
_ON_END: dict[Stage, Callable[[Reflector, float], None]] = {
    Stage.OPENING: Reflector._cut_short,
    Stage.REFUSED: Reflector._refused,
    Stage.SYNCING: Reflector._initial_end,
    Stage.LISTING: Reflector._page_ended,
    Stage.WATCHING: Reflector._watch_ended,
    Stage.PROBING: Reflector._probed,
}
_ON_SILENCE: dict[Stage, Callable[[Reflector, float], None]] = {
    Stage.OPENING: Reflector._no_answer,
    Stage.REFUSED: Reflector._refused,
    Stage.SYNCING: Reflector._no_end_bookmark,
    Stage.LISTING: Reflector._stalled,
    Stage.WATCHING: Reflector._fell_silent,
    Stage.PROBING: Reflector._stalled,
}
_ON_REFUSAL: dict[Purpose, Callable[[Reflector, Refusal, float], None]] = {
    Purpose.WATCH_LIST: Reflector._refused_watch_list,
    Purpose.LIST: Reflector._refused_page,
    Purpose.WATCH: Reflector._refused_watch,
    Purpose.PROBE: Reflector._refused_probe,
}
_ON_EVENT: dict[tuple[Stage, str], Callable[[Reflector, Sighting, float], None]] = {
    (Stage.SYNCING, ADDED): Reflector._initial_show,
    (Stage.SYNCING, MODIFIED): Reflector._initial_show,
    (Stage.SYNCING, DELETED): Reflector._initial_hide,
    (Stage.SYNCING, BOOKMARK): Reflector._initial_bookmark,
    (Stage.SYNCING, ERROR): Reflector._initial_error,
    (Stage.WATCHING, ADDED): Reflector._show,
    (Stage.WATCHING, MODIFIED): Reflector._show,
    (Stage.WATCHING, DELETED): Reflector._hide,
    (Stage.WATCHING, BOOKMARK): Reflector._bookmark,
    (Stage.WATCHING, ERROR): Reflector._error,
}
