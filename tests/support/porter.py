"""Lives in a network namespace, keeps it alive, and hands sockets of it out: python porter.py DESCRIPTOR.

The descriptor is a Unix socket. It says "up" there, and then answers each octet, the kind of a socket, with one. It
ends with its parent. Not here: namespaces (tests/support/namespaces.py). It imports little, to start fast.
"""

from __future__ import annotations

import socket
import sys


def carry(counter: socket.socket) -> None:
    """Serve until nobody is there any more."""
    counter.send(b"up")
    while wanted := counter.recv(1):
        with socket.socket(socket.AF_INET, wanted[0]) as made:
            socket.send_fds(counter, [b"!"], [made.fileno()])


if __name__ == "__main__":
    carry(socket.socket(fileno=int(sys.argv[1])))
