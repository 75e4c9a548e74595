"""kdns.server.response: heads, the three ways a body ends, and what is no HTTP at all."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.server.response import (
    HEAD_OCTETS_MAX,
    LINE_OCTETS_MAX,
    MalformedResponse,
    Response,
    TruncatedResponse,
    parse_head,
)

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def _fed(*blocks: bytes) -> tuple[Response, bytes]:
    response = Response()
    return response, b"".join([response.feed(block) for block in blocks])


def _chunks(pieces: list[bytes], trailer: bytes = b"") -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n" + trailer + b"\r\n"


# Heads


def test_a_head_is_told_before_any_of_its_body() -> None:
    response, body = _fed(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert response.head is not None
    assert (response.head.status, response.head.reason) == (200, "OK")
    assert response.head.headers["content-type"] == "application/json"
    assert (body, response.is_complete) == (b"", False)


def test_header_names_are_in_lower_case_and_repeated_ones_joined() -> None:
    head = parse_head(b"HTTP/1.1 429 Too Many Requests\r\nRETRY-After:1\r\nWarning: a\r\nwarning:\t b \t")
    assert head.headers == {"retry-after": "1", "warning": "a, b"}


@pytest.mark.parametrize("line", [b"HTTP/1.1 200", b"HTTP/1.1 200 ", b"HTTP/1.0 200 Fine and dandy"])
def test_a_reason_may_be_missing_and_an_older_server_is_understood(line: bytes) -> None:
    assert parse_head(line).status == 200


def test_interim_answers_are_passed_over() -> None:
    response, body = _fed(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
    )
    assert response.head is not None
    assert response.head.status == 204
    assert (body, response.is_complete) == (b"", True)


@pytest.mark.parametrize(
    "octets",
    [
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"\x15\x03\x01\x00\x02\x02\x16\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nName : space\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\n",
    ],
)
def test_what_is_no_response_that_we_asked_for_is_malformed(octets: bytes) -> None:
    with pytest.raises(MalformedResponse):
        _fed(octets)


def test_a_head_without_an_end_is_given_up_at_its_bound() -> None:
    response = Response()
    response.feed(b"HTTP/1.1 200 OK\r\nA: " + b"b" * (HEAD_OCTETS_MAX - 100))
    with pytest.raises(MalformedResponse, match="no end"):
        response.feed(b"b" * 200)


def test_a_malformed_head_does_not_fill_the_log() -> None:
    with pytest.raises(MalformedResponse) as caught:
        parse_head(b"<html>" + b"x" * 10_000)
    assert len(str(caught.value)) < 200


# Bodies


def test_a_body_of_a_told_length_ends_by_itself() -> None:
    response, body = _fed(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", b"cde")
    assert (body, response.is_complete) == (b"abcde", True)
    response.end()


def test_octets_after_a_body_do_not_belong_to_it() -> None:
    response, body = _fed(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabHTTP/1.1 400")
    assert (body, response.is_complete) == (b"ab", True)
    response, body = _fed(CHUNKED + _chunks([b"ab"]) + b"rest")
    assert (body, response.is_complete) == (b"ab", True)


def test_a_body_shorter_than_told_is_truncated() -> None:
    response, _ = _fed(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcd")
    with pytest.raises(TruncatedResponse):
        response.end()


def test_a_body_without_a_length_ends_with_the_connection() -> None:
    response, body = _fed(b"HTTP/1.0 200 OK\r\n\r\nab", b"c")
    assert (body, response.is_complete) == (b"abc", False)
    response.end()
    assert response.is_complete


@pytest.mark.parametrize("sent",
    [b"", b"HTTP/1.1 200 OK\r\n", CHUNKED, CHUNKED + b"3\r\nabc\r\n", CHUNKED + b"0\r\n"],
)
def test_an_end_before_the_last_chunk_is_truncated(sent: bytes) -> None:
    response, _ = _fed(sent)
    with pytest.raises(TruncatedResponse):
        response.end()


def test_chunks_may_have_extensions_and_a_trailer() -> None:
    stream = CHUNKED + b"003;name=value\r\nabc\r\nA \r\n0123456789\r\n0\r\nX-Trailer: y\r\nZ: w\r\n\r\n"
    response, body = _fed(stream)
    assert (body, response.is_complete) == (b"abc0123456789", True)


@pytest.mark.parametrize(
    "chunk",
    [
        b"-5\r\nabcde\r\n",
        b"0x5\r\nabcde\r\n",
        b"+5\r\nabcde\r\n",
        b"\r\n",
        b"g\r\n",
        b"1_0\r\n",
        b"ffffffffffffffff\r\n",
        b"3\r\nabcd\r\n",
        b"3\r\nabc\n\r\n",
        b"2\r\nabc",
    ],
)
def test_broken_chunks_are_malformed(chunk: bytes) -> None:
    with pytest.raises(MalformedResponse):
        _fed(CHUNKED + chunk)
    with pytest.raises(MalformedResponse):
        _fed(CHUNKED, *(chunk[i : i + 1] for i in range(len(chunk))))


def test_a_line_between_chunks_is_bounded() -> None:
    response, _ = _fed(CHUNKED)
    with pytest.raises(MalformedResponse, match=f"over {LINE_OCTETS_MAX}"):
        response.feed(b"5;" + b"x" * LINE_OCTETS_MAX)


@given(
    pieces=st.lists(st.binary(min_size=1, max_size=40), max_size=8),
    trailer=st.sampled_from([b"", b"A: b\r\n"]),
    cuts=st.lists(st.integers(0, 500), max_size=12),
)
def test_a_chunked_body_is_the_same_however_it_is_cut(pieces: list[bytes], trailer: bytes, cuts: list[int]) -> None:
    stream = CHUNKED + _chunks(pieces, trailer)
    ends = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    response, body = _fed(*(stream[start:end] for start, end in pairwise(ends)))
    assert (body, response.is_complete) == (b"".join(pieces), True)


@given(pieces=st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=5))
def test_a_chunked_body_that_comes_octet_by_octet_is_whole_at_its_last_octet(pieces: list[bytes]) -> None:
    stream = CHUNKED + _chunks(pieces)
    response = Response()
    body = b""
    for index in range(len(stream)):
        assert not response.is_complete
        body += response.feed(stream[index : index + 1])
    assert (body, response.is_complete) == (b"".join(pieces), True)


@given(st.binary(max_size=200))
def test_whatever_comes_is_a_response_or_malformed(data: bytes) -> None:
    for start in (b"", b"HTTP/1.1 200 OK\r\n", CHUNKED, CHUNKED + b"5\r\nab"):
        response = Response()
        try:
            response.feed(start + data)
            response.end()
        except (MalformedResponse, TruncatedResponse):
            pass
        else:
            assert response.is_complete
