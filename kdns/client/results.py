"""What the attempts of a call came to, and what the caller gets of it.

Not here: which attempt is the call's result (kdns.client.calling).
"""

from __future__ import annotations

from typing import Generic, TypeVar

from kdns.client.calling import GiveUp, Step
from kdns.client.errors import DeadlineExceeded
from kdns.client.hooks import GaveUp, Listeners, Retried
from kdns.client.lease import Lease
from kdns.client.outcome import Outcome

T = TypeVar("T")


class Results(Generic[T]):
    """The values and errors of one call's attempts, by number."""

    __slots__ = ("_errors", "_listeners", "_target", "_values")

    def __init__(self, target: str, listeners: Listeners) -> None:
        self._target = target
        self._listeners = listeners
        self._values: dict[int, T] = {}
        self._errors: dict[int, BaseException] = {}

    def returned(self, lease: Lease, value: T) -> Outcome:
        """An attempt returned this."""
        self._values[lease.number] = value
        return lease.outcome(None)

    def raised(self, lease: Lease, error: BaseException) -> Outcome:
        """An attempt raised this."""
        self._errors[lease.number] = error
        return lease.outcome(error)

    def tell(self, step: Step) -> None:
        """Tell the hooks what a step decided."""
        retry, give_up = step.retry, step.give_up
        if retry is not None:
            for hook in self._listeners.retried:
                hook(Retried(self._target, retry.attempt, retry.seconds, retry.reason, retry.is_hedge))
        if give_up is not None:
            for hook in self._listeners.gave_up:
                hook(GaveUp(self._target, give_up.reason))

    def of(self, number: int) -> T:
        """What the attempt returned; raises what it raised."""
        if number in self._errors:
            raise self._errors[number]
        return self._values[number]

    def without(self, give_up: GiveUp) -> T:
        """The end of a call without success: a value that its lease called a failure is still the caller's to see."""
        number = give_up.number
        if number is not None and number in self._values:
            return self._values[number]
        error = self._errors.get(number) if number is not None else None
        if give_up.reason == "deadline":
            raise DeadlineExceeded(f"{self._target}: the time of the call is over") from error
        if error is not None:
            raise error
        raise give_up.error or DeadlineExceeded(f"{self._target}: {give_up.reason}")


def is_over(step: Step) -> bool:
    """Whether a step ends its call."""
    return step.result is not None or step.give_up is not None


