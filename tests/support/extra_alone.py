"""What an install with one extra can do, and what it says of the others: run by .ci/run in a fresh venv for each.

    python extra_alone.py EXTRA     # plain, aiodns, server, otel, prometheus or all

Needs nothing but kdns and the standard library, for nothing else is there.
"""

from __future__ import annotations

import asyncio
import importlib
import subprocess
import sys
from pathlib import Path

# Which module stands for an extra, and what its error names without it.
MODULES = {"aiodns": "kdns.client.aiodns_backend", "otel": "kdns.client.otel", "prometheus": "kdns.client.prometheus"}
# prometheus_client comes with the server, too.
ALSO = {"server": {"prometheus"}, "all": set(MODULES)}


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
    for name, module in MODULES.items():
        try:
            importlib.import_module(module)
        except ImportError as error:
            assert name not in there, error
            assert f"kdns[{name}]" in str(error), error
        else:
            assert name in there, f"{module} can be imported without its extra"


def check_command(extra: str) -> None:
    """The command is there, and names the extra that it lacks."""
    command = Path(sys.executable).with_name("kdns")
    ran = subprocess.run([command, "serve", "--help"], capture_output=True, text=True, timeout=60, check=False)
    if extra in ("server", "all"):
        assert ran.returncode == 0, ran.stderr
    else:
        assert ran.returncode != 0
        assert "kdns[server]" in ran.stderr, ran.stderr
        assert "Traceback" not in ran.stderr, ran.stderr


def main(extra: str) -> None:
    """All of it. Raises AssertionError."""
    check_leases()
    check_modules(extra)
    check_command(extra)
    print(f"{extra}: alone it does what it should")


if __name__ == "__main__":
    main(sys.argv[1])
