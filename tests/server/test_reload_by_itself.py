"""`reload`: a changed configuration is served without an order, no query is lost, and a bad one changes nothing."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

from tests.server.asker import Asker
from tests.server.conftest import Serve
from tests.server.hasty import HASTY
from tests.server.probing import get, http_port, wait_for_metric
from tests.server.serving import Server, free_port, replace, zone

QNAME = "www.example.org"


class Mount:
    """A ConfigMap as a kubelet mounts it: `name -> ..data/name`, `..data -> ..version`, swapped by one rename."""

    def __init__(self, directory: Path) -> None:
        self.path = directory
        self.path.mkdir()
        self._version = 0

    def write(self, **files: str) -> None:
        self._version += 1
        data = self.path / f"..version_{self._version}"
        data.mkdir()
        for name, text in files.items():
            (data / name.replace("_", ".")).write_text(text)
            link = self.path / name.replace("_", ".")
            if not link.is_symlink():
                link.symlink_to(f"..data/{link.name}")
        aside = self.path / "..data_tmp"
        aside.symlink_to(data.name)
        aside.rename(self.path / "..data")


class Site:
    """A Corefile that imports, with zone files beside it."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.mount = Mount(directory / "etc")
        for at in (1, 2, 3):
            (directory / f"{at}.zone").write_text(zone(1, f"www A 192.0.2.{at}"))
        self.directory = directory

    def text(self, *directives: str) -> str:
        lines = "\n    ".join(("bind 127.0.0.1", "prometheus 127.0.0.1:0", *directives))
        return f".:{self.port} {{\n    {lines}\n}}\n"

    def file(self, number: int) -> str:
        return f"file {self.directory / f'{number}.zone'} example.org"

    def serve(self, serve: Serve) -> Server:
        return serve("-conf", self.mount.path / "Corefile", listen=False, port=self.port, prefix=HASTY)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path)
    site.mount.write(Corefile=site.text(site.file(1)))
    return site


def test_a_swapped_config_map_is_served_and_no_query_is_lost(serve: Serve, site: Site) -> None:
    server = site.serve(serve)
    asker = Asker(server, QNAME)
    asker.start()
    for number in (2, 3, 1):
        mark = server.mark()
        site.mount.write(Corefile=site.text(site.file(number)))
        server.wait_for("the configuration has changed: reloading", after=mark)
        server.wait_for("reloaded", after=mark)
        assert server.addresses_everywhere(QNAME, clients=4) == {(f"192.0.2.{number}",)}
    asker.is_enough.set()
    asker.join(20)
    assert asker.asked > 20
    assert asker.answered == asker.asked
    assert server.stop() == 0


def test_a_changed_import_and_a_new_one_are_served_and_no_query_is_lost(serve: Serve, site: Site) -> None:
    site.mount.write(Corefile=site.text("import *.override"), a_override=f"{site.file(1)}\n")
    server = site.serve(serve)
    asker = Asker(server, QNAME)
    asker.start()
    mark = server.mark()
    site.mount.write(Corefile=site.text("import *.override"), a_override=f"{site.file(2)}\n")
    server.wait_for("reloaded", after=mark)
    assert server.addresses(QNAME) == ["192.0.2.2"]
    mark = server.mark()
    replace(site.mount.path / "b.override", f"file {site.directory / '3.zone'} example.net\n")
    server.wait_for("reloaded", after=mark)
    assert server.addresses("www.example.net") == ["192.0.2.3"]
    assert server.addresses(QNAME) == ["192.0.2.2"]
    asker.is_enough.set()
    asker.join(20)
    assert asker.answered == asker.asked > 20


def test_a_broken_corefile_is_told_once_and_mended_without_an_order(serve: Serve, site: Site) -> None:
    server = site.serve(serve)
    port = http_port(server, "/metrics")
    children, before = server.children(), _version(port)
    mark = server.mark()
    site.mount.write(Corefile=site.text(site.file(2), "nonsense"))
    line = server.wait_for("reload failed, the old configuration stays", after=mark)
    assert "Corefile:5:5: " in line
    assert server.children() == children
    assert server.addresses(QNAME) == ["192.0.2.1"]
    wait_for_metric(port, "coredns_reload_failed_total", 1)
    assert _version(port) == before
    server.send(signal.SIGHUP)  # is answered, whatever was told before
    wait_for_metric(port, "coredns_reload_failed_total", 2)
    mark = server.mark()
    site.mount.write(Corefile=site.text(site.file(2)))
    server.wait_for("reloaded", after=mark)
    assert server.addresses(QNAME) == ["192.0.2.2"]
    assert server.log.count("reload failed") == 2
    assert _version(http_port(server, "/metrics")) != before


def test_a_corefile_that_says_the_same_is_not_reloaded(serve: Serve, site: Site) -> None:
    server = site.serve(serve)
    children = server.children()
    site.mount.write(Corefile="# nothing new\n" + site.text(site.file(1)))
    mark = server.mark()
    # What is looked at after it is a change, so that it must have been looked at by then.
    site.mount.write(Corefile="# nothing new\n" + site.text(site.file(1), "nonsense"))
    server.wait_for("reload failed, the old configuration stays", after=mark)
    assert server.children() == children
    assert "reloading" not in server.log


def test_data_that_cannot_be_read_is_tried_once_for_each_content(serve: Serve, site: Site) -> None:
    server = site.serve(serve)
    mark = server.mark()
    site.mount.write(Corefile=site.text("file missing.zone example.org"))
    server.wait_for("reload failed, the old configuration stays: the data cannot be served", after=mark)
    mark = server.mark()
    site.mount.write(Corefile=site.text(site.file(3)))
    server.wait_for("reloaded", after=mark)
    assert server.addresses(QNAME) == ["192.0.2.3"]
    assert server.log.count("the configuration has changed") == 2


def _version(port: int) -> str:
    page = get(port, "/metrics")[1]
    found = re.search(r'coredns_reload_version_info\{hash="sha512",value="([0-9a-f]{128})"\} 1\.0\n', page)
    assert found
    return found[1]
