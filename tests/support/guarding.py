"""Engines with a guard: `acl`, `nsid`, cookies and a rate limit, before a cluster, a zone file and `forward`."""

from __future__ import annotations

from ipaddress import ip_network

import dns.edns

from kdns.answer.acl import AclSpec
from kdns.answer.cookies import Cookies
from kdns.answer.guard import Counted, Protection
from kdns.answer.guarded import GuardedResponder
from kdns.answer.outside import Pending
from kdns.answer.ratelimit import RateLimiter
from kdns.answer.spec import FileSpec, SiteSpec, Specification
from kdns.wire.cookie import Secrets
from kdns.wire.name import ROOT, from_text
from kdns.wire.rules import AclAction, AclRule
from tests.support.engines import Served, image, zone_file
from tests.support.forwarding import DEFAULT_CLUSTER, EVERYTHING, telling
from tests.support.messages import COOKIE, Answer, opt, option
from tests.support.subtrees import headless, packed, service

SECRET = b"s" * 16
HALF = b"\x01\x02\x03\x04\x05\x06\x07\x08"
CLIENT, OTHER = packed("192.0.2.99"), packed("198.51.100.7")
NOW = 1_800_000_000.0
WEB, DB, CROWD = (f"{name}.shop.svc.cluster.local" for name in ("web", "db", "crowd"))
NOBODY, OUTSIDE = "nope.shop.svc.cluster.local", "www.example.net"
ORG = from_text("example.org")
FILE = 'sub NS ns.sub\nns.sub A 192.0.2.1\nmx MX 1 www\nwww A 192.0.2.2\nout CNAME www.example.net.\nold TXT "x"\n'


class Clock:
    """Stands still until told to go on."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


class Guarded:
    """What answers, and how it is asked by several clients. What is for outside is answered at once."""

    def __init__(self, *, secret: bytes = b"", rate: int = 0, bufsize: int = 1232, acl: tuple[AclSpec, ...] = (),
                 nsid: bytes = b"", minimal: bool = False) -> None:
        self.clock = Clock()
        protection = Protection(
            Cookies(Secrets(secret)) if secret else None, RateLimiter(rate) if rate else None, self.clock
        )
        site = SiteSpec(
            (ROOT,), (0, 1), max_udp_octets=bufsize, group=0, outside=EVERYTHING, acl=acl, nsid=nsid, minimal=minimal
        )
        crowd = " ".join(f"10.2.0.{at}" for at in range(100))
        cluster = image(service("web.shop", "10.0.0.1"), headless("db.shop", "10.1.0.1 10.1.0.2 10.1.0.3"),
                        headless("crowd.shop", crowd))
        self.served = Served(
            Specification((DEFAULT_CLUSTER, FileSpec(ORG)), (site,), ((0,),)),
            [cluster, zone_file(FILE, source=1)], protection=protection,
        )
        self.responder = self.served.responder

    def outcome(self, message: bytes, client: bytes = CLIENT, tcp: bool = False) -> bytes | Pending | None:
        return self.responder.respond(message, (client, 5353), tcp)

    def ask(self, message: bytes, client: bytes = CLIENT, tcp: bool = False) -> bytes | None:
        outcome = self.outcome(message, client, tcp)
        if isinstance(outcome, Pending):
            return telling(outcome, f"{OUTSIDE}. 300 A 192.0.2.80", keep=30)
        return outcome

    def dig(self, message: bytes, client: bytes = CLIENT, tcp: bool = False) -> Answer:
        reply = self.ask(message, client, tcp)
        assert reply is not None
        return Answer(reply)

    def count(self, what: str, zone: bytes = ROOT) -> int:
        assert isinstance(self.responder, GuardedResponder)
        guard = self.responder.guard
        return guard.counts[guard.counted.index(Counted(what, zone))]


def rule(action: AclAction, *networks: str, types: tuple[int, ...] = ()) -> AclRule:
    return AclRule(action, frozenset(types), tuple(map(ip_network, networks)))


def against(
    action: AclAction, *networks: str, zone: bytes = ROOT, types: tuple[int, ...] = ()
) -> tuple[AclSpec, ...]:
    """The `acl` of a block with one rule."""
    return (AclSpec((zone,), (rule(action, *networks, types=types),)),)


def with_cookie(body: bytes = HALF, payload: int = 1232, **rest: int) -> bytes:
    return opt(payload, option(COOKIE, body), **rest)


def cookie_of(reply: Answer) -> bytes:
    """The body of a reply's one cookie, read by dnspython."""
    [found] = [one for one in reply.message.options if one.otype == COOKIE]
    assert isinstance(found, dns.edns.CookieOption)
    return found.client + found.server


def has_cookie(reply: Answer) -> bool:
    return any(one.otype == COOKIE for one in reply.message.options)


def ede_of(reply: Answer) -> int | None:
    return next((int(one.code) for one in reply.message.options if isinstance(one, dns.edns.EDEOption)), None)
