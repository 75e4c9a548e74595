"""kdns.cli.check: what is wrong with files, with its place and an exit status."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kdns.cli.check import FileKind, check, recognise
from kdns.cli.demo import demo_paths
from kdns.cli.main import main
from tests.server.serving import service, zone


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


FORWARDING = """\
. {
    forward example.org servers.conf tls://192.0.2.1 {
        tls client.crt client.key ca.crt
    }
    forward . 192.0.2.2
}
"""


@pytest.fixture
def forwarding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Corefile").write_text(FORWARDING)
    for name in ("servers.conf", "client.crt", "client.key", "ca.crt"):
        (tmp_path / name).write_text("nameserver 192.0.2.3\n")
    return tmp_path


def test_a_corefile_that_forwards_is_checked_with_the_files_that_it_names(
    forwarding: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "Corefile"]) == 0
    assert capsys.readouterr().err == "5 files: 0 errors, 0 warnings\n"


@pytest.mark.parametrize("name", ["servers.conf", "client.crt", "client.key", "ca.crt"])
def test_a_file_that_a_forward_names_and_that_is_not_there_is_an_error_with_its_place(
    forwarding: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (forwarding / name).unlink()
    assert main(["check", "Corefile"]) == 1
    assert capsys.readouterr().out == f"Corefile:2:5: {name}: no such file or directory\n"


def test_good_files_are_no_news(capsys: pytest.CaptureFixture[str]) -> None:
    Path("shop.yaml").write_text(service("web", "10.0.0.1"))
    Path("example.org.zone").write_text(zone(1))
    assert main(["check", "shop.yaml", "example.org.zone"]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "2 files: 0 errors, 0 warnings\n"


def test_every_problem_is_a_line_with_its_place(capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.yaml").write_text("kind: [\n")
    Path("b.yaml").write_text(service("web", "10.0.0.1") + service("api", "nonsense"))
    Path("example.org.zone").write_text(zone(1, "www A nonsense"))
    Path("Corefile").write_text(". {\n    nonsense\n}\n")
    assert main(["check", "."]) == 1
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    for place in ("./a.yaml:2:1: ", "./b.yaml:", "./example.org.zone:5: ", "./Corefile:2:5: "):
        assert any(line.startswith(place) for line in lines), (place, lines)
    assert captured.err == "4 files: 4 errors, 0 warnings\n"


def test_what_is_only_odd_is_a_warning_and_status_0(capsys: pytest.CaptureFixture[str]) -> None:
    Path("late.yaml").write_text(
        "apiVersion: v1\nkind: Service\nmetadata: {name: late, namespace: shop}\nspec: {ports: [{port: 80}]}\n"
    )
    assert main(["check", "late.yaml"]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("late.yaml:1: warning: ")
    assert "clusterIP" in captured.out
    assert captured.err.startswith("1 file: 0 errors, ")


def test_the_same_object_in_two_files_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.yaml", "b.yaml"):
        Path(name).write_text(service("web", "10.0.0.1"))
    assert main(["check", "a.yaml", "b.yaml"]) == 1
    assert "b.yaml:2" in capsys.readouterr().out


def test_what_a_corefile_names_is_checked_with_it(capsys: pytest.CaptureFixture[str]) -> None:
    Path("broken.yaml").write_text("kind: [\n")
    Path("Corefile").write_text(
        ".:5300 {\n    kubernetes cluster.local {\n        manifests broken.yaml missing.yaml\n    }\n"
        "    file missing.zone example.org\n}\n"
    )
    assert main(["check", "Corefile"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0] for line in lines] == ["missing.yaml", "broken.yaml:2:1", "missing.zone"]


def test_a_hosts_file_that_is_missing_is_a_warning_with_its_place(capsys: pytest.CaptureFixture[str]) -> None:
    Path("Corefile").write_text(". {\n    hosts h {\n        192.0.2.1 a.test\n        fallthrough\n    }\n}\n")
    assert main(["check", "Corefile"]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith(f"Corefile:2:5: warning: {Path('h').absolute()}: no such hosts file")
    assert captured.err == "1 file: 0 errors, 1 warning\n"
    Path("h").write_text("192.0.2.2 b.test\n")
    assert main(["check", "Corefile"]) == 0
    assert capsys.readouterr() == ("", "2 files: 0 errors, 0 warnings\n")


def test_a_rewrite_that_hardly_holds_is_a_warning_with_its_place(capsys: pytest.CaptureFixture[str]) -> None:
    Path("Corefile").write_text(". {\n    rewrite name prefix foo- bar-\n    whoami\n}\n")
    assert main(["check", "Corefile"]) == 0
    assert capsys.readouterr().out.startswith("Corefile:2:5: warning: `prefix foo-` gets a last dot")


def test_a_file_that_is_missing_or_unknown_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    Path("notes").write_text("buy milk\n")
    assert main(["check", "missing", "notes"]) == 1
    out = capsys.readouterr().out
    assert "missing: no such file" in out
    assert "notes: neither a manifest nor a zone file nor a Corefile" in out


def test_in_a_directory_what_is_none_of_ours_is_left_alone() -> None:
    Path("etc").mkdir()
    Path("etc/notes").write_text("buy milk\n")
    Path("etc/.hidden.yaml").write_text("kind: [\n")
    Path("etc/db.example.org").write_text(zone(1))
    found = check(["etc"])
    assert found.files == {"etc/db.example.org"}
    assert found.errors == []


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("a.yaml", "anything", FileKind.MANIFEST),
        ("a.json", "anything", FileKind.MANIFEST),
        ("a.zone", "anything", FileKind.ZONE),
        ("db.a", "anything", FileKind.ZONE),
        ("Corefile", "anything", FileKind.COREFILE),
        ("Corefile.test", "anything", FileKind.COREFILE),
        ("x", "# a list\napiVersion: v1\nkind: List\n", FileKind.MANIFEST),
        ("x", '{\n  "apiVersion": "v1"', FileKind.MANIFEST),
        ("x", zone(1), FileKind.ZONE),
        ("x", "# ours\n.:53 {\n    whoami\n}\n", FileKind.COREFILE),
        ("x", "buy milk", None),
        ("x", "", None),
    ],
)
def test_files_are_recognised_by_their_name_or_else_by_how_they_begin(
    name: str, text: str, kind: FileKind | None
) -> None:
    Path(name).write_text(text)
    assert recognise(name) is kind


def test_a_zone_file_of_any_name_is_checked_by_its_own_soa(capsys: pytest.CaptureFixture[str]) -> None:
    Path("primary").write_text("$ORIGIN example.net.\n" + zone(1, "www A nonsense"))
    assert main(["check", "primary"]) == 1
    assert capsys.readouterr().out.startswith("primary:6: ")


def test_the_demo_has_no_errors(capsys: pytest.CaptureFixture[str]) -> None:
    paths = demo_paths()
    assert main(["check", *paths.manifests, *paths.zones]) == 0


ZONE_TEXT = "$TTL 60\n@ SOA ns host 1 2 3 4 5\n@ NS ns\nns A 192.0.2.1\n"


def test_a_zone_file_that_begins_with_origin_is_not_named_by_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    Path("db.zone").write_text("; a zone\n$TTL 60\n$ORIGIN example.com.\n" + ZONE_TEXT)
    assert main(["check", "db.zone"]) == 0
    assert capsys.readouterr().out == ""


def test_the_origin_of_a_zone_file_can_be_given(capsys: pytest.CaptureFixture[str]) -> None:
    Path("zone.txt").write_text(ZONE_TEXT)
    assert main(["check", "z.example=zone.txt"]) == 0
    assert capsys.readouterr().out == ""


def test_what_is_no_regular_file_is_not_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo("fifo.yaml")
    assert main(["check", "fifo.yaml", "/dev/zero"]) == 1
    assert capsys.readouterr().out == "fifo.yaml: not a regular file\n/dev/zero: not a regular file\n"


WATCHING = """\
a.example {
    kubernetes cluster.local {
        kubeconfig config production
    }
}
b.example {
    kubernetes b.local {
        endpoint https://192.0.2.1:6443
        tls tls.crt tls.key ca.crt
    }
}
c.example {
    kubernetes c.local
}
"""


KUBECONFIG = """\
apiVersion: v1
kind: Config
clusters:
- name: c
  cluster:
    server: https://192.0.2.1:6443
    certificate-authority: config.crt
