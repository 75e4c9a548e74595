"""The UDP server on real loopback sockets: batches, silence between answers, packet info, odd sizes, failed sends."""

from __future__ import annotations

import ctypes
import errno
from collections import Counter

import pytest

from kdns.observe.families import DROPPED, SEND_FAILURES
from kdns.observe.querylog import Exchange
from kdns.server import udp
from kdns.server.udp import BATCH, BUFFER_OCTETS
from tests.support.engines import Served, cluster
from tests.support.loopback import Server, ask, client, has_ipv6, receive_all
from tests.support.messages import COOKIE, Answer, mixed_case, opt, option, query
from tests.support.subtrees import headless, packed, service

WEB = "web.shop.svc.cluster.local"
DB = "db.shop.svc.cluster.local"
NOBODY = "nope.shop.svc.cluster.local"
ipv6 = pytest.mark.skipif(not has_ipv6(), reason="no ::1 here")


@pytest.fixture
def served() -> Served:
    crowd = " ".join(f"10.2.{at >> 8}.{at & 255}" for at in range(300))
    return cluster(
        service("web.shop", "10.0.0.1"), headless("db.shop", "10.1.0.1 10.1.0.2 10.1.0.3"),
        headless("crowd.shop", crowd), bufsize=BUFFER_OCTETS,
    )


def test_a_query_is_answered_first_and_again(served: Served) -> None:
    with Server(served.responder) as server, client(server) as one:
        for ident in range(3):
            [reply] = ask(server, one, query(WEB, ident=ident))
            assert (Answer(reply).ident, Answer(reply).rdata) == (ident, ["10.0.0.1"])


def test_a_socket_reply_is_the_responders_reply(served: Served) -> None:
    """For all that is kept, not kept, kept for others, or spliced."""
    names = (WEB, WEB.upper(), mixed_case(NOBODY), "svc.cluster.local", "www.example.org", mixed_case(WEB))
    questions = [
        query(text, qtype, edns=edns, flags=flags, ident=ident)
        for ident, text in enumerate(names)
        for qtype in (1, 16, 65, 97)
        for edns in (b"", opt(), opt(0x0578), opt(options=option(COOKIE, b"ABCDabcd")))
        for flags in (0x0100, 0x0120)
    ]
    with Server(served.responder) as server, client(server) as one:
        for octets in questions * 2:
            fresh = served.ask(octets)
            assert ask(server, one, octets) == [fresh]


