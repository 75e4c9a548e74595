"""kdns.server.forwarder: probes for loops go out as any question does, and two that a worker brings back end it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kdns.forward.values import UpstreamSpec
from kdns.server.asking import Asks, encode
from kdns.server.loopguard import SECONDS_MAX
from kdns.server.probes import LoopPlan
from kdns.server.process import EXIT_ERROR, EXIT_OK
from kdns.wire.name import ROOT, from_text
from kdns.wire.outside import Ask
from tests.support.stand import RD
from tests.support.upstreamserver import ScriptedUpstream
from tests.unit.server.test_server_forwarder import Play

PLAN = LoopPlan((ROOT,), ":53")


@pytest.fixture
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream(lambda asked: asked.answer()) as one:
        yield one


@pytest.fixture
def play(upstream: ScriptedUpstream) -> Iterator[Play]:
    one = Play(UpstreamSpec("127.0.0.1", upstream.port), loop=PLAN)
    yield one
    one.close()


def bring_back(play: Play, upstream: ScriptedUpstream, group: int = 1) -> None:
    """As a worker that was asked for the last probe hands it over."""
    question = from_text(upstream.asked[-1].name.lower()) + b"\0\x0d\0\1"
    ask = Ask(9, group, question, RD, False, b"\x0a\0\0\x01")
    play.workers[0].send(encode(Asks(1, (ask,))))


def test_a_probe_goes_out_and_what_becomes_of_it_is_told_to_no_worker(play: Play, upstream: ScriptedUpstream) -> None:
    play.until(lambda: bool(upstream.asked))
    play.until(lambda: not play.resolver.waiting)
    play.ask(0, 1)
    (told,) = play.heard(0)
    assert [one.number for one in told.tolds] == [1]
    assert play.forwarder.status == EXIT_OK


def test_two_that_come_back_end_the_forwarder_with_an_error() -> None:
    with ScriptedUpstream(lambda asked: None) as upstream:
        play = Play(UpstreamSpec("127.0.0.1", upstream.port), loop=PLAN)
        try:
            play.until(lambda: bool(upstream.asked))
            first = upstream.asked[-1].name.lower()
            bring_back(play, upstream)
            play.until(lambda: upstream.asked[-1].name.lower() != first)  # does that one come back as well?
            assert play.forwarder.status == EXIT_OK
            bring_back(play, upstream)
            play.loop.run_forever()
            assert play.forwarder.status == EXIT_ERROR
            assert "plugin/loop: Loop (10.0.0.1 -> :53) detected" in play.log
        finally:
            play.close()


def test_a_copy_of_one_probe_ends_nothing(play: Play, upstream: ScriptedUpstream) -> None:
    play.until(lambda: bool(upstream.asked))
    bring_back(play, upstream)
    play.until(lambda: len({asked.name.lower() for asked in upstream.asked}) > SECONDS_MAX)
    assert play.forwarder.status == EXIT_OK
    assert play.log == ""


def test_one_that_another_block_is_asked_for_is_asked_on(play: Play, upstream: ScriptedUpstream) -> None:
    play.until(lambda: bool(upstream.asked))
    bring_back(play, upstream, group=0)
    play.until(lambda: len(upstream.asked) == 2)
    assert play.forwarder.status == EXIT_OK


def test_when_other_servers_are_asked_they_are_probed(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text("# nobody\n")
    play = Play(str(file), loop=PLAN)
    try:
        play.turn()
        before = [ask for one in play.resolvers for ask in one.waiting.values()]
        file.write_text("nameserver 127.0.0.1\n")
        play.until(lambda: len(play.resolvers) == 2 and play.resolver.counts.asked == 1)
        assert before == []
    finally:
        play.close()
