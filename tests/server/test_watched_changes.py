"""Changes of a cluster as its API server tells them: what becomes visible, when, and what never leaves an answer."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.server.serving import Server
from tests.server.watched import (
    DB,
    DB_0,
    DB_ADDRESSES,
    HTTP,
    WEB,
    Repeated,
    Shop,
    outcome,
    rows,
    samples,
    wait_until,
    wait_until_answered,
)
from tests.support.fakeapi.builders import (
    endpoint,
    endpoint_slice,
    external,
    namespace,
    pod,
    pod_status,
    port,
    service,
)

TILL = "till.shop.svc.cluster.local"
BOTH = " ".join(DB_ADDRESSES)


def after(server: Server, change: Callable[[], object]) -> str:
    """Make one change and wait until every worker answers from it; returns the log's line."""
    mark = server.mark()
    change()
    return server.wait_for("visible:", after=mark)


def test_each_kind_of_event_becomes_visible(shop: Shop) -> None:
    server = shop.serve(options=("pods insecure",), workers=2)
    control = shop.api.control
    line = after(server, lambda: control.apply(service("shop", "till", HTTP, clusterIP="10.96.0.30")))
    assert "1 services changed, 0 removed (generation 2, " in line
    assert server.addresses_everywhere(TILL) == {("10.96.0.30",)}
    assert outcome(server, "30.0.96.10.in-addr.arpa", "PTR") == f"{TILL}."

    after(server, lambda: control.patch("services", "shop", "till", {"spec": {"ports": [port(443, "https")]}}))
    assert outcome(server, f"_https._tcp.{TILL}", "SRV") == f"0 100 443 {TILL}."
    assert outcome(server, f"_http._tcp.{TILL}", "SRV") == "NXDOMAIN"

    after(server, lambda: control.apply(external("shop", "wiki", "wiki.example.com")))
    assert outcome(server, "wiki.shop.svc.cluster.local", "CNAME") == "wiki.example.com."

    after(server, lambda: control.apply(rows(*DB_ADDRESSES, "10.0.0.3")))
    assert outcome(server, DB) == f"{BOTH} 10.0.0.3"

    line = after(server, lambda: control.apply(namespace("bank")))
    assert "1 namespaces added" in line
    assert outcome(server, "10-0-0-9.bank.pod.cluster.local") == "10.0.0.9"
    after(server, lambda: control.delete("namespaces", "", "bank"))
    assert outcome(server, "10-0-0-9.bank.pod.cluster.local") == "NXDOMAIN"

    after(server, lambda: control.delete("services", "shop", "till"))
    assert outcome(server, TILL) == "NXDOMAIN"
    assert outcome(server, "30.0.96.10.in-addr.arpa", "PTR") == "NXDOMAIN"


def test_an_update_that_changes_no_answer_is_not_published(shop: Shop) -> None:
    server = shop.serve()
    mark = server.mark()
    shop.api.control.patch("services", "shop", "web", {"metadata": {"annotations": {"team": "red"}}})
    after(server, lambda: shop.api.control.apply(service("shop", "till", HTTP)))
    assert [line for line in server.lines[mark:] if "visible:" in line] == server.lines[mark:][-1:]


def test_an_address_that_moves_between_slices_never_leaves_the_answer(shop: Shop) -> None:
    server = shop.serve()
    control = shop.api.control
    addresses = ["10.0.1.1"]

    def settle() -> None:
        """Wait until all events of slices so far have been taken in: by one more that shows."""
        addresses.append(f"10.0.1.{len(addresses) + 1}")
        after(server, lambda: control.apply(endpoint_slice("shop", "web-1", "web", addresses, HTTP)))

    with Repeated(server, DB) as answers, Repeated(server, f"_sql._tcp.{DB}", "SRV") as ports:
        for _ in range(3):
            control.apply(rows(DB_ADDRESSES[0]))
            settle()
            assert held(server) == 1
            control.apply(rows(DB_ADDRESSES[1], name="db-2"))
            settle()
            assert held(server) == 0
            control.apply(rows(*DB_ADDRESSES))
            control.delete("endpointslices", "shop", "db-2")
            settle()
    assert answers.seen == {BOTH}
    assert len(ports.seen) == 1


