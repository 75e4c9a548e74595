"""kdns.server.sockets: what is bound, what is refused, and in whose words."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from kdns.server.sockets import Address, BindError, Binding, bind_all
from tests.server.serving import free_port, has_ipv6

HOSTS = ["127.0.0.1", "0.0.0.0", *(["::1", "::"] if has_ipv6() else [])]


@contextmanager
def bound(*addresses: Address, slots: int = 2, is_open: bool = True) -> Iterator[dict[Address, Binding]]:
    bindings = bind_all(addresses, slots)
    try:
        if is_open:
            for binding in bindings.values():
                open_slots(binding, slots)
        yield bindings
    finally:
        for binding in bindings.values():
            binding.close()


def open_slots(binding: Binding, slots: int = 2) -> None:
    """As each worker does, and then the supervisor."""
    for slot in range(slots):
        binding.for_slot(slot, 0).open()
    binding.end_reservation()


def is_refused(host: str, port: int, kind: int = socket.SOCK_DGRAM) -> bool:
    """Whether the kernel refuses whoever asks there; else it says nothing yet."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind) as client:
        client.settimeout(5)
        try:
            client.connect((host, port))
            client.send(b"x")
            client.settimeout(0.01)
            client.recv(1)
        except ConnectionRefusedError:
            return True
        except TimeoutError:
            return False
    raise AssertionError("nobody can have answered")


@pytest.fixture
def address() -> Address:
    return Address("127.0.0.1", free_port())


def test_each_slot_has_a_socket_of_its_own_for_udp_and_tcp(address: Address) -> None:
    with bound(address, slots=3) as bindings:
        sockets = (*bindings[address].udp, *bindings[address].tcp)
        assert len({sock.fileno() for sock in sockets}) == 6
        assert {sock.getsockname() for sock in sockets} == {(address.host, address.port)}
        assert {sock.type for sock in bindings[address].udp} == {socket.SOCK_DGRAM}
        assert not any(sock.getblocking() for sock in sockets)
        pair = bindings[address].for_slot(1, listener=7)
        assert (pair.udp, pair.tcp) == (bindings[address].udp[1], bindings[address].tcp[1])
        assert pair.listener == 7


def test_clients_are_spread_over_the_slots(address: Address) -> None:
    with bound(address) as bindings:
        for _ in range(64):
            _send(address)
        assert [_count(sock) > 0 for sock in bindings[address].udp] == [True, True]


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_who_asks_is_refused_until_a_slot_is_open(address: Address, host: str, kind: socket.SocketKind) -> None:
    listening = address._replace(host=host)
    asked = {"0.0.0.0": "127.0.0.9", "::": "::1"}.get(host, host)
    with bound(listening, is_open=False) as bindings:
        assert is_refused(asked, address.port, kind)
        bindings[listening].for_slot(1, 0).open()
        assert not is_refused(asked, address.port, kind)


@pytest.mark.parametrize("host", HOSTS)
def test_a_port_that_is_reserved_is_refused_to_others(address: Address, host: str) -> None:
    reserved = address._replace(host=host)
    with bound(reserved, is_open=False) as bindings:
        assert reserved in bindings
        with pytest.raises(BindError, match=r"UDP .* address already in use: another process"):
            bind_all([reserved], 2)


def test_the_reservation_ends_when_a_slot_has_the_port_and_not_before(address: Address) -> None:
    with bound(address, is_open=False) as bindings:
        binding = bindings[address]
        binding.end_reservation()
        assert binding.reservation.fileno() >= 0
        binding.for_slot(0, 0).open()
        binding.end_reservation()
        assert binding.reservation.fileno() < 0
        binding.end_reservation()
        with pytest.raises(BindError):  # nobody else can have it meanwhile
            bind_all([address], 1)


def test_a_slot_may_be_opened_again(address: Address) -> None:
    with bound(address) as bindings:
        _send(address)
        open_slots(bindings[address])
        assert sum(map(_count, bindings[address].udp)) == 1


def test_clients_are_spread_evenly_once_the_reservation_has_ended(address: Address) -> None:
    with bound(address, slots=2) as bindings:
        for _ in range(400):
            _send(address)
        assert min(map(_count, bindings[address].udp)) > 140  # of 200, five standard deviations


