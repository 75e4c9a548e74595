"""What stands at the names of one subtree: addresses, SRV weights, endpoint names, empty non-terminals."""

from __future__ import annotations

import pytest

from kdns.wire.iana import RRType
from kdns.wire.name import from_text, to_text
from kdns.zone.model import Found, Kind
from kdns.zone.packed import HEADLESS_NEGATIVE_TTL, ComputedRRsets, find_in_subtree, host_labels
from kdns.zone.rrset import RRset
from kdns.zone.subtree import HostSet, Subtree
from tests.support.messages import rrtype
from tests.support.subtrees import alias, headless, host_sets, owner, packed, ports, relative, service
from tests.support.zonetext import rdata_text

APEX = from_text("cluster.local")
TTL = 5
KEY = (0, b"key")


def find(subtree: Subtree, prefix: str = "", ttl: int = TTL) -> Found:
    left = relative(prefix) if prefix else b""
    return find_in_subtree(subtree, left + subtree.owner + APEX, left, APEX, ttl, KEY)


def rdata(subtree: Subtree, prefix: str, qtype: str) -> list[str] | None:
    """RDATA in order, [] for NODATA, None where the name does not exist; targets relative to the owner's zone."""
    found = find(subtree, prefix)
    if found.kind is Kind.ABSENT:
        return None
    rrset = found.rrsets.get(rrtype(qtype))
    if rrset is None:
        return []
    assert rrset.owner == (relative(prefix) if prefix else b"") + subtree.owner + APEX
    assert (rrset.rrtype, rrset.ttl) == (rrtype(qtype), TTL)
    assert len(set(rrset.rdatas)) == len(rrset.rdatas)
    texts = [rdata_text(rrset.rrtype, one) for one in rrset.rdatas]
    return [text.replace(f".{to_text(subtree.owner + APEX)}", "").replace(to_text(subtree.owner + APEX), "@")
            for text in texts]


WEB = service("web.shop", "10.0.0.1", port="http/tcp/80 metrics/tcp/9090 dns/udp/53 /tcp/7")
DUAL = service("dual.shop", "10.0.0.2", "2001:db8::2")
PORTLESS = service("bare.shop", "10.0.0.3", port="")
BEHIND = service("front.shop", "10.0.0.4", hosts=host_sets("10.1.0.9=pod-9 10.1.0.8"))
PENDING = service("pending.shop", note="no clusterIP yet", hosts=host_sets("10.1.0.7=pod-7"))
DB = headless("db.shop", "10.1.0.1=db-0 10.1.0.2=db-1 10.1.0.3 2001:db8:1::1=db-0 2001:db8:1::5")
V4 = headless("v4.shop", "10.1.0.1 10.1.0.2")
MUTE = headless("mute.shop", "10.1.0.1=m-0", port="")
NOBODY = headless("nobody.shop")
OUT = alias("out.shop", "www.example.org")


