"""deploy/rendered is what deploy/overlays say, by our own renderer and, where there is one, by kubectl's."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy import render

NEEDED = (1, 27)  # the first with kustomize 5, which knows sortOptions


def test_what_is_committed_is_what_the_renderer_makes() -> None:
    for name in render.names():
        path = render.RENDERED / f"{name}.yaml"
        assert path.read_text(encoding="utf-8") == render.text(name), f"{path} is stale: python deploy/render.py"


def test_nothing_else_is_committed_there() -> None:
    assert sorted(path.name for path in render.RENDERED.iterdir()) == [f"{name}.yaml" for name in render.names()]


def test_checking_is_silent_and_exits_with_0() -> None:
    assert render.main(["--check"]) == 0


@pytest.fixture(scope="module")
def kubectl() -> str:
    """A kubectl that is new enough. It is run without a kubeconfig: kustomize asks no cluster."""
    program = os.environ.get("KDNS_TEST_KUBECTL", "")
    if not program:
        pytest.skip("KDNS_TEST_KUBECTL does not name a kubectl: its kustomize is not compared with deploy/render.py")
    said = subprocess.run([program, "version", "--client"], capture_output=True, text=True, env=_without_clusters())
    version = re.search(r"v(\d+)\.(\d+)\.", said.stdout)
    assert version, f"{program} version --client says {said.stdout or said.stderr!r}"
    if (found := (int(version[1]), int(version[2]))) < NEEDED:
        pytest.skip(f"KDNS_TEST_KUBECTL is {found[0]}.{found[1]}, and kustomize 5 comes with {NEEDED[0]}.{NEEDED[1]}")
    return program


@pytest.mark.parametrize("name", render.names())
def test_kubectl_makes_the_same_of_it(kubectl: str, name: str) -> None:
    command = [kubectl, "kustomize", str(render.OVERLAYS / name)]
    done = subprocess.run(command, capture_output=True, text=True, env=_without_clusters())
    assert done.returncode == 0, done.stderr
    assert list(yaml.safe_load_all(done.stdout)) == render.build(render.OVERLAYS / name)


def _without_clusters() -> dict[str, str]:
    return {**os.environ, "KUBECONFIG": os.devnull}


OLD: dict[str, Any] = {
    "spec": {"containers": [{"name": "a", "image": "a:1", "args": ["x", "y"]}, {"name": "b"}], "replicas": 2},
    "metadata": {"name": "n", "labels": {"keep": "1", "change": "1", "drop": "1"}},
}


@pytest.mark.parametrize(
    ("change", "path", "wanted"),
    [
        ({"spec": {"replicas": 3}}, ("spec", "replicas"), 3),
        ({"metadata": {"labels": {"change": "2", "drop": None}}}, ("metadata", "labels", "change"), "2"),
        ({"metadata": {"labels": {"drop": None}}}, ("metadata", "labels"), {"keep": "1", "change": "1"}),
        ({"spec": {"containers": [{"name": "a", "image": "a:2"}]}}, ("spec", "containers", 0, "image"), "a:2"),
        ({"spec": {"containers": [{"name": "a", "image": "a:2"}]}}, ("spec", "containers", 0, "args"), ["x", "y"]),
        ({"spec": {"containers": [{"name": "a", "args": ["z"]}]}}, ("spec", "containers", 0, "args"), ["z"]),
        ({"spec": {"containers": [{"name": "a", "image": "a:2"}]}}, ("spec", "containers", 1), {"name": "b"}),
        ({"spec": {"containers": [{"name": "c"}]}}, ("spec", "containers", 0), {"name": "c"}),
    ],
)
def test_patches_merge_strategically(change: dict[str, Any], path: tuple[str | int, ...], wanted: object) -> None:
    found: Any = render.merge(OLD, change)
    for key in path:
        found = found[key]
    assert found == wanted


def test_a_merge_leaves_what_it_was_made_of_as_it_was() -> None:
    before = yaml.safe_dump(OLD)
    render.merge(OLD, {"spec": {"containers": [{"name": "a", "image": "a:2"}]}, "metadata": {"labels": {"new": "1"}}})
    assert yaml.safe_dump(OLD) == before


def _overlay(directory: Path, kustomization: str, **files: str) -> Path:
    (directory / "kustomization.yaml").write_text(kustomization)
    for name, text in files.items():
        (directory / f"{name}.yaml").write_text(text)
    return directory


SORTED = "sortOptions: {order: fifo}\n"
ACCOUNT = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a, namespace: n}\n"


def test_what_the_renderer_does_not_know_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"namePrefix: .* does not know that"):
        render.build(_overlay(tmp_path, f"{SORTED}namePrefix: x-\n"))


def test_an_order_that_kustomize_would_change_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="sorts by kind"):
        render.build(_overlay(tmp_path, "resources: []\n"))


def test_a_patch_for_nothing_is_refused(tmp_path: Path) -> None:
    kustomization = f"{SORTED}resources: [account.yaml]\npatches: [{{path: patch.yaml}}]\n"
    patch = ACCOUNT.replace("name: a,", "name: b,")
    with pytest.raises(SystemExit, match=r"no one document is v1 ServiceAccount n b"):
        render.build(_overlay(tmp_path, kustomization, account=ACCOUNT, patch=patch))
