"""An API server that cannot be had for an hour: asked as seldom as client-go asks, and nothing else is done.

client-go's backoff (tools/cache/reflector.go): 0.8 s, doubled up to 30 s, each with a jitter of up to once as much.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from kdns.kube.backoff import FACTOR, FIRST_DELAY, JITTER, MAX_DELAY
from tests.statemachine.expectation import ZONE
from tests.statemachine.footprint import entries
from tests.statemachine.referee import message
from tests.statemachine.world import World
from tests.support.fakeapi.faults import Connection, Reply

HOUR = 3600.0
WEB = f"web.shop.svc.{ZONE}"

# The delays that grow, and how many of the longest ones fit into the rest of the hour; at most, and with all jitter.
GROWING = [FIRST_DELAY * FACTOR**n for n in range(int(math.log2(MAX_DELAY / FIRST_DELAY)) + 1)]
REQUESTS_MAX = 1 + len(GROWING) + (HOUR - sum(GROWING)) / MAX_DELAY
REQUESTS_MIN = len(GROWING) + (HOUR - sum(GROWING) * (1 + JITTER)) / (MAX_DELAY * (1 + JITTER)) - 2
# It is sent, arrives, is answered, its body comes in a block or two and ends: each is a turn in simulated time.
TURNS_PER_REQUEST = 6
# What is the matter, for each kind or once for all; how old the answers are at 5 s, 1 min, 10 min and 1 h.
NOTICES_MAX = 12


def no_connection(kind: str) -> Callable[[World], None]:
    def begin(world: World) -> None:
        world.chain.simulation.reset()
        world.chain.simulation.network.down = Connection(kind)

    return begin


def refusal(name: str) -> Callable[[World], None]:
    def begin(world: World) -> None:
        world.cluster.faults.add(Reply(name), times=None)
        world.end_watches("", is_broken=True)

    return begin


FAILURES = {
    "connection refused": no_connection("refused"),
    "unreachable": no_connection("unreachable"),
    "time-out": no_connection("timeout"),
    "TLS": no_connection("tls"),
    "credentials": no_connection("credentials"),
    "401": refusal("401"),
    "403": refusal("403"),
    "404": refusal("404"),
    "410": refusal("410"),
    "429": refusal("429"),
    "500": refusal("500"),
    "503": refusal("503"),
}


@pytest.mark.parametrize("is_known", [True, False], ids=["after it was known", "from the start"])
@pytest.mark.parametrize("failure", FAILURES)
def test_an_hour_without_an_api_server_costs_next_to_nothing(failure: str, is_known: bool) -> None:
    world = World(3, verified_pods=True)
    chain = world.chain
    world.fill()
    if is_known:
        world.wait(10.0)
        assert not chain.control.mirror.lacks
    FAILURES[failure](world)
    chain.simulation.run_until(world.now + 60.0)
    requests, turns, notices = chain.requests_made, chain.control.turns, len(chain.notices)
    numbers = [one.request.number for one in chain.control.mirror.reflectors]
    held = entries([chain.control.mirror])

    chain.simulation.run_until(world.now + HOUR)

    for number, one in zip(numbers, chain.control.mirror.reflectors, strict=True):
        assert REQUESTS_MIN <= one.request.number - number <= REQUESTS_MAX, f"{one.resource}"
    made = chain.requests_made - requests
    assert made <= (len(chain.resources) + 1) * REQUESTS_MAX
    assert chain.control.turns - turns <= TURNS_PER_REQUEST * made + NOTICES_MAX
    assert len(chain.notices) - notices <= NOTICES_MAX, [each.text for each in chain.notices[notices:]]
    assert notices <= NOTICES_MAX
    assert entries([chain.control.mirror]) <= held + 100
    reply = chain.control.worker.served.ask(message((WEB, "A")))
    assert reply is not None
    assert (reply[3] & 15, reply[6:8]) == ((0, b"\0\2") if is_known else (2, b"\0\0"))
    chain.simulation.network.down = None
    world.settle()