def test_queries_wait_for_the_workers_where_the_reservation_cannot_refuse_them(
    address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kdns.server.sockets._refuse_datagrams", lambda *_: False)
    with bound(address, is_open=False) as bindings:
        bindings[address].end_reservation()
        for _ in range(10):
            _send(address)
        open_slots(bindings[address])
        assert sum(map(_count, bindings[address].udp)) == 10


def test_an_end_before_a_slot_is_open_refuses_as_before(address: Address) -> None:
    with bound(address, is_open=False) as bindings:
        bindings[address].refuse_queries()
        bindings[address].refuse_connections()
        assert {sock.getsockname() for sock in bindings[address].udp} == {("0.0.0.0", 0)}
        assert is_refused(*address)
        assert is_refused(*address, socket.SOCK_STREAM)


def test_a_listener_that_somebody_else_has_got_since_is_told_of(address: Address) -> None:
    """Two sockets with SO_REUSEADDR may have a port, until one of them listens."""
    with bound(address, is_open=False) as bindings, socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(address)
        other.listen()
        with pytest.raises(BindError, match=rf"TCP {address}: address already in use: another process"):
            bindings[address].for_slot(0, 0).open()


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
@pytest.mark.parametrize("shares", [False, True])
def test_a_port_that_somebody_has_is_refused_even_if_they_would_share_it(
    address: Address, kind: socket.SocketKind, shares: bool
) -> None:
    with socket.socket(socket.AF_INET, kind) as other:
        if shares:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(address)
        if kind == socket.SOCK_STREAM:
            other.listen()
        with pytest.raises(BindError, match=rf"{address}: address already in use: another process"):
            bind_all([address], 2)


def test_a_refusal_leaves_nothing_bound(address: Address) -> None:
    other = Address("127.0.0.2", address.port)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(other)
        with pytest.raises(BindError):
            bind_all([address, other], 2)
    with bound(address, other) as bindings:
        assert set(bindings) == {address, other}


def test_an_address_of_another_machine_is_refused(address: Address) -> None:
    with pytest.raises(BindError, match=r"192\.0\.2\.1:53.*this machine has no such address"):
        bind_all([Address("192.0.2.1", 53)], 1)


def test_what_is_held_is_taken_over(address: Address) -> None:
    with bound(address) as held:
        again = bind_all([address], 2, held)
        assert again[address] is held[address]


def test_an_address_below_a_wildcard_of_ours_is_shared_with_it(address: Address) -> None:
    wildcard = Address("0.0.0.0", address.port)
    with bound(wildcard) as held:
        narrow = bind_all([address], 2, held)
        _send(address)
        assert sum(map(_count, held[wildcard].udp)) == 1  # until those of the address can answer
        open_slots(narrow[address])
        _send(address)
        assert sum(map(_count, narrow[address].udp)) == 1
        assert sum(map(_count, held[wildcard].udp)) == 0
        narrow[address].close()
    with bound(address, wildcard) as both:  # in either order
        assert set(both) == {address, wildcard}


def test_a_wildcard_is_refused_where_somebody_has_one_address_of_the_port(address: Address) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(address)
        with pytest.raises(BindError, match=r"0\.0\.0\.0"):
            bind_all([Address("127.0.0.1", address.port), Address("0.0.0.0", address.port)], 2)


def test_both_halves_of_the_wildcard_stand_side_by_side(address: Address) -> None:
    v4, v6 = Address("0.0.0.0", address.port), Address("::", address.port)
    with bound(v4, v6) as bindings:
        assert v4 in bindings
        assert bindings[v4].udp[0].getsockopt(socket.IPPROTO_IP, 8) == 1
        if v6 in bindings:
            assert bindings[v6].udp[0].getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1
            assert bindings[v6].udp[0].getsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO) == 1


def test_a_kernel_without_ipv6_is_no_error_for_the_wildcard(
    address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = socket.socket

    def without_ipv6(family: int, kind: int) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(97, "Address family not supported by protocol")
        return create(family, kind)

    monkeypatch.setattr("kdns.server.sockets.socket.socket", without_ipv6)
    v4, v6 = Address("0.0.0.0", address.port), Address("::", address.port)
    with bound(v4, v6) as bindings:
        assert set(bindings) == {v4}
    with pytest.raises(BindError, match="does not speak that address family"):
        bind_all([Address("::1", address.port)], 1)


def test_the_receive_buffer_is_larger_than_the_kernels_default(address: Address) -> None:
    with bound(address) as bindings, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as usual:
        default = usual.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2
        assert bindings[address].receive_buffer_octets >= default


@pytest.mark.parametrize(
    ("address", "text"), [(Address("127.0.0.1", 53), "127.0.0.1:53"), (Address("::1", 53), "[::1]:53")]
)
def test_addresses_are_written_as_usual(address: Address, text: str) -> None:
    assert str(address) == text


def _send(address: Address) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"x", address)


def _count(sock: socket.socket) -> int:
    count = 0
    while True:
        try:
            sock.recv(10)
        except BlockingIOError:
            return count
        count += 1
