"""A control that follows one that died, or a fleet that is to replace another, and cannot have everything again.

What it cannot have, workers keep as they have it; all else is followed, and nothing that is answered is taken away.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.server.serving import Server, free_port, replace, zone
from tests.server.serving import service as manifest_of
from tests.server.test_watched_processes import Asking, kill_control
from tests.server.watched import (
    DB,
    DB_ADDRESSES,
    HTTP,
    NOBODY,
    WEB,
    WEB_ADDRESS,
    Shop,
    is_ready,
    outcome,
    rcode,
    rows,
    shop_api,
    wait_until,
    wait_until_answered,
)
from tests.support.fakeapi import kubeconfig
from tests.support.fakeapi.builders import namespace, service
from tests.support.fakeapi.faults import Reply

TILL = "till.shop.svc.cluster.local"
SHORT = "500ms"
QUESTIONS = 30  # over as many sources ports: some for each worker


def forbid(shop: Shop, resource: str) -> None:
    """From now on it is refused to be told of."""
    shop.api.control.fault(Reply("403"), resource, times=None)
    shop.api.control.end_watches()


def block(key: str, zones: str, access: Path, more: str = "") -> str:
    """A server block for a cluster."""
    options = f"kubeconfig {access}\n startup_timeout {SHORT}"
    return f"{key} {{\n bind 127.0.0.1\n {more}\n kubernetes {zones} {{\n {options}\n }}\n}}\n"


def open_till(shop: Shop) -> None:
    shop.api.control.apply(service("shop", "till", HTTP, clusterIP="10.96.0.30"))


def reload_refused(server: Server) -> str:
    """Reload; what the log says of why it was refused."""
    mark = server.mark()
    server.send(signal.SIGHUP)
    server.wait_for("reload failed, the old configuration stays", after=mark)
    return "\n".join(server.lines[mark:])


# Control dies


@pytest.mark.parametrize("has_snapshot", [False, True])
def test_without_namespaces_what_else_is_told_is_followed_and_nothing_is_denied(
    shop: Shop, has_snapshot: bool
) -> None:
    server = shop.serve(*(("--snapshot", shop.snapshot) if has_snapshot else ()), timeout=SHORT, workers=2)
    if has_snapshot:
        server.wait_for("written")
    forbid(shop, "namespaces")
    mark = kill_control(server)
    server.wait_for("current again", after=mark)
    open_till(shop)
    shop.api.control.apply(rows(DB_ADDRESSES[1]))
    wait_until_answered(server, TILL, "10.96.0.30")
    wait_until_answered(server, DB, DB_ADDRESSES[1])
    assert outcome(server, WEB) == WEB_ADDRESS
    assert outcome(server, NOBODY) == ("NXDOMAIN" if has_snapshot else "UNKNOWN")


def test_a_cluster_that_is_away_holds_up_neither_another_one_nor_a_file(shop: Shop, tmp_path: Path) -> None:
    path = tmp_path / "example.org.zone"
    path.write_text(zone(1, "www A 192.0.2.1"))
    other_web, other_till = (name.replace("cluster.local", "other.test") for name in (WEB, TILL))
    with shop_api(seed=2) as other:
        port = free_port()
        ours, theirs = (api.kubeconfig(tmp_path / name) for api, name in ((shop.api, "ours"), (other, "theirs")))
        file = f"file {path} example.org"
        shop.corefile.write_text(
            block(f".:{port}", "cluster.local in-addr.arpa", ours, file)
            + block(f"other.test:{port}", "other.test", theirs)
        )
        server = shop.start("-conf", shop.corefile, port=port, workers=2)
        shop.api.kill()
        with Asking(server):
            mark = kill_control(server)
            server.wait_for("Namespaces not heard of again since control was restarted", after=mark)
            other.control.apply(service("shop", "till", HTTP, clusterIP="10.96.0.31"))
            wait_until_answered(server, other_till, "10.96.0.31")
            replace(path, zone(2, "www A 192.0.2.2"))
            wait_until_answered(server, "www.example.org", "192.0.2.2")
            assert outcome(server, other_web) == WEB_ADDRESS
        shop.api.start()
        open_till(shop)
        wait_until_answered(server, TILL, "10.96.0.30")


def test_a_broken_file_holds_up_no_cluster_and_is_answered_as_it_was(shop: Shop, tmp_path: Path) -> None:
    path = tmp_path / "example.org.zone"
    path.write_text(zone(1, "www A 192.0.2.1"))
    server = shop.serve(timeout=SHORT, blocks=f"file {path} example.org", workers=2)
    replace(path, "garbage here (\n")
    server.wait_for("last good data stays")
    mark = kill_control(server)
    server.wait_for(r"example\.org\.: not read again since control was restarted", after=mark)
    open_till(shop)
    wait_until_answered(server, TILL, "10.96.0.30")
    assert outcome(server, "www.example.org") == "192.0.2.1"
    kill_worker(server)
    wait_until(lambda: outcomes(server, "www.example.org"), {"192.0.2.1", "SERVFAIL"})
    replace(path, zone(2, "www A 192.0.2.2"))
    wait_until(lambda: outcomes(server, "www.example.org"), {"192.0.2.2"})


def kill_worker(server: Server) -> None:
    """Kill a worker, and wait for the next one."""
    worker = server.children()["kdns-worker-0"]
    os.kill(worker, signal.SIGKILL)
    server.wait_for_child("kdns-worker-0", other_than=worker)


def outcomes(server: Server, qname: str) -> set[str]:
    """What all workers answer."""
    replies = [server.ask(qname) for _ in range(QUESTIONS)]
    return {" ".join(one.to_text() for rrset in reply.answer for one in rrset) or rcode(reply) for reply in replies}


def test_a_worker_without_data_says_so_and_the_other_one_answers_on(shop: Shop) -> None:
    server = shop.serve(timeout=SHORT, workers=2)
    shop.api.kill()
    mark = kill_control(server)
    server.wait_for("not heard of again since control was restarted", after=mark)
    kill_worker(server)
    wait_until(lambda: outcomes(server, WEB), {WEB_ADDRESS, "SERVFAIL"})
    shop.api.start()
    wait_until(lambda: outcomes(server, WEB), {WEB_ADDRESS})
    assert is_ready(server)


def test_a_worker_without_data_answers_from_a_snapshot_though_it_is_older(shop: Shop) -> None:
    server = shop.serve("--snapshot", shop.snapshot, timeout=SHORT, workers=2)
    server.wait_for("written")
    open_till(shop)
    wait_until_answered(server, TILL, "10.96.0.30")
    shop.api.kill()
    mark = kill_control(server)
    server.wait_for("not heard of again since control was restarted", after=mark)
    kill_worker(server)
    wait_until(lambda: outcomes(server, TILL), {"10.96.0.30", "NXDOMAIN"})
    assert outcomes(server, WEB) == {WEB_ADDRESS}


# A reload


@pytest.mark.parametrize("zones", ["in-addr.arpa cluster.local", "more.test cluster.local in-addr.arpa"])
@pytest.mark.parametrize("has_snapshot", [False, True])
def test_a_reload_takes_nothing_away_whatever_the_order_of_zones(shop: Shop, zones: str, has_snapshot: bool) -> None:
    server = shop.serve(*(("--snapshot", shop.snapshot) if has_snapshot else ()), timeout=SHORT)
    if has_snapshot:
        server.wait_for("written")
    open_till(shop)
    wait_until_answered(server, TILL, "10.96.0.30")
    shop.api.kill()
    shop.write(timeout=SHORT, zones=zones)
    why = reload_refused(server)
    assert ("the snapshot is older" if has_snapshot else "there is no snapshot to go on from") in why
    assert outcome(server, TILL) == "10.96.0.30"
    assert outcome(server, NOBODY) == "NXDOMAIN"


def test_a_reload_takes_nothing_away_for_the_sake_of_another_cluster(shop: Shop, tmp_path: Path) -> None:
    with shop_api(seed=2) as other:
        first, second = free_port(), free_port()
        ours, theirs = (api.kubeconfig(tmp_path / name) for api, name in ((shop.api, "ours"), (other, "theirs")))

        zones = "cluster.local in-addr.arpa"
        shop.corefile.write_text(block(f".:{first}", zones, ours))
        server = shop.start("-conf", shop.corefile, port=first)
        shop.api.kill()
        shop.corefile.write_text(block(f".:{second}", zones, theirs) + block(f".:{first}", zones, ours))
        assert "has told nothing" in reload_refused(server)
        assert outcome(server, WEB) == WEB_ADDRESS


def test_a_reload_takes_nothing_away_that_files_have_told(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_text(manifest_of("web", WEB_ADDRESS))
    shop.corefile.write_text(". {\n bind 127.0.0.1\n kubernetes cluster.local {\n manifests shop.yaml\n }\n}\n")
    server = shop.run()
    shop.api.kill()
    shop.write(timeout=SHORT)
    assert "has told nothing" in reload_refused(server)
    assert outcome(server, WEB) == WEB_ADDRESS


def test_a_namespace_without_a_role_can_be_added_by_a_reload(shop: Shop, tmp_path: Path) -> None:
    control = shop.api.control
    control.apply(namespace("data"), service("data", "pg", HTTP, clusterIP="10.96.0.77"))
    control.set_token("t", "bob")
    for resource in ("services", "endpointslices"):
        control.allow("bob", resource, namespace="shop")
    access = f"kubeconfig {shop.api.kubeconfig(tmp_path / 'bobs', kubeconfig.token_user('t'))}"
    shop.write("namespaces shop", timeout=SHORT, access=access)
    server = shop.run()
    shop.write("namespaces shop data", timeout=SHORT, access=access)
    mark = server.mark()
    server.send(signal.SIGHUP)
    server.wait_for("reloaded: only the new processes read queries", after=mark)
    assert outcome(server, WEB) == WEB_ADDRESS
    assert outcome(server, "pg.data.svc.cluster.local") == "UNKNOWN"
