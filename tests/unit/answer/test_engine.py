"""Images, deltas and what they do to replies that are kept."""

from __future__ import annotations

from random import Random

import pytest

from kdns.answer.engine import ClusterSource, Engine, FileSource
from kdns.answer.spec import ClusterSpec, FileSpec, SiteSpec, Specification
from kdns.answer.table import DROPPED_AT_ONCE
from kdns.wire.name import from_text
from kdns.zone.cluster import PodNames
from kdns.zone.delta import ZoneDelta
from kdns.zone.subtree import Subtree
from tests.support.counting import Counting
from tests.support.engines import CLIENT, CLUSTER, IN_ADDR, IP6, Served, cluster, image, zone_file, zone_rrsets
from tests.support.messages import Answer, query
from tests.support.subtrees import alias, headless, owner, service

WEB = service("web.shop", "10.0.0.1")
DB = headless("db.shop", "10.1.0.1=db-0 10.1.0.2=db-1")
EXAMPLE = from_text("example.org")


def kept_questions(served: Served) -> set[str]:
    """The questions whose replies are kept, as `name type`."""
    header = bytes(4) + b"\0\1" + bytes(6)
    return {Answer(header + key).question.replace(" IN ", " ") for key in served.responder.table.current}


# Deltas


def test_a_change_shows_in_the_next_answer() -> None:
    served = cluster(WEB)
    for octet in range(1, 9):
        served.apply(service("web.shop", f"10.0.0.{octet}"))
        assert served.dig("web.shop.svc.cluster.local").rdata == [f"10.0.0.{octet}"]
        assert served.dig(f"{octet}.0.0.10.in-addr.arpa", "PTR").rdata == ["web.shop.svc.cluster.local."]
        assert served.dig(f"{octet - 1}.0.0.10.in-addr.arpa", "PTR").rcode == "NXDOMAIN"


def test_a_change_drops_the_replies_made_of_it_and_no_other() -> None:
    served = cluster(
        WEB, DB, service("api.shop", "10.0.0.3"), alias("to-web.shop", "web.shop.svc.cluster.local"),
        alias("to-api.shop", "api.shop.svc.cluster.local"), alias("out.shop", "www.example.org"),
    )
    questions = [
        ("web.shop.svc.cluster.local", "A"), ("web.shop.svc.cluster.local", "TXT"),
        ("_http._tcp.web.shop.svc.cluster.local", "SRV"), ("to-web.shop.svc.cluster.local", "A"),
        ("to-api.shop.svc.cluster.local", "A"), ("out.shop.svc.cluster.local", "A"),
        ("db.shop.svc.cluster.local", "A"), ("db-0.db.shop.svc.cluster.local", "A"),
        ("1.0.0.10.in-addr.arpa", "PTR"), ("1.1.0.10.in-addr.arpa", "PTR"),
        ("1.0.1.10.in-addr.arpa", "PTR"), ("shop.svc.cluster.local", "A"), ("svc.cluster.local", "A"),
        ("dns-version.cluster.local", "TXT"), ("ns.dns.cluster.local", "A"), ("api.shop.svc.cluster.local", "SRV"),
    ]
    for qname, qtype in questions:
        served.dig(qname, qtype)
    before = kept_questions(served)
    assert before == {f"{qname}. {qtype}" for qname, qtype in questions} - {"1.1.0.10.in-addr.arpa. PTR"}
    served.apply(service("web.shop", "10.0.0.2"))
    assert before - kept_questions(served) == {
        "web.shop.svc.cluster.local. A", "web.shop.svc.cluster.local. TXT",
        "_http._tcp.web.shop.svc.cluster.local. SRV", "to-web.shop.svc.cluster.local. A",
        "1.0.0.10.in-addr.arpa. PTR",
    }


def test_a_change_of_a_namespace_drops_its_two_nodes() -> None:
    served = cluster(WEB, pod_names=PodNames.INSECURE)
    for qname in ("shop.svc", "shop.pod", "default.svc", "web.shop.svc"):
        served.dig(f"{qname}.cluster.local")
    served.apply(namespaces_removed=["shop"])
    assert kept_questions(served) == {"default.svc.cluster.local. A", "web.shop.svc.cluster.local. A"}
    assert served.dig("shop.svc.cluster.local").rcode == served.dig("shop.pod.cluster.local").rcode == "NXDOMAIN"
    served.apply(namespaces=["shop"])
    assert served.dig("shop.svc.cluster.local").rcode == "NOERROR"