@pytest.mark.parametrize(
    ("subtree", "prefix", "qtype", "expected"),
    [
        # 1.2: services with a ClusterIP
        (WEB, "", "A", ["10.0.0.1"]),
        (WEB, "", "AAAA", []),
        (WEB, "", "TXT", []),
        (WEB, "", "CNAME", []),
        (WEB, "", "SRV", [f"0 25 {port} @" for port in (80, 9090, 53, 7)]),
        (WEB, "_http._tcp", "SRV", ["0 100 80 @"]),
        (WEB, "http.tcp", "SRV", ["0 100 80 @"]),
        (WEB, "_http.tcp", "SRV", ["0 100 80 @"]),
        (WEB, "_dns._udp", "SRV", ["0 100 53 @"]),
        (WEB, "_http._tcp", "A", []),
        (WEB, "_tcp", "A", []),
        (WEB, "_udp", "SRV", []),
        (WEB, "_sctp", "SRV", None),
        (WEB, "_http._udp", "SRV", None),
        (WEB, "_nope._tcp", "SRV", None),
        (WEB, "_._tcp", "SRV", None),
        (WEB, "_http._", "SRV", None),
        (WEB, "__http._tcp", "SRV", None),
        (WEB, "a._http._tcp", "SRV", None),
        (WEB, "nope", "A", None),
        (WEB, "*", "A", None),
        (WEB, "any", "A", None),
        (DUAL, "", "A", ["10.0.0.2"]),
        (DUAL, "", "AAAA", ["2001:db8::2"]),
        (DUAL, "", "SRV", ["0 50 80 @"]),
        (DUAL, "_http._tcp", "SRV", ["0 50 80 @"]),
        (PORTLESS, "", "A", ["10.0.0.3"]),
        (PORTLESS, "", "SRV", []),
        (PORTLESS, "_tcp", "SRV", None),
        # endpoint names below a service with a ClusterIP; its SRV records stay its own
        (BEHIND, "", "A", ["10.0.0.4"]),
        (BEHIND, "pod-9", "A", ["10.1.0.9"]),
        (BEHIND, "10-1-0-8", "A", ["10.1.0.8"]),
        (BEHIND, "10-1-0-9", "A", None),
        (BEHIND, "", "SRV", ["0 100 80 @"]),
        # not allocated yet: NODATA, with all that needs an address
        (PENDING, "", "A", []),
        (PENDING, "", "SRV", []),
        (PENDING, "_http._tcp", "SRV", None),
        (PENDING, "pod-7", "A", ["10.1.0.7"]),
        # headless services
        (DB, "", "A", ["10.1.0.1", "10.1.0.2", "10.1.0.3"]),
        (DB, "", "AAAA", ["2001:db8:1::1", "2001:db8:1::5"]),
        (DB, "", "SRV", [f"0 20 80 {host}" for host in ("db-0", "db-1", "10-1-0-3", "2001-db8-1--5")]),
        (DB, "_http._tcp", "SRV", [f"0 20 80 {host}" for host in ("db-0", "db-1", "10-1-0-3", "2001-db8-1--5")]),
        (DB, "db-0", "A", ["10.1.0.1"]),
        (DB, "db-0", "AAAA", ["2001:db8:1::1"]),
        (DB, "db-1", "AAAA", []),
        (DB, "db-0", "SRV", ["0 50 80 db-0"]),
        (DB, "db-1", "SRV", ["0 100 80 db-1"]),
        (DB, "10-1-0-3", "A", ["10.1.0.3"]),
        (DB, "10-1-0-3", "AAAA", []),
        (DB, "2001-db8-1--5", "AAAA", ["2001:db8:1::5"]),
        (DB, "10-1-0-1", "A", None),
        (DB, "2001-db8-1--1", "AAAA", None),
        (DB, "db-2", "A", None),
        (DB, "a.db-0", "A", None),
        (DB, "_tcp", "A", []),
        (DB, "_http._tcp", "A", []),
        (V4, "", "AAAA", []),
        (MUTE, "", "A", ["10.1.0.1"]),
        (MUTE, "", "SRV", []),
        (MUTE, "m-0", "A", ["10.1.0.1"]),
        (MUTE, "m-0", "SRV", []),
        (MUTE, "_tcp", "SRV", None),
        (NOBODY, "", "A", None),
        (NOBODY, "_http._tcp", "SRV", None),
        (NOBODY, "pod-0", "A", None),
        # ExternalName
        (OUT, "", "CNAME", ["www.example.org."]),
        (OUT, "", "A", []),
        (OUT, "_http._tcp", "SRV", None),
        (OUT, "x", "A", None),
    ],
)
def test_each_query_shape_has_its_answer(
    subtree: Subtree, prefix: str, qtype: str, expected: list[str] | None
) -> None:
    assert rdata(subtree, prefix, qtype) == expected


def test_weights_are_a_hundred_shared_and_never_nothing() -> None:
    hosts = " ".join(f"10.1.{at // 250}.{at % 250}" for at in range(150))
    crowd = headless("crowd.shop", hosts)
    found = rdata(crowd, "", "SRV")
    assert found is not None
    assert len(found) == 150
    assert {text.split()[1] for text in found} == {"1"}


@pytest.mark.parametrize(("count", "weight"), [(1, 100), (2, 50), (3, 33), (7, 14), (100, 1)])
def test_the_weight_is_rounded_down(count: int, weight: int) -> None:
    crowd = headless("crowd.shop", " ".join(f"10.1.0.{at}" for at in range(count)))
    assert all(text.startswith(f"0 {weight} ") for text in rdata(crowd, "", "SRV") or [])


# Hosts


def test_hosts_of_several_slices_with_one_label_answer_together() -> None:
    sets = (*host_sets("10.1.0.1=twin"), *host_sets("10.1.0.2=twin 10.1.0.3=other", "admin/tcp/81"))
    twins = Subtree(owner("twins.shop"), hosts=sets, headless=True)
    assert rdata(twins, "twin", "A") == ["10.1.0.1", "10.1.0.2"]
    assert rdata(twins, "twin", "SRV") == ["0 50 80 twin", "0 50 81 twin"]
    assert rdata(twins, "_admin._tcp", "SRV") == ["0 50 81 twin", "0 50 81 other"]


def test_an_address_that_stands_in_two_sets_is_answered_once() -> None:
    sets = (*host_sets("10.1.0.1 10.1.0.2"), *host_sets("10.1.0.2 10.1.0.3", "admin/tcp/81"))
    overlapping = Subtree(owner("both.shop"), hosts=sets, headless=True)
    assert rdata(overlapping, "", "A") == ["10.1.0.1", "10.1.0.2", "10.1.0.3"]
    assert rdata(overlapping, "10-1-0-2", "A") == ["10.1.0.2"]