users:
- name: u
  user:
    token: secret
contexts:
- name: production
  context: {cluster: c, user: u}
"""


def test_the_files_that_lead_to_an_api_server_are_looked_at_and_it_is_not_asked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("Corefile").write_text(WATCHING)
    Path("config").write_text(KUBECONFIG)
    for name in ("config.crt", "tls.crt", "tls.key", "ca.crt"):
        Path(name).touch()
    assert main(["check", "Corefile"]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "6 files: 0 errors, 0 warnings\n"


def test_files_that_lead_to_no_api_server_are_errors(capsys: pytest.CaptureFixture[str]) -> None:
    Path("Corefile").write_text(WATCHING)
    Path("config").write_text(KUBECONFIG)
    Path("tls.crt").touch()
    os.mkfifo("tls.key")
    Path("ca.crt").mkdir()
    assert main(["check", "Corefile"]) == 1
    here = os.getcwd()
    assert capsys.readouterr().out.splitlines() == [
        f"{here}/config:7: {here}/config.crt: no such file or directory",
        "tls.key: not a regular file",
        "ca.crt: not a regular file",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "config: no such kubeconfig"),
        ("kind: [", "config:1: not YAML"),
        (KUBECONFIG.replace("production", "staging"), "Corefile:3:27: no context `production` in "),
        (KUBECONFIG.replace("user: u}", "user: w}"), "config:14: context `production` names user `w`"),
    ],
)
def test_a_kubeconfig_that_cannot_be_used_is_an_error_with_its_place(
    text: str | None, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("Corefile").write_text(WATCHING.partition("b.example")[0])
    if text is not None:
        Path("config").write_text(text)
    assert main(["check", "Corefile"]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert line.removeprefix(f"{os.getcwd()}/").startswith(message)


def test_contradictions_of_a_watch_are_errors_with_their_place(capsys: pytest.CaptureFixture[str]) -> None:
    Path("Corefile").write_text(WATCHING.replace("production", "production\n        manifests shop.yaml"))
    assert main(["check", "Corefile"]) == 1
    assert capsys.readouterr().out.startswith("Corefile:4:9: `manifests` and `kubeconfig` exclude each other")
