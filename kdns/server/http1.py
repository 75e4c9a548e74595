"""HTTP/1.1, as much of it as probes and scrapers need: the head of a request to the octets of a reply. Pure.

GET and HEAD, one request on a connection (RFC 9112 section 9.6), no content read. Not here: connections and how long
they may last (kdns.server.admin).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import NamedTuple

HEAD_OCTETS_MAX = 8192  # what servers usually take; a probe sends some 150
PLAIN_TEXT = "text/plain; charset=utf-8"
METHODS = ("GET", "HEAD")

_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([!-~]+) HTTP/([0-9])\.([0-9])")
_FIELD_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[^\r\n\0]*")
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_ABSOLUTE = re.compile(r"https?://[^/?]*", re.IGNORECASE)


class Request(NamedTuple):
    """What was asked. path: without the query."""

    method: str
    path: str


class Page(NamedTuple):
    """What is to be replied."""

    status: HTTPStatus
    body: bytes
    content_type: str = PLAIN_TEXT


Pages = Mapping[str, Callable[[], Page]]  # by path


class _Refusal(Exception):
    """A request that gets no page."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status.phrase)
        self.status = status


def is_whole(received: bytes) -> bool:
    """Whether there is something to reply to: the whole head of a request, or too much for one."""
    return len(received) > HEAD_OCTETS_MAX or _HEAD_END.search(received.lstrip(b"\r\n")) is not None


def reply(received: bytes, pages: Pages, now: float) -> bytes:
    """The reply to what was received, which `is_whole`; whatever it is, there is one. now: unix time."""
    with_body = True
    try:
        request = _parse(received)
        with_body = request.method != "HEAD"
        page = _page(request, pages)
    except _Refusal as refusal:
        page = Page(refusal.status, f"{refusal.status.value} {refusal.status.phrase}\n".encode())
    return _encode(page, with_body, now)


def _page(request: Request, pages: Pages) -> Page:
    if request.method not in METHODS:
        raise _Refusal(HTTPStatus.METHOD_NOT_ALLOWED)
    make = pages.get(request.path)
    if make is None:
        raise _Refusal(HTTPStatus.NOT_FOUND)
    return make()


def _parse(received: bytes) -> Request:
    end = _HEAD_END.search(received := received.lstrip(b"\r\n"))
    if end is None or end.start() > HEAD_OCTETS_MAX:
        raise _Refusal(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
    first, *rest = (line.removesuffix(b"\r") for line in received[: end.start()].split(b"\n"))
    line = _REQUEST_LINE.fullmatch(first)
    if line is None:
        raise _Refusal(HTTPStatus.BAD_REQUEST)
    if line[3] != b"1":
        raise _Refusal(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
    hosts = _field_names(rest).count(b"host")
    if line[4] != b"0" and hosts != 1:  # RFC 9112 section 3.2
        raise _Refusal(HTTPStatus.BAD_REQUEST)
    target = _ABSOLUTE.sub("", line[2].decode("ascii"), count=1)
    return Request(line[1].decode("ascii"), target.partition("?")[0] or "/")


def _field_names(lines: list[bytes]) -> list[bytes]:
    """Names in lower case. A line that is no field spoils the request (RFC 9112 section 5)."""
    fields = [_FIELD_LINE.fullmatch(line) for line in lines]
    if None in fields:
        raise _Refusal(HTTPStatus.BAD_REQUEST)
    return [field[1].lower() for field in fields if field]


def _encode(page: Page, with_body: bool, now: float) -> bytes:
    allow = f"Allow: {', '.join(METHODS)}\r\n" if page.status is HTTPStatus.METHOD_NOT_ALLOWED else ""
    head = (
        f"HTTP/1.1 {page.status.value} {page.status.phrase}\r\n"
        f"Date: {time.strftime('%a, %d %b %Y %H:%M:%S GMT', time.gmtime(now))}\r\n"
        f"Content-Type: {page.content_type}\r\n"
        f"Content-Length: {len(page.body)}\r\n"
        f"{allow}"
        "Cache-Control: no-store\r\n"
        "X-Content-Type-Options: nosniff\r\n"
        "Connection: close\r\n\r\n"
    ).encode()
    return head + page.body if with_body else head
