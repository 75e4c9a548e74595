"""kdns.server.watch: which files a path stands for, and reading them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kdns.server.watch import FileMoved, contents, expand, stamp, stamps


def test_a_file_stands_for_itself_whether_it_exists_or_not(tmp_path: Path) -> None:
    assert expand(str(tmp_path / "a.txt")) == [str(tmp_path / "a.txt")]


def test_a_directory_stands_for_the_manifests_in_it(tmp_path: Path) -> None:
    for name in ("b.yaml", "a.json", "c.yml", "d.txt", ".e.yaml", "README"):
        (tmp_path / name).touch()
    (tmp_path / "..data").mkdir()
    assert expand(str(tmp_path)) == [str(tmp_path / name) for name in ("a.json", "b.yaml", "c.yml")]


def test_an_empty_directory_stands_for_nothing(tmp_path: Path) -> None:
    assert expand(str(tmp_path)) == []


def test_a_pattern_stands_for_what_matches_and_for_itself_while_nothing_does(tmp_path: Path) -> None:
    pattern = str(tmp_path / "*.yaml")
    assert expand(pattern) == [pattern]
    (tmp_path / "a.yaml").touch()
    (tmp_path / "sub.yaml").mkdir()
    assert expand(pattern) == [str(tmp_path / "a.yaml")]


def test_a_file_with_the_characters_of_a_pattern_is_found(tmp_path: Path) -> None:
    (tmp_path / "a[1].yaml").mkdir()
    (tmp_path / "a[1].yaml" / "b.yaml").touch()
    assert expand(str(tmp_path / "a[1].yaml")) == [str(tmp_path / "a[1].yaml" / "b.yaml")]


def test_a_stamp_is_that_of_the_file_behind_the_links(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("1")
    (tmp_path / "two").write_text("22")
    (tmp_path / "link").symlink_to("one")
    before = stamp(str(tmp_path / "link"))
    assert before == stamp(str(tmp_path / "one"))
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to("two")
    assert stamp(str(tmp_path / "link")) == stamp(str(tmp_path / "two")) != before


def test_what_is_no_regular_file_has_no_stamp(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    paths = [str(tmp_path / name) for name in ("fifo", "loop", "missing")] + [str(tmp_path), "a\0b"]
    assert stamps(paths) == dict.fromkeys(paths)


@pytest.mark.parametrize("octets", [0, 10, 3 << 20])
def test_contents_are_those_of_the_file(tmp_path: Path, octets: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(octets // 2) + b"x" * (octets - octets // 2))
    with contents(str(path), stamp(str(path))) as data:
        assert data == path.read_bytes()


def test_a_file_that_is_truncated_while_it_is_decoded_is_no_bus_error(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * (3 << 20))
    decoded = b""
    with pytest.raises(FileMoved), contents(str(path), stamp(str(path))) as data:
        decoded = _truncate_and_copy(path, data)
    assert decoded == b"x" * (3 << 20)


def test_another_file_than_the_one_wanted_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("before")
    wanted = stamp(str(path))
    path.write_text("afterwards")
    with pytest.raises(FileMoved), contents(str(path), wanted):
        pytest.fail("it was read")


def test_a_file_that_is_written_while_it_is_read_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("before")
    with pytest.raises(FileMoved), contents(str(path)):
        path.write_text("afterwards")


def test_a_file_that_is_missing_is_an_oserror(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), contents(str(tmp_path / "missing")):
        pytest.fail("it was read")


def _truncate_and_copy(path: Path, data: bytes) -> bytes:
    path.write_bytes(b"")
    return bytes(data)
