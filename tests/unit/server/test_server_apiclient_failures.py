"""kdns.server.failures: each thing that goes wrong is of one kind, and is told with whom, why and what to do."""

from __future__ import annotations

import errno
import os
import socket
import ssl

import pytest

from kdns.kube.request import Fault
from kdns.server.credentials import CredentialsError, Origins
from kdns.server.dialing import ProxyRefused
from kdns.server.failures import failure_of
from kdns.server.response import MalformedResponse, TruncatedResponse

PLACE = "https://api.example:6443"
ORIGINS = Origins("/pki/ca.crt", "/pki/client.crt")


def _os_error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def _unverified(code: int, message: str) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED]")
    error.verify_code, error.verify_message = code, message
    return error


def _tls(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, f"[SSL: {reason}] something (_ssl.c:1006)")
    error.reason = reason
    return error


CASES = [
    (_os_error(errno.ECONNREFUSED), Fault.REFUSED, "connection refused: nothing listens there"),
    (_os_error(errno.ENETUNREACH), Fault.UNREACHABLE, "Network is unreachable"),
    (_os_error(errno.EHOSTUNREACH), Fault.UNREACHABLE, "No route to host"),
    (_os_error(errno.EPERM), Fault.UNREACHABLE, "Operation not permitted"),
    (_os_error(errno.EMFILE), Fault.UNREACHABLE, "Too many open files"),
    (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), Fault.UNREACHABLE, "does not resolve: Name or"),
    (_os_error(errno.ETIMEDOUT), Fault.TIMEOUT, "Connection timed out"),
    (TimeoutError("nothing heard for 100 s"), Fault.TIMEOUT, "nothing heard for 100 s"),
    (_os_error(errno.ECONNRESET), Fault.BROKEN, "the connection broke: Connection reset by peer"),
    (_os_error(errno.EPIPE), Fault.BROKEN, "the connection broke: Broken pipe"),
    (ssl.SSLEOFError(8, "EOF occurred in violation of protocol"), Fault.BROKEN, "it ended without a word"),
    (TruncatedResponse("it ended in the middle of an answer"), Fault.BROKEN, "ended in the middle of an answer"),
    (_unverified(10, "certificate has expired"), Fault.TLS, "TLS: its certificate has expired: renew"),
    (_unverified(9, "certificate is not yet valid"), Fault.TLS, "not valid yet: is one of the clocks wrong?"),
    (_unverified(20, "unable to get local issuer certificate"), Fault.TLS, "is not signed by /pki/ca.crt: give"),
    (_unverified(19, "self-signed certificate in chain"), Fault.TLS, "is not signed by /pki/ca.crt"),
    (
        _unverified(62, "Hostname mismatch, certificate is not valid for 'api.example'."),
        Fault.TLS,
        "another name (Hostname mismatch, certificate is not valid for 'api.example'): give one of its names with",
    ),
    (_unverified(64, "IP address mismatch."), Fault.TLS, "another name (IP address mismatch): "),
    (_unverified(26, "unsuitable certificate purpose"), Fault.TLS, "cannot be verified: unsuitable"),
    (_tls("WRONG_VERSION_NUMBER"), Fault.TLS, "does not speak TLS: is the URL to begin with http://?"),
    (_tls("TLSV13_ALERT_CERTIFICATE_REQUIRED"), Fault.TLS, "wants a client certificate, and we"),
    (_tls("TLSV1_ALERT_UNKNOWN_CA"), Fault.TLS, "not accept our client certificate (/pki/client.crt): tlsv1 alert"),
    (_tls("TLSV1_ALERT_PROTOCOL_VERSION"), Fault.TLS, "TLS: tlsv1 alert protocol version"),
    (ssl.SSLError(1, "odd"), Fault.TLS, "TLS: odd"),
    (ProxyRefused("it answers 407 Authentication Required"), Fault.UNREACHABLE, "it answers 407"),
    (MalformedResponse("not the beginning of a response"), Fault.MALFORMED, "not the beginning of a response"),
]


@pytest.mark.parametrize(("error", "fault", "told"), CASES, ids=[told for _, _, told in CASES])
def test_a_failure_has_one_kind_and_names_the_server(error: Exception, fault: Fault, told: str) -> None:
    failure = failure_of(error, PLACE, ORIGINS)
    assert failure.fault is fault
    assert failure.text.startswith(f"{PLACE}: ")
    assert told in failure.text


def test_credentials_name_their_own_place() -> None:
    failure = failure_of(CredentialsError("/token: is empty"), PLACE, ORIGINS)
    assert (failure.fault, failure.text) == (Fault.CREDENTIALS, "/token: is empty")


def test_without_certificates_of_our_own_the_system_is_named() -> None:
    assert "signed by the system's certificates" in failure_of(_unverified(20, ""), PLACE, Origins()).text
    told = failure_of(_tls("TLSV13_ALERT_CERTIFICATE_REQUIRED"), PLACE, Origins()).text
    assert told.endswith("wants a client certificate, and we have no client certificate")


def test_an_unknown_exception_is_told_as_a_bug_without_its_words() -> None:
    failure = failure_of(KeyError("Bearer secret"), PLACE, ORIGINS)
    assert failure.text == f"{PLACE}: kdns bug: KeyError"
