"""From a query's octets to a reply's (RFC 1035, 6891, 7873, 8482, 8906, 8914, 9619), kept or not."""

from __future__ import annotations

from collections import Counter
from random import Random
from struct import pack

import pytest

from kdns.answer.engine import Engine
from kdns.answer.responder import Responder
from kdns.answer.site import Site
from kdns.answer.spec import ClusterSpec, SiteSpec, Specification
from kdns.observe.counters import DROPPED, labels, new_counts
from kdns.wire.iana import EDE, Opcode
from kdns.wire.name import from_text
from kdns.zone.cluster import PodNames
from tests.support.engines import CLIENT, CLUSTER, Served, cluster, files, image
from tests.support.messages import (
    AD,
    ANY,
    CD,
    COOKIE,
    DO,
    RD,
    Answer,
    message,
    mixed_case,
    opt,
    option,
    query,
    question,
)
from tests.support.subtrees import alias, headless, host_sets, owner, service

WEB = "web.shop.svc.cluster.local"
SUBTREES = (
    service("web.shop", "10.0.0.1", "2001:db8::1", hosts=host_sets("10.1.0.9")),
    headless("db.shop", "10.1.0.1=db-0 10.1.0.2=db-1 10.1.0.3"),
    headless("crowd.shop", " ".join(f"10.2.{at >> 8}.{at & 255}" for at in range(300))),
    headless("nobody.shop"),
    service("pending.shop", note="the Service has no clusterIP yet"),
    alias("out.shop", "www.example.org"),
    alias("in.shop", WEB),
    alias("dangling.shop", "nope.shop.svc.cluster.local"),
    alias("loop.shop", "loop.shop.svc.cluster.local"),
)


@pytest.fixture
def served() -> Served:
    return cluster(*SUBTREES)


def twice(served: Served, octets: bytes, tcp: bool = False) -> list[Answer]:
    """The replies of an empty table, and then of one that may have kept the first."""
    served.responder.publish()
    replies = [served.ask(octets, tcp), served.ask(octets, tcp)]
    assert replies[0] is not None
    assert replies[1] is not None
    return [Answer(reply) for reply in replies if reply]


def same(one: Answer, other: Answer) -> bool:
    return (one.rcode, one.flags, one.sections(), one.payload, one.ede, one.question) == (
        other.rcode, other.flags, other.sections(), other.payload, other.ede, other.question,
    )


# Answers


@pytest.mark.parametrize(
    ("qname", "qtype", "rcode", "answer"),
    [
        (WEB, "A", "NOERROR", ["10.0.0.1"]),
        (WEB, "AAAA", "NOERROR", ["2001:db8::1"]),
        (WEB, "MX", "NOERROR", []),
        ("_tcp.web.shop.svc.cluster.local", "A", "NOERROR", []),
        ("svc.cluster.local", "TXT", "NOERROR", []),
        ("cluster.local", "TXT", "NOERROR", []),
        ("shop.svc.cluster.local", "A", "NOERROR", []),
        ("nope.shop.svc.cluster.local", "A", "NXDOMAIN", []),
        ("nope.shop.svc.cluster.local", "SOA", "NXDOMAIN", []),
        ("out.shop.svc.cluster.local", "A", "NOERROR", ["www.example.org."]),
        ("out.shop.svc.cluster.local", "HTTPS", "NOERROR", ["www.example.org."]),
        ("in.shop.svc.cluster.local", "A", "NOERROR", [f"{WEB}.", "10.0.0.1"]),
        ("in.shop.svc.cluster.local", "CNAME", "NOERROR", [f"{WEB}."]),
        ("dangling.shop.svc.cluster.local", "A", "NXDOMAIN", ["nope.shop.svc.cluster.local."]),
        ("loop.shop.svc.cluster.local", "A", "NOERROR", ["loop.shop.svc.cluster.local."]),
        ("dns-version.cluster.local", "TXT", "NOERROR", ['"1.1.0"']),
        ("1.0.0.10.in-addr.arpa", "PTR", "NOERROR", [f"{WEB}."]),
        ("0.0.10.in-addr.arpa", "PTR", "NOERROR", []),
        ("9.0.0.10.in-addr.arpa", "PTR", "NXDOMAIN", []),
    ],
)
@pytest.mark.parametrize("tcp", [False, True])
def test_answers_are_authoritative_and_the_same_when_asked_again(
    served: Served, qname: str, qtype: str, rcode: str, answer: list[str], tcp: bool
) -> None:
    for reply in twice(served, query(qname, qtype, ident=0xBEEF), tcp):
        assert (reply.ident, reply.rcode, reply.rdata) == (0xBEEF, rcode, answer)
        assert reply.flags == {"QR", "AA", "RD"}
        denied = rcode == "NXDOMAIN" or not answer
        assert bool(reply.soa) is denied


