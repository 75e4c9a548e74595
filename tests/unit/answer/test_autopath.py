"""`autopath`: which names are walked for which question, and what comes of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.answer.autopath import (
    ALIAS_TTL,
    MAX_SEARCH_DOMAINS,
    AutopathSpec,
    Outward,
    Search,
    begin,
    search_domains,
    walk,
)
from kdns.wire.iana import Rcode
from kdns.wire.name import ROOT, from_text, join, suffixes, to_text
from kdns.zone.cluster import ForwardZone, PodNames
from kdns.zone.model import Lookup
from kdns.zone.rrset import RRset
from kdns.zone.state import ClusterState
from kdns.zone.subtree import Subtree
from tests.support.engines import CLUSTER, image
from tests.support.messages import AAAA, ANY, CNAME, SRV, TXT, A
from tests.support.subtrees import headless, owner, packed, service
from tests.support.zonetext import chased

CORP = from_text("corp.example")
SPEC = AutopathSpec((ROOT,), (CORP,))
PUBLIC = packed("198.51.100.1")


def cluster(*subtrees: Subtree, lacks: int = 0) -> ForwardZone:
    state = ClusterState(0)
    state.load(image(*subtrees, namespaces=("shop", "crm"), lacks=lacks))
    return ForwardZone(state, CLUSTER, 30, 5, PodNames.DISABLED)


ZONE = cluster(
    service("web.shop", "10.0.0.1"), service("a.crm", "10.0.0.2"), headless("db.shop", "10.1.0.1=db-0"),
    headless("empty.shop"),
)


def here(zone: ForwardZone, name: bytes, qtype: int = A) -> Lookup | None:
    if not name.endswith(CLUSTER):
        return None
    return chased(zone, lambda name: zone if name.endswith(CLUSTER) else None, name, qtype)


def search(asked: str, qtype: int = A, spec: AutopathSpec = SPEC, zone: ForwardZone = ZONE) -> Search | None:
    qname = from_text(asked)
    found = here(zone, qname, qtype)
    return begin(spec, zone, qname, qtype, found or Lookup(Rcode.NXDOMAIN))


def names(asked: str, qtype: int = A, spec: AutopathSpec = SPEC, zone: ForwardZone = ZONE) -> list[str]:
    walked = search(asked, qtype, spec, zone)
    return list(map(to_text, walked.names)) if walked else []


def run(
    asked: str, outside: dict[str, Lookup], qtype: int = A, spec: AutopathSpec = SPEC
) -> tuple[Lookup, list[str]]:
    """The answer, and the names that were asked for outside; those not in `outside` do not exist."""
    state = search(asked, qtype, spec)
    assert state is not None
    told: list[str] = []
    while True:
        outcome = walk(state, lambda name: here(ZONE, name, qtype))
        if isinstance(outcome, Lookup):
            return outcome, told
        name = to_text(outcome.chain.leads_to)
        told.append(name)
        if name in outside:
            reply = outside[name]
            return outcome.chain._replace(answer=outcome.chain.answer + reply.answer, rcode=reply.rcode), told
        state = outcome.rest


def public(name: str, ttl: int = 300) -> dict[str, Lookup]:
    return {name: Lookup(0, (RRset(from_text(name), A, ttl, (PUBLIC,)),))}


def test_the_list_of_a_pod_is_walked_in_its_order() -> None:
    assert names("www.example.org.shop.svc.cluster.local") == [
        "www.example.org.svc.cluster.local.", "www.example.org.cluster.local.", "www.example.org.corp.example.",
        "www.example.org.",
    ]


def test_without_search_domains_of_the_node_the_name_itself_follows() -> None:
    assert names("www.example.org.shop.svc.cluster.local", spec=AutopathSpec((ROOT,))) == [
        "www.example.org.svc.cluster.local.", "www.example.org.cluster.local.", "www.example.org.",
    ]


@pytest.mark.parametrize("asked", [
    "web.shop.svc.cluster.local",  # exists
    "gone.shop.svc.cluster.local",  # one label: a Service that is gone, or a name of the client
    "shop.svc.cluster.local", "svc.cluster.local", "cluster.local",
    "www.example.org.nowhere.svc.cluster.local",  # no such namespace
    "www.example.org.svc.cluster.local", "www.example.org.cluster.local", "www.example.org.shop.pod.cluster.local",
    "db-1.db.shop.svc.cluster.local",  # a pod that is gone
    "_x._tcp.web.shop.svc.cluster.local",  # a port that is not there
    "db-0.empty.shop.svc.cluster.local",  # a headless Service with no pod ready
    "www.example.org",
])
def test_a_name_that_may_be_a_full_one_is_left_alone(asked: str) -> None:
    assert search(asked) is None


@pytest.mark.parametrize("qtype", [CNAME, ANY])
def test_types_that_an_alias_itself_answers_are_left_alone(qtype: int) -> None:
    assert search("www.example.org.shop.svc.cluster.local", qtype) is None


def test_names_outside_the_zones_of_the_directive_are_left_alone() -> None:
    elsewhere = AutopathSpec((from_text("other.local"),))
    assert search("www.example.org.shop.svc.cluster.local", spec=elsewhere) is None
    inside = AutopathSpec((from_text("shop.svc.cluster.local"),))
    assert search("www.example.org.shop.svc.cluster.local", spec=inside) is not None


def test_nothing_is_walked_while_the_cluster_is_not_known_wholly() -> None:
    assert search("www.example.org.shop.svc.cluster.local", zone=cluster(lacks=1)) is None


def test_a_service_of_another_namespace_is_found_in_one_go() -> None:
    found, told = run("a.crm.shop.svc.cluster.local", {})
    assert told == []
    assert [to_text(rrset.owner) for rrset in found.answer] == [
        "a.crm.shop.svc.cluster.local.", "a.crm.svc.cluster.local.",
    ]
    assert found.answer[0].rdatas == (from_text("a.crm.svc.cluster.local"),)
    assert found.answer[1].rdatas == (packed("10.0.0.2"),)
    assert (found.rcode, found.authoritative, found.lasting) == (Rcode.NOERROR, True, False)


def test_a_name_of_the_cluster_without_the_type_is_nodata_behind_the_alias() -> None:
    found, _ = run("a.crm.shop.svc.cluster.local", {}, AAAA)
    assert [rrset.rrtype for rrset in found.answer] == [CNAME]
    assert found.rcode == Rcode.NOERROR
    assert found.denial is not None


def test_a_full_name_with_the_search_list_behind_it_is_found() -> None:
    found, told = run("web.shop.svc.cluster.local.crm.svc.cluster.local", {}, spec=AutopathSpec((ROOT,)))
    assert found.answer[0].rdatas == (from_text("web.shop.svc.cluster.local"),)
    assert told == []


def test_a_name_outside_is_an_alias_with_the_outside_answer_behind_it() -> None:
    found, told = run("www.example.org.shop.svc.cluster.local", public("www.example.org."))
    assert told == ["www.example.org.corp.example.", "www.example.org."]
    assert [to_text(rrset.owner) for rrset in found.answer] == [
        "www.example.org.shop.svc.cluster.local.", "www.example.org.",
    ]
    assert found.leads_to == from_text("www.example.org")


def test_the_search_domain_of_the_node_comes_before_the_name_itself() -> None:
    both = {**public("www.example.org."), **public("www.example.org.corp.example.")}
    found, told = run("www.example.org.shop.svc.cluster.local", both)
    assert told == ["www.example.org.corp.example."]
    assert found.answer[0].rdatas == (from_text("www.example.org.corp.example"),)


def test_where_no_name_exists_the_asked_one_is_denied_by_the_cluster() -> None:
    found, told = run("nope.example.org.shop.svc.cluster.local", {})
    assert told == ["nope.example.org.corp.example.", "nope.example.org."]
    assert (found.rcode, found.answer) == (Rcode.NXDOMAIN, ())
    assert found.denial is not None
    assert found.denial.zone.apex == CLUSTER


def test_a_name_of_ours_that_is_not_known_ends_the_walk_with_servfail() -> None:
    state = search("www.example.org.shop.svc.cluster.local")
    assert state is not None
    found = walk(state, lambda name: Lookup(Rcode.SERVFAIL, authoritative=False, note="not synced"))
    assert isinstance(found, Lookup)
    assert (found.rcode, found.answer, found.note) == (Rcode.SERVFAIL, (), "not synced")


def test_the_alias_lives_for_seconds_and_no_longer_than_its_target() -> None:
    found, _ = run("a.crm.shop.svc.cluster.local", {})
    assert found.answer[0].ttl == ALIAS_TTL
    state = search("www.example.org.shop.svc.cluster.local")
    assert state is not None
    brief = walk(state, lambda name: Lookup(0, (RRset(name, A, 1, (PUBLIC,)),)))
    assert isinstance(brief, Lookup)
    assert brief.answer[0].ttl == 1


def test_all_types_of_one_name_lead_to_the_same_name() -> None:
    outside = {"www.example.org.": Lookup(Rcode.NOERROR)}
    targets = {run("www.example.org.shop.svc.cluster.local", outside, qtype)[0].answer[0].rdatas
               for qtype in (A, AAAA, TXT, SRV)}
    assert targets == {(from_text("www.example.org"),)}


def test_names_that_get_too_long_are_left_out() -> None:
    long = ".".join(["x" * 60] * 3 + ["y" * 26])
    walked = names(f"{long}.shop.svc.cluster.local", spec=AutopathSpec((ROOT,), (from_text("z" * 50),)))
    assert walked == [f"{long}.svc.cluster.local.", f"{long}.cluster.local.", f"{long}."]


def test_a_list_that_is_no_pods_starts_with_its_first_domain() -> None:
    spec = AutopathSpec((ROOT,), (from_text("one.example"), from_text("two.example")), own=False)
    assert names("www.test.one.example", spec=spec) == ["www.test.two.example.", "www.test."]
    assert names("www.one.example", spec=spec) == []
    assert names("one.example", spec=spec) == []
    assert names("www.test.two.example", spec=spec) == []
    assert names("www.test.one.example", spec=AutopathSpec((ROOT,), (), own=False)) == []


@pytest.mark.parametrize(("text", "expected"), [
    ("search corp.example Other.Example.\nnameserver 192.0.2.1\n", ["corp.example.", "other.example."]),
    ("search a.example\nsearch b.example\n", ["b.example."]),
    ("domain a.example b.example\n", ["a.example."]),
    ("search b.example\ndomain a.example\n", ["a.example."]),
    ("search . a..b a.example a.example\n", ["a.example."]),
    ("# search x\n; search y\nsearching z\n", []),
    ("search\n", []), ("", []),
])
def test_the_last_search_or_domain_line_of_a_resolv_conf_counts(text: str, expected: list[str]) -> None:
    assert list(map(to_text, search_domains(text))) == expected


def test_search_domains_are_bounded() -> None:
    assert len(search_domains("search " + " ".join(f"d{at}.example" for at in range(20)))) == MAX_SEARCH_DOMAINS


def test_a_walk_goes_on_behind_the_name_that_was_for_outside() -> None:
    state = search("www.example.org.shop.svc.cluster.local")
    assert state is not None
    first = walk(state, lambda name: here(ZONE, name))
    assert isinstance(first, Outward)
    assert first.chain.leads_to == from_text("www.example.org.corp.example")
    assert first.rest.names == (from_text("www.example.org"),)
    assert not first.chain.lasting


LABELS = st.sampled_from([b"web", b"db", b"db-0", b"a", b"crm", b"shop", b"svc", b"example", b"_tcp", b"\xff"])
ASKED = st.lists(LABELS, max_size=5).map(
    lambda labels: join([*labels, b"shop", b"svc", b"cluster", b"local"])
)


@given(ASKED, st.sets(st.sampled_from(["www.example.", "a.example.", "web.db.", "web."])))
def test_a_client_that_walks_its_list_itself_finds_the_same(asked: bytes, outside: set[str]) -> None:
    state = begin(SPEC, ZONE, asked, A, here(ZONE, asked) or Lookup(0))
    if state is None:
        return
    base = asked[: -len(from_text("shop.svc.cluster.local"))]
    first: bytes | None = None
    for suffix in (*suffixes(from_text("shop.svc.cluster.local"))[:3], CORP, ROOT):
        found = here(ZONE, base + suffix)
        exists = found.rcode == Rcode.NOERROR if found else to_text(base + suffix) in outside
        first = base + suffix if first is None and exists else first
    answer, _ = run(to_text(asked), {name: Lookup(0) for name in outside})
    assert (answer.answer[0].rdatas[0] if answer.answer else None) == first


@given(ASKED)
def test_what_exists_in_the_cluster_is_never_made_an_alias(asked: bytes) -> None:
    found = here(ZONE, asked)
    assert found is not None
    if found.rcode == Rcode.NOERROR:
        assert begin(SPEC, ZONE, asked, A, found) is None
    assert owner("web.shop") + CLUSTER != asked or found.answer