def test_verified_pods_come_and_go() -> None:
    served = cluster(namespaces=["shop"], pod_names=PodNames.VERIFIED)
    name = "10-1-0-9.shop.pod.cluster.local"
    assert served.dig(name).rcode == "NXDOMAIN"
    served.apply(pods=[("shop", "10.1.0.9")])
    assert served.dig(name).rdata == ["10.1.0.9"]
    served.apply(pods_removed=[("shop", "10.1.0.9")])
    assert served.dig(name).rcode == "NXDOMAIN"


def test_a_headless_service_appears_with_its_first_host_and_goes_with_its_last() -> None:
    served = cluster(headless("db.shop"))
    for _ in range(2):
        for qname in ("db.shop.svc.cluster.local", "db-0.db.shop.svc.cluster.local"):
            assert (served.dig(qname).rcode, served.dig(qname).soa.split()[1]) == ("NXDOMAIN", "1")
        served.apply(DB)
        assert served.dig("db-0.db.shop.svc.cluster.local").rdata == ["10.1.0.1"]
        assert len(served.dig("db.shop.svc.cluster.local").answer) == 2
        served.apply(headless("db.shop"))


def test_the_name_servers_follow_the_services() -> None:
    served = cluster(listeners=["10.1.0.1"])
    assert served.dig("cluster.local", "NS").rdata == ["ns.dns.cluster.local."]
    served.apply(DB)
    assert served.dig("cluster.local", "NS").rdata == ["db-0.db.shop.svc.cluster.local."]
    assert served.dig("cluster.local", "NS").additional == ["db-0.db.shop.svc.cluster.local. 5 A 10.1.0.1"]


def test_one_delta_is_one_change() -> None:
    """An address that moves from one service to another is never in both or in neither."""
    served = cluster(service("blue.shop", "10.0.0.1"), service("green.shop", "10.0.0.2"))
    for name, other in (("blue", "green"), ("green", "blue")):
        served.apply(service(f"{name}.shop", "10.0.0.2"), service(f"{other}.shop", "10.0.0.1"))
        assert served.dig(f"{name}.shop.svc.cluster.local").rdata == ["10.0.0.2"]
        assert served.dig("2.0.0.10.in-addr.arpa", "PTR").rdata == [f"{name}.shop.svc.cluster.local."]


def test_replies_kept_for_tcp_are_dropped_too() -> None:
    served = cluster(WEB)
    assert served.dig("web.shop.svc.cluster.local", tcp=True).rdata == ["10.0.0.1"]
    served.apply(service("web.shop", "10.0.0.2"))
    assert served.dig("web.shop.svc.cluster.local", tcp=True).rdata == ["10.0.0.2"]


def test_a_host_that_gets_another_label_has_another_reverse_name_and_its_neighbours_have_not() -> None:
    served = cluster(headless("db.shop", "10.1.0.1=db-0 10.1.0.2=db-1 10.1.0.3"))
    for octet in (1, 2, 3):
        served.dig(f"{octet}.0.1.10.in-addr.arpa", "PTR")
    served.apply(headless("db.shop", "10.1.0.1=db-0 10.1.0.2=other 10.1.0.3"))
    assert kept_questions(served) == {"1.0.1.10.in-addr.arpa. PTR", "3.0.1.10.in-addr.arpa. PTR"}
    assert served.dig("2.0.1.10.in-addr.arpa", "PTR").rdata == ["other.db.shop.svc.cluster.local."]


def test_a_zone_file_is_not_changed_in_parts() -> None:
    with pytest.raises(TypeError, match="publish_source"):
        file_and_cluster().engine.apply(ZoneDelta(1, 7))


# Large changes


CROWD = DROPPED_AT_ONCE + 10


def crowd(count: int) -> Subtree:
    return headless("crowd.shop", " ".join(f"10.2.{at >> 8}.{at & 255}=pod-{at}" for at in range(count)))


def ask_all(served: Served, stride: int = 1) -> list[str]:
    """What is said of the Service and of its hosts, and of their reverse names."""
    base = "crowd.shop.svc.cluster.local"
    replies = [served.dig(base, "SRV", tcp=True)]
    for at in range(0, CROWD, stride):
        replies += [served.dig(f"pod-{at}.{base}"), served.dig(f"{at & 255}.{at >> 8}.2.10.in-addr.arpa", "PTR")]
    return [f"{reply.rcode} {sorted(reply.rdata)}" for reply in replies]


