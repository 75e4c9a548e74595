"""The resolvers that pods bring, each asked as a program that finds the pod's /etc/resolv.conf.

    for resolver in RESOLVERS.values():
        if "tcp" in resolver.transports: resolver.ask(shell, "tcp", [Question("A", "web.shop")])   # [["10.96.12.10"]]

Every resolver answers with texts, sorted: addresses, names without the last dot, `priority weight port target`, the
strings of a text in one; NO_NAME or NO_DATA for what is not there, and FAILED if it could not find out: each in the
place of an answer, or nothing where the resolver keeps it to itself. Libraries are asked by programs that go on, as
those in pods do: a line with questions, a line with answers, both JSON. This module is one:
python -m tests.support.podresolvers LIBRARY    Not here: the pod (tests.support.podhost).
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

Answers = list[list[str]]
NO_NAME, NO_DATA, FAILED = "no such name", "no such record", "failed"
REASONS = (NO_NAME, NO_DATA, FAILED)
HOST = "HOST"  # addresses of both families at a time, as most programs ask for
ADDRESSES = ("A", "AAAA", HOST)
RECORDS = ("A", "AAAA", "SRV", "PTR", "MX", "TXT")


class Question(NamedTuple):
    """kind: one of RECORDS, or HOST; of PTR the name is an address."""

    kind: str
    name: str


class Shell(Protocol):
    """Where programs find the pod's /etc/resolv.conf."""

    def run(self, command: Sequence[str]) -> str:
        """Run a program, and return what it prints; it may fail, as some do for a name that is not there."""

    def converse(self, command: Sequence[str], line: str) -> str:
        """Have a program that reads lines answer one; it is started if it does not run yet."""


Ask = Callable[[Shell, str, Sequence[Question]], Answers]


class Resolver(NamedTuple):
    """program: what has to be installed. package: where Debian has it. searches: it uses the list of resolv.conf.

    kinds: what it can ask for. transports: `tcp` where it can be made to use nothing else. tells: the
    reasons for no answer that it keeps apart.
    """

    ask: Ask
    program: str
    package: str
    searches: bool
    kinds: tuple[str, ...] = RECORDS
    transports: tuple[str, ...] = ("udp", "tcp")
    tells: tuple[str, ...] = REASONS

    def told(self, answer: list[str]) -> list[str]:
        """What it makes of this answer."""
        if answer[0] in self.tells or answer[0] not in REASONS:
            return answer
        return [NO_NAME] if NO_NAME in self.tells else []


# Programs


def _ask_getent(shell: Shell, _: str, questions: Sequence[Question]) -> Answers:
    databases = {"A": "ahostsv4", "AAAA": "ahostsv6", HOST: "ahosts", "PTR": "hosts"}
    words = [word for kind, name in questions for word in (databases[kind], name)]
    script = 'while [ $# -gt 0 ]; do getent "$1" "$2"; echo .; shift 2; done'
    output = shell.run(["sh", "-c", script, "getent", *words]).split(".\n")
    found = []
    for (kind, _), lines in zip(questions, output[:-1], strict=True):
        texts = {line.split()[kind == "PTR"] for line in lines.splitlines()}
        found.append(sorted(text for text in texts if not text.startswith("::ffff:")))  # ahostsv6 maps IPv4 to it
    return found


def _ask_dig(shell: Shell, transport: str, questions: Sequence[Question]) -> Answers:
    options = ["+search", "+noall", "+comments", "+answer", *(["+tcp"] if transport == "tcp" else [])]
    return _answers(shell.run(["dig", *options, *_words(questions)]), questions)


def _ask_kdig(shell: Shell, transport: str, questions: Sequence[Question]) -> Answers:
    options = ["+noall", "+header", "+answer", *(["+tcp"] if transport == "tcp" else [])]
    return _answers(shell.run(["kdig", *options, *_words(questions)]), questions)


def _ask_drill(shell: Shell, transport: str, questions: Sequence[Question]) -> Answers:
    option = "-t" if transport == "tcp" else "-a"  # -a: TCP where UDP is truncated
    script = 'while [ $# -gt 0 ]; do drill "$0" "$1" "$2"; shift 2; done'
    return _answers(shell.run(["sh", "-c", script, option, *_words(questions)]), questions)


def _words(questions: Sequence[Question]) -> list[str]:
    """What dig and those like it are to ask."""
    words = [("-x", name) if kind == "PTR" else (name, kind) for kind, name in questions]
    return [word for pair in words for word in pair]


# The head of a reply, or why there is none.
_HEAD = re.compile(
    r"HEADER.*(?:status|rcode): (\w+)|no servers could be reached|failed to query server|error sending query"
)


_REASONS: dict[str | None, str] = {"NOERROR": NO_DATA, "NXDOMAIN": NO_NAME}


