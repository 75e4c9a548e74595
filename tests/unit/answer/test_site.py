"""Which zone of a server block decides a name, and `fallthrough`."""

from __future__ import annotations

import pytest

from kdns.answer.site import Site
from kdns.answer.spec import ClusterSpec, FileSpec, OutsideSpec, SiteSpec, Specification
from kdns.wire.name import from_text
from kdns.zone.cluster import PodNames
from tests.support.engines import CLUSTER, IN_ADDR, Served, image, zone_file
from tests.support.messages import A, opt
from tests.support.subtrees import alias, headless, owner, service

ALL = (b"\0",)
FILE = """\
web.shop.svc A 192.0.2.1
extra.shop.svc A 192.0.2.2
other A 192.0.2.3
shop.svc TXT "file"
_tcp.web.shop.svc TXT "file"
nobody.shop.svc A 192.0.2.4
pending.shop.svc A 192.0.2.5
alias CNAME web.shop.svc
*.wild A 192.0.2.6
"""
SUBTREES = (
    service("web.shop", "10.0.0.1"),
    headless("nobody.shop"),
    service("pending.shop", note="not yet"),
    alias("to-file.shop", "other.cluster.local"),
    alias("to-none.shop", "none.cluster.local"),
)


def beside_a_file(fallthrough: tuple[bytes, ...], origin: str = "cluster.local", text: str = FILE,
                  whoami: bool = False) -> Served:
    """A cluster, and a zone file of the same or another name behind it."""
    sources = (ClusterSpec((CLUSTER, IN_ADDR), fallthrough=fallthrough, pods=PodNames.INSECURE),
               FileSpec(from_text(origin)))
    site = SiteSpec((CLUSTER, IN_ADDR, from_text(origin)), (0, 1), whoami=whoami)
    return Served(Specification(sources, (site,), ((0,),)), [image(*SUBTREES), zone_file(text, origin, 1)])


def ask(served: Served, qname: str, qtype: str = "A") -> tuple[str, list[str]]:
    """The same twice, so that what is kept shows."""
    first, second = served.dig(qname, qtype), served.dig(qname, qtype)
    assert (first.rcode, first.sections()) == (second.rcode, second.sections())
    return first.rcode, first.rdata


# Without fallthrough


@pytest.mark.parametrize("left", ["other", "extra.shop.svc", "nobody.shop.svc", "x.wild"])
def test_a_cluster_decides_its_names_even_if_a_zone_file_has_them(left: str) -> None:
    served = beside_a_file(())
    assert ask(served, f"{left}.cluster.local") == ("NXDOMAIN", [])
    assert ask(served, "web.shop.svc.cluster.local") == ("NOERROR", ["10.0.0.1"])


def test_names_in_no_zone_are_refused() -> None:
    assert ask(beside_a_file(()), "www.example.org") == ("REFUSED", [])


# With fallthrough: only names with records of ours stop it


