"""Two kdns behind one address list are restarted one after the other while real resolvers ask 500 times a second.

One story, told once for all tests: three resolvers ask all the time, each its own two addresses, one of either kdns:

    c-ares       asks both in turn
    c-ares-tcp   as well, over TCP, with a connection for each question
    glibc        asks the first one, and the second one if it has to

No resolution may fail. A question that is lost shows as a resolution that takes as long as the resolver waits before
it asks again: that may not be while a kdns goes. While one comes, what is asked of it waits until it is ready.
All of it happens in a network namespace, where the ports are our own. `pytest -s` prints the figures.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.server.serving import PATIENCE, ROOT, Server, service
from tests.support.fakeapi import builders
from tests.support.fakeapi.process import FakeApiProcess
from tests.support.namespaces import Namespace, require_namespaces, with_file

RATE = 500.0  # questions a second, from each resolver
SERVICES = 50  # that are asked for, from each cluster
LAMEDUCK_SECONDS = 0.5
RESOLVERS = ("c-ares", "c-ares-tcp", "glibc")
SERVERS = ("first", "second")
GLIBC_TIMEOUT_SECONDS = 1  # resolv.conf knows whole ones
# What takes so long has been asked again, after silence: c-ares waits for 0.25 s at least.
LOST_SECONDS = {"c-ares": 0.24, "c-ares-tcp": 0.24, "glibc": 0.9 * GLIBC_TIMEOUT_SECONDS}
WARM_QUESTIONS = 200  # that each resolver has sent before anything happens

all_resolvers = pytest.mark.parametrize("resolver", RESOLVERS)


def _address(resolver: str, server: str) -> str:
    """Where a server listens for a resolver."""
    return f"127.0.{RESOLVERS.index(resolver)}.{SERVERS.index(server) + 1}"


@dataclass
class Resolution:
    """What became of one question. at: CLOCK_MONOTONIC."""

    at: float
    seconds: float
    problem: str


@dataclass
class Story:
    """What has happened. sent: packets with which a resolver asked, or opened a connection."""

    steps: dict[str, tuple[float, float]] = field(default_factory=dict)
    resolutions: dict[str, list[Resolution]] = field(default_factory=dict)
    sent: dict[str, int] = field(default_factory=dict)
    ready_while_stopping: list[int] = field(default_factory=list)
    exit_statuses: list[int] = field(default_factory=list)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.steps[name] = began, time.monotonic()

    def during(self, resolver: str, step: str) -> list[Resolution]:
        began, ended = self.steps[step]
        return [one for one in self.resolutions[resolver] if began <= one.at < ended]

    def figures(self, resolver: str) -> str:
        """A line for each step."""
        found = self.resolutions[resolver]
        lines = [f"{resolver}: {len(found)} resolutions, {self.sent[resolver]} packets to ask with"]
        for step in self.steps:
            ms = sorted(one.seconds * 1e3 for one in self.during(resolver, step))
            if ms:
                p50, p99 = ms[len(ms) // 2], ms[len(ms) * 99 // 100]
                lines.append(f"  {step:16} {len(ms):5}: p50 {p50:6.1f} p99 {p99:6.1f} max {ms[-1]:6.1f} ms")
        return "\n".join(lines)


class Place:
    """The namespace, the cluster, and both servers in it."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.directory = directory
        self._stack = stack
        self.host = stack.enter_context(Namespace())
        self.api = stack.enter_context(FakeApiProcess(directory, prefix=self.host.prefix))
        self.names: dict[str, str] = {}
        self._fill()
        self.servers = {name: self.serve(name) for name in SERVERS}

    def _fill(self) -> None:
        """Half of the names come from the API server, half from a manifest."""
        objects, manifest = [builders.namespace("shop")], ""
        for number in range(SERVICES):
            address = f"10.96.1.{number}"
            objects.append(builders.service("shop", f"web{number}", [builders.port(80)], clusterIP=address))
            self.names[f"web{number}.shop.svc.cluster.local"] = address
            manifest += service(f"till{number}", f"10.97.1.{number}")
            self.names[f"till{number}.shop.svc.files.test"] = f"10.97.1.{number}"
        self.api.control.apply(*objects)
        self.kubeconfig = self.api.kubeconfig(self.directory / "kubeconfig")
        (self.directory / "shop.yaml").write_text(manifest)
        (self.directory / "names").write_text("".join(f"{pair[0]} {pair[1]}\n" for pair in self.names.items()))

    def serve(self, name: str) -> Server:
        """Start a server, and wait until it is ready."""
        corefile = self.directory / f"Corefile.{name}"
        bind = f"bind {' '.join(_address(resolver, name) for resolver in RESOLVERS)}"
        manifest = self.directory / "shop.yaml"
        corefile.write_text(
            f".:53 {{\n    {bind}\n"
            f"    ready {_address('c-ares', name)}:8181\n"
            f"    health {_address('c-ares', name)}:8080 {{\n        lameduck {LAMEDUCK_SECONDS}s\n    }}\n"
            f"    kubernetes cluster.local {{\n        kubeconfig {self.kubeconfig}\n        ttl 0\n    }}\n}}\n"
            f"files.test:53 {{\n    {bind}\n"
            f"    kubernetes files.test {{\n        manifests {manifest}\n        ttl 0\n    }}\n}}\n"
        )
        arguments = ("serve", "-conf", corefile, "--workers", 2)
        server = Server(arguments, self.directory, 53, prefix=self.host.prefix)
        self._stack.callback(server.kill)
        server.wait_for(r"\] ready: ")
        return server

    def readiness(self, name: str) -> int:
        """What /ready answers."""
        address = _address("c-ares", name)
        connection = http.client.HTTPConnection(address, 8181)
        connection.sock = self.host.tcp()
        connection.sock.settimeout(PATIENCE)
        connection.sock.connect((address, 8181))
        try:
            connection.request("GET", "/ready")
            return connection.getresponse().status
        finally:
            connection.close()

    def count_packets(self) -> None:
        """Count with how many packets each resolver asks: datagrams, or SYNs."""
        rules = "".join(
            f"counter n{at} {{}}\nchain c{at} {{ type filter hook output priority 0; ip daddr"
            f" {{ {_address(resolver, 'first')}, {_address(resolver, 'second')} }}"
            f" {'tcp flags syn tcp' if resolver.endswith('tcp') else 'udp'} dport 53 counter name n{at}; }}\n"
            for at, resolver in enumerate(RESOLVERS)
        )
        self.host.nft(f"table inet counting {{\n{rules}}}\n")

    def packets(self) -> dict[str, int]:
        """What has been counted."""
        listed = json.loads(self.host.run("nft", "-j", "list", "counters"))["nftables"]
        found = {one["counter"]["name"]: one["counter"]["packets"] for one in listed if "counter" in one}
        return {resolver: found[f"n{at}"] for at, resolver in enumerate(RESOLVERS)}

    def wait_until_asked(self) -> None:
        """Until every resolver is at it."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            packets = self.packets()
            if packets["c-ares-tcp"] and min(packets["c-ares"], packets["glibc"]) > WARM_QUESTIONS:
                return
        raise AssertionError(f"not every resolver asks: {packets}")


@contextmanager
def _resolver(place: Place, name: str, story: Story) -> Iterator[None]:
    """Ask, RATE times a second, until the end of the block."""
    servers = [_address(name, server) for server in SERVERS]
    inside: Sequence[str] = ()
    if name == "glibc":
        lines = "".join(f"nameserver {server}\n" for server in servers)
        resolv_conf = place.directory / "resolv.conf"
        resolv_conf.write_text(f"{lines}options timeout:{GLIBC_TIMEOUT_SECONDS} attempts:2\n")
        inside = with_file(resolv_conf, "/etc/resolv.conf")
    program = (sys.executable, "-m", "tests.support.resolving", name, str(RATE), place.directory / "names")
    process = subprocess.Popen(
        [*place.host.prefix, *inside, *program, *servers],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield
        output, _ = process.communicate(timeout=PATIENCE)
        story.resolutions[name] = [Resolution(*one) for one in json.loads(output)]
    finally:
        process.kill()
        process.wait()


def _restart(place: Place, name: str, story: Story) -> None:
    server = place.servers[name]
    with story.step(f"{name} goes"):
        server.send(signal.SIGTERM)
        server.wait_for("stopping in")
        story.ready_while_stopping.append(place.readiness(name))
        story.exit_statuses.append(server.wait())
    with story.step(f"{name} comes"):
        place.servers[name] = place.serve(name)


def _kill_workers(place: Place) -> None:
    for server in place.servers.values():
        for name, pid in server.children().items():
            if name.startswith("kdns-worker"):
                os.kill(pid, signal.SIGKILL)
                server.wait_for_child(name, other_than=pid)


def _reload(place: Place) -> None:
    for server in place.servers.values():
        mark = server.mark()
        server.send(signal.SIGHUP)
        server.wait_for("reloaded", after=mark)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    require_namespaces("nft")
    told = Story()
    with ExitStack() as stack:
        place = Place(tmp_path_factory.mktemp("rolling"), stack)
        place.count_packets()
        with ExitStack() as load:
            for name in RESOLVERS:
                load.enter_context(_resolver(place, name, told))
            place.wait_until_asked()
            for name in SERVERS:
                _restart(place, name, told)
            with told.step("workers killed"):
                _kill_workers(place)
            with told.step("both reloaded"):
                _reload(place)
        told.sent = place.packets()
    print("", *map(told.figures, RESOLVERS), sep="\n")
    return told


@all_resolvers
def test_every_resolution_gives_the_right_address(story: Story, resolver: str) -> None:
    assert [one.problem for one in story.resolutions[resolver] if one.problem] == []


@all_resolvers
def test_the_load_was_as_high_as_it_was_meant_to_be(story: Story, resolver: str) -> None:
    """And did not wait for answers, or it would not have seen what it cost to wait."""
    asked = [one.at for one in story.resolutions[resolver]]
    assert len(asked) > 0.9 * RATE * (asked[-1] - asked[0])


@all_resolvers
@pytest.mark.parametrize("step", ["first goes", "second goes", "both reloaded"])
def test_no_question_is_lost_while_a_server_goes_or_is_reloaded(story: Story, resolver: str, step: str) -> None:
    assert [one for one in story.during(resolver, step) if one.seconds > LOST_SECONDS[resolver]] == []


@pytest.mark.parametrize("resolver", ["c-ares", "glibc"])
def test_hardly_anything_is_asked_twice_but_for_what_was_refused(story: Story, resolver: str) -> None:
    """A question is refused at most once, while the server that was asked first is away."""
    away = sum(len(story.during(resolver, f"{name} {what}")) for name in SERVERS for what in ("goes", "comes"))
    assert story.sent[resolver] <= len(story.resolutions[resolver]) + away


def test_readiness_ends_first_and_the_exit_status_is_0(story: Story) -> None:
    assert story.ready_while_stopping == [503, 503]
    assert story.exit_statuses == [0, 0]
