"""`hosts` in a site before a cluster and `forward`: who answers, what is kept, what a changed file makes wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kdns.answer.engine import FileSource, HostsSource
from kdns.answer.responder import Responder
from kdns.answer.spec import ClusterSpec, FileSpec, OutsideSpec, SiteSpec, SourceSpec, Specification
from kdns.corefile import parse_corefile
from kdns.server.assembly import assemble
from kdns.wire.name import ROOT, from_text
from kdns.zone.delta import ZoneDelta
from kdns.zone.hosts import FREED_AT_ONCE, HostsSpec, parse_hosts, rrsets_of
from tests.support.engines import CLUSTER, IN_ADDR, IP6, SERIAL, ZONE_HEAD, Served, image, zone_file
from tests.support.forwarding import telling
from tests.support.messages import Answer, query
from tests.support.shop import SUBTREES

EVERYWHERE = HostsSpec((ROOT,), 60, fallthrough=(ROOT,))
PASSING_TYPES = HostsSpec((ROOT,), 60, fallthrough=(ROOT,), passes_types=True)
IN_CLUSTER = ClusterSpec((CLUSTER, IN_ADDR, IP6), 5, fallthrough=(IN_ADDR, IP6))
NODES = "192.0.2.1 node1 node1.example.org\n2001:db8::1 node1\n192.0.2.2 node2\n"
WEB = "web.shop.svc.cluster.local"
WWW = "www.example.net"
TOLD = f"{WWW}. 300 A 192.0.2.80"


def hosts(text: str, source: int = 0, serial: int = 1) -> ZoneDelta:
    """The whole of a hosts file."""
    return ZoneDelta(source, serial, True, tuple(rrsets_of(parse_hosts(text, "hosts").entries)))


def serving(spec: HostsSpec = EVERYWHERE, text: str = NODES, *others: SourceSpec, group: int | None = 0) -> Served:
    """A server block as k3s has it: hosts, a cluster, and all else for outside."""
    sources = (spec, *(others or (IN_CLUSTER,)))
    site = SiteSpec((ROOT,), tuple(range(len(sources))), group=group, outside=(OutsideSpec(ROOT),))
    served = Served(Specification(sources, (site,), ((0,),)), [hosts(text), image(*SUBTREES, source=1)])
    served.engine.tick(1000)
    return served


def change(served: Served, text: str, serial: int = 2) -> None:
    source = served.engine.new_source(0)
    assert isinstance(source, HostsSource)
    source.load(hosts(text, serial=serial))
    for _ in served.engine.publish_source(0, source):
        pass


@pytest.fixture
def only_kept(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From now on, whatever is not answered from what is kept fails the test."""

    def fail(*_: object) -> None:
        raise AssertionError("not kept")

    return lambda: monkeypatch.setattr(Responder, "_answer", fail)


def test_a_name_of_the_file_is_answered_and_any_other_type_of_it_is_nodata() -> None:
    served = serving()
    assert served.dig("node1").answer == ["node1. 60 A 192.0.2.1"]
    assert served.dig("node1", "AAAA").answer == ["node1. 60 AAAA 2001:db8::1"]
    nodata = served.dig("node2", "AAAA")
    assert (nodata.rcode, nodata.answer, nodata.soa is not None) == ("NOERROR", [], True)
    assert served.dig("1.2.0.192.in-addr.arpa", "PTR").answer == [
        "1.2.0.192.in-addr.arpa. 60 PTR node1.", "1.2.0.192.in-addr.arpa. 60 PTR node1.example.org.",
    ]  # fmt: skip


def test_what_the_file_does_not_have_goes_on_to_the_cluster_and_then_outside() -> None:
    served = serving()
    assert served.dig(WEB).answer[0].startswith(f"{WEB}. 5 A ")
    assert served.dig("nope.shop.svc.cluster.local").rcode == "NXDOMAIN"
    served.pend(query(WWW))
    served.pend(query("9.9.9.9.in-addr.arpa", "PTR"))
    assert served.dig("1.0.0.10.in-addr.arpa", "PTR").answer != []


def test_the_file_comes_before_the_cluster() -> None:
    assert serving(EVERYWHERE, f"192.0.2.9 {WEB}\n").dig(WEB).answer == [f"{WEB}. 60 A 192.0.2.9"]


def test_a_name_above_a_listed_one_exists_whatever_is_told_of_it_outside() -> None:
    served = serving()
    reply = Answer(telling(served.pend(query("example.org")), rcode="NXDOMAIN"))
    assert reply.rcode == "NOERROR"


