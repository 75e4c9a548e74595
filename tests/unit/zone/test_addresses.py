"""Addresses as labels and as reverse names (Kubernetes DNS specification 1.1.0, RFC 1035 section 3.5, RFC 3596)."""

from __future__ import annotations

import dns.reversename
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.wire.name import from_text, labels, to_text
from kdns.zone.addresses import (
    IN_ADDR,
    IP6,
    address_text,
    dashed,
    dashed_label,
    parse_reverse,
    reverse_name,
    undashed,
)
from tests.support.subtrees import packed

ADDRESSES = st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16)
# Addresses with runs of zeros, which is what makes the text of IPv6 addresses hard.
SPARSE = st.lists(st.sampled_from([b"\0\0", b"\0\1", b"\x20\x01", b"\xff\xff"]), min_size=8, max_size=8).map(b"".join)


@pytest.mark.parametrize(
    ("address", "label"),
    [
        ("10.0.0.1", b"10-0-0-1"),
        ("255.255.255.255", b"255-255-255-255"),
        ("2001:db8::1", b"2001-db8--1"),
        ("1234:abcd::1", b"1234-abcd--1"),
        ("10::", b"10--0"),
        ("::1", b"--1"),
        ("::", b"--0"),
        ("2001:db8:0:1:2:3:4:5", b"2001-db8-0-1-2-3-4-5"),
        ("2001:DB8::A", b"2001-db8--a"),
    ],
)
def test_dots_and_colons_become_dashes_and_a_label_never_ends_in_one(address: str, label: bytes) -> None:
    assert dashed(packed(address)) == label
    assert dashed_label(packed(address)) == bytes([len(label)]) + label
    assert undashed(label) == packed(address)


@pytest.mark.parametrize(
    "label",
    [
        b"", b"-", b"--", b"---", b"web", b"web-0", b"1-2-3", b"1-2-3-4-5", b"1-2-3-256", b"01-2-3-4", b"1-2-3-",
        b"10--", b"2001-0db8--1", b"2001-db8-0-0-0-0-0-1", b"1--2--3", b"1-2-3-4-5-6-7-8-9", b"fe80--1%eth0",
        b"--1.2.3.4", b"--\xff", b"12345--1", b"g--1", b"10.0.0.1", b"1-2-3-\xb2",
    ],
)
def test_only_the_canonical_spelling_of_an_address_is_a_label(label: bytes) -> None:
    assert undashed(label) is None


@given(ADDRESSES | SPARSE)
def test_every_address_has_one_label_that_names_it(address: bytes) -> None:
    label = dashed(address)
    assert undashed(label) == address
    assert not label.endswith(b"-")
    assert label == label.lower()


@given(st.text("0123456789abcdef-", max_size=45).map(str.encode))
def test_two_labels_never_name_one_address(label: bytes) -> None:
    address = undashed(label)
    assert address is None or dashed(address) == label


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("192.0.2.1", "1.2.0.192.in-addr.arpa."),
        ("2001:db8::1", "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa."),
    ],
)
def test_reverse_names_are_those_of_rfc_1035_3_5_and_rfc_3596_2_5(address: str, name: str) -> None:
    assert to_text(reverse_name(packed(address))) == name


@given(ADDRESSES)
def test_dnspython_reverses_addresses_as_we_do(address: bytes) -> None:
    theirs = dns.reversename.from_address(address_text(address))
    assert reverse_name(address) == from_text(theirs.to_text())


@given(ADDRESSES)
def test_a_reverse_name_leads_back_to_its_address(address: bytes) -> None:
    tree = IN_ADDR if len(address) == 4 else IP6
    own = labels(reverse_name(address)[: -len(tree)] + b"\0")
    assert parse_reverse(own, len(address)) == address.hex()
    for cut in range(len(own)):
        digits = parse_reverse(own[cut:], len(address))
        assert digits is not None
        assert address.hex().startswith(digits)


@pytest.mark.parametrize(
    ("own", "octets"),
    [
        ([b"256"], 4), ([b"01"], 4), ([b"-1"], 4), ([b"a"], 4), ([b"1"] * 5, 4), ([b"1", b"\xb2"], 4),
        ([b"10"], 16), ([b"g"], 16), ([b"1"] * 33, 16), ([b"-"], 16), ([b"\xff"], 16), ([b"1", b""], 16),
    ],
)
def test_other_labels_name_no_address(own: list[bytes], octets: int) -> None:
    assert parse_reverse(own, octets) is None


def test_no_labels_name_the_whole_tree() -> None:
    assert parse_reverse([], 4) == parse_reverse([], 16) == ""


@pytest.mark.parametrize("text", ["10.0.0.1", "2001:db8::1", "::"])
def test_people_see_addresses_as_they_write_them(text: str) -> None:
    assert address_text(packed(text)) == text


def test_an_ipv4_mapped_address_has_a_label_without_dots() -> None:
    address = bytes(10) + b"\xff\xff" + bytes([1, 2, 3, 4])
    assert dashed(address) == b"--ffff-102-304"
    assert undashed(b"--ffff-102-304") == address
