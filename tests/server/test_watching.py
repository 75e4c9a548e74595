"""Files that change under a running server: what becomes visible, what stays, what the log says."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from tests.server.conftest import Serve
from tests.server.serving import Server, replace, service, zone

WEB = "web.shop.svc.cluster.local"
API = "api.shop.svc.cluster.local"


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "shop.yaml"
    path.write_text(service("web", "10.0.0.1"))
    return path


@pytest.fixture
def zone_file(tmp_path: Path) -> Path:
    path = tmp_path / "example.org.zone"
    path.write_text(zone(1, "www A 192.0.2.1"))
    return path


def test_a_changed_manifest_becomes_visible_everywhere(serve: Serve, manifest: Path) -> None:
    server = serve("--manifests", manifest)
    mark = server.mark()
    replace(manifest, service("web", "10.0.0.2"))
    line = server.wait_for("visible:", after=mark)
    assert "1 services changed" in line
    assert "ms)" in line
    assert server.addresses_everywhere(WEB) == {("10.0.0.2",)}


def test_the_serial_goes_up_with_each_change_even_within_a_second(serve: Serve, manifest: Path) -> None:
    server = serve("--manifests", manifest)
    serials = [_serial(server, "cluster.local")]
    for last in range(2, 5):
        mark = server.mark()
        replace(manifest, service("web", f"10.0.0.{last}"))
        server.wait_for("visible:", after=mark)
        serials.append(_serial(server, "cluster.local"))
    assert serials == sorted(set(serials))


def test_the_serial_does_not_go_back_with_a_reload_nor_with_a_new_control(serve: Serve, manifest: Path) -> None:
    server = serve("--manifests", manifest, workers=1)
    serials = [_serial(server, "cluster.local")]
    for last in range(2, 8):  # faster than one a second: the serial is ahead of the time then
        mark = server.mark()
        replace(manifest, service("web", f"10.0.0.{last}"))
        server.wait_for("visible:", after=mark)
    serials.append(_serial(server, "cluster.local"))
    for disturb, sign in (
        (lambda: server.send(signal.SIGHUP), r"\] reloaded"),
        (lambda: os.kill(server.children()["kdns-control"], signal.SIGKILL), "current again"),
    ):
        mark = server.mark()
        disturb()
        server.wait_for(sign, after=mark)
        serials.append(_serial(server, "cluster.local"))
    assert serials == sorted(serials)
    assert serials[1] > serials[0]


def test_a_new_control_that_reads_the_same_publishes_the_same_serial(serve: Serve, manifest: Path) -> None:
    server = serve("--manifests", manifest, workers=1)
    before = _serial(server, "cluster.local")
    mark = server.mark()
    os.kill(server.children()["kdns-control"], signal.SIGKILL)
    server.wait_for("current again", after=mark)
    assert _serial(server, "cluster.local") == before


def test_an_edit_that_changes_no_answer_is_not_published(serve: Serve, manifest: Path) -> None:
    server = serve("--manifests", manifest)
    before = _serial(server, "cluster.local")
    mark = server.mark()
    replace(manifest, "# a remark\n" + service("web", "10.0.0.1"))
    server.wait_for("shop.yaml: read again: no answer changes", after=mark)
    assert _serial(server, "cluster.local") == before


def test_a_half_written_file_is_not_read_before_its_writer_pauses(serve: Serve, manifest: Path) -> None:
    server = serve("--manifests", manifest)
    text = service("web", "10.0.0.2") + service("api", "10.0.0.3")
    mark = server.mark()
    with manifest.open("w") as file:
        for at in range(0, len(text), 7):
            file.write(text[at : at + 7])
            file.flush()
            # Between two writes every worker answers from before or from the whole, never from a part.
            assert server.addresses(WEB) in (["10.0.0.1"], ["10.0.0.2"])
    server.wait_for("visible:", after=mark)
    assert server.addresses(WEB) == ["10.0.0.2"]
    assert server.addresses(API) == ["10.0.0.3"]
    assert "[ERROR]" not in server.log


def test_a_broken_manifest_keeps_the_last_good_data_and_says_where_it_is_broken(
    serve: Serve, manifest: Path
) -> None:
    server = serve("--manifests", manifest)
    mark = server.mark()
    manifest.write_text(service("web", "10.0.0.2") + "---\nkind: [\n")
    line = server.wait_for(r"\[ERROR\]", after=mark)
    assert f"{manifest}:8:1: not YAML" in line
    assert "last good data" in line
    assert server.addresses_everywhere(WEB) == {("10.0.0.1",)}
    mark = server.mark()
    manifest.write_text(service("web", "10.0.0.3"))
    server.wait_for("visible:", after=mark)
    assert server.addresses_everywhere(WEB) == {("10.0.0.3",)}


def test_an_emptied_file_keeps_its_data_and_is_logged_once(serve: Serve, manifest: Path) -> None:
    server = serve("--manifests", manifest)
    mark = server.mark()
    manifest.write_text("")
    server.wait_for(r"\[WARNING\] .*shop.yaml: is empty", after=mark)
    assert server.addresses_everywhere(WEB) == {("10.0.0.1",)}
    manifest.write_text(service("web", "10.0.0.2"))
    server.wait_for("visible:", after=mark)
    assert server.log.count(": is empty:") == 1


def test_a_vanished_file_keeps_its_data_until_it_is_back(serve: Serve, manifest: Path) -> None:
    server = serve("--manifests", manifest)
    mark = server.mark()
    manifest.unlink()
    server.wait_for(r"\[WARNING\] .*shop.yaml: vanished", after=mark)
    assert server.addresses_everywhere(WEB) == {("10.0.0.1",)}
    manifest.write_text(service("web", "10.0.0.2"))
    server.wait_for("visible:", after=mark)
    assert server.addresses_everywhere(WEB) == {("10.0.0.2",)}
    assert server.log.count(": vanished:") == 1


def test_new_files_in_a_directory_are_read_and_others_are_left_alone(serve: Serve, tmp_path: Path) -> None:
    directory = tmp_path / "manifests"
    directory.mkdir()
    (directory / "web.yaml").write_text(service("web", "10.0.0.1"))
    server = serve("--manifests", directory)
    mark = server.mark()
    (directory / "notes.txt").write_text("this is no manifest: [")
    (directory / ".hidden.yaml").write_text("nor is this: [")
    items = [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "api", "namespace": "shop"},
            "spec": {"clusterIP": "10.0.0.2", "clusterIPs": ["10.0.0.2"], "ports": [{"port": 80}]},
        }
    ]
    (directory / "api.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    server.wait_for("visible:", after=mark)
    assert server.addresses_everywhere(API) == {("10.0.0.2",)}
    assert "[ERROR]" not in server.log


def test_a_renamed_file_takes_its_data_along(serve: Serve, tmp_path: Path) -> None:
    directory = tmp_path / "manifests"
    directory.mkdir()
    (directory / "a.yaml").write_text(service("web", "10.0.0.1"))
    server = serve("--manifests", directory)
    mark = server.mark()
    (directory / "a.yaml").rename(directory / "b.yaml")
    server.wait_for("b.yaml: read again: no answer changes", after=mark)
    replace(directory / "b.yaml", service("web", "10.0.0.2"))
    server.wait_for("visible:", after=mark)
    assert server.addresses_everywhere(WEB) == {("10.0.0.2",)}
    assert "[ERROR]" not in server.log
    assert ": vanished:" not in server.log


def test_an_object_may_move_to_another_file_when_its_own_is_gone(serve: Serve, tmp_path: Path) -> None:
    directory = tmp_path / "manifests"
    directory.mkdir()
    (directory / "a.yaml").write_text(service("web", "10.0.0.1"))
    server = serve("--manifests", directory)
    mark = server.mark()
    (directory / "a.yaml").unlink()
    server.wait_for("a.yaml: vanished", after=mark)
    (directory / "b.yaml").write_text(service("web", "10.0.0.2"))
    server.wait_for("visible:", after=mark)
    assert server.addresses_everywhere(WEB) == {("10.0.0.2",)}
    assert "[ERROR]" not in server.log


def test_an_object_in_two_files_is_an_error_that_keeps_the_first(serve: Serve, tmp_path: Path) -> None:
    directory = tmp_path / "manifests"
    directory.mkdir()
    (directory / "a.yaml").write_text(service("web", "10.0.0.1"))
    server = serve("--manifests", directory)
    mark = server.mark()
    (directory / "b.yaml").write_text(service("web", "10.0.0.2"))
    line = server.wait_for(r"\[ERROR\]", after=mark)
    assert "b.yaml:2" in line
    assert "a.yaml" in line
    assert server.addresses_everywhere(WEB) == {("10.0.0.1",)}


def test_a_configmap_volume_is_swapped_as_a_whole(serve: Serve, tmp_path: Path) -> None:
    """The kubelet writes a new directory and renames the link `..data` to it; files are links through it."""
    volume = tmp_path / "volume"
    _swap(volume, "..1", {"web.yaml": service("web", "10.0.0.1"), "api.yaml": service("api", "10.0.0.2")})
    for name in ("web.yaml", "api.yaml"):
        (volume / name).symlink_to(f"..data/{name}")
    server = serve("--manifests", volume)
    mark = server.mark()
    # The object `web` moves to the other file, which no order of reading one after the other could do.
    _swap(volume, "..2", {"web.yaml": service("api", "10.0.0.3"), "api.yaml": service("web", "10.0.0.4")})
    server.wait_for("visible:", after=mark)
    assert server.addresses_everywhere(WEB) == {("10.0.0.4",)}
    assert server.addresses_everywhere(API) == {("10.0.0.3",)}
    assert "[ERROR]" not in server.log


def test_a_changed_zone_file_becomes_visible_everywhere(serve: Serve, zone_file: Path) -> None:
    server = serve("--zones", zone_file)
    mark = server.mark()
    replace(zone_file, zone(2, "www A 192.0.2.2"))
    assert "serial 2" in server.wait_for("visible: example.org.", after=mark)
    assert server.addresses_everywhere("www.example.org") == {("192.0.2.2",)}
    assert _serial(server, "example.org") == 2
    assert "[WARNING]" not in server.log


def test_a_zone_that_changed_without_its_serial_is_served_and_warned_of(serve: Serve, zone_file: Path) -> None:
    server = serve("--zones", zone_file)
    mark = server.mark()
    replace(zone_file, zone(1, "www A 192.0.2.2"))
    server.wait_for("visible:", after=mark)
    assert "the SOA serial 1 is not above 1" in server.log
    assert server.addresses_everywhere("www.example.org") == {("192.0.2.2",)}


def test_a_broken_zone_file_keeps_the_last_good_data(serve: Serve, zone_file: Path) -> None:
    server = serve("--zones", zone_file)
    mark = server.mark()
    replace(zone_file, zone(2, "www A 192.0.2.300"))
    assert f"{zone_file}:5" in server.wait_for(r"\[ERROR\]", after=mark)
    assert server.addresses_everywhere("www.example.org") == {("192.0.2.1",)}


def test_a_changed_include_is_noticed(serve: Serve, zone_file: Path) -> None:
    included = zone_file.with_name("hosts")
    included.write_text("www A 192.0.2.1\n")
    zone_file.write_text(zone(1, "$INCLUDE hosts"))
    server = serve("--zones", zone_file)
    mark = server.mark()
    replace(included, "www A 192.0.2.9\n")
    server.wait_for("visible:", after=mark)
    assert server.addresses_everywhere("www.example.org") == {("192.0.2.9",)}


def test_many_services_that_change_at_once_become_visible(serve: Serve, manifest: Path) -> None:
    names = [f"s{number}" for number in range(400)]
    manifest.write_text("".join(service(name, f"10.1.0.{at % 250}") for at, name in enumerate(names)))
    server = serve("--manifests", manifest)
    mark = server.mark()
    replace(manifest, "".join(service(name, f"10.2.0.{at % 250}") for at, name in enumerate(names)))
    assert "400 services changed" in server.wait_for("visible:", after=mark)
    for at in (0, 200, 399):
        assert server.addresses(f"s{at}.shop.svc.cluster.local") == [f"10.2.0.{at % 250}"]


def _swap(volume: Path, name: str, files: dict[str, str]) -> None:
    (volume / name).mkdir(parents=True)
    for file, text in files.items():
        (volume / name / file).write_text(text)
    (volume / "..data_tmp").symlink_to(name)
    os.rename(volume / "..data_tmp", volume / "..data")


def _serial(server: Server, apex: str) -> int:
    return int(server.ask(apex, "SOA").answer[0][0].serial)


def test_changes_of_a_large_zone_file_do_not_wait_for_each_other(serve: Serve, zone_file: Path) -> None:
    """Reading it takes a while each time; looking for the next change goes on all the same."""
    hosts = [f"h{at} A 10.0.{at >> 8}.{at & 255}" for at in range(5000)]
    replace(zone_file, zone(1, "www A 192.0.2.1", *hosts))
    server = serve("--zones", zone_file, workers=1)
    for serial in range(2, 5):
        mark = server.mark()
        replace(zone_file, zone(serial, f"www A 192.0.2.{serial}", *hosts))
        server.wait_for("visible:", after=mark, patience=2.0)
        assert server.addresses_everywhere("www.example.org") == {(f"192.0.2.{serial}",)}
