"""The stand: a pod, kdns with the Corefile of kubeadm, and the world outside. It is built once."""

from __future__ import annotations

import gzip
from collections.abc import Iterator

import pytest

from tests.server.serving import ROOT
from tests.support.namespaces import require_namespaces
from tests.support.outsideworld import OutsideWorld
from tests.support.podhost import PodHost
from tests.support.podresolvers import RESOLVERS
from tests.support.programs import require

DATA = ROOT / "tests" / "data" / "kubernetes" / "shop-cluster.json.gz"
KUBEADM = ROOT / "tests" / "data" / "corefiles" / "kubeadm.corefile"
# A pod's search list in the namespace shop, behind it what its node has.
SEARCH = "shop.svc.cluster.local svc.cluster.local cluster.local corp.example.org"
# Services of type ExternalName in the namespace shop, with what they lead to.
EXTERNAL_NAMES = {
    "outside": "www.example.org",
    "outside-alias": "alias.example.org",
    "outside-nowhere": "nowhere.example.org",
    "outside-failing": "www.example.net",
    "inside": "web.shop.svc.cluster.local",
    "inside-nowhere": "nowhere.shop.svc.cluster.local",
}
# A stub domain, as operators add them.
STALE_BLOCK = """
stale.example.org:53 {
    errors
    cache {
        serve_stale
    }
    forward . resolv.conf
}
"""


def corefile() -> str:
    """Kubeadm's, unchanged but for where the cluster is recorded, and whom the node asks."""
    text = KUBEADM.read_text().replace("/etc/resolv.conf", "resolv.conf")
    return text.replace("pods insecure", "pods insecure\n       manifests dump.json external.yaml") + STALE_BLOCK


@pytest.fixture(scope="session")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[PodHost, OutsideWorld]]:
    require_namespaces("nft", "nsd", "unbound")
    directory = tmp_path_factory.mktemp("pod")
    (directory / "dump.json").write_bytes(gzip.decompress(DATA.read_bytes()))
    (directory / "external.yaml").write_text("".join(map(_external_name, EXTERNAL_NAMES)))
    with PodHost(directory, SEARCH) as pod, OutsideWorld(pod.host, directory / "outside") as world:
        # One of them by IPv6.
        servers = world.resolvers[0].addresses[0], world.resolvers[1].addresses[1]
        (directory / "resolv.conf").write_text("".join(f"nameserver {server}\n" for server in servers))
        pod.serve(corefile())
        yield pod, world
        assert "Traceback" not in pod.log


@pytest.fixture(scope="session")
def pod(stand: tuple[PodHost, OutsideWorld]) -> PodHost:
    """A pod whose DNS is kdns."""
    return stand[0]


@pytest.fixture(scope="session")
def world(stand: tuple[PodHost, OutsideWorld]) -> OutsideWorld:
    """The world outside."""
    return stand[1]


@pytest.fixture
def resolver(pod: PodHost, request: pytest.FixtureRequest) -> str:
    """The name of a resolver that is installed."""
    name = str(request.param)
    if name == "musl":
        require("musl-gcc")
        pod.add_musl()
    elif RESOLVERS[name].program != "python3":
        require(RESOLVERS[name].program)
    return name


def _external_name(name: str) -> str:
    return (
        f"---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop}}\n"
        f"spec: {{type: ExternalName, externalName: {EXTERNAL_NAMES[name]}}}\n"
    )

