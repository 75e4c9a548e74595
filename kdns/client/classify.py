"""What an exception says about the endpoint, and about how far the request came.

Whose fault it is decides: the peer's (it counts, and goes elsewhere if that is safe), the network's on the way to it
(no connection: it is out at once), or the app's own (says nothing, and is not sent again: an error of parsing or of
an app's rule, a file that is missing, descriptors that ran out would be the same elsewhere). What is neither OSError
nor EOFError nor in the tables below is the app's own.

`sent` is what the caller knows: False, no octet of the request was handed to a connection; True, some were; None, not
known, as for a function that both connects and sends. Then only a refused connection proves that nothing was sent,
and whatever asyncio says of a "Connect call". The kernel reports EHOSTUNREACH, ENETUNREACH and ETIMEDOUT also on a
connection that was had, when its path is lost (tcp(7), icmp(7): soft errors): that takes the endpoint out as well, but
a request that is not idempotent is not sent again for it. Adapters that know better put an Outcome in the exception's
attribute `kdns_outcome`, and it holds.

Classes of other modules are found by name, so that no app pays for importing ssl or http. Not here: status codes
(adapters, `lease.fail`), what becomes of an outcome (kdns.client.outlier, kdns.client.calling).
"""

from __future__ import annotations

import errno
from enum import Enum

from kdns.client.errors import DeadlineExceeded, NoEndpoints, Saturated, TryTimeout
from kdns.client.outcome import Outcome, Safety


class Fault(Enum):
    """Whose fault an error is."""

    REFUSED = "refused"  # no connection, for sure
    PATH = "path"  # no connection, or one whose path was lost
    CONNECTING = "connecting"  # something before the request: a name, a handshake; or during it, nobody can say
    PEER = "peer"  # the connection or the answer broke
    APP = "app"  # says nothing about the endpoint


_OF_ERRNO = {
    errno.ECONNREFUSED: Fault.REFUSED,
    errno.EHOSTUNREACH: Fault.PATH,
    errno.ENETUNREACH: Fault.PATH,
    errno.EHOSTDOWN: Fault.PATH,
    errno.ENETDOWN: Fault.PATH,
    errno.ETIMEDOUT: Fault.CONNECTING,
    # Ours: they would be the same with every endpoint.
    errno.EMFILE: Fault.APP,
    errno.ENFILE: Fault.APP,
    errno.ENOMEM: Fault.APP,
    errno.ENOBUFS: Fault.APP,
    errno.EADDRNOTAVAIL: Fault.APP,
    errno.ENOENT: Fault.APP,
    errno.EISDIR: Fault.APP,
    errno.ENOTDIR: Fault.APP,
    errno.EEXIST: Fault.APP,
    errno.ENOSPC: Fault.APP,
    errno.EBADF: Fault.APP,
}
# The nearest class of an error's inheritance holds.
_OF_CLASS = {
    "socket.gaierror": Fault.CONNECTING,
    "ssl.SSLError": Fault.CONNECTING,
    "ssl.SSLZeroReturnError": Fault.PEER,
    "http.client.BadStatusLine": Fault.PEER,
    "http.client.IncompleteRead": Fault.PEER,
    # An answer came; what its status means is for an adapter.
    "urllib.error.HTTPError": Fault.APP,
    "requests.exceptions.HTTPError": Fault.APP,
    "builtins.OSError": Fault.PEER,
    "builtins.EOFError": Fault.PEER,
    "builtins.TimeoutError": Fault.CONNECTING,
}
# Of a balancer within the function: another service's.
_OURS = (NoEndpoints, Saturated, DeadlineExceeded, TryTimeout)
_ASYNCIO_CONNECT = "Connect call failed"


def outcome_of(error: BaseException, sent: bool | None) -> Outcome:
    """What an attempt that raised this came to. sent: see above."""
    told = getattr(error, "kdns_outcome", None)
    if isinstance(told, Outcome):
        return told
    fault = _fault_of(error)
    text = f"{type(error).__name__}: {error}"
    if fault is Fault.APP:
        return Outcome(True, is_neutral=True, text=text)
    if sent is None:
        sent = not _proves_unsent(error, fault)
        return Outcome(False, *_how_far(sent, is_out=not sent or fault is Fault.PATH), text=text)
    return Outcome(False, *_how_far(sent, is_out=not sent), text=text)


def cut_off(seconds: float, sent: bool | None) -> Outcome:
    """An attempt that had no end after so many seconds and was cancelled for it. sent: as for `outcome_of`.

    If nothing was sent, no connection could be had in all that time.
    """
    if sent is False:
        return Outcome(False, *_how_far(False, is_out=True), text=f"no connection in {seconds:.3g} s")
    return Outcome(False, text=f"no answer in {seconds:.3g} s", is_silence=True)


def _how_far(sent: bool, is_out: bool) -> tuple[Safety, bool]:
    return (Safety.MAYBE_PROCESSED if sent else Safety.NEVER_SENT), is_out


def _proves_unsent(error: BaseException, fault: Fault) -> bool:
    if fault is Fault.REFUSED:
        return True
    return isinstance(error, OSError) and str(error.strerror or "").startswith(_ASYNCIO_CONNECT)


def _fault_of(error: BaseException) -> Fault:
    """Cancellation and the end of the process are no Exceptions, and nobody's fault but the app's."""
    if not isinstance(error, Exception) or isinstance(error, _OURS):
        return Fault.APP
    # Errors of ssl and of getaddrinfo have numbers of their own, which are not those of errno.
    for cls in type(error).__mro__:
        fault = _OF_CLASS.get(f"{cls.__module__}.{cls.__qualname__}")
        if fault is None:
            continue
        if cls in (OSError, TimeoutError) and isinstance(error, OSError):
            return _OF_ERRNO.get(error.errno or 0, fault)
        return fault
    return Fault.APP
