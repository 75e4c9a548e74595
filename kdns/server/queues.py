"""What waits in UDP sockets, and what the kernel dropped of it, as it tells who asks (SO_MEMINFO, Linux 4.12).

A drop is a query that came while the socket's receive buffer was full: nobody ever read it, and no other counter can
know of it. The supervisor holds all sockets, so that a worker that died is no gap. Not here: making sockets
(kdns.server.sockets).
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from struct import Struct
from typing import NamedTuple

from kdns.observe.families import UDP_BUFFER, UDP_DROPS, UDP_QUEUE, Sample

_SO_MEMINFO = 55  # <asm-generic/socket.h>
_MEMINFO = Struct("=9I")  # <linux/sock_diag.h>: enum SK_MEMINFO_*
_RMEM_ALLOC, _RCVBUF, _DROPS = 0, 1, 8


class Queue(NamedTuple):
    """One socket. queued_octets: memory of what waits; buffer_octets: how much there may be of it."""

    queued_octets: int
    buffer_octets: int
    drops: int


def queue_of(sock: socket.socket) -> Queue | None:
    """What the kernel says of a socket; None from one that cannot tell."""
    try:
        words = _MEMINFO.unpack(sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size))
    except OSError:
        return None
    return Queue(words[_RMEM_ALLOC], words[_RCVBUF], words[_DROPS])


def queue_samples(address: str, sockets: Iterable[socket.socket]) -> dict[Sample, float]:
    """The sums over the sockets of one address; nothing where the kernel cannot tell."""
    queues = [queue for queue in map(queue_of, sockets) if queue is not None]
    if not queues:
        return {}
    queued, buffers, drops = (sum(column) for column in zip(*queues, strict=True))
    return {
        Sample(UDP_DROPS, (address,)): drops,
        Sample(UDP_QUEUE, (address,)): queued,
        Sample(UDP_BUFFER, (address,)): buffers,
    }
