"""What exceptions say: whose fault they are, and how far the request came."""

from __future__ import annotations

import asyncio
import errno
import http.client
import socket
import ssl
import urllib.error
from email.message import Message

import pytest

from kdns.client.classify import cut_off, outcome_of
from kdns.client.errors import DeadlineExceeded, NoEndpoints, Saturated, TryTimeout
from kdns.client.outcome import Outcome, Safety

NEVER, MAYBE = Safety.NEVER_SENT, Safety.MAYBE_PROCESSED
ASYNCIO_TIMED_OUT = OSError(errno.ETIMEDOUT, "Connect call failed ('10.0.0.1', 80)")
ASYNCIO_NO_HOST = OSError(errno.EHOSTUNREACH, "Connect call failed ('10.0.0.1', 80)")
NO_HOST = OSError(errno.EHOSTUNREACH, "No route to host")
NO_NET = OSError(errno.ENETUNREACH, "Network is unreachable")

# error, what with sent unknown, False, True: (how far, whether the endpoint is out)
TABLE = [
    (ConnectionRefusedError(111, "refused"), (NEVER, True), (NEVER, True), (MAYBE, False)),
    (ASYNCIO_TIMED_OUT, (NEVER, True), (NEVER, True), (MAYBE, False)),
    (ASYNCIO_NO_HOST, (NEVER, True), (NEVER, True), (MAYBE, False)),
    (NO_HOST, (MAYBE, True), (NEVER, True), (MAYBE, False)),
    (NO_NET, (MAYBE, True), (NEVER, True), (MAYBE, False)),
    (OSError(errno.ETIMEDOUT, "timed out"), (MAYBE, False), (NEVER, True), (MAYBE, False)),
    (TimeoutError(), (MAYBE, False), (NEVER, True), (MAYBE, False)),
    (socket.gaierror(socket.EAI_NONAME, "unknown"), (MAYBE, False), (NEVER, True), (MAYBE, False)),
    (ssl.SSLCertVerificationError(1, "bad certificate"), (MAYBE, False), (NEVER, True), (MAYBE, False)),
    (ssl.SSLZeroReturnError(6, "closed"), (MAYBE, False), (NEVER, True), (MAYBE, False)),
    (ConnectionResetError(104, "reset"), (MAYBE, False), (NEVER, True), (MAYBE, False)),
    (BrokenPipeError(32, "pipe"), (MAYBE, False), (NEVER, True), (MAYBE, False)),
    (asyncio.IncompleteReadError(b"", 5), (MAYBE, False), (NEVER, True), (MAYBE, False)),
    (http.client.RemoteDisconnected("closed"), (MAYBE, False), (NEVER, True), (MAYBE, False)),
    (http.client.BadStatusLine("?"), (MAYBE, False), (NEVER, True), (MAYBE, False)),
]


@pytest.mark.parametrize(("error", "unknown", "unsent", "sent"), TABLE, ids=lambda value: repr(value)[:40])
def test_errors_of_peer_and_network_say_how_far_the_request_came(
    error: Exception, unknown: tuple[Safety, bool], unsent: tuple[Safety, bool], sent: tuple[Safety, bool]
) -> None:
    for known, expected in ((None, unknown), (False, unsent), (True, sent)):
        outcome = outcome_of(error, known)
        assert not outcome.ok
        assert not outcome.is_neutral
        assert (outcome.safety, outcome.unreachable) == expected, known


@pytest.mark.parametrize(
    "error",
    [
        ValueError("bad json"),
        KeyError("name"),
        asyncio.CancelledError(),
        KeyboardInterrupt(),
        FileNotFoundError(errno.ENOENT, "no such file"),
        OSError(errno.EMFILE, "too many open files"),
        OSError(errno.EADDRNOTAVAIL, "no ports left"),
        NoEndpoints("other:80", "NXDOMAIN"),
        Saturated("full"),
        DeadlineExceeded("of another call"),
        TryTimeout("of another call"),
        http.client.InvalidURL("x"),
        urllib.error.HTTPError("http://x", 404, "not found", Message(), None),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("sent", [None, False, True])
def test_errors_of_the_app_say_nothing_about_the_endpoint_and_end_the_call(
    error: BaseException, sent: bool | None
) -> None:
    outcome = outcome_of(error, sent)
    assert outcome.ok
    assert outcome.is_neutral
    if isinstance(error, urllib.error.HTTPError):
        error.close()


def test_an_adapter_that_knows_better_is_believed() -> None:
    error = ValueError("stream refused")
    error.kdns_outcome = Outcome(False, Safety.REFUSED, text="REFUSED_STREAM")  # type: ignore[attr-defined]
    assert outcome_of(error, True).safety is Safety.REFUSED


def test_an_attribute_of_another_kind_is_not_an_outcome() -> None:
    error = ConnectionRefusedError(111, "refused")
    error.kdns_outcome = "nonsense"  # type: ignore[attr-defined]
    assert outcome_of(error, None).unreachable


def test_an_error_without_a_number_is_the_peers() -> None:
    assert outcome_of(OSError("Multiple exceptions: ..."), None)[:3] == (False, MAYBE, False)


def test_an_error_of_a_library_counts_as_what_it_inherits_from() -> None:
    class ConnectorError(OSError):
        """As aiohttp's: an OSError with the number of what is behind it."""

    assert outcome_of(ConnectorError(errno.ECONNREFUSED, "Cannot connect to host"), None).unreachable
    assert outcome_of(ConnectorError(errno.ECONNRESET, "reset"), None)[:3] == (False, MAYBE, False)


def test_the_text_says_what_was_raised() -> None:
    assert "ConnectionResetError" in outcome_of(ConnectionResetError(104, "reset by peer"), True).text


@pytest.mark.parametrize(("sent", "expected"), [(None, (MAYBE, False)), (True, (MAYBE, False)), (False, (NEVER, True))])
def test_an_attempt_that_was_cut_off_while_connecting_found_no_endpoint(
    sent: bool | None, expected: tuple[Safety, bool]
) -> None:
    outcome = cut_off(1.0, sent)
    assert not outcome.ok
    assert (outcome.safety, outcome.unreachable) == expected
    assert "in 1 s" in outcome.text