def test_a_srv_answer_brings_the_addresses(served: Served) -> None:
    for reply in twice(served, query("_http._tcp.web.shop.svc.cluster.local", "SRV")):
        assert reply.rdata == [f"0 50 80 {WEB}."]
        assert reply.additional == [f"{WEB}. 5 A 10.0.0.1", f"{WEB}. 5 AAAA 2001:db8::1"]


def test_the_soa_and_the_name_servers_of_the_apex(served: Served) -> None:
    assert served.dig("cluster.local", "SOA").rdata == [
        "ns.dns.cluster.local. hostmaster.cluster.local. 1000 7200 1800 86400 5"
    ]
    reply = served.dig("cluster.local", "NS")
    assert reply.rdata == ["ns.dns.cluster.local."]
    assert reply.additional == ["ns.dns.cluster.local. 5 A 192.0.2.53"]


# Header and refusals


@pytest.mark.parametrize(
    ("qname", "qtype", "qclass", "code", "text"),
    [
        ("www.example.org", "A", 1, EDE.NOT_AUTHORITATIVE, "name is in no zone of this server"),
        (".", "NS", 1, EDE.NOT_AUTHORITATIVE, "name is in no zone of this server"),
        (WEB, "A", 3, EDE.NOT_SUPPORTED, "only class IN is served"),
        (WEB, "A", 255, EDE.NOT_SUPPORTED, "only class IN is served"),
        ("version.bind", "TXT", 3, EDE.NOT_SUPPORTED, "only class IN is served"),
        ("cluster.local", "AXFR", 1, EDE.PROHIBITED, "zone transfer is not allowed"),
        ("cluster.local", "IXFR", 1, EDE.PROHIBITED, "zone transfer is not allowed"),
    ],
)
@pytest.mark.parametrize("tcp", [False, True])
def test_what_we_do_not_answer_is_refused_with_the_reason(
    served: Served, qname: str, qtype: str, qclass: int, code: int, text: str, tcp: bool
) -> None:
    for reply in twice(served, query(qname, qtype, qclass=qclass, edns=opt()), tcp):
        assert (reply.rcode, reply.ede, reply.flags) == ("REFUSED", [(code, text)], {"QR", "RD"})
        assert reply.counts == (1, 0, 0, 1)
    [reply, _] = twice(served, query(qname, qtype, qclass=qclass), tcp)
    assert (reply.rcode, reply.has_edns) == ("REFUSED", False)


def test_before_data_is_loaded_nothing_is_denied() -> None:
    spec = ClusterSpec((CLUSTER,))
    served = Served(Specification((spec,), (SiteSpec((CLUSTER,), (0,)),), ((0,),)), ready=False)
    for qname in ("cluster.local", WEB, "nope.cluster.local"):
        reply = served.dig(qname, edns=opt())
        assert (reply.rcode, reply.ede) == ("SERVFAIL", [(EDE.NOT_READY, "data is not loaded yet")])
        assert "AA" not in reply.flags
    served.publish([image(*SUBTREES)])
    assert served.dig(WEB).rdata == ["10.0.0.1"]


@pytest.mark.parametrize("opcode", [Opcode.IQUERY, Opcode.STATUS, Opcode.NOTIFY, Opcode.UPDATE, 15])
def test_another_opcode_is_not_implemented(served: Served, opcode: int) -> None:
    reply = served.dig("cluster.local", "SOA", flags=opcode << 11)
    assert (reply.rcode, reply.counts) == ("NOTIMP", (0, 0, 0, 0))


