"""Starting: what is wrong with configuration, data or addresses shows at once, with its place."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.server.conftest import Serve
from tests.server.serving import free_port, service, zone


def test_a_broken_manifest_ends_the_start_with_its_place(serve: Serve, tmp_path: Path) -> None:
    manifest = tmp_path / "shop.yaml"
    manifest.write_text(service("web", "10.0.0.1") + "---\nkind: Service\nspec: [\n")
    server = serve("--manifests", manifest, is_ready=False)
    assert server.wait() == 1
    assert f"[ERROR] {manifest}:9:1: " in server.log
    assert "Traceback" not in server.log


def test_all_broken_files_are_told_of_at_once(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("kind: [")
    (tmp_path / "b.yaml").write_text("- 1\n")
    (tmp_path / "example.org.zone").write_text(zone(1, "www A nonsense"))
    server = serve(
        "--manifests", "a.yaml", "b.yaml", "missing.yaml", "--zones", "example.org.zone", is_ready=False
    )
    assert server.wait() == 1
    for place in ("a.yaml:", "b.yaml:1", "example.org.zone:5", "missing.yaml: no such file"):
        assert f"[ERROR] {place}" in server.log
    assert "Traceback" not in server.log


def test_an_empty_zone_file_is_an_error_at_the_start(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "example.org.zone").write_text("")
    server = serve("--zones", "example.org.zone", is_ready=False)
    assert server.wait() == 1
    assert "[ERROR] example.org.zone" in server.log


def test_a_zone_file_that_is_not_text_is_an_error_with_its_line(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "example.org.zone").write_bytes(zone(1).encode() + b"www TXT \xff\n")
    server = serve("--zones", "example.org.zone", is_ready=False)
    assert server.wait() == 1
    assert "[ERROR] example.org.zone:5: octet 0xff is not UTF-8" in server.log


def test_a_file_that_is_still_being_written_at_the_start_is_waited_for(serve: Serve, tmp_path: Path) -> None:
    manifest = tmp_path / "shop.yaml"
    manifest.write_text(service("web", "10.0.0.1"))  # younger than the time that a file has to stand still
    assert serve("--manifests", manifest).addresses("web.shop.svc.cluster.local") == ["10.0.0.1"]


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_a_port_that_is_taken_is_named(serve: Serve, tmp_path: Path, kind: socket.SocketKind) -> None:
    (tmp_path / "example.org.zone").write_text(zone(1))
    with socket.socket(socket.AF_INET, kind) as taken:
        port = free_port()
        taken.bind(("127.0.0.1", port))
        if kind == socket.SOCK_STREAM:
            taken.listen()
        server = serve("--zones", "example.org.zone", port=port, is_ready=False)
        assert server.wait() == 1
    protocol = "UDP" if kind == socket.SOCK_DGRAM else "TCP"
    assert f"[ERROR] cannot listen on {protocol} 127.0.0.1:{port}: address already in use" in server.log
    assert "Traceback" not in server.log


def test_a_second_kdns_on_the_port_is_refused(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "example.org.zone").write_text(zone(1))
    first = serve("--zones", "example.org.zone")
    second = serve("--zones", "example.org.zone", port=first.port, is_ready=False)
    assert second.wait() == 1
    assert f"127.0.0.1:{first.port}" in second.log
    assert first.addresses("ns.example.org") == ["192.0.2.53"]


def test_an_address_that_the_machine_does_not_have_is_named(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "example.org.zone").write_text(zone(1))
    server = serve(
        "--zones", "example.org.zone", "--listen", "192.0.2.77:5399", listen=False, is_ready=False
    )
    assert server.wait() == 1
    assert "192.0.2.77:5399" in server.log
    assert "this machine has no such address" in server.log


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["serve", "-conf", "missing"], 1, "missing: no such file"),
        (["serve", "-conf", "broken"], 1, "broken:1:"),
        (["serve", "--listen", "nonsense", "--zones", "a.zone"], 1, "--listen"),
        (["serve", "--workers", "0"], 2, "not a number of workers"),
        (["serve", "-dns.port", "70000"], 2, "not a port"),
        (["serve", "--nonsense"], 2, "unrecognized arguments"),
        (["-conf", "missing", "--zones", "a.zone"], 1, "leave out --zones"),
        (["nonsense"], 2, "invalid choice"),
    ],
)
def test_wrong_usage_is_explained_without_a_traceback(
    tmp_path: Path, arguments: list[str], status: int, said: str
) -> None:
    (tmp_path / "broken").write_text("{{{")
    done = _run(tmp_path, *arguments)
    assert done.returncode == status
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_corefile_in_the_working_directory_is_served_without_being_named(serve: Serve, tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "example.org.zone").write_text(zone(1))
    (tmp_path / "Corefile").write_text("example.org {\n bind 127.0.0.1\n file example.org.zone\n}\n")
    server = serve("-dns.port", port, listen=False, port=port)
    assert server.addresses("ns.example.org") == ["192.0.2.53"]


def test_without_anything_the_demo_is_served_and_says_so(serve: Serve) -> None:
    port = free_port()
    server = serve("-dns.port", port, listen=False, port=port)
    assert "serving the demo" in server.log
    questions = [line.partition(f"-p {port} ")[2] for line in server.lines if "    dig " in line]
    assert len(questions) == 3
    for question in questions:
        assert server.ask(*question.split()).answer, question


def test_coredns_style_arguments_mean_serve(tmp_path: Path) -> None:
    (tmp_path / "Corefile").write_text("example.org {\n file example.org.zone\n}\n")
    done = _run(tmp_path, "-conf", "Corefile", "--print-corefile")
    assert done.returncode == 0
    assert "example.org:53 {" in done.stdout


@pytest.mark.parametrize("arguments", [["-version"], ["version"], ["serve", "--version"]])
def test_the_version_is_printed(tmp_path: Path, arguments: list[str]) -> None:
    done = _run(tmp_path, *arguments)
    assert done.returncode == 0
    assert done.stdout.startswith("kdns-")


def _run(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    root = str(Path(__file__).parents[2])
    return subprocess.run(
        [sys.executable, "-m", "kdns", *arguments],
        cwd=directory, env={"PYTHONPATH": root}, capture_output=True, text=True, timeout=30, check=False,
    )


def test_a_manifest_that_several_blocks_read_is_remarked_upon_once(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_text(
        "apiVersion: v1\nkind: Service\nmetadata: {name: new, namespace: shop}\nspec: {ports: [{port: 80}]}\n"
    )
    port = free_port()
    blocks = [
        f"{zone}:{port} {{\n bind 127.0.0.1\n kubernetes {{\n ttl {ttl}\n manifests shop.yaml\n }}\n}}\n"
        for ttl, zone in enumerate(("cluster.local", "other.local"))
    ]
    (tmp_path / "Corefile").write_text("".join(blocks))
    server = serve("-conf", "Corefile", listen=False, port=port, workers=1)
    assert server.log.count("shop.yaml:1: Service shop/new") == 1
