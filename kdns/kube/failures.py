"""What can go wrong with following a resource, in the words of the log: whose fault it is, and what to do.

Not here: refusals (kdns.kube.refusals), what is done about it (kdns.kube.reflector).
"""

from __future__ import annotations

from dataclasses import dataclass

from kdns.kube.request import Failure, Fault, Severity

_TO_MEND = (Fault.TLS, Fault.CREDENTIALS)  # by the operator: they do not pass


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a resource is not followed as it should be. cause: what tells it from other troubles."""

    cause: str
    severity: Severity
    text: str


_SERVER = "the API server, or a proxy before it,"

VERY_SHORT_WATCH = Trouble("very_short_watch", Severity.WARNING, f"{_SERVER} ends watches at once")
CUT_SHORT = Trouble("cut_short", Severity.WARNING, f"{_SERVER} ended an answer before it began")
INITIAL_END = Trouble("initial_end", Severity.WARNING, f"{_SERVER} ended its initial events in the middle")


def in_transport(failure: Failure) -> Trouble:
    """A request that was not answered, or not to the end."""
    severity = Severity.ERROR if failure.fault in _TO_MEND else Severity.WARNING
    return Trouble(failure.fault.name.lower(), severity, failure.text)


def no_answer(seconds: float) -> Trouble:
    """A request that was not answered."""
    text = f"the API server has not answered within {seconds:g} s: it is overloaded, or the network is cut"
    return Trouble("no_answer", Severity.WARNING, text)


def stalled(seconds: float) -> Trouble:
    """An answer that stopped."""
    text = f"an answer stopped for {seconds:g} s: the network is cut, or the API server hangs"
    return Trouble("stalled", Severity.WARNING, text)


def unreadable(what: str) -> Trouble:
    """An answer that no API server would give."""
    return Trouble("unreadable", Severity.WARNING, f"{_SERVER} sends what cannot be read: {what}")


def broken_off(why: str) -> Trouble:
    """A watch that the API server broke off, with an ERROR event."""
    return Trouble("error_event", Severity.WARNING, f"the API server broke off a watch: {why}")


def version_lost(version: str, why: str) -> Trouble:
    """A resource version that cannot be resumed from, as all of them after a restart of the API server."""
    text = f"watching cannot go on from resource version {version} ({why}): all is listed anew"
    return Trouble("version_lost", Severity.INFO, text)


def token_lost(why: str) -> Trouble:
    """A list that cannot be continued."""
    return Trouble("token_lost", Severity.INFO, f"the list took too long ({why}): it begins anew")


def rolled_back(version: str, former: str) -> Trouble:
    """A store that is older than it was."""
    text = (
        f"the API server's store has gone back from resource version {former} to {version},"
        " as when etcd is restored from a backup: all is listed anew"
    )
    return Trouble("rolled_back", Severity.WARNING, text)
