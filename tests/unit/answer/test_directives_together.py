"""Directives that meet in one block: each still holds for the client, whatever the others make of its question."""

from __future__ import annotations

from pathlib import Path
from socket import gethostname

import dns.edns
import pytest

from kdns.answer.cookies import Cookies
from kdns.answer.guard import UNPROTECTED, Protection
from kdns.answer.guarded import GuardedResponder
from kdns.answer.ratelimit import RateLimiter
from kdns.wire.cookie import Secrets
from kdns.wire.outside import Told
from tests.support.corefiles import answered, served_by
from tests.support.engines import CLIENT, Served
from tests.support.forwarding import answering
from tests.support.guarding import HALF, SECRET, cookie_of, ede_of, has_cookie, with_cookie
from tests.support.messages import AXFR, COOKIE, Answer, opt, option, query
from tests.support.shop import SUBTREES

NSID = 3
DEFAULTS = Path(__file__).parents[2] / "data" / "corefiles"
WWW, ADDRESS = "www.example.org", "www.example.org. 300 A 192.0.2.80"
POD = "shop.svc.cluster.local"
OTHER = (b"\xc6\x33\x64\x07", 5353)


def protected() -> Protection:
    return Protection(Cookies(Secrets(SECRET)), None, lambda: 1_800_000_000.0)


def block(*lines: str, cookies: bool = False, resolv_conf: str = "") -> Served:
    """A cluster and `forward`, with these lines before them."""
    body = "\n".join((*lines, "kubernetes cluster.local in-addr.arpa", "forward . 192.0.2.53", "cache"))
    protection = protected() if cookies else UNPROTECTED
    return served_by(f". {{\n{body}\n}}\n", *SUBTREES, resolv_conf=resolv_conf, protection=protection)


def public(name: str, qtype: int) -> Told | list[str] | None:
    """The world outside: www.example.org has an address, no other name exists."""
    return None if name != f"{WWW}." else [ADDRESS] if qtype == 1 else []


def passes(served: Served, qname: str) -> bool:
    """Whether a plain query for the name is passed on without being looked into."""
    message = query(qname)
    return served.responder.passing(message[12:]) is not None


# acl, cookies and nsid before transfer

TRANSFER = ("transfer {\nto *\n}",)


def whole(served: Served, edns: bytes, client: tuple[bytes, int] = CLIENT) -> list[Answer] | None:
    found = served.responder.transfer(query("cluster.local", AXFR, edns=edns), client, True)
    return None if found is None else [Answer(one) for one in found]


@pytest.mark.parametrize(("action", "rcode", "ede"), [("block", "REFUSED", 15), ("filter", "NOERROR", 17)])
def test_who_is_blocked_or_filtered_gets_no_zone(action: str, rcode: str, ede: int) -> None:
    served = block(*TRANSFER, f"acl {{\n{action} type AXFR net 198.51.100.0/24\n}}", cookies=True)
    assert whole(served, with_cookie()) is not None
    assert whole(served, with_cookie(), OTHER) is None
    reply = served.responder.respond(query("cluster.local", AXFR, edns=with_cookie()), OTHER, True)
    assert isinstance(reply, bytes)
    told = Answer(reply)
    assert (told.rcode, told.answer, ede_of(told), has_cookie(told)) == (rcode, [], ede, True)


def test_who_is_dropped_gets_no_zone_and_no_reply() -> None:
    served = block(*TRANSFER, "acl {\ndrop net 198.51.100.0/24\n}")
    assert whole(served, b"", OTHER) is None
    assert served.responder.respond(query("cluster.local", AXFR), OTHER, True) is None


def test_a_zone_comes_with_the_cookie_and_the_identity_of_who_asked() -> None:
    served = block(*TRANSFER, "nsid here", "acl {\nblock net 198.51.100.0/24\n}", cookies=True)
    messages = whole(served, opt(options=option(COOKIE, HALF) + option(NSID, b"")))
    assert messages is not None
    first, *others = messages
    assert cookie_of(first)[:8] == HALF
    assert [one.nsid for one in first.message.options if isinstance(one, dns.edns.NSIDOption)] == [b"here"]
    assert not any(one.has_edns for one in others)
    assert len(first.answer) > len(SUBTREES)


@pytest.mark.parametrize("octets", [0, 7, 41])
def test_a_malformed_cookie_is_formerr_instead_of_a_zone(octets: int) -> None:
    served = block(*TRANSFER, cookies=True)
    malformed = with_cookie(bytes(octets))
    assert whole(served, malformed) is None
    reply = served.dig("cluster.local", AXFR, tcp=True, edns=malformed)
    assert (reply.rcode, reply.answer, has_cookie(reply)) == ("FORMERR", [], False)
    assert whole(block(*TRANSFER, "nsid here"), malformed) is not None  # without cookies it is an unknown option


# rewrite, minimal and cookies, on names outside


