"""An API server that goes away and comes back: the answers stay, it is not asked for more than it has to be."""

from __future__ import annotations

import json
from pathlib import Path

from tests.server.conftest import Serve
from tests.server.serving import Server
from tests.server.watched import (
    DB,
    DB_ADDRESSES,
    HTTP,
    NOBODY,
    SHOP,
    WEB,
    WEB_ADDRESS,
    Repeated,
    Shop,
    is_ready,
    outcome,
    rows,
    sample,
    samples,
    wait_until,
    wait_until_answered,
)
from tests.support.fakeapi.builders import service
from tests.support.fakeapi.faults import Reply
from tests.support.fakeapi.process import FakeApiProcess

TILL = "till.shop.svc.cluster.local"
BOTH = " ".join(DB_ADDRESSES)
KINDS = 3  # that are watched


def cut_off(shop: Shop) -> None:
    """As by a network that is down: the API server lives on."""
    shop.api.refuse()
    shop.api.reset_connections()


def wait_until_stale(server: Server) -> None:
    wait_until(lambda: sample(server, "kdns_cluster_staleness_seconds") > 0, True)


def wait_until_current(server: Server) -> None:
    wait_until(lambda: sample(server, "kdns_cluster_staleness_seconds"), 0, lambda: server.log)


def test_a_network_that_was_down_costs_no_list_and_no_answer(shop: Shop) -> None:
    server = shop.serve(workers=2)
    shop.api.control.forget_requests()
    with Repeated(server, WEB) as web, Repeated(server, DB) as database:
        cut_off(shop)
        server.wait_for("the connection broke.*; what is known stays answered")
        wait_until_stale(server)
        assert is_ready(server)
        shop.api.control.apply(service("shop", "till", HTTP, clusterIP="10.96.0.30"))
        shop.api.control.delete("services", "shop", "docs")
        shop.api.accept()
        wait_until_answered(server, TILL, "10.96.0.30")
        wait_until_answered(server, "docs.shop.svc.cluster.local", "NXDOMAIN")
        wait_until_current(server)
    assert web.seen == {WEB_ADDRESS}
    assert database.seen == {BOTH}
    assert {one["purpose"] for one in shop.api.control.requests()} == {"watch"}
    assert sample(server, "kdns_cluster_relists_total") == 0
    assert samples(server, "kdns_cluster_failures_total")['reason="broken",source="cluster.local."'] == KINDS


def test_an_api_server_that_forgot_everything_is_listed_anew_without_a_gap(shop: Shop) -> None:
    server = shop.serve()
    control = shop.api.control
    images = sample(server, "kdns_cluster_images_total")
    with Repeated(server, WEB) as web, Repeated(server, DB) as database, Repeated(server, NOBODY) as nobody:
        for resource in ("services", "endpointslices", "namespaces"):
            control.fault(Reply("410"), resource, on="watch")
        control.end_watches()
        control.delete("services", "shop", "docs")
        control.apply(service("shop", "till", HTTP, clusterIP="10.96.0.30"))
        wait_until_answered(server, TILL, "10.96.0.30")
        wait_until_answered(server, "docs.shop.svc.cluster.local", "NXDOMAIN")
        wait_until_current(server)
    assert web.seen == {WEB_ADDRESS}
    assert database.seen == {BOTH}
    assert nobody.seen == {"NXDOMAIN"}
    assert sample(server, "kdns_cluster_relists_total") == KINDS
    assert sample(server, "kdns_cluster_images_total") == images


def test_an_api_server_that_is_killed_and_started_is_followed_from_where_it_was(serve: Serve, tmp_path: Path) -> None:
    with FakeApiProcess(tmp_path) as api:
        api.control.apply(*SHOP[:6])
        server = Shop(serve, tmp_path, api).serve()
        api.kill()
        api.start()
        api.control.apply(service("shop", "till", HTTP, clusterIP="10.96.0.30"))
        with Repeated(server, WEB) as web:
            wait_until_answered(server, TILL, "10.96.0.30")
        assert web.seen == {WEB_ADDRESS}
        assert sample(server, "kdns_cluster_relists_total") == 0


def test_an_api_server_that_is_silent_on_an_open_connection_takes_nothing_away(
    serve: Serve, tmp_path: Path
) -> None:
    with FakeApiProcess(tmp_path) as api:
        api.control.apply(*SHOP[:6])
        server = Shop(serve, tmp_path, api).serve()
        api.stop()
        assert outcome(server, WEB) == WEB_ADDRESS
        assert outcome(server, NOBODY) == "NXDOMAIN"
        api.go_on()
        api.control.apply(service("shop", "till", HTTP, clusterIP="10.96.0.30"))
        wait_until_answered(server, TILL, "10.96.0.30")


def test_a_store_that_was_restored_from_a_backup_is_believed(shop: Shop) -> None:
    server = shop.serve()
    before = shop.api.control.rv()
    mark = server.mark()
    shop.api.control.apply(service("shop", "till", HTTP, clusterIP="10.96.0.30"))
    server.wait_for("visible:", after=mark)
    with Repeated(server, WEB) as web:
        shop.api.control.rollback(before)
        # A watch from a version of the future is silent until that has come, or until its next bookmark.
        wait_until(lambda: shop.api.control.open_watches("services"), 1)
        meta = {"resourceVersion": str(before)}
        bookmark = {"type": "BOOKMARK", "object": {"kind": "Service", "apiVersion": "v1", "metadata": meta}}
        shop.api.control.say("services", json.dumps(bookmark).encode() + b"\n")
        wait_until_answered(server, TILL, "NXDOMAIN")
    assert web.seen == {WEB_ADDRESS}
    server.wait_for("has gone back from resource version", after=mark)
    mark = server.mark()
    shop.api.control.apply(service("shop", "till", HTTP, clusterIP="10.96.0.31"))
    wait_until_answered(server, TILL, "10.96.0.31")


def test_readiness_by_freshness_is_lost_with_the_api_server_and_answers_are_not(shop: Shop) -> None:
    server = shop.serve("--ready-when", "fresh=300ms")
    wait_until(lambda: is_ready(server), True)
    cut_off(shop)
    server.wait_for(r"not ready: kubernetes cluster.local.: the data is")
    assert not is_ready(server)
    assert outcome(server, WEB) == WEB_ADDRESS
    shop.api.accept()
    server.wait_for("ready again")
    wait_until(lambda: is_ready(server), True)


def test_a_permission_that_is_taken_away_takes_no_answer_away(shop: Shop) -> None:
    user = "system:serviceaccount:kube-system:kdns"
    shop.api.control.set_token("restricted", user)
    shop.api.control.allow(user, "services", "namespaces", "endpointslices")
    kubeconfig = shop.api.kubeconfig(shop.directory / "config", {"token": "restricted"})
    shop.write(access=f"kubeconfig {kubeconfig}")
    server = shop.run()
    shop.api.control.revoke(user)
    shop.api.control.allow(user, "services", "namespaces")
    shop.api.control.end_watches()
    server.wait_for(r"\[ERROR\] .*endpointslices.*403.*what is known stays answered")
    shop.api.control.apply(service("shop", "till", HTTP, clusterIP="10.96.0.30"))
    wait_until_answered(server, TILL, "10.96.0.30")
    assert outcome(server, DB) == BOTH
    shop.api.control.allow(user, "endpointslices")
    shop.api.control.apply(rows(*DB_ADDRESSES, "10.0.0.3"))
    wait_until_answered(server, DB, f"{BOTH} 10.0.0.3")
