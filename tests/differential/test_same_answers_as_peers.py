"""kdns, NSD and Knot serve the same zone files and answer alike, but for what expected_differences.toml explains."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.differential.comparing import Expected, decode, differences, load, unexplained
from tests.differential.questions import Question, questions
from tests.server.serving import Server, free_port
from tests.support.peers import ADDRESS, PEERS, ask_all_tcp, ask_all_udp, started

pytestmark = pytest.mark.peers

HERE = Path(__file__).parent
ZONES = {
    "lab.example": HERE / "zones" / "lab.example.zone",
    "child.lab.example": HERE / "zones" / "child.lab.example.zone",
    "example.org": HERE.parents[1] / "zones" / "example.org.zone",
}
SHOWN_MAX = 60  # differences listed when a test fails


@dataclass(frozen=True)
class Replies:
    """All questions and, for each server, the reply to each."""

    asked: list[Question]
    by_server: dict[str, list[bytes]]
    seconds: float


@pytest.fixture(scope="module")
def replies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replies]:
    missing = [peer.name for peer in PEERS if peer.path is None]
    if missing and os.environ.get("KDNS_TEST_PEERS") == "required":
        pytest.fail(f"not installed: {', '.join(missing)}; KDNS_TEST_PEERS=required")
    if missing:
        pytest.skip(f"answers are NOT compared: install {', '.join(missing)} (Debian's packages nsd and knot)")
    directory = tmp_path_factory.mktemp("peers")
    with ExitStack() as stack:
        ports = {peer.name: stack.enter_context(started(peer, directory / peer.name, ZONES)) for peer in PEERS}
        ports["kdns"] = _start_kdns(stack, directory)
        asked = questions(ZONES)
        begun = time.monotonic()
        found = {name: _ask_all(port, asked) for name, port in ports.items()}
        yield Replies(asked, found, time.monotonic() - begun)


def _start_kdns(stack: ExitStack, directory: Path) -> int:
    port = free_port()
    zones = [f"{origin}={path}" for origin, path in ZONES.items()]
    arguments = ["serve", "--listen", f"{ADDRESS}:{port}", "--workers", "1", "--zones", *zones]
    server = Server(arguments, directory, port)
    stack.callback(server.kill)
    server.wait_for(r"\] ready: ")
    return port


def _ask_all(port: int, asked: Sequence[Question]) -> list[bytes]:
    udp = iter(ask_all_udp(port, [one.message for one in asked if not one.tcp]))
    tcp = iter(ask_all_tcp(port, [one.message for one in asked if one.tcp]))
    return [next(tcp if one.tcp else udp) for one in asked]


def test_every_difference_from_nsd_and_knot_is_known_and_every_known_one_occurs(
    replies: Replies, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = load(HERE / "expected_differences.toml")
    used: set[tuple[int, str]] = set()
    unknown: Counter[str] = Counter()
    examples: dict[str, str] = {}
    for peer in (peer.name for peer in PEERS):
        for question, ours, theirs in zip(
            replies.asked, replies.by_server["kdns"], replies.by_server[peer], strict=True
        ):
            left = unexplained(peer, question, differences(decode(ours[2:]), decode(theirs[2:])), expected, used)
            if left:
                kind = f"{peer}: {', '.join(sorted(left))}"
                unknown[kind] += 1
                examples.setdefault(kind, str(question))
    lookups = len(replies.asked) * len(replies.by_server)
    with capsys.disabled():
        print(f"\n{lookups} lookups ({len(replies.asked)} questions to each of {len(replies.by_server)} servers)")
    assert not unknown, "unknown differences:\n" + "\n".join(
        f"{count:6} {kind}; first: {examples[kind]}" for kind, count in unknown.most_common(SHOWN_MAX)
    )
    assert not _idle(expected, used), "known differences that do not occur (any more)"


def _idle(expected: Sequence[Expected], used: set[tuple[int, str]]) -> list[str]:
    return [
        f"{peer}: {', '.join(entry.shows)} ({entry.reason})"
        for index, entry in enumerate(expected)
        for peer in entry.peers
        if (index, peer) not in used
    ]


def test_no_section_holds_a_record_twice(replies: Replies) -> None:
    for question, reply in zip(replies.asked, replies.by_server["kdns"], strict=True):
        assert not decode(reply[2:]).repeats, str(question)


def test_every_reply_repeats_the_question_octet_for_octet(replies: Replies) -> None:
    for question, reply in zip(replies.asked, replies.by_server["kdns"], strict=True):
        end = question.question_end
        assert reply[12:end] == question.message[12:end], str(question)


def test_a_truncated_answer_is_a_part_of_the_whole_one(replies: Replies) -> None:
    whole = {
        (question.name, question.rrtype): decode(reply[2:])
        for question, reply in zip(replies.asked, replies.by_server["kdns"], strict=True)
        if question.tcp
    }
    truncated = 0
    for question, reply in zip(replies.asked, replies.by_server["kdns"], strict=True):
        found = decode(reply[2:])
        if found.tc:
            truncated += 1
            assert not question.tcp
            assert found.answer.items() <= whole[question.name, question.rrtype].answer.items(), str(question)
    assert truncated
