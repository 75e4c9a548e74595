"""Reloads and deaths of processes while a cluster is watched: no query is lost, nothing known is withdrawn."""

from __future__ import annotations

import os
import signal

from tests.server.serving import Server
from tests.server.watched import (
    DB,
    DB_ADDRESSES,
    HTTP,
    NOBODY,
    WEB,
    WEB_ADDRESS,
    Repeated,
    Shop,
    is_ready,
    outcome,
    sample,
    wait_until,
    wait_until_answered,
)
from tests.support.fakeapi.builders import service
from tests.support.fakeapi.faults import Reply

TILL = "till.shop.svc.cluster.local"
BOTH = " ".join(DB_ADDRESSES)


class Asking:
    """A name of each sort is asked for all the while, and is answered right all the while.

    may_withhold: what does not exist may be SERVFAIL instead.
    """

    def __init__(self, server: Server, may_withhold: bool = False) -> None:
        self._wanted = {WEB: {WEB_ADDRESS}, DB: {BOTH}, NOBODY: {"NXDOMAIN"}}
        self._allowed = {"UNKNOWN"} if may_withhold else set[str]()
        self._repeated = {qname: Repeated(server, qname) for qname in self._wanted}

    def __enter__(self) -> None:
        for one in self._repeated.values():
            one.__enter__()

    def __exit__(self, *exc_info: object) -> None:
        for one in self._repeated.values():
            one.__exit__()
        for qname, one in self._repeated.items():
            assert self._wanted[qname] <= one.seen
            assert one.seen <= self._wanted[qname] | (self._allowed if qname == NOBODY else set()), qname


def kill_control(server: Server) -> int:
    """Kill control; returns where the log was."""
    mark = server.mark()
    os.kill(server.children()["kdns-control"], signal.SIGKILL)
    server.wait_for(r"control .* was killed by SIGKILL: restarted", after=mark)
    return mark


def test_a_reload_loses_no_query_and_follows_the_cluster(shop: Shop) -> None:
    server = shop.serve(workers=2)
    mark = server.mark()
    with Asking(server):
        server.send(signal.SIGHUP)
        shop.api.control.apply(service("shop", "till", HTTP, clusterIP="10.96.0.30"))
        server.wait_for("reloaded: only the new processes read queries", after=mark)
    wait_until_answered(server, TILL, "10.96.0.30")
    shop.api.control.delete("services", "shop", "till")
    wait_until_answered(server, TILL, "NXDOMAIN")
    wait_until(lambda: shop.api.control.open_watches(), 3)  # the old processes' connections are gone


def test_a_reload_without_an_api_server_is_refused_and_nothing_changes(shop: Shop) -> None:
    server = shop.serve()
    shop.api.kill()
    shop.write("ttl 30", timeout="200ms")
    mark = server.mark()
    with Asking(server):
        server.send(signal.SIGHUP)
        server.wait_for("has told nothing for 0.2 s, and there is no snapshot to go on from", after=mark)
        server.wait_for("reload failed, the old configuration stays", after=mark)
    assert server.ask(WEB).answer[0].ttl == 5
    assert is_ready(server)
    shop.api.start()
    shop.api.control.apply(service("shop", "till", HTTP, clusterIP="10.96.0.30"))
    wait_until_answered(server, TILL, "10.96.0.30")


def test_a_reload_against_an_api_server_that_only_fails_is_refused_in_time(shop: Shop) -> None:
    """What it says of its failures is nothing that it tells: they may last for ever."""
    server = shop.serve(timeout="1s")
    for plural in ("services", "endpointslices", "namespaces"):
        shop.api.control.fault(Reply("500"), plural, times=None)
    mark = server.mark()
    with Asking(server):
        server.send(signal.SIGHUP)
        server.wait_for("has told nothing for 1 s, and there is no snapshot to go on from", after=mark)
        server.wait_for("reload failed, the old configuration stays", after=mark)
    assert outcome(server, WEB) == WEB_ADDRESS


def test_a_reload_without_an_api_server_goes_on_from_the_snapshot(shop: Shop) -> None:
    server = shop.serve("--snapshot", shop.snapshot)
    server.wait_for("written")
    shop.api.kill()
    shop.write("ttl 30", timeout="200ms")
    mark = server.mark()
    with Asking(server):
        server.send(signal.SIGHUP)
        server.wait_for("reloaded: only the new processes read queries", after=mark)
    assert server.ask(WEB).answer[0].ttl == 30
    assert sample(server, "kdns_cluster_from_snapshot") == 1


def test_a_control_that_dies_is_replaced_and_nothing_is_withdrawn(shop: Shop) -> None:
    server = shop.serve(workers=2)
    with Asking(server):
        mark = kill_control(server)
        shop.api.control.apply(service("shop", "till", HTTP, clusterIP="10.96.0.30"))
        server.wait_for("current again", after=mark)
    wait_until_answered(server, TILL, "10.96.0.30")
    assert is_ready(server)


def test_a_control_that_dies_during_an_outage_withdraws_nothing_either(shop: Shop) -> None:
    server = shop.serve(timeout="200ms", workers=2)
    shop.api.kill()
    with Asking(server):
        mark = kill_control(server)
        server.wait_for("connection refused", after=mark)
        wait_until(lambda: sample(server, "kdns_cluster_staleness_seconds") > 0.3, True)
        assert is_ready(server)
        synced = sample(server, "kdns_cluster_synced")
        shop.api.control.apply(service("shop", "till", HTTP, clusterIP="10.96.0.30"))
        shop.api.start()
        server.wait_for("current again", after=mark)
    assert synced == 3
    assert outcome(server, TILL) == "10.96.0.30"
    assert sample(server, "kdns_cluster_staleness_seconds") == 0


