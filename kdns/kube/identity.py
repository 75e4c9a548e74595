"""Which cluster an API server is: the UID of its namespace kube-system, which lives as long as the cluster.

An automaton like kdns.kube.reflector, for one small list that the permission to list Namespaces allows. Where that
is forbidden, the cluster stays unknown. It asks until it has an answer, and says when it is better not waited for.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from kdns.kube.backoff import Backoff
from kdns.kube.failures import Trouble, in_transport, no_answer, unreadable
from kdns.kube.refusals import refusal_of_answer, trouble_of
from kdns.kube.request import Failure, Fault, Headers, Notice, Outcome, Request, Resource, Severity

if TYPE_CHECKING:
    from random import Random

RESOURCE = Resource("Namespace", "v1", "namespaces", field_selector="metadata.name=kube-system")
PATIENCE_SECONDS = 15.0  # for the whole answer, which is some 1 kB
MAX_BODY_OCTETS = 1 << 16
# Answers that are none, until all that waits for this goes on without it. With the backoff that takes 2 to 5 s, in
# which an API server that has just been started gets over it.
USELESS_ANSWERS_MAX = 3
UNKNOWN = ""
_OK = 200
_WITHHELD = (
    f"the API server has not told {USELESS_ANSWERS_MAX} times which cluster it is: what a snapshot has told is listed"
    " anew, and none is written before this is known; it is asked on"
)


class _Meta(msgspec.Struct):
    uid: str = UNKNOWN


class _Item(msgspec.Struct):
    metadata: _Meta


class _ListMeta(msgspec.Struct, frozen=True, rename="camel"):
    resource_version: str = ""


class _List(msgspec.Struct):
    items: list[_Item] | None = None
    metadata: _ListMeta = _ListMeta()


_decoder = msgspec.json.Decoder(_List)


class Identity:
    """uid: None while it is asked for, UNKNOWN if it is not to be had. failures: by cause, as in Statistics.

    resource_version: how far its store was when it answered; "" if it does not say.
    """

    def __init__(self, rng: Random, now: float) -> None:
        self.failures: dict[str, int] = {}
        self._backoff = Backoff(rng)
        self._has_complained = False
        self._useless = 0  # answers
        self._number = 0  # of the last request
        self._headers: Headers = {}
        self.uid: str | None = None
        self.resource_version = ""
        self.request: Request | None = None
        self._ask(now)

    def wake(self, now: float) -> Outcome:
        """The answer has not come in time."""
        return self._useless_answer(no_answer(PATIENCE_SECONDS), now)

    @property
    def is_withheld(self) -> bool:
        """Whether the API server answers, but not this. One that cannot be reached would not tell anything else."""
        return self.uid is None and self._useless >= USELESS_ANSWERS_MAX

    def opened(self, number: int, status: int, headers: Headers, now: float) -> Outcome:
        """The answer has begun."""
        if self._is_current(number):
            self._status, self._headers = status, headers
        return Outcome()

    def received(self, number: int, block: bytes, now: float) -> Outcome:
        """Octets of its body have come."""
        if self._is_current(number):
            self._body += block[: MAX_BODY_OCTETS - len(self._body)]
        return Outcome()

    def ended(self, number: int, now: float) -> Outcome:
        """The answer is there."""
        if not self._is_current(number):
            return Outcome()
        if self._status == _OK:
            found = _list(self._body)
            if found is None:
                return self._useless_answer(unreadable("a list of Namespaces"), now)
            self.resource_version = found.metadata.resource_version
            return self._settle(found.items[0].metadata.uid if found.items else UNKNOWN)
        refusal = refusal_of_answer(self._status, self._headers, self._body)
        if refusal.is_for_good:
            return self._settle(UNKNOWN)
        return self._useless_answer(trouble_of(refusal, RESOURCE), now)

    def failed(self, number: int, failure: Failure, now: float) -> Outcome:
        """The request has come to nothing."""
        if not self._is_current(number):
            return Outcome()
        is_answer = self._status or failure.fault is Fault.MALFORMED
        outcome = (self._useless_answer if is_answer else self._again)(in_transport(failure), now)
        if failure.fault is Fault.REFUSED and self.request is not None:
            self.request = replace(self.request, when_heard_of=True)
        return outcome

    def _is_current(self, number: int) -> bool:
        return self.request is not None and self.request.number == number

    def _settle(self, uid: str) -> Outcome:
        self.uid, self.request, self.wake_at = uid, None, math.inf
        return Outcome()

    def _useless_answer(self, trouble: Trouble, now: float) -> Outcome:
        """It is reached, and could have told."""
        self._useless += 1
        outcome = self._again(trouble, now)
        if self._useless == USELESS_ANSWERS_MAX:
            outcome.notices.append(Notice(Severity.WARNING, _WITHHELD))
        return outcome

    def _again(self, trouble: Trouble, now: float) -> Outcome:
        """Ask once more, later; complain once."""
        self.failures[trouble.cause] = self.failures.get(trouble.cause, 0) + 1
        self._ask(now + self._backoff.next_delay(now))
        if self._has_complained:
            return Outcome()
        self._has_complained = True
        return Outcome(notices=[Notice(trouble.severity, f"which cluster it is cannot be told yet: {trouble.text}")])

    def _ask(self, due: float) -> None:
        self._number += 1
        self.request = Request(self._number, RESOURCE.path, (("fieldSelector", RESOURCE.field_selector),), due)
        self.wake_at = due + PATIENCE_SECONDS
        self._status, self._headers, self._body = 0, {}, bytearray()


def _list(body: bytes | bytearray) -> _List | None:
    """A list of Namespaces; None if it is no such list."""
    try:
        return _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
