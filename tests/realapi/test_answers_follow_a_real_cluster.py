"""kdns on a cluster, fake or real: what is written there is answered here."""

from __future__ import annotations

from tests.realapi.conftest import Watched
from tests.server.watched import Repeated, outcome, wait_until_answered
from tests.support.fakeapi.builders import endpoint, endpoint_slice, external, headless, port, service

HTTP = [port(80, "http")]
SQL = [port(5432, "sql")]


def test_a_service_comes_changes_and_goes(watched: Watched) -> None:
    api, server = watched.api, watched.server
    shop = api.namespace("shop")
    name = f"web.{shop}.svc.cluster.local"
    wait_until_answered(server, f"{shop}.svc.cluster.local", "NODATA")
    assert outcome(server, name) == "NXDOMAIN"
    api.create(service(shop, "web", HTTP))
    address = api.objects("services", shop)[0]["spec"]["clusterIP"]
    wait_until_answered(server, name, address)
    assert outcome(server, f"_http._tcp.{name}", "SRV") == f"0 100 80 {name}."
    api.replace(service(shop, "web", [port(81, "http")]))
    wait_until_answered(server, f"_http._tcp.{name}", f"0 100 81 {name}.", "SRV")
    api.delete("services", shop, "web")
    wait_until_answered(server, name, "NXDOMAIN")


def test_a_headless_service_answers_with_its_ready_endpoints(watched: Watched) -> None:
    api, server = watched.api, watched.server
    shop = api.namespace("shop")
    name = f"db.{shop}.svc.cluster.local"
    rows = [endpoint("10.0.0.1", hostname="db-0"), endpoint("10.0.0.2", ready=False, hostname="db-1")]
    api.apply(headless(shop, "db", SQL), endpoint_slice(shop, "db-1", "db", rows, SQL))
    wait_until_answered(server, name, "10.0.0.1")
    assert outcome(server, f"db-0.{name}") == "10.0.0.1"
    ready = [endpoint(each["addresses"][0], hostname=each["hostname"]) for each in rows]
    api.replace(endpoint_slice(shop, "db-1", "db", ready, SQL))
    wait_until_answered(server, name, "10.0.0.1 10.0.0.2")
    api.replace(endpoint_slice(shop, "db-1", "db", [ready[1]], SQL))
    wait_until_answered(server, name, "10.0.0.2")


def test_an_endpoint_that_moves_to_another_slice_is_always_there(watched: Watched) -> None:
    api, server = watched.api, watched.server
    shop = api.namespace("shop")
    name = f"db.{shop}.svc.cluster.local"
    api.apply(
        headless(shop, "db", SQL),
        endpoint_slice(shop, "db-1", "db", ["10.0.0.1", "10.0.0.2"], SQL),
        endpoint_slice(shop, "db-2", "db", ["10.0.0.3"], SQL),
    )
    all_three = "10.0.0.1 10.0.0.2 10.0.0.3"
    wait_until_answered(server, name, all_three)
    with Repeated(server, name) as answers:
        api.replace(endpoint_slice(shop, "db-1", "db", ["10.0.0.1"], SQL))
        api.replace(endpoint_slice(shop, "db-2", "db", ["10.0.0.2", "10.0.0.3"], SQL))
        api.create(service(shop, "last", HTTP, clusterIP="None"))
        api.create(endpoint_slice(shop, "last-1", "last", ["10.0.0.9"], HTTP))
        wait_until_answered(server, f"last.{shop}.svc.cluster.local", "10.0.0.9")
    assert answers.seen == {all_three}


def test_a_slice_goes_to_the_service_that_its_label_names(watched: Watched) -> None:
    api, server = watched.api, watched.server
    shop = api.namespace("shop")
    api.apply(headless(shop, "blue", SQL), headless(shop, "green", SQL))
    api.apply(endpoint_slice(shop, "rows", "blue", ["10.0.0.1"], SQL))
    wait_until_answered(server, f"blue.{shop}.svc.cluster.local", "10.0.0.1")
    api.replace(endpoint_slice(shop, "rows", "green", ["10.0.0.1"], SQL))
    wait_until_answered(server, f"green.{shop}.svc.cluster.local", "10.0.0.1")
    wait_until_answered(server, f"blue.{shop}.svc.cluster.local", "NXDOMAIN")


def test_an_external_name_is_an_alias_until_it_is_none(watched: Watched) -> None:
    api, server = watched.api, watched.server
    shop = api.namespace("shop")
    name = f"docs.{shop}.svc.cluster.local"
    api.create(external(shop, "docs", "docs.example.com"))
    wait_until_answered(server, name, "docs.example.com.", "CNAME")
    api.replace(service(shop, "docs", HTTP))
    wait_until_answered(server, name, api.objects("services", shop)[0]["spec"]["clusterIP"])


def test_a_namespace_takes_its_names_with_it(watched: Watched) -> None:
    api, server = watched.api, watched.server
    shop = api.namespace("shop")
    api.create(service(shop, "web", HTTP))
    name = f"web.{shop}.svc.cluster.local"
    wait_until_answered(server, name, api.objects("services", shop)[0]["spec"]["clusterIP"])
    api.delete("namespaces", "", shop)
    wait_until_answered(server, name, "NXDOMAIN")
    wait_until_answered(server, f"{shop}.svc.cluster.local", "NXDOMAIN")
