"""Denials: one for all names of a length, its TTL, the serial of now, notes."""

from __future__ import annotations

from struct import pack

import pytest

from kdns.answer.spec import FileSpec, SiteSpec, Specification
from kdns.wire.name import from_text
from tests.support.engines import CLUSTER, Served, cluster, files, zone_file
from tests.support.forwarding import forwarding
from tests.support.messages import opt, query
from tests.support.shop import SUBTREES, WEB, same, twice
from tests.support.subtrees import alias, owner, service


@pytest.fixture
def served() -> Served:
    return cluster(*SUBTREES)


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


def test_a_cluster_that_passes_on_its_reverse_names_denies_the_others_from_what_is_kept() -> None:
    """The block of every default Corefile."""
    served = forwarding(*SUBTREES)
    names = [f"{letter}.www.example.com.svc.cluster.local" for letter in "abc"]
    assert {served.dig(name).rcode for name in names} == {"NXDOMAIN"}
    questions = [from_text(name) + b"\0\1\0\1" for name in names]
    assert None not in [served.responder.kept(question, 0, False) for question in questions]
    assert served.responder.kept(from_text("9.9.9.9.in-addr.arpa") + b"\0\x0c\0\1", 0, False) is None


def test_a_denial_that_does_not_fit_without_edns_is_not_shared_with_queries_that_have_none() -> None:
    """The names of this zone's SOA take 368 octets, and the question another 200."""
    first, second = (".".join([fill * 60] * 3) for fill in "ab")
    head = f"$TTL 60\n@ SOA {first}.test. {second}.test. 7 3600 600 86400 300\n@ NS ns\nns A 192.0.2.1\n"
    qname = ".".join(["q" * 60] * 3) + ".example.org"
    forms = [(b"", 512), (opt(4096), 1232), (opt(512), 512), (opt(), 1232)]
    for order in (forms, forms[::-1]):
        site = SiteSpec((from_text("example.org"),), (0,))
        served = Served(
            Specification((FileSpec(from_text("example.org")),), (site,), ((0,),)), [zone_file("", head=head)]
        )
        for edns, limit in order * 2:
            reply = served.dig(qname, edns=edns)
            assert len(reply.wire) <= limit
            assert ("TC" in reply.flags) is (limit == 512)
            assert bool(reply.authority) is (limit > 512)
