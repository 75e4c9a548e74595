"""The script that tries kdns on a kind cluster: run against stand-ins for docker, kind and kubectl that say what they
were asked. What it needs of the real ones cannot be had here; docs/install.md says so."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.support.programs import require

KIND = Path(__file__).parents[2] / "deploy" / "kind"
SCRIPT = KIND / "try.sh"
# Answers to what is asked of a cluster, by what the command line holds; the first that fits.
KUBECTL = """\
#!/bin/sh
echo "kubectl $*" >>"$CALLS"
case "$*" in
*"deployment coredns --output"*) echo registry.k8s.io/coredns/coredns:v1.11.3 ;;
*"rollout status"*) exit "${ROLLOUT:-0}" ;;
*"get service kubernetes "*) echo 10.96.0.1 ;;
*"get service kube-dns "*) echo 10.96.0.10 ;;
*"get endpointslices"*) printf '10.244.0.2\\n10.244.1.2\\n' ;;
*nowhere*) echo ';; ->>HEADER<<- opcode: QUERY, status: NXDOMAIN, id: 1' ;;
*" SRV "*) echo "0 100 443 kubernetes.default.svc.cluster.local." ;;
*" -x "*) echo kubernetes.default.svc.cluster.local. ;;
*kube-dns.kube-system*) echo 10.96.0.10 ;;
*dns-version*) echo '"1.1.0"' ;;
*example.com*) exit 0 ;;
*kubernetes.default*) echo "${ANSWER:-10.96.0.1}" ;;
*"apply --filename -"*) cat >/dev/null ;;
esac
"""
OTHERS = '#!/bin/sh\necho "${0##*/} $*" >>"$CALLS"\n'
KIND_PROGRAM = f"""{OTHERS}
[ "$*" = "get clusters" ] || exit 0
number=${{KDNS_TEST_CLUSTERS:-0}}
[ "$number" -eq 0 ] || echo kdns
while [ "$number" -gt 0 ]; do echo "other-$number"; number=$((number - 1)); done
"""


@dataclass
class Run:
    """A run of the script."""

    status: int
    output: str
    errors: str
    calls: list[str]


def run(directory: Path, *arguments: str, without: str = "", **environment: str) -> Run:
    """Run it with stand-ins."""
    programs, calls = directory / "bin", directory / "calls"
    programs.mkdir()
    calls.touch()
    for name, text in (("kubectl", KUBECTL), ("docker", OTHERS), ("kind", KIND_PROGRAM), ("sleep", "#!/bin/sh\n")):
        if name != without:
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
    for name in ("bash", "dirname", "grep", "sort", "paste", "wc", "cat"):
        (programs / name).symlink_to(f"/usr/bin/{name}")
    (programs / "sh").symlink_to("/bin/sh")
    environment = {"PATH": str(programs), "CALLS": str(calls), **environment}
    done = subprocess.run(
        ["/bin/bash", str(SCRIPT), *arguments], env=environment, capture_output=True, text=True, timeout=60
    )
    return Run(done.returncode, done.stdout, done.stderr, calls.read_text().splitlines())


def test_it_builds_loads_swaps_and_asks_in_this_order(tmp_path: Path) -> None:
    found = run(tmp_path)
    assert found.status == 0, found.errors
    steps = ["docker build", "docker run", "kind create", "kind load", "set image", "rollout", "exec dns-client"]
    places = [next(at for at, call in enumerate(found.calls) if step in call) for step in steps]
    assert places == sorted(places)
    assert found.output.count("ok: ") == 8
    assert "To roll back: kubectl --context kind-kdns --namespace kube-system set image" in found.output


def test_it_touches_no_cluster_but_its_own(tmp_path: Path) -> None:
    calls = [call for call in run(tmp_path, KDNS_KIND_CLUSTER="mine").calls if call.startswith("kubectl")]
    assert calls
    assert all(call.startswith("kubectl --context kind-mine ") for call in calls)


def test_a_wrong_answer_fails_and_says_which(tmp_path: Path) -> None:
    found = run(tmp_path, ANSWER="10.96.0.99")
    assert found.status == 1
    assert "dig kubernetes.default.svc.cluster.local says '10.96.0.99', not '10.96.0.1'" in found.errors
    assert "failed (exit status 1) while: asking from a pod" in found.errors


def test_a_rollout_that_hangs_fails_and_shows_the_pods(tmp_path: Path) -> None:
    found = run(tmp_path, ROLLOUT="1")
    assert found.status == 1
    assert "the rollout did not finish" in found.errors
    assert any("logs --selector k8s-app=kube-dns" in call for call in found.calls)


@pytest.mark.parametrize("program", ["docker", "kind", "kubectl"])
def test_a_program_that_is_missing_is_named_before_anything_is_done(tmp_path: Path, program: str) -> None:
    found = run(tmp_path, without=program)
    assert (found.status, found.calls) == (1, [])
    assert f"{program} is not installed" in found.errors


def test_the_cluster_is_deleted_on_request_and_nothing_else_is_done(tmp_path: Path) -> None:
    found = run(tmp_path, "--delete")
    assert found.status == 0
    assert found.calls == ["docker info", "kind delete cluster --name kdns"]


def test_an_argument_that_it_does_not_know_is_refused(tmp_path: Path) -> None:
    found = run(tmp_path, "--remove")
    assert (found.status, found.calls) == (1, ["docker info"])
    assert "unknown argument --remove" in found.errors


def test_it_stops_at_the_first_error_and_can_be_run() -> None:
    assert "\nset -euo pipefail\n" in SCRIPT.read_text()
    assert os.access(SCRIPT, os.X_OK)


@pytest.mark.peers
def test_shellcheck_has_nothing_to_say() -> None:
    require("shellcheck")
    scripts = [str(SCRIPT), str(SCRIPT.parents[2] / ".ci" / "run")]
    done = subprocess.run(["shellcheck", *scripts], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "")


def test_a_cluster_that_there_is_is_not_made_again(tmp_path: Path) -> None:
    """Among so many that the list does not fit a pipe."""
    found = run(tmp_path, KDNS_TEST_CLUSTERS="20000")
    assert found.status == 0, found.errors
    assert not any(call.startswith("kind create") for call in found.calls)


def test_the_cluster_has_a_node_for_each_replica() -> None:
    cluster = yaml.safe_load((KIND / "cluster.yaml").read_text())
    assert (cluster["kind"], cluster["apiVersion"]) == ("Cluster", "kind.x-k8s.io/v1alpha4")
    assert [node["role"] for node in cluster["nodes"]] == ["control-plane", "worker"]
