"""kdns.server.draws: what is drawn is the operating system's, each bit of it once."""

from __future__ import annotations

import os
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.server import draws
from kdns.server.draws import Draws
from kdns.wire.upstream import randomise_case


@given(st.lists(st.integers(0, 70_000), max_size=20))
def test_a_number_has_no_more_bits_than_were_asked_for(sizes: list[int]) -> None:
    one = Draws()
    for size in sizes:
        assert one.getrandbits(size).bit_length() <= size


def test_what_is_drawn_is_what_the_system_gave_and_nothing_is_given_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    given_out: list[bytes] = []

    def urandom(octets: int) -> bytes:
        given_out.append(os.urandom(octets))
        return given_out[-1]

    monkeypatch.setattr(draws, "os", type("os", (), {"urandom": staticmethod(urandom)}))
    one = Draws()
    drawn = b"".join(one.getrandbits(8 * 16).to_bytes(16) for _ in range(2000))
    assert drawn == b"".join(given_out)[: len(drawn)]
    assert len(given_out) == 4


def test_numbers_are_spread_over_all_their_range() -> None:
    one = Draws()
    numbers = [one.getrandbits(20) for _ in range(4096)]
    for bit in range(20):
        assert 1700 < sum(number >> bit & 1 for number in numbers) < 2400  # ten standard deviations
    assert len({(later - earlier) % 2**20 for earlier, later in pairwise(numbers)}) > 4000


def test_a_float_is_from_0_to_1() -> None:
    one = Draws()
    numbers = [one.random() for _ in range(1000)]
    assert all(0 <= number < 1 for number in numbers)
    assert min(numbers) < 0.1 < 0.9 < max(numbers)
    assert set(one.choices("ab", k=100)) == {"a", "b"}


def test_two_have_nothing_in_common() -> None:
    assert Draws().getrandbits(256) != Draws().getrandbits(256)


def test_letter_case_may_be_drawn_from_it() -> None:
    one, question = Draws(), b"\x03www\x07example\x03org\0\0\1\0\1"
    drawn = {randomise_case(question, one) for _ in range(50)}
    assert len(drawn) > 40
    assert {found.lower() for found in drawn} == {question}
