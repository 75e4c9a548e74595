"""Any octets are judged, and over UDP none is believed without the ID, the question and its letter case."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from kdns.wire.upstream import Judged, Sent, judge, randomise_case
from tests.support.messages import QR, message, question

NAMES = st.sampled_from(("www.example.org", "1.2.3.4.in-addr.arpa", ".", "x" * 63 + ".test"))
BELIEVED = (Judged.ANSWER, Judged.TRUNCATED)


@given(st.binary(max_size=200), NAMES, st.booleans(), st.booleans())
def test_any_octets_are_judged(octets: bytes, name: str, has_edns: bool, tcp: bool) -> None:
    sent = Sent(0x1234, question(name), has_edns)
    assert judge(sent, octets, tcp) in Judged
    assert judge(sent, message(octets, flags=QR), tcp) in Judged
    assert judge(sent, message(sent.question + octets, flags=QR), tcp) in Judged


@given(NAMES, st.integers(0, 2**64), st.data())
def test_only_the_question_in_the_case_that_was_sent_is_believed(name: str, seed: int, data: st.DataObject) -> None:
    asked = randomise_case(question(name), Random(seed))
    octets = bytearray(message(asked, flags=QR))
    at = data.draw(st.integers(0, len(octets) - 1))
    octets[at] ^= data.draw(st.sampled_from((0, 1, 0x20, 0x80)))
    same = bytes(octets[:2]) == b"\x12\x34" and bytes(octets[12:]) == asked
    assert (judge(Sent(0x1234, asked, True), bytes(octets), False) in BELIEVED) <= same


@given(NAMES, st.integers(0, 2**64))
def test_a_drawn_question_is_the_same_question(name: str, seed: int) -> None:
    drawn = randomise_case(question(name), Random(seed))
    assert drawn[:-4].lower() == question(name)[:-4].lower()
    assert drawn[-4:] == question(name)[-4:]
