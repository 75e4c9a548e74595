"""A plain install is the library: what importing it loads, and that every name works with cachetools alone."""

from __future__ import annotations

import subprocess
import sys

import pytest

import kdns.client

EXTRAS = (
    "msgspec",
    "dnslib",
    "dns",
    "kubernetes",
    "yaml",
    "uvloop",
    "prometheus_client",
    "opentelemetry",
    "aiodns",
    "pycares",
)
BLOCKED = "import sys\nfor name in " + repr(EXTRAS) + ": sys.modules[name] = None\n"


def run(program: str) -> str:
    ran = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=30)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_importing_the_package_loads_no_more_than_itself() -> None:
    loaded = run(
        "import sys; before = set(sys.modules); import kdns.client; print(*(set(sys.modules) - before))"
    ).split()
    assert {name for name in loaded if name.startswith("kdns")} == {"kdns", "kdns.client"}


def test_balancers_and_resolvers_load_nothing_of_the_server_and_few_modules() -> None:
    program = (
        "import asyncio, sys; before = set(sys.modules)\n"
        "from kdns.client import Balancer, Resolver\n"
        "print(*(set(sys.modules) - before))"
    )
    loaded = run(program).split()
    rooms = {name.split(".")[1] for name in loaded if name.startswith("kdns.")}
    assert rooms <= {"client", "wire"}
    assert not {name.partition(".")[0] for name in loaded} & set(EXTRAS)
    assert len(loaded) < 100


@pytest.mark.parametrize("name", kdns.client.__all__)
def test_each_name_is_there_with_cachetools_alone(name: str) -> None:
    assert getattr(kdns.client, name).__name__ == name
    assert name in dir(kdns.client)


def test_a_lease_needs_cachetools_alone() -> None:
    program = BLOCKED + (
        "import asyncio\nfrom kdns.client import Balancer, BlockingBalancer, Resolver, BlockingResolver\n"
        "with BlockingBalancer('static://127.0.0.1:80') as balancer, balancer.acquire() as lease: print(lease.port)\n"
        "async def main():\n"
        "    async with Balancer('static://127.0.0.1:80') as balancer, balancer.acquire() as lease: print(lease.host)\n"
        "asyncio.run(main())\n"
    )
    assert run(program).split() == ["80", "127.0.0.1"]


def test_what_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Blancer'"):
        kdns.client.Blancer  # noqa: B018