@pytest.mark.parametrize(
    "octets",
    [
        message(b"", (0, 0, 0, 0)),
        message(question(WEB) * 2, (2, 0, 0, 0)),
        message(b"\xc0\x0c\0\x01\0\x01"),
        query(WEB) + b"x",
        query(WEB, edns=opt() + opt()),
        message(question(WEB) + opt() + opt(), (1, 0, 0, 2)),
        query(WEB, edns=opt(options=b"\0\x0a\0")),
        message(question(WEB), (1, 0, 0, 1)),
    ],
)
def test_a_malformed_query_is_told_so_and_never_kept(served: Served, octets: bytes) -> None:
    served.dig(WEB)
    served.dig(WEB, edns=opt())
    before = served.kept
    for reply in [served.ask(octets), served.ask(octets)]:
        assert reply is not None
        assert (reply[:2], reply[2] & 0x80, reply[3] & 15) == (octets[:2], 0x80, 1)
        assert Answer(reply).rcode == "FORMERR"
    assert served.kept == before


@pytest.mark.parametrize("octets", [b"", b"\x12", query(WEB)[:11], query(WEB, flags=0x8000), bytes([0xFF]) * 40])
def test_silence_is_for_what_is_no_query(served: Served, octets: bytes) -> None:
    assert served.ask(octets) is None
    assert served.counts[DROPPED] == 1


# EDNS


def test_badvers_tells_our_version(served: Served) -> None:
    for reply in twice(served, query(WEB, edns=opt(version=1))):
        assert (reply.rcode, reply.answer, reply.message.edns) == ("BADVERS", [], 0)


def test_edns_is_answered_only_where_it_was_used(served: Served) -> None:
    assert not served.dig(WEB).has_edns
    reply = served.dig(WEB, edns=opt(4096, flags=DO))
    assert (reply.payload, reply.dnssec_ok, reply.options) == (1232, True, [])
    assert not served.dig(WEB, edns=opt(4096)).dnssec_ok


@pytest.mark.parametrize(
    ("asked", "limit"), [(0, 512), (512, 512), (1000, 1000), (1232, 1232), (4096, 1232), (65535, 1232)]
)
def test_a_udp_reply_is_as_long_as_the_client_and_we_allow(served: Served, asked: int, limit: int) -> None:
    for reply in twice(served, query("crowd.shop.svc.cluster.local", edns=opt(asked))):
        assert len(reply.wire) <= limit
        assert "TC" in reply.flags
        assert len(reply.answer) > 20


def test_a_large_answer_is_whole_over_tcp(served: Served) -> None:
    for reply in twice(served, query("crowd.shop.svc.cluster.local"), tcp=True):
        assert ("TC" in reply.flags, len(set(reply.answer))) == (False, 300)


def test_srv_additional_that_does_not_fit_does_not_truncate(served: Served) -> None:
    served.apply(headless("many.shop", " ".join(f"10.4.0.{at}" for at in range(8))))
    for reply in twice(served, query("_http._tcp.many.shop.svc.cluster.local", "SRV")):
        assert "TC" not in reply.flags
        assert len(reply.answer) == 8
        assert len(reply.additional) < 8


@pytest.mark.parametrize("bufsize", [512, 4096])
def test_the_cap_is_the_blocks(bufsize: int) -> None:
    served = cluster(*SUBTREES, bufsize=bufsize)
    reply = served.dig("crowd.shop.svc.cluster.local", edns=opt(65535))
    assert reply.payload == bufsize
    assert bufsize - 16 < len(reply.wire) <= bufsize


OPTIONS = [
    option(COOKIE, b"ABCDabcd"),
    option(COOKIE, b"\0" * 8),
    option(COOKIE, b"ABCDabcd" * 2),
    option(3, b""),
    option(12, bytes(40)),
    option(8, b"\0\1\x18\0\x0a\0\0"),
    option(COOKIE, b"ABCDabcd") + option(3, b""),
    option(3, b"") + option(COOKIE, b"ABCDabcd"),
    option(65001, b"\0\x0c\0\x0a\0\x08ABCDabcd"),
]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize(
    "qname", [WEB, "nope.cluster.local", "db.shop.svc.cluster.local", "pending.shop.svc.cluster.local"]
)
def test_options_change_nothing_and_share_the_kept_reply(served: Served, qname: str, options: bytes) -> None:
    plain = served.dig(qname, edns=opt())
    before = served.kept, len(served.responder.table.denials)
    for _ in range(3):
        mixed = mixed_case(qname)
        assert same(served.dig(mixed, edns=opt(options=options)), served.dig(mixed, edns=opt()))
    assert same(served.dig(qname, edns=opt(options=options)), plain)
    assert (served.kept, len(served.responder.table.denials)) == before


