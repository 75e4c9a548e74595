"""Balancers in use when the process forks, as gunicorn's preload does; and one that many threads share."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from threading import Thread

from kdns.client import Balancer, BlockingBalancer
from kdns.client.testing import BlockingScriptedResolver

STATIC = "static://10.0.0.1:80,10.0.0.2:80,10.0.0.3:80"


def in_child(act: Callable[[], bool]) -> bool:
    """What it comes to in a forked process."""
    child = os.fork()
    if not child:
        code = 1
        try:
            code = 0 if act() else 1
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_child_begins_with_nothing_out_and_a_lease_of_its_parent_harms_nobody() -> None:
    with BlockingBalancer(STATIC) as balancer:
        lease = balancer.acquire()
        lease.__enter__()

        def act() -> bool:
            assert balancer.snapshot().outstanding == 0
            with balancer.acquire():
                assert balancer.snapshot().outstanding == 1
            lease.__exit__(None, None, None)
            return balancer.snapshot().outstanding == 0

        assert in_child(act)
        assert balancer.snapshot().outstanding == 1
        lease.__exit__(None, None, None)
        assert balancer.snapshot().outstanding == 0


def test_an_awaited_balancer_of_a_preloaded_app_works_in_parent_and_child() -> None:
    balancer = Balancer(STATIC)

    async def lend() -> str:
        async with balancer.acquire() as lease:
            return lease.host

    asyncio.run(lend())
    assert in_child(lambda: asyncio.run(lend()).startswith("10.0.0."))
    assert asyncio.run(lend()).startswith("10.0.0.")


def test_children_do_not_all_draw_the_same() -> None:
    balancer = BlockingBalancer(STATIC)

    def hosts() -> str:
        drawn = []
        for _ in range(40):
            with balancer.acquire() as lease:
                drawn.append(lease.host[-1])
        return "".join(drawn)

    read, write = os.pipe()
    for _ in range(2):
        assert in_child(lambda: os.write(write, f"{hosts()}\n".encode()) > 0)
    os.close(write)
    with os.fdopen(read) as lines:
        first, second = lines.read().split()
    assert first != second


def test_threads_share_a_blocking_balancer_while_its_endpoints_change() -> None:
    resolver = BlockingScriptedResolver({"web:http": ["10.0.0.1:80", "10.0.0.2:80"]})
    balancer = BlockingBalancer("web:http", resolver=resolver)
    errors: list[BaseException] = []

    def work() -> None:
        try:
            for number in range(300):
                balancer.call(lambda lease: lease.host, idempotent=True)
                with balancer.acquire():
                    pass
                if number % 50 == 0:
                    resolver.set("web:http", [f"10.0.0.{number % 7 + 1}:80", "10.0.0.9:80"])
        except BaseException as error:
            errors.append(error)

    threads = [Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30.0)
    assert errors == []
    snapshot = balancer.snapshot()
    assert snapshot.outstanding == 0
    assert not [one for one in snapshot.endpoints if one.is_leaving]
