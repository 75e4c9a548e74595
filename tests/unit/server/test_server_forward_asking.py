"""kdns.server.asking: a worker's end, with the test in the forwarder's place."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterator

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from kdns.forward.fairness import Shed
from kdns.forward.values import Limits
from kdns.server.asking import (
    BATCH_MAX,
    MESSAGE_OCTETS_MAX,
    PATIENCE_SECONDS,
    PENDING_MAX,
    SHED_CLIENTS_MAX,
    Asker,
    Asks,
    Shedding,
    Tolds,
    decode_asks,
    decode_tolds,
    encode,
)
from kdns.server.slots import Slots
from kdns.wire.iana import Rcode
from kdns.wire.outside import Ask, Purpose, Source, Told, Unasked, is_unasked, unasked

PATIENCE = 10.0
TICK = 0.001  # seconds between two looks at what is waited for
OURS = 3  # the worker's incarnation


CLIENT = b"\x0a\0\0\1"


def ask(name: bytes = b"\x03www\x00\0\1\0\1", purpose: Purpose = Purpose.CLIENT, client: bytes = CLIENT) -> Ask:
    return Ask(0, 2, name, 0x0100, True, client, purpose)


def told(number: int, body: bytes = b"") -> Told:
    return Told(number, 0, 0x8080, body, (1, 0, 0), (6,), (30,))


class Play:
    """A worker's asker on a loop, and the test as its forwarder."""

    def __init__(self) -> None:
        self.loop = uvloop.new_event_loop()
        self.ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (self.ours, theirs):
            end.setblocking(False)
        self._theirs = theirs
        self.slot = Slots(1, 1)[0]
        self.begin()
        self.now = 0.0
        self.told: list[Told] = []
        self.bugs: list[str] = []
        self.loop.set_exception_handler(lambda _, context: self.bugs.append(str(context["exception"])))
        self.asker = Asker(self.loop, theirs, self.slot, OURS, lambda: self.now)
        self.asker.start()

    def begin(self) -> None:
        self.slot.begin(1)
        self.slot.pid = 4711

    def refusal(self, one: Ask | None = None) -> str | None:
        """Why it is not asked, if it is not."""
        one = one or ask()
        refusal = self.asker.refusal(one)
        if refusal is None:
            self.asker.ask(one, self.told.append)
            return None
        assert is_unasked(refusal)
        return refusal.text

    def ask(self, one: Ask | None = None) -> bool:
        return self.refusal(one) is None

    def fill(self) -> None:
        """Have as many wait as can, each of a client of its own."""
        for number in range(PENDING_MAX - len(self.asker)):
            assert self.ask(ask(client=b"%d" % number))
            if number % BATCH_MAX == 0:
                self.heard()

    def shed(self) -> dict[tuple[bytes, Shed], int]:
        """What the forwarder hears of it, once it does."""
        found: dict[tuple[bytes, Shed], int] = {}

        def is_heard() -> bool:
            for message in self.heard():
                found.update({(one.client, one.reason): one.count for one in message.shed})
            return bool(found)

        self.until(is_heard)
        return found

    def turn(self) -> None:
        """Let what is due be done, and what has come be read."""
        for _ in range(2):
            self.loop.run_until_complete(asyncio.sleep(0))

    def until(self, is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not is_so():
            assert time.monotonic() < deadline
            self.loop.run_until_complete(asyncio.sleep(TICK))

    def heard(self) -> list[Asks]:
        self.turn()
        found = []
        while True:
            try:
                found.append(decode_asks(self.ours.recv(MESSAGE_OCTETS_MAX)))
            except BlockingIOError:
                return found

    def fill_quickly(self) -> None:
        self._theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)

    def tell(self, *tolds: Told, incarnation: int = OURS) -> None:
        self.ours.send(encode(Tolds(incarnation, tolds)))

    def close(self) -> None:
        self.asker.stop()
        self.turn()
        self.loop.close()
        self.ours.close()
        self._theirs.close()


@pytest.fixture
def play() -> Iterator[Play]:
    one = Play()
    yield one
    one.close()


def test_questions_of_one_turn_are_one_message_in_their_order(play: Play) -> None:
    names = [bytes((1, 97 + n, 0)) + b"\0\1\0\1" for n in range(5)]
    for name in names:
        assert play.ask(ask(name))
    (message,) = play.heard()
    assert message.incarnation == OURS
    assert [one.question for one in message.asks] == names
    assert len({one.number for one in message.asks}) == 5


def test_a_question_arrives_as_it_was_asked_but_for_its_number(play: Play) -> None:
    play.ask(ask(purpose=Purpose.PREFETCH))
    one = play.heard()[0].asks[0]
    assert one == Ask(one.number, 2, b"\x03www\x00\0\1\0\1", 0x0100, True, b"\x0a\0\0\1", Purpose.PREFETCH)


def test_many_questions_of_one_turn_are_several_messages(play: Play) -> None:
    for _ in range(2 * BATCH_MAX + 1):
        play.ask()
    assert [len(message.asks) for message in play.heard()] == [BATCH_MAX, BATCH_MAX, 1]