def test_a_query_that_ends_like_a_cookie_is_not_taken_for_one(served: Served) -> None:
    tail = b"\0\x0c\0\x0a\0\x08ABCDabcd"
    for edns in (opt(), b""):
        served.dig(WEB, edns=edns)
        octets = query(WEB, edns=edns)
        for cut in (0, 2, 4):
            reply = served.ask(octets[: len(octets) - cut] + tail)
            fresh = cluster(*SUBTREES).ask(octets[: len(octets) - cut] + tail)
            assert reply == fresh


# Kept replies


def test_the_case_of_the_question_is_the_clients(served: Served) -> None:
    for qname in (WEB, "nope.shop.svc.cluster.local", "cluster.local", "1.0.0.10.in-addr.arpa", "www.example.org"):
        for text in (qname, qname.upper(), mixed_case(qname), qname):
            reply = served.dig(text)
            assert reply.wire[12 : 12 + len(text) + 2] == from_text(text)
            assert all(line.startswith(f"{text}. ") for line in reply.answer)


def test_case_and_id_do_not_make_another_kept_reply(served: Served) -> None:
    for ident, text in enumerate((WEB, WEB.upper(), mixed_case(WEB))):
        served.dig(text, ident=ident)
    assert served.kept == 1


@pytest.mark.parametrize("flags", [0, RD, CD, AD, RD | AD, RD | AD | CD, 0x0040, 0x0200, 0x0041, 0x4B00 & 0x07FF])
def test_flags_are_answered_as_if_nothing_were_kept(served: Served, flags: int) -> None:
    for other in (0, RD, CD, AD, RD | AD, 0x0061, 0x0041):
        served.dig(WEB, flags=other)
        served.dig("nope.cluster.local", flags=other)
    for qname in (WEB, "nope.cluster.local"):
        assert same(served.dig(qname, flags=flags), cluster(*SUBTREES).dig(qname, flags=flags))


@pytest.mark.parametrize(("one", "other"), [(65, 97), (0x4101, 0x6101), (0x0142, 0x0162), (90, 122)])
def test_types_that_fold_to_one_another_do_not_share_a_reply(served: Served, one: int, other: int) -> None:
    """Type 65, HTTPS, is the octet "A", and 97 is "a"."""
    for qname in (WEB, "in.shop.svc.cluster.local", "nope.cluster.local"):
        for _ in range(2):
            for qtype in (one, other):
                reply = served.dig(qname, qtype)
                assert reply.message.question[0].rdtype == qtype
                assert same(reply, cluster(*SUBTREES).dig(qname, qtype))


@pytest.mark.parametrize(("one", "other"), [(0x0241, 0x0261), (0x0441, 0x0461), (0x0358, 0x0378), (0x0558, 0x0578)])
def test_payload_sizes_that_fold_to_one_another_do_not_share_a_reply(one: int, other: int) -> None:
    served = cluster(*SUBTREES, bufsize=4096)
    for size in (one, other, one, other):
        reply = served.dig("crowd.shop.svc.cluster.local", edns=opt(size))
        fresh = cluster(*SUBTREES, bufsize=4096).dig("crowd.shop.svc.cluster.local", edns=opt(size))
        assert len(reply.wire) == len(fresh.wire) <= size


@pytest.mark.parametrize("edns", [b"", opt(0x0578), opt(0x0241), opt(1232)])
@pytest.mark.parametrize("qtype", [1, 65, 97])
def test_a_kept_reply_is_never_given_to_a_query_with_junk_behind_it(served: Served, edns: bytes, qtype: int) -> None:
    octets = query(WEB, qtype, edns=edns)
    for table in (served.responder.table, served.responder.table):
        served.ask(octets, table is served.responder.table)
        for key in list(table.current):
            reply = served.ask(octets[:2] + key + b"\0" * (len(key) < 30), table is served.responder.table)
            if len(key) != len(octets) - 2:
                assert reply is not None
                assert reply[3] & 15 == 1, "FORMERR"


