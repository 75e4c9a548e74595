"""kdns.cli.coredns: words as Go's `flag` takes them, -plugins, -pidfile."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kdns.cli.coredns import FlagError, pid_file, plugin_list, words_of
from kdns.cli.main import EXIT_USAGE, main, make_parser
from kdns.corefile.directives import DIRECTIVES

KNOWN = frozenset(("-pidfile", "-plugins"))


@pytest.mark.parametrize(("words", "taken"), [
    (["-quiet=true", "-p=53"], ["-quiet", "-p=53"]), (["--quiet=0", "-conf=a=b"], ["-conf=a=b"]),
    (["-pidfile", "a", "-plugins=T"], ["-pidfile", "a", "-plugins"]), (["-pidfile=a"], ["-pidfile=a"]),
    (["--print-corefile"], ["--print-corefile"]), (["-p", "53", "-dns.port=53"], ["-p", "53", "-dns.port=53"]),
])
def test_words_are_taken_as_go_takes_them(words: list[str], taken: list[str]) -> None:
    assert words_of(words, KNOWN) == taken


@pytest.mark.parametrize(("word", "message"), [
    ("-pidfil", "flag provided but not defined: -pidfil"), ("-p53", "flag provided but not defined: -p53"),
    ("-quiet=maybe", "invalid boolean value 'maybe' for -quiet"),
])
def test_what_is_no_flag_is_named(word: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(FlagError, match=message):
        words_of([word], KNOWN)
    with pytest.raises(SystemExit) as caught:
        main([word])
    assert caught.value.code == EXIT_USAGE
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(("words", "name", "value"), [
    (["-pidfile=a"], "pidfile", "a"), (["--pidfile", "a"], "pidfile", "a"), (["-p=53"], "dns_port", 53),
    (["-dns.port=53"], "dns_port", 53), (["-conf=a"], "conf", "a"), (["--conf", "a"], "conf", "a"),
])
def test_the_forms_of_a_value_are_gos(words: list[str], name: str, value: object) -> None:
    assert getattr(make_parser().parse_args(["serve", *words]), name) == value


def test_plugins_prints_every_directive_as_coredns_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-plugins"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["Server types:", "  dns"]
    start = lines.index("Other plugins:") + 1
    assert [line.removeprefix("  dns.") for line in lines[start:] if line] == sorted(DIRECTIVES)
    assert plugin_list(["b", "a"]).endswith("  dns.a\n  dns.b\n")


def test_the_pid_is_in_the_file_as_long_as_the_process_serves(tmp_path: Path) -> None:
    path, troubles = tmp_path / "pid", list[str]()
    with pid_file(str(path), troubles.append):
        assert path.read_text() == f"{os.getpid()}\n"
    assert (path.exists(), troubles) == (False, [])


def test_a_file_that_cannot_be_written_is_told_of_and_no_reason_to_end(tmp_path: Path) -> None:
    troubles: list[str] = []
    with pid_file(str(tmp_path / "none" / "pid"), troubles.append):
        pass
    [trouble] = troubles
    assert "cannot write" in trouble
    assert "read-only" in trouble


def test_a_file_that_somebody_has_removed_is_told_of(tmp_path: Path) -> None:
    troubles: list[str] = []
    with pid_file(str(tmp_path / "pid"), troubles.append):
        (tmp_path / "pid").unlink()
    assert len(troubles) == 1


def test_without_the_flag_nothing_is_written(tmp_path: Path) -> None:
    with pid_file("", pytest.fail):
        assert not list(tmp_path.iterdir())


def test_whoever_reads_only_the_first_line_of_the_list_is_no_error_of_ours() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "kdns", "serve", "-plugins"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.close()
    _, log = process.communicate(timeout=60)
    assert b"Traceback" not in log
    assert b"BrokenPipeError" not in log
