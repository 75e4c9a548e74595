"""The open requests to one API server: a thread for each, which reads octets and understands none of them.

    open -> thread: credentials, connect, send, read -> Arrivals in a bounded queue, eventfd -> take
                       while little comes: lends its connection -------- epoll ---------------> take

A queue that is full makes the threads wait, and so the kernel and the server. After `close`, nothing of a stream
arrives any more, and its thread ends as soon as it notices, which is at once wherever it waits for a socket.

A list is read by its thread, ahead of who decodes it. A watch is quiet for most of the time, and its events should be
known soon: two threads that take turns at one interpreter cost several times what reading does. So a thread lends a
connection that has become quiet to `take`, and has it back for a burst, and for all that goes wrong.

A 401 is passed on, but after one more attempt if refreshing the credentials gives others. A request that may be sent
before it is due (Request.when_heard_of) is tried until it is not refused any more. Not here: connections and
credentials (kdns.server.apiclient), what the octets say, when to try again (kdns.kube.reflector).
"""

from __future__ import annotations

import os
import select
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from random import uniform

from kdns.kube.request import Failure, Fault, Headers, Request
from kdns.server.apiclient import ApiClient, RequestFailed
from kdns.server.credentials import Credentials
from kdns.server.dialing import Cancelled, Connection
from kdns.server.response import Head, Response

# A request that may be sent as soon as somebody listens again is tried after one to two times this, until it is due.
# A connection that is refused costs an API server's kernel two packets: of a thousand nodes, three a node each three
# seconds are a thousand a second. Nobody is asked for anything by it, and those who come back do not come in step.
KNOCK_SECONDS = 2.0
QUEUE_OCTETS = 4 << 20  # of all streams together; control decodes that much in some 20 ms
BATCH_OCTETS = 256 << 10  # of one `take`: about a millisecond of decoding, before control looks at something else
BLOCK_OCTETS = 64 << 10  # what a thread reads before it passes it on, if so much is there
QUIET_SECONDS = 0.05  # without an octet; no list pauses for so long but for a full queue
ARRIVAL_OCTETS = 256  # what an arrival counts besides its block, so that tiny ones are bounded, too
REFUSAL_OCTETS = 64 << 10  # of the body of an answer that is not a 2xx: a Status has under 1 kB
SUCCESS = range(200, 300)  # statuses of answers that hold what was asked for
UNAUTHORIZED = 401


@dataclass(frozen=True, slots=True)
class Opened:
    """The head of an answer has come."""

    status: int
    headers: Headers


@dataclass(frozen=True, slots=True)
class Received:
    """The next octets of its body."""

    block: bytes


@dataclass(frozen=True, slots=True)
class Ended:
    """The body is whole."""


@dataclass(frozen=True, slots=True)
class Failed:
    """There will be no more of it."""

    failure: Failure


What = Opened | Received | Ended | Failed


@dataclass(frozen=True, slots=True)
class Arrival:
    """Something that has come of the request `number` of an owner."""

    owner: int
    number: int
    what: What

    @property
    def octets(self) -> int:
        """What it counts in a queue."""
        return ARRIVAL_OCTETS + (len(self.what.block) if isinstance(self.what, Received) else 0)


