"""The reverse index: owners of addresses and prefixes, kept true while owners come and go."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.zone.reverse import ReverseIndex
from tests.support.subtrees import packed

WEB, DB, NODE = b"\x03web", b"\x02db", b"\x04node"


def index(**owners: str) -> ReverseIndex:
    found = ReverseIndex()
    for owner, addresses in owners.items():
        change(found, owner.encode(), come=list(map(packed, addresses.split())))
    return found


def change(found: ReverseIndex, owner: bytes, gone: Iterable[bytes] = (), come: Iterable[bytes] = ()) -> None:
    draft = found.draft()
    draft.remove(owner, gone)
    draft.add(owner, come)
    draft.commit()


def remove(found: ReverseIndex, owner: bytes, addresses: Iterable[bytes]) -> None:
    draft = found.draft()
    draft.remove(owner, addresses)
    draft.forget(owner)
    draft.commit()


def owners(found: ReverseIndex, address: str) -> set[bytes]:
    listed = found.owners(packed(address))
    assert len(listed) == len(set(listed))
    return set(listed)


def test_an_address_may_have_several_owners() -> None:
    found = index(web="10.0.0.1 10.0.0.2", db="10.0.0.2 2001:db8::1")
    assert owners(found, "10.0.0.1") == {b"web"}
    assert owners(found, "10.0.0.2") == {b"web", b"db"}
    assert owners(found, "2001:db8::1") == {b"db"}
    assert owners(found, "10.0.0.3") == owners(found, "10.0.1.1") == set()


def test_addresses_of_both_families_with_equal_octets_are_not_confused() -> None:
    found = index(web="10.0.0.1", db="a00:1::")
    assert owners(found, "a00:1::") == {b"db"}
    assert owners(found, "10.0.0.1") == {b"web"}


def test_a_removed_owner_is_gone_and_the_others_stay() -> None:
    found = index(web="10.0.0.1 10.0.0.2", db="10.0.0.2")
    remove(found, b"web", [packed("10.0.0.1"), packed("10.0.0.2")])
    assert owners(found, "10.0.0.1") == set()
    assert owners(found, "10.0.0.2") == {b"db"}


def test_the_number_of_a_removed_owner_is_used_again() -> None:
    found = index(web="10.0.0.1")
    for at in range(1000):
        owner = str(at).encode()
        change(found, owner, (), [packed("10.0.0.9")])
        assert owners(found, "10.0.0.9") == {owner}
        remove(found, owner, [packed("10.0.0.9")])
    assert len(found._owners) == 2


def test_an_owner_without_addresses_can_come_and_go() -> None:
    found = ReverseIndex()
    change(found, WEB, (), [])
    remove(found, WEB, [])
    change(found, WEB, (), [packed("10.0.0.1")])
    assert owners(found, "10.0.0.1") == {WEB}


@pytest.mark.parametrize("digits", ["0", "0a", "0a0", "0a01", "0a0102"])
def test_a_prefix_exists_while_an_address_starts_with_it(digits: str) -> None:
    found = ReverseIndex()
    assert not found.has_prefix(digits, 4)
    change(found, WEB, (), [packed("10.1.2.3")])
    assert found.has_prefix(digits, 4)
    assert not found.has_prefix(digits, 16)
    remove(found, WEB, [packed("10.1.2.3")])
    assert not found.has_prefix(digits, 4)


def test_prefixes_of_ipv6_exist_at_every_nibble() -> None:
    address = packed("2001:db8:12:3456:789a:bcde:f012:3456")
    found = ReverseIndex()
    change(found, WEB, (), [address])
    digits = address.hex()
    for length in range(32):
        assert found.has_prefix(digits[:length], 16)
        if length:
            other = digits[: length - 1] + ("0" if digits[length - 1] != "0" else "1")
            assert not found.has_prefix(other, 16)


def test_the_last_nibble_but_one_is_found_inside_a_block() -> None:
    found = index(web="2001:db8::1 2001:db8::35")
    block = packed("2001:db8::").hex()[:30]
    assert [digit for digit in "0123456789abcdef" if found.has_prefix(block + digit, 16)] == ["0", "3"]


ADDRESSES = st.builds(
    lambda head, tail: head + tail,
    st.sampled_from([b"\x0a\0\0", b"\x0a\0\1", b"\x0b\0\0", b" \1\r\xb8" + bytes(11), b" \1\r\xb9" + bytes(11)]),
    st.sampled_from([b"\0", b"\1", b"\x10", b"\xff"]),
)
STEPS = st.lists(st.tuples(st.sampled_from([WEB, DB, NODE]), st.sets(ADDRESSES)), max_size=12)


@given(STEPS)
def test_the_index_says_what_a_plain_dictionary_says(steps: list[tuple[bytes, set[bytes]]]) -> None:
    found, plain = ReverseIndex(), dict[bytes, set[bytes]]()
    for owner, addresses in steps:
        if owner in plain:
            remove(found, owner, plain.pop(owner))
        else:
            change(found, owner, (), addresses)
            plain[owner] = addresses
        _compare(found, plain)


def _compare(found: ReverseIndex, plain: dict[bytes, set[bytes]]) -> None:
    every = {address for addresses in plain.values() for address in addresses}
    for address in every:
        assert set(found.owners(address)) == {owner for owner, addresses in plain.items() if address in addresses}
    for octets in (4, 16):
        texts = {address.hex() for address in every if len(address) == octets}
        for length in range(2 * octets):
            prefixes = {text[:length] for text in texts}
            assert all(found.has_prefix(prefix, octets) for prefix in prefixes)
            for other in {prefix[:-1] + "7" for prefix in prefixes if prefix} - prefixes:
                assert not found.has_prefix(other, octets)


def test_an_owner_keeps_what_a_change_does_not_name() -> None:
    found = ReverseIndex()
    change(found, WEB, (), [packed("10.1.2.3"), packed("10.1.2.4"), packed("10.9.0.1")])
    change(found, WEB, [packed("10.1.2.3")], [packed("10.1.2.5")])
    assert found.owners(packed("10.1.2.3")) == []
    for kept in ("10.1.2.4", "10.1.2.5", "10.9.0.1"):
        assert found.owners(packed(kept)) == [WEB]


def test_a_dismantled_index_is_empty_after_its_steps() -> None:
    found = ReverseIndex()
    change(found, WEB, (), [bytes((10, 0, i >> 8, i & 255)) for i in range(2000)])
    assert len(list(found.dismantle())) >= 1
    assert found.owners(packed("10.0.1.1")) == []
