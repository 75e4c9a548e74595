"""kdns.server.interfaces: the addresses of this machine."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.server.interfaces import interface_addresses, machine_addresses, parse_addresses


def _message(kind: int, body: bytes) -> bytes:
    length = 16 + len(body)
    return struct.pack("=IHHII", length, kind, 2, 1, 0) + body + bytes(-length % 4)


def _address(index: int, *attributes: tuple[int, bytes]) -> bytes:
    body = struct.pack("=BBBBI", 2, 8, 0, 0, index)
    for kind, value in attributes:
        length = 4 + len(value)
        body += struct.pack("=HH", length, kind) + value + bytes(-length % 4)
    return _message(20, body)


def test_the_loopback_interface_has_the_loopback_address() -> None:
    assert "127.0.0.1" in interface_addresses("lo")


def test_an_interface_that_does_not_exist_is_an_oserror() -> None:
    with pytest.raises(OSError, match=r"nosuchif0|No such device|no interface"):
        interface_addresses("nosuchif0")


def test_a_machine_has_addresses_that_clients_may_use() -> None:
    found = machine_addresses()
    assert found
    assert not any(address.startswith(("fe80", "169.254.")) for address in found)


def test_addresses_are_found_with_their_interface() -> None:
    data = _address(1, (1, b"\x7f\0\0\1"), (3, b"lo\0")) + _address(2, (1, bytes(15) + b"\1")) + _message(3, bytes(4))
    assert list(parse_addresses(data)) == [(1, b"\x7f\0\0\1"), (2, bytes(15) + b"\1")]


def test_on_a_point_to_point_link_our_end_counts_and_not_the_peers() -> None:
    assert list(parse_addresses(_address(3, (1, b"\x0a\0\0\2"), (2, b"\x0a\0\0\1")))) == [(3, b"\x0a\0\0\1")]


def test_other_messages_and_addresses_of_other_families_are_passed_over() -> None:
    data = _message(16, bytes(16)) + _address(1, (1, b"odd")) + _address(1) + _address(2, (1, b"\x0a\0\0\1"))
    assert list(parse_addresses(data)) == [(2, b"\x0a\0\0\1")]


@given(st.binary(max_size=200))
def test_any_octets_end(data: bytes) -> None:
    try:
        list(parse_addresses(_message(20, struct.pack("=BBBBI", 2, 8, 0, 0, 1) + data) + data))
    except struct.error:
        pytest.fail("read beyond the end")
