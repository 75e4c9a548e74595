"""The resolvers that pods bring, each asked as a program that finds the pod's /etc/resolv.conf.

    for resolver in RESOLVERS.values():
        if resolver.can("tcp"): resolver.ask(run, "tcp", [Question("A", "web.shop")])     # [["10.96.12.10"]]

`run` starts a command and returns what it prints; a name that is not there makes some of them fail, so it must not
mind. Every resolver answers with texts, sorted: addresses, names without the last dot, `priority weight port target`.
c-ares and dnspython are libraries, asked by this module as a program, which prints a JSON list:
python -m tests.support.podresolvers LIBRARY TRANSPORT KIND:NAME...    Not here: the pod (tests/clients).
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

Run = Callable[[Sequence[str]], str]
Answers = list[list[str]]


class Question(NamedTuple):
    """kind: A, AAAA, SRV, or PTR, of which the name is an address."""

    kind: str
    name: str


class Resolver(NamedTuple):
    """program: what has to be installed. package: where Debian has it. searches: it uses the list of resolv.conf.

    kinds: what it can ask for. transports: `tcp` where it can be made to use nothing else.
    """

    ask: Callable[[Run, str, Sequence[Question]], Answers]
    program: str
    package: str
    searches: bool
    kinds: tuple[str, ...] = ("A", "AAAA", "SRV", "PTR")
    transports: tuple[str, ...] = ("udp", "tcp")


# Programs that answer one question


def _ask_getent(run: Run, _: str, questions: Sequence[Question]) -> Answers:
    databases = {"A": "ahostsv4", "AAAA": "ahostsv6", "PTR": "hosts"}
    column = {"A": 0, "AAAA": 0, "PTR": 1}
    found = []
    for kind, name in questions:
        lines = run(["getent", databases[kind], name]).splitlines()
        found.append(sorted({line.split()[column[kind]] for line in lines}))
    return found


def _ask_dig(run: Run, transport: str, questions: Sequence[Question]) -> Answers:
    options = ["+short", "+search", *(["+tcp"] if transport == "tcp" else [])]
    return [_texts(run(["dig", *options, *_dig_words(each)])) for each in questions]


def _ask_kdig(run: Run, transport: str, questions: Sequence[Question]) -> Answers:
    options = ["+short", *(["+tcp"] if transport == "tcp" else [])]
    return [_texts(run(["kdig", *options, *_dig_words(each)])) for each in questions]


def _ask_drill(run: Run, transport: str, questions: Sequence[Question]) -> Answers:
    options = ["-Q", "-t" if transport == "tcp" else "-a"]  # -a: TCP where UDP is truncated
    found = []
    for kind, name in questions:
        words = ["-x", name] if kind == "PTR" else [name, kind]
        found.append(_texts(run(["drill", *options, *words])))
    return found


def _dig_words(question: Question) -> list[str]:
    return ["-x", question.name] if question.kind == "PTR" else ["-t", question.kind, question.name]


def _texts(output: str) -> list[str]:
    """Rdata, one a line; names of a chain of aliases are not what was asked for."""
    lines = [line.strip() for line in output.splitlines() if line.strip() and not line.startswith(";")]
    if any(line[0].isdigit() or ":" in line for line in lines):
        lines = [line for line in lines if " " in line or not line.endswith(".")]
    return sorted(line.removesuffix(".") for line in lines)


# Programs that answer all questions


def _library(name: str) -> Callable[[Run, str, Sequence[Question]], Answers]:
    def ask(run: Run, transport: str, questions: Sequence[Question]) -> Answers:
        words = [f"{kind}:{of}" for kind, of in questions]
        program = [sys.executable, "-m", "tests.support.podresolvers", name, transport]
        return [sorted(each) for each in json.loads(run([*program, *words]))]

    return ask


NODE = """
const dns = require("dns").promises;
const texts = (kind, found) => kind === "SRV"
  ? found.map(one => `${one.priority} ${one.weight} ${one.port} ${one.name}`) : found;
const ask = word => {
  const kind = word.slice(0, word.indexOf(":")), name = word.slice(word.indexOf(":") + 1);
  const asked = kind === "PTR" ? dns.reverse(name) : dns.resolve(name, kind);
  return asked.then(found => texts(kind, found), () => []);
};
Promise.all(process.argv.slice(1).map(ask)).then(found => console.log(JSON.stringify(found)));
"""


def _ask_node(run: Run, _: str, questions: Sequence[Question]) -> Answers:
    words = [f"{kind}:{name}" for kind, name in questions]
    return [sorted(each) for each in json.loads(run(["node", "-e", NODE, *words]))]


MUSL = r"""
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

