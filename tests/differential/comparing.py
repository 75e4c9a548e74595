"""How two replies differ, and which differences are known.

A difference is a set of short remarks, such as `rcode NOERROR not NXDOMAIN`, `authority -NS` (the peer has an NS
rrset there and kdns has not) or `answer ttl A`. Compared are rcode, AA, TC, the answer and the authority section as
sets of records, and in a referral the glue. A truncated reply is compared by its header alone: what a server fits in
is its own affair. Not here: which differences are known and why (expected_differences.toml).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import msgspec

from tests.differential.questions import Question

Record = tuple[bytes, str, bytes]  # owner and rdata in canonical form
Section = dict[Record, int]  # to its TTL


@dataclass(frozen=True)
class Reply:
    """What of a reply is compared. `repeats`: whether a section has the same record twice."""

    rcode: str
    aa: bool
    tc: bool
    repeats: bool
    answer: Section
    authority: Section
    glue: Section


@cache
def decode(behind_id: bytes) -> Reply:
    """Decode a reply without its ID."""
    message = dns.message.from_wire(b"\0\0" + behind_id, one_rr_per_rrset=True)
    answer, authority = _section(message.answer), _section(message.authority)
    is_referral = not answer and any(rrtype == "NS" for _, rrtype, _ in authority)
    return Reply(
        dns.rcode.to_text(message.rcode()),
        bool(message.flags & dns.flags.AA),
        bool(message.flags & dns.flags.TC),
        len(answer) + len(authority) < len(message.answer) + len(message.authority),
        answer,
        authority,
        _section(message.additional) if is_referral else {},
    )


def _section(rrsets: Iterable[dns.rrset.RRset]) -> Section:
    return {
        (rrset.name.to_digestable(), dns.rdatatype.to_text(rrset.rdtype), rrset[0].to_digestable()): rrset.ttl
        for rrset in rrsets
    }


def differences(ours: Reply, theirs: Reply) -> frozenset[str]:
    """Remarks on all that differs."""
    return frozenset(_differences(ours, theirs)) if ours != theirs else frozenset()


def _differences(ours: Reply, theirs: Reply) -> Iterator[str]:
    if ours.rcode != theirs.rcode:
        yield f"rcode {ours.rcode} not {theirs.rcode}"
    for bit in ("aa", "tc", "repeats"):
        if getattr(ours, bit) != getattr(theirs, bit):
            yield f"{bit} {'set' if getattr(ours, bit) else 'clear'}"
    if ours.tc or theirs.tc:
        return
    for section in ("answer", "authority", "glue"):
        yield from _section_differences(section, getattr(ours, section), getattr(theirs, section))


def _section_differences(section: str, ours: Section, theirs: Section) -> Iterator[str]:
    for record in ours.keys() ^ theirs.keys():
        yield f"{section} {'+' if record in ours else '-'}{record[1]}"
    for record in ours.keys() & theirs.keys():
        if ours[record] != theirs[record]:
            yield f"{section} ttl {record[1]}"


class Expected(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One known difference.

    peers: who differs so. shows: patterns of remarks, all of which must be there. may_show: others that go with them.
    names: regular expressions for whole names without the last dot; () for any. types, over: likewise.
    side: whose way kdns goes. reason, rfc: why.
    """

    peers: tuple[str, ...]
    shows: tuple[str, ...]
    side: str
    reason: str
    rfc: str
    names: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    over: tuple[str, ...] = ("UDP", "TCP")
    may_show: tuple[str, ...] = ()

    def explains(self, peer: str, question: Question, found: frozenset[str]) -> frozenset[str]:
        """Those of the remarks that this entry speaks of; none if it does not apply."""
        if peer not in self.peers or not self._is_about(question):
            return frozenset()
        explained = [_matching(found, pattern) for pattern in self.shows]
        if not all(explained):
            return frozenset()
        return frozenset().union(*explained, *(_matching(found, pattern) for pattern in self.may_show))

    def _is_about(self, question: Question) -> bool:
        name = question.name.to_text(omit_final_dot=True).lower()
        return (
            ("TCP" if question.tcp else "UDP") in self.over
            and (not self.types or question.rrtype in self.types)
            and (not self.names or any(re.fullmatch(pattern, name) for pattern in self.names))
        )


def _matching(remarks: frozenset[str], pattern: str) -> frozenset[str]:
    return frozenset(one for one in remarks if fnmatchcase(one, pattern))


def load(path: Path) -> list[Expected]:
    """The known differences of a file."""
    return msgspec.convert(tomllib.loads(path.read_text())["difference"], list[Expected])


def unexplained(
    peer: str, question: Question, found: frozenset[str], expected: Sequence[Expected], used: set[tuple[int, str]]
) -> frozenset[str]:
    """The remarks that no entry speaks of. Notes in `used` which entry spoke of which peer."""
    if not found:
        return found
    left = found
    for index, entry in enumerate(expected):
        explained = entry.explains(peer, question, found)
        if explained:
            used.add((index, peer))
        left -= explained
    return left