def test_without_fallthrough_it_denies_its_zones_and_no_others() -> None:
    served = serving(HostsSpec((from_text("example.org"),), 60), "192.0.2.1 www.example.org\n")
    denied = served.dig("nope.example.org")
    assert (denied.rcode, denied.soa is not None) == ("NXDOMAIN", True)
    served.pend(query(WWW))
    served.pend(query("9.9.9.9.in-addr.arpa", "PTR"))
    assert served.dig(WEB).answer != []


def test_a_file_that_nobody_has_read_yet_decides_nothing() -> None:
    served = serving()
    served.publish([image(*SUBTREES, source=1)])
    assert served.dig("node1").rcode == "SERVFAIL"
    assert served.dig(WEB).rcode == "SERVFAIL"  # it may be in the file
    served.publish([ZoneDelta(0, 1, True), image(*SUBTREES, source=1)])
    assert served.dig(WEB).answer != []


# The SOA of its denials

OVERLAID = HostsSpec((from_text("example.org"),), 60, fallthrough=(ROOT,))
IN_FILE = FileSpec(from_text("example.org"))


def over_a_zone_file(spec: HostsSpec = OVERLAID, head: str = ZONE_HEAD) -> Served:
    text = "192.0.2.1 www.example.org\n192.0.2.2 *.apps.example.org\n"
    served = serving(spec, text, IN_FILE, group=None)
    served.publish([hosts(text), zone_file("", source=1, head=head)])
    return served


def test_over_a_zone_a_denial_carries_the_soa_of_that_zone_for_as_long_as_the_hosts_file_says() -> None:
    served = over_a_zone_file()
    [of_zone] = served.dig("example.org", "SOA").answer
    rdata = of_zone.partition(" SOA ")[2]
    for qname in ("www.example.org", "www.example.org", "x.apps.example.org"):
        nodata = served.dig(qname, "AAAA")
        assert (nodata.rcode, nodata.answer) == ("NOERROR", [])
        assert nodata.authority == [f"example.org. 5 SOA {rdata}"]
    assert served.dig("nope.example.org").soa == "example.org. 300 7 300"


def test_a_zone_whose_denials_are_shorter_shortens_those_of_the_hosts_file() -> None:
    served = over_a_zone_file(head=ZONE_HEAD.replace("86400 300", "86400 2"))
    assert served.dig("www.example.org", "AAAA").soa == "example.org. 2 7 2"


def test_the_soa_in_a_kept_denial_is_that_of_now(only_kept: Callable[[], None]) -> None:
    served = over_a_zone_file()
    assert served.dig("www.example.org", "AAAA").soa == "example.org. 5 7 300"
    source = served.engine.new_source(1)
    assert isinstance(source, FileSource)
    source.load(zone_file("", source=1, head=ZONE_HEAD.replace(" 7 ", " 8 ")))
    for _ in served.engine.publish_source(1, source):
        pass
    assert served.dig("www.example.org", "AAAA").soa == "example.org. 5 8 300"
    only_kept()
    assert served.dig("www.example.org", "AAAA").soa == "example.org. 5 8 300"


def test_the_soa_of_a_cluster_that_changes_is_that_of_now_in_a_kept_denial(only_kept: Callable[[], None]) -> None:
    served = serving(EVERYWHERE, f"192.0.2.9 {WEB}\n")
    before = served.dig(WEB, "AAAA").authority
    assert before == served.dig("nope.shop.svc.cluster.local").authority
    served.engine.apply(ZoneDelta(1, SERIAL + 1, subtrees=SUBTREES[-1:]))
    now = served.dig("nope.shop.svc.cluster.local").authority
    only_kept()
    assert served.dig(WEB, "AAAA").authority == now != before


def test_where_it_passes_nothing_on_the_hosts_file_is_the_zone_and_its_denials_say_so() -> None:
    served = over_a_zone_file(HostsSpec((from_text("example.org"),), 60))
    assert served.dig("www.example.org", "AAAA").soa == served.dig("example.org", "SOA").soa == "example.org. 5 1 5"


def test_a_denial_over_a_zone_that_nobody_has_read_yet_is_not_kept() -> None:
    served = over_a_zone_file()
    served.publish([hosts("192.0.2.1 www.example.org\n")])
    kept = served.kept
    assert served.dig("www.example.org", "AAAA").soa == "example.org. 5 1 5"
    assert served.kept == kept


# fallthrough_unsupported