def test_only_replies_that_can_be_asked_for_again_are_kept() -> None:
    served = cluster(*SUBTREES, pod_names=PodNames.INSECURE)
    for at in range(100):
        served.dig(f"10-0-0-{at}.shop.pod.cluster.local")
        served.dig(f"name-{at}.cluster.local")
        served.dig(f"name-{at}.shop.svc.cluster.local", edns=opt())
        served.dig(f"{at}.9.9.10.in-addr.arpa", "PTR")
        served.dig("www.example.org", at)
        served.dig(WEB, qclass=at + 2)
        served.dig("dangling.shop.svc.cluster.local", flags=RD | (at & 1) * CD)
    assert served.kept == 0
    assert len(served.responder.table.denials) < 30


def test_a_failure_is_reported_and_answered_with_servfail() -> None:
    class Broken(Site):
        def zone_of(self, qname: bytes) -> None:
            raise RuntimeError("bug")

    failures: list[tuple[str, bytes]] = []
    broken = Broken((CLUSTER,), (), False, False, 1232)
    counts = new_counts()
    responder = Responder((broken,), counts, Random(0), lambda _: [b""], lambda e, m: failures.append((str(e), m)))
    responder.publish()
    octets = query(WEB, edns=opt())
    reply = responder.respond(octets, CLIENT, False)
    assert reply is not None
    assert (Answer(reply).rcode, Answer(reply).ede) == ("SERVFAIL", [(0, "kdns failed to answer; its log says why")])
    assert failures == [("bug", octets)]
    assert len(responder.table) == 0


# Denials


@pytest.mark.parametrize("edns", [b"", opt()])
@pytest.mark.parametrize("tcp", [False, True])
def test_names_of_one_length_share_a_denial_and_no_label(served: Served, edns: bytes, tcp: bool) -> None:
    names = [f"{chr(97 + at)}{at:03}-secret.shop.svc.cluster.local" for at in range(20)]
    for qname in names:
        reply = served.dig(qname, edns=edns, tcp=tcp)
        assert (reply.rcode, reply.soa) == ("NXDOMAIN", "cluster.local. 5 1000 5")
        assert reply.question == f"{qname}. IN A"
        assert reply.wire.count(b"secret") == 1
        assert same(reply, cluster(*SUBTREES).dig(qname, edns=edns, tcp=tcp))
    table = served.responder.table
    assert len(table.denials) == 1