@pytest.mark.parametrize("count", [1, 2, BATCH - 1, BATCH, BATCH + 1, 3 * BATCH])
def test_each_query_of_a_batch_gets_its_own_reply(served: Served, count: int) -> None:
    names = (WEB, DB, mixed_case(NOBODY), "crowd.shop.svc.cluster.local", "www.example.org")
    with Server(served.responder) as server, client(server) as one:
        for at in range(count):
            one.send(query(names[at % 5], ident=at, edns=opt(4096) if at % 2 else b""))
        assert server.run() == -(-count // BATCH)
        replies = [Answer(reply) for reply in receive_all(one)]
    assert [reply.ident for reply in replies] == list(range(count))
    for at, reply in enumerate(replies):
        assert reply.question == f"{names[at % 5]}. IN A"
        assert reply.has_edns is bool(at % 2)
        assert bool(reply.answer) is (at % 5 in (0, 1, 3))


def test_many_batches_leave_the_buffers_as_they_were(served: Served) -> None:
    """Long replies over short queries and the reverse, in changing places of the batch."""
    with Server(served.responder) as server, client(server) as one:
        for turn in range(60):
            for at in range(turn % 7 + 1):
                crowd = (turn + at) % 3 == 0
                one.send(query("crowd.shop.svc.cluster.local" if crowd else WEB, ident=at, edns=opt(4096)))
            server.run()
            for at, reply in enumerate(receive_all(one)):
                answers = len(Answer(reply).answer)
                assert answers == (1 if (turn + at) % 3 else (4096 - 12 - 34 - 11) // 16)


@pytest.mark.parametrize("junk", [b"", b"x", b"12345678901", query(WEB, flags=0x8000), query(NOBODY, flags=0x8180)])
@pytest.mark.parametrize("places", [{0}, {3}, {9}, {0, 1, 2}, {0, 4, 5, 9}, set(range(10))])
def test_what_gets_no_reply_leaves_its_neighbours_theirs(served: Served, junk: bytes, places: set[int]) -> None:
    with Server(served.responder) as server, client(server) as one:
        ask(server, one, query(WEB))
        replies = ask(server, one, *(junk if at in places else query(WEB, ident=at) for at in range(10)))
    assert [Answer(reply).ident for reply in replies] == [at for at in range(10) if at not in places]
    assert served.counting.total(DROPPED) == len(places)


def test_a_socket_without_queries_is_no_error(served: Served) -> None:
    with Server(served.responder) as server:
        server.udp.on_readable()
        assert served.counting.replies == {}


# Sizes


@pytest.mark.parametrize("size", [BUFFER_OCTETS - 1, BUFFER_OCTETS, BUFFER_OCTETS + 1, 30_000, 65_000])
def test_a_query_of_any_size_is_answered(served: Served, size: int) -> None:
    """What is longer than a buffer is cut, and so malformed."""
    padding = size - len(query(WEB)) - 11 - 4
    octets = query(WEB, edns=opt(options=option(12, bytes(padding))))
    assert len(octets) == size
    with Server(served.responder) as server, client(server) as one:
        ask(server, one, query(WEB, edns=opt()))
        before, reply, after = ask(server, one, query(WEB, ident=1), octets, query(WEB, ident=3))
    assert Answer(reply).rcode == ("NOERROR" if size <= BUFFER_OCTETS else "FORMERR")
    assert (Answer(before).ident, Answer(after).ident) == (1, 3)


def test_the_longest_reply_fills_a_buffer_and_no_more(served: Served) -> None:
    octets = [query("crowd.shop.svc.cluster.local", ident=at, edns=opt(65535)) for at in range(BATCH)]
    with Server(served.responder) as server, client(server) as one:
        for _ in range(2):
            replies = ask(server, one, *octets)
            assert len(replies) == BATCH
            assert {len(reply) for reply in replies} == {len(replies[0])}
            assert BUFFER_OCTETS - 16 < len(replies[0]) <= BUFFER_OCTETS
            assert [Answer(reply).ident for reply in replies] == list(range(BATCH))


# Addresses


def test_replies_leave_from_the_address_that_was_asked(served: Served) -> None:
    with Server(served.responder, "0.0.0.0", wildcard=True) as server:
        for host in ("127.0.0.1", "127.0.0.2", "127.9.8.7"):
            with client(server, host) as one:
                for _ in range(2):
                    assert [Answer(reply).rdata for reply in ask(server, one, query(WEB))] == [["10.0.0.1"]]


def test_queries_to_several_addresses_in_one_batch_are_told_apart(served: Served) -> None:
    with (
        Server(served.responder, "0.0.0.0", wildcard=True) as server,
        client(server, "127.0.0.2") as one,
        client(server, "127.0.0.3") as other,
    ):
        for ident in range(20):
            (other if ident % 3 else one).send(query(WEB, ident=ident))
        assert server.run() == 1
        assert [Answer(reply).ident for reply in receive_all(one)] == [at for at in range(20) if not at % 3]
        assert [Answer(reply).ident for reply in receive_all(other)] == [at for at in range(20) if at % 3]


@ipv6
@pytest.mark.parametrize(("host", "wildcard"), [("::1", False), ("::", True)])
def test_ipv6_clients_are_answered_from_the_address_they_asked(served: Served, host: str, wildcard: bool) -> None:
    with Server(served.responder, host, wildcard) as server, client(server, "::1") as one:
        for _ in range(2):
            assert [Answer(reply).rdata for reply in ask(server, one, query(WEB))] == [["10.0.0.1"]]


def test_without_packet_info_a_wildcard_would_answer_from_elsewhere(served: Served) -> None:
    """Why packet info is needed: the client never sees this reply."""
    with Server(served.responder, "0.0.0.0", wildcard=False) as server, client(server, "127.0.0.2") as one:
        assert ask(server, one, query(WEB)) == []


# What is told to an observer


@pytest.mark.parametrize("host", ["127.0.0.1", pytest.param("::1", marks=ipv6)])
def test_an_observer_is_told_of_each_reply_and_its_client(served: Served, host: str) -> None:
    told: list[Exchange] = []
    with Server(served.responder, host, observer=told.append) as server, client(server, host) as one:
        queries = [query(WEB, ident=1), b"junk", query(mixed_case(NOBODY), ident=2), query(WEB, ident=3)]
        replies = ask(server, one, *queries)
        address, port = one.getsockname()[:2]
    assert [Answer(reply).ident for reply in replies] == [1, 2, 3]
    assert [(what.query, what.reply) for what in told] == list(zip(queries[:1] + queries[2:], replies, strict=True))
    assert {(what.client, what.tcp) for what in told} == {((packed(address), port), False)}
    assert all(what.duration_ns >= 0 for what in told)


# Rotation and counters


@pytest.mark.parametrize("edns", [b"", opt(), opt(options=option(COOKIE, bytes(8)))])
def test_over_ten_thousand_answers_every_address_is_first_equally_often(served: Served, edns: bytes) -> None:
    octets = query(DB, edns=edns)
    at = len(octets) - len(edns) + 12
    firsts: Counter[bytes] = Counter()
    with Server(served.responder) as server, client(server) as one:
        for _ in range(10_000 // BATCH + 1):
            firsts.update(reply[at : at + 4] for reply in ask(server, one, *[octets] * BATCH))
    assert sum(firsts.values()) >= 10_000
    assert len(firsts) == 3
    assert max(firsts.values()) - min(firsts.values()) <= 1


def test_kept_replies_and_others_are_counted_alike(served: Served) -> None:
    with Server(served.responder) as server, client(server) as one:
        ask(server, one, *[query(WEB)] * 5, *[query(NOBODY, 28)] * 3, query("www.example.org"), b"junk")
    counted = served.counting.replies
    assert counted == {("udp", "A", "NOERROR"): 5, ("udp", "AAAA", "NXDOMAIN"): 3, ("udp", "A", "REFUSED"): 1}
    assert served.counting.total(DROPPED) == 1
    assert served.counting.total(SEND_FAILURES) == 0


# Sending fails


class Kernel:
    """Stands for sendmmsg: refuses as told, then sends. counts: messages of each call."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *results: int) -> None:
        """results: how many messages to take of each call, or a negative errno; afterwards it takes all."""
        self._real = udp._sendmmsg
        self._results = list(results)
        self.counts: list[int] = []
        monkeypatch.setattr(udp, "_sendmmsg", self._send)

    def _send(self, fd: int, at: int, count: int, flags: int) -> int:
        self.counts.append(count)
        result = self._results.pop(0) if self._results else count
        if result < 0:
            ctypes.set_errno(-result)
            return -1
        return int(self._real(fd, at, min(result, count), flags))


@pytest.mark.parametrize(
    ("results", "arrived", "failed"),
    [
        ((), [0, 1, 2, 3, 4], 0),
        ((2, 1), [0, 1, 2, 3, 4], 0),
        ((-errno.EINTR, 3, -errno.EINTR), [0, 1, 2, 3, 4], 0),
        ((-errno.EPERM,), [1, 2, 3, 4], 1),
        ((2, -errno.EHOSTUNREACH), [0, 1, 3, 4], 1),
        ((-errno.EPERM, -errno.EINVAL), [2, 3, 4], 2),
        ((3, -errno.EAGAIN), [0, 1, 2], 2),
        ((-errno.EAGAIN,), [], 5),
    ],
)
def test_replies_that_the_kernel_does_not_take_are_counted_and_the_rest_is_sent(
    served: Served, monkeypatch: pytest.MonkeyPatch, results: tuple[int, ...], arrived: list[int], failed: int
) -> None:
    Kernel(monkeypatch, *results)
    with Server(served.responder) as server, client(server) as one:
        replies = ask(server, one, *(query(WEB, ident=at) for at in range(5)))
        assert [Answer(reply).ident for reply in replies] == arrived
        assert served.counting.total(SEND_FAILURES) == failed
        assert len(ask(server, one, query(WEB))) == 1, "and the next batch is answered"


def test_a_failed_send_beside_a_dropped_message_loses_only_its_own(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    Kernel(monkeypatch, -errno.EPERM)
    with Server(served.responder) as server, client(server) as one:
        queries = [query(WEB, ident=0), query(WEB, ident=1), b"junk", query(WEB, ident=3)]
        assert [Answer(reply).ident for reply in ask(server, one, *queries)] == [1, 3]
    assert (served.counting.total(SEND_FAILURES), served.counting.total(DROPPED)) == (1, 1)


def test_a_reply_to_port_zero_is_lost_alone(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel refuses to send there; only a raw socket could ask from there, so the buffer is made to say so."""
    with Server(served.responder) as server, client(server) as one, client(server) as other:
        answer = server.udp._answer

        def forge(count: int) -> list[int]:
            server.udp._buffers.addresses[2:4] = b"\0\0"
            return answer(count)

        monkeypatch.setattr(server.udp, "_answer", forge)
        other.send(query(WEB, ident=7))
        assert [Answer(reply).ident for reply in ask(server, one, query(WEB, ident=8))] == [8]
        assert served.counting.total(SEND_FAILURES) == 1
