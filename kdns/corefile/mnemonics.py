"""Types, classes and rcodes as a Corefile writes them: by IANA's mnemonics, or as TYPEnnn and CLASSnnn (RFC 3597).

In: words. Out: numbers, and back to words. Not here: what kdns does with a type (kdns.wire.iana names those few).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from kdns.corefile.errors import CorefileError, nearest
from kdns.corefile.lexer import Token

# Where a run of mnemonics starts, and its members in order.
_TYPE_RUNS = (
    (1, "A NS MD MF CNAME SOA MB MG MR NULL WKS PTR HINFO MINFO MX TXT RP AFSDB X25 ISDN RT NSAP NSAP-PTR SIG KEY"),
    (26, "PX GPOS AAAA LOC NXT EID NIMLOC SRV ATMA NAPTR KX CERT A6 DNAME SINK OPT APL DS SSHFP IPSECKEY RRSIG NSEC"),
    (48, "DNSKEY DHCID NSEC3 NSEC3PARAM TLSA SMIMEA"),
    (55, "HIP NINFO RKEY TALINK CDS CDNSKEY OPENPGPKEY CSYNC ZONEMD SVCB HTTPS"),
    (99, "SPF UINFO UID GID UNSPEC NID L32 L64 LP EUI48 EUI64"),
    (249, "TKEY TSIG IXFR AXFR MAILB MAILA ANY URI CAA AVC DOA AMTRELAY RESINFO WALLET"),
    (32768, "TA DLV"),
)
_RCODE_RUNS = (
    (0, "NOERROR FORMERR SERVFAIL NXDOMAIN NOTIMP REFUSED YXDOMAIN YXRRSET NXRRSET NOTAUTH NOTZONE DSOTYPENI"),
    (16, "BADVERS BADKEY BADTIME BADMODE BADNAME BADALG BADTRUNC BADCOOKIE"),
)


def _numbered(runs: Iterable[tuple[int, str]]) -> dict[str, int]:
    return {name: value for start, names in runs for value, name in enumerate(names.split(), start)}


_TYPES: Mapping[str, int] = _numbered(_TYPE_RUNS)
_CLASSES: Mapping[str, int] = {"IN": 1, "CH": 3, "HS": 4, "NONE": 254, "ANY": 255}
_RCODES: Mapping[str, int] = _numbered(_RCODE_RUNS)
# Other spellings that CoreDNS takes.
_RCODE_ALIASES: Mapping[str, int] = {"SUCCESS": 0, "NOTIMPL": 4, "BADSIG": 16}
_TYPE_TEXTS = {value: name for name, value in _TYPES.items()}
_CLASS_TEXTS = {value: name for name, value in _CLASSES.items()}
_RCODE_TEXTS = {value: name for name, value in _RCODES.items()}

HIGHEST_RCODE = 23  # the highest that has a name, and CoreDNS's bound
HIGHEST_PLAIN_RCODE = 15  # what fits a header; more needs an OPT record (RFC 6891 section 6.1.3)

_GENERIC = re.compile(r"(TYPE|CLASS)([0-9]{1,5})")
_HIGHEST = 65535


def parse_type(argument: Token) -> int:
    """The RR type that the word names. Raises CorefileError."""
    return _parse(argument, _TYPES, "TYPE", "a type of records, such as A, TXT or TYPE65")


def parse_class(argument: Token) -> int:
    """The class that the word names. Raises CorefileError."""
    return _parse(argument, _CLASSES, "CLASS", "a class: IN, CH or HS")


def parse_rcode(argument: Token, highest: int = HIGHEST_RCODE) -> int:
    """The rcode that the word names, or spells as a number. Raises CorefileError."""
    text = argument.text.upper()
    value = _RCODES.get(text, _RCODE_ALIASES.get(text, -1))
    if text.isascii() and text.isdecimal() and len(text) <= 2:
        value = int(text)
    if not 0 <= value <= highest:
        hint = nearest(text, _RCODES) or f": name one, such as NXDOMAIN, or give a number up to {highest}"
        raise CorefileError(argument.position, f"`{argument.text}` is no rcode that can stand here{hint}")
    return value


def type_word(rrtype: int) -> str:
    """The type as it is printed."""
    return _TYPE_TEXTS.get(rrtype, f"TYPE{rrtype}")


def class_word(rrclass: int) -> str:
    """The class as it is printed."""
    return _CLASS_TEXTS.get(rrclass, f"CLASS{rrclass}")


def rcode_word(rcode: int) -> str:
    """The rcode as it is printed."""
    return _RCODE_TEXTS.get(rcode, str(rcode))


def _parse(argument: Token, known: Mapping[str, int], generic: str, what: str) -> int:
    text = argument.text.upper()
    if text in known:
        return known[text]
    found = _GENERIC.fullmatch(text)
    if found is None or found[1] != generic or int(found[2]) > _HIGHEST:
        message = f"`{argument.text}` is not {what}{nearest(text, known)}"
        raise CorefileError(argument.position, message)
    return int(found[2])
