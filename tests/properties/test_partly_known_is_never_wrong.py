"""Whatever a source does not know yet: each answer is that of the whole or SERVFAIL, and nothing is denied.

Where it does not know it in some namespaces alone, that is so in these, and everything is answered in the others.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from kdns.answer.spec import ClusterSpec, FileSpec, SiteSpec, SourceSpec, Specification
from kdns.wire.name import ROOT, from_text, labels
from kdns.zone.cluster import PodNames
from kdns.zone.delta import LACKS_ENDPOINTS, LACKS_EVERYTHING, LACKS_NAMESPACES, LACKS_PODS, LACKS_SERVICES, ZoneDelta
from kdns.zone.subtree import Subtree
from tests.support.engines import CLUSTER, IN_ADDR, IP6, Served, zone_file
from tests.support.messages import AAAA, ANY, CNAME, DS, MX, NS, PTR, SOA, SRV, A, Answer, opt, query
from tests.support.strategies import NAMES_ASKED, NAMESPACES, Cluster, clusters, deltas, names_of_interest

ZONES = (CLUSTER, IN_ADDR, IP6)
TYPES = (A, AAAA, SRV, PTR, CNAME, SOA, NS, ANY, DS, MX)
FILES = {
    "example.org": "alias CNAME web.shop.svc.cluster.local.\n@ MX 1 db.shop.svc.cluster.local.\nwww A 192.0.2.1\n",
    "cluster.local": "web.shop.svc A 192.0.2.9\nextra A 192.0.2.8\nshop.svc TXT x\n",
    "local": "*.cluster A 192.0.2.7\n",
    "10.in-addr.arpa": "* PTR host.example.org.\n",
}
ALIAS = from_text("alias.example.org")  # exists: if it is denied, it is for its target
_T = TypeVar("_T")
# An example is some two hundred questions, most of them to two engines.
HALF = settings(max_examples=settings.default.max_examples // 2)


@st.composite
def some(draw: st.DrawFn, of: Collection[_T]) -> list[_T]:
    return [one for one in of if draw(st.booleans())]


@st.composite
def less(draw: st.DrawFn, state: Cluster, lacks: int, lacking: tuple[bytes, ...] = ()) -> Cluster:
    """What may be known of a cluster while these kinds are lacking (in these namespaces): any part of them."""
    rest = Cluster()
    if lacking:
        state, rest = split(state, lacking)
    found = draw(any_less(state, lacks))
    return Cluster(
        state.serial,
        {**found.subtrees, **rest.subtrees},
        found.namespaces | rest.namespaces,
        found.pods | rest.pods,
    )


def split(state: Cluster, lacking: tuple[bytes, ...]) -> tuple[Cluster, Cluster]:
    """What is in these namespaces, and what is not."""

    def half(wanted: bool) -> Cluster:
        return Cluster(
            state.serial,
            {owner: one for owner, one in state.subtrees.items() if (namespace_of(owner) in lacking) is wanted},
            {one for one in state.namespaces if (one in lacking) is wanted},
            {one for one in state.pods if (one[0] in lacking) is wanted},
        )

    return half(True), half(False)


def namespace_of(relative: bytes) -> bytes | None:
    """The label of the namespace that a name left of the apex is in."""
    found = labels(relative + ROOT)
    if len(found) < 2 or found[-1] not in (b"svc", b"pod"):
        return None
    return bytes((len(found[-2]),)) + found[-2]


@st.composite
def any_less(draw: st.DrawFn, state: Cluster, lacks: int) -> Cluster:
    found = Cluster(state.serial, dict(state.subtrees), set(state.namespaces), set(state.pods))
    if lacks & LACKS_SERVICES:
        found.subtrees = {owner: state.subtrees[owner] for owner in draw(some(state.subtrees))}
    if lacks & LACKS_ENDPOINTS:
        found.subtrees = {owner: draw(with_fewer_hosts(one)) for owner, one in found.subtrees.items()}
    if lacks & LACKS_NAMESPACES:
        found.namespaces = set(draw(some(sorted(state.namespaces))))
    if lacks & LACKS_PODS:
        found.pods = set(draw(some(sorted(state.pods))))
    return found


@st.composite
def with_fewer_hosts(draw: st.DrawFn, subtree: Subtree) -> Subtree:
    """A ClusterIP may be hidden (`ignore empty_service`) for no host is known yet."""
    hosts = tuple(draw(some(subtree.hosts)))
    return replace(subtree, hosts=hosts, hidden=subtree.hidden or draw(st.booleans()))


def serve(state: Cluster, lacks: int, pods: PodNames, fallthrough: tuple[bytes, ...], whoami: bool,
          lacking: tuple[bytes, ...] = ()) -> Served:
    cluster = ClusterSpec(ZONES, 30, pods, fallthrough, (b"\x0a\0\0\1",))
    sources: tuple[SourceSpec, ...] = (cluster, *(FileSpec(from_text(origin)) for origin in FILES))
    site = SiteSpec((*ZONES, from_text("example.org"), from_text("local")), tuple(range(5)), whoami=whoami)
    parts = [zone_file(text, origin, at) for at, (origin, text) in enumerate(FILES.items(), 1)]
    return Served(Specification(sources, (site,), ((0,),)), [image(state, lacks, lacking), *parts])


def image(state: Cluster, lacks: int, lacking: tuple[bytes, ...] = ()) -> ZoneDelta:
    return replace(state.image(), lacks=lacks, lacking=lacking)


def ask(served: Served, qname: bytes, qtype: int) -> Answer:
    reply = served.ask(query(qname, qtype, edns=opt()), True)
    assert reply is not None
    return Answer(reply)


def said(answer: Answer) -> tuple[object, ...]:
    """Without what is additional, which may be left out."""
    return answer.rcode, answer.flags, answer.sections()[:2], answer.ede


def check(
    partly: Served, expected: Answer, qname: bytes, qtype: int, may_deny: bool = False, is_known: bool = False
) -> None:
    """is_known: it may not be SERVFAIL either."""
    for _ in range(2):  # what is kept, too
        answer = ask(partly, qname, qtype)
        if answer.rcode == "SERVFAIL" and not is_known:
            assert [code for code, _ in answer.ede] == [14]
            assert answer.counts == (1, 0, 0, 1)
            continue
        assert said(answer) == said(expected), (qname, qtype)
        assert answer.sections()[2] <= expected.sections()[2]
        if not may_deny and qname.endswith((*ZONES, ALIAS)):
            assert answer.rcode != "NXDOMAIN", (qname, qtype)


LACKS = st.integers(1, LACKS_EVERYTHING)
FALLTHROUGH = st.sampled_from([(), (ROOT,), (CLUSTER,), (IN_ADDR, IP6)])


@HALF
@given(st.data(), clusters(), LACKS, st.sampled_from(PodNames), FALLTHROUGH, st.booleans())
def test_each_answer_is_that_of_the_whole_or_servfail_and_no_denial(
    data: st.DataObject, state: Cluster, lacks: int, pods: PodNames, fallthrough: tuple[bytes, ...], whoami: bool
) -> None:
    part = data.draw(less(state, lacks))
    partly, whole = serve(part, lacks, pods, fallthrough, whoami), serve(state, 0, pods, fallthrough, whoami)
    names = [*names_of_interest(state), *data.draw(st.lists(NAMES_ASKED, max_size=20)), ALIAS]
    for at, qname in enumerate(sorted(set(names))):
        for qtype in (TYPES[at % len(TYPES)], TYPES[(at + lacks) % len(TYPES)]):
            check(partly, ask(whole, qname, qtype), qname, qtype)


LACKING = st.lists(st.sampled_from(NAMESPACES), min_size=1, max_size=2, unique=True).map(tuple)


@HALF
@given(st.data(), clusters(), LACKS, LACKING, st.sampled_from(PodNames), FALLTHROUGH)
def test_what_lacks_in_some_namespaces_is_not_known_there_and_answered_elsewhere(
    data: st.DataObject, state: Cluster, lacks: int, lacking: tuple[bytes, ...], pods: PodNames,
    fallthrough: tuple[bytes, ...],
) -> None:  # fmt: skip
    part = data.draw(less(state, lacks, lacking))
    partly, whole = serve(part, lacks, pods, fallthrough, False, lacking), serve(state, 0, pods, fallthrough, False)
    names = [*names_of_interest(state), *data.draw(st.lists(NAMES_ASKED, max_size=20))]
    for at, qname in enumerate(sorted(set(names))):
        is_inside = qname.endswith(CLUSTER) and qname != CLUSTER
        may_deny = is_inside and namespace_of(qname.removesuffix(CLUSTER)) not in lacking
        for qtype in (TYPES[at % len(TYPES)], TYPES[(at + lacks) % len(TYPES)]):
            expected = ask(whole, qname, qtype)
            is_alias = any(rrset.rdtype == CNAME for rrset in expected.message.answer)  # maybe to another namespace
            check(partly, expected, qname, qtype, may_deny or is_alias, may_deny and not is_alias)


@HALF
@given(st.data(), clusters(), LACKS, st.lists(deltas(), max_size=3))
def test_once_everything_is_known_every_answer_is_that_of_the_whole(
    data: st.DataObject, state: Cluster, lacks: int, changes: list[ZoneDelta]
) -> None:
    partly = serve(data.draw(less(state, lacks)), lacks, PodNames.VERIFIED, (), False)
    names = sorted(set(names_of_interest(state)))
    for change in changes:
        for at, qname in enumerate(names):
            ask(partly, qname, TYPES[at % len(TYPES)])
        partly.engine.apply(replace(change, lacks=lacks))
        state.apply(change)
    files = [zone_file(text, origin, at) for at, (origin, text) in enumerate(FILES.items(), 1)]
    whole = serve(state, 0, PodNames.VERIFIED, (), False)
    partly.publish([image(state, 0), *files])
    for at, qname in enumerate(names):
        for qtype in (TYPES[at % len(TYPES)], TYPES[(at + lacks) % len(TYPES)]):
            one, other = ask(partly, qname, qtype), ask(whole, qname, qtype)
            assert (one.rcode, one.answer == [] or one.sections()[0]) == (
                other.rcode, other.answer == [] or other.sections()[0],
            )
