"""kdns.server.report: what a resolver has counted, on a board that is read while it is written."""

from __future__ import annotations

import os
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.forward.resolver import Resolver
from kdns.forward.values import CacheSpec, Fault, ForwardSpec, GroupSpec, Limits, Send, UpstreamSpec
from kdns.server.report import (
    TOP_CLIENTS,
    Board,
    CacheReport,
    ClientReport,
    Report,
    UpstreamReport,
    combined,
    report_of,
)
from kdns.wire.message import build_query
from kdns.wire.name import ROOT
from kdns.wire.outside import Ask, Purpose
from tests.support.stand import RD, question
from tests.support.upstreamserver import Asked

UPSTREAMS = (UpstreamSpec("192.0.2.1", 53), UpstreamSpec("2001:db8::1", 5353))


def resolver(*groups: GroupSpec) -> Resolver:
    some = groups or (GroupSpec((ForwardSpec(ROOT, UPSTREAMS),), CacheSpec()),)
    return Resolver(dict(enumerate(some, 3)), Limits(), Random(1), 0.0)


def ask(one: Resolver, client: bytes = b"\x0a\0\0\1", name: str = "www.example.org", now: float = 1.0) -> list[Send]:
    purpose = Purpose.CLIENT if client else Purpose.PREFETCH
    actions = one.ask(0, Ask(1, 3, question(name), RD, False, client, purpose), now)
    return [action for action in actions if isinstance(action, Send)]


def test_nothing_is_known_of_a_board_that_nobody_wrote_on() -> None:
    assert Board().read() == Report()


def test_a_report_is_read_as_it_was_written_last() -> None:
    board = Board()
    for asked in range(5):
        board.write(Report(asked=asked, shed={"full": asked}))
        assert board.read() == Report(asked=asked, shed={"full": asked})


def test_a_report_for_which_there_is_no_room_leaves_the_last_one() -> None:
    board = Board(4096)
    board.write(Report(asked=1))
    board.write(Report(clients=tuple(ClientReport(str(n), n, n) for n in range(500))))
    assert board.read() == Report(asked=1)


def test_a_writer_that_dies_in_the_middle_leaves_the_last_one() -> None:
    board = Board()
    board.write(Report(asked=1))
    board.write(Report(asked=2))
    start = board._start(board._header[0] + 1)
    board._map[start : start + 4] = b"\xff\xff\xff\xff"
    assert board.read() == Report(asked=2)


def test_a_report_crosses_from_a_child_to_its_parent() -> None:
    board = Board()
    pid = os.fork()
    if pid == 0:
        board.write(Report(asked=4711))
        os._exit(0)
    os.waitpid(pid, 0)
    assert board.read().asked == 4711


def test_what_a_resolver_counts_is_reported() -> None:
    one = resolver()
    (sent,) = ask(one)
    ask(one)
    reply = Asked(_query(sent), False, 0).answer("192.0.2.80")
    one.replied(sent.token, reply, 1.25)
    ask(one)
    found = report_of([one], 7)
    assert (found.in_flight, found.asked, found.flights, found.joined) == (7, 3, 1, 1)
    assert found.caches == {3: CacheReport(entries_success=1, hits_success=1, misses=2)}
    assert found.clients == (ClientReport("10.0.0.1", 3, 0),)
    assert set(found.upstreams) == {"192.0.2.1:53", "[2001:db8::1]:5353"}
    asked = found.upstreams[_name(sent.upstream)]
    assert (asked.requests, asked.rtt_count, asked.rtt_sum) == (1, 1, 0.25)
    assert set(found.shed.values()) == {0}


def test_an_upstream_that_is_down_is_reported_so() -> None:
    one = resolver(GroupSpec((ForwardSpec(ROOT, UPSTREAMS[:1], max_fails=1),)))
    (sent,) = ask(one)
    one.failed(sent.token, Fault.REFUSED, 1.1)
    upstream = report_of([one], 0).upstreams["192.0.2.1:53"]
    assert (upstream.is_down, upstream.failures) == (True, 1)


def test_one_server_in_several_lines_is_one_upstream() -> None:
    lines = (ForwardSpec(ROOT, UPSTREAMS[:1]), ForwardSpec(ROOT, UPSTREAMS[:1], force_tcp=True))
    one = resolver(GroupSpec(lines[:1]), GroupSpec(lines[1:]))
    assert len(one.upstreams) == 2
    assert list(report_of([one], 0).upstreams) == ["192.0.2.1:53"]


def test_of_clients_only_those_that_ask_most_are_told() -> None:
    one = resolver()
    for n in range(2 * TOP_CLIENTS):
        ask(one, bytes((10, 0, 0, n)), f"n{n}.example.org")
    ask(one, b"")
    clients = report_of([one], 0).clients
    assert len(clients) <= TOP_CLIENTS
    assert all(client.address.startswith("10.0.0.") for client in clients)


@pytest.mark.parametrize("resolvers", [0, 2])
def test_counts_of_resolvers_are_added(resolvers: int) -> None:
    some = [resolver() for _ in range(resolvers)]
    for one in some:
        ask(one)
    found = report_of(some, 1)
    assert (found.asked, found.flights) == (resolvers, resolvers)
    assert [cache.misses for cache in found.caches.values()] == [2] * (resolvers > 0)


counts = st.integers(0, 2**40)
reports = st.builds(
    Report,
    counts,
    counts,
    shed=st.dictionaries(st.sampled_from(("client", "full")), counts),
    caches=st.dictionaries(st.integers(0, 3), st.builds(CacheReport, *[counts] * 9)),
    upstreams=st.dictionaries(
        st.sampled_from("ab"), st.builds(UpstreamReport, st.booleans(), *[counts] * 4, st.just(0.5), counts)
    ),
)


@given(reports, reports)
def test_no_count_goes_backwards_and_what_is_now_is_the_later_ones(one: Report, other: Report) -> None:
    both = combined(one, other)
    assert both.asked == one.asked + other.asked
    assert both.in_flight == other.in_flight
    for group, cache in one.caches.items():
        assert both.caches[group].misses >= cache.misses
        assert both.caches[group].entries_success == other.caches.get(group, CacheReport()).entries_success
    for name, upstream in one.upstreams.items():
        assert both.upstreams[name].rtt_count >= upstream.rtt_count
    for reason, count in one.shed.items():
        assert both.shed[reason] >= count


def _query(sent: Send) -> bytes:
    return build_query(7, sent.question, sent.flags)


def _name(upstream: int) -> str:
    return ("192.0.2.1:53", "[2001:db8::1]:5353")[upstream]
