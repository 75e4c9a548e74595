"""What an app may have to catch; each message says whose fault it is and what to do.

`NoEndpoints`, `Saturated` and `Unreachable` are ConnectionErrors and `DeadlineExceeded` is a TimeoutError, so that
code which catches those of the standard library goes on working. Not here: errors of `fn`, which come through as
they are.
"""

from __future__ import annotations


class TargetError(ValueError):
    """The app's fault: a target that is none of the forms in docs/client.md, or one that cannot be read here."""


class OptionError(ValueError):
    """The app's fault: an option that makes no sense, alone or beside another."""


class NoEndpoints(ConnectionError):
    """There is nobody to send to: the name has no endpoints, or was never resolved.

    target: as it was given. reason: what DNS said. since: seconds for which that has been so.
    """

    def __init__(self, target: str, reason: str, since: float = 0.0) -> None:
        super().__init__(f"no endpoints for {target}: {reason} (for {since:.1f} s)")
        self.target, self.reason, self.since = target, reason, since


class Saturated(ConnectionError):
    """The app's own limit, `max_outstanding`, is reached: of all endpoints, or of the balancer."""


class DeadlineExceeded(TimeoutError):
    """The total time of a call is over; its cause is what the last attempt came to."""


class TryTimeout(TimeoutError):
    """One attempt took longer than `per_try_timeout`."""


class Closed(RuntimeError):
    """The app's fault: the resolver or balancer is closed."""
