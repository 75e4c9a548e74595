"""What is counted of a reply: by zone, by the directive that made it, by its sizes, and by where it came in."""

from __future__ import annotations

import pytest

from kdns.answer.outside import Pending
from kdns.answer.spec import ClusterSpec, FileSpec, OutsideSpec, SiteSpec, Specification
from kdns.observe.families import (
    CACHE_HITS,
    DO_REQUESTS,
    DURATION,
    REQUEST_SIZE,
    REQUESTS,
    RESPONSE_SIZE,
    RESPONSES,
    SUM,
)
from kdns.server.tcp import MeteredResponder
from kdns.server.waiting import timed
from kdns.wire.name import ROOT, from_text
from tests.support.engines import CLIENT, CLUSTER, Served, image, zone_file
from tests.support.forwarding import answering
from tests.support.messages import opt, query
from tests.support.shop import SUBTREES, WEB

ORG, WHO = from_text("example.org"), from_text("who.test")
DO = 0x8000
WWW = "www.example.net"


@pytest.fixture
def served() -> Served:
    """A cluster and a zone file in one block, names outside in a second one, and whoami in a third, with `any`."""
    sites = (
        SiteSpec((CLUSTER, ORG), (0, 1)),
        SiteSpec((ROOT,), group=1, outside=(OutsideSpec(ROOT),)),
        SiteSpec((WHO,), any_hinfo=True, whoami=True),
    )
    sources = (ClusterSpec((CLUSTER,)), FileSpec(ORG))
    parts = [image(*SUBTREES), zone_file("www A 192.0.2.80\n", source=1)]
    return Served(Specification(sources, sites, ((0, 1, 2), (0,))), parts)


def _observed(served: Served, name: str) -> int:
    """How many observations a histogram has, its sum left out."""
    samples = served.counting.layout.samples(served.counting.words)
    return sum(count for sample, count in samples.items() if sample.name == name and sample.bucket != SUM)


@pytest.mark.parametrize(
    ("qname", "qtype", "zone", "rcode", "maker"),
    [
        (WEB, "A", "cluster.local.", "NOERROR", "kubernetes"),
        ("nope.cluster.local", "A", "cluster.local.", "NXDOMAIN", "kubernetes"),
        ("www.example.org", "A", "example.org.", "NOERROR", "file"),
        ("nope.example.org", "A", "example.org.", "NXDOMAIN", "file"),
        ("a.who.test", "A", "who.test.", "NOERROR", "whoami"),
        ("a.who.test", "ANY", "who.test.", "NOERROR", "any"),
        ("www.example.org", "AXFR", "example.org.", "REFUSED", ""),
    ],
)
def test_a_reply_is_of_its_zone_and_directive_however_often(
    served: Served, qname: str, qtype: str, zone: str, rcode: str, maker: str
) -> None:
    for _ in range(3):
        served.dig(qname, qtype)
    assert served.counting.told(RESPONSES) == {("0", zone, "", rcode, maker): 3}


def test_what_is_in_no_zone_is_told_apart(served: Served) -> None:
    other = served.engine.responder(1)
    other.respond(query("www.example.net"), CLIENT, False, served.counting.tally.meter(1, False, 4))
    assert served.counting.told(RESPONSES) == {("1", "dropped", "", "REFUSED", ""): 1}


def test_each_socket_has_its_own_counts(served: Served) -> None:
    for listener, tcp, family in ((0, False, 4), (0, True, 6), (1, False, 6)):
        meter = served.counting.tally.meter(listener, tcp, family)
        served.engine.responder(listener).respond(query(WEB), CLIENT, tcp, meter)
    assert served.counting.told(REQUESTS) == {
        ("0", "cluster.local.", "", "udp", "1", "A"): 1,
        ("0", "cluster.local.", "", "tcp", "2", "A"): 1,
        ("1", "cluster.local.", "", "udp", "2", "A"): 1,
    }


def test_sizes_and_the_do_bit_are_those_of_the_messages(served: Served) -> None:
    queries = [query(WEB), query("nope.cluster.local"), query(WEB, edns=opt(flags=DO)), query("a.who.test", "TXT")]
    replies = [served.ask(octets) for octets in queries * 2]
    told = dict.fromkeys((REQUEST_SIZE, RESPONSE_SIZE), 0)
    served.counting.tally.fold()
    for sample, count in served.counting.layout.samples(served.counting.words).items():
        if sample.name in told and sample.bucket == SUM:
            told[sample.name] += count
    assert told[REQUEST_SIZE] == 2 * sum(map(len, queries))
    assert told[RESPONSE_SIZE] == sum(len(reply or b"") for reply in replies)
    assert served.counting.told(DO_REQUESTS) == {("0", "cluster.local.", ""): 2}


def test_an_answer_from_outside_is_forwards_first_and_then_a_hit(served: Served) -> None:
    pending = served.pend(query(WWW))
    pending.finish(answering(pending.ask, f"{WWW}. 300 A 192.0.2.80", keep=60))
    served.dig(WWW)
    served.dig(WWW)
    assert served.counting.told(RESPONSES) == {
        ("0", ".", "", "NOERROR", "forward"): 1,
        ("0", ".", "", "NOERROR", "cache"): 2,
    }
    assert served.counting.told(CACHE_HITS) == {("0", "success", ".", ""): 2}


def test_what_has_to_wait_is_timed_by_itself(served: Served) -> None:
    meter = served.counting.tally.meter(0, True, 4)
    over_tcp = MeteredResponder(served.responder, meter)
    assert isinstance(over_tcp.respond(query(WEB), CLIENT, True), bytes)
    pending = over_tcp.respond(query(WWW), CLIENT, True)
    assert isinstance(pending, Pending)
    assert sum(meter.times[:-1]) == 1
    assert sum(meter.late.times) == 0
    pending.finish(answering(pending.ask, f"{WWW}. 300 A 192.0.2.80"))
    assert sum(meter.late.times[:-1]) == 1
    assert meter.late.times[-1] > 0
    served.counting.tally.fold()
    assert _observed(served, DURATION) == 2
    assert served.counting.told(REQUESTS) == {
        ("0", "cluster.local.", "", "tcp", "1", "A"): 1,
        ("0", ".", "", "tcp", "1", "A"): 1,
    }


def test_silence_is_no_reply_and_takes_no_time(served: Served) -> None:
    meter = served.counting.tally.meter(0, True, 4)
    assert MeteredResponder(served.responder, meter).respond(b"junk", CLIENT, True) is None
    assert sum(meter.times[:-1]) == 0


def test_a_pending_query_is_timed_from_when_it_is_handed_over(served: Served) -> None:
    meter = served.counting.tally.meter(0, False, 4)
    pending = served.pend(query(WWW))
    waiting = timed(pending, meter)
    assert waiting.ask is pending.ask
    waiting.finish(answering(pending.ask, f"{WWW}. 300 A 192.0.2.80"))
    assert sum(meter.times[:-1]) == 1