def test_an_endpoint_that_became_unready_leaves_at_once(shop: Shop) -> None:
    server = shop.serve()
    endpoints = [endpoint(DB_ADDRESSES[0], True), endpoint(DB_ADDRESSES[1], False)]
    line = after(server, lambda: shop.api.control.apply(endpoint_slice("shop", "db-1", "db", endpoints, HTTP)))
    assert outcome(server, DB) == DB_ADDRESSES[0]
    assert took_ms(line) < 400
    assert held(server) == 0


def test_an_endpoint_that_vanished_while_ready_stays_for_a_moment(shop: Shop) -> None:
    server = shop.serve()
    shop.api.control.apply(rows(DB_ADDRESSES[0]))
    wait_until(lambda: held(server), 1)
    assert outcome(server, DB) == BOTH
    wait_until_answered(server, DB, DB_ADDRESSES[0])
    wait_until(lambda: held(server), 0)  # metrics follow the answers


def test_a_service_that_is_deleted_leaves_at_once_with_all_its_endpoints(shop: Shop) -> None:
    server = shop.serve()
    line = after(server, lambda: shop.api.control.delete("services", "shop", "db"))
    assert took_ms(line) < 400
    for qname, qtype in ((DB, "A"), (DB_0, "A"), ("1.0.0.10.in-addr.arpa", "PTR")):
        assert outcome(server, qname, qtype) == "NXDOMAIN", qname
    assert held(server) == 0


def test_a_slice_that_is_deleted_is_held_for_a_moment_only(shop: Shop) -> None:
    server = shop.serve()
    shop.api.control.delete("endpointslices", "shop", "db-1")
    wait_until(lambda: held(server), 2)
    assert outcome(server, DB) == BOTH
    wait_until_answered(server, DB, "NXDOMAIN")


@pytest.mark.parametrize(("options", "wanted"), [((), "NXDOMAIN"), (("terminating serving",), BOTH)])
def test_endpoints_that_terminate_and_still_serve_stay_where_that_is_asked_for(
    shop: Shop, options: tuple[str, ...], wanted: str
) -> None:
    server = shop.serve(options=options)
    draining = [endpoint(address, False, serving=True, terminating=True) for address in DB_ADDRESSES]
    after(server, lambda: shop.api.control.apply(endpoint_slice("shop", "db-1", "db", draining, HTTP)))
    assert outcome(server, DB) == wanted
    endpoints = [*draining, endpoint("10.0.0.3")]
    after(server, lambda: shop.api.control.apply(endpoint_slice("shop", "db-1", "db", endpoints, HTTP)))
    assert outcome(server, DB) == "10.0.0.3"


def test_namespaces_are_watched_one_by_one_and_need_a_role_in_each_alone(shop: Shop) -> None:
    api, user = shop.api, "system:serviceaccount:shop:kdns"
    api.control.apply(namespace("bank"), service("bank", "vault", HTTP, clusterIP="10.96.0.40"))
    api.control.set_token("restricted", user)
    for name in ("shop", "bank"):
        api.control.allow(user, "services", "endpointslices", namespace=name)
    kubeconfig = api.kubeconfig(shop.directory / "config", {"token": "restricted"})
    shop.write("namespaces shop bank empty", "pods insecure", access=f"kubeconfig {kubeconfig}", timeout="300ms")
    api.control.allow(user, "services", "endpointslices", namespace="empty")
    server = shop.run()
    assert outcome(server, WEB) == "10.96.0.20"
    assert outcome(server, "vault.bank.svc.cluster.local") == "10.96.0.40"
    assert outcome(server, "kubernetes.default.svc.cluster.local") == "NXDOMAIN"
    assert outcome(server, "empty.svc.cluster.local") == "NODATA"  # it is listed, and so it exists
    assert outcome(server, "10-0-9-9.empty.pod.cluster.local") == "10.0.9.9"
    assert outcome(server, "default.svc.cluster.local") == "NXDOMAIN"
    assert sorted(shop.asked()) == [
        f"watchlist {path}/namespaces/{name}/{plural}"
        for path, plural in (("/api/v1", "services"), ("/apis/discovery.k8s.io/v1", "endpointslices"))
        for name in ("bank", "empty", "shop")
    ]


