"""kdns.cli.main: which command a line is, and what becomes of wrong ones."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import pytest

from kdns import __version__
from kdns.cli.main import EXIT_ERROR, EXIT_USAGE, main, make_parser
from kdns.corefile.settings import SETTING_NAMES


def parse(*words: str) -> argparse.Namespace:
    return make_parser().parse_args(["serve", *words])


def test_flags_of_serve_have_their_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KDNS_WORKERS", raising=False)
    options = parse()
    assert (options.conf, options.dns_port, options.workers) == (None, None, None)
    assert (options.listen, options.manifests, options.zones) == ([], [], [])
    assert (options.quiet, options.version, options.print_corefile) == (False, False, False)
    assert {getattr(options, name) for name in SETTING_NAMES} == {None}


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (("-conf", "a"), "conf", "a"),
        (("--conf", "a"), "conf", "a"),
        (("-dns.port", "5300"), "dns_port", 5300),
        (("--dns.port=5300",), "dns_port", 5300),
        (("-p", "5300"), "dns_port", 5300),
        (("-quiet",), "quiet", True),
        (("--listen", "a:1", "--listen", "b:2"), "listen", ["a:1", "b:2"]),
        (("--manifests", "a", "b", "--manifests", "c"), "manifests", ["a", "b", "c"]),
        (("--zones", "a"), "zones", ["a"]),
        (("--kubeconfig", "a"), "kubeconfig", "a"),
        (("--snapshot", "a"), "snapshot", "a"),
        (("--snapshot-max-age", "1h"), "snapshot_max_age", "1h"),
        (("--ready-when=fresh=30s",), "ready_when", "fresh=30s"),
        (("--negative-ttl", "0"), "negative_ttl", "0"),
        (("--lameduck", "5s"), "lameduck", "5s"),
        (("--cookie-secret", "a"), "cookie_secret", "a"),
        (("--log-format=json",), "log_format", "json"),
        (("--client-queries", "64"), "client_queries", "64"),
        (("--rrl", "100"), "rrl", "100"),
        (("--workers", "3"), "workers", 3),
    ],
)
def test_flags_of_serve(words: tuple[str, ...], name: str, value: object) -> None:
    assert getattr(parse(*words), name) == value


def test_the_number_of_workers_may_stand_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KDNS_WORKERS", "2")
    assert parse().workers == 2
    assert parse("--workers", "1").workers == 1


@pytest.mark.parametrize("words", [("--workers", "x"), ("--workers", "65"), ("-p", "0"), ("-conf",), ("--man", "a")])
def test_wrong_flags_are_usage_errors(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(*words)
    assert ended.value.code == EXIT_USAGE
    assert "usage: kdns" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["version"], ["-version"], ["--version"], ["serve", "-version"]])
def test_the_version(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    assert capsys.readouterr().out.startswith(f"kdns-{__version__}\nlinux/")


def test_a_line_that_starts_with_a_flag_means_serve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["--zones", "example.org.zone", "--print-corefile"]) == 0
    assert "file example.org.zone" in capsys.readouterr().out


def test_what_print_corefile_prints_can_be_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["--manifests", "shop.yaml", "--listen", "127.0.0.1:5300", "--print-corefile"]) == 0
    printed = capsys.readouterr().out
    Path("Corefile").write_text(printed)
    assert main(["serve", "--print-corefile"]) == 0
    assert capsys.readouterr().out == printed


def test_print_corefile_shows_the_kubeconfig_that_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("named").write_text(".:5300 {\n    kubernetes cluster.local\n}\n")
    assert main(["-conf", "named", "--kubeconfig", "my config", "--print-corefile"]) == 0
    assert '        kubeconfig "my config"\n' in capsys.readouterr().out


def test_a_wrong_setting_ends_with_status_1_and_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["--print-corefile", "--lameduck", "5"]) == EXIT_ERROR
    monkeypatch.setenv("KDNS_READY_WHEN", "soon")
    assert main(["--print-corefile", "--lameduck", "5s"]) == EXIT_ERROR
    wrong = "one of whole, synced, serving, fresh=DURATION expected, not `soon`"
    assert capsys.readouterr().err == (
        f"--lameduck: `5` is no duration: write it as in 30s, 5m or 100ms\nKDNS_READY_WHEN: {wrong}\n"
    )


@pytest.mark.parametrize("command", [["serve"], ["check", "a.yaml"]])
@pytest.mark.parametrize("module", ["msgspec", "yaml"])
def test_a_plain_install_names_the_extra_that_it_lacks(
    command: list[str], module: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(_: str) -> None:
        raise ModuleNotFoundError(f"No module named '{module}'", name=module)

    monkeypatch.setattr("kdns.cli.main.import_module", missing)
    assert main(command) == EXIT_USAGE
    assert "pip install 'kdns[server]'" in capsys.readouterr().err


def test_a_module_of_ours_that_is_missing_is_not_taken_for_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: str) -> None:
        raise ModuleNotFoundError("No module named 'kdns.nonsense'", name="kdns.nonsense")

    monkeypatch.setattr("kdns.cli.main.import_module", missing)
    with pytest.raises(ModuleNotFoundError):
        main(["serve"])


def test_the_command_line_is_understood_without_any_module_of_the_server() -> None:
    """So that a plain install can say what it lacks: nothing heavy is imported by parsing."""
    code = "import sys, kdns.cli.main as m; m.make_parser(); print(sorted(m._SERVER_MODULES & sys.modules.keys()))"
    root = str(Path(__file__).parents[3])
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": root}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
