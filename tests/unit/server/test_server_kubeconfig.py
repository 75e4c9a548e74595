"""kdns.server.kubeconfig: which context, from which file, and every mistake with its line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kdns.server.kubeconfig import AccessError, Kubeconfig, read_kubeconfig

KUBECONFIG = """\
apiVersion: v1
kind: Config
current-context: shop
contexts:
- name: shop
  context: {cluster: shop-cluster, user: shop-user}
- name: lab
  context:
    cluster: lab-cluster
    user: lab-user
clusters:
- name: shop-cluster
  cluster:
    server: https://shop.example:6443/
    certificate-authority: pki/ca.crt
- name: lab-cluster
  cluster:
    server: https://10.0.0.1:6443
    certificate-authority-data: QUFB
    tls-server-name: kubernetes
users:
- name: shop-user
  user:
    token: secret
- name: lab-user
  user:
    client-certificate: client.crt
    client-key: /abs/client.key
"""


def _written(directory: Path, text: str = KUBECONFIG, name: str = "config") -> str:
    path = directory / name
    path.write_text(text)
    return str(path)


def _refusal(directory: Path, text: str, context: str = "") -> str:
    with pytest.raises(AccessError) as caught:
        read_kubeconfig(_written(directory, text), context)
    return str(caught.value).removeprefix(str(directory) + "/")


# What is found


def test_the_current_context_is_taken(tmp_path: Path) -> None:
    found = read_kubeconfig(_written(tmp_path))
    assert (found.context, found.server) == ("shop", "https://shop.example:6443")
    assert found.user.values == {"token": "secret"}
    assert str(found) == f"{tmp_path}/config (context shop)"


def test_a_context_can_be_named(tmp_path: Path) -> None:
    found = read_kubeconfig(_written(tmp_path), "lab")
    assert (found.context, found.server) == ("lab", "https://10.0.0.1:6443")
    assert found.cluster.text("tls-server-name") == "kubernetes"


def test_relative_paths_start_at_their_file(tmp_path: Path) -> None:
    shop, lab = (read_kubeconfig(_written(tmp_path), name) for name in ("shop", "lab"))
    assert shop.cluster.text("certificate-authority") == f"{tmp_path}/pki/ca.crt"
    assert lab.user.text("client-certificate") == f"{tmp_path}/client.crt"
    assert lab.user.text("client-key") == "/abs/client.key"


def test_a_change_of_what_it_refers_to_is_a_change_of_it(tmp_path: Path) -> None:
    config = _written(tmp_path)
    assert set(read_kubeconfig(config).files) == {config, f"{tmp_path}/pki/ca.crt"}
    assert set(read_kubeconfig(config, "lab").files) == {config, f"{tmp_path}/client.crt", "/abs/client.key"}


def test_the_files_that_it_needs_are_told_with_their_places_but_those_that_are_given_in_it(tmp_path: Path) -> None:
    config = _written(tmp_path)
    assert read_kubeconfig(config).referred == ((f"{config}:15", f"{tmp_path}/pki/ca.crt"),)
    client = ((f"{config}:27", f"{tmp_path}/client.crt"), (f"{config}:28", "/abs/client.key"))
    assert read_kubeconfig(config, "lab").referred == client
    both = _written(tmp_path, KUBECONFIG.replace("client-key:", "client-key-data: QUFB\n    client-key:"))
    assert read_kubeconfig(both, "lab").referred == client[:1], "data come before a file, as for kubectl"


def test_places_are_lines_of_keys_or_else_of_their_entry(tmp_path: Path) -> None:
    cluster = read_kubeconfig(_written(tmp_path)).cluster
    assert cluster.place("certificate-authority-data", "certificate-authority") == f"{tmp_path}/config:15"
    assert cluster.place("proxy-url") == f"{tmp_path}/config:12"


def test_a_json_kubeconfig_is_read_too(tmp_path: Path) -> None:
    text = json.dumps(
        {
            "current-context": "a",
            "contexts": [{"name": "a", "context": {"cluster": "c"}}],
            "clusters": [{"name": "c", "cluster": {"server": "https://h"}}],
            "users": None,
        }
    )
    found = read_kubeconfig(_written(tmp_path, text))
    assert (found.server, dict(found.user.values)) == ("https://h", {})


def test_the_home_directory_may_be_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    _written(tmp_path)
    assert read_kubeconfig("~/config").context == "shop"


# Plugins


def _with_user(directory: Path, user: str) -> Kubeconfig:
    return read_kubeconfig(_written(directory, KUBECONFIG.replace("    token: secret\n", user)))


def test_a_plugin_with_a_relative_path_starts_at_the_file_and_one_without_is_looked_for(tmp_path: Path) -> None:
    user = _with_user(tmp_path, "    exec: {command: bin/login, apiVersion: v1, args: [a/b]}\n")
    assert (user.user.plugin, user.runs_plugin) == (f"{tmp_path}/bin/login", True)
    assert user.user.values["exec"]["args"] == ["a/b"]
    user = _with_user(tmp_path, "    exec: {command: aws, apiVersion: v1}\n")
    assert user.user.plugin == "aws"


@pytest.mark.parametrize("token", ["token: secret", "tokenFile: token"])
def test_a_token_goes_before_a_plugin(tmp_path: Path, token: str) -> None:
    assert not _with_user(tmp_path, f"    {token}\n    exec: {{command: aws}}\n").runs_plugin


# Several files


def test_of_several_files_the_first_word_counts(tmp_path: Path) -> None:
    first = _written(
        tmp_path,
        "contexts:\n- {name: lab, context: {cluster: lab-cluster, user: lab-user}}\n"
        "users:\n- {name: lab-user, user: {token: first}}\n",
        "first",
    )
    second = _written(tmp_path, KUBECONFIG.replace("current-context: shop", "current-context: lab"), "second")
    third = _written(tmp_path, "current-context: nowhere\n", "third")
    found = read_kubeconfig(f"{first}:{second}:{third}")
    assert (found.context, found.server, found.user.text("token")) == ("lab", "https://10.0.0.1:6443", "first")
    assert set(found.files) == {first, second, third}


def test_of_several_files_some_may_be_missing_but_not_all(tmp_path: Path) -> None:
    config = _written(tmp_path)
    assert read_kubeconfig(f"{tmp_path}/none::{config}").context == "shop"
    with pytest.raises(AccessError, match=r"one and .*two: no such kubeconfig"):
        read_kubeconfig(f"{tmp_path}/one:{tmp_path}/two")


def test_relative_paths_of_a_second_file_start_there(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    first = _written(tmp_path, "current-context: shop\n", "first")
    second = _written(tmp_path / "other", KUBECONFIG)
    found = read_kubeconfig(f"{first}:{second}")
    assert found.cluster.text("certificate-authority") == f"{tmp_path}/other/pki/ca.crt"


# Mistakes


def test_a_missing_kubeconfig_is_named(tmp_path: Path) -> None:
    with pytest.raises(AccessError, match=f"{tmp_path}/absent: no such kubeconfig"):
        read_kubeconfig(f"{tmp_path}/absent")


def test_broken_yaml_is_told_with_its_line(tmp_path: Path) -> None:
    broken = KUBECONFIG.replace("- name: lab\n", "- name: lab: x\n")
    assert _refusal(tmp_path, broken).startswith("config:7: not YAML:")


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just words"])
def test_what_is_no_kubeconfig_at_all_is_refused(tmp_path: Path, text: str) -> None:
    assert "not a kubeconfig" in _refusal(tmp_path, text)


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(AccessError, match="not UTF-8"):
        read_kubeconfig(f"{tmp_path}/config")
    (tmp_path / "config").write_bytes(b"a: \x00")
    with pytest.raises(AccessError, match="not YAML"):
        read_kubeconfig(f"{tmp_path}/config")
    with pytest.raises(AccessError, match="Is a directory"):
        read_kubeconfig(str(tmp_path))


def test_an_unknown_context_is_told_with_those_that_there_are(tmp_path: Path) -> None:
    assert _refusal(tmp_path, KUBECONFIG, "prod") == "config: no context `prod`; there are lab, shop"
    config, more = _written(tmp_path), _written(tmp_path, KUBECONFIG, "more")
    with pytest.raises(AccessError) as caught:
        read_kubeconfig(f"{config}:{more}", "prod", "Corefile:3:20")
    assert str(caught.value) == f"Corefile:3:20: no context `prod` in {config} and {more}; there are lab, shop"
    without = KUBECONFIG.replace("current-context: shop\n", "")
    assert "no `current-context`: set one, or name a context; there are lab, shop" in _refusal(tmp_path, without)
    assert "there are none" in _refusal(tmp_path, "current-context: a\n")


MISTAKES = [
    ("cluster: shop-cluster, ", "", "config:5: context `shop` names no cluster"),
    ("cluster: shop-cluster,", "cluster: gone,", "config:6: context `shop` names cluster `gone`, which is missing"),
    ("user: shop-user}", "user: gone}", "config:6: context `shop` names user `gone`, which is missing"),
    ("    server: https://shop.example:6443/\n", "", "config:12: cluster `shop-cluster` names no `server`"),
    ("server: https://shop.example:6443/", "server: 10", "config:14: `server` must be text: put it in quotes"),
    ("token: secret", "token: 12345", "config:24: `token` must be text"),
    ("token: secret", "auth-provider: {name: gcp}", "config:24: `auth-provider` is out of use: use an `exec` plugin"),
    ("token: secret", "exec: {args: [a]}", "config:24: `exec` needs a `command`"),
    ("- name: shop-user\n  user:", "- user:", "config:22: a user without a name"),
    ("certificate-authority: pki/ca.crt", "insecure-skip-tls-verify: true", "config:15: `insecure-skip-tls-verify`"),
]


@pytest.mark.parametrize(("old", "new", "told"), MISTAKES, ids=[told for _, _, told in MISTAKES])
def test_a_mistake_is_told_with_its_line(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert old in KUBECONFIG
    assert _refusal(tmp_path, KUBECONFIG.replace(old, new)).startswith(told)


def test_unverified_tls_is_refused_with_what_to_do_instead(tmp_path: Path) -> None:
    text = KUBECONFIG.replace("certificate-authority: pki/ca.crt", "insecure-skip-tls-verify: true")
    assert "certificate-authority-data" in _refusal(tmp_path, text)
    harmless = text.replace("verify: true", "verify: false")
    assert read_kubeconfig(_written(tmp_path, harmless)).context == "shop"


def test_a_mistake_in_another_context_is_none_of_ours(tmp_path: Path) -> None:
    text = KUBECONFIG.replace("certificate-authority-data: QUFB", "insecure-skip-tls-verify: true")
    assert read_kubeconfig(_written(tmp_path, text)).context == "shop"


def test_a_section_that_is_no_list_is_told_with_its_line(tmp_path: Path) -> None:
    assert "config:2: `contexts` must be a list" in _refusal(tmp_path, "current-context: a\ncontexts: {a: b}\n")
    assert "config:3: a context without a name" in _refusal(tmp_path, "current-context: a\ncontexts:\n- words\n")
