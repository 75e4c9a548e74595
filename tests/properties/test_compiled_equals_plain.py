"""A reply through all short cuts says what the plain lookup says: kept or not, in any case, after any change."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hypothesis import example, given
from hypothesis import strategies as st

from kdns.answer.spec import ClusterSpec, FileSpec, SiteSpec, Specification
from kdns.wire.iana import Rcode
from kdns.wire.name import from_text, suffixes
from kdns.zone.cluster import PodNames
from kdns.zone.delta import ZoneDelta
from kdns.zone.model import Lookup
from kdns.zone.rrset import RRset
from tests.support.engines import CLUSTER, IN_ADDR, IP6, Served, zone_file
from tests.support.messages import COOKIE, Answer, opt, option, query
from tests.support.strategies import QUESTIONS, Cluster, Question, clusters, deltas, mixed
from tests.support.zonetext import chased, lines

FILE = """\
alias CNAME web.shop.svc.cluster.local.
www A 192.0.2.1
www A 192.0.2.2
a.b.c TXT x
*.svc A 192.0.2.3
shop.svc NS ns.shop.svc
ns.shop.svc A 192.0.2.4
"""
OVERLAY = "web.shop.svc A 192.0.2.9\nextra A 192.0.2.8\n"


@dataclass(frozen=True)
class Setup:
    """How the cluster is served."""

    pods: PodNames
    ttl: int
    fallthrough: bool
    bufsize: int
    listeners: tuple[bytes, ...]

    @property
    def specification(self) -> Specification:
        zones = (CLUSTER, IN_ADDR, IP6)
        passed = (CLUSTER,) if self.fallthrough else ()
        sources = (
            ClusterSpec(zones, self.ttl, self.pods, passed, self.listeners),
            FileSpec(from_text("example.org")), FileSpec(CLUSTER),
        )
        used = (0, 1, 2) if self.fallthrough else (0, 1)
        site = SiteSpec((*zones, from_text("example.org")), used, max_udp_octets=self.bufsize)
        return Specification(sources, (site,), ((0,),))

    def serve(self, state: Cluster) -> Served:
        files = [zone_file(FILE, source=1), zone_file(OVERLAY, "cluster.local", 2)]
        return Served(self.specification, [state.image(), *files])


SETUPS = st.builds(
    Setup, st.sampled_from(PodNames), st.sampled_from([0, 5, 30]), st.booleans(), st.sampled_from([512, 1232, 4096]),
    st.sampled_from([(), (b"\x0a\0\0\1",), (b"\xc0\0\2\x35", bytes(15) + b"\1")]),
)
BIG = opt(65535)


def asked(question: Question, *, mix: bool = False, cookie: bytes = b"") -> bytes:
    edns = question.edns
    if cookie and edns:
        edns = edns[:9] + len(option(COOKIE, cookie)).to_bytes(2) + option(COOKIE, cookie)
    qname = mixed(question.qname) if mix else question.qname
    return query(qname, question.qtype, edns=edns, flags=question.flags, ident=0xABCD)


def reply(served: Served, octets: bytes, tcp: bool) -> Answer:
    found = served.ask(octets, tcp)
    assert found is not None
    return Answer(found)


def plain(served: Served, question: Question) -> Lookup | None:
    """The lookup for a question, without anything that is kept; None for what is refused before it."""
    sites = served.responder._sites
    site = next((sites[apex] for apex in suffixes(question.qname) if apex in sites), None)
    zone = site.zone_of(question.qname, question.qtype) if site and question.qtype not in (251, 252) else None
    return chased(zone, site.zone_of, question.qname, question.qtype) if site and zone else None


def lowered(section: Iterable[str]) -> set[str]:
    return {line.lower() for line in section}


def compare(answer: Answer, found: Lookup | None) -> None:
    """The reply is the lookup, but for what truncation may take away."""
    if found is None:
        assert (answer.rcode, answer.counts[1:3], answer.additional) == ("REFUSED", (0, 0), [])
        return
    assert answer.rcode == Rcode(found.rcode).name
    assert ("AA" in answer.flags) is found.authoritative
    authority = [*found.authority]
    if found.denial:
        soa = found.denial.zone.soa
        authority.append(RRset(soa.owner, soa.rrtype, found.denial.ttl, soa.rdatas))
    answers, authorities, additional = map(lowered, answer.sections())
    all_answers, all_authorities, all_additional = (
        lowered(lines(rrsets)) for rrsets in (found.answer, authority, found.additional)
    )
    assert answers <= all_answers
    assert authorities in (all_authorities, set())
    assert additional <= all_additional
    if "TC" not in answer.flags:
        assert (answers, authorities) == (all_answers, all_authorities)


@given(clusters(), SETUPS, st.lists(QUESTIONS, min_size=1, max_size=25), st.lists(deltas(), max_size=3))
def test_kept_replies_equal_plain_lookups_whatever_changes(
    state: Cluster, setup: Setup, questions: list[Question], changes: list[ZoneDelta]
) -> None:
    served = setup.serve(state)
    for change in (None, *changes):
        if change is not None:
            served.engine.apply(change)
        for question in questions:
            found = plain(served, question)
            variants = [
                asked(question), asked(question, mix=True), asked(question, cookie=b"ABCDabcd"),
                asked(question, mix=True, cookie=b"\0" * 8), asked(question),
            ]
            for octets in variants:
                answer = reply(served, octets, question.tcp)
                compare(answer, found)
                _check_form(answer, octets, question, setup)


def _check_form(answer: Answer, octets: bytes, question: Question, setup: Setup) -> None:
    """What every reply has, whatever it says."""
    end = 12 + len(question.qname) + 4
    assert (answer.ident, answer.wire[12:end]) == (0xABCD, octets[12:end])
    assert {"QR"} <= answer.flags <= {"QR", "AA", "TC", "RD", "CD"}
    assert ("RD" in answer.flags, "CD" in answer.flags) == (bool(octets[2] & 1), bool(octets[3] & 16))
    assert answer.has_edns is bool(question.edns)
    size = int.from_bytes(question.edns[3:5]) if question.edns else 512
    assert len(answer.wire) <= (65535 if question.tcp else min(max(size, 512), setup.bufsize))
    if question.edns:
        assert answer.dnssec_ok is bool(question.edns[7] & 0x80)


@given(clusters(), SETUPS, st.lists(QUESTIONS, min_size=1, max_size=12))
@example(Cluster(), Setup(PodNames.DISABLED, 5, True, 1232, ()), [Question(CLUSTER, 2, b"", 0, False)] * 2)
def test_a_kept_reply_equals_the_reply_of_an_empty_table(
    state: Cluster, setup: Setup, questions: list[Question]
) -> None:
    """Unlike above, truncation and what is left out of the additional section are compared too."""
    served, fresh = setup.serve(state), setup.serve(state)
    for question in questions * 2:
        fresh.responder.publish()
        one, other = reply(served, asked(question), question.tcp), reply(fresh, asked(question), question.tcp)
        assert (one.rcode, one.flags, one.counts) == (other.rcode, other.flags, other.counts)
        assert len(one.wire) == len(other.wire)
        assert (one.ede, one.has_edns and one.payload) == (other.ede, other.has_edns and other.payload)
        if "TC" not in one.flags:
            assert one.sections() == other.sections()


@given(clusters(), SETUPS, st.lists(QUESTIONS, min_size=1, max_size=12))
def test_a_truncated_reply_says_less_than_the_one_over_tcp_and_nothing_else(
    state: Cluster, setup: Setup, questions: list[Question]
) -> None:
    served = setup.serve(state)
    for question in questions:
        over_udp = reply(served, asked(question), False)
        over_tcp = reply(served, asked(question), True)
        assert "TC" not in over_tcp.flags
        assert over_udp.rcode == over_tcp.rcode
        pairs = zip(over_udp.sections(), over_tcp.sections(), strict=True)
        assert all(less <= more for less, more in pairs)
        if "TC" not in over_udp.flags:
            assert over_udp.sections()[:2] == over_tcp.sections()[:2]
