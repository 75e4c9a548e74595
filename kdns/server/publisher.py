"""Control's side of the feed: every worker is told every change, and none of them can hold control up.

A worker whose socket is full is lagging: it gets no more changes, and an image as soon as its socket takes
one. The messages and their numbers are those of kdns.server.feed.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Iterable

from kdns.server.feed import (
    MAX_MESSAGE_OCTETS,
    Acknowledge,
    Change,
    Hello,
    Scope,
    decode_from_worker,
    encode,
)
from kdns.server.parcel import Parcel
from kdns.zone.delta import ZoneDelta

ALL_SOURCES = -1


class Subscriber:
    """One worker slot as control sees it. `is_lagging`: its next message is an image."""

    __slots__ = ("acknowledged", "index", "is_lagging", "sock")

    def __init__(self, index: int, sock: socket.socket) -> None:
        self.index = index
        self.sock = sock
        self.acknowledged = 0
        self.is_lagging = True

    def send(self, message: bytes, fd: int) -> bool:
        """Send without waiting; False if the socket is full."""
        try:
            socket.send_fds(self.sock, [message], [fd] if fd >= 0 else [])
        except BlockingIOError:
            return False
        return True


class Publisher:
    """The stream of changes of one control, which has read all its sources.

    image: gives the whole state of all sources. incarnation: the number of the worker that a slot has now.
    kept: sources that the workers are to keep as they have them; read whenever an image is sent.
    """

    def __init__(
        self,
        epoch: int,
        sockets: Iterable[socket.socket],
        image: Callable[[], Iterable[ZoneDelta]],
        incarnation: Callable[[int], int],
        kept: Collection[int] = (),
    ) -> None:
        self.generation = 1
        self.subscribers = [Subscriber(index, sock) for index, sock in enumerate(sockets)]
        self._epoch = epoch
        self._make_image = image
        self._incarnation = incarnation
        self._kept = kept
        self._image: Parcel | None = None

    @property
    def visible_generation(self) -> int:
        """The generation that every worker answers from at least."""
        return min(subscriber.acknowledged for subscriber in self.subscribers)

    def publish(self, scope: Scope, source: int, parts: Iterable[ZoneDelta]) -> int:
        """Tell every worker a change and return its generation."""
        self.generation += 1
        self._forget_image()
        parcel = Parcel(parts)
        message = encode(Change(self._epoch, self.generation, scope, source, parcel.data))
        for subscriber in self.subscribers:
            if not subscriber.is_lagging and not subscriber.send(message, parcel.fd):
                subscriber.is_lagging = True
        parcel.close()
        return self.generation

    def publish_image(self) -> int:
        """Have every worker load everything anew, as its socket becomes writable; returns the generation."""
        self.generation += 1
        self._forget_image()
        for subscriber in self.subscribers:
            subscriber.is_lagging = True
        return self.generation

    def catch_up(self, subscriber: Subscriber) -> None:
        """Send an image to a lagging worker whose socket has become writable."""
        if self._image is None:
            self._image = Parcel(self._make_image())
        kept = tuple(sorted(self._kept))
        change = Change(self._epoch, self.generation, Scope.IMAGE, ALL_SOURCES, self._image.data, kept)
        subscriber.is_lagging = not subscriber.send(encode(change), self._image.fd)
        if not any(subscriber.is_lagging for subscriber in self.subscribers):
            self._forget_image()

    def receive(self, subscriber: Subscriber) -> None:
        """Read all that a worker has said. Raises MalformedMessage, and has then read that message."""
        while True:
            try:
                data = subscriber.sock.recv(MAX_MESSAGE_OCTETS)
            except BlockingIOError:
                return
            self._take(subscriber, decode_from_worker(data))

    def _take(self, subscriber: Subscriber, message: Hello | Acknowledge) -> None:
        if message.incarnation != self._incarnation(subscriber.index):
            return  # said by a worker that is dead
        if isinstance(message, Hello):
            subscriber.is_lagging = True
            subscriber.acknowledged = 0
        elif message.epoch == self._epoch:
            subscriber.acknowledged = message.generation

    def _forget_image(self) -> None:
        if self._image is not None:
            self._image.close()
            self._image = None