@pytest.mark.parametrize("fallthrough", [ALL, (CLUSTER,), (from_text("local"), IN_ADDR)])
@pytest.mark.parametrize(
    ("left", "qtype", "expected"),
    [
        ("web.shop.svc", "A", ("NOERROR", ["10.0.0.1"])),
        ("web.shop.svc", "TXT", ("NOERROR", [])),
        ("_http._tcp.web.shop.svc", "A", ("NOERROR", [])),
        ("dns-version", "TXT", ("NOERROR", ['"1.1.0"'])),
        ("other", "A", ("NOERROR", ["192.0.2.3"])),
        ("extra.shop.svc", "A", ("NOERROR", ["192.0.2.2"])),
        ("shop.svc", "TXT", ("NOERROR", ['"file"'])),
        ("_tcp.web.shop.svc", "TXT", ("NOERROR", ['"file"'])),
        ("nobody.shop.svc", "A", ("NOERROR", ["192.0.2.4"])),
        ("pending.shop.svc", "A", ("NOERROR", ["192.0.2.5"])),
        ("x.wild", "A", ("NOERROR", ["192.0.2.6"])),
        ("none", "A", ("NXDOMAIN", [])),
        ("svc", "A", ("NOERROR", [])),
        ("alias", "A", ("NOERROR", ["web.shop.svc.cluster.local.", "10.0.0.1"])),
        ("to-file.shop.svc", "A", ("NOERROR", ["other.cluster.local.", "192.0.2.3"])),
        ("to-none.shop.svc", "A", ("NXDOMAIN", ["none.cluster.local."])),
        ("1-2-3-4.shop.pod", "A", ("NOERROR", ["1.2.3.4"])),
    ],
)
def test_only_names_with_records_of_the_cluster_stay(
    fallthrough: tuple[bytes, ...], left: str, qtype: str, expected: tuple[str, list[str]]
) -> None:
    served = beside_a_file(fallthrough)
    assert ask(served, f"{left}.cluster.local", qtype) == expected


def test_the_denial_is_that_of_the_zone_that_was_asked_last() -> None:
    served = beside_a_file(ALL)
    for _ in range(2):
        assert served.dig("none.cluster.local").soa == "cluster.local. 300 7 300"
        assert served.dig("web.shop.svc.cluster.local", "TXT").soa == "cluster.local. 5 1000 5"


@pytest.mark.parametrize("fallthrough", [(IN_ADDR,), (from_text("svc.cluster.local"),), (from_text("example.org"),)])
def test_fallthrough_counts_only_for_names_in_its_zones(fallthrough: tuple[bytes, ...]) -> None:
    assert ask(beside_a_file(fallthrough), "other.cluster.local") == ("NXDOMAIN", [])
    inside = "NOERROR" if fallthrough[0] == from_text("svc.cluster.local") else "NXDOMAIN"
    assert ask(beside_a_file(fallthrough), "extra.shop.svc.cluster.local")[0] == inside


def test_where_there_is_nowhere_to_pass_to_the_cluster_keeps_the_name() -> None:
    served = beside_a_file(ALL, "example.org", "www A 192.0.2.9\n")
    assert ask(served, "nope.cluster.local") == ("NXDOMAIN", [])
    assert served.dig("nope.cluster.local").soa == "cluster.local. 5 1000 5"
    assert ask(served, "9.9.9.10.in-addr.arpa", "PTR") == ("NXDOMAIN", [])
    assert ask(served, "svc.cluster.local") == ("NOERROR", [])
    assert ask(served, "www.example.org") == ("NOERROR", ["192.0.2.9"])


def test_a_note_stays_with_the_zone_that_keeps_the_name() -> None:
    served = beside_a_file(ALL, "example.org", "")
    assert served.dig("pending.shop.svc.cluster.local", edns=opt()).ede == [(0, "not yet")]
    assert beside_a_file(ALL).dig("pending.shop.svc.cluster.local", edns=opt()).ede == []


def test_a_name_that_turns_up_in_the_cluster_is_answered_from_there_at_once() -> None:
    served = beside_a_file(ALL)
    for _ in range(2):
        assert ask(served, "extra.shop.svc.cluster.local") == ("NOERROR", ["192.0.2.2"])
        served.apply(service("extra.shop", "10.0.0.7"))
        assert ask(served, "extra.shop.svc.cluster.local") == ("NOERROR", ["10.0.0.7"])
        served.apply(removed=[owner("extra.shop")])
    assert ask(served, "extra.shop.svc.cluster.local") == ("NOERROR", ["192.0.2.2"])


