"""Aliases into other server blocks, through all of kdns: workers, the forwarder and a scripted upstream."""

from __future__ import annotations

from collections.abc import Iterator

import dns.rcode
import pytest

from tests.server.serving import Server, free_port
from tests.support.upstreamserver import ScriptedUpstream

CLUSTER = "\n---\n".join((
    "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, uid: n1}",
    *(f"""apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: shop, uid: u-{name}}}
spec: {{type: ExternalName, externalName: {target}}}""" for name, target in (
        ("hosts", "db.corp.test"), ("gone", "nope.corp.test"), ("template", "web.tpl.test"), ("old", "rw.old.test"),
        ("leak", "www.secret.test"),
    )),
))  # fmt: skip
COREFILE = """
.:{port} {{
    bind 127.0.0.1
    acl secret.test {{
        block
    }}
    autopath @kubernetes
    template IN A tpl.test {{
        answer "{{{{ .Name }}}} 60 IN A 192.0.2.44"
    }}
    rewrite name exact rw.old.test out.example.test
    kubernetes cluster.local {{
        manifests cluster.yaml
    }}
    forward . 127.0.0.1:{upstream}
}}
corp.test:{port} {{
    bind 127.0.0.1
    hosts {{
        192.0.2.66 db.corp.test
    }}
}}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory, port = tmp_path_factory.mktemp("aliases"), free_port()
    (directory / "cluster.yaml").write_text(CLUSTER)
    with ScriptedUpstream(lambda asked: asked.answer("192.0.2.5")) as upstream:
        (directory / "Corefile").write_text(COREFILE.format(port=port, upstream=upstream.port))
        one = Server(("serve", "-conf", directory / "Corefile", "--workers", 1), directory, port)
        try:
            one.wait_for(r"\] ready: ")
            yield one
            assert one.stop() == 0
            assert "kdns bug" not in one.log
            assert not any("secret" in asked.name.lower() or "old" in asked.name.lower() for asked in upstream.asked)
        finally:
            one.kill()


@pytest.mark.parametrize(("name", "address"), [
    ("hosts", "192.0.2.66"), ("template", "192.0.2.44"), ("old", "192.0.2.5"),
])
def test_the_address_of_the_target_comes_with_the_alias(server: Server, name: str, address: str) -> None:
    reply = server.ask(f"{name}.shop.svc.cluster.local")
    assert [rrset.rdtype.name for rrset in reply.answer] == ["CNAME", "A"]
    assert reply.answer[1].name == reply.answer[0][0].target
    assert reply.answer[1][0].address == address


def test_a_target_that_another_block_denies_does_not_exist(server: Server) -> None:
    reply = server.ask("gone.shop.svc.cluster.local")
    assert (dns.rcode.to_text(reply.rcode()), len(reply.answer)) == ("NXDOMAIN", 1)


def test_what_may_not_be_asked_for_is_told_by_no_alias_and_no_walk(server: Server) -> None:
    for qname, rcode in (("www.secret.test", "REFUSED"), ("leak.shop.svc.cluster.local", "REFUSED"),
                         ("www.secret.test.shop.svc.cluster.local", "NXDOMAIN")):
        reply = server.ask(qname)
        assert (dns.rcode.to_text(reply.rcode()), reply.answer) == (rcode, [])
