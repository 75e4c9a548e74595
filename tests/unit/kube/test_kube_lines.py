"""Lines, however the octets are cut, and bounded in what is kept."""

from __future__ import annotations

import pytest

from kdns.kube.lines import MAX_LINE_OCTETS, LineSplitter


def split(*blocks: bytes) -> list[bytes]:
    splitter = LineSplitter()
    return [line for block in blocks for line in splitter.feed(block)]


def cut(data: bytes, octets: int) -> list[bytes]:
    return [data[start : start + octets] for start in range(0, len(data), octets)]


def test_lines_come_without_their_ends() -> None:
    assert split(b"one\ntwo\n") == [b"one", b"two"]


def test_a_line_is_told_when_its_end_has_come() -> None:
    splitter = LineSplitter()
    assert splitter.feed(b"on") == []
    assert splitter.feed(b"e") == []
    assert splitter.feed(b"\n") == [b"one"]


def test_a_block_may_end_one_line_and_begin_another() -> None:
    assert split(b"on", b"e\ntw", b"o\nthree") == [b"one", b"two"]


def test_empty_lines_are_left_out() -> None:
    assert split(b"\n\none\n\n", b"\n", b"two\n\n") == [b"one", b"two"]


def test_an_empty_block_changes_nothing() -> None:
    assert split(b"on", b"", b"e\n", b"") == [b"one"]


def test_only_the_line_that_is_not_whole_is_kept() -> None:
    splitter = LineSplitter()
    splitter.feed(b"one\ntwo\nthr")
    assert splitter.pending_octets == 3
    splitter.feed(b"ee\n")
    assert splitter.pending_octets == 0


@pytest.mark.parametrize("octets", [1, 7, 2048, 65536, 1 << 20])
def test_a_line_of_one_and_a_half_megabytes_comes_whole_from_blocks_of_any_size(octets: int) -> None:
    long = bytes(range(32, 127)) * 15_800
    assert split(*cut(b"a\n" + long + b"\nb\n", octets)) == [b"a", long, b"b"]


@pytest.mark.parametrize("octets", [4096, 1 << 20, MAX_LINE_OCTETS + 2])
def test_a_line_of_the_greatest_length_is_allowed_and_one_octet_more_is_not(octets: int) -> None:
    allowed = LineSplitter()
    found = [line for block in cut(b"x" * MAX_LINE_OCTETS + b"\n", octets) for line in allowed.feed(block)]
    assert list(map(len, found)) == [MAX_LINE_OCTETS]
    assert not allowed.is_overlong

    refused = LineSplitter()
    found = [
        line
        for block in cut(b"a\n" + b"x" * (MAX_LINE_OCTETS + 1) + b"\nb\n", octets)
        for line in refused.feed(block)
    ]
    assert found == [b"a"]
    assert refused.is_overlong


def test_after_a_line_that_is_too_long_nothing_is_kept_and_nothing_is_told() -> None:
    splitter = LineSplitter()
    for _ in range(3):
        splitter.feed(b"x" * (MAX_LINE_OCTETS // 2))
    assert splitter.is_overlong
    assert splitter.pending_octets == 0
    assert splitter.feed(b"\none\n" * 3) == []
    assert splitter.pending_octets == 0


def test_what_is_kept_is_bounded_by_the_longest_line_and_a_block() -> None:
    splitter = LineSplitter()
    most = 0
    for _ in range(3 * MAX_LINE_OCTETS // 65536):
        splitter.feed(b"x" * 65536)
        most = max(most, splitter.pending_octets)
    assert most <= MAX_LINE_OCTETS + 65536
