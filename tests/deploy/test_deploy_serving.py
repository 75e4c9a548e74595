"""The overlays, served: each Corefile as its ConfigMap has it, by the image, as its pod is run, on a node of our own.

The node is a network beside the pod's, with a resolver that knows a name outside and another cluster's names. The API
server is a fake one that grants what the ClusterRole grants. Not here: are the objects valid (test_deploy_manifests).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import dns.message
import dns.query
import pytest

from kdns.server.apiclient import SERVICE_ACCOUNT
from tests.deploy.test_deploy_manifests import Document, container, one, pod_spec, rendered, workloads
from tests.server.serving import PATIENCE, ROOT, Server, rest_between_looks
from tests.server.watched import DB, DB_ADDRESSES, SHOP, WEB, WEB_ADDRESS
from tests.support.fakeapi.process import FakeApiProcess
from tests.support.image import make_image
from tests.support.namespaces import THERE, connect
from tests.support.pods import PodNamespace, add_setpriv, as_pod, kdns_in_pod, require_pods

OUTSIDE, OUTSIDE_ADDRESS = "anything.apps.example.org", "192.0.2.99"
NODES_WEB_ADDRESS = "10.96.12.10"  # of the same name, by the node's resolver: zones/shop.yaml
TOKEN = "a-token-of-kdns"
LINK_LOCAL = "169.254.20.10"


@dataclass
class Node:
    """host: the pod's network. command: what a runtime puts before the arguments of a container of the image."""

    host: PodNamespace
    configuration: Path
    directory: Path
    command: list[str]

    @contextmanager
    def running(self, name: str) -> Iterator[None]:
        """The container of an overlay, with the Corefile of its ConfigMap."""
        corefile = one(rendered(name), "ConfigMap")["data"]["Corefile"]
        (self.configuration / "Corefile").write_text(corefile)
        arguments = [*container(workloads()[name])["args"], "--workers", "1"]
        server = Server(("serve", *arguments), self.directory, 53, prefix=self.command)
        try:
            server.wait_for(r"\] ready: ")
            yield
        finally:
            server.kill()

    def ask(self, qname: str, qtype: str = "A", to: str = "127.0.0.1", *, tcp: bool = False) -> list[str]:
        """What is answered in the pod's network, without TTLs."""
        query = dns.message.make_query(qname, qtype)
        with self.host.tcp() if tcp else self.host.udp() as sock:
            if tcp:
                sock.settimeout(PATIENCE)
                sock.connect((to, 53))
            reply = (dns.query.tcp if tcp else dns.query.udp)(query, to, timeout=PATIENCE, sock=sock)
        return sorted(rdata.to_text() for rrset in reply.answer for rdata in rrset)

    def get(self, port: int, path: str, to: str = "127.0.0.1") -> str:
        """The status and body of a page."""
        with self.host.tcp() as sock:
            sock.settimeout(PATIENCE)
            sock.connect((to, port))
            sock.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            with sock.makefile("rb") as stream:
                head, _, body = stream.read().decode().partition("\r\n\r\n")
        return f"{head.split()[1]} {body}"

    def wait_until_ready(self, to: str = "127.0.0.1") -> None:
        """As the kubelet does, by the port of the readiness probe."""
        while self.get(8181, "/ready", to) != "200 OK":
            rest_between_looks()


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    require_pods()
    directory = tmp_path_factory.mktemp("node")
    image = make_image(directory)
    add_setpriv(image)
    with ExitStack() as stack:
        host, outside = stack.enter_context(PodNamespace()), stack.enter_context(PodNamespace())
        connect(host, outside)
        files = ("--manifests", ROOT / "zones/shop.yaml", "--zones", ROOT / "zones/example.org.zone")
        arguments = ("serve", "--listen", f"{THERE}:53", "--workers", 1, *files)
        resolver = Server(arguments, directory, 53, prefix=outside.prefix)
        stack.callback(resolver.kill)
        api = stack.enter_context(FakeApiProcess(directory, prefix=host.prefix))
        api.control.apply(*SHOP)
        _grant(api, rendered("standalone"))
        configuration = directory / "configuration"
        configuration.mkdir(mode=0o755)
        account = _account(directory, api)
        resolv_conf = directory / "resolv.conf"
        resolv_conf.write_text(f"nameserver {THERE}\n")
        (image.root / SERVICE_ACCOUNT[1:]).mkdir(parents=True)
        (image.root / "etc/resolv.conf").touch()
        mounts = {configuration: "/etc/coredns", account: SERVICE_ACCOUNT, resolv_conf: "/etc/resolv.conf"}
        environment = {
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(api.port),
            "KUBE_DNS_UPSTREAM_SERVICE_HOST": THERE,
        }
        resolver.wait_for(r"\] ready: ")
        command = kdns_in_pod(as_pod(host, image, mounts, environment=environment), image)
        yield Node(host, configuration, directory, command)


def _grant(api: FakeApiProcess, documents: list[Document]) -> None:
    """To the token, what the ClusterRole grants."""
    api.control.set_token(TOKEN, "kdns")
    for rule in one(documents, "ClusterRole")["rules"]:
        api.control.allow("kdns", *rule["resources"], verbs=tuple(rule["verbs"]))


def _account(directory: Path, api: FakeApiProcess) -> Path:
    """What a kubelet mounts for a ServiceAccount."""
    account = directory / "account"
    account.mkdir(mode=0o755)
    (account / "token").write_text(TOKEN)
    (account / "ca.crt").write_bytes(api.ca)
    (account / "namespace").write_text("kube-system")
    return account


def test_standalone_watches_with_what_its_role_grants_and_forwards_by_the_nodes_resolv_conf(node: Node) -> None:
    found = container(workloads()["standalone"])
    ports = {port["name"]: port["containerPort"] for port in found["ports"]}
    probe = found["livenessProbe"]["httpGet"]
    with node.running("standalone"):
        node.wait_until_ready()
        assert node.ask(WEB) == node.ask(WEB, tcp=True) == [WEB_ADDRESS]
        assert node.ask(DB) == DB_ADDRESSES
        assert node.ask("20.0.96.10.in-addr.arpa", "PTR") == [f"{WEB}."]
        assert node.ask(OUTSIDE) == [OUTSIDE_ADDRESS]
        assert node.get(ports[probe["port"]], probe["path"]) == "200 OK"
        assert "\nkdns_ready 1.0\n" in node.get(ports["metrics"], "/metrics")


def test_nodelocal_listens_on_its_own_address_and_asks_the_cluster_dns_and_the_node(node: Node) -> None:
    """The init container's command makes the address that the Corefile binds."""
    (init,) = pod_spec(workloads()["nodelocal"])["initContainers"]
    # Found, as by a pod that replaces another: not every kernel that runs tests knows the type `dummy`.
    node.host.run("ip", "link", "add", "nodelocaldns", "type", "veth", "peer", "name", "other-end")
    for _ in range(2):
        node.host.run(*init["command"])
    with node.running("nodelocal"):
        node.wait_until_ready(LINK_LOCAL)
        assert node.ask(WEB, to=LINK_LOCAL) == [NODES_WEB_ADDRESS]
        assert node.ask(OUTSIDE, to=LINK_LOCAL, tcp=True) == [OUTSIDE_ADDRESS]
        assert node.get(8080, "/health", LINK_LOCAL) == "200 OK"
        with pytest.raises(OSError, match="refused"):
            node.ask(WEB, to="127.0.0.1", tcp=True)
