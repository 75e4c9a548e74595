"""Master files that can be read: all that RFC 1035 section 5 allows."""

from __future__ import annotations

from functools import partial

import pytest

from kdns.wire.iana import RRType
from kdns.wire.name import from_text
from kdns.zone.masterfile import MAX_INCLUDE_DEPTH, MasterFile, ZoneFileError, read
from tests.support.linework import lines_run
from tests.support.zonetext import HEAD, lines, name

ORIGIN = from_text("example.org")
HEAD_RRSETS = 3


def load(text: str, files: dict[str, str] | None = None, head: str = HEAD) -> MasterFile:
    return read(head + text, ORIGIN, "zones/test.zone", files.__getitem__ if files is not None else None)


def records(text: str, files: dict[str, str] | None = None) -> list[str]:
    """The records of a text, without those of the head."""
    head = lines(load("").rrsets)
    return [line for line in lines(load(text, files).rrsets) if line not in head]


def test_the_head_alone_is_a_zone() -> None:
    found = load("")
    assert found.origin == ORIGIN
    assert found.warnings == ()
    assert lines(found.rrsets) == [
        "example.org. 3600 SOA ns.example.org. hostmaster.example.org. 7 3600 600 86400 300",
        "example.org. 3600 NS ns.example.org.",
        "ns.example.org. 3600 A 192.0.2.1",
    ]


@pytest.mark.parametrize(
    ("text", "record"),
    [
        ("www A 192.0.2.9", "www.example.org. 3600 A 192.0.2.9"),
        ("www.example.org. A 192.0.2.9\n", "www.example.org. 3600 A 192.0.2.9"),
        ("www 60 A 192.0.2.9\n", "www.example.org. 60 A 192.0.2.9"),
        ("www 60 IN A 192.0.2.9\n", "www.example.org. 60 A 192.0.2.9"),
        ("www IN 60 A 192.0.2.9\n", "www.example.org. 60 A 192.0.2.9"),
        ("www in 1h30m a 192.0.2.9\n", "www.example.org. 5400 A 192.0.2.9"),
        ("www 2147483647 A 192.0.2.9\n", "www.example.org. 2147483647 A 192.0.2.9"),
        ("www 0 A 192.0.2.9\n", "www.example.org. 0 A 192.0.2.9"),
        ("www\tA\t\t192.0.2.9 ; a comment\n", "www.example.org. 3600 A 192.0.2.9"),
        ("www A ( 192.0.2.9 )\n", "www.example.org. 3600 A 192.0.2.9"),
        ("www ( A\n 192.0.2.9 ; one\n\n ; two\n)\n", "www.example.org. 3600 A 192.0.2.9"),
        ("( www A 192.0.2.9 )\n", "www.example.org. 3600 A 192.0.2.9"),
        ("www A 192.0.2.9\r\n", "www.example.org. 3600 A 192.0.2.9"),
        ("@ A 192.0.2.9\n", "example.org. 3600 A 192.0.2.9"),
        ("x MX 10 @\n", "x.example.org. 3600 MX 10 example.org."),
        ("x MX 10 mail.example.net.\n", "x.example.org. 3600 MX 10 mail.example.net."),
        ("_http._tcp SRV 0 0 80 ns\n", "_http._tcp.example.org. 3600 SRV 0 0 80 ns.example.org."),
        ("* A 192.0.2.9\n", "*.example.org. 3600 A 192.0.2.9"),
        (r"a\.b A 192.0.2.9", r"a\.b.example.org. 3600 A 192.0.2.9"),
        (r"\097\098 A 192.0.2.9", "ab.example.org. 3600 A 192.0.2.9"),
        (r"a\032b A 192.0.2.9", r"a\032b.example.org. 3600 A 192.0.2.9"),
        (r"\@ A 192.0.2.9", r"\@.example.org. 3600 A 192.0.2.9"),
        ('t TXT "a b" c "d;e" "f\\"g" ""\n', 't.example.org. 3600 TXT "a b" "c" "d;e" "f\\"g" ""'),
        ("t TXT grün\n", 't.example.org. 3600 TXT "gr\\195\\188n"'),
        ("h HTTPS 1 . alpn=h2,h3 port=443\n", 'h.example.org. 3600 HTTPS 1 . alpn="h2,h3" port="443"'),
        ('c CAA 0 issue "ca.example.net"\n', 'c.example.org. 3600 CAA 0 issue "ca.example.net"'),
        ("k SSHFP 1 1 0123456789abcdef0123456789abcdef01234567\n",
         "k.example.org. 3600 SSHFP 1 1 0123456789abcdef0123456789abcdef01234567"),
        ("n NAPTR 1 2 s http \"\" _http._tcp\n",
         'n.example.org. 3600 NAPTR 1 2 "s" "http" "" _http._tcp.example.org.'),
    ],
)
def test_records_are_read(text: str, record: str) -> None:
    assert records(text) == [record]


def test_a_blank_owner_is_the_last_owner() -> None:
    assert records("www A 192.0.2.9\n\n ; nothing\n   TXT x\n\tAAAA ::1\n") == [
        "www.example.org. 3600 A 192.0.2.9", 'www.example.org. 3600 TXT "x"', "www.example.org. 3600 AAAA ::1"
    ]