def _answers(output: str, questions: Sequence[Question]) -> Answers:
    """What they print; names of a chain of aliases are not what was asked for."""
    found: Answers = []
    statuses: list[str | None] = []
    for line in output.splitlines():
        head = _HEAD.search(line)
        if head:
            statuses.append(head[1])
            found.append([])
        elif found and line and not line.startswith(";"):
            _, _, _, kind, rdata = line.split(maxsplit=4)
            if kind == questions[len(found) - 1].kind:
                found[-1].append(_text(kind, rdata))
    assert len(found) == len(questions), output
    return [sorted(each) or [_REASONS.get(status, FAILED)] for each, status in zip(found, statuses, strict=True)]


def _text(kind: str, rdata: str) -> str:
    return rdata.replace('" "', "").strip('"') if kind == "TXT" else rdata.removesuffix(".")


# Libraries, and programs of our own


def _conversing(*command: str) -> Ask:
    def ask(shell: Shell, transport: str, questions: Sequence[Question]) -> Answers:
        return [sorted(each) for each in json.loads(shell.converse(command, json.dumps([transport, questions])))]

    return ask


def _library(name: str) -> Ask:
    return _conversing(sys.executable, "-m", "tests.support.podresolvers", name)


# What Node has two of: a resolver, and the lookup of addresses that its programs use unless told otherwise.
NODE = """
const dns = require("dns").promises;
const texts = {
  SRV: one => `${one.priority} ${one.weight} ${one.port} ${one.name}`,
  MX: one => `${one.priority} ${one.exchange}`,
  TXT: one => one.join(""),
};
const families = {A: 4, AAAA: 6, HOST: 0};
const lookup = (kind, name) => dns.lookup(name, {all: true, family: families[kind]})
  .then(found => found.map(one => one.address));
const resolve = (kind, name) => kind == "PTR" ? dns.reverse(name) : dns.resolve(name, kind);
const asking = {lookup, resolve}[process.argv[1]];
const reasons = {ENOTFOUND: "NO_NAME", ENODATA: "NO_DATA"};
const ask = ([kind, name]) => asking(kind, name).then(
  found => texts[kind] ? found.map(texts[kind]) : found, error => [reasons[error.code] || "FAILED"]);
require("readline").createInterface({input: process.stdin}).on("line", line =>
  Promise.all(JSON.parse(line)[1].map(ask)).then(found => console.log(JSON.stringify(found))));
"""


def _node(way: str) -> Ask:
    return _conversing("node", "-e", _with_reasons(NODE), way)


def _with_reasons(program: str) -> str:
    return program.replace("NO_NAME", NO_NAME).replace("NO_DATA", NO_DATA).replace("FAILED", FAILED)


MUSL = r"""
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

static void lookup(const char *name, int family) {
    struct addrinfo hints = {.ai_family = family, .ai_socktype = SOCK_STREAM}, *found = 0;
    char text[256];
    int error = getaddrinfo(name, 0, &hints, &found);
    if (error) fputs(error == EAI_NONAME ? "NO_NAME" : error == EAI_NODATA ? "NO_DATA" : "FAILED", stdout);
    if (error) return;
    for (; found; found = found->ai_next)
        if (!getnameinfo(found->ai_addr, found->ai_addrlen, text, sizeof text, 0, 0, NI_NUMERICHOST))
            printf("%s\t", text);
}

static void reverse(const char *address) {
    struct sockaddr_in four = {.sin_family = AF_INET};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6};
    int is_six = inet_pton(AF_INET6, address, &six.sin6_addr);
    char text[256];
    inet_pton(AF_INET, address, &four.sin_addr);
    int error = getnameinfo(is_six ? (void *)&six : (void *)&four, is_six ? sizeof six : sizeof four,
                            text, sizeof text, 0, 0, NI_NAMEREQD);
    fputs(!error ? text : error == EAI_NONAME ? "NO_NAME" : "FAILED", stdout);
}

static int family_of(const char *kind) {
    return kind[0] == 'H' ? AF_UNSPEC : kind[1] == ':' ? AF_INET : AF_INET6;
}

/* KIND:NAME... : a line of answers for each. */
int main(int count, char **words) {
    for (int at = 1; at < count; at++) {
        char *name = strchr(words[at], ':') + 1;
        if (words[at][0] == 'P') reverse(name);
        else lookup(name, family_of(words[at]));
        puts("");
    }
    return 0;
}
"""


def build_musl(directory: Path) -> Path:
    """Compile the program whose resolver is musl's, as containers of Alpine have it."""
    source, program = directory / "musl.c", directory / "musl-resolver"
    source.write_text(_with_reasons(MUSL))
    subprocess.run(["musl-gcc", "-static", "-Os", "-Wall", "-o", str(program), str(source)], check=True)
    return program


