"""kdns.server.textfile: what is read, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdns.server.kubeconfig import AccessError, read_kubeconfig
from kdns.server.textfile import OCTETS_MAX, UnreadableError, read_text


def test_all_of_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("größer\n", encoding="utf-8")
    assert read_text(str(tmp_path / "token")) == "größer\n"


def test_a_file_of_just_the_bound_is_read_and_a_larger_one_is_not(tmp_path: Path) -> None:
    file = tmp_path / "bundle"
    file.write_bytes(b"x" * OCTETS_MAX)
    assert len(read_text(str(file))) == OCTETS_MAX
    file.write_bytes(b"x" * (OCTETS_MAX + 1))
    with pytest.raises(UnreadableError, match=r"^too large, over 4 MiB$"):
        read_text(str(file))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("missing", "No such file or directory"),
        ("directory", "Is a directory"),
        ("binary", "not UTF-8"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_reason(tmp_path: Path, name: str, why: str) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "binary").write_bytes(b"\xff\xff")
    with pytest.raises(UnreadableError, match=f"^{why}$"):
        read_text(str(tmp_path / name))


def test_a_kubeconfig_without_end_is_told_as_such() -> None:
    with pytest.raises(AccessError, match=r"^/dev/zero: cannot read the kubeconfig: too large"):
        read_kubeconfig("/dev/zero")