static void lookup(const char *name, int family) {
    struct addrinfo hints = {.ai_family = family, .ai_socktype = SOCK_STREAM}, *found = 0;
    char text[256];
    if (getaddrinfo(name, 0, &hints, &found)) return;
    for (; found; found = found->ai_next)
        if (!getnameinfo(found->ai_addr, found->ai_addrlen, text, sizeof text, 0, 0, NI_NUMERICHOST))
            printf(" %s", text);
}

static void reverse(const char *address) {
    struct sockaddr_in four = {.sin_family = AF_INET};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6};
    int is_six = inet_pton(AF_INET6, address, &six.sin6_addr);
    char text[256];
    inet_pton(AF_INET, address, &four.sin_addr);
    if (!getnameinfo(is_six ? (void *)&six : (void *)&four, is_six ? sizeof six : sizeof four,
                     text, sizeof text, 0, 0, NI_NAMEREQD))
        printf(" %s", text);
}

/* KIND:NAME... : a line of answers for each. */
int main(int count, char **words) {
    for (int at = 1; at < count; at++) {
        char *name = strchr(words[at], ':') + 1;
        if (words[at][0] == 'P') reverse(name);
        else lookup(name, words[at][1] == ':' ? AF_INET : AF_INET6);
        puts("");
    }
    return 0;
}
"""


def build_musl(directory: Path, run: Run) -> Path:
    """Compile the program whose resolver is musl's, as containers of Alpine have it."""
    source, program = directory / "musl.c", directory / "musl-resolver"
    source.write_text(MUSL)
    run(["musl-gcc", "-static", "-Os", "-Wall", "-o", str(program), str(source)])
    return program


def musl(program: Path) -> Resolver:
    """Such a program."""

    def ask(run: Run, _: str, questions: Sequence[Question]) -> Answers:
        lines = run([str(program), *(f"{kind}:{name}" for kind, name in questions)]).splitlines()
        return [sorted(set(line.split())) for line in lines]

    return Resolver(ask, "musl-gcc", "musl-tools", True, ("A", "AAAA", "PTR"), ("udp",))


RESOLVERS = {
    "glibc": Resolver(_ask_getent, "getent", "libc-bin", True, ("A", "AAAA", "PTR")),
    "c-ares": Resolver(_library("c-ares"), "python3", "python3", True),
    "dnspython": Resolver(_library("dnspython"), "python3", "python3", True),
    "dig": Resolver(_ask_dig, "dig", "bind9-dnsutils", True),
    "kdig": Resolver(_ask_kdig, "kdig", "knot-dnsutils", False),
    "drill": Resolver(_ask_drill, "drill", "ldnsutils", False),
    "node": Resolver(_ask_node, "node", "nodejs", False, transports=("udp",)),
}


# The program that this module is


@dataclass(frozen=True)
class _Word:
    kind: str
    name: str

    @classmethod
    def of(cls, word: str) -> _Word:
        kind, _, name = word.partition(":")
        return cls(kind, name)


def _dnspython(transport: str, words: Sequence[_Word]) -> Answers:
    import dns.exception
    import dns.resolver

    resolver = dns.resolver.Resolver()
    found = []
    for word in words:
        try:
            if word.kind == "PTR":
                answer = resolver.resolve_address(word.name, tcp=transport == "tcp")
            else:
                answer = resolver.resolve(word.name, word.kind, tcp=transport == "tcp", search=True)
            found.append([rdata.to_text().removesuffix(".") for rdata in answer])
        except dns.exception.DNSException:
            found.append([])
    return found


async def _c_ares(transport: str, words: Sequence[_Word]) -> Answers:
    import aiodns
    import pycares

    flags = pycares.ARES_FLAG_USEVC if transport == "tcp" else 0
    resolver = aiodns.DNSResolver(flags=flags)

    async def ask(word: _Word) -> list[str]:
        try:
            if word.kind == "PTR":
                return [(await resolver.gethostbyaddr(word.name)).name]
            if word.kind == "SRV":
                found = await resolver.query(word.name, "SRV")
                return [f"{one.priority} {one.weight} {one.port} {one.host}" for one in found]
            family = socket.AF_INET if word.kind == "A" else socket.AF_INET6
            nodes = (await resolver.getaddrinfo(word.name, family=family)).nodes
            return sorted({one.addr[0].decode() for one in nodes})
        except aiodns.error.DNSError:
            return []

    return [await ask(word) for word in words]


def main(library: str, transport: str, *words: str) -> None:
    """See above."""
    questions = [_Word.of(word) for word in words]
    if library == "c-ares":
        print(json.dumps(asyncio.run(_c_ares(transport, questions))))
    else:
        print(json.dumps(_dnspython(transport, questions)))


if __name__ == "__main__":
    main(*sys.argv[1:])
