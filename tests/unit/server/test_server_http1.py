"""kdns.server.http1: what probes and scrapers send is answered, and so is everything else."""

from __future__ import annotations

import email.utils
from http import HTTPStatus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kdns.server.http1 import HEAD_OCTETS_MAX, Page, is_whole, reply

PAGES = {
    "/health": lambda: Page(HTTPStatus.OK, b"OK"),
    "/ready": lambda: Page(HTTPStatus.SERVICE_UNAVAILABLE, b"kubernetes: not yet\nworkers: none"),
    "/metrics": lambda: Page(HTTPStatus.OK, b"up 1\n", "text/plain; version=0.0.4"),
}
NOW = 1_700_000_000.9


def _answer(received: bytes) -> tuple[int, dict[str, str], bytes]:
    head, _, body = reply(received, PAGES, NOW).partition(b"\r\n\r\n")
    line, *fields = head.decode("ascii").split("\r\n")
    version, status, phrase = line.split(" ", 2)
    assert version == "HTTP/1.1"
    assert phrase == HTTPStatus(int(status)).phrase
    return int(status), dict(field.split(": ", 1) for field in fields), body


def _get(target: str, *fields: str, method: str = "GET", version: str = "1.1") -> bytes:
    host = ("Host: kdns.example.org",) if version == "1.1" else ()
    return "\r\n".join((f"{method} {target} HTTP/{version}", *host, *fields, "", "")).encode()


def test_a_page_comes_with_its_status_type_length_and_date_and_ends_the_connection() -> None:
    status, fields, body = _answer(_get("/metrics"))
    assert (status, body) == (200, b"up 1\n")
    assert fields["Content-Type"] == "text/plain; version=0.0.4"
    assert fields["Content-Length"] == "5"
    assert fields["Connection"] == "close"
    assert email.utils.parsedate_to_datetime(fields["Date"]).timestamp() == int(NOW)


def test_a_page_may_say_that_something_is_not_so() -> None:
    status, _, body = _answer(_get("/ready"))
    assert (status, body) == (503, b"kubernetes: not yet\nworkers: none")


def test_head_is_answered_as_get_but_for_the_body() -> None:
    status, fields, body = _answer(_get("/health", method="HEAD"))
    assert (status, fields["Content-Length"], body) == (200, "2", b"")


@pytest.mark.parametrize(
    "request_",
    [
        _get("/health", "User-Agent: kube-probe/1.31", "Accept: */*", "Connection: close"),
        _get("/health?verbose=1"),
        _get("http://kdns.example.org:8080/health"),
        _get("/health", version="1.0"),
        _get("/health", "Content-Length: 3") + b"abc",
        b"\r\n" + _get("/health"),
        b"GET /health HTTP/1.0\n\n",
        _get("/health", "X-Odd: \x80\xff"),
    ],
)
def test_forms_in_which_a_request_may_come(request_: bytes) -> None:
    assert is_whole(request_)
    assert _answer(request_)[::2] == (200, b"OK")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (_get("/"), 404),
        (_get("/health/"), 404),
        (_get("http://kdns.example.org"), 404),
        (_get("/health", method="POST"), 405),
        (_get("/health", method="OPTIONS"), 405),
        (_get("*", method="OPTIONS"), 405),
        (b"GET /health HTTP/1.1\r\n\r\n", 400),  # RFC 9112 section 3.2 wants a Host
        (_get("/health", "Host: another.example.org"), 400),
        (_get("/health", " folded: field"), 400),
        (_get("/health", "Spaced : field"), 400),
        (_get("/health", "no field"), 400),
        (_get("/he alth"), 400),
        (b"GET /health\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\n\n", 400),  # TLS at the plain port
        (_get("/health", version="2.0"), 505),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (_get("/health", "X: " + "x" * HEAD_OCTETS_MAX), 431),
        (b"x" * (HEAD_OCTETS_MAX + 1), 431),
    ],
)
def test_what_gets_no_page_is_told_why(request_: bytes, status: int) -> None:
    assert is_whole(request_)
    found, fields, body = _answer(request_)
    assert found == status
    assert body.decode() == f"{status} {HTTPStatus(status).phrase}\n"
    assert ("Allow" in fields) == (status == 405)


@pytest.mark.parametrize("received", [b"", b"\r\n\r\n", b"GET", _get("/health")[:-2], b"x" * HEAD_OCTETS_MAX])
def test_a_request_is_waited_for_until_its_head_ends(received: bytes) -> None:
    assert not is_whole(received)


@given(st.binary(max_size=300))
@example(b"\n\n")
@example(b"GET \xff HTTP/1.1\r\n\r\n")
def test_whatever_comes_there_is_one_well_formed_reply(received: bytes) -> None:
    status, fields, body = _answer(received)
    assert status in (200, 400, 404, 405, 431, 505)
    assert int(fields["Content-Length"]) >= len(body)


@given(
    st.lists(st.sampled_from([b"GET ", b"/health", b" HTTP/1.", b"1", b"\r\n", b"\n", b"Host: a", b":", b" ", b"\0"]))
)
def test_a_request_is_whole_no_later_than_with_its_last_octet(pieces: list[bytes]) -> None:
    received = b"".join(pieces)
    if is_whole(received):
        assert is_whole(received + b"more")
