"""With `--cookie-secret` the resolvers that pods bring find what they find without, and their cookies are good.

c-ares may send cookies, and drops replies without one as soon as it saw one: what
its callers ask for is therefore a mix of all that kdns answers. Not here: what a cookie is made of, and bad ones
(tests/server/test_who_asks.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.clients.conftest import corefile
from tests.clients.test_outside_names import EVERY_WAY, GLIBC, fresh
from tests.clients.test_real_resolvers import CLUSTER, WEB_4, WEB_6, WORKERS
from tests.support.outsideworld import WWW_4
from tests.support.podhost import SERVERS, PodHost
from tests.support.podresolvers import FAILED, NO_DATA, NO_NAME, Question
from tests.support.programs import require

MIX = {
    Question("A", "web.shop.svc.cluster.local."): [WEB_4],
    Question("AAAA", "web.shop.svc.cluster.local."): [WEB_6],
    Question("A", "nowhere.shop.svc.cluster.local."): [NO_NAME],
    Question("AAAA", "postgres.data.svc.cluster.local."): [NO_DATA],
    Question("PTR", WEB_4): ["web.shop.svc.cluster.local"],
    WORKERS: sorted(CLUSTER.ready("batch", "workers")),
    Question("A", "www.example.org."): [WWW_4],  # kept
    Question("A", "outside.shop.svc.cluster.local."): [WWW_4],
    Question("A", "nowhere.example.org."): [NO_NAME],
    Question("A", "lost.example.org."): [FAILED],
}
NO_TCP = {WORKERS, Question("A", "lost.example.org.")}  # musl: too much for it, or asked for seconds on end
TOLD = re.compile(r"COOKIE: ([0-9A-Fa-f]{48})\b(.*)")


@pytest.fixture(scope="module", autouse=True)
def cookies(pod: PodHost) -> Iterator[None]:
    (pod.directory / "secret").write_text("5c" * 16)
    pod.stop()
    pod.serve(corefile(), "--cookie-secret", "secret")
    yield
    pod.stop()
    pod.serve(corefile())


@pytest.mark.parametrize(
    ("resolver", "way"), [one for one in EVERY_WAY if one[1] in ("udp4", "tcp6")], indirect=["resolver"]
)
def test_every_resolver_finds_what_it_finds_without_cookies(pod: PodHost, resolver: str, way: str) -> None:
    expected = {one: answer for one, answer in MIX.items() if resolver != "musl" or one not in NO_TCP}
    if resolver in GLIBC and way[:3] == "tcp":
        del expected[Question("A", "lost.example.org.")]
    expected |= fresh(1, last=".")
    assert pod.ask(resolver, way, tuple(expected)) == pod.right(resolver, expected)


@pytest.mark.parametrize("family", ["4", "6"])
@pytest.mark.parametrize("program", ["dig", "kdig"])
def test_a_cookie_learned_is_good_over_udp_and_tcp(pod: PodHost, program: str, family: str) -> None:
    """What is good comes back as it is; what is not is replaced."""
    require(program)

    def told(name: str, *options: str) -> str:
        output = pod.run([program, f"@{SERVERS[family]}", name, *options])
        found = TOLD.search(output)
        assert found is not None, output
        assert found[2] == (" (good)" if program == "dig" else "")
        return found[1].lower()

    learned = told("web.shop.svc.cluster.local", "+cookie")
    forged = learned[:-1] + ("0" if learned[-1] != "0" else "1")
    for transport in ("+notcp", "+tcp"):
        for name in ("web.shop.svc.cluster.local", "nowhere.shop.svc.cluster.local", "www.example.org"):
            assert told(name, transport, f"+cookie={learned}") == learned
        assert told("www.example.org", transport, f"+cookie={forged}") != forged
