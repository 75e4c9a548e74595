"""Several clusters, several blocks that show one of them, and ways to an API server that lead nowhere."""

from __future__ import annotations

import signal
import subprocess

import pytest

from tests.server.serving import free_port
from tests.server.watched import (
    DB,
    DB_ADDRESSES,
    HTTP,
    WEB,
    WEB_ADDRESS,
    Shop,
    is_ready,
    outcome,
    samples,
    shop_api,
    wait_until,
    wait_until_answered,
)
from tests.support.fakeapi.builders import service
from tests.support.fakeapi.kubeconfig import write_service_account

BOTH = " ".join(DB_ADDRESSES)


def test_of_two_clusters_one_may_be_down(shop: Shop) -> None:
    with shop_api(seed=2) as second:
        second.control.apply(service("shop", "web", HTTP, clusterIP="10.96.7.7"))
        second.kill()
        shop.write(
            timeout="300ms",
            blocks="}\nsecond.local {\n bind 127.0.0.1\n kubernetes second.local {\n startup_timeout 300ms\n"
            f"{shop.access(second)}\n }}",
        )
        server = shop.run("--ready-when", "synced")
        assert outcome(server, WEB) == WEB_ADDRESS
        assert outcome(server, "nobody.shop.svc.cluster.local") == "NXDOMAIN"
        assert outcome(server, "web.shop.svc.second.local") == "UNKNOWN"
        stale = samples(server, "kdns_cluster_staleness_seconds")
        assert stale['source="cluster.local."'] == 0 < stale['source="second.local."']
        assert not is_ready(server)
        shop.api.control.apply(service("shop", "till", HTTP, clusterIP="10.96.0.30"))
        wait_until_answered(server, "till.shop.svc.cluster.local", "10.96.0.30")
        second.start()
        wait_until_answered(server, "web.shop.svc.second.local", "10.96.7.7")
        assert outcome(server, WEB) == WEB_ADDRESS
        wait_until(lambda: is_ready(server), True)


def test_blocks_that_show_the_same_cluster_share_its_watches(shop: Shop) -> None:
    block = f"kubernetes cluster.local {{\n {shop.access()}\n startup_timeout 20s\n }}"
    other = free_port()
    shop.corefile.write_text(
        f". {{\n bind 127.0.0.1\n debug\n {block}\n}}\n.:{other} {{\n bind 127.0.0.1\n {block}\n}}\n"
    )
    server = shop.run()
    assert len(shop.asked()) == 3
    mark = server.mark()
    shop.api.control.apply(service("shop", "till", HTTP, clusterIP="10.96.0.30"))
    server.wait_for("visible:", after=mark)
    assert outcome(server, "till.shop.svc.cluster.local") == "10.96.0.30"
    server.port = other
    assert outcome(server, "till.shop.svc.cluster.local") == "10.96.0.30"


def test_a_kubeconfig_serves_without_a_corefile(shop: Shop) -> None:
    kubeconfig = shop.api.kubeconfig(shop.directory / "config")
    port = free_port()
    server = shop.start("--kubeconfig", kubeconfig, "--listen", f"127.0.0.1:{port}", port=port)
    assert outcome(server, WEB) == WEB_ADDRESS
    assert outcome(server, DB) == BOTH


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "config: no such kubeconfig"),
        ("apiVersion: v1\nkind: Config\nclusters: [\n", "config:4"),
        ('{"apiVersion": "v1", "kind": "Config"}', "config: "),
    ],
)
def test_a_kubeconfig_that_is_of_no_use_ends_the_start(shop: Shop, content: str | None, complaint: str) -> None:
    path = shop.directory / "config"
    if content is not None:
        path.write_text(content)
    shop.write(access=f"kubeconfig {path}")
    server = shop.run(is_ready=False)
    assert server.wait() == 1
    errors = [line for line in server.lines if line.startswith("[ERROR]")]
    assert len(errors) == 1
    assert complaint in errors[0]


# Becomes kdns in a file system that has a service account where a kubelet mounts it.
AS_A_POD = (
    "mount -t tmpfs none /run && mkdir -p /var/run/secrets/kubernetes.io"
    ' && cp -r "$1" /var/run/secrets/kubernetes.io/serviceaccount && shift && exec "$@"'
)
UNSHARE = ("unshare", "--user", "--map-root-user", "--mount")


def test_in_a_pod_nothing_has_to_be_named(shop: Shop) -> None:
    if subprocess.run([*UNSHARE, "mount", "-t", "tmpfs", "none", "/run"], capture_output=True).returncode:
        pytest.skip("needs mount namespaces")
    account = write_service_account(shop.directory / "account", shop.api.ca)
    place = ("KUBERNETES_SERVICE_HOST=127.0.0.1", f"KUBERNETES_SERVICE_PORT={shop.api.port}")
    shop.corefile.write_text(". {\n bind 127.0.0.1\n kubernetes cluster.local\n}\n")
    server = shop.run(prefix=(*UNSHARE, "env", *place, "sh", "-c", AS_A_POD, "sh", str(account)))
    assert outcome(server, WEB) == WEB_ADDRESS
    assert {one["user"] for one in shop.api.control.requests()} == {"kubernetes-admin"}


def test_outside_of_a_cluster_there_is_no_cluster_around_us(shop: Shop) -> None:
    shop.corefile.write_text(". {\n bind 127.0.0.1\n kubernetes cluster.local\n}\n")
    server = shop.run(is_ready=False, prefix=("env", "-u", "KUBERNETES_SERVICE_HOST"))
    assert server.wait() == 1
    server.wait_for(r"\[ERROR\] .*KUBERNETES_SERVICE_HOST")


def test_a_kubeconfig_that_breaks_ends_a_reload_and_costs_nothing(shop: Shop) -> None:
    kubeconfig = shop.api.kubeconfig(shop.directory / "config")
    shop.write(access=f"kubeconfig {kubeconfig}")
    server = shop.run()
    kubeconfig.unlink()
    mark = server.mark()
    server.send(signal.SIGHUP)
    server.wait_for("config: no such kubeconfig", after=mark)
    server.wait_for("reload failed, the old configuration stays", after=mark)
    shop.api.control.apply(service("shop", "till", HTTP, clusterIP="10.96.0.30"))
    wait_until_answered(server, "till.shop.svc.cluster.local", "10.96.0.30")


def test_a_certificate_that_is_not_to_be_trusted_is_told_and_nothing_is_sent(shop: Shop) -> None:
    shop.api.present("foreign")
    server = shop.serve(timeout="300ms")
    server.wait_for(r"\[ERROR\] .*certificate")
    assert outcome(server, WEB) == "UNKNOWN"
    assert shop.asked() == []
    shop.api.present("trusted")
    wait_until_answered(server, WEB, WEB_ADDRESS)