def test_passing_names_on_leaves_nothing_behind() -> None:
    """Whatever is noted for a zone that is asked second-hand must not be noted for each query."""
    served = beside_a_file(ALL)
    served.dig("none.cluster.local")
    served.dig("other.cluster.local", "TXT")
    before = len(served.engine._serials), len(served.responder.table.denials), served.kept
    for at in range(100):
        served.dig(f"none-{at:03}.cluster.local")
        served.dig("none.cluster.local", edns=opt())
        served.dig("other.cluster.local", "TXT")
        served.dig("to-none.shop.svc.cluster.local")
    after = len(served.engine._serials), len(served.responder.table.denials), served.kept
    assert after == before


# Zones within zones


def test_the_longest_zone_file_wins() -> None:
    sources = tuple(FileSpec(from_text(apex)) for apex in ("example.org", "sub.example.org", "org"))
    parts = [
        zone_file("www.sub A 192.0.2.1\nwww A 192.0.2.2\n", "example.org", 0),
        zone_file("www A 192.0.2.3\n", "sub.example.org", 1),
        zone_file("example A 192.0.2.4\nother A 192.0.2.5\n", "org", 2),
    ]
    site = SiteSpec((from_text("org"),), (0, 1, 2))
    served = Served(Specification(sources, (site,), ((0,),)), parts)
    assert ask(served, "www.sub.example.org")[1] == ["192.0.2.3"]
    assert ask(served, "www.example.org")[1] == ["192.0.2.2"]
    assert ask(served, "other.org")[1] == ["192.0.2.5"]
    assert ask(served, "example.org") == ("NOERROR", [])
    assert ask(served, "nope.sub.example.org") == ("NXDOMAIN", [])
    assert served.dig("nope.sub.example.org").soa.startswith("sub.example.org.")


def test_the_block_with_the_longest_zone_wins_and_keeps_its_own_settings() -> None:
    sources = (FileSpec(from_text("example.org")),)
    sites = (
        SiteSpec((from_text("example.org"),), (0,), max_udp_octets=1000),
        SiteSpec((from_text("sub.example.org"),), (0,), max_udp_octets=700, any_hinfo=True),
    )
    served = Served(Specification(sources, sites, ((0, 1),)), [zone_file("a.sub A 192.0.2.1\na A 192.0.2.2\n")])
    for _ in range(2):
        for left in ("a", "nope"):
            assert served.dig(f"{left}.example.org", edns=opt()).payload == 1000
            assert served.dig(f"{left}.sub.example.org", edns=opt()).payload == 700
        # Names of one length in both blocks, so that one's denial could be mistaken for the other's.
        assert served.dig("nope.nop.example.org", edns=opt()).payload == 1000
        assert served.dig("nope.nop.example.org", "ANY").rcode == "NXDOMAIN"
        assert served.dig("nope.sub.example.org", "ANY").rcode == "NOERROR"


def test_a_block_without_data_for_its_zone_refuses() -> None:
    sources = (FileSpec(from_text("example.org")),)
    site = SiteSpec((b"\0",), (0,))
    served = Served(Specification(sources, (site,), ((0,),)), [zone_file("www A 192.0.2.1\n")])
    assert ask(served, "www.example.org") == ("NOERROR", ["192.0.2.1"])
    assert ask(served, "www.example.net") == ("REFUSED", [])


def test_of_two_clusters_the_first_that_covers_a_name_decides_it() -> None:
    sources = (ClusterSpec((CLUSTER,), fallthrough=ALL), ClusterSpec((CLUSTER,)))
    site = SiteSpec((CLUSTER,), (0, 1))
    parts = [image(service("web.shop", "10.0.0.1")), image(service("db.shop", "10.0.0.2"), source=1, serial=2000)]
    served = Served(Specification(sources, (site,), ((0,),)), parts)
    assert ask(served, "web.shop.svc.cluster.local") == ("NOERROR", ["10.0.0.1"])
    assert ask(served, "db.shop.svc.cluster.local") == ("NOERROR", ["10.0.0.2"])
    assert served.dig("nope.cluster.local").soa == "cluster.local. 5 2000 5"


