"""What went wrong between us and an API server, from the exception to a Failure: whose fault it is, and what to do.

Texts name URL and cause, and never a token. Pure.
"""

from __future__ import annotations

import socket
import ssl
import traceback
from collections.abc import Callable
from typing import Any

from kdns.kube.request import Failure, Fault
from kdns.server.credentials import CredentialsError, Origins
from kdns.server.dialing import ProxyRefused
from kdns.server.response import MalformedResponse, TruncatedResponse

# OpenSSL's X509_V_ERR_*: what is wrong with the server's certificate, in the operator's words.
_NOT_SIGNED = "its certificate is not signed by {origins.ca}: give the CA that the API server's certificate is from"
_WRONG_NAME = "its certificate is for another name ({message}): give one of its names with `tls-server-name`"
_UNVERIFIED = {
    2: _NOT_SIGNED,
    9: "its certificate is not valid yet: is one of the clocks wrong?",
    10: "its certificate has expired: renew it, unless our clock is wrong",
    18: _NOT_SIGNED,
    19: _NOT_SIGNED,
    20: _NOT_SIGNED,
    21: _NOT_SIGNED,
    62: _WRONG_NAME,
    64: _WRONG_NAME,
}

# OpenSSL's names of what the server, or what answers in its place, has said in the handshake.
_NO_TLS = "what answers there does not speak TLS: is the URL to begin with http://?"
_NO_MERCY = "the server does not accept our client certificate ({origins.certificate}): {message}"
_REASONS = {
    "WRONG_VERSION_NUMBER": _NO_TLS,
    "RECORD_LAYER_FAILURE": _NO_TLS,
    "HTTP_REQUEST": _NO_TLS,
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "the server wants a client certificate, and we have {origins.certificate}",
    "SSLV3_ALERT_BAD_CERTIFICATE": _NO_MERCY,
    "TLSV1_ALERT_UNKNOWN_CA": _NO_MERCY,
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": _NO_MERCY,
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": _NO_MERCY,
    "SSLV3_ALERT_CERTIFICATE_REVOKED": _NO_MERCY,
}


def failure_of(error: Exception, place: str, origins: Origins) -> Failure:
    """The failure that an exception is.

    place: what was being talked to, for the log. origins: where the certificates came from.
    An exception of no kind that is expected is a bug of ours, and the text says that.
    """
    for kind, fault, tell in _KINDS:
        if isinstance(error, kind):
            text = tell(error, origins)
            return Failure(fault, text if fault is Fault.CREDENTIALS else f"{place}: {text}")
    last = traceback.extract_tb(error.__traceback__)[-1:]
    where = f" in {last[0].filename}:{last[0].lineno}" if last else ""
    return Failure(Fault.BROKEN, f"{place}: kdns bug: {type(error).__name__}{where}")


def _cause(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _tell_unverified(error: ssl.SSLCertVerificationError, origins: Origins) -> str:
    text = _UNVERIFIED.get(error.verify_code, "its certificate cannot be verified: {message}")
    return "TLS: " + text.format(origins=origins, message=error.verify_message.rstrip("."))


def _tell_tls(error: ssl.SSLError, origins: Origins) -> str:
    reason = getattr(error, "reason", None) or ""  # only what OpenSSL says has one
    words = reason.replace("_", " ").lower() or _cause(error)
    return "TLS: " + _REASONS.get(reason, "{message}").format(origins=origins, message=words)


def _tell_unresolved(error: socket.gaierror, _: Origins) -> str:
    return f"its name does not resolve: {_cause(error)}"


def _tell_refused(error: OSError, _: Origins) -> str:
    return "connection refused: nothing listens there, at the moment or at all"


def _tell_broken(error: Exception, _: Origins) -> str:
    return f"the connection broke: {_cause(error)}"


def _tell_end(error: ssl.SSLError, _: Origins) -> str:
    return "the connection broke: it ended without a word"


def _tell_plain(error: Exception, _: Origins) -> str:
    return _cause(error)


# The first that fits counts: kinds come before what they are kinds of.
_KINDS: tuple[tuple[type[Exception], Fault, Callable[[Any, Origins], str]], ...] = (
    (ssl.SSLCertVerificationError, Fault.TLS, _tell_unverified),
    (ssl.SSLEOFError, Fault.BROKEN, _tell_end),
    (ssl.SSLZeroReturnError, Fault.BROKEN, _tell_end),
    (ssl.SSLError, Fault.TLS, _tell_tls),
    (socket.gaierror, Fault.UNREACHABLE, _tell_unresolved),
    (ConnectionRefusedError, Fault.REFUSED, _tell_refused),
    (TimeoutError, Fault.TIMEOUT, _tell_plain),
    (TruncatedResponse, Fault.BROKEN, _tell_broken),
    (ConnectionError, Fault.BROKEN, _tell_broken),
    (OSError, Fault.UNREACHABLE, _tell_plain),
    (ProxyRefused, Fault.UNREACHABLE, _tell_plain),
    (MalformedResponse, Fault.MALFORMED, _tell_plain),
    (CredentialsError, Fault.CREDENTIALS, _tell_plain),
)
