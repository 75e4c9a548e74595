"""kdns.cli.configuration: what is read, in which order."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from kdns.cli.configuration import choose, read_corefile
from kdns.cli.demo import demo_paths, dig_lines
from kdns.cli.main import make_parser
from kdns.corefile import (
    Condition,
    Corefile,
    CorefileError,
    Kubernetes,
    LogFormat,
    ReadyWhen,
    Settings,
    print_corefile,
)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)


def cluster(corefile: Corefile) -> Kubernetes:
    (block,) = corefile.blocks
    assert block.kubernetes is not None
    return block.kubernetes


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


WATCHING = """\
.:5300 {
    kubernetes cluster.local {
        ttl 30
    }
}
"""


def test_a_kubeconfig_by_flag_is_watched_on_every_address() -> None:
    Path("Corefile").write_text("a.example {\n whoami\n}\n")
    chosen = choose(options("--kubeconfig", "config"))
    assert chosen.origin == "flags"
    assert print_corefile(chosen.read()) == (
        ".:53 {\n    errors\n    kubernetes cluster.local in-addr.arpa ip6.arpa {\n        kubeconfig config\n"
        "        pods insecure\n    }\n}\n"
    )


def test_a_kubeconfig_by_flag_goes_with_the_other_flags_but_manifests() -> None:
    chosen = choose(options("--kubeconfig", "config", "--listen", "127.0.0.1:1053", "--zones", "example.org.zone"))
    (block,) = chosen.read().blocks
    assert (block.port, block.bind[0].addresses, block.files[0].path) == (1053, ("127.0.0.1",), "example.org.zone")
    assert cluster(chosen.read()).kubeconfig == "config"
    with pytest.raises(CorefileError, match="with --manifests, leave out --kubeconfig"):
        choose(options("--kubeconfig", "config", "--manifests", "a.yaml")).read()


@pytest.mark.parametrize("words", [("-conf", "named"), ()])
def test_a_kubeconfig_is_for_clusters_of_a_corefile_that_name_none(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("named").write_text(WATCHING)
    Path("Corefile").write_text(WATCHING)
    assert cluster(choose(options(*words)).read()).is_in_cluster
    monkeypatch.setenv("KUBECONFIG", "of the environment")
    assert cluster(choose(options(*words)).read()).kubeconfig == "of the environment"
    if words:
        assert cluster(choose(options(*words, "--kubeconfig", "of the flag")).read()).kubeconfig == "of the flag"


def test_a_corefile_that_names_its_kubeconfig_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("named").write_text(WATCHING.replace("ttl 30", "kubeconfig its.own context"))
    monkeypatch.setenv("KUBECONFIG", "/a:/b")
    found = cluster(choose(options("-conf", "named", "--kubeconfig", "of the flag")).read())
    assert (found.kubeconfig, found.context) == ("its.own", "context")
    assert cluster(choose(options("-conf", "named")).read()).kubeconfig == "its.own"


def test_the_cluster_of_the_environment_comes_before_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    chosen = choose(options())
    assert (chosen.origin, chosen.is_demo) == ("the cluster around us (KUBERNETES_SERVICE_HOST)", False)
    assert cluster(chosen.read()).is_in_cluster
    assert chosen.read().blocks[0].port == 53
    monkeypatch.setenv("KUBECONFIG", "config")
    chosen = choose(options("-dns.port", "5300"))
    assert (chosen.origin, chosen.is_demo) == ("KUBECONFIG=config", False)
    assert cluster(chosen.read()).kubeconfig == "config"
    assert chosen.read().blocks[0].port == 5300


def test_flags_that_only_say_where_to_listen_stand_for_the_cluster_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(CorefileError, match="nothing to serve"):
        choose(options("--listen", "127.0.0.1:1053")).read()
    monkeypatch.setenv("KUBECONFIG", "config")
    assert cluster(choose(options("--listen", "127.0.0.1:1053")).read()).kubeconfig == "config"
    assert choose(options("--zones", "a.zone")).read().blocks[0].kubernetes is None
    assert cluster(choose(options("--manifests", "a.yaml")).read()).manifests == ("a.yaml",)


def test_several_kubeconfigs_of_the_environment_are_kept_as_kubectl_takes_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KUBECONFIG", ":/a::/b")
    assert cluster(choose(options()).read()).kubeconfig == "/a:/b"
    assert cluster(choose(options("--manifests", "a.yaml")).read()).kubeconfig == ""
    assert cluster(choose(options("--kubeconfig", "/b")).read()).kubeconfig == "/b"


def test_settings_come_from_flags_and_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose(options()).settings == Settings()
    monkeypatch.setenv("KDNS_SNAPSHOT", "/var/lib/kdns/snapshot")
    monkeypatch.setenv("KDNS_LAMEDUCK", "5s")
    given = ("--ready-when", "fresh=30s", "--lameduck", "7s", "--negative-ttl", "1", "--snapshot-max-age", "1h")
    assert choose(options(*given)).settings == Settings(
        snapshot="/var/lib/kdns/snapshot",
        snapshot_max_age=3600.0,
        ready_when=ReadyWhen(Condition.FRESH, 30 * 10**9),
        negative_ttl=1,
        lameduck=7.0,
    )


def test_settings_of_clients_and_the_log_come_the_same_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KDNS_COOKIE_SECRET", "/run/secrets/cookie")
    monkeypatch.setenv("KDNS_RRL", "100")
    assert choose(options("--log-format", "json", "--client-queries", "64", "--rrl", "5")).settings == Settings(
        cookie_secret="/run/secrets/cookie",
        log_format=LogFormat.JSON,
        client_queries=64,
        rrl=5,
    )


def test_a_wrong_setting_is_refused_before_anything_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KDNS_NEGATIVE_TTL", "soon")
    with pytest.raises(CorefileError, match=r"^KDNS_NEGATIVE_TTL: a number of seconds from 0 to 3600 expected"):
        choose(options("-conf", "missing"))
    assert choose(options("-conf", "missing", "--negative-ttl", "0")).settings.negative_ttl == 0
