"""Whatever hosts, a zone file that passes names on, and a cluster change: kept replies say what a new engine says."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kdns.answer.engine import FileSource, HostsSource
from kdns.answer.outside import Pending
from kdns.answer.spec import ClusterSpec, FileSpec, OutsideSpec, SiteSpec, Specification
from kdns.wire.name import ROOT, from_text
from kdns.zone.delta import ZoneDelta
from kdns.zone.hosts import HostsSpec, parse_hosts, rrsets_of
from kdns.zone.subtree import Subtree
from tests.support.engines import CLIENT, CLUSTER, IN_ADDR, IP6, Served, image, zone_file
from tests.support.forwarding import telling
from tests.support.messages import Answer, query
from tests.support.subtrees import service

OUTSIDE = "www.example.net"
NAMES = (
    "aa.shop.svc.cluster.local", "bb.shop.svc.cluster.local", "cc.shop.svc.cluster.local", "shop.svc.cluster.local",
    "x.aa.shop.svc.cluster.local", "no.cluster.local", "node1", "node2", "aa.example.net", OUTSIDE, "example.net",
    "1.0.0.10.in-addr.arpa", "2.0.0.10.in-addr.arpa",
)  # fmt: skip
HOSTS = [HostsSpec((ROOT,), 60, fallthrough=(ROOT,), passes_types=passes) for passes in (False, True)]
SOURCES = (
    HOSTS[0],
    ClusterSpec((CLUSTER, IN_ADDR, IP6), 5, fallthrough=(IN_ADDR, IP6)),
    FileSpec(from_text("example.net"), (from_text("example.net"),)),
)
SITE = SiteSpec((ROOT,), (0, 1, 2), group=0, outside=(OutsideSpec(ROOT),))
SPECIFICATION = Specification(SOURCES, (SITE,), ((0,),))

WILDCARDS = ("*.shop.svc.cluster.local", "*.cluster.local", "*.example.net", "*.aa.shop.svc.cluster.local", "*")
hosts_lines = st.sampled_from((*NAMES[:11], *WILDCARDS)).map(lambda name: f"10.0.0.1 {name}\n")
hosts_texts = st.lists(hosts_lines, max_size=3).map("".join)
zone_texts = st.sampled_from(["other A 192.0.2.1\n", "aa A 192.0.2.2\n", "www A 192.0.2.3\naa A 192.0.2.4\n"])
ASKED = ((False, "A"), (True, "A"), (True, "TXT"))  # whether hosts pass other types on, and what is asked for
clusters = st.sets(st.sampled_from(["aa", "bb", "cc"]))
changes = st.one_of(
    st.tuples(st.just("hosts"), hosts_texts),
    st.tuples(st.just("zone"), zone_texts),
    st.tuples(st.just("cluster"), clusters),
)


def subtrees(names: set[str]) -> list[Subtree]:
    return [service(f"{name}.shop", f"10.0.0.{at}") for at, name in enumerate(("aa", "bb", "cc"), 1) if name in names]


class State:
    """What is served, and an engine that has followed it all the way."""

    def __init__(self, passes_types: bool) -> None:
        self._specification = replace(SPECIFICATION, sources=(HOSTS[passes_types], *SOURCES[1:]))
        self.hosts, self.zone, self.cluster = "", "other A 192.0.2.1\n", set[str]()
        self.served = self.fresh()

    def fresh(self) -> Served:
        served = Served(self._specification, [self._hosts(), image(*subtrees(self.cluster), source=1), self._zone()])
        served.engine.tick(1000)
        return served

    def change(self, what: str, value: str | set[str]) -> None:
        engine = self.served.engine
        if what == "cluster":
            assert isinstance(value, set)
            gone = [one.owner for one in subtrees(self.cluster - value)]
            self.cluster = value
            engine.apply(ZoneDelta(1, None, subtrees=tuple(subtrees(value)), removed=tuple(gone)))
            return
        assert isinstance(value, str)
        setattr(self, what, value)
        at = 0 if what == "hosts" else 2
        source = engine.new_source(at)
        assert isinstance(source, HostsSource | FileSource)
        source.load(self._hosts() if what == "hosts" else self._zone())
        for _ in engine.publish_source(at, source):
            pass

    def _hosts(self) -> ZoneDelta:
        return ZoneDelta(0, 1, True, tuple(rrsets_of(parse_hosts(self.hosts, "hosts").entries)))

    def _zone(self) -> ZoneDelta:
        return zone_file(self.zone, "example.net", 2)


def said(served: Served, qname: str, rrtype: str = "A") -> tuple[str, tuple[str, ...]]:
    """What a client hears; names outside have one address, which may be kept, whatever they are asked for."""
    message = query(qname, "PTR" if qname.endswith("arpa") else rrtype)
    reply = served.responder.respond(message, CLIENT, False)
    if isinstance(reply, Pending):
        reply = telling(reply, f"{qname}. 300 A 192.0.2.80", keep=60)
    assert reply is not None
    answer = Answer(reply)
    return answer.rcode, tuple(sorted(answer.answer))


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(changes, max_size=6), st.permutations(NAMES), st.sampled_from(ASKED))
def test_what_is_kept_behind_hosts_is_what_a_new_engine_says(
    history: list[tuple[str, str | set[str]]], qnames: list[str], asked: tuple[bool, str]
) -> None:
    passes_types, rrtype = asked
    state = State(passes_types)
    for what, value in history:
        state.change(what, value)
        expected = state.fresh()
        for qname in qnames:
            new = said(expected, qname, rrtype)
            assert said(state.served, qname, rrtype) == new == said(state.served, qname, rrtype)
