"""UDP: receive up to 64 queries with one system call, answer each in its buffer, send the replies with one more.

The hot path of kdns. A kept reply costs three slices, one `lower()`, one `dict.get` and two writes into the buffer
that the query came in, around its question, which stays as it was sent; nothing is parsed. What is not kept goes to
kdns.answer.responder. The reply leaves from the buffer, and to the address, that the kernel wrote there: `msghdr`s
are laid out once and reset by copying.

A wildcard socket's replies must leave from the address that was asked: the kernel's packet info comes back unchanged
but for the interface, which would bypass routing (ip(7), RFC 3542 section 6).

Linux on a 64-bit little- or big-endian machine: layouts are those of struct mmsghdr, msghdr and iovec there.
Not here: creating the socket (kdns.server.sockets), what a query means (kdns.answer).
"""

from __future__ import annotations

import ctypes
import mmap
import socket
import sys
from errno import EAGAIN, EINTR
from functools import partial
from struct import Struct
from time import perf_counter_ns

from kdns.answer.case import Client
from kdns.answer.compiler import ID_OCTETS
from kdns.answer.form import form_of
from kdns.answer.outside import Pending
from kdns.answer.passing import FOLDED_HTTPS, Passing, unfolded
from kdns.answer.replying import SERIAL_OCTETS
from kdns.answer.responder import Responder
from kdns.observe.sampling import NamespaceSampler
from kdns.observe.tally import FIRST_BOUND_NS, Meter
from kdns.server.waiting import Observer, Outcome, Outside, hand_over, observed, timed
from kdns.wire.outside import Ask, Told
from kdns.wire.query import HEADER_OCTETS

BATCH = 64  # more gains nothing measurable; fewer costs system calls under load
BUFFER_OCTETS = 4096  # the largest query kept whole, and the largest reply: `bufsize` goes no further
# Buffers start this far apart: not a multiple of 4096, or all would compete for the same lines of the L1 cache.
STRIDE = BUFFER_OCTETS + 192
ADDRESS_OCTETS = 28  # struct sockaddr_in6
CONTROL_OCTETS = 48  # CMSG_SPACE(sizeof(struct in6_pktinfo)), and in_pktinfo's 32

_MMSGHDR = Struct("@PI4xPNPNi4xI4x")
_IOVEC = Struct("@PN")
_LENGTH_AT = 14  # msg_len, in ints
_INTS = 16
_CONTROL_LENGTH_AT = 5  # msg_controllen, in longs
_LONGS = 8

_libc = ctypes.CDLL(None, use_errno=True)
_recvmmsg = _libc.recvmmsg
_recvmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p)
_sendmmsg = _libc.sendmmsg
_sendmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)

# Where a reply goes: a socket address as the kernel wrote it, and the control data, b"" for none.
_Origin = tuple[bytes, bytes]
# A query that was passed on, as Responder.passed wants it.
_Passed = tuple[Passing, Ask, bytes, int, Client]

_AF_INET = socket.AF_INET.to_bytes(2, sys.byteorder)


class _Buffers:
    """The memory of one batch: queries and replies, client addresses, control data, and headers that point there."""

    def __init__(self, with_control: bool) -> None:
        self.octets = mmap.mmap(-1, BATCH * STRIDE)
        self.addresses = mmap.mmap(-1, BATCH * ADDRESS_OCTETS)
        self.control = mmap.mmap(-1, BATCH * CONTROL_OCTETS)
        self._iovecs = mmap.mmap(-1, BATCH * _IOVEC.size)
        self._headers = mmap.mmap(-1, BATCH * _MMSGHDR.size)
        self.lengths = memoryview(self._iovecs).cast("L")  # iov_len of message i at 2 * i + 1
        self.sizes = memoryview(self._headers).cast("I")  # msg_len of message i at 16 * i + 14
        self._longs = memoryview(self._headers).cast("L")
        self.headers_at = _address_of(self._headers)
        self._fill(with_control)
        self._fresh = self._headers[:], self._iovecs[:]

    def reset(self) -> None:
        """Lengths as they must be to receive again: the kernel wrote its own over them."""
        self._headers[:], self._iovecs[:] = self._fresh

    def origin(self, i: int) -> _Origin:
        """Where message i, just received, has come from."""
        control_octets = self._longs[_LONGS * i + _CONTROL_LENGTH_AT]
        at = i * CONTROL_OCTETS
        return self.addresses[i * ADDRESS_OCTETS : (i + 1) * ADDRESS_OCTETS], self.control[at : at + control_octets]

    def put(self, i: int, origin: _Origin, reply: bytes) -> None:
        """Lay out message i: a reply, and where it goes."""
        address, control = origin
        self.addresses[i * ADDRESS_OCTETS : (i + 1) * ADDRESS_OCTETS] = address
        self.octets[i * STRIDE : i * STRIDE + len(reply)] = reply
        self.lengths[2 * i + 1] = len(reply)
        if control:
            self.control[i * CONTROL_OCTETS : i * CONTROL_OCTETS + len(control)] = control
        self._longs[_LONGS * i + _CONTROL_LENGTH_AT] = len(control)

    def _fill(self, with_control: bool) -> None:
        octets, addresses = _address_of(self.octets), _address_of(self.addresses)
        control, iovecs = _address_of(self.control), _address_of(self._iovecs)
        for i in range(BATCH):
            _IOVEC.pack_into(self._iovecs, i * _IOVEC.size, octets + i * STRIDE, BUFFER_OCTETS)
            where = (control + i * CONTROL_OCTETS, CONTROL_OCTETS) if with_control else (0, 0)
            _MMSGHDR.pack_into(
                self._headers, i * _MMSGHDR.size,
                addresses + i * ADDRESS_OCTETS, ADDRESS_OCTETS, iovecs + i * _IOVEC.size, 1, *where, 0, 0,
            )


