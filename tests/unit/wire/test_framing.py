"""kdns.wire.framing: messages out of a stream, however it is cut (RFC 7766 section 8)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kdns.wire.framing import MAX_MESSAGE_OCTETS, Framer, frame

MESSAGES = st.lists(st.binary(max_size=300), max_size=8)


def _take_all(framer: Framer) -> list[bytes]:
    taken = []
    while (message := framer.take()) is not None:
        taken.append(message)
    return taken


@given(messages=MESSAGES)
def test_a_whole_stream_gives_its_messages(messages: list[bytes]) -> None:
    framer = Framer()
    framer.feed(b"".join(map(frame, messages)))
    assert _take_all(framer) == messages
    assert framer.pending_octets == 0


@given(messages=MESSAGES)
def test_octet_by_octet_gives_the_same_messages(messages: list[bytes]) -> None:
    framer, taken = Framer(), []
    for octet in b"".join(map(frame, messages)):
        framer.feed(bytes((octet,)))
        taken += _take_all(framer)
    assert taken == messages


@given(messages=MESSAGES, cuts=st.lists(st.integers(0, 3000), max_size=10))
def test_any_cut_gives_the_same_messages(messages: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(map(frame, messages))
    framer, taken, start = Framer(), [], 0
    for end in (*sorted(cuts), len(stream)):
        framer.feed(stream[start:end])
        start = max(start, end)
        taken += _take_all(framer)
    assert taken == messages


@given(data=st.binary(max_size=2000))
def test_any_octets_are_a_stream_and_none_is_lost(data: bytes) -> None:
    framer = Framer()
    framer.feed(data)
    taken = _take_all(framer)
    assert sum(2 + len(message) for message in taken) + framer.pending_octets == len(data)
    assert not framer.has_message


def test_an_empty_message_is_not_the_lack_of_one() -> None:
    framer = Framer()
    assert framer.take() is None
    framer.feed(b"\0")
    assert not framer.has_message
    framer.feed(b"\0")
    assert framer.has_message
    assert framer.take() == b""
    assert framer.take() is None


def test_a_message_of_the_largest_size_passes() -> None:
    message = bytes(range(256)) * 255 + bytes(255)
    assert len(message) == MAX_MESSAGE_OCTETS
    framer = Framer()
    stream = frame(message) + b"\0"
    framer.feed(stream[:-2])
    assert framer.take() is None
    framer.feed(stream[-2:])
    assert framer.take() == message
    assert framer.pending_octets == 1


def test_messages_are_taken_one_at_a_time_and_the_rest_is_kept() -> None:
    framer = Framer()
    framer.feed(frame(b"one") + frame(b"two"))
    assert framer.take() == b"one"
    assert framer.has_message
    assert framer.pending_octets == 5