def test_each_is_told_of_once(play: Play) -> None:
    for _ in range(3):
        play.ask()
    numbers = [one.number for one in play.heard()[0].asks]
    play.tell(told(numbers[2]), told(numbers[0]))
    play.tell(told(numbers[2]), told(numbers[1]), told(99))
    play.until(lambda: len(play.asker) == 0)
    assert [one.number for one in play.told] == [numbers[2], numbers[0], numbers[1]]
    assert play.told[0] == told(numbers[2])


def test_what_an_earlier_worker_asked_is_not_told_to_this_one(play: Play) -> None:
    play.ask()
    number = play.heard()[0].asks[0].number
    play.tell(told(number), incarnation=OURS - 1)
    play.tell(told(number, b"ours"))
    play.until(lambda: len(play.asker) == 0)
    assert [one.body for one in play.told] == [b"ours"]


def test_without_a_forwarder_nothing_is_taken(play: Play) -> None:
    play.slot.pid = 0
    assert play.refusal() == "no forwarder is there just now"
    assert play.heard() == []
    assert (len(play.asker), play.asker.refused) == (0, 1)


def test_no_more_is_taken_than_can_be_kept(play: Play) -> None:
    taken = 0
    client_max = Limits().client_in_flight
    while (refusal := play.refusal()) is None:
        taken += 1
        if taken % BATCH_MAX == 0:
            play.heard()
    assert taken == client_max
    assert refusal == "too many queries of this client"
    assert play.shed() == {(CLIENT, Shed.CLIENT): 1}
    play.fill()
    assert len(play.asker) == PENDING_MAX
    assert play.ask(ask(client=b"another")), "who has most makes room"
    assert len(play.asker) == PENDING_MAX
    assert play.told == [unasked(Unasked.FULL, 1)]
    assert play.shed() == {(CLIENT, Shed.FULL): 1}
    assert play.asker.refused == 0, "of that the forwarder tells"


def test_whoever_has_as_many_as_anybody_is_refused_when_all_is_full(play: Play) -> None:
    play.fill()
    assert play.refusal(ask(client=b"7")) == "too many queries"
    assert play.shed() == {(b"7", Shed.FULL): 1}
    assert (play.told, play.asker.refused) == ([], 0)


def test_prefetches_are_refused_first_and_as_such(play: Play) -> None:
    assert play.ask(ask(purpose=Purpose.PREFETCH))
    play.fill()
    assert play.refusal(ask(purpose=Purpose.PREFETCH)) == "too many queries"
    assert play.ask(ask(client=b"another"))
    assert play.told == [unasked(Unasked.FULL, 1)], "that which waits makes room"
    assert play.shed() == {(CLIENT, Shed.PREFETCH): 2}


def test_of_many_clients_the_forwarder_hears_how_many_questions_were_shed_if_not_whose(play: Play) -> None:
    play.fill()
    clients = SHED_CLIENTS_MAX + 10
    for number in range(clients):
        assert not play.ask(ask(client=b"%d" % number))
    shed = play.shed()
    assert len(shed) == SHED_CLIENTS_MAX + 1
    assert shed[b"", Shed.FULL] == 10
    assert sum(shed.values()) == clients


def test_what_the_socket_does_not_take_is_sent_later(play: Play) -> None:
    play.fill_quickly()
    for _ in range(400):
        assert play.ask()
        if len(play.asker) % BATCH_MAX == 0:
            play.turn()
    heard: list[Ask] = []

    def is_heard() -> bool:
        heard.extend(one for message in play.heard() for one in message.asks)
        return len(heard) == 400

    play.until(is_heard)
    assert [one.number for one in heard] == list(range(1, 401))
    assert not play.told


def test_what_a_dead_forwarder_knew_is_told_as_failed_soon(play: Play) -> None:
    play.ask()
    play.heard()
    play.slot.pid = 0
    play.until(lambda: len(play.told) == 1)
    assert (play.told[0].rcode, play.told[0].text) == (Rcode.SERVFAIL, "the forwarder ended before it answered")


def test_a_forwarder_that_died_unnoticed_is_noticed_with_the_next_question(play: Play) -> None:
    play.ask()
    play.heard()
    play.begin()
    assert play.ask()
    assert [one.text for one in play.told] == ["the forwarder ended before it answered"]
    (message,) = play.heard()
    play.tell(told(message.asks[0].number))
    play.until(lambda: len(play.told) == 2)
    assert play.told[1].rcode == Rcode.NOERROR


def test_a_question_that_was_not_sent_yet_is_for_the_next_forwarder(play: Play) -> None:
    play.ask()
    play.begin()
    play.ask()
    (message,) = play.heard()
    assert len(message.asks) == 2
    assert play.told == []


