"""Every backend says the same of the same zone, served by NSD and by kdns, but for what it declares missing."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from kdns.client.backend import Address, Kind, Reply, Service
from tests.server.serving import Server, free_port
from tests.support.dnsclients import KINDS, Client, opened
from tests.support.peers import ADDRESS, NSD, started
from tests.support.upstreamserver import Asked, ScriptedUpstream

ZONE = """$ORIGIN conf.example.
$TTL 60
@ 30 SOA ns hostmaster 1 3600 600 86400 7
@ NS ns
ns A 192.0.2.53
web 40 A 10.0.0.1
web 40 A 10.0.0.2
web 50 AAAA fd00::1
alias 20 CNAME web
dangling 20 CNAME absent
four A 10.0.0.4
_http._tcp.web 30 SRV 0 5 8080 pod-1
_http._tcp.web 30 SRV 10 0 8081 pod-2
pod-1 25 A 10.1.0.1
pod-1 25 AAAA fd00:1::1
pod-2 35 A 10.1.0.2
none SRV 0 0 0 .
""" + "".join(f"big 60 A 10.2.{n // 250}.{n % 250 + 1}\n" for n in range(300))


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    directory = tmp_path_factory.mktemp("conformance")
    zone = directory / "conf.example.zone"
    zone.write_text(ZONE)
    with ExitStack() as stack:
        found = {"kdns": _kdns(stack, directory, zone)}
        if NSD.path is not None:
            found["nsd"] = stack.enter_context(started(NSD, directory / "nsd", {"conf.example": zone}))
        yield found


def _kdns(stack: ExitStack, directory: Path, zone: Path) -> int:
    port = free_port()
    arguments = ["serve", "--listen", f"{ADDRESS}:{port}", "--workers", "1", "--zones", f"conf.example={zone}"]
    server = Server(arguments, directory, port)
    stack.callback(server.kill)
    server.wait_for(r"\] ready: ")
    return port


@pytest.fixture(params=["kdns", pytest.param("nsd", marks=pytest.mark.peers)])
def port(request: pytest.FixtureRequest, ports: dict[str, int]) -> int:
    if request.param not in ports:
        if os.environ.get("KDNS_TEST_PEERS") == "required":
            pytest.fail("not installed: nsd; KDNS_TEST_PEERS=required")
        pytest.skip("backends are NOT tried on NSD: install Debian's package nsd")
    return ports[request.param]


@pytest.fixture(params=KINDS)
def client(request: pytest.FixtureRequest, port: int) -> Iterator[Client]:
    with opened(request.param, [(ADDRESS, port)]) as made:
        yield made


def denial(client: Client, reply: Reply, kind: Kind, ttl: float) -> None:
    assert reply.kind is kind
    assert reply.ttl == (ttl if client.capabilities.negative_ttl else None)
    assert reply.text


def test_addresses_come_with_their_ttl(client: Client) -> None:
    reply = client.ask("web.conf.example.", "A")
    assert reply.kind is Kind.ANSWER
    assert set(reply.addresses) == {Address("web.conf.example.", f"10.0.0.{n}") for n in (1, 2)}
    assert (reply.ttl, reply.services) == (40.0, ())


def test_ipv6_addresses_come(client: Client) -> None:
    assert client.ask("web.conf.example.", "AAAA").addresses == (Address("web.conf.example.", "fd00::1"),)


def test_aliases_are_followed_with_the_least_ttl(client: Client) -> None:
    reply = client.ask("alias.conf.example.", "A")
    assert {address.owner for address in reply.addresses} == {"web.conf.example."}
    assert reply.ttl == 20.0


def test_srv_comes_with_the_addresses_of_its_targets_alone(client: Client) -> None:
    reply = client.ask("_http._tcp.web.conf.example.", "SRV")
    assert set(reply.services) == {
        Service(0, 5, 8080, "pod-1.conf.example."), Service(10, 0, 8081, "pod-2.conf.example.")
    }  # fmt: skip
    assert set(reply.addresses) == {
        Address("pod-1.conf.example.", "10.1.0.1"), Address("pod-1.conf.example.", "fd00:1::1"),
        Address("pod-2.conf.example.", "10.1.0.2"),
    }  # fmt: skip
    assert reply.ttl == 25.0


def test_a_service_that_is_declared_absent_is_told_as_a_target_of_the_root(client: Client) -> None:
    assert client.ask("none.conf.example.", "SRV").services == (Service(0, 0, 0, "."),)


def test_a_name_without_such_records_is_nodata(client: Client) -> None:
    denial(client, client.ask("four.conf.example.", "AAAA"), Kind.NODATA, 7.0)


def test_a_name_that_is_not_there_is_nxdomain(client: Client) -> None:
    denial(client, client.ask("absent.conf.example.", "A"), Kind.NXDOMAIN, 7.0)


def test_an_alias_to_nothing_is_nxdomain(client: Client) -> None:
    denial(client, client.ask("dangling.conf.example.", "A"), Kind.NXDOMAIN, 7.0)


def test_what_no_datagram_holds_comes_whole(client: Client) -> None:
    assert len(client.ask("big.conf.example.", "A").addresses) == 300


def test_a_name_of_no_zone_is_a_failure(client: Client) -> None:
    reply = client.ask("elsewhere.test.", "A")
    assert reply.kind is Kind.FAILURE
    assert reply.text


def test_many_questions_at_once_are_answered_each_with_its_own(client: Client) -> None:
    names = ("web", "four", "pod-1", "pod-2") * 40
    replies = client.ask_all([(f"{name}.conf.example.", "A") for name in names])
    assert [reply.addresses[0].owner for reply in replies] == [f"{name}.conf.example." for name in names]


def test_a_name_that_is_none_is_a_failure_and_raises_nothing(client: Client) -> None:
    assert client.ask(f"{'x' * 64}.conf.example.", "A").kind is Kind.FAILURE


def test_what_is_asked_after_a_flush_reaches_the_server_and_the_next_server_has_its_turn() -> None:
    for kind in KINDS:
        with ScriptedUpstream(lambda asked: asked.answer("10.0.0.1")) as server, opened(
            kind, [("127.0.0.1", server.port)]
        ) as client:
            client.ask("web.test.", "A")
            client.backend.flush() if kind != "aiodns" else client.runner.run(_flush(client))  # type: ignore[union-attr]
            client.ask("web.test.", "A")
            assert len(server.asked) == 2


async def _flush(client: Client) -> None:
    client.backend.flush()


@pytest.mark.parametrize("kind", KINDS)
def test_a_dead_first_server_costs_far_less_than_the_timeout(kind: str) -> None:
    silent = threading.Event()

    def never(_: Asked) -> None:
        silent.set()

    with ScriptedUpstream(never) as dead, ScriptedUpstream(lambda asked: asked.answer("10.0.0.1")) as good:
        with opened(kind, [("127.0.0.1", dead.port), ("127.0.0.1", good.port)]) as client:
            assert client.capabilities.failover_timeout
            assert client.ask("web.test.", "A", 3.0).kind is Kind.ANSWER
        assert silent.is_set()


@pytest.mark.parametrize("kind", KINDS)
def test_servfail_of_the_first_server_makes_the_second_be_asked(kind: str) -> None:
    with (
        ScriptedUpstream(lambda asked: asked.rcode(2)) as bad,
        ScriptedUpstream(lambda asked: asked.answer("10.0.0.1")) as good,
        opened(kind, [("127.0.0.1", bad.port), ("127.0.0.1", good.port)]) as client,
    ):
        assert client.ask("web.test.", "A").kind is Kind.ANSWER


@pytest.mark.parametrize("kind", KINDS)
def test_silence_is_a_failure_at_the_timeout(kind: str) -> None:
    with ScriptedUpstream(lambda _: None) as dead, opened(kind, [("127.0.0.1", dead.port)]) as client:
        reply = client.ask("web.test.", "A", 0.3)
        assert reply.kind is Kind.FAILURE
        assert "no answer in 0.3 s" in reply.text
