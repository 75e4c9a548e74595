"""Rewritten questions, walked search lists and templates: their replies, as octets, are to the name that was asked.

No reply may have an answer whose chain of aliases does not start at the question: resolvers drop what does not.
"""

from __future__ import annotations

from random import Random

import dns.message
import dns.name
import dns.rdatatype
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kdns.answer.autopath import AutopathSpec, begin, walk
from kdns.answer.compiler import Frame, compile_reply
from kdns.answer.rewrite import Rewriter
from kdns.answer.template import Sender, Templates, TemplateSpec
from kdns.wire.iana import Rcode
from kdns.wire.name import ROOT, from_text, join, to_text
from kdns.wire.rules import MatchKind, NameMatch, NameRewrite
from kdns.zone.cluster import ForwardZone, PodNames
from kdns.zone.hosts import HostsEntry, HostsSpec, hosts_zones
from kdns.zone.model import Lookup, Zone
from kdns.zone.recordtext import parse_record
from kdns.zone.rrset import RRset
from kdns.zone.state import ClusterState
from tests.support.engines import CLUSTER, image
from tests.support.messages import AAAA, MX, SRV, A, question
from tests.support.shop import SUBTREES
from tests.support.subtrees import packed
from tests.support.zonetext import chased

ORG = from_text("example.org")
STATE = ClusterState(0)
STATE.load(image(*SUBTREES))
ZONE = ForwardZone(STATE, CLUSTER, 30, 5, PodNames.DISABLED)
HOSTS = hosts_zones(1, HostsSpec((ORG,)), [HostsEntry(packed("192.0.2.1"), (from_text("web.example.org"),))])
ZONES: dict[bytes, Zone] = {CLUSTER: ZONE, **HOSTS.zones}
PUBLIC = packed("198.51.100.1")


def look(name: bytes, qtype: int) -> Lookup | None:
    """What our zones have for a name; None if it is in none of them."""
    def zone_of(qname: bytes, _: int) -> Zone | None:
        return next((zone for apex, zone in ZONES.items() if qname.endswith(apex)), None)

    zone = zone_of(name, qtype)
    return chased(zone, zone_of, name, qtype) if zone else None


def decoded(qname: bytes, qtype: int, found: Lookup, limit: int = 65535) -> dns.message.Message:
    asked = question(qname, qtype)
    reply = compile_reply(Frame(asked, 0x0100, limit, b""), found, Random(0))
    body = reply.body if isinstance(reply.body, bytes) else reply.body()
    return dns.message.from_wire(b"\0\0" + reply.heads[0] + asked + body, one_rr_per_rrset=True)


def assert_is_to(qname: bytes, message: dns.message.Message) -> None:
    """Each answer record stands at the end of the aliases before it, which start at the question."""
    at = dns.name.from_wire(qname, 0)[0]
    assert message.question[0].name == at
    for rrset in message.answer:
        assert rrset.name == at, message
        if rrset.rdtype == dns.rdatatype.CNAME:
            at = rrset[0].target


TYPES = st.sampled_from([A, AAAA, SRV, MX])
RIGHT = st.sampled_from(["shop.svc.cluster.local.", "example.org.", "svc.cluster.local.", "example.net."])
LEFT = st.sampled_from(["web.", "db.", "db-0.db.", "_http._tcp.web.", "out.", "in.", "a.b.", "crowd.", ""])
@st.composite
def cases(draw: st.DrawFn) -> tuple[str, list[NameRewrite]]:
    """A name, and rules of which the first one holds for it, and the others may."""
    left, right = draw(LEFT), draw(RIGHT)
    asked = left + right
    rules: list[NameRewrite] = []
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from([MatchKind.EXACT, MatchKind.PREFIX, MatchKind.SUFFIX, MatchKind.SUBSTRING]))
        pattern = {MatchKind.EXACT: left + right, MatchKind.SUFFIX: right}.get(kind, left or right)
        new_left, new_right = draw(LEFT), draw(RIGHT)
        to = {MatchKind.EXACT: new_left + new_right, MatchKind.SUFFIX: new_right}.get(kind, new_left or new_right)
        rules.append(NameRewrite(NameMatch(kind, pattern), to, draw(st.booleans()), (), draw(st.booleans())))
        if draw(st.booleans()):
            left, right = (new_left, right) if kind is MatchKind.PREFIX else (left, new_right)
    return asked, rules


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(cases(), TYPES, st.sampled_from([512, 65535]))
def test_the_answer_to_a_rewritten_question_is_one_to_the_asked_one(
    case: tuple[str, list[NameRewrite]], qtype: int, limit: int
) -> None:
    qname, rules = from_text(case[0]), case[1]
    rewritten = Rewriter(rules).rewrite(qname, qtype, 1)
    assert rewritten is not None
    if rewritten.failure or (found := look(rewritten.qname, qtype)) is None:
        return
    assert_is_to(qname, decoded(qname, qtype, rewritten.reverter.revert(found), limit))


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.tuples(LEFT, RIGHT).map("".join), st.sampled_from(["shop", "default", "nowhere"]), TYPES, st.booleans())
def test_the_answer_of_a_walked_search_list_is_one_to_the_asked_name(
    name: str, namespace: str, qtype: int, exists: bool
) -> None:
    asked = from_text(f"{name}{namespace}.svc.cluster.local")
    found = look(asked, qtype)
    assert found is not None
    search = begin(AutopathSpec((ROOT,), (from_text("corp.example"),)), ZONE, asked, qtype, found)
    if search is None:
        return

    def step(candidate: bytes) -> Lookup | None:
        here = look(candidate, qtype)
        if here is not None or not exists:
            return here or Lookup(Rcode.NXDOMAIN)
        return Lookup(Rcode.NOERROR, (RRset(candidate, A, 300, (PUBLIC,)),))

    answer = walk(search, step)
    assert isinstance(answer, Lookup)
    message = decoded(asked, qtype, answer)
    assert_is_to(asked, message)
    assert (message.rcode() == Rcode.NXDOMAIN) == (not message.answer)


@given(st.lists(st.binary(min_size=1, max_size=12), min_size=1, max_size=3), st.booleans())
def test_the_answer_of_a_template_is_one_to_the_asked_name(labels: list[bytes], as_alias: bool) -> None:
    qname = join([label.lower() for label in labels])[:-1] + ORG
    alias = ("{{ .Name }} 60 IN CNAME target.example.org.", "target.example.org. 60 IN A 192.0.2.7")
    answer = alias if as_alias else ("{{ .Name }} 60 IN A 192.0.2.7",)
    templates = Templates([TemplateSpec((ORG,), answer=answer)], parse_record)
    templated = templates.answer(qname, A, 1, Sender(bytes(4), 0, qname))
    assert templated is not None
    message = decoded(qname, A, templated.found)
    assert message.answer, to_text(qname)
    assert_is_to(qname, message)
