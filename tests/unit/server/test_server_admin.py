"""kdns.server.admin: pages over real sockets, and nothing that a client could do to who serves them."""

from __future__ import annotations

import os
import re
import selectors
import socket
import struct
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus

import pytest

from kdns.corefile import (
    Condition,
    Corefile,
    Health,
    HttpAddress,
    Prometheus,
    Ready,
    ReadyWhen,
    ServerBlock,
    Settings,
)
from kdns.observe.logs import Log
from kdns.server.admin import (
    ACCEPTS_MAX,
    ACCEPTS_SECONDS,
    CONNECTIONS_MAX,
    EXCHANGE_SECONDS,
    HEALTH,
    LEFTOVERS_MAX,
    METRICS,
    READY,
    AdminPlan,
    AdminServer,
    Doors,
    admin_plan,
)
from kdns.server.http1 import Page
from kdns.server.sockets import BindError

PATIENCE = 10.0
LOOPBACK = HttpAddress("127.0.0.1", 0)
PROBE = b"GET /health HTTP/1.1\r\nHost: kdns.example.org\r\n\r\n"
BIG = b"x" * (16 << 20)  # more than the kernel buffers for a connection


def _broken() -> Page:
    raise ZeroDivisionError


class Host:
    """An AdminServer in the loop of whoever tests it. `/ready` is a bug here, `/metrics` a big page."""

    def __init__(self, log: Log, read_log: Callable[[], str]) -> None:
        self.selector = selectors.DefaultSelector()
        small, big = Page(HTTPStatus.OK, b"OK"), Page(HTTPStatus.OK, BIG)
        pages = {HEALTH: lambda: small, READY: _broken, METRICS: lambda: big}
        self.server = AdminServer(self.selector, pages, log)
        self.log = read_log
        self._told = 0

    def listen(self, doors: Doors) -> list[int]:
        """Listen, and return the ports, of all that was new."""
        self.server.listen(doors)
        ports = [int(port) for port in re.findall(r":(\d+) \(HTTP\)", self.log())]
        new, self._told = ports[self._told :], len(ports)
        return new

    def turn(self, now: float | None = None) -> None:
        """One turn of the loop, without a wait."""
        for key, events in self.selector.select(0):
            key.data(events)
        self.server.tick(time.monotonic() if now is None else now)

    def until(self, is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not is_so():
            assert time.monotonic() < deadline
            self.turn()

    def fetch(self, port: int, request: bytes = PROBE, host: str = "127.0.0.1") -> bytes:
        """All that the server sends, to its end."""
        with _connect(port, host) as client:
            client.sendall(request)
            return self.rest(client)

    def rest(self, client: socket.socket) -> bytes:
        received = bytearray()
        client.setblocking(False)

        def is_over() -> bool:
            try:
                block = client.recv(1 << 20)
            except BlockingIOError:
                return False
            except ConnectionResetError:
                return True
            received.extend(block)
            return not block

        self.until(is_over)
        return bytes(received)

    @property
    def watched(self) -> int:
        """Listening sockets and connections."""
        return len(self.selector.get_map())


@pytest.fixture
def host() -> Iterator[Host]:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    said = bytearray()

    def read_log() -> str:
        while True:
            try:
                said.extend(os.read(reader, 65536))
            except BlockingIOError:
                return said.decode()

    made = Host(Log(writer), read_log)
    yield made
    made.server.close()
    assert made.watched == 0
    made.selector.close()
    os.close(reader)
    os.close(writer)


def _connect(port: int, host: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection((host, port), PATIENCE)


def _doors(*paths: str, address: HttpAddress = LOOPBACK) -> Doors:
    return {address: frozenset(paths)}


def _body(reply: bytes) -> bytes:
    return reply.partition(b"\r\n\r\n")[2]


def test_a_page_is_served_at_a_free_port_that_the_log_names(host: Host) -> None:
    (port,) = host.listen(_doors(HEALTH))
    assert f"/health served on 127.0.0.1:{port} (HTTP)" in host.log()
    assert _body(host.fetch(port)) == b"OK"


def test_a_probe_that_comes_with_its_connection_is_answered_in_the_same_turn(host: Host) -> None:
    (port,) = host.listen(_doors(HEALTH))
    with _connect(port) as client:
        client.sendall(PROBE)
        host.turn()
        assert client.recv(4096).endswith(b"\r\n\r\nOK")


def test_a_request_may_come_in_pieces(host: Host) -> None:
    (port,) = host.listen(_doors(HEALTH))
    with _connect(port) as client:
        for octet in PROBE:
            client.sendall(bytes([octet]))
            host.turn()
        assert _body(host.rest(client)) == b"OK"


def test_only_the_paths_of_an_address_are_served_there(host: Host) -> None:
    (port,) = host.listen(_doors(METRICS))
    assert host.fetch(port).startswith(b"HTTP/1.1 404 ")


def test_addresses_that_are_the_same_share_a_socket(host: Host) -> None:
    plan = AdminPlan(health=(LOOPBACK,), ready=(LOOPBACK, LOOPBACK))
    assert plan.doors == {LOOPBACK: {HEALTH, READY}}
    assert len(host.listen(plan.doors)) == 1


def test_a_reply_overtakes_neither_what_the_client_still_sends_nor_a_reset(host: Host) -> None:
    (port,) = host.listen(_doors(HEALTH))
    reply = host.fetch(port, b"POST /health HTTP/1.0\r\nContent-Length: 20000\r\n\r\n" + b"x" * 20000)
    assert reply.startswith(b"HTTP/1.1 405 ")


def test_a_client_that_never_stops_sending_is_cut_off(host: Host) -> None:
    (port,) = host.listen(_doors(HEALTH))
    with _connect(port) as client:
        client.sendall(PROBE)
        host.turn()
        client.setblocking(False)
        sent = 0
        while host.watched > 1:
            try:
                sent += client.send(b"x" * 16384)
            except BlockingIOError:
                pass
            except OSError:
                break
            host.turn()
        assert sent >= LEFTOVERS_MAX


def test_a_page_that_is_larger_than_all_buffers_arrives_whole(host: Host) -> None:
    (port,) = host.listen(_doors(METRICS))
    assert _body(host.fetch(port, PROBE.replace(b"health", b"metrics"))) == BIG


def test_who_does_not_read_delays_nobody_and_is_let_go_after_a_while(host: Host) -> None:
    (port,) = host.listen(_doors(METRICS, HEALTH))
    with _connect(port) as client:
        client.sendall(PROBE.replace(b"health", b"metrics"))
        host.turn()
        assert _body(host.fetch(port)) == b"OK"
        host.until(lambda: host.watched == 2)
        host.turn(time.monotonic() + EXCHANGE_SECONDS)
        assert host.watched == 1
        assert len(host.rest(client)) < len(BIG)


def test_who_sends_nothing_is_let_go_after_a_while(host: Host) -> None:
    (port,) = host.listen(_doors(HEALTH))
    with _connect(port) as client:
        host.turn()
        host.turn(time.monotonic() + EXCHANGE_SECONDS - 1)
        assert host.watched == 2
        host.turn(time.monotonic() + EXCHANGE_SECONDS)
        assert host.watched == 1
        assert host.rest(client) == b""


def test_who_holds_connections_open_keeps_nobody_out(host: Host) -> None:
    (port,) = host.listen(_doors(HEALTH))
    held = [_connect(port) for _ in range(CONNECTIONS_MAX + 5)]
    for client in held:
        client.sendall(b"GET /health HTTP/1.1\r\n")
    host.until(lambda: host.watched == 1 + CONNECTIONS_MAX)
    assert _body(host.fetch(port)) == b"OK"
    assert host.watched <= 1 + CONNECTIONS_MAX
    assert host.rest(held[0]) == b""  # the oldest made room
    held[-1].sendall(b"Host: kdns.example.org\r\n\r\n")
    assert _body(host.rest(held[-1])) == b"OK"
    for client in held:
        client.close()


def test_connections_one_after_the_other_are_not_held_up(host: Host) -> None:
    (port,) = host.listen(_doors(HEALTH))
    now = time.monotonic() + 1
    for _ in range(ACCEPTS_MAX):
        host.turn(now)
        with _connect(port) as client:
            client.sendall(PROBE)
            host.turn(now)
            assert _has_reply(client)


def test_a_flood_is_taken_at_a_bounded_pace(host: Host) -> None:
    (port,) = host.listen(_doors(HEALTH))
    clients = [_connect(port) for _ in range(ACCEPTS_MAX + 10)]
    for client in clients:
        client.sendall(PROBE)
        client.setblocking(False)
    now = time.monotonic() + 1
    host.server.tick(now)
    for _ in range(5):
        for key, events in host.selector.select(0):
            key.data(events)
        host.server.tick(now)
    assert sum(_has_reply(client) for client in clients) == ACCEPTS_MAX
    host.turn(now + ACCEPTS_SECONDS)
    host.turn(now + ACCEPTS_SECONDS)
    assert all(map(_has_reply, clients))
    for client in clients:
        client.close()


def _has_reply(client: socket.socket) -> bool:
    try:
        return client.recv(4096, socket.MSG_PEEK).endswith(b"OK")
    except BlockingIOError:
        return False


def test_clients_that_go_in_the_middle_of_anything_do_no_harm(host: Host) -> None:
    (port,) = host.listen(_doors(HEALTH, METRICS))
    for sent in (b"", b"GET ", PROBE, PROBE.replace(b"health", b"metrics")):
        client = _connect(port)
        client.sendall(sent)
        host.turn()
        # Closed with a reset.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
    host.until(lambda: host.watched == 1)
    assert _body(host.fetch(port)) == b"OK"


def test_a_bug_in_a_page_is_logged_and_is_the_only_thing_that_fails(host: Host) -> None:
    (port,) = host.listen(_doors(HEALTH, READY))
    assert host.fetch(port, PROBE.replace(b"health", b"ready")).startswith(b"HTTP/1.1 500 ")
    assert "kdns bug: an HTTP request could not be answered" in host.log()
    assert "ZeroDivisionError" in host.log()
    assert _body(host.fetch(port)) == b"OK"


def test_an_address_that_is_taken_is_named_with_what_was_to_be_served(host: Host) -> None:
    (kept,) = host.listen(_doors(HEALTH))
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = HttpAddress("127.0.0.1", other.getsockname()[1])
        with pytest.raises(BindError) as caught:
            host.server.listen({HttpAddress("127.0.0.2", 0): frozenset({METRICS}), taken: frozenset({READY})})
    assert f"cannot serve /ready on TCP {taken}: address already in use: another process" in str(caught.value)
    assert host.watched == 1  # and nothing is held of the other address
    assert _body(host.fetch(kept)) == b"OK"


def test_an_address_that_is_not_ours_is_named(host: Host) -> None:
    with pytest.raises(BindError, match=r"cannot serve /health on TCP 192\.0\.2\.77:8080: cannot assign"):
        host.server.listen(_doors(HEALTH, address=HttpAddress("192.0.2.77", 8080)))


def test_a_name_without_an_address_is_named(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(BindError, match=r"on TCP kdns\.invalid:8080: name or service not known"):
        host.server.listen(_doors(HEALTH, address=HttpAddress("kdns.invalid", 8080)))


def test_what_is_listened_on_again_gains_paths_and_loses_them_when_only_others_are_kept(host: Host) -> None:
    (port,) = host.listen(_doors(HEALTH))
    assert host.listen(_doors(METRICS)) == []
    metrics = PROBE.replace(b"health", b"metrics")
    assert _body(host.fetch(port)) == b"OK"
    assert host.fetch(port, metrics).startswith(b"HTTP/1.1 200 ")
    host.server.keep_only(_doors(METRICS))
    assert host.fetch(port).startswith(b"HTTP/1.1 404 ")
    host.server.keep_only({})
    with pytest.raises(ConnectionRefusedError):
        _connect(port)


def test_an_address_that_is_given_up_takes_its_connections_with_it(host: Host) -> None:
    first, second = host.listen({LOOPBACK: frozenset({HEALTH}), HttpAddress("127.0.0.2", 0): frozenset({HEALTH})})
    with _connect(first) as client, _connect(second, "127.0.0.2") as other:
        host.until(lambda: host.watched == 4)
        host.server.keep_only({LOOPBACK: frozenset({HEALTH})})
        assert host.watched == 2
        assert host.rest(other) == b""
        client.sendall(PROBE)
        assert _body(host.rest(client)) == b"OK"


def test_a_wildcard_can_be_narrowed_to_one_address_of_its_port(host: Host) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    everywhere, here = HttpAddress("", port), HttpAddress("127.0.0.1", port)
    host.listen(_doors(HEALTH, address=everywhere))
    assert _body(host.fetch(port, host="127.0.0.2")) == b"OK"
    host.listen(_doors(HEALTH, address=here))
    host.server.keep_only(_doors(HEALTH, address=here))
    assert _body(host.fetch(port)) == b"OK"
    with pytest.raises(ConnectionRefusedError):
        _connect(port, "127.0.0.2")


def test_a_second_kdns_at_the_same_address_is_an_error(host: Host) -> None:
    (port,) = host.listen(_doors(HEALTH))
    with selectors.DefaultSelector() as selector:
        second = AdminServer(selector, {}, Log(quiet=True))
        with pytest.raises(BindError, match="another kdns"):
            second.listen(_doors(HEALTH, address=HttpAddress("127.0.0.1", port)))


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")
def test_every_address_means_both_families(host: Host) -> None:
    (port,) = host.listen(_doors(HEALTH, address=HttpAddress("", 0)))
    assert _body(host.fetch(port, host="127.0.0.1")) == b"OK"
    assert _body(host.fetch(port, host="::1")) == b"OK"


def test_a_name_is_looked_up(host: Host) -> None:
    (port,) = host.listen(_doors(HEALTH, address=HttpAddress("localhost", 0)))
    assert _body(host.fetch(port)) == b"OK"


def test_a_pause_is_no_obstacle_to_other_addresses(host: Host) -> None:
    (port,) = host.listen(_doors(HEALTH))
    clients = [_connect(port) for _ in range(ACCEPTS_MAX)]
    for key, events in host.selector.select(0):
        key.data(events)
    host.server.listen(_doors(HEALTH, address=HttpAddress("127.0.0.2", 0)))  # while nothing is accepted
    host.server.keep_only(_doors(HEALTH, address=HttpAddress("127.0.0.2", 0)))
    host.turn(time.monotonic() + ACCEPTS_SECONDS)
    assert host.watched == 1
    for client in clients:
        client.close()


def test_the_plan_gathers_what_all_server_blocks_say() -> None:
    blocks = (
        ServerBlock((b"\0",), health=Health(LOOPBACK, lameduck_ns=2 * 10**9), ready=Ready()),
        ServerBlock((b"\4test\0",), health=Health(lameduck_ns=5 * 10**9), prometheus=Prometheus()),
        ServerBlock((b"\7example\0",)),
    )
    when = ReadyWhen(Condition.SYNCED)
    plan = admin_plan(Corefile(blocks), Settings(ready_when=when))
    assert plan.health == (LOOPBACK, HttpAddress("", 8080))
    assert plan.ready == (HttpAddress("", 8181),)
    assert plan.metrics == (HttpAddress("localhost", 9153),)
    assert plan.lameduck == 5
    assert plan.ready_when is when
    assert len(plan.doors) == 4


@pytest.mark.parametrize("lameduck", [0.0, 7.5])
def test_a_flag_overrides_the_lame_duck_time_of_the_corefile(lameduck: float) -> None:
    corefile = Corefile((ServerBlock((b"\0",), health=Health(lameduck_ns=5 * 10**9)),))
    assert admin_plan(corefile, Settings(lameduck=lameduck)).lameduck == lameduck


def test_a_corefile_without_any_of_it_opens_nothing() -> None:
    assert admin_plan(Corefile((ServerBlock((b"\0",)),)), Settings()) == AdminPlan()
    assert not AdminPlan().doors
