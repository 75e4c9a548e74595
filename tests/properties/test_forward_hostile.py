"""Whatever octets an upstream sends, nothing raises, and each question is told of once and of its own answer."""

from __future__ import annotations

from struct import pack

import dns.exception
import dns.message
from hypothesis import given
from hypothesis import strategies as st

from kdns.forward.fairness import Room
from kdns.forward.values import CacheSpec, Send
from kdns.wire.iana import RRType
from kdns.wire.message import layout
from tests.unit.forward.messages import address, ask, forward, group, nxdomain, question, record, reply, soa, upstream
from tests.unit.forward.world import Deed, World

HOST = "127.0.0.1"
ASKED = question()
WHOLE = st.sampled_from(
    [
        address(ASKED),
        nxdomain(ASKED),
        reply(ASKED, (record(), record(5)), (soa(),)),
        address(question("www.example.com")),
        reply(ASKED, (record(60, b"\x03www\xc0\x10", RRType.CNAME),)),
    ]
)


@st.composite
def bent(draw: st.DrawFn) -> bytes:
    """A reply with some octets changed, and maybe cut."""
    octets = bytearray(draw(WHOLE))
    for _ in range(draw(st.integers(0, 3))):
        octets[draw(st.integers(0, len(octets) - 1))] = draw(st.integers(0, 255))
    return bytes(octets[: draw(st.integers(0, len(octets)))]) if draw(st.booleans()) else bytes(octets)


@given(st.lists(st.one_of(bent(), st.binary(max_size=80)), min_size=1, max_size=8))
def test_any_reply_is_told_under_its_own_question_or_not_at_all(replies: list[bytes]) -> None:
    pending = iter(replies)

    def behave(send: Send, world: World) -> Deed:
        return 0.001, next(pending, None)

    one = World({HOST: behave}, group(forward(upstream(1)), cache=CacheSpec(stale=10.0)))
    for number in range(3):
        one.ask(ask(number=number), number * 5.0)
    one.run(30.0)
    assert sorted(told.number for told in one.tells()) == [0, 1, 2]
    for told in one.tells():
        whole = pack(">6H", 1, 0x8180 | told.rcode & 15, 1, *told.counts) + ASKED + told.body
        measured = layout(whole)
        assert measured is not None
        assert measured.counts == told.counts
        assert measured.opt_at is None
        assert [at - measured.question_end for at in measured.ttl_at] == list(told.ttl_at)
        assert list(measured.ttls) == list(told.ttls)
        assert reads_as_its_question(whole)


def reads_as_its_question(whole: bytes) -> bool:
    """As dnspython sees it, if it can read the RDATA, which nobody looked into."""
    try:
        return str(dns.message.from_wire(whole, ignore_trailing=True).question[0].name) == "www.example.org."
    except dns.exception.DNSException:
        return True


class Model:
    """Room as plain lists: who waits, the oldest first."""

    def __init__(self) -> None:
        self.waiting: list[tuple[bytes, int]] = []

    def most(self) -> int:
        return max((self.count(client) for client, _ in self.waiting), default=0)

    def count(self, client: bytes) -> int:
        return sum(1 for one, _ in self.waiting if one == client)


@given(st.lists(st.tuples(st.sampled_from([b"a", b"b", b"c", b"d"]), st.booleans()), max_size=120))
def test_who_loses_has_most_and_loses_its_oldest(steps: list[tuple[bytes, bool]]) -> None:
    room: Room[int] = Room(in_all=10, of_one=6)
    model = Model()
    for number, (client, is_leaving) in enumerate(steps):
        if is_leaving and model.waiting:
            room.leave(*model.waiting.pop(number % len(model.waiting)))
            continue
        if room.refusal(client) is not None:
            assert model.count(client) == 6 or (len(model.waiting) == 10 and model.count(client) == model.most())
            continue
        loser = room.loser()
        assert (loser is None) == (len(model.waiting) < 10)
        if loser is not None:
            (heaviest,) = [one for one, waiter in model.waiting if waiter == loser]
            assert model.count(heaviest) == model.most() > model.count(client)
            assert loser == min(waiter for one, waiter in model.waiting if one == heaviest)
            model.waiting.remove((heaviest, loser))
            room.leave(heaviest, loser)
        room.enter(client, number)
        model.waiting.append((client, number))
        assert len(room) == len(model.waiting) <= 10
