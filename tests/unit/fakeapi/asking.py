"""Asking a fake cluster: pure requests, and raw HTTP for its servers."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from typing import Any, Protocol

from tests.support.fakeapi.access import ADMIN_TOKEN
from tests.support.fakeapi.apiserver import ApiRequest
from tests.support.fakeapi.cache import Watch
from tests.support.fakeapi.cluster import ADMIN_HEADERS, FakeCluster
from tests.support.fakeapi.lists import Wait
from tests.support.fakeapi.resources import TYPES
from tests.support.fakeapi.statuses import Response
from tests.support.fakeapi.tls import Certificates

PATIENCE_SECONDS = 5.0

Lines = list[dict[str, Any]]


def ask(
    cluster: FakeCluster, resource: str, now: float = 0.0, namespace: str = "", replica: int = 0, **query: str
) -> Response:
    """A GET of a collection, as the administrator, after whatever the server waits for."""
    request = ApiRequest("GET", TYPES[resource].path(namespace), query, ADMIN_HEADERS)
    response = cluster.handle(request, now, replica=replica)
    while isinstance(response, Wait):
        response = cluster.handle(request, response.until, now, replica)
    return response


def listed(cluster: FakeCluster, resource: str, **query: str) -> dict[str, Any]:
    """The body of a list, or of the Status in its stead."""
    return dict(json.loads(ask(cluster, resource, **query).body))


def names(body: Mapping[str, Any]) -> list[str]:
    return [item["metadata"]["name"] for item in body["items"]]


def watch(cluster: FakeCluster, resource: str, now: float = 0.0, replica: int = 0, **query: str) -> Watch:
    response = ask(cluster, resource, now, "", replica, watch="1", **query)
    assert response.watch is not None, response.body
    return response.watch


def take(cluster: FakeCluster, watched: Watch, now: float) -> Lines:
    """What is due, decoded."""
    cluster.advance(now)
    return [json.loads(line) for line in watched.take(now).splitlines()]


def told(lines: Lines) -> list[str]:
    """`ADDED web`, `BOOKMARK`, `ERROR 410`."""
    return [_told(line["type"], line["object"]) for line in lines]


def _told(verb: str, value: dict[str, Any]) -> str:
    what = value.get("code") or value["metadata"].get("name")
    return f"{verb} {what}" if what else verb


class Served(Protocol):
    """A FakeApiServer or a FakeApiProcess."""

    port: int
    certificates: Certificates

    @property
    def url(self) -> str: ...


@contextmanager
def opened(
    server: Served, path: str, method: str = "GET", token: str = ADMIN_TOKEN, body: object = None,
    context: ssl.SSLContext | None = None, **headers: str,
) -> Iterator[HTTPResponse]:  # fmt: skip
    """The answer to a request on a connection of its own."""
    connection: HTTPConnection
    if server.url.startswith("https"):
        trusting = context or server.certificates.client_context()
        connection = HTTPSConnection("127.0.0.1", server.port, timeout=PATIENCE_SECONDS, context=trusting)
    else:
        connection = HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_SECONDS)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if token:
        named["Authorization"] = f"Bearer {token}"
    response: HTTPResponse | None = None
    try:
        connection.request(method, path, json.dumps(body) if body is not None else None, named)
        response = connection.getresponse()
        yield response
    finally:
        connection.close()
        if response is not None:
            response.close()


def read_line(response: HTTPResponse) -> dict[str, Any]:
    return dict(json.loads(response.readline()))


@contextmanager
def raw_connection(server: Served) -> Iterator[socket.socket]:
    """A TCP connection to a server without TLS."""
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE_SECONDS) as one:
        yield one