@pytest.mark.parametrize("rrtype", ["A", "AAAA", "PTR"])
def test_types_that_a_hosts_file_may_have_stay_there(rrtype: str) -> None:
    reply = serving(PASSING_TYPES).dig("node2", rrtype)
    assert (reply.rcode, bool(reply.answer)) == ("NOERROR", rrtype == "A")


def test_other_types_of_a_name_that_is_known_are_asked_for_outside() -> None:
    pending = serving(PASSING_TYPES).pend(query("node1.example.org", "TXT"))
    reply = Answer(telling(pending, 'node1.example.org. 300 TXT "hello"'))
    assert reply.answer == ['node1.example.org. 300 TXT "hello"']


def test_a_name_that_is_known_is_not_denied_for_its_other_types() -> None:
    denied = Answer(telling(serving(PASSING_TYPES).pend(query("node1", "TXT")), rcode="NXDOMAIN"))
    assert (denied.rcode, denied.answer) == ("NOERROR", [])


def test_other_types_go_on_to_the_cluster_which_does_not_deny_the_name() -> None:
    served = serving(PASSING_TYPES, f"192.0.2.9 {WEB}\n192.0.2.9 only.shop.svc.cluster.local\n")
    assert served.dig(WEB).answer == [f"{WEB}. 60 A 192.0.2.9"]
    assert len(served.dig(WEB, "SRV").answer) > 0
    assert served.dig("only.shop.svc.cluster.local", "TXT").rcode == "NOERROR"
    assert served.dig("none.shop.svc.cluster.local", "TXT").rcode == "NXDOMAIN"


def test_the_target_of_an_alias_is_looked_for_with_the_type_and_beside_srv_with_its_addresses() -> None:
    zone = FileSpec(from_text("example.org"))
    served = serving(PASSING_TYPES, "192.0.2.9 there.example.org\n", zone)
    records = "there TXT text\nthere A 192.0.2.1\nalias CNAME there\nsrv SRV 0 0 1 there\n"
    served.publish([hosts("192.0.2.9 there.example.org\n"), zone_file(records, source=1)])
    assert served.dig("alias.example.org", "TXT").answer[-1].endswith('TXT "text"')
    assert served.dig("alias.example.org").answer[-1].endswith("A 192.0.2.9")
    assert [line for line in served.dig("srv.example.org", "SRV").additional if " A " in line] == [
        "there.example.org. 60 A 192.0.2.9"
    ]


def test_without_fallthrough_in_its_zone_no_type_is_passed_on() -> None:
    spec = HostsSpec((ROOT,), 60, fallthrough=(from_text("elsewhere.example"),), passes_types=True)
    assert serving(spec).dig("node1", "TXT").rcode == "NOERROR"


def test_a_corefile_has_other_types_passed_on() -> None:
    text = ". {\n hosts {\n 192.0.2.1 a\n fallthrough\n fallthrough_unsupported\n }\n forward . 192.0.2.53\n}\n"
    (spec,) = assemble(parse_corefile(text), lambda _: [], list).specification.sources
    assert isinstance(spec, HostsSpec)
    assert spec.passes_types


# What is kept


def test_a_cluster_name_behind_hosts_is_answered_from_what_is_kept(only_kept: Callable[[], None]) -> None:
    served = serving()
    first = served.dig(WEB)
    only_kept()
    again = served.dig(WEB, ident=9)
    assert (again.answer, again.ident) == (first.answer, 9)


def test_denials_of_cluster_names_behind_hosts_are_shared_and_kept(only_kept: Callable[[], None]) -> None:
    served = serving()
    names = [f"{letter}.www.example.com.shop.svc.cluster.local" for letter in "abcdef"]
    assert served.dig(names[0]).rcode == "NXDOMAIN"
    only_kept()
    assert {served.dig(name).rcode for name in names} == {"NXDOMAIN"}
    assert len(served.responder.table.denials) == 1


def test_a_name_in_the_file_is_not_denied_by_a_denial_of_its_length() -> None:
    served = serving(EVERYWHERE, "192.0.2.9 b.shop.svc.cluster.local\n")
    assert served.dig("a.shop.svc.cluster.local").rcode == "NXDOMAIN"
    assert served.dig("b.shop.svc.cluster.local").answer == ["b.shop.svc.cluster.local. 60 A 192.0.2.9"]
    assert served.dig("c.shop.svc.cluster.local").rcode == "NXDOMAIN"
    assert served.dig("b.shop.svc.cluster.local", "TXT").rcode == "NOERROR"


