"""Servers that answer as a test scripts them: TCP or TLS, a thread for each connection, on a port of 127.0.0.1.

    def script(talk: Talk) -> None:
        request = talk.request()
        talk.send(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")

    with Peer(script, tls=authority.server("127.0.0.1")) as peer:
        ... https://127.0.0.1:{peer.port} ...

A script that ends closes its connection. `Peer.close` ends all of them and waits for their threads, so that nothing
outlives a test; what a script raises then, because its socket is gone, is passed over.
"""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self

import trustme

PATIENCE = 20.0  # a loaded machine is slow; nothing waits that long on a good day


@dataclass(frozen=True)
class Asked:
    """A request as it came. headers: names in lower case."""

    line: str
    headers: dict[str, str]


class Talk:
    """One connection, as its script sees it."""

    def __init__(self, sock: socket.socket, peer: Peer) -> None:
        self.sock = sock
        self.peer = peer

    def request(self) -> Asked:
        """Read the head of a request; the server notes it."""
        data = b""
        while not data.endswith(b"\r\n\r\n"):
            octet = self.sock.recv(1)
            if not octet:
                raise ConnectionError("no request")
            data += octet
        line, *fields = data.decode("ascii").split("\r\n")[:-2]
        headers = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}
        asked = Asked(line, headers)
        with self.peer.news:
            self.peer.asked.append(asked)
            self.peer.news.notify_all()
        return asked

    def send(self, data: bytes) -> None:
        """Send all of it."""
        self.sock.sendall(data)

    def chunk(self, data: bytes) -> None:
        """Send it as one chunk."""
        self.send(b"%x\r\n%s\r\n" % (len(data), data))

    def reset(self) -> None:
        """End the connection by RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def wait_for_end(self) -> None:
        """Until the other side has closed, or the server is closed."""
        with suppress(OSError):
            while self.sock.recv(65536):
                pass


class Peer:
    """A server on 127.0.0.1. asked: the requests so far; `news` is notified of each."""

    def __init__(self, script: Callable[[Talk], None], tls: ssl.SSLContext | None = None) -> None:
        self.asked: list[Asked] = []
        self.news = threading.Condition()
        self._script = script
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._acceptor = threading.Thread(target=self._accept)
        self._acceptor.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End everything."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join(PATIENCE)
        self._listener.close()
        with self._lock:
            for sock in self._open:
                with suppress(OSError):
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()

    def wait_for_requests(self, count: int) -> list[Asked]:
        """Wait until so many have come, and return them."""
        with self.news:
            assert self.news.wait_for(lambda: len(self.asked) >= count, PATIENCE), self.asked
            return list(self.asked)

    def wait_until_idle(self) -> None:
        """Wait until no connection is open."""
        for thread in list(self._threads):
            thread.join(PATIENCE)
            assert not thread.is_alive()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self._threads = [thread for thread in self._threads if thread.is_alive()]
                thread = threading.Thread(target=self._talk, args=(sock,))
                thread.start()
                self._threads.append(thread)

    def _talk(self, sock: socket.socket) -> None:
        with self._lock:
            self._open.add(sock)
        raw = sock
        try:
            with suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self._tls is not None:
                    sock = self._tls.wrap_socket(sock, server_side=True)
                    with self._lock:
                        self._open.add(sock)
                self._script(Talk(sock, self))
        finally:
            with self._lock:
                self._open -= {sock, raw}
            sock.close()


@dataclass
class Authority:
    """A CA, and what it makes."""

    ca: trustme.CA = field(default_factory=trustme.CA)

    @property
    def pem(self) -> str:
        """Its certificate."""
        return self.ca.cert_pem.bytes().decode()

    def server(self, *names: str, clients: Authority | None = None, until: datetime | None = None) -> ssl.SSLContext:
        """TLS of a server with these names. clients: the CA of the client certificates that it demands."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert(*names, not_after=until).configure_cert(context)
        if clients is not None:
            clients.ca.configure_trust(context)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def client(self, name: str = "kdns") -> tuple[str, str]:
        """A client's certificate and its key, both PEM."""
        issued = self.ca.issue_cert(common_name=name)
        return issued.cert_chain_pems[0].bytes().decode(), issued.private_key_pem.bytes().decode()
