"""A client that notices every query that is lost."""

from __future__ import annotations

import socket
import threading

import dns.message

from tests.server.serving import Server


class Asker(threading.Thread):
    """Asks one question after the other from ever new ports, without a second try, until it `is_enough`."""

    def __init__(self, server: Server, qname: str) -> None:
        super().__init__(daemon=True)
        self.is_enough = threading.Event()
        self.asked = self.answered = 0
        self._to = (server.address, server.port)
        self._query = dns.message.make_query(qname, "A").to_wire()

    def run(self) -> None:
        while not self.is_enough.is_set():
            self.asked += 1
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.settimeout(5)
                client.sendto(self._query, self._to)
                if dns.message.from_wire(client.recv(4096)).answer:
                    self.answered += 1
