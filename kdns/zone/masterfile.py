"""Read a master file (RFC 1035 section 5, 2308 section 4, 3597 section 5) into rrsets.

dnspython's Reader does the reading. It is driven by our own transaction, so that nothing is dropped in silence, and
by our own tokenizer, so that errors name the line where a record starts and the word at fault. All that comes out
is plain: uncompressed wire names and RDATA. Rules on top of the RFCs:
    - Without an origin, the first record's owner is the origin, and the apex is the owner of the SOA record.
    - Names must be ASCII; strings such as TXT's may be UTF-8.
    - $INCLUDE is relative to the file it stands in. Afterwards origin and owner are what they were before, as in
      BIND; a $TTL stays, as in BIND and NSD.
    - $GENERATE is BIND's.
Not here: files (`open_include` opens them), what makes a zone of records (kdns.zone.assemble), advice
(kdns.zone.check).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePosixPath
from typing import NamedTuple

import dns.exception
import dns.grange
import dns.name
import dns.rdata
import dns.rdataclass
import dns.tokenizer
import dns.transaction
import dns.zonefile

from kdns.wire.iana import RRType, type_text
from kdns.zone.assemble import assemble
from kdns.zone.check import check
from kdns.zone.masterzone import MasterZone, MasterZoneBuilder
from kdns.zone.record import Problem, Record, ZoneFileError
from kdns.zone.rrset import RRset

__all__ = ["MasterFile", "Problem", "ZoneFileError", "read"]

OpenInclude = Callable[[str], str]

# Records of one file, its includes and what they generate: 40 us and 500 octets each, so 8 s and 100 MB at worst.
# Larger zones are for servers that compile them ahead of time.
MAX_RECORDS = 200_000

# Names that one $GENERATE makes: a /16 of addresses.
MAX_GENERATED = 65_536

# $INCLUDEs inside each other, as in NSD; a file that includes itself must end.
MAX_INCLUDE_DEPTH = 10

# "... an unsigned number, with a minimum value of 0, and a maximum value of 2147483647" (RFC 2181 section 8)
MAX_TTL = 2**31 - 1

# A message has 65,535 octets; header, question and the record's own owner and fixed fields take up to 538 of them.
MAX_RDATA_OCTETS = 65_535 - 538

# Types that are no data: OPT and, of 128 to 255, those for queries and transactions (RFC 6895 section 3.1).
_NOT_DATA = frozenset((0, RRType.OPT, *range(128, 256)))

_DIRECTIVES = ("$GENERATE", "$ORIGIN", "$TTL")  # $INCLUDE does not get as far as the Reader

# What dnspython says, by its beginning, in words that help.
_PLAIN: dict[str, str] = {
    "A DNS label is empty": "a label is empty",
    "A DNS label is >": "a label is longer than 63 octets",
    "A DNS name is >": "the name is longer than 255 octets",
    "An escaped code": "bad escape: \\ and three digits up to 255, or \\ and any other character",
    "DNS TTL value is not": "not a TTL: seconds, or units as in 1h30m",
    "DNS message is malformed": "malformed RDATA",
    "Exceeds the limit": "number too long",
    "Missing default TTL": "no TTL: give one here, or $TTL before the first record",
    "RR class is not": "only class IN is served",
    "Text input is malformed": "malformed field",
    "Text input ended": "a field is missing, or an escape is not complete",
    "Unknown origin": "relative name without an origin: begin with $ORIGIN",
    "expected EOL or EOF": "more fields than the record has",
    "expecting an identifier": "a word without quotes is wanted here",
    "invalid literal for int": "not a number",
    "not enough values": "malformed field",
    "the last used name": "a record without an owner before any that has one",
    "unknown rdatatype": "no known type, class or TTL",
    "zone file directive": "unknown directive",
}
# What it says at the end of a line, among other places.
_WANTS_MORE = ("Text input is malformed", "bad $TTL", "expecting")
_TOO_LONG = "string too long"  # said after the whole record was read
_RANGE = "not a range: $GENERATE start-stop[/step] owner [TTL] [class] type rdata"
_MESSAGE_CHARS = 160  # dnspython quotes what it read, however long that is


class MasterFile(NamedTuple):
    """A zone as its file gives it: the folded apex, rrsets by owner in the order of the file, and warnings."""

    origin: bytes
    rrsets: tuple[RRset, ...]
    warnings: tuple[Problem, ...]


def read(text: str, origin: bytes | None, path: str, open_include: OpenInclude | None) -> MasterFile:
    """Read the text of a master file.

    origin: the zone's name; None if the file must say it itself.
    path: where the text comes from, for messages and as the start of relative $INCLUDEs.
    open_include: gives the text of a path, raising OSError or UnicodeError; None to allow no $INCLUDE.
    Raises ZoneFileError for the first thing that is wrong.
    """
    records = _Records()
    tokens = _Tokens(text.removeprefix("\ufeff"), path)
    reader = _Reader(tokens, records, open_include)
    reader.current_origin = reader.last_name = None if origin is None else dns.name.from_wire(origin, 0)[0]
    reader.read_all()
    assembly = assemble(records.found, origin, path)
    rrsets = tuple(assembly.rrsets())
    warnings = [*assembly.warnings, *check(_zone(rrsets), assembly.records())]
    return MasterFile(assembly.apex, rrsets, tuple(sorted(warnings, key=lambda problem: problem[:2])))


def _zone(rrsets: tuple[RRset, ...]) -> MasterZone:
    builder = MasterZoneBuilder(0)
    for rrset in rrsets:
        builder.add(rrset)
    return builder.build()


class _Refused(ValueError):
    """What dnspython would take and we do not; message and token are for operators."""

    def __init__(self, message: str, token: str = "") -> None:
        super().__init__(message)
        self.token = token


class _AnyName(dns.transaction.TransactionManager):
    """Tells the Reader that its zone is the root, so that it drops nothing as out of zone: that is ours to refuse."""

    def origin_information(self) -> tuple[dns.name.Name, bool, dns.name.Name]:
        return dns.name.root, False, dns.name.root


class _Records(dns.transaction.Transaction):
    """Takes each record as the Reader has read it; `tokens` is what it is being read from."""

    def __init__(self) -> None:
        super().__init__(_AnyName(), replacement=True)
        self.tokens: _Tokens | None = None
        self.found: list[Record] = []

    def add(self, *args: object) -> None:
        """Take a record: owner, TTL and rdata."""
        name, ttl, rdata = args
        assert isinstance(name, dns.name.Name)
        assert isinstance(ttl, int)
        assert isinstance(rdata, dns.rdata.Rdata)
        assert self.tokens is not None
        wire = _octets(rdata.to_wire())
        rrtype = int(rdata.rdtype)
        _check_values(ttl, rrtype, len(wire))
        if len(self.found) >= MAX_RECORDS:
            raise _Refused(f"more than {MAX_RECORDS} records")
        path, line = self.tokens.filename, self.tokens.record_line
        self.found.append(Record(path, line, _octets(name.to_wire()), rrtype, ttl, wire, rdata.to_digestable()))

    def _set_origin(self, origin: dns.name.Name) -> None:
        """$ORIGIN changes nothing about the zone."""


def _octets(wire: bytes | None) -> bytes:
    assert wire is not None  # it is where dnspython writes into a file
    return wire


def _check_values(ttl: int, rrtype: int, rdata_octets: int) -> None:
    if ttl > MAX_TTL:
        raise _Refused(f"TTL {ttl} is above {MAX_TTL} (RFC 2181 section 8)", str(ttl))
    if rrtype in _NOT_DATA:
        raise _Refused(f"type {type_text(rrtype)} is for messages, not for zones", type_text(rrtype))
    if rdata_octets > MAX_RDATA_OCTETS:
        raise _Refused(f"{rdata_octets} octets of RDATA fit into no message", type_text(rrtype))


class _AsciiNames(dns.name.IDNACodec):
    """Asked only for names that are not ASCII: which IDNA rules they mean is not ours to guess."""

    def __init__(self) -> None:
        """Nothing to remember."""

    def encode(self, label: str) -> bytes:
        raise _Refused("the name is not ASCII: write it in its xn-- form")


class _Tokens(dns.tokenizer.Tokenizer):
    """Knows where the record started, its words so far and whether the text itself is broken.

    on_include: called at an $INCLUDE, with the tokenizer behind the directive.
    """

    def __init__(self, text: str, path: str) -> None:
        super().__init__(text, path, _AsciiNames())
        self.record_line = 1
        self.words: list[str] = []
        self.ended = False  # the last thing given was the end of the line
        self.torn: dns.exception.DNSException | None = None  # no token could be made of the text
        self.on_include: Callable[[], None] | None = None

    def get(self, want_leading: bool = False, want_comment: bool = False) -> dns.tokenizer.Token:
        """Get the next token."""
        if want_comment:  # only Reader.read asks for comments, and only at the start of a line
            self.record_line = self.line_number
            self.words.clear()
        try:
            token = super().get(want_leading, want_comment)
        except dns.exception.DNSException as error:
            self.torn = error
            raise
        self.ended = token.is_eol_or_eof()
        if token.is_identifier() or token.is_quoted_string():
            self.words.append(token.value)
            if want_comment and token.is_identifier() and token.value.upper() == "$INCLUDE" and self.on_include:
                self.on_include()
                return dns.tokenizer.Token(dns.tokenizer.EOL, "\n")
        return token

    def unget(self, token: dns.tokenizer.Token) -> None:
        """Put a token back."""
        super().unget(token)
        self.ended = False

    def breakage(self) -> _Refused | None:
        """What is wrong with the text, where no token could be made of it."""
        if self.torn is None:
            return None
        if self.quoting:
            return _Refused("a quoted string does not end on its line", '"')
        if self.eof and self.multiline:
            return _Refused("a parenthesis is not closed", "(")
        if isinstance(self.torn, dns.exception.UnexpectedEnd):
            return _Refused("a backslash ends the line", "\\")
        return _Refused("a parenthesis is closed that was not opened", ")")


class _Reader(dns.zonefile.Reader):
    """Reads one file into the records; a further one for each $INCLUDE, `depth` deep."""

    def __init__(
        self, tokens: _Tokens, records: _Records, open_include: OpenInclude | None, depth: int = 0
    ) -> None:
        super().__init__(tokens, dns.rdataclass.IN, records, allow_directives=_DIRECTIVES)
        self._tokens = tokens
        self._records = records
        self._open_include = open_include
        self._depth = depth
        tokens.on_include = self._include

    def read_all(self) -> None:
        """Read the file to its end. Raises ZoneFileError."""
        self._records.tokens = self._tokens
        try:
            self.read()
        # dnspython lets through a bare ValueError or AssertionError where a number makes no sense.
        except (dns.exception.DNSException, ValueError, AssertionError) as error:
            fault = self._tokens.breakage() or error
            token = fault.token if isinstance(fault, _Refused) else ""
            raise self._error(_plain(fault, self._tokens), token) from error

    def _rr_line(self) -> None:
        """Without an origin, relative names are relative to the owner of the first record: the SOA, as a rule."""
        if self.current_origin is None:
            token = self._tokens.get(want_leading=True)
            self._tokens.unget(token)
            if token.is_identifier() and token.value.endswith("."):
                self.current_origin = self._tokens.as_name(token)
        super()._rr_line()

    def _generate_line(self) -> None:
        """Take no range that fills the memory, and no record of which only the first word would be read."""
        token = self._tokens.get()
        try:
            start, stop, step = dns.grange.from_text(token.value)
        except (dns.exception.DNSException, ValueError, AssertionError) as error:
            raise _Refused(_RANGE) from error
        if (stop - start) // step >= MAX_GENERATED:
            raise _Refused(f"$GENERATE makes more than {MAX_GENERATED} names")
        self._tokens.unget(token)
        generate: Callable[[], None] = super()._generate_line
        try:
            generate()
        except dns.exception.SyntaxError as error:
            raise _Refused(f"$GENERATE, which takes one word of RDATA: {_plain(error, self._tokens)}") from error
        self._tokens.get_eol()

    def _include(self) -> None:
        """$INCLUDE path [origin]: another reader takes over until that file ends (RFC 1035 section 5.1)."""
        path = self._tokens.get_string()
        token = self._tokens.get()
        origin = self.current_origin
        if not token.is_eol_or_eof():
            origin = self._tokens.as_name(token, self.current_origin)
            self._tokens.get_eol()
        path = str(PurePosixPath(self._tokens.filename).parent / path)
        reader = _Reader(_Tokens(self._included(path), path), self._records, self._open_include, self._depth + 1)
        reader.current_origin, reader.last_name = origin, self.last_name
        _copy_ttls(self, reader)
        reader.read_all()
        _copy_ttls(reader, self)
        self._records.tokens = self._tokens

    def _included(self, path: str) -> str:
        if self._open_include is None:
            raise self._error("$INCLUDE is not allowed here")
        if self._depth >= MAX_INCLUDE_DEPTH:
            raise self._error(f"$INCLUDE more than {MAX_INCLUDE_DEPTH} deep: does the file include itself?")
        try:
            return self._open_include(path).removeprefix("\ufeff")
        except (OSError, UnicodeError) as error:
            raise self._error(f"cannot read {path}: {error}") from error

    def _error(self, message: str, token: str = "") -> ZoneFileError:
        words = self._tokens.words
        if words and not token:
            token = max(words, key=len) if message == _TOO_LONG else words[-1]
        return ZoneFileError(self._tokens.filename, self._tokens.record_line, message, token)


def _copy_ttls(source: _Reader, target: _Reader) -> None:
    """"All resource records appearing after the directive" have its TTL (RFC 2308 section 4): in both files."""
    target.default_ttl, target.default_ttl_known = source.default_ttl, source.default_ttl_known
    target.default_ttl_from_soa = source.default_ttl_from_soa
    target.last_ttl, target.last_ttl_known = source.last_ttl, source.last_ttl_known


def _plain(error: Exception, tokens: _Tokens) -> str:
    """What dnspython found wrong, without the place it guesses, and in words for operators."""
    message = str(error).removeprefix("{}:{}: ".format(*tokens.where()))
    if tokens.ended and message.startswith(_WANTS_MORE):
        return "the line ends too early: a field is missing"
    for beginning, plain in _PLAIN.items():
        if message.startswith(beginning):
            return plain
    return message[:_MESSAGE_CHARS] or "malformed field"
