"""The rules of `rewrite` and `acl` as values, between who reads them (kdns.corefile) and who holds to them.

Texts of names are lower case and have the last dot, so that they compare with what kdns.wire.name.to_text gives of a
folded name. Not here: how rules are written, what they do (kdns.answer.rewrite, kdns.answer.acl).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Network, IPv6Network


class MatchKind(Enum):
    """How a name is compared."""

    EXACT = "exact"
    PREFIX = "prefix"
    SUFFIX = "suffix"
    SUBSTRING = "substring"
    REGEX = "regex"


@dataclass(frozen=True, slots=True)
class NameMatch:
    """Which names: their text, lower case and with the last dot, is compared with `pattern`.

    pattern: lower case and with the last dot too; but a regular expression is as written.
    is_dot_added: the last dot was not written, which may be worth a remark.
    """

    kind: MatchKind
    pattern: str
    is_dot_added: bool = field(default=False, compare=False)


class AnswerField(Enum):
    """What of the records in a reply is rewritten."""

    NAME = "name"  # owner names alone
    VALUE = "value"  # names in the RDATA of CNAME, DNAME, SOA, SRV, MX, NAPTR, NS alone


@dataclass(frozen=True, slots=True)
class AnswerRewrite:
    """`answer name FROM TO`, `answer value FROM TO`: a regular expression, and a text with `{1}` for its groups."""

    field: AnswerField
    pattern: str
    to: str


@dataclass(frozen=True, slots=True)
class NameRewrite:
    """`rewrite name`: the question's name becomes `to`; what was matched is replaced (all of it, by a regex).

    to: lower case with the last dot; for a regex with `{0}`, `{1}`... for the match and its groups.
    is_auto: the names of the reply are rewritten back; it always is so with an exact match. stop: no further rule.
    """

    match: NameMatch
    to: str
    is_auto: bool = False
    answers: tuple[AnswerRewrite, ...] = ()
    stop: bool = True


@dataclass(frozen=True, slots=True)
class TypeRewrite:
    """`rewrite type`: a question for one type becomes one for another."""

    old: int
    new: int
    stop: bool = True


@dataclass(frozen=True, slots=True)
class ClassRewrite:
    """`rewrite class`: a question of one class becomes one of another."""

    old: int
    new: int
    stop: bool = True


@dataclass(frozen=True, slots=True)
class TtlRewrite:
    """`rewrite ttl`: the TTLs in replies for names that match are brought between two bounds, in seconds."""

    match: NameMatch
    minimum: int
    maximum: int
    stop: bool = True


@dataclass(frozen=True, slots=True)
class RcodeRewrite:
    """`rewrite rcode`: one rcode in replies for names that match becomes another."""

    match: NameMatch
    old: int
    new: int
    stop: bool = True


@dataclass(frozen=True, slots=True)
class CnameRewrite:
    """`rewrite cname`: a CNAME whose target matches leads to `to` instead, and so does the answer."""

    match: NameMatch
    to: str
    stop: bool = True


@dataclass(frozen=True, slots=True)
class EdnsRemoval:
    """`rewrite edns0 ... unset`: this EDNS option of the query is not sent on; none ever is."""

    code: int
    stop: bool = True


RewriteRule = NameRewrite | TypeRewrite | ClassRewrite | TtlRewrite | RcodeRewrite | CnameRewrite | EdnsRemoval


class AclAction(Enum):
    """What becomes of a query."""

    ALLOW = "allow"  # it is answered, and no further rule looked at
    BLOCK = "block"  # REFUSED
    FILTER = "filter"  # NOERROR, with nothing
    DROP = "drop"  # silence


@dataclass(frozen=True, slots=True)
class AclRule:
    """A line of `acl`: for queries for these types, from these networks; none is all. The first match decides."""

    action: AclAction
    types: frozenset[int] = frozenset()
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
