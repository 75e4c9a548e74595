"""Who asks, and what that means for the reply: `acl`, DNS cookies, the rate limit, and `nsid`.

    judged = guard.judge(site, asker, qname, qtype, cookie)     before anything is answered, kept or not
    judged.options, told_nsid(site, options)                    for the OPT record of whatever reply there is

In this order: `acl` may drop a query; a malformed cookie is FORMERR; over the rate limit there is a reply with TC or
none, unless a good cookie shows that the address is the client's own; `acl` may refuse. What is counted is known from
the configuration alone: no client can make it more. Not here: replies (kdns.answer.guarded), the rules themselves
(kdns.answer.acl, kdns.answer.cookies, kdns.answer.ratelimit).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from struct import Struct
from typing import NamedTuple

from kdns.answer.acl import Acl
from kdns.answer.cookies import COOKIE_ROOM, Cookies, Standing
from kdns.answer.ratelimit import Judgement, RateLimiter
from kdns.answer.site import Site
from kdns.answer.spec import SiteSpec
from kdns.wire.cookie import parse
from kdns.wire.name import ROOT
from kdns.wire.query import find_option
from kdns.wire.rules import AclAction

NSID_OPTION = 3  # RFC 5001 section 4
_head = Struct(">2H").pack


@dataclass(frozen=True, slots=True)
class Protection:
    """What guards all listeners alike. clock: seconds since 1970; not asked without the other two."""

    cookies: Cookies | None = None
    limiter: RateLimiter | None = None
    clock: Callable[[], float] = float

    def room(self, spec: SiteSpec) -> int:
        """See kdns.answer.site.Site.room."""
        return (COOKIE_ROOM if self.cookies is not None else 0) + len(nsid_option(spec.nsid))


UNPROTECTED = Protection()


class Ruling(Enum):
    """What becomes of a query."""

    ANSWER = "answer"
    BLOCK = "block"
    FILTER = "filter"
    SILENCE = "silence"
    SLIP = "slip"  # a reply without records that says TC
    FORMERR = "formerr"


class Judged(NamedTuple):
    """What becomes of a query. options: for the reply's OPT record. has_cookie: a well-formed one was sent."""

    ruling: Ruling
    options: bytes = b""
    has_cookie: bool = False


class Asker(NamedTuple):
    """Who asks: packed address, and whether over TCP."""

    address: bytes
    tcp: bool


class Counted(NamedTuple):
    """What one count is of. zone: of the `acl` that decided, the root's where it is of all.

    what: the ruling of `acl` (allow, block, filter, drop), or cookie_good, cookie_new, cookie_bad, cookie_malformed,
    rrl_slip, rrl_drop.
    """

    what: str
    zone: bytes = ROOT


_RULINGS = {AclAction.ALLOW: Ruling.ANSWER, AclAction.BLOCK: Ruling.BLOCK, AclAction.FILTER: Ruling.FILTER}
_OF_ALL = tuple(map(Counted, (
    AclAction.ALLOW.value, "cookie_good", "cookie_new", "cookie_bad", "cookie_malformed", "rrl_slip", "rrl_drop",
)))  # fmt: skip
_OVER_LIMIT = {Judgement.SLIP: Ruling.SLIP, Judgement.DROP: Ruling.SILENCE}


def counted(specs: Iterable[Sequence[bytes]]) -> tuple[Counted, ...]:
    """What is counted where there are `acl` lines with these zones, in the order of Guard.counts."""
    zones = dict.fromkeys(zone for zones in specs for zone in zones)
    actions = (AclAction.BLOCK, AclAction.FILTER, AclAction.DROP)
    return (*_OF_ALL, *(Counted(action.value, zone) for zone in zones for action in actions))


class Guard:
    """Guards the listeners that have these sites. counts: as `counted` says of the zones of their `acl` lines."""

    def __init__(self, sites: Sequence[Site], protection: Protection) -> None:
        self._cookies = protection.cookies
        self._limiter = protection.limiter
        self._clock = protection.clock
        self.has_acl = any(site.acl for site in sites)
        self.counted = counted(site.acl.zones for site in sites if site.acl)
        self.counts = [0] * len(self.counted)
        self._place = {one: at for at, one in enumerate(self.counted)}
        # Whether nothing that is kept may be sent before the guard was asked. Who asks for `nsid` asks in a form that
        # nothing is kept for in common.
        self.is_strict = self.has_acl or self._cookies is not None or self._limiter is not None
        self.has_nsid = any(site.nsid for site in sites)
        self.is_needed = self.is_strict or self.has_nsid

    def judge(self, site: Site | None, asker: Asker, qname: bytes, qtype: int, cookie: bytes | None) -> Judged:
        """What becomes of a query for a folded name.

        site: the one that takes it, None also where `acl` is not to be asked: a malformed query is for no name.
        cookie: the body of its option, None for none.
        """
        ruling = Ruling.ANSWER
        if site and site.acl:
            ruling = _RULINGS.get(self.ask_acl(site.acl, asker.address, qname, qtype), Ruling.SILENCE)
        if ruling is Ruling.SILENCE:
            return Judged(ruling)
        standing, options = self._look_at(cookie, asker)
        if self._limiter is not None and not asker.tcp and standing is not Standing.GOOD:
            judgement = self._limiter.judge(asker.address, self._clock())
            if judgement is not Judgement.PASS:
                self._count(f"rrl_{judgement.value}")
                return Judged(_OVER_LIMIT[judgement], options)
        if standing is Standing.MALFORMED:
            return Judged(Ruling.FORMERR)
        return Judged(ruling, options, bool(options))

    def is_malformed(self, cookie: bytes | None) -> bool:
        """Whether a query with a COOKIE option of this body is FORMERR, whatever else it is."""
        return self._cookies is not None and cookie is not None and parse(cookie) is None

    def ask_acl(self, acl: Acl, client: bytes, qname: bytes, qtype: int) -> AclAction:
        """What `acl` says of a folded name for this client (packed address); counted."""
        action, zone = acl.verdict(qname, qtype, client)
        self._count(action.value, ROOT if action is AclAction.ALLOW else zone)
        return action

    def _look_at(self, cookie: bytes | None, asker: Asker) -> tuple[Standing, bytes]:
        if self._cookies is None or cookie is None:
            return Standing.NONE, b""
        standing, options = self._cookies.serve(cookie, asker.address, int(self._clock()))
        self._count(f"cookie_{standing.value}")
        return standing, options

    def _count(self, what: str, zone: bytes = ROOT) -> None:
        self.counts[self._place[Counted(what, zone)]] += 1


def nsid_option(data: bytes) -> bytes:
    """The option that tells the server's identity; b"" for none."""
    return _head(NSID_OPTION, len(data)) + data if data else b""


def told_nsid(site: Site | None, asked: bytes) -> bytes:
    """The option for the reply to a query with these options."""
    if site is None or not site.nsid or find_option(asked, NSID_OPTION) is None:
        return b""
    return nsid_option(site.nsid)
