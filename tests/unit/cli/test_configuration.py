"""kdns.cli.configuration: what is read, in which order."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from kdns.cli.configuration import choose, read_corefile
from kdns.cli.demo import demo_paths, dig_lines
from kdns.cli.main import make_parser
from kdns.corefile import CorefileError


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def options(*words: str) -> argparse.Namespace:
    return make_parser().parse_args(["serve", *words])


def test_conf_comes_before_a_corefile_in_the_directory() -> None:
    Path("Corefile").write_text("a.example {\n whoami\n}\n")
    Path("named").write_text("b.example {\n whoami\n}\n")
    chosen = choose(options("-conf", "named"))
    assert chosen.origin == "named"
    assert chosen.read().blocks[0].zones == (b"\x01b\x07example\0",)


def test_flags_come_before_a_corefile_in_the_directory() -> None:
    Path("Corefile").write_text("a.example {\n whoami\n}\n")
    chosen = choose(options("--zones", "example.org.zone"))
    assert chosen.origin == "flags"
    assert chosen.read().blocks[0].files[0].path == "example.org.zone"


def test_a_corefile_in_the_directory_comes_before_the_demo() -> None:
    Path("Corefile").write_text("a.example {\n whoami\n}\n")
    chosen = choose(options())
    assert (chosen.origin, chosen.is_demo) == ("Corefile", False)


def test_without_anything_it_is_the_demo_on_loopback() -> None:
    chosen = choose(options())
    assert chosen.is_demo
    (block,) = chosen.read().blocks
    assert (block.port, block.bind[0].addresses) == (1053, ("127.0.0.1",))
    assert block.kubernetes is not None
    assert block.files


def test_the_demos_port_can_be_chosen() -> None:
    assert choose(options("-dns.port", "5300")).read().blocks[0].port == 5300


def test_conf_and_flags_contradict_each_other() -> None:
    with pytest.raises(CorefileError, match="leave out --listen"):
        choose(options("-conf", "a", "--listen", ":53"))


def test_the_default_port_reaches_blocks_and_flags_without_one() -> None:
    Path("named").write_text("b.example {\n whoami\n}\nc.example:99 {\n whoami\n}\n")
    blocks = choose(options("-conf", "named", "-dns.port", "5300")).read().blocks
    assert [block.port for block in blocks] == [5300, 99]
    assert choose(options("--zones", "a.zone", "-dns.port", "5300")).read().blocks[0].port == 5300


def test_imports_are_read_relative_to_the_file_that_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZONE", "c.example")
    Path("etc").mkdir()
    Path("etc/Corefile").write_text("import parts/*\n{$ZONE} {\n whoami\n}\n")
    Path("etc/parts").mkdir()
    for name in ("a", "b"):
        Path(f"etc/parts/{name}").write_text(f"{name}.example {{\n whoami\n}}\n")
    corefile = read_corefile("etc/Corefile", 53)
    assert [block.zones[0][1:2] for block in corefile.blocks] == [b"a", b"b", b"c"]
    assert corefile.sources == ("etc/Corefile", "etc/parts/a", "etc/parts/b")


def test_a_file_that_cannot_be_read_is_an_error_that_names_it() -> None:
    with pytest.raises(CorefileError, match="missing: no such file"):
        read_corefile("missing", 53)
    Path("directory").mkdir()
    with pytest.raises(CorefileError, match="directory: is a directory"):
        read_corefile("directory", 53)
    Path("binary").write_bytes(b"\xff\xfe")
    with pytest.raises(CorefileError, match="binary"):
        read_corefile("binary", 53)


def test_the_demo_is_installed_and_worth_asking() -> None:
    paths = demo_paths()
    assert all(Path(path).is_file() for path in (*paths.manifests, *paths.zones))
    assert paths.manifests
    assert paths.zones
    assert all(line.startswith("dig @127.0.0.1 -p 5300 ") for line in dig_lines("127.0.0.1", 5300))
