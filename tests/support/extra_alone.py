"""What an install with one extra can do, and what it says of the others: run by .ci/run in a fresh venv for each.

    python extra_alone.py EXTRA     # plain, aiodns, server, otel, prometheus or all

Needs nothing but kdns and the standard library, for nothing else is there.
"""

from __future__ import annotations

import asyncio
import importlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

# prometheus_client comes with the server, too.
ALSO = {"server": {"prometheus"}, "all": {"aiodns", "otel", "prometheus"}}


def check_leases() -> None:
    """Both balancers lend."""
    from kdns.client import Balancer, BlockingBalancer

    async def lend() -> int:
        async with Balancer("static://127.0.0.1:80") as balancer, balancer.acquire() as lease:
            return lease.port

    assert asyncio.run(lend()) == 80
    with BlockingBalancer("static://127.0.0.1:80") as balancer, balancer.acquire() as lease:
        assert lease.port == 80


def check_modules(extra: str) -> None:
    """Its own module can be imported; others say what they need."""
    there = {extra} | ALSO.get(extra, set())
    for name, use in USES.items():
        said = said_by(use)
        assert (said == "") == (name in there), (name, said)
        assert said == "" or f"kdns[{name}]" in said, said


def said_by(use: Callable[[], object]) -> str:
    """What the ImportError says, if there is one."""
    try:
        use()
    except (ImportError, ValueError) as error:  # a backend that cannot be made is an OptionError
        return str(error)
    return ""


async def make_backend() -> None:
    """c-ares is asked for when a backend is made."""
    from kdns.client.aiodns_backend import AiodnsBackend
    from kdns.client.servers import Server

    AiodnsBackend((Server("127.0.0.1"),)).close()


def check_command(extra: str) -> None:
    """The command is there, and names the extra that it lacks."""
    command = Path(sys.executable).with_name("kdns")
    arguments = [command, "serve", "--print-corefile"]
    ran = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
    if extra in ("server", "all"):
        assert ran.returncode == 0, ran.stderr
    else:
        assert ran.returncode != 0
        assert "kdns[server]" in ran.stderr, ran.stderr
        assert "Traceback" not in ran.stderr, ran.stderr


# What needs an extra, by its name.
USES: dict[str, Callable[[], object]] = {
    "aiodns": lambda: asyncio.run(make_backend()),
    "otel": lambda: importlib.import_module("kdns.client.otel"),
    "prometheus": lambda: importlib.import_module("kdns.client.prometheus"),
}


def main(extra: str) -> None:
    """All of it. Raises AssertionError."""
    check_leases()
    check_modules(extra)
    check_command(extra)
    print(f"{extra}: alone it does what it should")


if __name__ == "__main__":
    main(sys.argv[1])
