"""Both resolvers and both backends against a real kdns, end to end; and what they leave behind: nothing."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from kdns.client import (
    Balancer,
    BlockingBalancer,
    BlockingResolver,
    EndpointSet,
    NoEndpoints,
    Resolver,
    ResolverOptions,
)
from kdns.client.aiodns_backend import AiodnsBackend
from kdns.client.servers import find_servers
from tests.server.serving import Server

ROOT = Path(__file__).resolve().parents[2]
KINDS = ("stub", "aiodns", "blocking")


def what_is_open() -> list[str]:
    """Descriptors by what they are, inotify instances among them, and threads."""
    gc.collect()
    found = [thread.name for thread in threading.enumerate()]
    for entry in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{entry}").partition(":")[0])
        except OSError:
            continue  # the directory's own
    return sorted(found)


class Asking:
    """One kind of resolver, made for one question and closed after it."""

    def __init__(self, kind: str, port: int) -> None:
        self.kind = kind
        self.options = ResolverOptions(servers=(f"127.0.0.1:{port}",), domain="cluster.local", namespace="shop")

    def resolve(self, target: str) -> EndpointSet:
        if self.kind == "blocking":
            with BlockingResolver(self.options) as resolver:
                return resolver.resolve(target)
        return asyncio.run(self._resolve(target))

    async def _resolve(self, target: str) -> EndpointSet:
        backend = None if self.kind == "stub" else lambda: AiodnsBackend(find_servers(self.options))
        async with Resolver(self.options, backend=backend) as resolver:
            return await resolver.resolve(target)


@pytest.fixture(params=KINDS)
def asking(request: pytest.FixtureRequest, serve: Callable[..., Server]) -> Asking:
    server = serve("--manifests", ROOT / "zones/shop.yaml", "--zones", ROOT / "zones/example.org.zone")
    return Asking(request.param, server.port)


def test_a_port_of_a_headless_service_is_its_pods_and_their_port(asking: Asking) -> None:
    found = asking.resolve("postgres.data:postgresql")
    assert len(found) >= 2
    assert {endpoint.port for endpoint in found} == {5432}
    assert {endpoint.name.split(".")[0] for endpoint in found} <= {"postgres-0", "postgres-1", "postgres-2"}


def test_a_number_is_the_port_as_written(asking: Asking) -> None:
    found = asking.resolve("web:8080")
    assert [(endpoint.host, endpoint.port) for endpoint in found] == [("10.96.12.10", 8080)]


def test_all_spellings_find_the_same(asking: Asking) -> None:
    spellings = [
        "web:80",
        "web.shop:80",
        "web.shop.svc:80",
        "web.shop.svc.cluster.local.:80",
        "dns:///web.shop.svc.cluster.local:80",
    ]
    assert {tuple(endpoint.host for endpoint in asking.resolve(text)) for text in spellings} == {("10.96.12.10",)}


def test_one_pod_of_a_stateful_set_can_be_named(asking: Asking) -> None:
    assert len(asking.resolve("postgres-0.postgres.data.svc:5432")) == 1


def test_a_name_that_does_not_exist_says_how_it_was_read(asking: Asking) -> None:
    with pytest.raises(NoEndpoints, match="was read as SRV of _http") as raised:
        asking.resolve("wbe:http")
    assert "_http._tcp.wbe.shop.svc.cluster.local." in raised.value.reason


def test_nothing_is_left_open(asking: Asking) -> None:
    asking.resolve("web:80")  # what is made once for a process is there from now on
    before = what_is_open()
    for _ in range(3):
        asking.resolve("web.shop:80")
    if asking.kind == "aiodns":  # c-ares may have a thread that ends in its own time
        return
    assert what_is_open() == before


def test_balancers_resolve_and_lend(serve: Callable[..., Server]) -> None:
    server = serve("--manifests", ROOT / "zones/shop.yaml", "--zones", ROOT / "zones/example.org.zone")
    options = Asking("stub", server.port).options

    async def lend() -> int:
        async with (
            Resolver(options) as resolver,
            Balancer("postgres.data:postgresql", resolver=resolver) as balancer,
            balancer.acquire() as lease,
        ):
            return lease.port

    assert asyncio.run(lend()) == 5432
    with BlockingResolver(options) as resolver, BlockingBalancer("web:80", resolver=resolver) as balancer:
        assert balancer.call(lambda lease: lease.host) == "10.96.12.10"
