"""Replies while a source does not know all kinds of objects wholly: SERVFAIL and why, never a denial, never kept."""

from __future__ import annotations

import pytest

from kdns.answer.spec import ClusterSpec, FileSpec, SiteSpec, SourceSpec, Specification
from kdns.wire.iana import EDE
from kdns.wire.name import from_text
from kdns.zone.cluster import PodNames
from kdns.zone.delta import LACKS_ENDPOINTS, LACKS_EVERYTHING, LACKS_NAMESPACES, LACKS_SERVICES, ZoneDelta
from tests.support.engines import CLUSTER, IN_ADDR, Served, cluster, image, zone_file
from tests.support.messages import ANY, Answer, opt
from tests.support.subtrees import alias, headless, host_sets, owner, service

ALL = (b"\0",)
EXAMPLE = from_text("example.org")
SUBTREES = (
    service("web.shop", "10.0.0.1", hosts=host_sets("10.1.0.9=pod-9")),
    headless("db.shop", "10.1.0.1=db-0 10.1.0.2=db-1"),
    alias("to-db.shop", "db.shop.svc.cluster.local"),
    alias("to-to-db.shop", "to-db.shop.svc.cluster.local"),
    alias("to-web.shop", "web.shop.svc.cluster.local"),
    alias("to-nope.shop", "nope.shop.svc.cluster.local"),
)
SERVICES_ONLY = tuple(one if one.owner != owner("db.shop") else headless("db.shop") for one in SUBTREES)


def partly(lacks: int = LACKS_ENDPOINTS) -> Served:
    return cluster(*SERVICES_ONLY, lacks=lacks)


def ask(served: Served, qname: str, qtype: str | int = "A") -> Answer:
    """The reply, which is the same when asked again, without EDNS and over TCP."""
    replies = [
        served.dig(qname, qtype, edns=edns, tcp=tcp) for edns in (opt(), b"", opt()) for tcp in (False, True)
    ]
    assert len({(reply.rcode, reply.sections()) for reply in replies}) == 1
    return replies[0]


@pytest.mark.parametrize(
    ("qname", "qtype"),
    [
        ("db.shop.svc.cluster.local", "A"),
        ("db.shop.svc.cluster.local", "TXT"),
        ("db.shop.svc.cluster.local", "DS"),
        ("db.shop.svc.cluster.local", ANY),
        ("_http._tcp.db.shop.svc.cluster.local", "SRV"),
        ("db-0.db.shop.svc.cluster.local", "A"),
        ("pod-9.web.shop.svc.cluster.local", "A"),
        ("nope.shop.svc.cluster.local", "A"),
        ("nope.cluster.local", "A"),
        ("cluster.local", "SOA"),
        ("cluster.local", "NS"),
        ("cluster.local", "DS"),
        ("in-addr.arpa", "SOA"),
        ("10.in-addr.arpa", "PTR"),
        ("1.0.0.10.in-addr.arpa", "PTR"),
        ("1.0.1.10.in-addr.arpa", "PTR"),
        # The whole chain, not its beginning.
        ("to-db.shop.svc.cluster.local", "A"),
        ("to-to-db.shop.svc.cluster.local", "A"),
        ("to-nope.shop.svc.cluster.local", "A"),
    ],
)
def test_what_is_not_known_is_servfail_with_the_reason_and_nothing_else(qname: str, qtype: str | int) -> None:
    served = partly()
    reply = ask(served, qname, qtype)
    assert (reply.rcode, reply.flags, reply.counts) == ("SERVFAIL", {"QR", "RD"}, (1, 0, 0, 1))
    assert reply.ede == [(EDE.NOT_READY, "EndpointSlices are not synced yet")]
    assert (served.kept, served.responder.table.denials) == (0, {})


@pytest.mark.parametrize(
    ("qname", "qtype", "rdata"),
    [
        ("web.shop.svc.cluster.local", "A", ["10.0.0.1"]),
        ("web.shop.svc.cluster.local", "TXT", []),
        ("_http._tcp.web.shop.svc.cluster.local", "SRV", ["0 100 80 web.shop.svc.cluster.local."]),
        ("_tcp.web.shop.svc.cluster.local", "A", []),
        ("to-web.shop.svc.cluster.local", "A", ["web.shop.svc.cluster.local.", "10.0.0.1"]),
        ("to-db.shop.svc.cluster.local", "CNAME", ["db.shop.svc.cluster.local."]),
        ("svc.cluster.local", "A", []),
        ("shop.svc.cluster.local", "A", []),
        ("dns-version.cluster.local", "TXT", ['"1.1.0"']),
        ("ns.dns.cluster.local", "A", ["192.0.2.53"]),
    ],
)
def test_what_is_known_is_answered_and_kept(qname: str, qtype: str, rdata: list[str]) -> None:
    served = partly()
    reply = ask(served, qname, qtype)
    assert (reply.rcode, reply.rdata, bool(reply.soa)) == ("NOERROR", rdata, not rdata)
    assert served.kept == 1