def test_silence_is_a_failure_in_the_end(play: Play) -> None:
    play.ask()
    play.now = PATIENCE_SECONDS / 2
    play.ask()
    play.heard()
    play.now = PATIENCE_SECONDS
    play.until(lambda: bool(play.told))
    assert [one.text for one in play.told] == ["the forwarder did not answer in time"]
    assert len(play.asker) == 1


def test_one_that_has_less_patience_is_told_of_first(play: Play) -> None:
    play.ask()
    play.asker.ask(ask(), play.told.append, PATIENCE_SECONDS / 4)
    play.heard()
    play.now = PATIENCE_SECONDS / 4
    play.until(lambda: bool(play.told))
    assert [one.number for one in play.told] == [2]
    assert len(play.asker) == 1


def test_what_is_pending_at_the_end_is_told_as_failed(play: Play) -> None:
    play.ask()
    play.asker.stop()
    assert [one.rcode for one in play.told] == [Rcode.SERVFAIL]


def test_one_that_cannot_be_told_does_not_keep_the_others_from_it(play: Play) -> None:
    def explode(_: Told) -> None:
        raise ValueError("a bug")

    play.asker.ask(ask(), explode)
    play.ask()
    numbers = [one.number for one in play.heard()[0].asks]
    play.tell(*map(told, numbers))
    play.until(lambda: len(play.asker) == 0)
    assert [one.number for one in play.told] == numbers[1:]
    assert play.bugs == ["a bug"]


def test_a_message_that_is_none_is_a_bug_that_is_told_and_survived(play: Play) -> None:
    play.ours.send(b"\xc1 nothing of ours")
    play.until(lambda: bool(play.bugs))
    play.ask()
    play.tell(told(play.heard()[0].asks[0].number))
    play.until(lambda: bool(play.told))


def test_the_largest_reply_fits_into_a_message() -> None:
    records = (65535 - 17) // 11
    largest = Told(2**60, 0, 0, bytes(65535), (records, 0, 0), (65535,) * records, (2**31 - 1,) * records)
    assert len(encode(Tolds(2**60, (largest,)))) <= MESSAGE_OCTETS_MAX


@pytest.mark.parametrize("why", Unasked)
def test_what_is_not_answered_because_of_us_says_why(why: Unasked) -> None:
    told = unasked(why, 7)
    assert told == Told(7, 2, 0x80, b"", (0, 0, 0), source=Source.FAILURE, ede=23, text=why.value)
    assert is_unasked(told)


@pytest.mark.parametrize(
    "other",
    [
        Told(1, 2, 0x80, b"", (0, 0, 0), source=Source.FAILURE, ede=23, text="an upstream's own words"),
        Told(1, 2, 0x80, b"", (0, 0, 0), source=Source.FAILURE, ede=22, text=Unasked.FULL.value),
        Told(1, 0, 0x80, b"", (0, 0, 0)),
    ],
)
def test_what_an_upstream_has_to_do_with_is_not_taken_for_our_doing(other: Told) -> None:
    assert not is_unasked(other)


asks = st.builds(
    Ask,
    st.integers(0, 2**63),
    st.integers(0, 1000),
    st.binary(min_size=5, max_size=259),
    st.integers(0, 65535),
    st.booleans(),
    st.sampled_from((bytes(4), bytes(16))),
    st.sampled_from(Purpose),
)
tolds = st.builds(
    Told,
    st.integers(0, 2**63),
    st.integers(0, 4095),
    st.integers(0, 65535),
    st.binary(max_size=2000),
    st.tuples(*[st.integers(0, 65535)] * 3),
    st.lists(st.integers(0, 65535)).map(tuple),
    st.lists(st.integers(0, 2**31 - 1)).map(tuple),
    st.integers(0, 2**31),
    st.integers(0, 1000),
    st.sampled_from(Source),
    st.integers(-1, 65535),
    st.text(),
)


@given(st.integers(0, 2**40), st.lists(asks, max_size=4), st.lists(tolds, max_size=4))
def test_what_is_sent_is_what_is_received(incarnation: int, some: list[Ask], more: list[Told]) -> None:
    shed = tuple(Shedding(one.client, reason, one.number) for one, reason in zip(some, Shed, strict=False))
    asked, answered = Asks(incarnation, tuple(some), shed), Tolds(incarnation, tuple(more))
    assert decode_asks(encode(asked)) == asked
    assert decode_tolds(memoryview(encode(answered))) == answered


def test_who_wants_to_know_when_all_have_been_told_is_called_once_then(play: Play) -> None:
    heard: list[object] = []

    def on_told(told: Told) -> None:
        heard.append(told.number)
        if len(heard) == 1:
            play.asker.when_told(lambda: heard.append("all"))

    for _ in range(3):
        play.asker.ask(ask(), on_told)
    play.until(lambda: bool(play.heard()))
    play.tell(*(told(number) for number in (1, 2)))
    play.until(lambda: len(heard) == 3)
    assert heard == [1, 2, "all"]
    play.asker.when_told(lambda: heard.append("at the end"))
    play.asker.stop()
    assert heard == [1, 2, "all", 3, "at the end"]
    play.asker.start()
