"""docs/install.md, followed as far as that goes without a cluster and a container runtime.

What is passed to kdns in a container is passed to kdns here. Of what is asked of a cluster only that is checked which
is in this tree: files, and the objects that our manifests make. The page says that no more than that is run.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy import render
from kdns.corefile import parse_corefile

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
COREFILE = ROOT / "tests" / "data" / "corefiles" / "kubeadm.corefile"
# Commands stand in lines of their own, or in the table of what is not run.
COMMANDS = [
    command
    for command in (
        *re.findall(r"^    ([a-z][\w/.]* .*|deploy/\S+)$", PAGE, re.MULTILINE),
        *re.findall(r"^\| [^|]+\| `([^`]+)`", PAGE, re.MULTILINE),
    )
    if not command.startswith("clusterDNS")
]
IMAGE = "kdns:0.1.0"
# Objects of kubeadm's, whichever server they run.
KUBEADMS = {"deployment/coredns", "configmap/coredns"}


def words(command: str) -> list[str]:
    """The words of a command's last part, without what is set for it."""
    last = command.rpartition(" && ")[2].partition(" >")[0]
    found = shlex.split(last)
    while "=" in found[0]:
        found.pop(0)
    return found


def after(program: str) -> list[list[str]]:
    return [rest for first, *rest in map(words, COMMANDS) if first == program]


def documents(overlay: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((render.RENDERED / f"{overlay}.yaml").read_text(encoding="utf-8")))


def ours() -> set[str]:
    """kind/name of all that the manifests make."""
    made = [one for name in render.names() for one in documents(name)]
    return {f"{one['kind'].lower()}/{one['metadata']['name']}" for one in made}


def test_a_program_that_is_not_here_is_said_not_to_be_run() -> None:
    programs = {words(command)[0] for command in COMMANDS}
    assert programs == {"docker", "kubectl", "kustomize", "make", "python", "deploy/kind/try.sh"}
    (said,) = re.findall(r"Of the commands on this page that begin with (.*), that is tested", PAGE)
    assert set(re.findall(r"`(\w+)`", said)) == {"docker", "kubectl", "kustomize"}


@pytest.mark.parametrize("arguments", [rest for rest in after("docker") if rest[0] == "run"], ids=" ".join)
def test_what_is_passed_to_kdns_in_a_container_is_what_it_takes(arguments: list[str]) -> None:
    passed = arguments[arguments.index(IMAGE) + 1 :]
    here = [str(COREFILE) if word == "/etc/coredns/Corefile" else word for word in passed]
    done = subprocess.run([sys.executable, "-m", "kdns", *here], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    if "--print-corefile" in passed:
        (block,) = parse_corefile(done.stdout, "printed").blocks
        assert block.kubernetes
        assert block.forward
        assert block.cache
    else:
        assert done.stdout.startswith("kdns-")


def test_what_is_read_from_a_cluster_is_where_kubeadm_has_it() -> None:
    (got,) = [rest for rest in after("kubectl") if "get" in rest]
    assert got[got.index("configmap") + 1] == "coredns"
    assert got[-1] == "jsonpath={.data.Corefile}"


@pytest.mark.parametrize("arguments", [*after("kubectl"), *after("python"), *after("make")], ids=" ".join)
def test_files_and_targets_that_commands_name_exist(arguments: list[str]) -> None:
    for option, value in pairwise(arguments):
        if option in ("-k", "-f", "--patch-file"):
            assert (ROOT / value).exists(), value
    if arguments[:2] == ["-m", "pytest"]:
        assert (ROOT / arguments[2]).is_dir()
    if arguments == ["test-realapi"]:
        assert "\ntest-realapi:" in (ROOT / "Makefile").read_text()


@pytest.mark.parametrize("arguments", after("kubectl"), ids=" ".join)
def test_objects_that_commands_name_are_ours_or_kubeadms(arguments: list[str]) -> None:
    named = {word for word in arguments if re.fullmatch(r"[a-z]+/[a-z]+", word)}
    kinds = ("deployment", "configmap")
    named |= {f"{kind}/{name}" for kind, name in pairwise(arguments) if kind in kinds and name.isalpha()}
    assert named <= ours() | KUBEADMS


def test_the_image_whose_name_is_set_is_one_of_the_overlay() -> None:
    (arguments,) = after("kustomize")
    overlay = re.search(r"cd (\S+) && kustomize", PAGE)
    assert overlay is not None
    name = arguments[-1].partition("=")[0]
    assert f"image: {name}:" in (render.RENDERED / f"{Path(overlay[1]).name}.yaml").read_text()


def test_what_pods_verified_needs_is_a_rule_that_the_cluster_role_lacks() -> None:
    (line,) = re.findall(r"^    (- \{apiGroups.*)$", PAGE, re.MULTILINE)
    (rule,) = yaml.safe_load(line)
    assert rule == {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]}
    (role,) = [one for one in documents("standalone") if one["kind"] == "ClusterRole"]
    assert "pods" not in {resource for given in role["rules"] for resource in given["resources"]}


def test_kubelets_are_given_the_address_of_the_node_and_that_of_the_cluster() -> None:
    (addresses,) = re.findall(r"^    clusterDNS: \[(.*)\]$", PAGE, re.MULTILINE)
    node, cluster = addresses.split(", ")
    assert node in (render.RENDERED / "nodelocal.yaml").read_text()
    (service,) = [one for one in documents("standalone") if one["kind"] == "Service"]
    assert service["spec"]["clusterIP"] == cluster
