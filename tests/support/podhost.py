"""A pod and its node in one network namespace: kdns at the Service address of the cluster's DNS, port 53, and a
resolv.conf for each way to it.

    with PodHost(directory, search) as pod:
        pod.serve(corefile)
        pod.ask("dig", "tcp6", [Question("A", "web")])         # {Question: ["10.96.12.10"]}
        pod.packets()                                          # {"tcp6": 1, "udp6": 0, ...}

Not here: the resolvers (tests.support.podresolvers), what is right (tests/clients).
"""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import dns.message
import dns.query

from tests.server.serving import PATIENCE, ROOT, Server
from tests.support.namespaces import Namespace, with_file
from tests.support.podresolvers import RESOLVERS, Question, Resolver, build_musl, musl

SERVERS = {"4": "10.96.0.10", "6": "fd00:10:96::a"}
WAYS = ("udp4", "udp6", "tcp4", "tcp6")


class PodHost:
    """See the module's docstring."""

    def __init__(self, directory: Path, search: str) -> None:
        self.directory = directory
        self._resolvers: dict[str, Resolver] = dict(RESOLVERS)
        self._search = search
        self._shells: dict[tuple[str, str], _WayShell] = {}
        self._lock = threading.Lock()  # several resolvers may be asked at a time, each by one thread
        self._stack = ExitStack()
        self.host = self._stack.enter_context(Namespace())
        self.host.ip("".join(f"address add {address} dev lo\n" for address in SERVERS.values()))
        self.host.nft(_counters())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    def serve(self, corefile: str, *flags: str) -> None:
        """Start kdns in the directory, and wait until it answers."""
        (self.directory / "Corefile").write_text(corefile)
        arguments = ("serve", "-conf", "Corefile", "--workers", 2, *flags)
        self._server = Server(arguments, self.directory, 53, prefix=self.host.prefix)
        self._stack.callback(self._server.kill)
        self._server.wait_for(r"\] ready: ")

    def stop(self) -> None:
        """End it at once, so that it can be served otherwise."""
        self._server.kill()

    def run(self, command: Sequence[str]) -> str:
        """Run a program in the pod, and return what it prints."""
        return self._shell("udp4", "").run(command)

    def reload(self, corefile: str) -> None:
        """Have it serve another Corefile from now on."""
        mark = self._server.mark()
        (self.directory / "Corefile").write_text(corefile)
        self._server.send(signal.SIGHUP)
        self._server.wait_for("reloaded: ", after=mark)

    @property
    def log(self) -> str:
        """What kdns has logged."""
        return self._server.log

    def add_musl(self) -> None:
        """Have musl's resolver among those that can be asked, which takes a compiler."""
        if "musl" not in self._resolvers:
            self._resolvers["musl"] = musl(build_musl(self.directory))

    def ask(
        self, name: str, way: str, questions: Sequence[Question], options: str = ""
    ) -> dict[Question, list[str]]:
        """Ask by a resolver, over a transport and to an address of a family, what it can ask for.

        options: more of them for its resolv.conf.
        """
        resolver = self._resolvers[name]
        able = [question for question in questions if question.kind in resolver.kinds]
        answers = resolver.ask(self._shell(way, options), way[:3], able)
        return dict(zip(able, answers, strict=True))

    def right(self, name: str, answers: Mapping[Question, list[str]]) -> dict[Question, list[str]]:
        """What `ask` finds if these answers are right: of what the resolver can ask for, as it tells it."""
        resolver = self._resolvers[name]
        return {one: resolver.told(answer) for one, answer in answers.items() if one.kind in resolver.kinds}

    def query(self, name: str, kind: str = "A", *, tcp: bool = False, patience: float = 5.0) -> dns.message.Message:
        """Ask directly, once; whoever answers is the one that was asked."""
        query, server = dns.message.make_query(name, kind, use_edns=True), SERVERS["4"]
        with self.host.tcp() if tcp else self.host.udp() as sock:
            sock.connect((server, 53))
            sock.setblocking(False)
            if tcp:
                return dns.query.tcp(query, server, sock=sock, timeout=patience)
            return dns.query.udp(query, server, sock=sock, timeout=patience)

    def packets(self) -> dict[str, int]:
        """How many questions came each way since this was asked last: datagrams, or SYNs."""
        listed = json.loads(self.host.run("nft", "-j", "reset", "counters"))["nftables"]
        return {one["counter"]["name"]: one["counter"]["packets"] for one in listed if "counter" in one}

    def _shell(self, way: str, options: str) -> _WayShell:
        with self._lock:
            if (way, options) not in self._shells:
                path = self.directory / f"resolv.conf.{len(self._shells)}"
                transport = "use-vc" if way[:3] == "tcp" else ""
                path.write_text(
                    f"search {self._search}\nnameserver {SERVERS[way[3:]]}\noptions ndots:5 {transport} {options}\n"
                )
                self._shells[way, options] = self._stack.enter_context(_WayShell(self.host, path))
            return self._shells[way, options]


class _WayShell:
    """Runs programs in the namespace, with a resolv.conf."""

    def __init__(self, host: Namespace, resolv_conf: Path) -> None:
        self._prefix = [*host.prefix, *with_file(resolv_conf, "/etc/resolv.conf")]
        self._programs: dict[tuple[str, ...], subprocess.Popen[str]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for program in self._programs.values():
            program.kill()
        for program in self._programs.values():
            program.communicate(timeout=PATIENCE)

    def run(self, command: Sequence[str]) -> str:
        """Run a program, and return what it prints."""
        inside = [*self._prefix, *command]
        return subprocess.run(inside, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE).stdout

    def converse(self, command: Sequence[str], line: str) -> str:
        """Have a program answer a line."""
        program = self._programs.get(tuple(command))
        if program is None:
            program = subprocess.Popen(
                [*self._prefix, *command], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            self._programs[tuple(command)] = program
        assert program.stdin is not None
        assert program.stdout is not None
        program.stdin.write(f"{line}\n")
        program.stdin.flush()
        return program.stdout.readline()


def _counters() -> str:
    chains = "".join(
        f"counter {protocol}{family} {{}}\nchain c{protocol}{family} {{ type filter hook output priority 0;"
        f" {'ip' if family == '4' else 'ip6'} daddr {address}"
        f" {'tcp flags syn tcp' if protocol == 'tcp' else 'udp'} dport 53 counter name {protocol}{family}; }}\n"
        for protocol in ("udp", "tcp")
        for family, address in SERVERS.items()
    )
    return f"table inet counting {{\n{chains}}}\n"
