"""A resolver library under an even load: python -m tests.support.resolving LIBRARY RATE NAMES SERVER...

Asks each of NAMES (a file: name and address, one a line) in turn, RATE times a second whatever becomes of the
questions before, until standard input ends. Prints a JSON list of [when it was asked (CLOCK_MONOTONIC), seconds that
it took, what went wrong]. What a resolver does on its own, trying again or another server, is not seen here.

LIBRARY: `c-ares` and `c-ares-tcp` ask the SERVERs in turn; `glibc` asks those of /etc/resolv.conf.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import aiodns
import pycares

SECONDS_MAX = 60.0  # it ends by itself
# c-ares asks each server from one port only; so many clients meet all workers of a server.
CARES_CLIENTS = 16
TRY_SECONDS = 1.0  # for the first try; c-ares shortens it by what it has seen
TRIES = 3  # of each server
GLIBC_THREADS = 512  # each waits for one answer
_THREAD_OCTETS = 256 << 10
PATIENCE = 15.0  # for the last answers

Resolve = Callable[[str], Awaitable[str]]


async def run(resolve: Resolve, rate: float, names: list[tuple[str, str]], enough: asyncio.Event) -> list[object]:
    """Ask until it is enough, then wait for what is still under way."""
    asked: list[asyncio.Task[object]] = []
    began = time.monotonic()
    while not enough.is_set() and len(asked) < rate * SECONDS_MAX:
        due = began + len(asked) / rate
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        name, address = names[len(asked) % len(names)]
        asked.append(asyncio.create_task(_ask(resolve, name, address, max(due, time.monotonic()))))
    return list(await asyncio.wait_for(asyncio.gather(*asked), PATIENCE))


async def _ask(resolve: Resolve, name: str, address: str, at: float) -> object:
    try:
        found = await resolve(name)
        problem = "" if found == address else f"{name}: {found!r} instead of {address}"
    except (OSError, aiodns.error.DNSError) as error:
        problem = f"{name}: {error!r}"
    return at, time.monotonic() - at, problem


def c_ares(servers: list[str], flags: int = 0) -> Resolve:
    made = partial(aiodns.DNSResolver, servers, timeout=TRY_SECONDS, tries=TRIES, rotate=True, flags=flags)
    clients = [made() for _ in range(CARES_CLIENTS)]
    turn = iter(range(sys.maxsize))

    async def resolve(name: str) -> str:
        found = await clients[next(turn) % len(clients)].query_dns(name, "A")
        return " ".join(record.data.addr for record in found.answer)

    return resolve


def glibc(_: list[str]) -> Resolve:
    threading.stack_size(_THREAD_OCTETS)
    pool = ThreadPoolExecutor(GLIBC_THREADS)

    def ask(name: str) -> str:
        found = socket.getaddrinfo(f"{name}.", None, socket.AF_INET, socket.SOCK_STREAM)
        return " ".join(address[0] for *_, address in found)

    async def resolve(name: str) -> str:
        return await asyncio.get_running_loop().run_in_executor(pool, ask, name)

    return resolve


LIBRARIES = {"c-ares": c_ares, "c-ares-tcp": partial(c_ares, flags=pycares.ARES_FLAG_USEVC), "glibc": glibc}


async def main(library: str, rate: float, names: list[tuple[str, str]], servers: list[str]) -> None:
    enough = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin.fileno(), lambda: (loop.remove_reader(sys.stdin.fileno()), enough.set()))
    json.dump(await run(LIBRARIES[library](servers), rate, names, enough), sys.stdout)


def _pairs(text: str) -> list[tuple[str, str]]:
    return [(name, address) for name, address in map(str.split, text.splitlines())]


if __name__ == "__main__":
    library, rate, names, *servers = sys.argv[1:]
    asyncio.run(main(library, float(rate), _pairs(Path(names).read_text()), servers))