def test_origin_directives_may_be_absolute_or_relative() -> None:
    assert records("$ORIGIN a\nx A 192.0.2.1\n$ORIGIN b\nx A 192.0.2.2\n$ORIGIN example.org.\nx A 192.0.2.3\n") == [
        "x.a.example.org. 3600 A 192.0.2.1", "x.b.a.example.org. 3600 A 192.0.2.2", "x.example.org. 3600 A 192.0.2.3"
    ]


def test_names_in_rdata_are_relative_to_the_origin_of_their_place() -> None:
    assert records("$ORIGIN sub\nx CNAME y\n") == ["x.sub.example.org. 3600 CNAME y.sub.example.org."]


def test_without_a_ttl_directive_the_last_stated_ttl_holds() -> None:
    head = "@ 60 SOA ns.test. host.test. 1 2 3 4 5\n@ NS ns.test.\nx 90 A 192.0.2.1\ny A 192.0.2.2\n"
    assert [rrset.ttl for rrset in load("", head=head).rrsets] == [60, 60, 90, 90]


def test_without_any_ttl_the_soa_minimum_holds() -> None:
    head = "@ SOA ns.test. host.test. 1 2 3 4 77\n@ NS ns.test.\n"
    assert [rrset.ttl for rrset in load("", head=head).rrsets] == [77, 77]


def test_records_of_a_name_and_type_are_one_rrset_in_the_order_of_the_file() -> None:
    found = load("x A 192.0.2.2\ny A 192.0.2.9\nx A 192.0.2.1\nX A 192.0.2.3\n").rrsets[HEAD_RRSETS]
    assert found.rdatas == (bytes((192, 0, 2, 2)), bytes((192, 0, 2, 1)), bytes((192, 0, 2, 3)))


def test_case_is_kept_of_owners_and_of_names_in_rdata() -> None:
    found = load("WwW CNAME Host\n").rrsets[HEAD_RRSETS]
    assert found.owner == from_text("WwW.example.org")
    assert found.rdatas == (from_text("Host.example.org"),)


def test_the_case_of_the_origin_is_that_of_names_made_with_it() -> None:
    found = read(HEAD, from_text("Example.ORG"), "z", None)
    assert found.origin == name("example.org")
    assert found.rrsets[0].owner == from_text("Example.ORG")


def test_rdata_is_uncompressed_wire_form() -> None:
    rrsets = {rrset.rrtype: rrset for rrset in load("x MX 10 a.b\nx SRV 1 2 3 a.b\n").rrsets}
    assert rrsets[RRType.MX].rdatas == (b"\0\x0a" + name("a.b.example.org"),)
    assert rrsets[RRType.SRV].rdatas == (b"\0\1\0\2\0\3" + name("a.b.example.org"),)
    assert rrsets[RRType.SOA].rdatas[0].startswith(name("ns.example.org") + name("hostmaster.example.org"))


def test_a_byte_order_mark_is_no_part_of_the_first_name() -> None:
    assert read("\ufeff" + HEAD, ORIGIN, "z", None).rrsets[0].owner == ORIGIN


def test_the_root_can_be_the_origin() -> None:
    found = read("@ 60 SOA a. b. 1 2 3 4 5\n@ NS a.\ntest 60 A 192.0.2.1\n", b"\0", "root.zone", None)
    assert [rrset.owner for rrset in found.rrsets] == [b"\0", b"\0", b"\x04test\0"]


# Without an origin

def test_without_an_origin_the_owner_of_the_soa_is_the_apex() -> None:
    found = read("$ORIGIN example.org.\n" + HEAD + "$ORIGIN sub\nx A 192.0.2.1\n", None, "z", None)
    assert found.origin == ORIGIN
    assert lines(found.rrsets)[-1] == "x.sub.example.org. 3600 A 192.0.2.1"


def test_without_an_origin_an_absolute_first_owner_is_the_origin() -> None:
    text = "Example.org. 60 SOA ns host 1 2 3 4 5\nexample.org. 60 NS ns\nns 60 A 192.0.2.1\n"
    found = read(text, None, "z", None)
    assert found.origin == ORIGIN
    assert lines(found.rrsets)[-1] == "ns.Example.org. 60 A 192.0.2.1"


def test_what_dig_prints_of_a_transfer_can_be_read() -> None:
    soa = "SOA\tns.test. h.test. 1 2 3 4 5"
    text = "\n; <<>> DiG <<>> AXFR example.org\n;; global options: +cmd\n" + "\n".join(
        f"example.org.\t\t3600\tIN\t{rest}" for rest in (soa, "NS\tns.test.", "A\t192.0.2.1", soa)
    )
    found = read(text + "\n;; Query time: 0 msec\n", None, "z", None)
    assert [rrset.rrtype for rrset in found.rrsets] == [RRType.SOA, RRType.NS, RRType.A]
    assert found.warnings == ()


# $INCLUDE

