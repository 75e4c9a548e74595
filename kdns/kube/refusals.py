"""What an API server means when it refuses a list or a watch, whose fault that is, and what to do.

It refuses with an HTTP status, or with 200 and an ERROR event; both carry a Status, or should. Not here: what is done
about it (kdns.kube.reflector).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from kdns.kube.events import Status, read_status
from kdns.kube.failures import Trouble
from kdns.kube.request import Headers, Resource, Severity

BAD_REQUEST = 400
UNAUTHORIZED = 401
FORBIDDEN = 403
NOT_FOUND = 404
GONE = 410
UNPROCESSABLE = 422
TOO_MANY_REQUESTS = 429
GATEWAY_TIMEOUT = 504

RETRY_AFTER_MAX = 60.0  # whoever asks for more is asked after that all the same: it may have been a slip
MESSAGE_CHARACTERS_MAX = 300  # of a message in the log; a proxy may send a whole page

_EXPIRED_REASONS = frozenset(("Expired", "Gone"))  # the latter before 1.18
_TOO_LARGE = "too large resource version"  # apiserver/pkg/storage/errors.go
_SEND_INITIAL_EVENTS = "sendInitialEvents"
_USER = re.compile(r'User "([^"]*)"')
_REDIRECTS = range(300, 400)
_SERVER_ERRORS = range(500, 600)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refusal. code: an HTTP status. retry_after: seconds that the server asks for, 0 if it does not."""

    code: int
    message: str
    retry_after: float = 0.0

    @property
    def why(self) -> str:
        """For the log."""
        return f"{self.code}: {self.message}" if self.message else f"{self.code}"

    @property
    def is_of_watch_lists(self) -> bool:
        """Whether it is watch lists that the server has not, or not with its etcd."""
        return self.code in (BAD_REQUEST, UNPROCESSABLE) and _SEND_INITIAL_EVENTS in self.message

    @property
    def is_of_version(self) -> bool:
        """Whether it is the resource version or token that was asked for: too old, too new, or malformed."""
        return self.code in (BAD_REQUEST, GONE) or (
            self.code == GATEWAY_TIMEOUT and _TOO_LARGE in self.message.lower()
        )

    @property
    def is_for_good(self) -> bool:
        """Whether it stays until somebody changes something in the cluster."""
        return self.code in (FORBIDDEN, NOT_FOUND)


def refusal_of_answer(code: int, headers: Headers, body: bytes | bytearray) -> Refusal:
    """What an answer with another status than 200 says."""
    status = read_status(body)
    return Refusal(code, _one_line(status.message), _seconds(headers.get("retry-after", "")))


def refusal_of_event(status: Status) -> Refusal:
    """What an ERROR event says."""
    code = GONE if status.reason in _EXPIRED_REASONS else status.code or 0
    asked = (status.details and status.details.retry_after_seconds) or 0
    return Refusal(code, _one_line(status.message or status.reason), min(max(0.0, asked), RETRY_AFTER_MAX))


def trouble_of(refusal: Refusal, resource: Resource) -> Trouble:
    """What to tell the operator."""
    severity, explain = _EXPLANATIONS.get(refusal.code, (Severity.WARNING, _other))
    return Trouble(f"http_{refusal.code}", severity, explain(refusal, resource))


def _seconds(text: str) -> float:
    """A Retry-After. API servers give seconds; a date (RFC 9110 section 10.2.3) counts as none."""
    if not (text.isascii() and text.isdecimal()):
        return 0.0
    return min(float(text), RETRY_AFTER_MAX)


def _one_line(message: str | None) -> str:
    return " ".join((message or "").split())[:MESSAGE_CHARACTERS_MAX]


def _unauthorized(refusal: Refusal, resource: Resource) -> str:
    return (
        "the API server does not accept our credentials (401): renew the token or client certificate of the"
        " kubeconfig, or look whether the service account still exists"
    )


def _forbidden(refusal: Refusal, resource: Resource) -> str:
    found = _USER.search(refusal.message)
    user = f'user "{found[1]}"' if found else "our user"
    kind = f"Role in {resource.namespace}" if resource.namespace else "ClusterRole"
    return f"{user} may not list and watch {resource} (403): add to a {kind} bound to it the rule {resource.rule}"


def _not_found(refusal: Refusal, resource: Resource) -> str:
    return (
        f"the API server has no {resource.path} (404): {resource.group_version} needs Kubernetes 1.21 or newer,"
        " or the URL is not that of an API server"
    )


def _too_many(refusal: Refusal, resource: Resource) -> str:
    return (
        f"the API server has too much to do ({refusal.why}): if it lasts, run in kube-system, or give our user"
        " a FlowSchema of its own"
    )


def _other(refusal: Refusal, resource: Resource) -> str:
    if refusal.code in _REDIRECTS:
        return f"the API server redirects ({refusal.why}): the URL is not that of an API server"
    if refusal.code in _SERVER_ERRORS:
        return f"the API server, or a proxy before it, has failed ({refusal.why}): see its log"
    return f"the API server refuses to list and watch {resource} ({refusal.why})"


_EXPLANATIONS: dict[int, tuple[Severity, Callable[[Refusal, Resource], str]]] = {
    UNAUTHORIZED: (Severity.ERROR, _unauthorized),
    FORBIDDEN: (Severity.ERROR, _forbidden),
    NOT_FOUND: (Severity.ERROR, _not_found),
    TOO_MANY_REQUESTS: (Severity.WARNING, _too_many),
}