def test_what_every_zone_passes_on_is_left_to_whoami() -> None:
    served = Served(
        Specification(
            (ClusterSpec((CLUSTER,), fallthrough=ALL), FileSpec(from_text("example.org"), ALL)),
            (SiteSpec(ALL, (0, 1), whoami=True),), ((0,),),
        ),
        [image(*SUBTREES), zone_file("www A 192.0.2.1\n", "example.org", 1)],
    )
    for left_over in ("none.shop.svc.cluster.local", "none.example.org", "elsewhere.test"):
        reply = served.dig(left_over)
        assert reply.rcode == "NOERROR", left_over
        assert any(record.startswith(f"{left_over}. 0 A ") for record in reply.additional), left_over
    assert served.dig("web.shop.svc.cluster.local").rdata == ["10.0.0.1"]
    assert served.dig("www.example.org").rdata == ["192.0.2.1"]


def test_an_empty_name_that_is_passed_on_is_not_denied_by_the_next_zone() -> None:
    served = beside_a_file(ALL, "local", "other A 192.0.2.3\n")
    for empty in ("shop.svc.cluster.local", "_tcp.web.shop.svc.cluster.local", "svc.cluster.local"):
        reply = served.dig(empty)
        assert (reply.rcode, reply.answer) == ("NOERROR", []), empty
        assert reply.soa is not None
    assert served.dig("none.shop.svc.cluster.local").rcode == "NXDOMAIN"


# What is left for `forward`


def passing(*, whoami: bool = False, group: int | None = 0, excluded: tuple[bytes, ...] = ()) -> Site:
    """The one site of a cluster that passes on its reverse names, with `forward` for everything."""
    source = ClusterSpec((CLUSTER, IN_ADDR), fallthrough=(IN_ADDR,))
    spec = SiteSpec(ALL, (0,), whoami=whoami, group=group, outside=(OutsideSpec(b"\0", excluded),))
    served = Served(Specification((source,), (spec,), ((0,),)), [image(*SUBTREES)])
    return next(iter(served.responder._sites.values()))


def fate(site: Site, qname: str) -> tuple[bool, bool, bool, bool]:
    """Decided by a zone, passed on, known as an empty name, for outside."""
    passage = site.passage(from_text(qname), A)
    return passage.zone is not None, passage.passed, passage.exists, passage.is_outside


@pytest.mark.parametrize(("qname", "wanted"), [
    ("web.shop.svc.cluster.local", (True, False, False, False)),
    ("nope.cluster.local", (True, False, False, False)),
    ("1.0.0.10.in-addr.arpa", (True, False, False, False)),
    ("9.9.9.9.in-addr.arpa", (False, True, False, True)),
    ("0.0.10.in-addr.arpa", (False, True, True, True)),
    ("www.example.org", (False, False, False, True)),
    ("local", (False, False, False, True)),
    (".", (False, False, False, True)),
])
def test_forward_takes_what_no_zone_decides(qname: str, wanted: tuple[bool, ...]) -> None:
    for whoami in (False, True):
        assert fate(passing(whoami=whoami), qname) == wanted


def test_what_forward_excepts_stays_with_the_zone_that_would_pass_it_on() -> None:
    site = passing(excluded=(from_text("9.in-addr.arpa"), from_text("corp.test")))
    assert fate(site, "9.9.9.9.in-addr.arpa") == (True, False, False, False)
    assert fate(site, "8.8.8.8.in-addr.arpa") == (False, True, False, True)
    assert fate(site, "a.corp.test") == (False, False, False, False)
    assert fate(passing(whoami=True, excluded=(IN_ADDR,)), "9.9.9.9.in-addr.arpa") == (False, True, False, False)


def test_without_a_group_nothing_is_for_outside() -> None:
    assert fate(passing(group=None), "www.example.org") == (False, False, False, False)
    assert fate(passing(group=None), "9.9.9.9.in-addr.arpa") == (True, False, False, False)
