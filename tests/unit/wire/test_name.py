"""Domain names as octets and as text (RFC 1035 sections 3.1 and 5.1, RFC 4034 section 6.1, RFC 4343)."""

from __future__ import annotations

import dns.name
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.wire.name import (
    MAX_NAME_OCTETS,
    ROOT,
    InvalidName,
    from_text,
    is_subdomain,
    join,
    labels,
    parent,
    suffixes,
    to_text,
)

WWW = b"\x03www\x07example\x03org\x00"
LABELS = st.lists(st.binary(min_size=1, max_size=63), max_size=4).filter(lambda parts: sum(map(len, parts)) < 250)


@pytest.mark.parametrize("text", ["www.example.org", "www.example.org."])
def test_the_last_dot_may_be_left_out(text: str) -> None:
    assert from_text(text) == WWW


@pytest.mark.parametrize("text", ["", "."])
def test_the_root_is_a_dot_or_nothing(text: str) -> None:
    assert from_text(text) == ROOT
    assert to_text(ROOT) == "."


@pytest.mark.parametrize(
    ("text", "label"),
    [
        (r"a\.b", b"a.b"),
        (r"a\\b", b"a\\b"),
        (r"a\\\.b", b"a\\.b"),
        (r"\000", b"\0"),
        (r"\255x", b"\xffx"),
        (r"\0651", b"A1"),
        (r"a\ b", b"a b"),
        ("a\\\nb", b"a\nb"),
    ],
)
def test_escapes_are_those_of_rfc_1035_5_1(text: str, label: bytes) -> None:
    assert labels(from_text(text)) == [label]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a..b", "empty label"),
        (".a", "empty label"),
        ("..", "empty label"),
        ("a" * 64, "label longer than 63"),
        (".".join(["a" * 63] * 3 + ["a" * 62]), "name longer than 255"),
        ("a\\", "bad escape"),
        (r"a\25", "bad escape"),
        (r"\1", "bad escape"),
        (r"\256", "above 255"),
        ("bücher.example", "not ASCII"),
    ],
)
def test_a_text_that_is_no_name_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(InvalidName, match=reason):
        from_text(text)


def test_a_name_of_255_octets_is_the_longest() -> None:
    text = ".".join(["a" * 63] * 3 + ["a" * 61])
    assert len(from_text(text)) == MAX_NAME_OCTETS
    assert from_text(to_text(from_text(text))) == from_text(text)


def test_what_has_a_meaning_in_files_is_escaped_in_text() -> None:
    assert to_text(join([b'a.b"$();@\\', b" \t\x7f\xff", b"plain_-*"])) == (
        r"a\.b\"\$\(\)\;\@\\.\032\009\127\255.plain_-*."
    )


@given(LABELS)
def test_text_and_octets_say_the_same_name(parts: list[bytes]) -> None:
    name = join(parts)
    assert from_text(to_text(name)) == name
    assert labels(name) == parts


@given(LABELS)
def test_dnspython_reads_our_text_and_writes_what_we_read(parts: list[bytes]) -> None:
    name = join(parts)
    theirs = dns.name.from_wire(name, 0)[0]
    assert dns.name.from_text(to_text(name)) == theirs
    assert from_text(theirs.to_text()) == name


@given(LABELS)
def test_folding_a_wire_name_folds_letters_and_nothing_else(parts: list[bytes]) -> None:
    assert labels(join(parts).lower()) == [part.lower() for part in parts]


@given(LABELS)
def test_ancestors_are_what_remains_when_labels_are_taken_off(parts: list[bytes]) -> None:
    name = join(parts)
    ancestors = suffixes(name)
    assert ancestors == [join(parts[at:]) for at in range(len(parts) + 1)]
    assert [parent(one) for one in ancestors] == [*ancestors[1:], ROOT]
    assert all(is_subdomain(name, one) for one in ancestors)


@pytest.mark.parametrize(
    ("name", "ancestor", "expected"),
    [
        ("www.example.org", "example.org", True),
        ("example.org", "example.org", True),
        ("example.org", "www.example.org", False),
        ("badexample.org", "example.org", False),
        (r"www\007example\003org", "org", False),
        ("org", ".", True),
    ],
)
def test_below_means_by_whole_labels(name: str, ancestor: str, expected: bool) -> None:
    assert is_subdomain(from_text(name), from_text(ancestor)) is expected
