"""kdns beside a fake API server: a cluster with a shop in it, a Corefile that watches it, and questions to repeat.

    def test_something(shop):
        server = shop.serve()                                # workers=1, one API server, a startup_timeout of seconds
        mark = server.mark()
        shop.api.control.apply(service("shop", "till", [port(80)], clusterIP="10.96.0.30"))
        server.wait_for("visible:", after=mark)
        assert server.addresses("till.shop.svc.cluster.local") == ["10.96.0.30"]
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, Self

import dns.edns
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype

from tests.server.conftest import Serve
from tests.server.probing import get, http_port
from tests.server.serving import PATIENCE, Server, free_port, rest_between_looks
from tests.support.fakeapi.builders import (
    endpoint,
    endpoint_slice,
    external,
    headless,
    namespace,
    pod,
    pod_status,
    port,
    service,
)
from tests.support.fakeapi.cluster import FakeCluster
from tests.support.fakeapi.resources import Json
from tests.support.fakeapi.server import FakeApiServer

WEB = "web.shop.svc.cluster.local"  # a ClusterIP
DB = "db.shop.svc.cluster.local"  # headless
DB_0 = "db-0.db.shop.svc.cluster.local"  # its first endpoint
DOCS = "docs.shop.svc.cluster.local"  # an ExternalName
NOBODY = "nobody.shop.svc.cluster.local"  # no Service
NOBODYS_ADDRESS = "9.9.9.10.in-addr.arpa"
WEB_ADDRESS, DB_ADDRESSES = "10.96.0.20", ["10.0.0.1", "10.0.0.2"]
TIMEOUT = 20  # seconds of `startup_timeout` where nothing should need it
HTTP = [port(80, "http")]

def rows(*addresses: str, name: str = "db-1") -> Json:
    """A slice of the headless Service, in which 10.0.0.1 has the hostname db-0."""
    endpoints = [endpoint(one, hostname=f"db-{int(one.rpartition('.')[2]) - 1}") for one in addresses]
    return endpoint_slice("shop", name, "db", endpoints, [port(5432, "sql")])


SHOP = (
    namespace("shop"),
    service("shop", "web", HTTP, clusterIP=WEB_ADDRESS),
    endpoint_slice("shop", "web-1", "web", ["10.0.1.1"], HTTP),
    headless("shop", "db", [port(5432, "sql")]),
    rows(*DB_ADDRESSES),
    external("shop", "docs", "docs.example.com"),
    pod("shop", "web-a"),
)


def shop_api(seed: int = 1, port: int = 0) -> FakeApiServer:
    """A cluster with a shop in it; not started. With another seed it is another cluster."""
    now = time.monotonic()
    api = FakeApiServer(FakeCluster(Random(seed), epoch=time.time() - now, now=now), port=port)
    api.control.apply(*SHOP)
    api.control.patch_status("pods", "shop", "web-a", pod_status("10.0.1.1"))
    return api


class Shop:
    """The Corefile of a test, and how to serve it."""

    def __init__(self, serve: Serve, directory: Path, api: FakeApiServer) -> None:
        self.api = api
        self.directory = directory
        self.corefile = directory / "Corefile.test"
        self.snapshot = directory / "cluster.snapshot"
        self._serve = serve
        pair = api.certificates.client
        for name, content in (("client.pem", pair.chain), ("client.key", pair.key), ("ca.pem", api.ca)):
            (directory / name).write_bytes(content)

    def access(self, api: FakeApiServer | None = None) -> str:
        """The lines of a `kubernetes` block that lead to an API server."""
        return f"endpoint {(api or self.api).url}\n tls client.pem client.key ca.pem"

    def write(
        self, *options: str, timeout: str = f"{TIMEOUT}s", access: str = "", blocks: str = "", zones: str = ""
    ) -> None:
        """The Corefile. options: lines of the `kubernetes` block. blocks: text after it, in the same server block."""
        lines = "\n        ".join((access or self.access(), f"startup_timeout {timeout}", *options))
        self.corefile.write_text(
            ". {\n    bind 127.0.0.1\n    debug\n    ready 127.0.0.1:0\n    prometheus 127.0.0.1:0\n"
            f"    kubernetes {zones or 'cluster.local in-addr.arpa'} {{\n        {lines}\n    }}\n    {blocks}\n}}\n"
        )

    def serve(
        self, *flags: object, options: tuple[str, ...] = (), timeout: str = f"{TIMEOUT}s", blocks: str = "",
        workers: int = 1, is_ready: bool = True,
    ) -> Server:  # fmt: skip
        """Write the Corefile and serve it."""
        self.write(*options, timeout=timeout, blocks=blocks)
        return self.run(*flags, workers=workers, is_ready=is_ready)

    def run(self, *flags: object, **how: Any) -> Server:
        """Serve the Corefile as it is."""
        number = free_port()
        return self.start("-conf", self.corefile, "-dns.port", number, *flags, port=number, **how)

    def start(self, *flags: object, port: int, workers: int = 1, **how: Any) -> Server:
        """Serve what the flags say."""
        return self._serve(*flags, listen=False, port=port, workers=workers, **how)

    def asked(self, resource: str = "") -> list[str]:
        """Which requests the API server has had: what for, and the path."""
        return [f"{one['purpose']} {one['path']}" for one in self.api.control.requests(resource)]


# Replies


def rcode(reply: dns.message.Message) -> str:
    return dns.rcode.to_text(reply.rcode())


def is_unknown(reply: dns.message.Message) -> bool:
    """Whether it says: not known yet (SERVFAIL, and to who speaks EDNS, EDE 14)."""
    codes = [one.code for one in reply.options if isinstance(one, dns.edns.EDEOption)]
    return reply.rcode() == dns.rcode.SERVFAIL and codes == [dns.edns.EDECode.NOT_READY] and not reply.answer


def outcome(server: Server, qname: str, qtype: str = "A") -> str:
    """A reply in a word: UNKNOWN, the rcode, or the sorted data of the answer."""
    query = dns.message.make_query(qname, qtype, use_edns=0)
    reply = dns.query.udp(query, server.address, port=server.port, timeout=PATIENCE)
    if is_unknown(reply):
        return "UNKNOWN"
    wanted = dns.rdatatype.from_text(qtype)
    data = sorted(one.to_text() for rrset in reply.answer if rrset.rdtype == wanted for one in rrset)
    return " ".join(data) or ("NODATA" if not reply.rcode() and not reply.answer else rcode(reply))


def wait_until_answered(server: Server, qname: str, wanted: str, qtype: str = "A") -> None:
    """Ask until the outcome is this."""
    wait_until(lambda: outcome(server, qname, qtype), wanted, lambda: server.log)


def wait_until(find: Callable[[], object], wanted: object, context: Callable[[], str] = str) -> None:
    """Look until this is found."""
    deadline = time.monotonic() + PATIENCE
    while (found := find()) != wanted:
        assert time.monotonic() < deadline, f"{found!r} and not {wanted!r}\n{context()}"
        rest_between_looks()


class Repeated:
    """A question that is asked again and again while something happens.

    with Repeated(server, DB) as answers:
        ...
    assert answers.seen == {"10.0.0.1 10.0.0.2"}
    """

    def __init__(self, server: Server, qname: str, qtype: str = "A", pause: float = 0.004) -> None:
        self.seen: set[str] = set()
        self.count = 0
        self._ask = lambda: outcome(server, qname, qtype)
        self._pause = pause
        self._error: BaseException | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop.set()
        self._thread.join(PATIENCE)
        if self._error is not None:
            raise self._error
        assert self.count > 0

    def _run(self) -> None:
        try:
            while not self._stop.wait(self._pause):
                self.seen.add(self._ask())
                self.count += 1
        except BaseException as error:
            self._error = error


# Metrics


def samples(server: Server, name: str) -> dict[str, float]:
    """The samples of a metric, by their labels as text."""
    text = get(http_port(server, "/metrics"), "/metrics")[1]
    found = (line.rpartition(" ") for line in text.splitlines() if line.startswith((name + "{", name + " ")))
    return {key.removeprefix(name).strip("{}"): float(value) for key, _, value in found}


def sample(server: Server, name: str) -> float:
    """The sum of all samples of a metric."""
    return sum(samples(server, name).values())


def is_ready(server: Server) -> bool:
    return get(http_port(server, "/ready"), "/ready")[0] == 200