def musl(program: Path) -> Resolver:
    """Such a program."""

    def ask(shell: Shell, _: str, questions: Sequence[Question]) -> Answers:
        lines = shell.run([str(program), *(f"{kind}:{name}" for kind, name in questions)]).splitlines()
        return [sorted(set(line.removesuffix("\t").split("\t"))) for line in lines]

    return Resolver(ask, "musl-gcc", "musl-tools", True, (*ADDRESSES, "PTR"), ("udp",), (NO_NAME, FAILED))


RESOLVERS = {
    "glibc": Resolver(_ask_getent, "getent", "libc-bin", True, (*ADDRESSES, "PTR"), tells=()),
    "getaddrinfo": Resolver(_library("getaddrinfo"), "python3", "python3", True, ADDRESSES),  # glibc's
    "c-ares": Resolver(_library("c-ares"), "python3", "python3", True, (*RECORDS, HOST)),
    "dnspython": Resolver(_library("dnspython"), "python3", "python3", True),
    "dig": Resolver(_ask_dig, "dig", "bind9-dnsutils", True),
    "kdig": Resolver(_ask_kdig, "kdig", "knot-dnsutils", False),
    "drill": Resolver(_ask_drill, "drill", "ldnsutils", False),
    "node": Resolver(_node("resolve"), "node", "nodejs", False, RECORDS, ("udp",)),
    # glibc's getaddrinfo again.
    "node-lookup": Resolver(_node("lookup"), "node", "nodejs", True, ADDRESSES, tells=(NO_NAME, FAILED)),
}


# The program that this module is

_FAMILIES = {"A": socket.AF_INET, "AAAA": socket.AF_INET6, HOST: socket.AF_UNSPEC}


def _dnspython(transport: str, questions: Sequence[Question]) -> Answers:
    import dns.exception
    import dns.resolver

    resolver = dns.resolver.Resolver()
    found = []
    for kind, name in questions:
        try:
            if kind == "PTR":
                answer = resolver.resolve_address(name, tcp=transport == "tcp")
            else:
                answer = resolver.resolve(name, kind, tcp=transport == "tcp", search=True)
            found.append([_text(kind, rdata.to_text()) for rdata in answer])
        except dns.resolver.NXDOMAIN:
            found.append([NO_NAME])
        except dns.resolver.NoAnswer:
            found.append([NO_DATA])
        except dns.exception.DNSException:
            found.append([FAILED])
    return found


_GETADDRINFO_REASONS = {socket.EAI_NONAME: NO_NAME, socket.EAI_NODATA: NO_DATA}


def _getaddrinfo(_: str, questions: Sequence[Question]) -> Answers:
    found = []
    for kind, name in questions:
        try:
            found.append(sorted({str(one[4][0]) for one in socket.getaddrinfo(name, None, _FAMILIES[kind])}))
        except socket.gaierror as error:
            found.append([_GETADDRINFO_REASONS.get(error.errno or 0, FAILED)])
    return found


def _c_ares(transport: str, questions: Sequence[Question]) -> Answers:
    return asyncio.run(_ask_c_ares(transport, questions))


async def _ask_c_ares(transport: str, questions: Sequence[Question]) -> Answers:
    import aiodns
    import pycares

    flags = pycares.ARES_FLAG_USEVC if transport == "tcp" else 0
    resolver = aiodns.DNSResolver(flags=flags)
    texts = {
        "SRV": lambda one: f"{one.priority} {one.weight} {one.port} {one.host}",
        "MX": lambda one: f"{one.priority} {one.host}",
        "TXT": lambda one: one.text,
    }

    reasons = {aiodns.error.ARES_ENOTFOUND: NO_NAME, aiodns.error.ARES_ENODATA: NO_DATA}

    async def ask(kind: str, name: str) -> list[str]:
        try:
            if kind == "PTR":
                return [(await resolver.gethostbyaddr(name)).name]
            if kind in texts:
                return [texts[kind](one) for one in await resolver.query(name, kind)]
            nodes = (await resolver.getaddrinfo(name, family=_FAMILIES[kind])).nodes
            return sorted({one.addr[0].decode() for one in nodes})
        except aiodns.error.DNSError as error:
            return [reasons.get(error.args[0], FAILED)]

    return [await ask(kind, name) for kind, name in questions]


_LIBRARIES: dict[str, Callable[[str, Sequence[Question]], Answers]] = {
    "c-ares": _c_ares,
    "dnspython": _dnspython,
    "getaddrinfo": _getaddrinfo,
}


def main(library: str) -> None:
    """See above."""
    for line in sys.stdin:
        transport, questions = json.loads(line)
        found = _LIBRARIES[library](transport, [Question(*question) for question in questions])
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
