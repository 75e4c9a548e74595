"""Types, classes and rcodes: IANA's mnemonics as dnspython knows them, generic spellings, what is refused."""

from __future__ import annotations

import dns.rcode
import dns.rdataclass
import dns.rdatatype
import pytest

from kdns.corefile import CorefileError, Position
from kdns.corefile.lexer import Kind, Token
from kdns.corefile.mnemonics import (
    _CLASSES,
    _RCODES,
    _TYPES,
    class_word,
    parse_class,
    parse_rcode,
    parse_type,
    rcode_word,
    type_word,
)

# Registered, but old releases of dnspython, or all of them, do not name them.
FORGOTTEN = {"EID", "NIMLOC", "ATMA", "SINK", "RKEY", "TALINK", "UINFO", "UID", "GID", "DOA", "RESINFO", "WALLET"}


def word(text: str) -> Token:
    return Token(Kind.WORD, text, Position("Corefile", 1, 1), True)


@pytest.mark.parametrize("name", sorted(_TYPES.keys() - FORGOTTEN))
def test_types_have_the_numbers_of_dnspython(name: str) -> None:
    assert parse_type(word(name.lower())) == dns.rdatatype.from_text(name)
    assert type_word(_TYPES[name]) == name


@pytest.mark.parametrize("name", _CLASSES)
def test_classes_have_the_numbers_of_dnspython(name: str) -> None:
    assert parse_class(word(name)) == dns.rdataclass.from_text(name)
    assert class_word(_CLASSES[name]) == name


@pytest.mark.parametrize("name", _RCODES)
def test_rcodes_have_the_numbers_of_dnspython(name: str) -> None:
    assert parse_rcode(word(name.lower())) == dns.rcode.from_text(name)
    assert rcode_word(_RCODES[name]) == name
    assert parse_rcode(word(str(_RCODES[name]))) == _RCODES[name]


def test_numbers_without_a_name_have_their_generic_spelling() -> None:
    assert (type_word(65280), class_word(65280), rcode_word(14)) == ("TYPE65280", "CLASS65280", "14")
    assert parse_type(word("TYPE65280")) == parse_class(word("class65280")) == 65280
    assert parse_rcode(word("14")) == 14


@pytest.mark.parametrize("text", ["", "AX", "TYPE", "TYPE65536", "CLASS1", "1", "TYPE٣"])
def test_what_is_no_type_is_refused(text: str) -> None:
    with pytest.raises(CorefileError, match="is not a type of records, such as A, TXT or TYPE65"):
        parse_type(word(text))


@pytest.mark.parametrize("text", ["", "24", "-1", "NXDOMAINS", "٣", "1" * 5000])
def test_what_is_no_rcode_is_refused(text: str) -> None:
    with pytest.raises(CorefileError, match="is no rcode that can stand here"):
        parse_rcode(word(text))