def forbid(shop: Shop, times: int | None = None) -> None:
    for plural in ("services", "endpointslices", "namespaces"):
        shop.api.control.fault(Reply("403"), plural, on="any", times=times)


def test_a_control_that_dies_when_everything_is_forbidden_withdraws_no_answer(shop: Shop) -> None:
    """Services may be told of again before Namespaces are: then denials are withheld for a moment."""
    server = shop.serve(timeout="300ms", workers=2)
    with Asking(server, may_withhold=True):
        forbid(shop)
        shop.api.reset_connections()
        mark = kill_control(server)
        told = "Services, EndpointSlices and Namespaces not heard of again since control was restarted"
        server.wait_for(told, after=mark)
        assert is_ready(server)
        assert "current again" not in server.log
        shop.api.control.clear_faults()
        server.wait_for("current again: 2 workers, 4 services", after=mark)
        wait_until(lambda: sample(server, "kdns_cluster_staleness_seconds"), 0)


def test_a_control_that_dies_and_is_refused_once_withdraws_nothing(shop: Shop) -> None:
    server = shop.serve()
    with Asking(server):
        forbid(shop, times=1)
        mark = kill_control(server)
        server.wait_for(r"current again: 1 worker, 4 services", after=mark)


def test_a_reload_that_is_refused_once_withdraws_nothing(shop: Shop) -> None:
    server = shop.serve()
    shop.write("ttl 30")
    mark = server.mark()
    with Asking(server):
        forbid(shop, times=1)
        server.send(signal.SIGHUP)
        server.wait_for(r"\(403\)", after=mark)
        server.wait_for("reloaded: only the new processes read queries", after=mark)
    assert server.ask(WEB).answer[0].ttl == 30


def test_a_reload_without_a_permission_that_was_there_is_refused_and_says_so(shop: Shop) -> None:
    server = shop.serve(timeout="300ms")
    shop.api.control.fault(Reply("403"), "endpointslices", on="any", times=None)
    mark = server.mark()
    with Asking(server):
        server.send(signal.SIGHUP)
        refused = "refuses to tell of EndpointSlices, which are answered now: the old configuration stays"
        server.wait_for(refused, after=mark)
        server.wait_for("reload failed, the old configuration stays", after=mark)
    shop.api.control.apply(service("shop", "till", HTTP, clusterIP="10.96.0.30"))
    wait_until_answered(server, TILL, "10.96.0.30")


def test_what_was_forbidden_from_the_start_may_be_so_after_a_reload_and_a_death(shop: Shop) -> None:
    shop.api.control.fault(Reply("403"), "endpointslices", on="any", times=None)
    server = shop.serve(timeout="300ms")
    mark = server.mark()
    with Repeated(server, WEB) as web:
        server.send(signal.SIGHUP)
        server.wait_for("reloaded: only the new processes read queries", after=mark)
        mark = kill_control(server)
        server.wait_for("current again", after=mark)
    assert web.seen == {WEB_ADDRESS}
    assert outcome(server, DB) == "UNKNOWN"


def test_a_worker_that_dies_during_an_outage_answers_again(shop: Shop) -> None:
    server = shop.serve()
    shop.api.kill()
    pid = server.children()["kdns-worker-0"]
    mark = server.mark()
    os.kill(pid, signal.SIGKILL)
    server.wait_for("worker 0 .* was killed by SIGKILL: restarted", after=mark)
    assert is_ready(server)  # for a moment like this it is not worth while to send queries elsewhere
    assert outcome(server, WEB) == WEB_ADDRESS
    assert is_ready(server)
    assert outcome(server, DB) == BOTH


def test_a_worker_and_control_that_die_during_an_outage_go_on_from_the_snapshot(shop: Shop) -> None:
    server = shop.serve("--snapshot", shop.snapshot, timeout="200ms")
    server.wait_for("written")
    shop.api.kill()
    mark = kill_control(server)
    os.kill(server.children()["kdns-worker-0"], signal.SIGKILL)
    server.wait_for("current again", after=mark)
    assert outcome(server, WEB) == WEB_ADDRESS
    assert outcome(server, DB) == BOTH


def test_what_happens_while_it_is_a_lame_duck_is_followed(shop: Shop) -> None:
    server = shop.serve("--lameduck", "60s", "--snapshot", shop.snapshot)
    server.send(signal.SIGTERM)
    server.wait_for("stopping in 60 s")
    assert not is_ready(server)
    shop.api.control.apply(service("shop", "till", HTTP, clusterIP="10.96.0.30"))
    wait_until_answered(server, TILL, "10.96.0.30")
    assert server.stop() == 0
    assert b"till" in shop.snapshot.read_bytes()
    wait_until(lambda: shop.api.connections(), 0)


def test_an_idle_control_hardly_ever_wakes_up(shop: Shop) -> None:
    server = shop.serve("--snapshot", shop.snapshot)
    server.wait_for("written")
    pid = server.children()["kdns-control"]
    before = wakeups(pid)
    for _ in range(500):
        assert outcome(server, WEB) == WEB_ADDRESS
    assert wakeups(pid) - before <= 5


def wakeups(pid: int) -> int:
    """How often a process has gone to sleep so far."""
    with open(f"/proc/{pid}/task/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("voluntary_ctxt_switches"))
