"""kdns.server.queues: what the kernel tells of UDP sockets."""

from __future__ import annotations

import socket

from kdns.observe.families import UDP_BUFFER, UDP_DROPS, UDP_QUEUE, Sample
from kdns.server.queues import queue_of, queue_samples


def _socket() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    return sock


def test_what_waits_and_what_was_dropped_is_told() -> None:
    with _socket() as sock, _socket() as client:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        quiet = queue_of(sock)
        assert quiet is not None
        assert (quiet.queued_octets, quiet.drops) == (0, 0)
        for _ in range(100):
            client.sendto(bytes(200), sock.getsockname())
        full = queue_of(sock)
        assert full is not None
        assert full.queued_octets > 0
        assert 0 < full.drops < 100
        assert full.buffer_octets == sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)


def test_the_sockets_of_an_address_are_added_up() -> None:
    with _socket() as first, _socket() as second:
        buffers = sum(sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) for sock in (first, second))
        assert queue_samples("127.0.0.1:53", (first, second)) == {
            Sample(UDP_DROPS, ("127.0.0.1:53",)): 0,
            Sample(UDP_QUEUE, ("127.0.0.1:53",)): 0,
            Sample(UDP_BUFFER, ("127.0.0.1:53",)): buffers,
        }


def test_a_socket_that_is_closed_tells_nothing() -> None:
    sock = _socket()
    sock.close()
    assert queue_of(sock) is None
    assert queue_samples("127.0.0.1:53", (sock,)) == {}
