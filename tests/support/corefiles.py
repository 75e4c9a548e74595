"""Engines that answer as a Corefile says, without processes and sockets."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from kdns.answer.guard import UNPROTECTED, Protection
from kdns.answer.outside import Pending
from kdns.corefile import parse_corefile
from kdns.server.assembly import assemble
from kdns.server.textfile import UnreadableError
from kdns.wire.outside import Told
from kdns.zone.delta import ZoneDelta
from kdns.zone.subtree import Subtree
from tests.support.engines import Served, image, zone_file
from tests.support.forwarding import answering
from tests.support.messages import Answer, query


def served_by(corefile: str, *subtrees: Subtree, files: Iterable[tuple[str, str]] = (),
              resolv_conf: str | None = None, protection: Protection = UNPROTECTED) -> Served:
    """What a Corefile serves: its one cluster, if it has one, and zone files (origin, text), in their order."""
    def read(path: str) -> str:
        if resolv_conf is None:
            raise UnreadableError(path)
        return resolv_conf

    plan = assemble(parse_corefile(corefile), lambda _: [], list, read=read)
    has_cluster = "kubernetes" in corefile
    parts: list[ZoneDelta] = [image(*subtrees)] if has_cluster else []
    parts += [zone_file(text, origin, at) for at, (origin, text) in enumerate(files, has_cluster)]
    return Served(plan.specification, parts, protection=protection)


def answered(served: Served, message: bytes, outside: Callable[[str, int], Told | list[str] | None],
             tcp: bool = False) -> tuple[Answer, list[str]]:
    """The reply, once all is told that it waits for, and the names that were asked outside.

    outside: by name and type what is told, or records of an answer; None for NXDOMAIN.
    """
    asked: list[str] = []
    outcome = served.responder.respond(message, (b"\xc0\0\2\x63", 5353), tcp)
    while isinstance(outcome, Pending):
        ask = outcome.ask
        wanted = Answer(b"\0\0\x80\0\0\1\0\0\0\0\0\0" + ask.question).question.split()[0]
        asked.append(wanted)
        told = outside(wanted, int.from_bytes(ask.question[-4:-2]))
        if not isinstance(told, Told):
            told = answering(ask, *(told or ()), rcode="NOERROR" if told is not None else "NXDOMAIN")
        outcome = outcome.finish(told)
    assert outcome is not None
    return Answer(outcome), asked


def dig(served: Served, qname: str, qtype: str | int = "A",
        outside: Callable[[str, int], Told | list[str] | None] = lambda *_: None) -> tuple[Answer, list[str]]:
    """The same for a name and a type."""
    return answered(served, query(qname, qtype), outside)
