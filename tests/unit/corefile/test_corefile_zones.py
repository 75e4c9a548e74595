"""Keys, zone arguments and reverse zones of networks."""

from __future__ import annotations

import pytest

from kdns.corefile.errors import CorefileError, Position
from kdns.corefile.lexer import Kind, Token
from kdns.corefile.zones import Key, is_reverse, parse_key, parse_zone, parse_zones, zone_text
from kdns.wire.name import ROOT, from_text

HERE = Position("Corefile", 1, 1)


def key(text: str) -> Key:
    return parse_key(Token(Kind.WORD, text, HERE, True))


def names(zones: tuple[bytes, ...]) -> list[str]:
    return [zone_text(zone) for zone in zones]


@pytest.mark.parametrize(
    ("text", "zones", "port"),
    [
        (".", ["."], None),
        (".:53", ["."], 53),
        (":1053", ["."], 1053),
        ("example.org", ["example.org"], None),
        ("example.org.", ["example.org"], None),
        ("Example.ORG:1053", ["example.org"], 1053),
        ("dns://example.org", ["example.org"], None),
        ("DNS://example.org.:5", ["example.org"], 5),
        ("dns://.:0", ["."], 0),
        ("a:65535", ["a"], 65535),
        ("xn--gre-qla.test", ["xn--gre-qla.test"], None),
        ("_tcp.example.org", ["_tcp.example.org"], None),
        ("0/25.2.0.192.in-addr.arpa", ["0\\04725.2.0.192.in-addr.arpa"], None),
        ("10.0.0.0/24", ["0.0.10.in-addr.arpa"], None),
        ("10.0.0.0/8:53", ["10.in-addr.arpa"], 53),
        ("2001:db8::/32:1053", ["8.b.d.0.1.0.0.2.ip6.arpa"], 1053),
        ("dns://2001:db8::/32", ["8.b.d.0.1.0.0.2.ip6.arpa"], None),
    ],
)
def test_a_key_is_a_zone_and_perhaps_a_port(text: str, zones: list[str], port: int | None) -> None:
    found = key(text)
    assert (names(found.zones), found.port, found.position) == (zones, port, HERE)


@pytest.mark.parametrize(
    ("network", "zones"),
    [
        ("0.0.0.0/0", ["in-addr.arpa"]),
        ("10.0.0.0/8", ["10.in-addr.arpa"]),
        ("10.1.2.3/8", ["10.in-addr.arpa"]),
        ("10.0.0.0/15", ["0.10.in-addr.arpa", "1.10.in-addr.arpa"]),
        ("10.9.3.0/18", [f"{i}.9.10.in-addr.arpa" for i in range(64)]),
        ("10.128.0.0/9", [f"{i}.10.in-addr.arpa" for i in range(128, 256)]),
        ("192.0.2.128/31", ["128.2.0.192.in-addr.arpa", "129.2.0.192.in-addr.arpa"]),
        ("192.0.2.7/32", ["7.2.0.192.in-addr.arpa"]),
        ("::/0", ["ip6.arpa"]),
        ("2001:db8::/29", [f"{i:x}.b.d.0.1.0.0.2.ip6.arpa" for i in range(8, 16)]),
        ("2001:db8::/30", [f"{i:x}.b.d.0.1.0.0.2.ip6.arpa" for i in range(8, 12)]),
        ("2001:db8::/112", ["0." * 20 + "8.b.d.0.1.0.0.2.ip6.arpa"]),
        ("2001:db8::/115", [f"{i}." + "0." * 20 + "8.b.d.0.1.0.0.2.ip6.arpa" for i in range(2)]),
        ("2001:db8::1/128", ["1." + "0." * 23 + "8.b.d.0.1.0.0.2.ip6.arpa"]),
    ],
)
def test_a_network_is_the_reverse_zones_that_cover_it(network: str, zones: list[str]) -> None:
    assert names(parse_zone(network, HERE)) == zones


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tls://example.org", "not `tls://`"),
        ("https://example.org", "not `https://`"),
        ("grpc://example.org:443", "not `grpc://`"),
        ("quic://.", "not `quic://`"),
        ("example.org:", "a port must follow the `:`"),
        (":", "a port must follow the `:`"),
        ("example.org:dns", "`dns` is no port"),
        ("example.org:65536", "`65536` is no port"),
        ("example.org:-1", "`-1` is no port"),
        ("example.org:٥٣", "is no port"),
        ("example.org:" + "9" * 5000, "is no port"),
        ("a:b:53", "`a:b` is no zone"),
        ("127.0.0.1", "is an address, not a zone: give it to `bind`"),
        ("127.0.0.1:53", "is an address, not a zone"),
        ("[::1]:53", "is an address, not a zone"),
        ("::1", "is an address, not a zone"),
        (r"\049.0.0.1", "is an address, not a zone"),
        ("10.0.0/24", "`10.0.0/24` is no network: write it in full"),
        ("10.0.0.0/33", "is no network"),
        ("10.0.0.0/255.0.0.0", "is no network"),
        ("2001:db8::/129", "is no network"),
        ("example..org", "`example..org` is no zone: empty label"),
        ("a" * 64 + ".org", "is no zone: label longer than 63 octets"),
        ("a." * 200, "is no zone: name longer than 255 octets"),
        ("größe.test", "write the name in its xn-- form"),
        ("bad\\999.test", "is no zone"),
    ],
)
def test_what_is_no_key_is_refused_with_the_reason(text: str, message: str) -> None:
    with pytest.raises(CorefileError) as caught:
        key(text)
    assert str(caught.value).startswith("Corefile:1:1: ")
    assert message in str(caught.value)


def test_a_zone_argument_has_no_port() -> None:
    with pytest.raises(CorefileError, match="only the key of a server block has a port"):
        parse_zone("example.org:53", HERE)


def test_an_empty_zone_hints_at_its_variable() -> None:
    with pytest.raises(CorefileError, match="is the environment variable in it set"):
        parse_zone("", HERE)


def test_zone_arguments_are_folded_and_kept_once_in_order() -> None:
    tokens = tuple(Token(Kind.WORD, text, HERE, False) for text in ("B.test", "a.test", "b.test.", "192.0.2.0/24"))
    assert names(parse_zones(tokens)) == ["b.test", "a.test", "2.0.192.in-addr.arpa"]


@pytest.mark.parametrize(
    "text", ["a\\.b.test", 'q\\"x', "s\\032p", "c\\058d\\047e\\044f", "\\123x\\125", "h\\035", "\\000"]
)
def test_odd_names_are_written_so_that_they_are_read_back(text: str) -> None:
    (zone,) = parse_zone(text, HERE)
    written = zone_text(zone)
    assert not set(written) & set(":/,{}# \t")
    assert key(written + ":53") == Key((zone,), 53, HERE)


def test_reverse_zones_are_known_by_their_tree() -> None:
    assert is_reverse(from_text("in-addr.arpa"))
    assert is_reverse(from_text("10.in-addr.arpa"))
    assert is_reverse(from_text("8.b.d.0.1.0.0.2.ip6.arpa"))
    assert not is_reverse(from_text("arpa"))
    assert not is_reverse(from_text("xin-addr.arpa"))
    assert not is_reverse(ROOT)
