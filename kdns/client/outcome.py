"""What became of an attempt, and whether it may be sent again (gRPC A6's classes; RFC 9110 section 9.2.2).

Not here: which exceptions mean what (kdns.client.classify), who decides on a retry (kdns.client.calling).
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class Safety(IntEnum):
    """How far an attempt that failed came."""

    NEVER_SENT = 0  # no octet of it was handed to a connection: any request may go elsewhere
    REFUSED = 1  # the server said that it did not begin: HTTP/2 REFUSED_STREAM, GOAWAY, gRPC transparent retry
    MAYBE_PROCESSED = 2  # only an idempotent request may be sent again


class Outcome(NamedTuple):
    """How an attempt ended.

    ok: nothing speaks against its endpoint. safety: counts where not ok. unreachable: no connection could be had; it
    says all about the endpoint, and is no attempt. again_after: seconds that the server wants us to wait (Retry-After,
    gRPC pushback), negative for "not again", None if it said nothing. is_neutral: it says nothing about the endpoint
    (cancelled, the loser of a hedge); then the others do not count. is_silence: it was cut off, as no answer came in
    all the time it had. text: what happened, for logs.
    """

    ok: bool
    safety: Safety = Safety.MAYBE_PROCESSED
    unreachable: bool = False
    again_after: float | None = None
    is_neutral: bool = False
    text: str = ""
    is_silence: bool = False

    @property
    def word(self) -> str:
        """One of four words, for metrics."""
        if self.is_neutral:
            return "neutral"
        return "ok" if self.ok else "unreachable" if self.unreachable else "failed"


OK = Outcome(True)
FAILED = Outcome(False, text="failed")
UNREACHABLE = Outcome(False, Safety.NEVER_SENT, unreachable=True, text="unreachable")
NEUTRAL = Outcome(True, is_neutral=True, text="cancelled")