def test_an_answer_from_outside_behind_hosts_is_kept(only_kept: Callable[[], None]) -> None:
    served = serving()
    assert Answer(telling(served.pend(query(WWW)), TOLD, keep=60)).answer == [TOLD]
    only_kept()
    assert served.dig(WWW).answer == [TOLD]


def test_a_changed_file_takes_effect_at_once_for_all_that_was_kept() -> None:
    served = serving()
    telling(served.pend(query(WWW)), TOLD, keep=60)
    for qname in (WEB, "node1", "nope.cluster.local", WWW):
        served.dig(qname)
    change(served, f"192.0.2.7 {WEB} node1 nope.cluster.local {WWW}\n")
    for qname in (WEB, "node1", "nope.cluster.local", WWW):
        assert served.dig(qname).answer == [f"{qname}. 60 A 192.0.2.7"]
    change(served, "", 3)
    assert served.dig(WEB).answer[0].startswith(f"{WEB}. 5 A ")
    assert served.dig("nope.cluster.local").rcode == "NXDOMAIN"
    served.pend(query(WWW))
    served.pend(query("node1"))


def test_what_is_told_from_outside_after_a_change_is_not_kept() -> None:
    served = serving()
    pending = served.pend(query(WWW))
    change(served, f"192.0.2.7 {WWW}\n")
    assert Answer(telling(pending, TOLD, keep=60)).answer == [TOLD]
    assert served.dig(WWW).answer == [f"{WWW}. 60 A 192.0.2.7"]


def test_a_change_of_the_cluster_drops_what_it_makes_wrong_and_no_more() -> None:
    served = serving()
    telling(served.pend(query(WWW)), TOLD, keep=60)
    served.dig(WEB)
    before = served.kept
    web = next(subtree for subtree in SUBTREES if subtree.owner.startswith(b"\x03web\x04shop"))
    served.engine.apply(ZoneDelta(1, 1001, removed=(web.owner,)))
    assert served.kept == before - 1
    assert served.dig(WEB).rcode == "NXDOMAIN"
    assert served.dig(WWW).answer == [TOLD]


def test_the_serial_of_a_denial_is_that_of_the_file() -> None:
    served = serving(HostsSpec((ROOT,), 60), "192.0.2.1 a.example\n")
    assert served.dig("nope").soa == ". 5 1 5"
    change(served, "192.0.2.2 a.example\n", 1700000000)
    assert served.dig("nope").soa == ". 5 1700000000 5"


def test_what_a_zone_file_passes_on_is_kept_until_that_changes() -> None:
    example = from_text("example.net")
    served = serving(EVERYWHERE, NODES, IN_CLUSTER, FileSpec(example, (example,)))
    served.publish([hosts(NODES), image(*SUBTREES, source=1), zone_file("own A 192.0.2.7", "example.net", 2)])
    served.engine.tick(1000)
    telling(served.pend(query(WWW)), TOLD, keep=60)
    assert served.dig(WWW).answer == [TOLD]
    source = served.engine.new_source(2)
    assert isinstance(source, FileSource)
    source.load(zone_file("www A 192.0.2.8", "example.net", 2))
    served.engine.publish_source(2, source)
    assert served.dig(WWW).answer == [f"{WWW}. 3600 A 192.0.2.8"]


def test_a_large_file_is_let_go_in_small_steps() -> None:
    count = 2000
    served = serving(EVERYWHERE, "".join(f"10.0.{at >> 8}.{at & 255} n{at}.example\n" for at in range(count)))
    source = served.engine.new_source(0)
    source.load(hosts(NODES))
    assert isinstance(source, HostsSource)
    steps = sum(1 for _ in served.engine.publish_source(0, source))
    assert steps >= count // FREED_AT_ONCE
    assert served.dig("node2").answer == ["node2. 60 A 192.0.2.2"]


def test_with_the_corefile_of_k3s_a_cluster_name_and_a_denial_come_from_what_is_kept(
    only_kept: Callable[[], None],
) -> None:
    path = Path(__file__).parents[2] / "data" / "corefiles" / "k3s.corefile"
    plan = assemble(parse_corefile(path.read_text(), str(path)), lambda _: [], list)
    served = Served(plan.specification, [hosts(NODES), image(*SUBTREES, source=1)])
    nobody = "www.example.com.shop.svc.cluster.local"
    assert served.dig(WEB).answer == [f"{WEB}. 5 A 10.0.0.1"]
    assert served.dig(nobody).rcode == "NXDOMAIN"
    only_kept()
    assert served.dig(WEB).answer == [f"{WEB}. 5 A 10.0.0.1"]
    assert served.dig(nobody).rcode == "NXDOMAIN"