class UdpServer:
    """Answers what arrives on one socket.

    wildcard: the socket is bound to all addresses and has IP_PKTINFO or IPV6_RECVPKTINFO set.
    observer: told of every query and reply; the short cut for kept replies is then not taken, nor where the
        responder's guard has to be asked first.
    outside: who asks for names outside; without it they get SERVFAIL.
    meter: counts the replies of this socket; without it, that of the responder does. sampler: looks at some.
    waiting: clients whose replies are still to come from outside.
    """

    def __init__(
        self,
        sock: socket.socket,
        responder: Responder,
        wildcard: bool,
        observer: Observer | None = None,
        outside: Outside | None = None,
        meter: Meter | None = None,
        sampler: NamespaceSampler | None = None,
    ) -> None:
        self._fd = sock.fileno()
        self._responder = responder
        self._observer = observer
        self._has_short_cut = observer is None and responder.has_short_cut
        self._outside = outside
        self._meter = meter or responder.meter
        self._times = self._meter.times
        self._sampler = sampler
        self.waiting = 0
        self._buffers = _Buffers(wildcard)
        self._late = _Buffers(wildcard)  # for replies that were waited for, while a batch may be in the other
        self._unsent: list[tuple[_Origin, bytes]] = []  # of those
        self._interface_at = _INTERFACE_AT[sock.family] if wildcard else None
        self._slots = [(i * STRIDE, 2 * i + 1) for i in range(BATCH)]

    def on_readable(self) -> None:
        """Answer one batch of what has arrived."""
        buffers = self._buffers
        count = _recvmmsg(self._fd, buffers.headers_at, BATCH, socket.MSG_DONTWAIT, None)
        if count <= 0:
            return  # EAGAIN, or an error of an earlier reply (ICMP) that recvmmsg has now taken off the socket
        began_ns = perf_counter_ns()
        dropped = self._answer(count) if self._has_short_cut else self._answer_singly(count)
        if self._interface_at is not None:
            _clear_interfaces(buffers, count, self._interface_at)
        self._send(count, dropped)
        sampler = self._sampler
        if sampler is not None:
            sampler.left -= count
            if sampler.left < 0:
                self._sample(sampler, count)
        buffers.reset()
        took_ns = perf_counter_ns() - began_ns
        if took_ns <= FIRST_BOUND_NS:  # as nearly always: what `took` would do, without the call
            self._times[0] += count
            self._times[-1] += took_ns * count
        else:
            self._meter.took(took_ns, count)

    def _sample(self, sampler: NamespaceSampler, count: int) -> None:
        """Have those of a batch looked at whose turn it is."""
        buffers = self._buffers
        while sampler.left < 0:
            i = count + sampler.left
            base, length = i * STRIDE, buffers.lengths[2 * i + 1]
            sampler.take(buffers.octets[base : base + length])

    def _answer(self, count: int) -> list[int]:
        """Write each reply over its query; returns the messages that get none."""
        buffers, responder = self._buffers, self._responder
        octets, lengths = buffers.octets, buffers.lengths
        kept, counts, get = responder.kept, self._meter.counts, responder.table.current.get
        dropped: list[int] = []
        sizes = buffers.sizes[_LENGTH_AT : _INTS * count : _INTS].tolist()
        for (base, length_at), size in zip(self._slots, sizes, strict=False):
            form = form_of(octets[base + ID_OCTETS : base + size])
            entry = None
            if form is not None:
                question, payload = form[0].lower(), form[1]
                entry = get(question) or kept(question, payload, False)
            if entry is None:
                passed = self._pass_on(base, size, question, payload) if form else None
                length = self._respond(base, size) if passed is None else passed
                if not length:
                    dropped.append(length_at >> 1)
            else:
                heads, body, opt, cell, splice, _ = entry
                if not isinstance(body, bytes):
                    body = body()
                if payload:
                    body += opt
                # ID and question stay where they are, as they were sent.
                octets[base + ID_OCTETS : base + HEADER_OCTETS] = heads[payload > 0]
                end = HEADER_OCTETS + len(question)
                length = end + len(body)
                octets[base + end : base + length] = body
                if splice:
                    at = base + end + splice[0]
                    octets[at : at + SERIAL_OCTETS] = splice[1][0]
                counts[cell] += 1
            lengths[length_at] = length
        return dropped

    def _pass_on(self, base: int, size: int, question: bytes, payload: int) -> int | None:
        """Pass on a plain query for outside; the length of the reply, 0 for none now; None if it is not plain."""
        if question.endswith(FOLDED_HTTPS):
            start = base + HEADER_OCTETS
            question = unfolded(question, self._buffers.octets[start : start + len(question)])
        outside, passing = self._outside, self._responder.passing(question)
        if passing is None or outside is None:
            return None
        i = base // STRIDE
        origin = self._buffers.origin(i)
        client = _client_of(origin[0])
        ask = passing.ask(question, client[0])
        refusal = outside.refusal(ask)
        query = passing, ask, self._buffers.octets[base : base + size], payload, client
        if refusal is not None:
            return self._write(i, self._responder.passed(*query, self._meter.late, refusal))
        outside.ask(ask, partial(self._pass_back, query, origin, perf_counter_ns()))
        self.waiting += 1
        return 0

    def _pass_back(self, query: _Passed, origin: _Origin, began_ns: int, told: Told) -> None:
        meter = self._meter.late
        reply = self._responder.passed(*query, meter, told)
        meter.took(perf_counter_ns() - began_ns, 1)
        if reply is None:
            self.waiting -= 1
        else:
            self._send_late(origin, reply)

    def _respond(self, base: int, size: int) -> int:
        """Answer a query that has no kept reply; the length of the reply, 0 for none now."""
        i, query = base // STRIDE, self._buffers.octets[base : base + size]
        return self._write(i, self._responder.respond(query, self._client(i), False, self._meter))

    def _write(self, i: int, outcome: Outcome) -> int:
        """Write the reply over its query, or see to it that it comes later; its length, 0 for none now."""
        if isinstance(outcome, Pending):
            send = partial(self._send_late, self._buffers.origin(i))
            outcome = hand_over(self._outside, timed(outcome, self._meter.late), send)
            self.waiting += outcome is None
        if outcome is None:
            return 0
        base = i * STRIDE
        self._buffers.octets[base : base + len(outcome)] = outcome
        return len(outcome)

    def _answer_singly(self, count: int) -> list[int]:
        """As `_answer`, but the responder is asked for each reply; an observer is told."""
        octets, dropped = self._buffers.octets, []
        for i in range(count):
            base, began = i * STRIDE, perf_counter_ns()
            query = octets[base : base + self._buffers.sizes[_INTS * i + _LENGTH_AT]]
            client = self._client(i)
            outcome = self._responder.respond(query, client, False, self._meter)
            if self._observer is not None:
                outcome = observed(outcome, query, client, False, began, self._observer)
            length = self._write(i, outcome)
            self._buffers.lengths[2 * i + 1] = length
            if not length:
                dropped.append(i)
        return dropped

    def _client(self, i: int) -> Client:
        return _client_of(self._buffers.addresses[i * ADDRESS_OCTETS : (i + 1) * ADDRESS_OCTETS])

    def _send(self, count: int, dropped: list[int]) -> None:
        """Send all replies but the dropped ones: the runs between those."""
        start = 0
        for i in (*dropped, count):
            self._send_run(self._buffers, start, i)
            start = i + 1

    def _send_late(self, origin: _Origin, reply: bytes) -> None:
        """Send a reply that was waited for, together with those that come with it."""
        if not self._unsent and self._outside is not None:
            self._outside.when_told(self._flush)
        self._unsent.append((origin, reply))

    def _flush(self) -> None:
        """Send the replies that were waited for."""
        unsent, self._unsent = self._unsent, []
        self.waiting -= len(unsent)
        for start in range(0, len(unsent), BATCH):
            batch = unsent[start : start + BATCH]
            for i, (origin, reply) in enumerate(batch):
                self._late.put(i, origin, reply)
            if self._interface_at is not None:
                _clear_interfaces(self._late, len(batch), self._interface_at)
            self._send_run(self._late, 0, len(batch))

    def _send_run(self, buffers: _Buffers, start: int, end: int) -> None:
        while start < end:
            at = buffers.headers_at + start * _MMSGHDR.size
            sent = _sendmmsg(self._fd, at, end - start, socket.MSG_DONTWAIT)
            if sent > 0:
                start += sent
                continue
            error = ctypes.get_errno()
            if error == EINTR:
                continue
            # The send buffer is full: what is left is lost, as on a full link. Anything else is about the first
            # message alone (no route to that client, say): the rest may well go out.
            lost = end - start if error == EAGAIN else 1
            self._responder.tally.send_failed(lost)
            start += lost


def _client_of(address: bytes) -> Client:
    """Whose socket address that is."""
    return address[4:8] if address[:2] == _AF_INET else address[8:24], int.from_bytes(address[2:4])


def _clear_interfaces(buffers: _Buffers, count: int, at: int) -> None:
    """Let routing choose the interface of each reply."""
    for start in range(at, count * CONTROL_OCTETS, CONTROL_OCTETS):
        buffers.control[start : start + 4] = bytes(4)


def _address_of(memory: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


# Where in the control data the interface index stands: behind struct cmsghdr, and in in6_pktinfo behind the address.
_INTERFACE_AT = {socket.AF_INET: 16, socket.AF_INET6: 32}
