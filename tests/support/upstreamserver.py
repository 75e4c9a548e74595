"""Upstreams that answer as a test scripts them, over UDP and TCP (or TLS) on one port of a loopback address.

    with ScriptedUpstream(lambda asked: asked.answer("192.0.2.1")) as upstream:
        ... 127.0.0.1:{upstream.port} ...

A script gets each query and returns what is sent back: a message, several, none, or CLOSE or RESET for the connection
that it came over. It may wait for an Event: UDP has a thread, and so has each connection. What was asked is kept.
"""

from __future__ import annotations

import select
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import BinaryIO, Self

import dns.flags
import dns.message
import dns.rrset

PATIENCE = 20.0


class End(Enum):
    """How a connection is ended."""

    CLOSE = "FIN"
    RESET = "RST"


Reply = bytes | End | Sequence[bytes | End] | None


@dataclass(frozen=True)
class Asked:
    """One query. source: the port that it came from; for a connection the same for all of its queries."""

    wire: bytes
    tcp: bool
    source: int

    @property
    def message(self) -> dns.message.Message:
        return dns.message.from_wire(self.wire)

    @property
    def name(self) -> str:
        """The name asked for, in the case that was sent."""
        return self.message.question[0].name.to_text(omit_final_dot=True)

    def answer(self, *addresses: str, ttl: int = 60) -> bytes:
        """NOERROR with these addresses."""
        reply = dns.message.make_response(self.message)
        reply.flags |= dns.flags.RA
        if addresses:
            name = self.message.question[0].name
            reply.answer.append(dns.rrset.from_text_list(name, ttl, "IN", "A", addresses))
        return reply.to_wire(max_size=65535)

    def truncated(self) -> bytes:
        """An empty answer with TC."""
        reply = dns.message.make_response(self.message)
        reply.flags |= dns.flags.TC
        return reply.to_wire()

    def rcode(self, rcode: int, *, with_edns: bool = True) -> bytes:
        """No answer, and why."""
        reply = dns.message.make_response(self.message)
        reply.set_rcode(rcode)
        if not with_edns:
            reply.use_edns(False)
        return reply.to_wire()


class ScriptedUpstream:
    """See the module's docstring. with_tcp: whether anybody listens there."""

    def __init__(
        self,
        script: Callable[[Asked], Reply],
        host: str = "127.0.0.1",
        tls: ssl.SSLContext | None = None,
        with_tcp: bool = True,
        port: int = 0,
    ) -> None:
        self.host = host
        self.asked: list[Asked] = []
        self.connections = 0
        self._script = script
        self._tls = tls
        self._udp, self._listener = _bind(host, port)
        self.port = int(self._udp.getsockname()[1])
        if with_tcp:
            self._listener.listen(64)
        self._stop_reader, self._stop_writer = socket.socketpair()
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._news = threading.Condition()
        self._threads = [threading.Thread(target=self._serve_udp)]
        if with_tcp:
            self._threads.append(threading.Thread(target=self._serve_tcp))
        for thread in list(self._threads):
            thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End everything; the port is closed then."""
        self._stop_writer.close()
        with self._lock:
            for sock in self._open:
                with suppress(OSError):
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)
        for thread in list(self._threads):
            thread.join(PATIENCE)
            assert not thread.is_alive()
        for one in (self._udp, self._listener, self._stop_reader):
            one.close()

    def wait_for_queries(self, count: int) -> list[Asked]:
        """Wait until so many have come, and return them."""
        with self._news:
            assert self._news.wait_for(lambda: len(self.asked) >= count, PATIENCE), self.asked
            return list(self.asked)

    def send_from_elsewhere(self, message: bytes, port: int) -> None:
        """Send a datagram to a port of this host, not from the upstream's."""
        with socket.socket(self._udp.family, socket.SOCK_DGRAM) as sock:
            sock.sendto(message, (self.host, port))

    def send(self, message: bytes, port: int) -> None:
        """Send a datagram that nobody has asked for, from the upstream's port."""
        self._udp.sendto(message, (self.host, port))

    def _replies(self, asked: Asked) -> Sequence[bytes | End]:
        with self._news:
            self.asked.append(asked)
            self._news.notify_all()
        reply = self._script(asked)
        if reply is None:
            return ()
        return (reply,) if isinstance(reply, bytes | End) else reply

    def _serve_udp(self) -> None:
        while self._udp in select.select([self._udp, self._stop_reader], [], [])[0]:
            wire, source = self._udp.recvfrom(65535)
            for reply in self._replies(Asked(wire, False, source[1])):
                if isinstance(reply, bytes):
                    with suppress(OSError):
                        self._udp.sendto(reply, source)

    def _serve_tcp(self) -> None:
        while self._listener in select.select([self._listener, self._stop_reader], [], [])[0]:
            sock, source = self._listener.accept()
            self.connections += 1
            thread = threading.Thread(target=self._talk, args=(sock, source[1]))
            thread.start()
            self._threads.append(thread)

    def _talk(self, sock: socket.socket, source: int) -> None:
        with self._lock:
            self._open.add(sock)
        try:
            with suppress(OSError):
                if self._tls is not None:
                    with self._lock:
                        self._open.discard(sock)
                    sock = self._tls.wrap_socket(sock, server_side=True)
                    with self._lock:
                        self._open.add(sock)
                with sock.makefile("rb") as stream:
                    self._converse(sock, stream, source)
        finally:
            with self._lock:
                self._open.discard(sock)
            sock.close()

    def _converse(self, sock: socket.socket, stream: BinaryIO, source: int) -> None:
        while len(length := stream.read(2)) == 2:
            wire = stream.read(int.from_bytes(length, "big"))
            for reply in self._replies(Asked(wire, True, source)):
                if reply is End.RESET:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                if isinstance(reply, End):
                    return
                sock.sendall(len(reply).to_bytes(2, "big") + reply)


def _bind(host: str, port: int) -> tuple[socket.socket, socket.socket]:
    """A UDP socket and a TCP one on the same port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    while True:
        udp, tcp = socket.socket(family, socket.SOCK_DGRAM), socket.socket(family, socket.SOCK_STREAM)
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            udp.bind((host, port))
            tcp.bind((host, udp.getsockname()[1]))
        except OSError:
            udp.close()
            tcp.close()
            if port:
                raise
            continue
        return udp, tcp