def test_a_label_is_found_at_its_own_place_only() -> None:
    """A label's octets may stand across two others, and an address's octets across two others too."""
    hosts = HostSet(4, ports("http/tcp/80"), packed("10.1.10.1") + packed("10.2.0.3"), b"\x03a\x01b\x01c")
    tricky = Subtree(owner("t.shop"), hosts=(hosts,), headless=True)
    label = b"\x01b"
    assert find_in_subtree(tricky, label + tricky.owner + APEX, label, APEX, TTL, KEY).kind is Kind.ABSENT
    plain = HostSet(4, (), packed("10.1.10.1") + packed("10.2.0.3"))
    unnamed = Subtree(owner("u.shop"), hosts=(plain,), headless=True)
    assert rdata(unnamed, "10-1-10-2", "A") is None
    assert rdata(unnamed, "10-2-0-3", "A") == ["10.2.0.3"]


def test_a_hostname_that_looks_like_another_hosts_address_answers_for_both() -> None:
    both = headless("odd.shop", "10.1.0.1 10.1.0.2=10-1-0-1")
    assert rdata(both, "10-1-0-1", "A") == ["10.1.0.1", "10.1.0.2"]


def test_a_host_may_be_called_like_a_protocol() -> None:
    odd = headless("odd.shop", "10.1.0.1=tcp")
    assert rdata(odd, "tcp", "A") == ["10.1.0.1"]
    assert rdata(odd, "_tcp", "A") == []
    assert rdata(odd, "_http._tcp", "SRV") == ["0 100 80 tcp"]


def test_a_host_is_named_by_its_label_or_else_by_its_address() -> None:
    assert host_labels(DB, packed("10.1.0.1")) == {b"\x04db-0"}
    assert host_labels(DB, packed("10.1.0.3")) == {b"\x0810-1-0-3"}
    assert host_labels(DB, packed("2001:db8:1::5")) == {b"\x0d2001-db8-1--5"}
    assert host_labels(DB, packed("10.9.9.9")) == set()


# Found: what a reply depends on, how long a denial lasts


@pytest.mark.parametrize("prefix", ["", "db-0", "_tcp", "nope", "_http._tcp", "a.b.c"])
def test_all_names_of_a_subtree_depend_on_it(prefix: str) -> None:
    assert find(DB, prefix).depends == KEY


@pytest.mark.parametrize(("prefix", "kind"), [("", Kind.NODE), ("_tcp", Kind.EMPTY), ("nope", Kind.ABSENT)])
def test_absent_names_are_not_kept(prefix: str, kind: Kind) -> None:
    found = find(DB, prefix)
    assert (found.kind, found.lasting) == (kind, kind is not Kind.ABSENT)


@pytest.mark.parametrize("prefix", ["", "pod-0", "_http._tcp"])
def test_a_headless_service_without_ready_hosts_is_denied_for_a_second(prefix: str) -> None:
    found = find(NOBODY, prefix)
    assert (found.kind, found.negative_ttl) == (Kind.ABSENT, HEADLESS_NEGATIVE_TTL)
    assert find(NOBODY, prefix, ttl=0).negative_ttl == 0


def test_other_denials_have_the_zones_ttl() -> None:
    assert find(DB, "nope").negative_ttl is None
    assert find(WEB, "nope").negative_ttl is None


def test_hidden_services_and_the_names_below_them_do_not_exist() -> None:
    hidden = service("empty.shop", "10.0.0.9", hidden=True)
    for prefix in ("", "_http._tcp", "_tcp"):
        assert (find(hidden, prefix).kind, find(hidden, prefix).negative_ttl) == (Kind.ABSENT, None)


def test_the_note_stands_at_the_owner_alone() -> None:
    assert (find(PENDING).kind, find(PENDING).note) == (Kind.EMPTY, "no clusterIP yet")
    assert find(PENDING, "pod-7").note == ""
    assert find(WEB).note == ""


# Rrsets are made when they are asked for


def test_computed_rrsets_make_only_what_is_asked_for() -> None:
    made: list[int] = []

    def maker(rrtype: int) -> RRset:
        made.append(rrtype)
        return RRset(b"\0", rrtype, 5, (b"x",))

    rrsets = ComputedRRsets({RRType.A: lambda: maker(1), RRType.AAAA: lambda: None, RRType.SRV: lambda: maker(33)})
    assert rrsets
    assert RRType.SRV not in made
    assert rrsets.get(RRType.A) is not None
    assert rrsets.get(RRType.AAAA) is rrsets.get(RRType.TXT) is None
    assert RRType.SRV not in made
    assert sorted(rrsets) == [1, 33]
    assert len(rrsets) == 2
    assert made == [1, 33]


def test_finding_a_large_headless_service_does_not_make_its_srv_records(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    monkeypatch.setattr("kdns.zone.packed._View._srv", lambda *_: made.append(1))
    found = find(DB)
    assert found.kind is Kind.NODE
    assert found.rrsets.get(RRType.A) is not None
    assert made == []


def test_no_rrsets_are_nothing() -> None:
    assert not ComputedRRsets({RRType.A: lambda: None})