class Streams:
    """The streams of one API server, at most one for each owner. All methods are for one thread, and none waits."""

    def __init__(self, client: ApiClient, queue_octets: int = QUEUE_OCTETS) -> None:
        self._client = client
        self._queue_octets = queue_octets
        self._streams: dict[int, _Stream] = {}
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)  # readable while the queue is not empty
        self._changed = threading.Condition()  # guards what follows, and the streams' ends
        self._queue: deque[Arrival] = deque()
        self._octets = 0  # in the queue
        self._loans: dict[int, _Loan] = {}  # by descriptor
        self._ready = select.epoll()
        self._ready.register(self._wake, select.EPOLLIN)

    def fileno(self) -> int:
        """Readable while `take` has something."""
        return self._ready.fileno()

    def open(self, owner: int, request: Request) -> None:
        """Send a request. The owner's former stream is closed."""
        self.close(owner)
        try:
            stream = _Stream(owner, request)
        except OSError as error:  # out of descriptors
            self._refuse(owner, request, error)
            return
        self._streams[owner] = stream
        thread = threading.Thread(target=self._run, args=(stream,), name=f"kdns-stream-{owner}", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # out of threads, or of memory for them
            stream.finish()
            self._refuse(owner, request, error)

    def close(self, owner: int) -> None:
        """Have no more of an owner's request; what has come of it and is not taken is dropped."""
        stream = self._streams.pop(owner, None)
        with self._changed:
            if stream is not None:
                self._return(stream)
                stream.cancel()
            self._queue = deque(arrival for arrival in self._queue if arrival.owner != owner)
            self._octets = sum(arrival.octets for arrival in self._queue)
            self._settle()

    def close_all(self) -> None:
        """Have no more of anything."""
        for owner in list(self._streams):
            self.close(owner)

    def release(self) -> None:
        """Let go of the descriptors, once everything is closed and all threads have ended: this is over."""
        self._ready.close()
        os.close(self._wake)

    def take(self) -> list[Arrival]:
        """What has come, in order, but not much more than BATCH_OCTETS of it."""
        taken: list[Arrival] = []
        octets = 0
        with self._changed:
            while self._queue and octets < BATCH_OCTETS:
                taken.append(self._queue.popleft())
                octets += taken[-1].octets
            if taken:
                self._octets -= octets
                self._settle()
            if not self._queue:
                loans = [self._loans[fd] for fd, _ in self._ready.poll(0) if fd in self._loans]
                taken += filter(None, map(self._read, loans))
        return taken

    def _settle(self) -> None:
        """Something has been taken out of the queue."""
        if not self._queue:
            with suppress(BlockingIOError):
                os.eventfd_read(self._wake)
        self._changed.notify_all()

    def _read(self, loan: _Loan) -> Arrival | None:
        """What has come on a connection that is lent. Its thread has it back if that is much, or the end of it."""
        content, stream = b"", loan.stream
        try:
            content = loan.answer.now()
        except Exception as error:
            loan.error = error  # its thread says what it means
        loan.is_heard = True
        if loan.error is not None or loan.answer.is_complete or loan.answer.has_more:
            self._return(stream)
        return Arrival(stream.owner, stream.request.number, Received(content)) if content else None

    def _return(self, stream: _Stream) -> None:
        """Let its thread have back what it has lent."""
        loan, stream.loan = stream.loan, None
        if loan is not None:
            self._ready.unregister(loan.answer.fileno())
            del self._loans[loan.answer.fileno()]
            loan.is_over.set()

    def _refuse(self, owner: int, request: Request, error: Exception) -> None:
        failure = Failure(Fault.UNREACHABLE, f"{self._client.server}: no thread to read with: {error}")
        with self._changed:
            self._append(Arrival(owner, request.number, Failed(failure)))

    # From here on: what runs in the threads

    def _run(self, stream: _Stream) -> None:
        try:
            with suppress(Cancelled):
                self._converse(stream)
        finally:
            with self._changed:
                stream.finish()

    def _converse(self, stream: _Stream) -> None:
        is_due = False
        while not is_due:
            is_due = stream.wait(KNOCK_SECONDS * uniform(1, 2))
            try:
                self._ask(stream)
                return
            except RequestFailed as failed:
                if is_due or failed.failure.fault is not Fault.REFUSED:
                    self._post(stream, Failed(failed.failure))
                    return

    def _ask(self, stream: _Stream) -> None:
        """Send the request, once more if other credentials may help, and pass on the answer. Raises RequestFailed."""
        credentials = self._client.credentials()
        others = self._attempt(stream, credentials)
        if others is not None:
            self._attempt(stream, others, is_last=True)

    def _attempt(self, stream: _Stream, credentials: Credentials, is_last: bool = False) -> Credentials | None:
        """Send the request and pass on the answer; or none, if these credentials are refused and there are others."""
        with self._client.send(stream.request, credentials, stream.cancelled) as connection, self._client.failing():
            answer = _Answer(connection, self._client.limits.read)
            content, head = answer.begin()
            if head.status == UNAUTHORIZED and not is_last:
                others = self._client.refreshed(credentials)
                if not others.is_same_proof(credentials):
                    return others
            self._post(stream, Opened(head.status, head.headers))
            self._pass_on(stream, answer, content, sys.maxsize if head.status in SUCCESS else REFUSAL_OCTETS)
        return None

    def _pass_on(self, stream: _Stream, answer: _Answer, content: bytes, left: int) -> None:
        """Post what comes of an answer's body, at most `left` octets of it. content: what has come already."""
        while True:
            if content:
                self._post(stream, Received(content[:left]))
                left -= len(content)
            if answer.is_complete or left <= 0:
                break
            content = b""
            if left > REFUSAL_OCTETS and answer.is_quiet(QUIET_SECONDS):
                self._lend(stream, answer)
            else:
                content = answer.more()
        self._post(stream, Ended())

    def _lend(self, stream: _Stream, answer: _Answer) -> None:
        """Have `take` read the answer, for as long as little comes of it."""
        loan = _Loan(stream, answer)
        limit = self._client.limits.read
        with self._changed:
            if stream.is_cancelled:
                raise Cancelled
            self._ready.register(answer.fileno(), select.EPOLLIN)
            stream.loan = self._loans[answer.fileno()] = loan
        is_over = loan.is_over.wait(limit)
        with self._changed:
            self._return(stream)
        if loan.error is not None:
            raise loan.error
        if not (is_over or loan.is_heard):
            raise TimeoutError(f"nothing heard for {limit:g} s")

    def _post(self, stream: _Stream, what: What) -> None:
        """Queue something, once there is room for it. Raises Cancelled if nobody waits for it any more."""
        arrival = Arrival(stream.owner, stream.request.number, what)
        with self._changed:
            while self._queue and self._octets + arrival.octets > self._queue_octets and not stream.is_cancelled:
                self._changed.wait()  # for `take` or `close`, whatever that takes: control decides how fast we read
            if stream.is_cancelled:
                raise Cancelled
            self._append(arrival)

    def _append(self, arrival: Arrival) -> None:
        if not self._queue:
            os.eventfd_write(self._wake, 1)
        self._queue.append(arrival)
        self._octets += arrival.octets


class _Stream:
    """A request that is being made. cancelled: an eventfd, readable once nobody wants its answer any more."""

    def __init__(self, owner: int, request: Request) -> None:
        self.owner = owner
        self.request = request
        self.cancelled = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.is_cancelled = False
        self.loan: _Loan | None = None
        self._is_finished = False

    def wait(self, seconds: float) -> bool:
        """Wait so long, but not beyond when it is due: whether it is. Raises Cancelled."""
        left = self.request.due - time.monotonic()
        if left <= 0:
            return True
        poll = select.poll()
        poll.register(self.cancelled, select.POLLIN)
        if poll.poll(min(left, seconds) * 1000):
            raise Cancelled
        return left <= seconds

    def cancel(self) -> None:
        """Have its thread end."""
        self.is_cancelled = True
        if not self._is_finished:
            os.eventfd_write(self.cancelled, 1)

    def finish(self) -> None:
        """Its thread has ended."""
        self._is_finished = True
        os.close(self.cancelled)


class _Answer:
    """The answer that comes on a connection. Methods raise what its kinds of failures are."""

    def __init__(self, connection: Connection, limit: float) -> None:
        self._connection = connection
        self._limit = limit
        self._buffer = memoryview(bytearray(BLOCK_OCTETS))
        self._response = Response()
        self.has_more = False  # to tell than was read last, though nothing comes any more

    @property
    def is_complete(self) -> bool:
        return self._response.is_complete

    def fileno(self) -> int:
        """Of the connection."""
        return self._connection.fileno()

    def is_quiet(self, seconds: float) -> bool:
        """Whether nothing comes for so long."""
        return self._connection.is_quiet(seconds)

    def begin(self) -> tuple[bytes, Head]:
        """Its head, and what of its content came with it."""
        content = b""
        while self._response.head is None:
            content = self.more()
        return content, self._response.head

    def more(self) -> bytes:
        """The next octets of its content, as soon as there are some; none, if only its frame has come."""
        return self._feed(self._connection.receive_into(self._buffer, self._limit))

    def now(self) -> bytes:
        """As more, without waiting."""
        received = self._connection.receive_now(self._buffer)
        return b"" if received is None else self._feed(received)

    def _feed(self, received: int) -> bytes:
        self.has_more = received == BLOCK_OCTETS or self._connection.is_ending
        if not received:
            self._response.end()
        return self._response.feed(bytes(self._buffer[:received]))


class _Loan:
    """A connection that `take` reads from, and what it came to. is_heard: whether anything has come meanwhile."""

    def __init__(self, stream: _Stream, answer: _Answer) -> None:
        self.stream = stream
        self.answer = answer
        self.is_heard = False
        self.error: Exception | None = None
        self.is_over = threading.Event()
