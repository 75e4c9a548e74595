"""`rewrite`, `template` and `autopath` through all of kdns: workers, the forwarder, and a scripted upstream."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import dns.message
import dns.rcode
import dns.rdataclass
import dns.rrset
import pytest

from tests.server.serving import Server, free_port, service
from tests.support.upstreamserver import Asked, ScriptedUpstream

COREFILE = """
.:{port} {{
    bind 127.0.0.1
    errors
    rewrite continue ttl suffix .legacy.test. 7
    rewrite name suffix .legacy.test. .shop.svc.cluster.local. answer auto
    rewrite {{
        name regex (.*)-(us-west-1)\\.corp {{1}}.{{2}}.example.org
        answer name (.*)\\.(us-west-1)\\.example\\.org {{1}}-{{2}}.corp
    }}
    rewrite class CH IN
    template IN A ip.test {{
        match "^ip-(?P<a>[0-9]+)-(?P<b>[0-9]+)-(?P<c>[0-9]+)-(?P<d>[0-9]+)[.]ip[.]test[.]$"
        answer "{{{{ .Name }}}} 60 IN A {{{{ .Group.a }}}}.{{{{ .Group.b }}}}.{{{{ .Group.c }}}}.{{{{ .Group.d }}}}"
        fallthrough
    }}
    template IN A who.test {{
        answer "{{{{ .Name }}}} 60 IN A {{{{ .Remote }}}}"
    }}
    template ANY ANY blocked.test {{
        rcode NXDOMAIN
        ederror 15 "blocked by policy"
    }}
    autopath @kubernetes
    kubernetes cluster.local in-addr.arpa {{
        manifests {manifests}
    }}
    forward . 127.0.0.1:{upstream}
    cache 30
}}
"""
POD = "default.svc.cluster.local"
KNOWN = {"www.example.org", "ftp.us-west-1.example.org"}


def script(asked: Asked) -> bytes:
    """www.example.org and another one have an address, and nothing else exists."""
    return asked.answer("192.0.2.80") if asked.name.lower() in KNOWN else denied(asked)


def denied(asked: Asked) -> bytes:
    """NXDOMAIN with a SOA, which caches believe for a minute."""
    reply = dns.message.make_response(asked.message)
    reply.set_rcode(dns.rcode.NXDOMAIN)
    reply.authority.append(dns.rrset.from_text("org.", 60, "IN", "SOA", "a. b. 1 2 3 4 60"))
    return reply.to_wire()


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream(script) as one:
        yield one


@pytest.fixture(scope="module")
def server(upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory, port = tmp_path_factory.mktemp("names"), free_port()
    manifests: Path = directory / "shop.yaml"
    manifests.write_text(
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: default}\n" + service("web", "10.0.0.1"))
    (directory / "Corefile").write_text(COREFILE.format(port=port, manifests=manifests, upstream=upstream.port))
    one = Server(("serve", "-conf", directory / "Corefile", "--workers", 1), directory, port)
    one.wait_for(r"\] ready: ")
    yield one
    one.kill()


def names_asked(upstream: ScriptedUpstream, since: int) -> list[str]:
    return [asked.name.lower() for asked in upstream.asked[since:]]


@pytest.mark.parametrize("tcp", [False, True])
def test_a_rewritten_name_of_the_cluster_is_answered_under_the_asked_one(server: Server, tcp: bool) -> None:
    for _ in range(2):
        reply = server.ask("WeB.legacy.TEST", tcp=tcp)
        assert [rrset.to_text() for rrset in reply.answer] == ["WeB.legacy.TEST. 7 IN A 10.0.0.1"]
        assert reply.question[0].name.to_text() == "WeB.legacy.TEST."
        assert server.ask("nope.legacy.test", tcp=tcp).rcode() == dns.rcode.NXDOMAIN


def test_a_rewritten_name_outside_is_asked_once_and_answered_under_the_asked_one(
    server: Server, upstream: ScriptedUpstream
) -> None:
    since = len(upstream.asked)
    for _ in range(3):
        [rrset] = server.ask("ftp-us-west-1.corp").answer
        assert rrset.name.to_text() == "ftp-us-west-1.corp."
        assert [rdata.to_text() for rdata in rrset] == ["192.0.2.80"]
    assert names_asked(upstream, since) == ["ftp.us-west-1.example.org"]


def test_a_class_is_rewritten(server: Server) -> None:
    query = dns.message.make_query("web.shop.svc.cluster.local", "A", rdclass="CH")
    reply = dns.query.udp(query, server.address, port=server.port, timeout=5, ignore_trailing=True)
    assert reply.question[0].rdclass == dns.rdataclass.CH
    assert [rrset.rdclass for rrset in reply.answer] == [dns.rdataclass.IN]


def test_templates_answer(server: Server) -> None:
    assert server.addresses("ip-10-1-2-3.ip.test") == ["10.1.2.3"]
    query = dns.message.make_query("x.blocked.test", "MX", use_edns=True)
    reply = dns.query.udp(query, server.address, port=server.port, timeout=5)
    assert reply.rcode() == dns.rcode.NXDOMAIN
    assert [(int(option.code), option.text) for option in reply.options] == [(15, "blocked by policy")]


@pytest.mark.parametrize("send", [dns.query.udp, dns.query.tcp])
def test_a_template_tells_each_client_its_own_address(
    server: Server, send: Callable[..., dns.message.Message]
) -> None:
    for source in ("127.0.0.1", "127.0.0.2", "127.0.0.1"):
        query = dns.message.make_query("a.who.test", "A")
        [rrset] = send(query, server.address, port=server.port, timeout=5, source=source).answer
        assert rrset.to_text() == f"a.who.test. 60 IN A {source}"


def test_autopath_answers_an_external_name_in_one_round_trip(server: Server, upstream: ScriptedUpstream) -> None:
    since = len(upstream.asked)
    for tcp in (False, True):
        reply = server.ask(f"www.example.org.{POD}", tcp=tcp)
        assert [rrset.to_text() for rrset in reply.answer] == [
            f"www.example.org.{POD}. 5 IN CNAME www.example.org.", reply.answer[1].to_text()]
        assert reply.answer[1].to_text().endswith(" IN A 192.0.2.80")
    assert names_asked(upstream, since) in ([], ["www.example.org"])  # asked by another test, it may be kept


def test_a_name_that_does_not_exist_costs_one_query_outside_whatever_the_client_goes_on_asking(
    server: Server, upstream: ScriptedUpstream
) -> None:
    since = len(upstream.asked)
    for suffix in (f".{POD}", ".svc.cluster.local", ".cluster.local", ""):
        for _ in range(2):
            assert server.ask(f"no.such.name{suffix}").rcode() == dns.rcode.NXDOMAIN
    outside = [name for name in names_asked(upstream, since) if not name.endswith("cluster.local")]
    assert outside == ["no.such.name"]
    first = server.ask(f"no.such.name.{POD}")
    assert [rrset.name.to_text() for rrset in first.authority] == ["cluster.local."]


def test_a_name_that_exists_in_the_cluster_is_answered_by_it(server: Server, upstream: ScriptedUpstream) -> None:
    since = len(upstream.asked)
    assert server.addresses("web.shop.svc.cluster.local") == ["10.0.0.1"]
    assert server.addresses(f"web.shop.{POD}") == ["10.0.0.1"]
    assert server.ask(f"web.{POD}").rcode() == dns.rcode.NXDOMAIN
    assert names_asked(upstream, since) == []
