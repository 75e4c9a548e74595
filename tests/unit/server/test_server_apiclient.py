"""kdns.server.apiclient: which server is meant, what is refused at once, and what a request looks like."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kdns import __version__
from kdns.kube.request import Fault, Request
from kdns.server.apiclient import AccessError, ApiAccess, ApiClient, Limits, RequestFailed, connect_to
from kdns.server.credentials import Credentials
from tests.support.kubeconfigs import inline, kubeconfig, plugin, runs
from tests.support.peerserver import Authority

IN_CLUSTER = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}
REQUEST = Request(1, "/api/v1/services", (("watch", "1"), ("labelSelector", "a=b,c!=d")), 0.0)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def _service_account(directory: Path, authority: Authority, token: str = "token") -> str:
    place = directory / "serviceaccount"
    place.mkdir()
    (place / "ca.crt").write_text(authority.pem)
    (place / "token").write_text(token)
    return str(place)


def _refusal(access: ApiAccess, **around: Any) -> str:
    with pytest.raises(AccessError) as caught:
        connect_to(access, **around)
    return str(caught.value)


# In a cluster


def test_in_a_cluster_two_variables_and_the_service_account_say_all(tmp_path: Path, authority: Authority) -> None:
    place = _service_account(tmp_path, authority)
    client = connect_to(ApiAccess(), environment=IN_CLUSTER, service_account=place)
    assert client.server == "https://10.96.0.1:443"
    assert client.credentials() == Credentials("Bearer token", authority.pem)
    Path(place, "token").write_text("rotated")
    assert client.credentials().authorization == "Bearer rotated"


def test_an_ipv6_service_address_is_put_in_brackets(tmp_path: Path, authority: Authority) -> None:
    place = _service_account(tmp_path, authority)
    client = connect_to(
        ApiAccess(), environment=IN_CLUSTER | {"KUBERNETES_SERVICE_HOST": "fd00::1"}, service_account=place
    )
    assert client.server == "https://[fd00::1]:443"


def test_outside_of_a_cluster_it_says_what_to_name(tmp_path: Path) -> None:
    told = _refusal(ApiAccess(), environment={}, service_account=f"{tmp_path}/none")
    assert told.startswith("not in a cluster: KUBERNETES_SERVICE_HOST is not set")
    assert "--kubeconfig PATH" in told


def test_half_a_cluster_is_told_by_the_half_that_is_missing(tmp_path: Path, authority: Authority) -> None:
    place = _service_account(tmp_path, authority)
    told = _refusal(ApiAccess(), environment={"KUBERNETES_SERVICE_HOST": "10.96.0.1"}, service_account=place)
    assert "KUBERNETES_SERVICE_PORT are not both set" in told
    assert "not both set" in _refusal(ApiAccess(), environment={}, service_account=place)
    told = _refusal(ApiAccess(), environment=IN_CLUSTER, service_account=f"{tmp_path}/none")
    assert "automountServiceAccountToken" in told


def test_a_broken_ca_is_refused_at_once_and_a_missing_token_is_not(tmp_path: Path, authority: Authority) -> None:
    place = _service_account(tmp_path, authority)
    Path(place, "token").unlink()
    client = connect_to(ApiAccess(), environment=IN_CLUSTER, service_account=place)
    with pytest.raises(RequestFailed) as caught:
        client.credentials()
    assert caught.value.failure.fault is Fault.CREDENTIALS
    assert caught.value.failure.text == f"{place}/token: cannot be read: No such file or directory"
    Path(place, "ca.crt").write_text("words")
    assert _refusal(ApiAccess(), environment=IN_CLUSTER, service_account=place).startswith(f"{place}/ca.crt: not CA")
    Path(place, "ca.crt").unlink()
    assert f"{place}/ca.crt: cannot be read" in _refusal(ApiAccess(), environment=IN_CLUSTER, service_account=place)


# An endpoint


def test_an_endpoint_is_a_url_with_a_port_of_its_scheme() -> None:
    assert connect_to(ApiAccess(endpoint="http://10.0.0.1")).server == "http://10.0.0.1:80"
    assert connect_to(ApiAccess(endpoint="https://api.example/")).server == "https://api.example:443"
    assert connect_to(ApiAccess(endpoint="https://[fd00::1]:6443")).server == "https://[fd00::1]:6443"
    assert connect_to(ApiAccess(endpoint="https://r.example/k8s/c-1/")).server == "https://r.example:443/k8s/c-1"


NO_ENDPOINTS = [
    "10.0.0.1:8080",
    "localhost",
    "ftp://a",
    "https://",
    "https://a:port",
    "https://a:70000",
    "https://a?b=c",
    "https://a/#f",
    "https://a b",
    "https://[fd00::1",
    "https://\u00e4.example",
]


@pytest.mark.parametrize("url", NO_ENDPOINTS)
def test_what_is_no_url_is_refused(url: str) -> None:
    assert _refusal(ApiAccess(endpoint=url)).startswith(f"endpoint: `{url}`")


def test_a_password_in_a_url_is_refused_and_not_shown() -> None:
    told = _refusal(ApiAccess(endpoint="https://admin:hunter2@api.example"))
    assert "no user and no password" in told
    assert "hunter2" not in told + _refusal(ApiAccess(endpoint="https://admin:hunter2@api.example:x"))


def test_an_endpoints_certificates_are_looked_at_at_once(tmp_path: Path, authority: Authority) -> None:
    certificate, key = authority.client()
    paths = {name: str(tmp_path / name) for name in ("certificate", "key", "ca")}
    for name, pem in (("certificate", certificate), ("key", key), ("ca", authority.pem)):
        Path(paths[name]).write_text(pem)
    client = connect_to(ApiAccess(endpoint="https://a", **paths))
    assert client.credentials() == Credentials("", authority.pem, certificate, key)
    Path(paths["key"]).unlink()
    assert _refusal(ApiAccess(endpoint="https://a", **paths)) == (
        f"{paths['key']}: cannot be read: No such file or directory"
    )
    Path(paths["key"]).write_text(authority.client()[1])
    assert _refusal(ApiAccess(endpoint="https://a", **paths)).startswith(f"{paths['certificate']}: no client certif")


# A kubeconfig


def test_a_kubeconfig_says_server_and_credentials(tmp_path: Path, authority: Authority) -> None:
    cluster = {"server": "https://api.example:6443/", "certificate-authority-data": inline(authority.pem)}
    client = connect_to(ApiAccess(kubeconfig(tmp_path, cluster, {"token": "one"})))
    assert client.server == "https://api.example:6443"
    assert client.credentials() == Credentials("Bearer one", authority.pem)


def test_a_kubeconfigs_mistakes_are_told_at_once_with_their_lines(tmp_path: Path) -> None:
    def refusal(cluster: dict[str, Any], user: dict[str, Any] | None = None) -> str:
        return _refusal(ApiAccess(kubeconfig(tmp_path, cluster, user or {}))).removeprefix(f"{tmp_path}/")

    server = {"server": "https://a"}
    assert "config:16: `a:b` is not https://HOST:PORT" in refusal({"server": "a:b"})
    assert refusal(server | {"insecure-skip-tls-verify": True}).startswith("config:17: `insecure-skip-tls-verify`")
    assert refusal(server | {"certificate-authority-data": "QUFB"}).startswith("config:17: not CA certificates")
    gone = f"{tmp_path}/gone: cannot be read: No such file or directory"
    assert refusal(server | {"certificate-authority": "gone"}) == f"config:17: {gone}"
    assert refusal(server, {"client-certificate": "gone"}) == f"config:24: {gone}"
    assert refusal(server, {"client-key": "gone", "token": "one"}) == f"config:24: {gone}"
    user = {"client-certificate": "gone", "exec": {"command": "login", "apiVersion": "v1"}}
    assert refusal(server, user) == f"config:24: {gone}", "before a plugin is run"
    assert "config:24: no client certificate" in refusal(server, {"client-certificate-data": "QUFB"})
    assert "config:17: `socks5://p` is not http://" in refusal(server | {"proxy-url": "socks5://p"})
    config = f"{tmp_path}/config"
    assert _refusal(ApiAccess(config, "lab")) == f"{config}: no context `lab`; there are test"
    named = ApiAccess(config, "lab", context_place="Corefile:3:27")
    assert _refusal(named) == f"Corefile:3:27: no context `lab` in {config}; there are test"


def test_a_proxys_password_is_not_shown(tmp_path: Path) -> None:
    cluster = {"server": "https://a", "proxy-url": "https://me:hunter2@proxy.example"}
    told = _refusal(ApiAccess(kubeconfig(tmp_path, cluster, {})))
    assert "`proxy.example` is not http://" in told
    assert "hunter2" not in told


def test_an_exec_plugin_is_not_run_when_the_client_is_made(tmp_path: Path) -> None:
    client = connect_to(ApiAccess(kubeconfig(tmp_path, {"server": "https://a"}, plugin(tmp_path, "give(token='x')"))))
    assert runs(tmp_path) == 0
    assert client.credentials().authorization == "Bearer x"


def test_over_http_there_are_no_credentials(tmp_path: Path) -> None:
    user = plugin(tmp_path, "give(token='x')")
    for secret in ({"token": "one"}, user, {"username": "a", "password": "b"}):
        client = connect_to(ApiAccess(kubeconfig(tmp_path, {"server": "http://a"}, secret)))
        assert client.credentials() == Credentials()
        assert client.refreshed(Credentials()) == Credentials()
    assert runs(tmp_path) == 0


# Requests


def _octets(client: ApiClient, request: Request = REQUEST) -> str:
    return client._octets(request, Credentials("Bearer secret")).decode()


def test_a_request_names_path_query_host_and_who_we_are() -> None:
    assert _octets(connect_to(ApiAccess(endpoint="https://[fd00::1]:6443/base"))) == (
        "GET /base/api/v1/services?watch=1&labelSelector=a%3Db%2Cc%21%3Dd HTTP/1.1\r\n"
        "Host: [fd00::1]:6443\r\n"
        "Authorization: Bearer secret\r\n"
        "Accept: application/json\r\n"
        f"User-Agent: kdns/{__version__}\r\n"
        "\r\n"
    )


def test_no_request_over_http_holds_credentials() -> None:
    assert "secret" not in _octets(connect_to(ApiAccess(endpoint="http://a")))


def test_nothing_in_a_request_ends_its_line() -> None:
    request = Request(1, "/api/v1/namespaces/a\r\nX: y/pods", (("fieldSelector", "a=b\r\nX: y"),), 0.0)
    assert "\r\nX:" not in _octets(connect_to(ApiAccess(endpoint="https://a")), request)


def test_an_unexpected_exception_is_a_failure_that_says_so() -> None:
    client = connect_to(ApiAccess(endpoint="https://a"), limits=Limits(connect=1.0))
    with pytest.raises(RequestFailed) as caught, client.failing():
        raise LookupError("Bearer secret")
    text = caught.value.failure.text
    assert text.startswith("https://a:443: kdns bug: LookupError in ")
    assert "test_server_apiclient.py" in text
    assert "secret" not in text