def test_before_the_services_are_known_only_what_never_changes_is_answered() -> None:
    served = cluster(namespaces=["shop"], pod_names=PodNames.INSECURE, lacks=LACKS_SERVICES | LACKS_ENDPOINTS)
    for left in ("web.shop.svc", "shop2.svc", "nope", "x.shop.pod"):
        assert ask(served, f"{left}.cluster.local").rcode == "SERVFAIL"
    for left in ("svc", "pod", "dns", "shop.svc", "shop.pod", "1-2-3-4.shop.pod", "dns-version", "ns.dns"):
        assert ask(served, f"{left}.cluster.local").rcode == "NOERROR"


def test_a_forbidden_kind_keeps_denials_back_and_nothing_else() -> None:
    served = cluster(*SUBTREES, lacks=LACKS_NAMESPACES)
    assert len(ask(served, "db.shop.svc.cluster.local").answer) == 2
    assert ask(served, "1.0.1.10.in-addr.arpa", "PTR").rdata == ["db-0.db.shop.svc.cluster.local."]
    reply = ask(served, "nope.shop.svc.cluster.local")
    assert (reply.rcode, reply.ede) == ("SERVFAIL", [(EDE.NOT_READY, "Namespaces are not synced yet")])


def test_a_source_that_has_said_nothing_denies_nothing() -> None:
    spec = Specification((ClusterSpec((CLUSTER,)),), (SiteSpec((CLUSTER,), (0,)),), ((0,),))
    reply = Served(spec).dig("nope.cluster.local", edns=opt())
    assert (reply.rcode, reply.ede[0][0]) == ("SERVFAIL", EDE.NOT_READY)


def test_changes_show_while_something_lacks() -> None:
    served = partly()
    assert ask(served, "web.shop.svc.cluster.local").rdata == ["10.0.0.1"]
    served.apply(service("web.shop", "10.0.0.7"), lacks=LACKS_ENDPOINTS)
    assert ask(served, "web.shop.svc.cluster.local").rdata == ["10.0.0.7"]
    served.apply(removed=[owner("web.shop")], lacks=LACKS_ENDPOINTS)
    assert ask(served, "web.shop.svc.cluster.local").rcode == "SERVFAIL"


def test_additional_addresses_that_are_not_known_are_left_out_and_the_reply_is_not_kept() -> None:
    sources = (ClusterSpec((CLUSTER,)), FileSpec(EXAMPLE))
    site = SiteSpec((CLUSTER, EXAMPLE), (0, 1))
    hosts = "@ MX 1 db.shop.svc.cluster.local.\n@ MX 2 www\n@ MX 3 web.shop.svc.cluster.local.\n"
    mail = zone_file(f"{hosts}www A 192.0.2.7\n", source=1)
    served = Served(Specification(sources, (site,), ((0,),)), [image(*SERVICES_ONLY, lacks=LACKS_ENDPOINTS), mail])
    reply = ask(served, "example.org", "MX")
    assert len(reply.answer) == 3
    assert reply.additional == ["www.example.org. 3600 A 192.0.2.7", "web.shop.svc.cluster.local. 5 A 10.0.0.1"]
    assert served.kept == 0
    served.publish([image(*SUBTREES), mail])
    assert len(ask(served, "example.org", "MX").additional) == 4
    assert served.kept == 1


# Beside others


def beside(lacks: int, *, fallthrough: tuple[bytes, ...] = ALL, whoami: bool = False) -> Served:
    """A cluster that passes names on, and behind it zone files of its names, wider ones, and others."""
    zones = (CLUSTER, IN_ADDR)
    files = {
        "cluster.local": "nope A 192.0.2.1\nto-db CNAME db.shop.svc\n",
        "local": "other A 192.0.2.2\n*.svc.cluster A 192.0.2.3\n",
        "10.in-addr.arpa": "9.9.9 PTR host.example.org.\n1.0.0 PTR host.example.org.\n",
        "example.org": "www A 192.0.2.4\nto-db CNAME db.shop.svc.cluster.local.\n",
    }
    zone_files = tuple(FileSpec(from_text(origin)) for origin in files)
    sources: tuple[SourceSpec, ...] = (ClusterSpec(zones, fallthrough=fallthrough), *zone_files)
    site = SiteSpec((*zones, EXAMPLE, from_text("local"), *ALL), tuple(range(5)), whoami=whoami)
    parts = [zone_file(text, origin, at) for at, (origin, text) in enumerate(files.items(), 1)]
    subtrees = SERVICES_ONLY if lacks else SUBTREES
    return Served(Specification(sources, (site,), ((0,),)), [image(*subtrees, lacks=lacks), *parts])


@pytest.mark.parametrize("whoami", [False, True])
@pytest.mark.parametrize("lacks", [LACKS_ENDPOINTS, LACKS_NAMESPACES, LACKS_EVERYTHING])
@pytest.mark.parametrize("qname", ["nope.cluster.local", "x.y.svc.cluster.local", "9.9.9.10.in-addr.arpa",
                                   "9.in-addr.arpa", "x.in-addr.arpa", "to-db.cluster.local"])
