"""How an app names a service: each form, what is asked for it, and what is said of anything else."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.client.endpoint import Endpoint
from kdns.client.errors import TargetError
from kdns.client.place import Place
from kdns.client.target import NAME_CHARACTERS_MOST, STATIC_MOST, Form, Target, parse_target

HERE = Place("shop", "cluster.local")


def read(text: str, place: Place = HERE) -> Target:
    return parse_target(text, lambda: place)


def nowhere() -> Place:
    raise AssertionError("the target says it all")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("web:http", "_http._tcp.web.shop.svc.cluster.local."),
        ("web.bazaar:http", "_http._tcp.web.bazaar.svc.cluster.local."),
        ("web.bazaar.svc:http", "_http._tcp.web.bazaar.svc.cluster.local."),
        ("web.bazaar.svc.cluster.local:http", "_http._tcp.web.bazaar.svc.cluster.local."),
        ("web.bazaar.svc.cluster.local.:http", "_http._tcp.web.bazaar.svc.cluster.local."),
        ("web-0.web.bazaar.svc:http", "_http._tcp.web-0.web.bazaar.svc.cluster.local."),
        ("web-0.web.bazaar.svc.cluster.local:http", "_http._tcp.web-0.web.bazaar.svc.cluster.local."),
        ("WEB.Bazaar:HTTP", "_http._tcp.web.bazaar.svc.cluster.local."),
        ("dns.kube-system:dns/udp", "_dns._udp.dns.kube-system.svc.cluster.local."),
        ("dns.kube-system:dns/tcp", "_dns._tcp.dns.kube-system.svc.cluster.local."),
        ("svc:http", "_http._tcp.svc.shop.svc.cluster.local."),
    ],
)
def test_the_name_of_a_port_is_asked_for_as_srv(text: str, name: str) -> None:
    target = read(text)
    assert (target.form, target.name, target.port, target.is_srv) == (Form.PORT_NAME, name, 0, True)
    assert target.read_as == f"SRV of {name}"


@pytest.mark.parametrize(
    ("text", "name", "port"),
    [
        ("web:8080", "web.shop.svc.cluster.local.", 8080),
        ("web.bazaar:80", "web.bazaar.svc.cluster.local.", 80),
        ("web.bazaar.svc.cluster.local.:65535", "web.bazaar.svc.cluster.local.", 65535),
        ("web-0.web.bazaar.svc:1", "web-0.web.bazaar.svc.cluster.local.", 1),
    ],
)
def test_a_number_is_the_port_as_it_is_written(text: str, name: str, port: int) -> None:
    target = read(text)
    assert (target.form, target.name, target.port, target.is_srv) == (Form.PORT_NUMBER, name, port, False)
    assert target.read_as == f"A and AAAA of {name}, port {port} as written"


def test_absolute_forms_need_to_know_of_no_cluster() -> None:
    target = parse_target("dns:///Example.org:443", nowhere)
    assert (target.form, target.name, target.port, target.manifest) == (Form.DNS, "example.org.", 443, None)
    target = parse_target("srv://_ldap._tcp.example.org.", nowhere)
    assert (target.form, target.name, target.is_srv, target.host) == (
        Form.SRV,
        "_ldap._tcp.example.org.",
        True,
        "example.org.",
    )


def test_a_whole_name_needs_the_domain_and_no_namespace() -> None:
    assert read("web.bazaar.svc.cluster.local:80", Place(None, "cluster.local")).name == "web.bazaar.svc.cluster.local."


@pytest.mark.parametrize("domain", ["local", "cluster.local", "a.b.c.example", "svc.example"])
def test_the_domain_may_have_any_number_of_labels(domain: str) -> None:
    place = Place("shop", domain)
    spellings = ["web:80", "web.shop:80", "web.shop.svc:80", f"web.shop.svc.{domain}:80", f"web.shop.svc.{domain}.:80"]
    assert {read(text, place).name for text in spellings} == {f"web.shop.svc.{domain}."}


def test_static_lists_endpoints_with_weights() -> None:
    target = parse_target("static://10.0.0.1:80,[FD00::1]:81*3,[fd00:0::2]:80*0", nowhere)
    assert target.endpoints == (
        Endpoint("10.0.0.1", 80),
        Endpoint("fd00::1", 81, weight=3),
        Endpoint("fd00::2", 80, weight=0),
    )
    assert (target.form, target.name) == (Form.STATIC, "")


def test_the_service_for_the_headless_manifest_is_known_but_for_pods() -> None:
    assert read("web.bazaar:HTTP").manifest == ("web", "bazaar", "http")
    assert read("web:80").manifest == ("web", "shop", "80")
    assert read("web-0.web.bazaar.svc:http").manifest is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("web", "has no port"),
        (":http", "has no port"),
        ("web:", "neither a port's name"),
        ("web:http/", "neither a port's name"),
        ("web:http/sctp", "neither a port's name"),
        ("web:a-name-too-long-for-it", "neither a port's name"),
        ("web:80x-", "neither a port's name"),
        ("web:0", "from 1 to 65535"),
        ("web:65536", "from 1 to 65535"),
        ("web:080", "without zeros in front"),
        ("web:" + "9" * 5000, "from 1 to 65535"),
        ("example.org.uk:80", "dns:///NAME:NUMBER"),
        ("a.b.c.d.svc.cluster.local:80", "is not below svc.cluster.local"),
        ("web.bazaar.svc.other.domain:80", "dns:///NAME:NUMBER"),
        ("-web:80", "no name of a Service"),
        ("we_b:80", "no name of a Service"),
        ("web..bazaar:80", "no name of a Service"),
        ("10.0.0.1:80", "static://"),
        ("[fd00::1]:80", "static://"),
        ("\u212aafka:80", "characters that no name in a cluster has"),
        ("wëb:80", "characters that no name in a cluster has"),
        ("http://web:80", "no such scheme as http://"),
        ("dns://10.0.0.10/web:80", "a server in dns:// is not supported"),
        ("dns:///web", "has no port number"),
        ("dns:///web:http", "has no port number"),
        ("dns:///10.0.0.1:80", "static://"),
        ("srv://web.example.org", "write srv://_port._proto.NAME"),
        ("srv://_http._tcp", "write srv://_port._proto.NAME"),
        ("static://", "none of ADDRESS:PORT"),
        ("static://web:80", "none of ADDRESS:PORT"),
        ("static://fd00::1:80", "none of ADDRESS:PORT"),
        ("static://10.0.0.1:80*70000", "none of ADDRESS:PORT"),
        ("static://10.0.0.1:80*-1", "none of ADDRESS:PORT"),
        ("static://10.0.0.1:80,10.0.0.1:80", "lists an endpoint twice"),
        ("static://[::1]:80,[0:0::1]:80", "lists an endpoint twice"),
    ],
)
def test_anything_else_is_an_error_that_says_what_to_write(text: str, said: str) -> None:
    with pytest.raises(TargetError, match=re.escape(said)):
        read(text)


def test_without_a_place_the_error_says_what_would_tell_it() -> None:
    with pytest.raises(TargetError, match="leaves the namespace out"):
        read("web:80", Place(None, "cluster.local"))
    with pytest.raises(TargetError, match="needs the cluster's domain"):
        read("web.bazaar:80", Place("shop", None))


def test_lengths_have_bounds() -> None:
    with pytest.raises(TargetError, match="longer than 253"):
        read("dns:///" + "a." * 130 + "org:80")
    with pytest.raises(TargetError, match="lists more than 1000"):
        read("static://" + ",".join(["10.0.0.1:80"] * (STATIC_MOST + 1)))


LABELS = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,10}[a-z0-9])?", fullmatch=True)


@given(st.text(max_size=60) | st.from_regex(r"[a-z.:/_*\[\]0-9-]{0,60}", fullmatch=True))
def test_whatever_is_read_is_absolute_or_a_target_error(text: str) -> None:
    try:
        target = read(text)
    except TargetError:
        return
    assert target.endpoints or (target.name.endswith(".") and target.name == target.name.lower())
    assert len(target.name) <= NAME_CHARACTERS_MOST + 1
    assert target.is_srv or target.endpoints or 0 < target.port < 65536


@given(service=LABELS, namespace=LABELS, port=st.integers(1, 65535))
def test_all_spellings_of_a_service_are_the_same_name(service: str, namespace: str, port: int) -> None:
    place = Place(namespace, "cluster.local")
    hosts = [
        service,
        f"{service}.{namespace}",
        f"{service}.{namespace}.svc",
        f"{service}.{namespace}.svc.cluster.local",
    ]
    names = {read(f"{host}{dot}:{port}", place).name for host in hosts for dot in ("", ".")}
    assert names == {f"{service}.{namespace}.svc.cluster.local."}


@given(st.lists(st.tuples(st.ip_addresses(), st.integers(1, 65535)), min_size=1, max_size=8, unique=True))
def test_endpoints_are_written_as_they_are_read(places: list[tuple[object, int]]) -> None:
    endpoints = [Endpoint(str(address), port) for address, port in places]
    target = read("static://" + ",".join(map(str, endpoints)))
    again = read("static://" + ",".join(map(str, target.endpoints)))
    assert again.endpoints == target.endpoints
    assert [endpoint.port for endpoint in target.endpoints] == [port for _, port in places]