@pytest.mark.parametrize("after", [crowd(CROWD - 1), crowd(CROWD // 2), headless("crowd.shop"), WEB])
def test_a_large_change_is_prepared_in_steps_and_shows_with_the_last(after: Subtree) -> None:
    served, then = cluster(crowd(CROWD)), cluster(after)
    ask_all(served)
    before, steps = ask_all(served, 7), 0
    delta = ZoneDelta(0, 1001, subtrees=(after,), removed=(owner("crowd.shop"),))
    for _ in served.engine.apply_in_steps(delta):
        steps += 1
        if steps % 50 == 1:
            assert ask_all(served, 7) == before
    assert steps > CROWD // DROPPED_AT_ONCE
    assert ask_all(served) == ask_all(then)
    assert served.dig("nope.cluster.local").soa.split()[2] == "1001"


def test_each_step_drops_few_replies() -> None:
    served = cluster(crowd(CROWD))
    ask_all(served)
    before = served.kept
    for _ in served.engine.apply_in_steps(ZoneDelta(0, removed=(owner("crowd.shop"),))):
        assert before - served.kept <= DROPPED_AT_ONCE
        before = served.kept
    assert served.kept == 0


def test_an_image_may_come_instead_of_the_rest_of_a_change() -> None:
    """As when a change cannot be loaded."""
    served = cluster(crowd(300))
    steps = served.engine.apply_in_steps(ZoneDelta(0, subtrees=(crowd(10),)))
    next(steps)
    del steps
    assert len(served.dig("crowd.shop.svc.cluster.local", tcp=True).answer) == 300
    served.publish([image(crowd(20))])
    assert len(served.dig("crowd.shop.svc.cluster.local", tcp=True).answer) == 20


# Images


def test_an_image_in_parts_is_the_image_as_a_whole() -> None:
    served = cluster()
    served.publish([
        ZoneDelta(0, reset=True, namespaces=(b"\x04shop",)),
        ZoneDelta(0, subtrees=(WEB,)),
        ZoneDelta(0, serial=2000, subtrees=(DB,)),
    ])
    assert served.dig("web.shop.svc.cluster.local").rdata == ["10.0.0.1"]
    assert len(served.dig("db.shop.svc.cluster.local").answer) == 2
    assert served.dig("nope.cluster.local").soa.split()[2] == "2000"
    assert served.dig("default.svc.cluster.local").rcode == "NXDOMAIN"


def test_an_image_is_invisible_until_it_is_published() -> None:
    served = cluster(WEB)
    new = served.engine.new_image()
    new.apply(image(service("web.shop", "10.0.0.9"), serial=2000))
    assert served.dig("web.shop.svc.cluster.local").rdata == ["10.0.0.1"]
    served.engine.publish(new)
    assert served.dig("web.shop.svc.cluster.local").rdata == ["10.0.0.9"]
    assert served.dig("nope.cluster.local").soa.split()[2] == "2000"


def serials(served: Served) -> set[str]:
    """The serials in denials of all kinds, as they are compiled and as they are kept."""
    names = ("web.shop.svc.cluster.local", "nope.cluster.local", "svc.cluster.local")
    return {served.dig(qname, "TXT").soa.split()[2] for qname in names * 2}


def test_after_a_new_image_kept_denials_have_its_serial() -> None:
    served = cluster(WEB)
    for serial in (1000, 2000, 3000):
        served.publish([image(WEB, serial=serial)])
        assert serials(served) == {str(serial)}
        served.apply(serial=serial + 1, namespaces=["x"])
        assert serials(served) == {str(serial + 1)}


def test_the_serial_never_goes_back_whatever_image_or_change_comes() -> None:
    served = cluster(WEB)
    served.apply(serial=1001, namespaces=["x"])
    served.publish([image(WEB, serial=500)])
    assert serials(served) == {"1002"}
    served.apply(serial=501, namespaces=["x"])
    assert serials(served) == {"1003"}
    served.publish([image(WEB, serial=2000)])
    assert serials(served) == {"2000"}


# Zone files


def file_and_cluster() -> Served:
    sources = (ClusterSpec((CLUSTER,)), FileSpec(EXAMPLE), FileSpec(from_text("example.net")))
    site = SiteSpec((CLUSTER, EXAMPLE, from_text("example.net")), (0, 1, 2))
    parts = [
        image(alias("out.shop", "www.example.org")),
        zone_file("www A 192.0.2.1\nin CNAME web.shop.svc.cluster.local.\n", source=1),
        zone_file("www A 192.0.2.9\nto CNAME www.example.org.\n", "example.net", 2),
    ]
    return Served(Specification(sources, (site,), ((0,),)), parts)


def replace_file(served: Served, text: str, head: str) -> None:
    source = served.engine.new_source(1)
    assert isinstance(source, FileSource)
    source.load(ZoneDelta(1, reset=True, rrsets=zone_rrsets(text, head=head)))
    served.engine.publish_source(1, source)


NEW_HEAD = "$TTL 3600\n@ IN SOA ns hostmaster 8 3600 600 86400 60\n@ NS ns\nns A 192.0.2.1\n"


def test_a_new_zone_file_takes_the_place_of_the_old_one_in_all_that_was_made_of_it() -> None:
    served = file_and_cluster()
    for qname in ("www.example.org", "to.example.net", "out.shop.svc.cluster.local"):
        assert served.dig(qname).rdata[-1] == "192.0.2.1"
        assert served.dig(qname).rdata[-1] == "192.0.2.1"
    assert served.dig("www.example.net").rdata == ["192.0.2.9"]
    assert served.dig("nope.example.org").soa == "example.org. 300 7 300"
    replace_file(served, "www A 192.0.2.2\nnew A 192.0.2.3\n", NEW_HEAD)
    for qname in ("www.example.org", "to.example.net", "out.shop.svc.cluster.local"):
        assert served.dig(qname).rdata[-1] == "192.0.2.2"
    assert served.dig("new.example.org").rdata == ["192.0.2.3"]
    for _ in range(2):
        assert served.dig("nope.example.org").soa == "example.org. 60 8 60"
        assert served.dig("www.example.org", "TXT").soa == "example.org. 60 8 60"
    assert served.dig("www.example.net").rdata == ["192.0.2.9"]


def test_a_new_zone_file_leaves_replies_made_of_others_alone() -> None:
    served = file_and_cluster()
    for qname in ("www.example.org", "www.example.net", "nope.svc.cluster.local", "svc.cluster.local"):
        served.dig(qname)
    replace_file(served, "", NEW_HEAD)
    assert kept_questions(served) == {"www.example.net. A", "svc.cluster.local. A"}
    assert served.dig("www.example.org").rcode == "NXDOMAIN"


def test_files_that_are_replaced_leave_no_serials_behind() -> None:
    served = file_and_cluster()
    for _ in range(50):
        served.dig("nope.example.org")
        served.dig("www.example.org", "TXT")
        replace_file(served, "www A 192.0.2.2\n", NEW_HEAD)
    assert len(served.engine._serials) <= 3


def test_an_alias_in_a_zone_file_follows_the_cluster() -> None:
    served = file_and_cluster()
    assert served.dig("in.example.org").rcode == "NXDOMAIN"
    served.apply(WEB)
    assert served.dig("in.example.org").rdata == ["web.shop.svc.cluster.local.", "10.0.0.1"]
    served.apply(service("web.shop", "10.0.0.2"))
    assert served.dig("in.example.org").rdata[-1] == "10.0.0.2"
    served.apply(removed=[owner("web.shop")])
    assert served.dig("in.example.org").rcode == "NXDOMAIN"


def test_a_source_is_what_the_configuration_says() -> None:
    engine = file_and_cluster().engine
    assert isinstance(engine.new_source(0), ClusterSource)
    assert isinstance(engine.new_source(1), FileSource)


@pytest.mark.parametrize(
    ("zones", "target"),
    [
        ((CLUSTER, IN_ADDR), CLUSTER),
        ((from_text("a.test"), CLUSTER, IN_ADDR), from_text("a.test")),
        ((IN_ADDR,), IN_ADDR),
    ],
)
def test_reverse_names_lead_into_the_first_forward_zone(zones: tuple[bytes, ...], target: bytes) -> None:
    served = cluster(WEB, zones=zones)
    [name] = served.dig("1.0.0.10.in-addr.arpa", "PTR").rdata
    assert from_text(name) == WEB.owner + target


@pytest.mark.parametrize("seed", range(6))
def test_the_stable_name_of_an_address_is_the_first_ptr_record_of_every_reply(seed: int) -> None:
    served = cluster(headless("all.shop", "10.1.0.1"), DB, seed=seed)
    for _ in range(2):
        assert served.dig("1.0.1.10.in-addr.arpa", "PTR").rdata == [
            "db-0.db.shop.svc.cluster.local.", "10-1-0-1.all.shop.svc.cluster.local.",
        ]


def test_two_zones_of_a_source_show_the_same_services() -> None:
    served = cluster(WEB, zones=(CLUSTER, from_text("k8s.test"), IP6))
    for zone in ("cluster.local", "k8s.test"):
        assert served.dig(f"web.shop.svc.{zone}").rdata == ["10.0.0.1"]
    served.apply(removed=[owner("web.shop")])
    for zone in ("cluster.local", "k8s.test"):
        assert served.dig(f"web.shop.svc.{zone}").soa.startswith(zone)


def test_failures_are_reported_once_for_each_query() -> None:
    failures: list[bytes] = []
    spec = Specification((ClusterSpec((CLUSTER,)),), (SiteSpec((CLUSTER,), (0,)),), ((0,),))
    engine = Engine(spec, Counting(spec).tally, Random(0), lambda error, message: failures.append(message))
    engine.publish(engine.new_image())
    assert engine.responder(0).respond(query("cluster.local"), CLIENT, False) is not None
    assert failures == []