def test_what_may_turn_out_to_exist_is_not_passed_on(qname: str, lacks: int, whoami: bool) -> None:
    served = beside(lacks, whoami=whoami)
    assert ask(served, qname, "PTR" if qname.endswith("arpa") else "A").rcode == "SERVFAIL"
    assert beside(0, whoami=whoami).dig(qname).rcode != "SERVFAIL"


def test_names_of_other_sources_are_answered_as_ever() -> None:
    served = beside(LACKS_EVERYTHING)
    assert ask(served, "www.example.org").rdata == ["192.0.2.4"]
    assert ask(served, "other.local").rdata == ["192.0.2.2"]
    assert (ask(served, "nope.example.org").rcode, ask(served, "nope.local").rcode) == ("NXDOMAIN", "NXDOMAIN")
    assert ask(served, "to-db.example.org").rcode == "SERVFAIL"


def test_another_cluster_goes_on_while_one_is_not_known() -> None:
    other = from_text("other.local")
    sources = (ClusterSpec((CLUSTER,)), ClusterSpec((other, IN_ADDR)))
    site = SiteSpec((CLUSTER, other, IN_ADDR), (0, 1))
    parts = [image(lacks=LACKS_EVERYTHING), image(*SUBTREES, source=1)]
    served = Served(Specification(sources, (site,), ((0,),)), parts)
    assert ask(served, "web.shop.svc.cluster.local").rcode == "SERVFAIL"
    assert ask(served, "web.shop.svc.other.local").rdata == ["10.0.0.1"]
    assert ask(served, "nope.other.local").rcode == "NXDOMAIN"
    assert ask(served, "1.0.0.10.in-addr.arpa", "PTR").rdata == ["web.shop.svc.other.local."]


@pytest.mark.parametrize("fallthrough", [(), ALL])
def test_a_wider_zone_does_not_answer_for_a_longer_one_that_is_not_known(fallthrough: tuple[bytes, ...]) -> None:
    sources = (ClusterSpec((CLUSTER,), fallthrough=fallthrough), ClusterSpec((from_text("local"),)))
    sites = (SiteSpec((CLUSTER,), (0, 1)), SiteSpec((from_text("local"),), (1,)))
    parts = [image(lacks=LACKS_EVERYTHING), image(*SUBTREES, source=1)]
    served = Served(Specification(sources, sites, ((0, 1),)), parts)
    assert ask(served, "web.shop.svc.cluster.local").rcode == "SERVFAIL"
    assert ask(served, "nope.cluster.local").rcode == "SERVFAIL"
    assert ask(served, "nope.local").rcode == "NXDOMAIN"


# Becoming known


QUESTIONS = ("web.shop.svc", "db.shop.svc", "nope.shop.svc", "to-db.shop.svc", "shop.svc", "svc", "cluster")


def everything(served: Served) -> list[tuple[str, list[str]]]:
    return [(reply.rcode, sorted(reply.rdata)) for reply in (ask(served, f"{q}.cluster.local") for q in QUESTIONS)]


def test_with_the_image_of_the_whole_nothing_of_the_part_is_left() -> None:
    whole = cluster(*SUBTREES, service("new.shop", "10.0.0.5"))
    for lacks in (LACKS_EVERYTHING, LACKS_ENDPOINTS, LACKS_NAMESPACES):
        served = partly(lacks)
        everything(served)
        served.publish([image(*SUBTREES, service("new.shop", "10.0.0.5"))])
        assert (served.kept, served.responder.table.denials) == (0, {})
        assert everything(served) == everything(whole)


def test_an_image_of_less_takes_back_all_denials() -> None:
    """As when a kind is forbidden from now on."""
    served = cluster(*SUBTREES)
    assert ask(served, "nope.shop.svc.cluster.local").rcode == "NXDOMAIN"
    served.publish([image(*SERVICES_ONLY, lacks=LACKS_ENDPOINTS)])
    assert everything(served) == everything(partly())


@pytest.mark.parametrize(("serial", "shown"), [(999, "1002"), (1001, "1001"), (1002, "1002"), (5000, "5000")])
def test_the_serial_does_not_go_back_when_kinds_become_known(serial: int, shown: str) -> None:
    served = partly()
    served.apply(service("web.shop", "10.0.0.7"), serial=1001, lacks=LACKS_ENDPOINTS)
    assert ask(served, "web.shop.svc.cluster.local", "TXT").soa.split()[2] == "1001"
    served.publish([
        ZoneDelta(0, serial, True, namespaces=(b"\x04shop",)), ZoneDelta(0, serial, subtrees=SUBTREES),
    ])
    for qname in ("web.shop.svc.cluster.local", "nope.cluster.local"):
        assert ask(served, qname, "TXT").soa.split()[2] == shown
