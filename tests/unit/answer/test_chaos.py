"""`chaos`: names of class CH, in the server blocks that answer them, and in no others."""

from __future__ import annotations

import dns.flags
import dns.message
import dns.rcode
import pytest

from kdns import __version__
from kdns.answer.chaos import ChaosSpec
from kdns.answer.spec import SiteSpec, Specification
from kdns.corefile import parse_corefile
from kdns.server.assembly import assemble
from kdns.wire.name import ROOT, from_text
from tests.support.engines import Served
from tests.support.messages import opt, query

CH = 3
SPEC = ChaosSpec(b"v1", (b"Ada", b"Grace"), b"pod-1")
BIND = from_text("bind")


def serving(spec: ChaosSpec = SPEC) -> Served:
    """One block for everything with `chaos`, one for example.org without it."""
    sites = (SiteSpec((ROOT,), chaos=spec), SiteSpec((from_text("example.org"),)))
    return Served(Specification((), sites, ((0, 1),)))


def ask(served: Served, qname: str, qtype: str = "TXT", **rest: object) -> dns.message.Message:
    tcp = bool(rest.pop("tcp", False))
    reply = served.ask(query(qname, qtype, qclass=CH, **rest), tcp)
    assert reply is not None
    return dns.message.from_wire(reply)


def texts(reply: dns.message.Message) -> list[bytes]:
    return [rdata.strings[0] for rrset in reply.answer for rdata in rrset]


@pytest.mark.parametrize(
    ("qname", "wanted"),
    [
        ("version.bind", [b"v1"]),
        ("VERSION.server", [b"v1"]),
        ("authors.bind", [b"Ada", b"Grace"]),
        ("hostname.bind", [b"pod-1"]),
        ("id.server", [b"pod-1"]),
    ],
)
def test_each_name_says_what_it_is_for(qname: str, wanted: list[bytes]) -> None:
    for edns in (b"", opt()):
        for tcp in (False, True):
            reply = ask(serving(), qname, edns=edns, tcp=tcp)
            assert (reply.rcode(), texts(reply)) == (dns.rcode.NOERROR, wanted)
            assert [(rrset.rdclass, rrset.ttl) for rrset in reply.answer] == [(CH, 0)]
            assert (reply.edns >= 0) is bool(edns)
            assert reply.question[0].name.to_text() == f"{qname}."


@pytest.mark.parametrize(
    ("qname", "qtype"), [("version.bind", "A"), ("other.bind", "TXT"), ("www.example.org", "TXT"), (".", "TXT")]
)
def test_all_else_of_the_class_is_refused(qname: str, qtype: str) -> None:
    assert ask(serving(), qname, qtype).rcode() == dns.rcode.REFUSED


def test_a_block_without_it_refuses_its_own_names() -> None:
    served = Served(Specification((), (SiteSpec((ROOT,), chaos=SPEC), SiteSpec((BIND,))), ((0, 1),)))
    assert ask(served, "version.bind").rcode() == dns.rcode.REFUSED
    assert texts(ask(served, "version.server")) == [b"v1"]


def test_the_same_names_of_class_in_are_like_any_other() -> None:
    assert serving().dig("version.bind", "TXT").rcode == "REFUSED"


def test_it_answers_before_data_is_there() -> None:
    served = Served(Specification((), (SiteSpec((ROOT,), chaos=SPEC),), ((0,),)), ready=False)
    assert texts(ask(served, "version.bind")) == [b"v1"]


def test_as_many_authors_as_there_is_room_for() -> None:
    served = serving(ChaosSpec(b"v1", tuple(b"%03d" % at + b"x" * 97 for at in range(20)), b"h"))
    cut = ask(served, "authors.bind")
    assert cut.flags & dns.flags.TC
    assert len(texts(cut)) == 4
    assert len(cut.to_wire()) <= 512
    whole = ask(served, "authors.bind", tcp=True)
    assert not whole.flags & dns.flags.TC
    assert len(texts(whole)) == 20


def test_without_words_it_says_what_kdns_is() -> None:
    plan = assemble(parse_corefile("bind {\n chaos\n}\n"), lambda _: [], list)
    chaos = plan.specification.sites[0].chaos
    assert chaos is not None
    assert chaos.version == f"kdns-{__version__}".encode()
    assert chaos.authors
    assert chaos.host