def test_a_label_selector_goes_to_the_api_server(shop: Shop) -> None:
    shop.api.control.apply(service("shop", "red", HTTP, {"team": "red"}, clusterIP="10.96.0.50"))
    server = shop.serve(options=("labels team=red",))
    assert outcome(server, "red.shop.svc.cluster.local") == "10.96.0.50"
    assert outcome(server, WEB) == "NXDOMAIN"
    selectors = {
        one["path"].rpartition("/")[2]: one["query"].get("labelSelector") for one in shop.api.control.requests()
    }
    assert selectors == {"services": "team=red", "endpointslices": "team=red", "namespaces": None}
    mark = server.mark()
    shop.api.control.patch("services", "shop", "red", {"metadata": {"labels": {"team": "blue"}}})
    server.wait_for("0 services changed, 1 removed", after=mark)
    assert outcome(server, "red.shop.svc.cluster.local") == "NXDOMAIN"


def test_labels_of_namespaces_decide_on_all_that_is_in_them(shop: Shop) -> None:
    server = shop.serve(options=("namespace_labels open=yes", "pods insecure"))
    assert outcome(server, WEB) == "NXDOMAIN"
    for value, wanted in (("yes", "10.96.0.20"), ("no", "NXDOMAIN")):
        after(
            server,
            lambda value=value: shop.api.control.patch(
                "namespaces", "", "shop", {"metadata": {"labels": {"open": value}}}
            ),
        )
        assert outcome(server, WEB) == wanted
        assert outcome(server, DB) == (BOTH if value == "yes" else "NXDOMAIN")


def test_verified_pods_come_and_go(shop: Shop) -> None:
    server = shop.serve(options=("pods verified",))
    control = shop.api.control
    control.apply(pod("shop", "web-b"))

    line = after(server, lambda: control.patch_status("pods", "shop", "web-b", pod_status("10.0.1.2")))
    assert "1 pod addresses added" in line
    assert outcome(server, "10-0-1-2.shop.pod.cluster.local") == "10.0.1.2"
    after(server, lambda: control.patch_status("pods", "shop", "web-b", pod_status("10.0.1.2", phase="Succeeded")))
    assert outcome(server, "10-0-1-2.shop.pod.cluster.local") == "NXDOMAIN"


def test_many_changes_at_once_are_one_picture_in_the_end(shop: Shop) -> None:
    """More services than fit a delta, in a burst."""
    server = shop.serve(workers=2)
    shop.api.control.apply(*(service("shop", f"s{number}", HTTP) for number in range(300)))
    wait_until_answered(server, "s299.shop.svc.cluster.local", server_address(shop, "s299"))
    assert all(
        outcome(server, f"s{number}.shop.svc.cluster.local") == server_address(shop, f"s{number}")
        for number in range(0, 300, 17)
    )


def server_address(shop: Shop, name: str) -> str:
    found = {one["metadata"]["name"]: one["spec"].get("clusterIP") for one in shop.api.control.objects("services")}
    return str(found[name])


def held(server: Server) -> float:
    return sum(samples(server, "kdns_cluster_held_endpoints").values())


def took_ms(line: str) -> float:
    return float(line.rpartition(", ")[2].removesuffix(" ms)"))
