"""What has been found, or why nothing is told, as replies: compiled, numbered for who counts them, and kept.

Not here: what is found (kdns.answer.steps), replies made of what servers outside say (kdns.answer.outside).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from kdns.answer.case import Case
from kdns.answer.compiler import ID_OCTETS, Frame, Reply, compile_error, compile_reply, compile_truncated
from kdns.answer.minimal import minimal_lookup
from kdns.answer.outcome import Answered, Refusal
from kdns.answer.shape import entry_of, frame_of, key_for, making_of, opt_of
from kdns.answer.site import Decider, Site
from kdns.answer.table import Entry, ReplyTable, SerialSplice
from kdns.observe.tally import Meter, Tally
from kdns.wire.iana import EDE, Rcode
from kdns.wire.name import MAX_LABEL_OCTETS, suffixes
from kdns.wire.query import HEADER_OCTETS, Query
from kdns.zone.model import Denial, Lookup, Zone

if TYPE_CHECKING:
    from random import Random

SERIAL_OCTETS = 4


class Replier:
    """Makes the replies of one responder.

    table: where those are kept that may be. tally, numbers: what counts replies, and its numbers of the zones.
    serial_cell: gives the cell with the serial octets of a zone, which lives as long as replies are kept.
    decider: which zone decides a name, see kdns.answer.site.Decider.
    """

    def __init__(
        self,
        table: ReplyTable,
        tally: Tally,
        numbers: Mapping[bytes, int],
        rng: Random,
        serial_cell: Callable[[Zone], list[bytes]],
        decider: Callable[[bytes], Decider],
    ) -> None:
        self._table = table
        self._tally = tally
        self._numbers = numbers
        self._rng = rng
        self._serial_cell = serial_cell
        self._decider = decider

    def compile(self, case: Case, answered: Answered) -> Entry:
        """The reply that says what was found, kept where that may be."""
        found, ede, maker = answered.found, answered.ede, answered.maker
        query, keys, site, tcp = case.query, case.keys, case.site, case.tcp
        if site.minimal:
            found = minimal_lookup(found)
        if found.rcode == Rcode.SERVFAIL or (found.rcode == Rcode.REFUSED and not found.authoritative):
            return self.refuse(query, site, tcp, (found.rcode, *(ede or (EDE.NOT_READY, found.note))), maker)
        opt = opt_of(query, site, 0, ede or ((EDE.OTHER, found.note) if found.note else None))
        frame = frame_of(query, site, tcp, opt)
        if keys and found.rcode == Rcode.NXDOMAIN and not (found.answer or found.note):
            return self._deny(case, frame, opt, found, maker)
        reply = compile_reply(frame, found, self._rng)
        cell = self.cell(query, reply, found.rcode, opt, maker)
        if not (found.lasting and keys):
            return entry_of(cell, reply, opt)
        entry = entry_of(cell, reply, opt, self._splice(reply, found), found.depends)
        self._table.keep(key_for(keys, reply, opt, site.room), entry)
        return entry

    def _deny(self, case: Case, frame: Frame, opt: bytes, found: Lookup, maker: str) -> Entry:
        """The denial of a name: one for all names of this length that one zone decides; `kept` finds it."""
        query, keys = case.query, case.keys
        apex, decider, _ = self._decider(query.qname)
        denial = found.denial
        if denial is None or denial.zone is not decider:
            return self.entry(query, compile_reply(frame, found, self._rng), found.rcode, opt, maker)
        places = {key: (key[len(query.qname) :], len(query.qname) + 4, apex, denial.ttl) for key in keys}
        entry = next(filter(None, map(self._table.denials.get, places.values())), None)
        if entry is None:
            reply, entry = self._compile_denial(case, frame, opt, denial, maker)
            self._table.keep_denial(places[key_for(keys, reply, opt, case.site.room)], entry)
        return entry

    def _compile_denial(
        self, case: Case, frame: Frame, opt: bytes, denial: Denial, maker: str
    ) -> tuple[Reply, Entry]:
        """Compile it for a name that has only the apex in common with the others.

        Else the authority section could be compressed against labels that the next name does not have.
        """
        own_octets = len(case.query.qname) - len(denial.zone.apex)
        stand_in = frame._replace(question=_filler(own_octets) + frame.question[own_octets:])
        found = Lookup(Rcode.NXDOMAIN, denial=denial)
        reply = compile_reply(stand_in, found, self._rng)
        cell = self.cell(case.query, reply, found.rcode, opt, maker)
        return reply, entry_of(cell, reply, opt, self._splice(reply, found))

    def zone_number(self, qname: bytes) -> int:
        """That of the longest zone of the sites which the name is in."""
        numbers = self._numbers
        return next((numbers[apex] for apex in suffixes(qname) if apex in numbers), self._tally.no_zone)

    def cell(self, query: Query, reply: Reply, rcode: int, opt: bytes, maker: str = "") -> int:
        """Where a reply is counted."""
        return self._tally.cell(self.zone_number(query.qname), making_of(query, reply, rcode, opt, maker))

    def entry(self, query: Query, reply: Reply, rcode: int, opt: bytes, maker: str = "") -> Entry:
        """What completes a reply that is not kept."""
        return entry_of(self.cell(query, reply, rcode, opt, maker), reply, opt)

    def refuse(self, query: Query, site: Site | None, tcp: bool, refusal: Refusal, maker: str = "") -> Entry:
        """The reply that tells nothing, and why. site: None if no server block takes the name."""
        rcode, code, text = refusal
        opt = opt_of(query, site, rcode, (code, text))
        return self.entry(query, compile_error(frame_of(query, site, tcp, opt), rcode), rcode, opt, maker)

    def bare(self, query: Query, site: Site | None, tcp: bool, rcode: int) -> Entry:
        """A reply that says nothing but its rcode."""
        opt = opt_of(query, site, rcode)
        return self.entry(query, compile_error(frame_of(query, site, tcp, opt), rcode), rcode, opt)

    def truncated(self, query: Query, site: Site | None) -> Entry:
        """A reply over UDP that sends the client to TCP."""
        opt = opt_of(query, site, 0)
        return self.entry(query, compile_truncated(frame_of(query, site, False, opt)), 0, opt)

    def _splice(self, reply: Reply, found: Lookup) -> SerialSplice | None:
        """Where the SOA serial of a denial that is kept has to be put in, and the serial of now."""
        if found.denial is None or reply.serial_at is None:
            return None
        return reply.serial_at, self._serial_cell(found.denial.zone)


def complete(message: bytes, end: int, entry: Entry, with_opt: bool, meter: Meter) -> bytes:
    """A kept reply for this message, whose question ends at `end`: its ID, its question as sent, serial, OPT."""
    heads, body, opt, cell, splice, _ = entry
    if not isinstance(body, bytes):
        body = body()
    if splice:
        at, serial = splice
        body = body[:at] + serial[0] + body[at + SERIAL_OCTETS :]
    meter.counts[cell] += 1
    reply = message[:ID_OCTETS] + heads[with_opt] + message[HEADER_OCTETS:end] + body
    return reply + opt if with_opt else reply


def _filler(octets: int) -> bytes:
    """Labels of this many octets in all (2 or more), such as no name in a zone has."""
    lengths = [MAX_LABEL_OCTETS + 1] * (octets // (MAX_LABEL_OCTETS + 1))
    left = octets % (MAX_LABEL_OCTETS + 1)
    if left == 1:  # a label has an octet besides its length
        lengths[-1] -= 1
        left = 2
    return b"".join(bytes((length - 1,)) + b"\xff" * (length - 1) for length in (*lengths, left) if length)
