"""Names outside without a forwarder: what is asked, and what is told as if one had asked an upstream."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

from kdns.answer.outside import Pending
from kdns.answer.spec import ClusterSpec, FileSpec, OutsideSpec, SiteSpec, SourceSpec, Specification
from kdns.wire.message import body_of, layout
from kdns.wire.name import ROOT, to_text
from kdns.wire.outside import NO_EDE, Ask, Source, Told, Unasked, unasked
from kdns.zone.subtree import Subtree
from tests.support.engines import CLUSTER, IN_ADDR, IP6, Served, image

EVERYTHING = (OutsideSpec(ROOT),)
# The block of every default Corefile: a cluster whose reverse zones pass on what they do not have, and `forward .`.
DEFAULT_CLUSTER = ClusterSpec((CLUSTER, IN_ADDR, IP6), 5, fallthrough=(IN_ADDR, IP6))


def forwarding(*subtrees: Subtree, outside: tuple[OutsideSpec, ...] = EVERYTHING,
               source: SourceSpec = DEFAULT_CLUSTER, **rest: Any) -> Served:
    """A cluster, or a zone file that is not loaded, with `forward` in its block."""
    site = SiteSpec((ROOT,), (0,), group=0, outside=outside, **rest)
    parts = [image(*subtrees)] if isinstance(source, ClusterSpec) else []
    return Served(Specification((source,), (site,), ((0,),)), parts)


def split(*subtrees: Subtree, files: tuple[bytes, ...] = ()) -> Served:
    """A cluster in a block of its own, and `forward` in another one, which is the second group."""
    cluster = ClusterSpec((CLUSTER,), 5)
    sites = (
        SiteSpec((CLUSTER, *files), tuple(range(1 + len(files)))),
        SiteSpec((ROOT,), group=1, outside=EVERYTHING),
    )
    return Served(Specification((cluster, *map(FileSpec, files)), sites, ((0, 1),)), [image(*subtrees)])


def told(reply: dns.message.Message, **rest: Any) -> Told:
    """What the forwarder tells of an upstream's reply."""
    wire = reply.to_wire(max_size=65535)
    measured = layout(wire)
    assert measured is not None
    body = body_of(wire, measured)
    assert body is not None
    return Told(0, int(reply.rcode()), int(reply.flags), body.octets, body.counts, body.ttl_at, body.ttls, **rest)


def upstream_reply(ask: Ask, answer: Iterable[str] = (), authority: Iterable[str] = (),
                   additional: Iterable[str] = (), rcode: str = "NOERROR",
                   flags: str = "QR RD RA") -> dns.message.Message:
    """A reply to what is asked; records are lines `owner ttl type rdata`, each a record of its own."""
    qtype = int.from_bytes(ask.question[-4:-2])
    message = dns.message.make_query(to_text(ask.question[:-4]), qtype)
    message.use_edns(False)
    message.flags = dns.flags.from_text(flags)
    message.set_rcode(dns.rcode.from_text(rcode))
    sections = (answer, message.answer), (authority, message.authority), (additional, message.additional)
    for lines, section in sections:
        section.extend(map(_record, lines))
    return message


def answering(ask: Ask, *answer: str, keep: int = 0, prefetch_hits: int = 0, prefetch_gap: int = 0,
              prefetch_left: int = 0, source: Source = Source.UPSTREAM, ede: int = NO_EDE, text: str = "",
              **rest: Any) -> Told:
    """What the forwarder tells once the upstream has answered; for the rest see `upstream_reply`."""
    reply = upstream_reply(ask, answer, **rest)
    prefetch = {"prefetch_hits": prefetch_hits, "prefetch_gap": prefetch_gap, "prefetch_left": prefetch_left}
    return told(reply, keep=keep, source=source, ede=ede, text=text, **prefetch)


def telling(pending: Pending, *answer: str, **rest: Any) -> bytes:
    """The reply to the client, see `answering`."""
    reply = pending.finish(answering(pending.ask, *answer, **rest))
    assert isinstance(reply, bytes)
    return reply


SHED = unasked(Unasked.FULL)


class FakeOutside:
    """Takes what is asked, unless it refuses to, and tells when told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[Ask, Callable[[Told], None]]] = []
        self.patience: list[float] = []  # for what was asked because of what was told
        self.refused: Told | None = None
        self.afterwards: list[Callable[[], None]] = []

    def when_told(self, callback: Callable[[], None]) -> None:
        self.afterwards.append(callback)

    def refusal(self, _: Ask) -> Told | None:
        return self.refused

    def ask(self, ask: Ask, on_told: Callable[[Told], None], patience: float = 0.0) -> None:
        self.asked.append((ask, on_told))
        self.patience += [patience] if patience else []

    def tell(self, *answer: str, at: int = 0, **rest: Any) -> None:
        """Answer one of those that wait, the oldest one by default."""
        ask, on_told = self.asked.pop(at)
        on_told(answering(ask, *answer, **rest))
        while self.afterwards:
            self.afterwards.pop()()


def _record(line: str) -> dns.rrset.RRset:
    owner, ttl, rrtype, rdata = line.split(" ", 3)
    return dns.rrset.from_text(owner, int(ttl), "IN", rrtype, rdata)
