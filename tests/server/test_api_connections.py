"""Streams over real connections: TLS and whom it believes, credentials that change, proxies, failing networks."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from kdns.kube.request import Fault
from kdns.server.apiclient import ApiAccess, ApiClient, Limits, connect_to
from tests.server.scripted import OK, answer_ok, anybody, ask
from tests.server.serving import free_port
from tests.support.arrivals import get, streaming
from tests.support.kubeconfigs import inline, kubeconfig, plugin, runs
from tests.support.peerserver import PATIENCE, Authority, Peer, Talk

UNAUTHORIZED = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 6\r\n\r\nStatus"
SECRET = "s3cr3t-t0ken"


def _client(
    directory: Path, peer: Peer, cluster: dict[str, Any], user: dict[str, Any], limits: Limits | None = None
) -> ApiClient:
    """A client that is told by a kubeconfig to ask the peer."""
    server = {"server": f"https://127.0.0.1:{peer.port}"} | cluster
    return connect_to(ApiAccess(kubeconfig(directory, server, user)), limits or Limits())


def _trusting(authority: Authority) -> dict[str, Any]:
    return {"certificate-authority-data": inline(authority.pem)}


# Whom to believe


def test_a_server_with_a_certificate_of_the_given_ca_is_asked(tmp_path: Path, authority: Authority) -> None:
    with Peer(answer_ok, authority.server("127.0.0.1")) as peer:
        answer = ask(_client(tmp_path, peer, _trusting(authority), {"token": SECRET}), ("limit", "1"))
        assert (answer.status, answer.body, answer.failure) == (200, b"ok", None)
        assert peer.asked[0].line == "GET /api/v1/services?limit=1 HTTP/1.1"
        assert peer.asked[0].headers["authorization"] == f"Bearer {SECRET}"
        assert "accept-encoding" not in peer.asked[0].headers


def test_the_identity_of_a_cluster_is_asked_for_like_anything_else(tmp_path: Path, authority: Authority) -> None:
    with (
        Peer(answer_ok, authority.server("127.0.0.1")) as peer,
        streaming(_client(tmp_path, peer, _trusting(authority), {"token": SECRET})) as (streams, heard),
    ):
        query = (("fieldSelector", "metadata.name=kube-system"), ("limit", "1"))
        streams.open(99, get("/api/v1/namespaces", *query))
        assert heard.answer(99).body == b"ok"
        assert "/api/v1/namespaces?fieldSelector=metadata.name%3Dkube-system&limit=1" in peer.asked[0].line


def test_a_server_of_another_ca_is_sent_nothing(tmp_path: Path, authority: Authority) -> None:
    with Peer(answer_ok, Authority().server("127.0.0.1")) as peer:
        answer = ask(_client(tmp_path, peer, _trusting(authority), {"token": SECRET}))
        assert answer.fault is Fault.TLS
        assert answer.text.startswith(f"https://127.0.0.1:{peer.port}: TLS: ")
        assert f"its certificate is not signed by {tmp_path}/config:17: give the CA" in answer.text
        assert peer.asked == []


def test_without_a_ca_the_systems_are_believed_and_nobody_else(authority: Authority) -> None:
    with Peer(answer_ok, authority.server("127.0.0.1")) as peer:
        answer = ask(connect_to(ApiAccess(endpoint=f"https://127.0.0.1:{peer.port}")))
        assert answer.fault is Fault.TLS
        assert "is not signed by the system's certificates" in answer.text


def test_a_server_of_another_name_is_sent_nothing(tmp_path: Path, authority: Authority) -> None:
    with Peer(answer_ok, authority.server("kubernetes.default.svc", "10.96.0.1")) as peer:
        answer = ask(_client(tmp_path, peer, _trusting(authority), {"token": SECRET}))
        assert answer.fault is Fault.TLS
        assert "is for another name (IP address mismatch, certificate is not valid for '127.0.0.1')" in answer.text
        assert peer.asked == []


def test_another_name_can_be_given_for_the_server(tmp_path: Path, authority: Authority) -> None:
    with Peer(answer_ok, authority.server("kubernetes.default.svc")) as peer:
        cluster = _trusting(authority) | {"tls-server-name": "kubernetes.default.svc"}
        assert ask(_client(tmp_path, peer, cluster, {})).status == 200
        wrong = ask(_client(tmp_path, peer, cluster | {"tls-server-name": "other.svc"}, {}))
        assert "Hostname mismatch, certificate is not valid for 'other.svc'" in wrong.text


def test_an_expired_certificate_is_told_as_such(tmp_path: Path, authority: Authority) -> None:
    with Peer(answer_ok, authority.server("127.0.0.1", until=datetime.now(UTC) - timedelta(days=1))) as peer:
        answer = ask(_client(tmp_path, peer, _trusting(authority), {"token": SECRET}))
        assert (answer.fault, peer.asked) == (Fault.TLS, [])
        assert "its certificate has expired" in answer.text


def test_an_intermediate_ca_is_enough(tmp_path: Path, authority: Authority) -> None:
    intermediate = Authority(authority.ca.create_child_ca())
    with Peer(answer_ok, intermediate.server("127.0.0.1")) as peer:
        assert ask(_client(tmp_path, peer, _trusting(intermediate), {})).status == 200


def test_what_speaks_no_tls_is_told_as_such(tmp_path: Path, authority: Authority) -> None:
    def script(talk: Talk) -> None:
        talk.sock.recv(65536)
        talk.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        talk.wait_for_end()

    with Peer(script) as peer:
        answer = ask(anybody(tmp_path, peer, authority))
        assert answer.fault is Fault.TLS
        assert "does not speak TLS: is the URL to begin with http://?" in answer.text


# Who we are


def test_a_client_certificate_is_shown(tmp_path: Path, authority: Authority) -> None:
    certificate, key = authority.client()
    with Peer(answer_ok, authority.server("127.0.0.1", clients=authority)) as peer:
        user = {"client-certificate-data": inline(certificate), "client-key-data": inline(key)}
        assert ask(_client(tmp_path, peer, _trusting(authority), user)).status == 200
        names = {name: str(tmp_path / name) for name in ("certificate", "key", "ca")}
        for name, pem in (("certificate", certificate), ("key", key), ("ca", authority.pem)):
            Path(names[name]).write_text(pem)
        access = ApiAccess(endpoint=f"https://127.0.0.1:{peer.port}", **names)
        assert ask(connect_to(access)).status == 200


def test_a_client_certificate_that_is_missing_or_not_accepted_is_told(tmp_path: Path, authority: Authority) -> None:
    certificate, key = Authority().client()
    with Peer(answer_ok, authority.server("127.0.0.1", clients=authority)) as peer:
        missing = ask(anybody(tmp_path, peer, authority))
        user = {"client-certificate-data": inline(certificate), "client-key-data": inline(key)}
        foreign = ask(_client(tmp_path, peer, _trusting(authority), user))
        # In TLS 1.3 a server refuses after the handshake; its reset may overtake its words.
        assert {missing.fault, foreign.fault} <= {Fault.TLS, Fault.BROKEN}
        if missing.fault is Fault.TLS:
            assert "wants a client certificate, and we have no client certificate" in missing.text
        if foreign.fault is Fault.TLS:
            assert f"does not accept our client certificate ({tmp_path}/config:2" in foreign.text


def test_a_service_accounts_token_is_read_anew_for_each_connection(tmp_path: Path, authority: Authority) -> None:
    (tmp_path / "ca.crt").write_text(authority.pem)
    token = tmp_path / "token"
    with Peer(answer_ok, authority.server("127.0.0.1")) as peer:
        environment = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(peer.port)}
        client = connect_to(ApiAccess(), environment=environment, service_account=str(tmp_path))
        with streaming(client) as (streams, heard):
            for text in ("one", "two"):
                token.write_text(text)
                streams.open(1, get("/x"))
                assert heard.answer(1).status == 200
            token.unlink()
            streams.open(1, get("/x"))
            answer = heard.answer(1)
            assert (answer.fault, answer.text) == (
                Fault.CREDENTIALS,
                f"{token}: cannot be read: No such file or directory",
            )
            token.write_text("three")
            streams.open(1, get("/x"))
            assert heard.answer(1).status == 200
        sent = [asked.headers["authorization"] for asked in peer.asked]
        assert sent == ["Bearer one", "Bearer two", "Bearer three"]


def _demanding(token: str) -> Callable[[Talk], None]:
    def script(talk: Talk) -> None:
        talk.send(OK if talk.request().headers.get("authorization") == f"Bearer {token}" else UNAUTHORIZED)

    return script


def test_a_401_is_tried_once_more_with_a_token_that_is_read_again(tmp_path: Path, authority: Authority) -> None:
    (tmp_path / "ca.crt").write_text(authority.pem)
    token = tmp_path / "token"
    token.write_text("old")

    def script(talk: Talk) -> None:
        asked = talk.request()
        token.write_text("new")  # rotated while it was on its way
        talk.send(OK if asked.headers["authorization"] == "Bearer new" else UNAUTHORIZED)

    with Peer(script, authority.server("127.0.0.1")) as peer:
        environment = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(peer.port)}
        answer = ask(connect_to(ApiAccess(), environment=environment, service_account=str(tmp_path)))
        assert (answer.status, answer.body) == (200, b"ok")
        assert [asked.headers["authorization"] for asked in peer.asked] == ["Bearer old", "Bearer new"]


def test_a_401_is_passed_on_after_one_more_attempt(tmp_path: Path, authority: Authority) -> None:
    user = plugin(tmp_path, "give(token=f'token-{runs}')")
    with Peer(_demanding("other"), authority.server("127.0.0.1")) as peer:
        answer = ask(_client(tmp_path, peer, _trusting(authority), user))
        assert (answer.status, answer.body, answer.failure) == (401, b"Status", None)
        assert [asked.headers["authorization"] for asked in peer.asked] == ["Bearer token-1", "Bearer token-2"]


def test_a_401_is_passed_on_at_once_where_credentials_stay_the_same(tmp_path: Path, authority: Authority) -> None:
    again = "give(token='same', expirationTimestamp=f'2099-01-01T00:00:0{runs}Z')"
    with Peer(_demanding("other"), authority.server("127.0.0.1")) as peer:
        for requests, user in enumerate(({"token": SECRET}, plugin(tmp_path, again)), start=1):
            answer = ask(_client(tmp_path, peer, _trusting(authority), user))
            assert (answer.status, answer.body, answer.failure) == (401, b"Status", None)
            assert len(peer.asked) == requests
    assert runs(tmp_path) == 2


def test_a_401_makes_a_plugin_run_again_once(tmp_path: Path, authority: Authority) -> None:
    user = plugin(tmp_path, "give(token=f'token-{runs}')")
    with (
        Peer(_demanding("token-2"), authority.server("127.0.0.1")) as peer,
        streaming(_client(tmp_path, peer, _trusting(authority), user)) as (streams, heard),
    ):
        for owner in range(4):
            streams.open(owner, get("/x"))
        assert [heard.answer(owner).status for owner in range(4)] == [200] * 4
        assert runs(tmp_path) == 2
        streams.open(1, get("/x"))
        assert heard.answer(1).status == 200
        assert runs(tmp_path) == 2


def test_a_plugin_that_fails_after_a_401_is_told(tmp_path: Path, authority: Authority) -> None:
    body = "give(token='old') if runs == 1 else sys.exit('your session has expired: log in')"
    with Peer(_demanding("new"), authority.server("127.0.0.1")) as peer:
        answer = ask(_client(tmp_path, peer, _trusting(authority), plugin(tmp_path, body)))
        assert (answer.status, answer.fault) == (None, Fault.CREDENTIALS)
        assert "your session has expired: log in" in answer.text
        assert len(peer.asked) == 1


def test_a_plugin_that_hangs_is_a_failure_of_credentials(tmp_path: Path, authority: Authority) -> None:
    with Peer(answer_ok, authority.server("127.0.0.1")) as peer:
        user = plugin(tmp_path, "import signal; signal.pause()")
        answer = ask(_client(tmp_path, peer, _trusting(authority), user, Limits(load=1.0)))
        assert answer.fault is Fault.CREDENTIALS
        assert "no credentials within 1 s" in answer.text


def test_an_edited_kubeconfig_is_used_after_a_401(tmp_path: Path, authority: Authority) -> None:
    with Peer(_demanding("new"), authority.server("127.0.0.1")) as peer:
        client = _client(tmp_path, peer, _trusting(authority), {"token": "old"})
        assert ask(client).status == 401
        server = {"server": f"https://127.0.0.1:{peer.port}"} | _trusting(authority)
        kubeconfig(tmp_path, server, {"token": "new"})
        assert ask(client).status == 200


def test_a_new_ca_in_a_file_is_believed_from_the_next_connection_on(tmp_path: Path, authority: Authority) -> None:
    other = Authority()
    (tmp_path / "ca.crt").write_text(other.pem)
    with Peer(answer_ok, authority.server("127.0.0.1")) as peer:
        client = _client(tmp_path, peer, {"certificate-authority": "ca.crt"}, {})
        assert ask(client).fault is Fault.TLS
        (tmp_path / "ca.crt").write_text(other.pem + authority.pem)
        assert ask(client).status == 200


def test_over_http_no_token_is_sent(tmp_path: Path) -> None:
    with Peer(answer_ok) as peer:
        path = kubeconfig(tmp_path, {"server": f"http://127.0.0.1:{peer.port}"}, {"token": SECRET})
        assert ask(connect_to(ApiAccess(path))).status == 200
        assert "authorization" not in peer.asked[0].headers


def test_a_redirect_is_not_followed(tmp_path: Path, authority: Authority) -> None:
    with Peer(answer_ok) as elsewhere:

        def script(talk: Talk) -> None:
            talk.request()
            talk.send(b"HTTP/1.1 307 Moved\r\nLocation: http://127.0.0.1:%d/\r\n\r\n" % elsewhere.port)

        with Peer(script) as peer:
            answer = ask(connect_to(ApiAccess(endpoint=f"http://127.0.0.1:{peer.port}")))
            assert (answer.status, answer.headers["location"]) == (307, f"http://127.0.0.1:{elsewhere.port}/")
        assert elsewhere.asked == []


# Proxies


def _connecting(talk: Talk) -> None:
    """A proxy that connects through."""
    host, _, port = talk.request().line.split()[1].rpartition(":")
    with socket.create_connection((host, int(port))) as other:
        talk.send(b"HTTP/1.1 200 Connection established\r\nProxy-Agent: test\r\n\r\n")
        poll = select.poll()
        ends = {talk.sock.fileno(): (talk.sock, other), other.fileno(): (other, talk.sock)}
        for fd in ends:
            poll.register(fd, select.POLLIN)
        while True:
            for fd, _ in poll.poll(PATIENCE * 1000):
                data = ends[fd][0].recv(65536)
                if not data:
                    return
                ends[fd][1].sendall(data)


def test_a_proxy_connects_us_without_seeing_what_we_say(tmp_path: Path, authority: Authority) -> None:
    with Peer(answer_ok, authority.server("127.0.0.1")) as peer, Peer(_connecting) as proxy:
        cluster = _trusting(authority) | {"proxy-url": f"http://me:p%40ss@127.0.0.1:{proxy.port}"}
        assert ask(_client(tmp_path, peer, cluster, {"token": SECRET})).status == 200
        asked = proxy.asked[0]
        assert asked.line == f"CONNECT 127.0.0.1:{peer.port} HTTP/1.1"
        assert asked.headers["proxy-authorization"] == "Basic bWU6cEBzcw=="
        assert "authorization" not in asked.headers
        assert peer.asked[0].headers["authorization"] == f"Bearer {SECRET}"
        assert "proxy-authorization" not in peer.asked[0].headers


PROXY_TROUBLE = [
    (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", Fault.UNREACHABLE, "it answers 407 Proxy Authentication"),
    (b"HTTP/1.1 503 No\r\n\r\n", Fault.UNREACHABLE, "it answers 503 No"),
    (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", Fault.MALFORMED, "not the beginning of an HTTP/1.1 response"),
    (b"HTTP/1.1 200 OK\r\n", Fault.MALFORMED, "no HTTP answer to CONNECT"),
    (b"HTTP/1.1 200 OK\r\n\r\nmore", Fault.MALFORMED, "more than an answer to CONNECT"),
]


@pytest.mark.parametrize(("sent", "fault", "told"), PROXY_TROUBLE, ids=[told for _, _, told in PROXY_TROUBLE])
def test_trouble_with_a_proxy_names_the_proxy(
    tmp_path: Path, authority: Authority, sent: bytes, fault: Fault, told: str
) -> None:
    def script(talk: Talk) -> None:
        talk.request()
        talk.send(sent)

    with Peer(answer_ok, authority.server("127.0.0.1")) as peer, Peer(script) as proxy:
        cluster = _trusting(authority) | {"proxy-url": f"http://me:hunter2@127.0.0.1:{proxy.port}"}
        answer = ask(_client(tmp_path, peer, cluster, {"token": SECRET}))
        assert answer.fault is fault
        place = f"the proxy http://127.0.0.1:{proxy.port}, to reach https://127.0.0.1:{peer.port}: "
        assert answer.text.startswith(place + told)
        assert "hunter2" not in answer.text
        assert peer.asked == []


def test_a_proxy_that_is_not_there_is_refused_by_its_own_name(tmp_path: Path, authority: Authority) -> None:
    with Peer(answer_ok, authority.server("127.0.0.1")) as peer:
        cluster = _trusting(authority) | {"proxy-url": f"http://127.0.0.1:{free_port()}"}
        answer = ask(_client(tmp_path, peer, cluster, {}))
        assert answer.fault is Fault.REFUSED
        assert answer.text.startswith("the proxy http://127.0.0.1:")