def test_included_records_stand_where_the_directive_stands() -> None:
    files = {"zones/hosts": "h A 192.0.2.7\n"}
    assert records("a A 192.0.2.6\n$INCLUDE hosts ; comment\nb A 192.0.2.8\n", files) == [
        "a.example.org. 3600 A 192.0.2.6", "h.example.org. 3600 A 192.0.2.7", "b.example.org. 3600 A 192.0.2.8"
    ]


def test_an_include_may_have_an_origin_of_its_own_that_ends_with_it() -> None:
    files = {"zones/hosts": "h A 192.0.2.7\n$ORIGIN deeper\nh A 192.0.2.9\n"}
    assert records("$include hosts sub\nb A 192.0.2.8\n", files) == [
        "h.sub.example.org. 3600 A 192.0.2.7", "h.deeper.sub.example.org. 3600 A 192.0.2.9",
        "b.example.org. 3600 A 192.0.2.8",
    ]


def test_the_owner_before_an_include_is_the_last_owner_again_after_it() -> None:
    files = {"zones/hosts": " A 192.0.2.7\nh A 192.0.2.8\n"}
    assert records("x TXT y\n$INCLUDE hosts\n AAAA ::1\n", files) == [
        'x.example.org. 3600 TXT "y"', "x.example.org. 3600 A 192.0.2.7", "x.example.org. 3600 AAAA ::1",
        "h.example.org. 3600 A 192.0.2.8",
    ]


def test_a_ttl_directive_in_an_include_holds_on_after_it() -> None:
    assert records("$INCLUDE ttl\nx A 192.0.2.1\n", {"zones/ttl": "$TTL 60\n"}) == ["x.example.org. 60 A 192.0.2.1"]


def test_an_include_is_relative_to_the_file_that_it_stands_in() -> None:
    files = {
        "zones/a/b": "$INCLUDE c\n$INCLUDE ../d\n",
        "zones/a/c": "c A 192.0.2.1\n",
        "zones/a/../d": "d A 192.0.2.2\n",
    }
    assert len(records("$INCLUDE a/b\n", files)) == 2


def test_an_absolute_include_is_taken_as_it_is() -> None:
    assert len(records('$INCLUDE "/etc/hosts.zone"\n', {"/etc/hosts.zone": "c A 192.0.2.1\n"})) == 1


def test_includes_nest_as_deep_as_the_limit() -> None:
    files = {f"zones/{at}": f"$INCLUDE {at + 1}\n" for at in range(MAX_INCLUDE_DEPTH)}
    files[f"zones/{MAX_INCLUDE_DEPTH - 1}"] = "x A 192.0.2.1\n"
    assert len(records("$INCLUDE 0\n", files)) == 1
    files[f"zones/{MAX_INCLUDE_DEPTH - 1}"] = f"$INCLUDE {MAX_INCLUDE_DEPTH}\n"
    files[f"zones/{MAX_INCLUDE_DEPTH}"] = "x A 192.0.2.1\n"
    with pytest.raises(ZoneFileError, match="deep"):
        records("$INCLUDE 0\n", files)


def test_an_included_file_may_lack_a_newline_at_its_end() -> None:
    assert len(records("$INCLUDE a\nb A 192.0.2.2\n", {"zones/a": "a A 192.0.2.1"})) == 2


def test_a_quoted_directive_is_no_directive() -> None:
    with pytest.raises(ZoneFileError, match="without quotes"):
        records('"$INCLUDE" a\n', {"zones/a": ""})


# $GENERATE

@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$GENERATE 1-3 h$ A 192.0.2.$\n", [f"h{at}.example.org. 3600 A 192.0.2.{at}" for at in (1, 2, 3)]),
        ("$GENERATE 1-5/2 h$ 60 A 192.0.2.$ ; c\n", [f"h{at}.example.org. 60 A 192.0.2.{at}" for at in (1, 3, 5)]),
        ("$GENERATE 0-1 h${10,3} 60 IN A 192.0.2.${1}\n",
         ["h010.example.org. 60 A 192.0.2.1", "h011.example.org. 60 A 192.0.2.2"]),
        ("$generate 1-2 $ CNAME host$.example.net.\n",
         ["1.example.org. 3600 CNAME host1.example.net.", "2.example.org. 3600 CNAME host2.example.net."]),
    ],
)
def test_generate_makes_a_record_for_each_number(text: str, expected: list[str]) -> None:
    assert records(text) == expected


def test_records_go_on_after_a_generate_directive() -> None:
    assert len(records("$GENERATE 1-2 h$ A 192.0.2.$\nx A 192.0.2.9\n")) == 3


def hosts(count: int) -> str:
    return HEAD + "".join(f"host{at} A 10.0.{at // 250}.{at % 250}\n" for at in range(count))


def test_ten_times_the_records_are_ten_times_the_work() -> None:
    few, many = (lines_run(partial(read, hosts(count), ORIGIN, "z", None)) for count in (200, 2000))
    assert len(read(hosts(2000), ORIGIN, "z", None).rrsets) == HEAD_RRSETS + 2000
    assert many < 10.5 * few
