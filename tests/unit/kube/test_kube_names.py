"""Names and addresses as Kubernetes spells them."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.kube.names import (
    alias_target,
    is_object_label,
    parse_address,
    parse_addresses,
    parse_any_address,
    wire_label,
)
from kdns.wire.name import InvalidName


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("web", b"\x03web"),
        ("Web-0", b"\x05web-0"),
        ("0", b"\x010"),
        ("a" * 63, b"\x3f" + b"a" * 63),
    ],
)
def test_an_rfc_1123_label_becomes_a_folded_wire_label(text: str, label: bytes) -> None:
    assert wire_label(text) == label


@pytest.mark.parametrize(
    "text", ["", "a.b", "-a", "a-", "a_b", "a b", "a" * 64, "stra\u00dfe", "\u212aelvin", "web\n", "*"]
)
def test_what_is_no_rfc_1123_label_has_no_wire_form(text: str) -> None:
    assert wire_label(text) is None


def test_names_of_objects_are_lower_case() -> None:
    assert is_object_label("web-0")
    assert not is_object_label("Web")
    assert not is_object_label("web.shop")


@pytest.mark.parametrize(
    ("text", "octets"),
    [("10.0.0.1", 4), ("255.255.255.255", 4), ("0.0.0.0", 4), ("fd00::1", 16), ("::", 16), ("fd00:10:244:0::6", 16)],
)
def test_an_address_is_packed(text: str, octets: int) -> None:
    assert parse_address(text, octets) == ip_address(text).packed
    assert parse_any_address(text) == ip_address(text).packed


def test_leading_zeros_are_decimal_as_kubernetes_reads_them() -> None:
    remarks: list[str] = []
    assert parse_any_address("010.000.0001.009", remarks) == bytes((10, 0, 1, 9))
    assert remarks == ["address '010.000.0001.009' is read as 10.0.1.9"]
    assert parse_any_address("00fd00::00001") == ip_address("fd00::1").packed
    assert parse_addresses(["10.0.0.1", "010.0.0.2"], 4, remarks) == [bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2))]
    assert len(remarks) == 2


@pytest.mark.parametrize("text", ["::ffff:10.0.0.9", "::FFFF:0a00:9", "::ffff:010.0.0.9", "0:0:0:0:0:ffff:a00:9"])
def test_a_mapped_address_is_the_ipv4_address_as_kubernetes_reads_it(text: str) -> None:
    remarks: list[str] = []
    assert parse_any_address(text) == parse_address(text, 4, remarks) == bytes((10, 0, 0, 9))
    assert remarks[-1] == f"address {text!r} is read as 10.0.0.9"
    with pytest.raises(ValueError, match="no IPv6 address"):
        parse_address(text, 16)


def test_a_plain_address_is_not_remarked_on() -> None:
    remarks: list[str] = []
    for text, octets in (("10.0.0.1", 4), ("FD00:0::1", 16), ("::", 16), ("::10.0.0.1", 16)):
        parse_address(text, octets, remarks)
        parse_any_address(text, remarks)
    parse_addresses(["10.0.0.1", "0.0.0.0"], 4, remarks)
    assert remarks == []


@pytest.mark.parametrize(
    "text",
    ["", "10.0.0", "10.0.0.0.1", "10.0.0.256", "10.0.0.-1", "10.0.0. 1", "10.0.0.1_0", "10.0.0.+1",
     "10.0.0.", "a.b.c.d", "10.0.0.\u0661", "fd00::1::2", "fe80::1%eth0", "fd00::1/64", "web", "None"],
)  # fmt: skip
def test_what_is_no_address_is_refused_and_named(text: str) -> None:
    with pytest.raises(ValueError) as error:
        parse_any_address(text)
    assert repr(text) in str(error.value)


SPELLINGS = [
    "10.0.0.1", "10.0.0.2", "010.0.0.3", "255.255.255.255", "10.0.0", "1.2.3.4.5", "10..0.1", "", "fd00::1",
    "::ffff:10.0.0.1",
]  # fmt: skip


@pytest.mark.parametrize("octets", [4, 16])
@given(texts=st.lists(st.sampled_from(SPELLINGS), max_size=5))
def test_many_addresses_are_parsed_as_each_of_them_is(octets: int, texts: list[str]) -> None:
    def outcome(parse: Callable[[], list[bytes]]) -> list[bytes] | str:
        try:
            return parse()
        except ValueError as error:
            return str(error)

    one_by_one = outcome(lambda: [parse_address(text, octets) for text in texts])
    assert outcome(lambda: parse_addresses(texts, octets)) == one_by_one


@pytest.mark.parametrize(("text", "octets", "family"), [("fd00::1", 4, "IPv4"), ("10.0.0.1", 16, "IPv6")])
def test_an_address_of_the_other_family_is_refused(text: str, octets: int, family: str) -> None:
    with pytest.raises(ValueError, match=f"no {family} address"):
        parse_address(text, octets)


@pytest.mark.parametrize("text", ["Payments.Example.com", "payments.example.com", "payments.example.com."])
def test_an_external_name_is_absolute_with_or_without_its_dot(text: str) -> None:
    assert alias_target(text) == b"\x08payments\x07example\x03com\x00"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("192.0.2.1", "is an IP address"),
        ("2001:db8::1", "is an IP address"),
        ("a..b", "is no domain name: empty label"),
        ("a" * 64 + ".example.com", "is no domain name: label longer"),
        (".", "is the root"),
    ],
)
def test_an_external_name_without_a_target_says_why(text: str, reason: str) -> None:
    with pytest.raises(InvalidName) as error:
        alias_target(text)
    assert reason in str(error.value)
    assert text in str(error.value)
