"""HTTP/1.1 as a server reads it, and how bodies are cut into chunks."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from urllib.parse import parse_qsl, urlsplit

from tests.support.fakeapi.apiserver import ApiRequest
from tests.support.fakeapi.statuses import CHUNK_OCTETS

HEAD_OCTETS_MAX = 64 << 10
BODY_OCTETS_MAX = 3 << 20

Cutter = Callable[[bytes], Iterator[bytes]]


async def read_request(reader: asyncio.StreamReader, certificate_name: str) -> ApiRequest | None:
    """The next request on a connection; None at its end."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError, asyncio.LimitOverrunError):
        return None
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(min(int(headers.get("content-length", "0")), BODY_OCTETS_MAX))
    parts = urlsplit(target)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    return ApiRequest(method, parts.path, query, headers, body, certificate_name)


def _by_size(octets: int) -> Cutter:
    return lambda data: (data[start : start + octets] for start in range(0, len(data), octets))


def _at_random(data: bytes) -> Iterator[bytes]:
    rng, start = random.Random(len(data)), 0
    while start < len(data):
        end = start + rng.choice((1, 2, 3, 17, 64, 1000, 5000))
        yield data[start:end]
        start = end


# How a stream is cut into chunks: as Go's net/http does, an octet each, all that there is in one, or anyhow.
CUTTERS: dict[str, Cutter] = {
    "real": _by_size(CHUNK_OCTETS),
    "octets": _by_size(1),
    "whole": _by_size(1 << 30),
    "random": _at_random,
}


def framed(parts: Iterator[bytes]) -> bytes:
    """Chunks on the wire."""
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