@pytest.mark.parametrize("tcp", [False, True])
def test_a_name_outside_is_rewritten_back_lean_and_with_a_cookie_kept_or_not(tcp: bool) -> None:
    served = block("rewrite name suffix .corp. .example.org. answer auto", "minimal", cookies=True)
    pending = served.pend(query("www.corp", edns=with_cookie()), tcp)
    told = answering(
        pending.ask, ADDRESS, authority=["example.org. 300 NS ns.example.org."],
        additional=["ns.example.org. 300 A 192.0.2.53"], keep=30,
    )
    first = pending.finish(told)
    assert isinstance(first, bytes)
    again = [served.dig("www.corp", tcp=tcp, edns=with_cookie(payload=payload)) for payload in (1232, 4096)]
    for reply in (Answer(first), *again):
        assert (reply.question, reply.answer) == ("www.corp. IN A", ["www.corp. 300 A 192.0.2.80"])
        assert (reply.authority, reply.additional, cookie_of(reply)[:8]) == ([], [], HALF)
    assert served.dig("www.corp", tcp=tcp).counts == (1, 1, 0, 0)


# autopath behind a guard


def test_every_name_of_a_walk_is_waited_for_with_the_cookie_of_who_asked() -> None:
    lines = "autopath @kubernetes", "minimal", "nsid here"
    served = block(*lines, cookies=True, resolv_conf="search one.example two.example\n")
    edns = opt(options=option(COOKIE, HALF) + option(NSID, b""))
    for known, expected in ({WWW}, [f"{WWW}.{POD}. 5 CNAME {WWW}.", ADDRESS]), (set(), []):
        reply, asked = answered(
            served, query(f"{WWW}.{POD}", edns=edns),
            lambda name, qtype, known=known: public(name, qtype) if name[:-1] in known else None,
        )
        assert asked == [f"{WWW}.one.example.", f"{WWW}.two.example.", f"{WWW}."]
        assert (reply.answer, cookie_of(reply)[:8]) == (expected, HALF)
        assert NSID in reply.options


# Who the server is


def test_chaos_and_nsid_name_the_same_host() -> None:
    served = block("chaos", "nsid")
    reply = served.dig("hostname.bind", "TXT", qclass=3, edns=opt(options=option(NSID, b"")))
    [identity] = [one.nsid for one in reply.message.options if isinstance(one, dns.edns.NSIDOption)]
    assert reply.message.answer[0][0].strings == (identity,) == (gethostname().encode(),)


# Who may have a say in a name is asked


@pytest.mark.parametrize("line", [
    "rewrite name web.corp web.shop.svc.cluster.local", "rewrite ttl suffix . 3-9", "minimal", "nsid here",
    "autopath @kubernetes", 'template IN A tpl {\nanswer "{{ .Name }} 5 IN A 192.0.2.7"\nfallthrough\n}',
    "template ANY ANY blocked {\nrcode NXDOMAIN\n}", "acl {\nblock net 198.51.100.0/24\n}",
    "hosts {\n192.0.2.7 www.example.org\nfallthrough\n}",
])
def test_a_block_where_another_directive_may_take_the_name_passes_nothing_on(line: str) -> None:
    assert passes(block(), WWW)
    assert not passes(block(line), WWW)


def test_names_of_hosts_are_not_passed_on_and_others_are() -> None:
    served = block("hosts /etc/hosts hosts.test {\n192.0.2.7 www.hosts.test\nfallthrough\n}")
    assert passes(served, WWW)
    assert not passes(served, "www.hosts.test")
    assert not passes(served, "other.hosts.test")


@pytest.mark.parametrize("protection", [
    protected(), Protection(None, RateLimiter(5), float), Protection(Cookies(Secrets(SECRET)), RateLimiter(5), float),
])
def test_a_listener_with_cookies_or_a_limit_has_no_short_cut(protection: Protection) -> None:
    served = served_by(". {\nforward . 192.0.2.53\n}\n", protection=protection)
    assert isinstance(served.responder, GuardedResponder)
    assert not served.responder.has_short_cut


# A Corefile that many have, and one line more


def test_kubeadms_corefile_with_a_rewrite_forwards_plain_names_as_they_are() -> None:
    text = (DEFAULTS / "kubeadm.corefile").read_text()
    text = text.replace("/etc/resolv.conf", "192.0.2.53").replace(
        "    ready\n", "    ready\n    rewrite name suffix .corp.example. .svc.cluster.local. answer auto\n")
    served = served_by(text, *SUBTREES)
    assert not passes(served, WWW)
    for _ in range(2):
        reply, asked = answered(served, query(WWW, edns=opt()), public)
        assert (reply.rcode, reply.answer, asked) == ("NOERROR", [ADDRESS], [f"{WWW}."])
    assert served.dig("web.shop.corp.example").answer == ["web.shop.corp.example. 30 A 10.0.0.1"]
    assert answered(served, query("nope.example"), public)[0].rcode == "NXDOMAIN"