@pytest.mark.parametrize("length", [*range(1, 8), *range(55, 70), *range(120, 135), 190, 200, 239])
def test_a_denial_is_shared_at_every_length(served: Served, length: int) -> None:
    """Where the name left of the zone takes `length` octets besides its first length octet."""
    def name(fill: str) -> str:
        parts = [fill * 63] * (length // 64) + [fill * (length % 64 or 1)]
        return ".".join([*parts, "cluster.local"])

    for fill in "abcd":
        reply = served.dig(name(fill))
        assert (reply.rcode, reply.soa) == ("NXDOMAIN", "cluster.local. 5 1000 5")
        assert reply.question == f"{name(fill)}. IN A"
    assert len(served.responder.table.denials) == 1


def test_a_shared_denial_does_not_point_into_labels_that_differ(served: Served) -> None:
    """The SOA record names ns.dns and hostmaster below the apex; so may the question."""
    for label in ("hostmaster", "x.ns.dns", "xxxxmaster", "hostmaster"):
        reply = served.dig(f"{label}.cluster.local")
        assert reply.authority == [
            "cluster.local. 5 SOA ns.dns.cluster.local. hostmaster.cluster.local. 1000 7200 1800 86400 5"
        ]


def test_names_of_one_length_are_told_apart_by_what_exists(served: Served) -> None:
    """As long as `web`, and denied until it exists."""
    assert served.dig("foo.shop.svc.cluster.local").rcode == "NXDOMAIN"
    assert served.dig(WEB).rcode == "NOERROR"
    served.apply(service("foo.shop", "10.0.0.77"))
    assert served.dig("foo.shop.svc.cluster.local").rdata == ["10.0.0.77"]
    assert served.dig("bar.shop.svc.cluster.local").rcode == "NXDOMAIN"
    served.apply(removed=[owner("foo.shop")])
    assert served.dig("foo.shop.svc.cluster.local").rcode == "NXDOMAIN"


def test_denials_in_zones_of_one_length_name_their_own_zone() -> None:
    served = files(("example.org", ""), ("example.net", ""))
    for _ in range(2):
        assert served.dig("nope.example.org").soa.startswith("example.org. ")
        assert served.dig("nope.example.net").soa.startswith("example.net. ")


@pytest.mark.parametrize(
    ("qname", "soa"),
    [
        (WEB, "cluster.local. 5 1000 5"),
        ("nope.shop.svc.cluster.local", "cluster.local. 5 1000 5"),
        ("nobody.shop.svc.cluster.local", "cluster.local. 1 1000 5"),
        ("pod-0.nobody.shop.svc.cluster.local", "cluster.local. 1 1000 5"),
        ("_http._tcp.nobody.shop.svc.cluster.local", "cluster.local. 1 1000 5"),
        ("9.9.9.10.in-addr.arpa", "in-addr.arpa. 5 1000 5"),
    ],
)
def test_a_denial_lasts_five_seconds_or_one_where_hosts_are_awaited(qname: str, soa: str) -> None:
    served = cluster(*SUBTREES, ttl=30)
    for _ in range(2):
        assert served.dig(qname, "TXT").soa == soa


def test_a_denial_never_lasts_longer_than_an_answer() -> None:
    served = cluster(*SUBTREES, ttl=0)
    assert served.dig(WEB).answer == [f"{WEB}. 0 A 10.0.0.1"]
    for qname in ("nope.cluster.local", "nobody.shop.svc.cluster.local", "svc.cluster.local"):
        assert served.dig(qname).soa == "cluster.local. 0 1000 0"


def test_the_process_wide_negative_ttl_can_be_lowered() -> None:
    served = cluster(*SUBTREES, ttl=30, negative_ttl=2)
    assert served.dig("nope.cluster.local").soa == "cluster.local. 2 1000 2"
    assert served.dig("nobody.shop.svc.cluster.local").soa == "cluster.local. 1 1000 2"


@pytest.mark.parametrize("edns", [b"", opt()])
def test_the_serial_of_now_is_in_kept_denials(served: Served, edns: bytes) -> None:
    lefts = ("web.shop.svc", "nope", "nobody.shop.svc", "svc", "pending.shop.svc")
    names = [f"{left}.cluster.local" for left in lefts]
    for serial in (1001, 1002, 2**31, 2**32 - 1, 0):
        served.apply(service("other.shop", "10.0.0.99"), serial=serial)
        for _ in range(2):
            for qname in names:
                assert served.dig(qname, "TXT", edns=edns).soa.split()[2] == str(serial)


def test_a_change_of_the_serial_drops_no_kept_denial(served: Served) -> None:
    served.dig(WEB, "TXT")
    served.dig("svc.cluster.local")
    served.dig("nope.cluster.local")
    before = dict(served.responder.table.current), dict(served.responder.table.denials)
    served.apply(service("other.shop", "10.0.0.99"), serial=1001)
    assert (served.responder.table.current, served.responder.table.denials) == before
    assert served.dig(WEB, "TXT").soa == "cluster.local. 5 1001 5"


def test_a_note_on_a_denial_is_told_to_who_speaks_edns(served: Served) -> None:
    for reply in twice(served, query("pending.shop.svc.cluster.local", edns=opt())):
        assert (reply.rcode, reply.ede) == ("NOERROR", [(0, "the Service has no clusterIP yet")])
        assert reply.soa
    assert not served.dig("pending.shop.svc.cluster.local").has_edns


@pytest.mark.parametrize("note", ["x" * 10_000, "ä" * 5000])
def test_a_note_of_any_length_leaves_room_for_the_reply(note: str) -> None:
    """Notes quote what stands in manifests, which nobody has checked."""
    served = cluster(service("odd.shop", note=note))
    reply = served.dig("odd.shop.svc.cluster.local", edns=opt(512))
    assert len(reply.wire) <= 512
    assert (reply.rcode, "TC" in reply.flags, bool(reply.soa)) == ("NOERROR", False, True)
    [(_, text)] = reply.ede
    assert note.startswith(text)
    assert len(text) >= 50


def test_an_alias_to_a_headless_service_without_ready_hosts_is_denied_for_a_second(served: Served) -> None:
    served.apply(alias("to-nobody.shop", "nobody.shop.svc.cluster.local"))
    for _ in range(2):
        reply = served.dig("to-nobody.shop.svc.cluster.local")
        assert (reply.rcode, reply.soa) == ("NXDOMAIN", "cluster.local. 1 1000 5")


# ANY, whoami


def test_rfc_8482_any_is_answered_with_one_record(served: Served) -> None:
    for reply in twice(served, query(WEB, ANY)):
        assert [line.split()[2] for line in reply.answer] == ["HINFO"]
        assert reply.rdata == ['"RFC8482" ""']
    assert served.dig("nope.cluster.local", ANY).rcode == "NXDOMAIN"
    assert served.dig("svc.cluster.local", ANY).answer == []
    assert served.dig("out.shop.svc.cluster.local", ANY).rdata == ["www.example.org."]


def whoami(**more: bool) -> Served:
    site = SiteSpec((CLUSTER, from_text("who.test")), (0,), **more)
    return Served(Specification((ClusterSpec((CLUSTER,)),), (site,), ((0,),)), [image(*SUBTREES)])


def test_the_any_directive_answers_without_a_lookup() -> None:
    served = whoami(any_hinfo=True)
    for qname in (WEB, "nope.cluster.local", "x.who.test"):
        assert served.dig(qname, ANY).rdata == ['"RFC8482" ""']
    assert served.dig(WEB).rdata == ["10.0.0.1"]


@pytest.mark.parametrize(("tcp", "owner_label"), [(False, "_udp"), (True, "_tcp")])
def test_whoami_tells_the_client_its_address_where_no_zone_answers(tcp: bool, owner_label: str) -> None:
    served = whoami(whoami=True)
    for _ in range(2):
        reply = served.dig("x.who.test", "A", tcp=tcp)
        assert (reply.rcode, reply.answer, reply.flags) == ("NOERROR", [], {"QR", "AA", "RD"})
        assert reply.additional == ["x.who.test. 0 A 192.0.2.99", f"{owner_label}.x.who.test. 0 SRV 0 0 5353 ."]
    assert served.kept == 0
    assert served.dig("nope.cluster.local").rcode == "NXDOMAIN"
    assert whoami().dig("x.who.test").rcode == "REFUSED"


def test_whoami_tells_an_ipv6_client_too() -> None:
    served = whoami(whoami=True)
    reply = served.responder.respond(query("who.test"), (bytes(15) + b"\x01", 9), False)
    assert reply is not None
    assert Answer(reply).additional == ["who.test. 0 AAAA ::1", "_udp.who.test. 0 SRV 0 0 9 ."]


def test_whoami_of_the_longest_name_makes_no_name_that_is_too_long() -> None:
    served = whoami(whoami=True)
    qname = ".".join(["a" * 63] * 3 + ["a" * 51, "who.test"])
    assert len(from_text(qname)) == 254
    reply = served.dig(qname)
    assert reply.additional == [f"{qname}. 0 A 192.0.2.99"]


# Rotation through kept replies


@pytest.mark.parametrize("edns", [b"", opt(), opt(options=option(COOKIE, bytes(8)))])
@pytest.mark.parametrize("tcp", [False, True])
def test_over_ten_thousand_answers_every_address_is_first_equally_often(
    served: Served, edns: bytes, tcp: bool
) -> None:
    octets = query("db.shop.svc.cluster.local", edns=edns)
    firsts: Counter[bytes] = Counter()
    for _ in range(10_000):
        reply = served.ask(octets, tcp)
        assert reply is not None
        firsts[reply[len(octets) - len(edns) + 12 :][:4]] += 1
    assert set(firsts) == {bytes([10, 1, 0, at]) for at in (1, 2, 3)}
    assert max(firsts.values()) - min(firsts.values()) <= 1


def test_clients_that_ask_in_turn_for_two_types_meet_all_addresses(served: Served) -> None:
    """A rotation belongs to one kept reply: asking AAAA in between does not skip addresses."""
    firsts: Counter[str] = Counter()
    for _ in range(30):
        firsts[served.dig("db.shop.svc.cluster.local").rdata[0]] += 1
        served.dig("db.shop.svc.cluster.local", "AAAA")
    assert set(firsts.values()) == {10}


# Counters


def test_replies_are_counted_by_protocol_type_and_rcode(served: Served) -> None:
    served.dig(WEB)
    served.dig(WEB)
    served.dig(WEB, "AAAA", tcp=True)
    served.dig("nope.cluster.local", "NAPTR")
    served.dig("www.example.org", 65)
    counted = {tuple(labels(at).values()): count for at, count in enumerate(served.counts[:DROPPED]) if count}
    assert counted == {
        ("udp", "A", "NOERROR"): 2,
        ("tcp", "AAAA", "NOERROR"): 1,
        ("udp", "other", "NXDOMAIN"): 1,
        ("udp", "HTTPS", "REFUSED"): 1,
    }


# Zone files


def test_a_name_in_a_zone_file_is_denied_with_the_files_soa() -> None:
    served = files(("example.org", "www A 192.0.2.7\nhost.deep A 192.0.2.8\n"))
    for _ in range(2):
        assert served.dig("www.example.org").rdata == ["192.0.2.7"]
        assert served.dig("nope.example.org").soa == "example.org. 300 7 300"
        assert served.dig("deep.example.org").soa == "example.org. 300 7 300"


def test_octets_that_look_like_a_denied_name_are_answered_for_what_they_are() -> None:
    """Malformed ones, and a name with the apex inside one label, as long as one that was denied before."""
    for served, apex in ((cluster(*SUBTREES), CLUSTER), (files(("example.org", "")), from_text("example.org"))):
        served.dig(b"\x3f" + b"a" * 63 + b"\x3f" + b"a" * 63 + apex)
        served.dig(b"\x7f".replace(b"\x7f", b"\x3f") + b"a" * 63 + apex)
        for odd in (b"\x7f" + b"a" * 127 + apex, b"\x40" + b"a" * 63 + apex, b"\xbf" + b"a" * 63 + apex):
            reply = served.ask(query(odd))
            assert reply is not None
            assert reply[3] & 15 == 1


@pytest.mark.parametrize("of", ["cluster.local", "in-addr.arpa", "example.org"])
def test_a_name_with_a_zone_inside_one_label_is_not_in_the_zone(of: str) -> None:
    served = files((of, "")) if of == "example.org" else cluster(*SUBTREES)
    apex = from_text(of)
    inside = bytes([len(apex) + 1]) + b"xx" + apex[:-1] + b"\0"
    assert served.dig(b"\x02xx" + apex).rcode == "NXDOMAIN"
    assert served.dig(inside).rcode == "REFUSED"
    assert len(inside) == len(b"\x02xx" + apex)
    assert served.dig(pack("B", 2) + b"xx" + apex).rcode == "NXDOMAIN"


def test_two_listeners_answer_from_their_own_blocks() -> None:
    sites = (SiteSpec((CLUSTER,), (0,)), SiteSpec((from_text("who.test"),), whoami=True))
    specification = Specification((ClusterSpec((CLUSTER,)),), sites, ((0,), (1,), (0, 1)))
    engine = Engine(specification, new_counts(), Random(0), _raise)
    part = engine.new_image()
    part.apply(image(*SUBTREES))
    engine.publish(part)
    rcodes = []
    for listener in range(3):
        for qname in (WEB, "who.test"):
            reply = engine.responder(listener).respond(query(qname), CLIENT, False)
            assert reply is not None
            rcodes.append(Answer(reply).rcode)
    assert rcodes == ["NOERROR", "REFUSED", "REFUSED", "NOERROR", "NOERROR", "NOERROR"]


def _raise(error: Exception, message: bytes) -> None:
    raise error


@pytest.mark.parametrize(
    ("head", "rcode"),
    [
        (b"\x28\0\0\1\0\0\0\0\0\1", "NOTIMP"),
        (b"\1\0\0\0\0\0\0\0\0\1", "FORMERR"),
        (b"\1\0\0\2\0\0\0\0\0\1", "FORMERR"),
        (b"\1\0\0\1\0\0\0\0\0\1", "REFUSED"),
    ],
)
def test_rfc_6891_6_1_1_whatever_is_wrong_a_query_with_opt_is_answered_with_one(
    served: Served, head: bytes, rcode: str
) -> None:
    asked = query("www.elsewhere.test")[12:] * head[3]
    reply = served.ask(b"\0\1" + head + asked + opt())
    assert reply is not None
    assert (Answer(reply).rcode, Answer(reply).payload) == (rcode, 1232)


def test_badvers_tells_our_payload_size_too(served: Served) -> None:
    reply = served.dig(WEB, edns=b"\0\0\x29\x04\xd0\0\1\0\0\0\0")
    assert (reply.rcode, reply.payload) == ("BADVERS", 1232)
