"""Master files that cannot be served: each error names file, line and word."""

from __future__ import annotations

import pickle

import pytest

from kdns.wire.name import from_text
from kdns.zone import masterfile
from kdns.zone.masterfile import MAX_GENERATED, MAX_RDATA_OCTETS, ZoneFileError, read
from kdns.zone.record import MAX_TOKEN_CHARS
from tests.support.zonetext import HEAD

ORIGIN = from_text("example.org")
LINE = HEAD.count("\n") + 1  # the first line behind the head


def error_of(text: str, files: dict[str, str] | None = None, head: str = HEAD) -> ZoneFileError:
    def open_include(path: str) -> str:
        assert files is not None
        if path not in files:
            raise FileNotFoundError(2, "No such file or directory", path)
        return files[path]

    with pytest.raises(ZoneFileError) as caught:
        read(head + text, ORIGIN, "test.zone", None if files is None else open_include)
    return caught.value


def test_an_error_reads_as_path_line_message_and_word() -> None:
    assert str(error_of("www A 192.0.2.999\n")) == "test.zone:5: malformed field (near '192.0.2.999')"


def test_an_error_can_cross_processes() -> None:
    error = error_of("www A 192.0.2.999\n")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_a_long_word_is_cut_in_the_text_and_whole_in_the_error() -> None:
    error = error_of(f"www A {'x' * 5000}\n")
    assert error.token == "x" * 5000
    assert len(str(error)) < 100 + MAX_TOKEN_CHARS


def test_an_error_without_a_word_says_none() -> None:
    assert str(error_of("", head="")) == "test.zone:1: no SOA record at example.org.: a zone needs one"


# The line is where the record starts, and the word is the one at fault.

@pytest.mark.parametrize(
    ("text", "line", "token"),
    [
        ("a A 192.0.2.1\nb A x\n", 1, "x"),
        ("a A 192.0.2.1\n\n\nb A x ; comment\nc A 192.0.2.2\n", 3, "x"),
        ("; one\n  ; two\n\t\nb A x", 3, "x"),
        ("a A 192.0.2.1\r\nb A x\r\n", 1, "x"),
        ("a MX (\n 10 ; ten\n mail\n extra )\n", 0, "extra"),
        ("a TXT ( one\n two\n three )\nb MX ten ns\n", 3, "ten"),
        ("a TXT \"one\" \"two\"\nb FOO x\n", 1, "FOO"),
        ("a A 192.0.2.1 192.0.2.2\n", 0, "192.0.2.2"),
        ("a A 192.0.2.1\n  A 192.0.2.2\n  A\n", 2, "A"),
        ("a MX 10\nb A 192.0.2.1\n", 0, "10"),
        ("a\nb A 192.0.2.1\n", 0, "a"),
        ("a 300\nb A 192.0.2.1\n", 0, "300"),
        ("$TTL 60\n$TTL sixty\n", 1, "sixty"),
        ("$TTL\n", 0, "$TTL"),
        ("$TTL 60 70\n", 0, "70"),
        ("$ORIGIN a..b\n", 0, "a..b"),
        ("$ORIGIN\n", 0, "$ORIGIN"),
        ("$DATE 60\n", 0, "$DATE"),
        ("$UNICODE 2008\n", 0, "$UNICODE"),
        ("a TXT \"open\nb A 192.0.2.1\n", 0, '"'),
        ("a TXT \"open", 0, '"'),
        ("a TXT ( \"x\"\nb A 192.0.2.1\n", 0, "("),
        ("a A 192.0.2.1 )\n", 0, ")"),
        ("a TXT x\\", 0, "\\"),
        ("a TXT x\\\nb A 192.0.2.1\n", 0, "\\"),
        ("\"a\" A 192.0.2.1\n", 0, "a"),
    ],
)
def test_syntax_errors_name_the_line_where_the_record_starts_and_the_word(text: str, line: int, token: str) -> None:
    error = error_of(text)
    assert (error.path, error.line, error.token) == ("test.zone", LINE + line, token)


@pytest.mark.parametrize(
    ("record", "message", "token"),
    [
        ("a A 1.2.3", "malformed field", "1.2.3"),
        ("a AAAA 192.0.2.1", "malformed field", "192.0.2.1"),
        ("a MX ten ns", "expecting an integer", "ten"),
        ("a MX 70000 ns", "70000 is not an unsigned 16-bit integer", "70000"),
        ("a MX 10", "the line ends too early: a field is missing", "10"),
        ("a SRV 0 0 http ns", "expecting an integer", "http"),
        ("a CNAME", "the line ends too early: a field is missing", "CNAME"),
        ("a CNAME b c", "more fields than the record has", "c"),
        ("a TXT", "a field is missing, or an escape is not complete", "TXT"),
        (r"a TXT x\1", "a field is missing, or an escape is not complete", r"x\1"),
        (r"a\1 A 192.0.2.1", r"bad escape: \ and three digits up to 255, or \ and any other character", r"a\1"),
        ("a FOO bar", "no known type, class or TTL", "FOO"),
        ("a 1x A 192.0.2.1", "no known type, class or TTL", "1x"),
        ("a IN IN A 192.0.2.1", "no known type, class or TTL", "IN"),
        ("a CH A 192.0.2.1", "only class IN is served", "CH"),
        ("a HS TXT x", "only class IN is served", "HS"),
        ("a 2147483648 A 192.0.2.1", "TTL 2147483648 is above 2147483647 (RFC 2181 section 8)", "2147483648"),
        ("a.. A 192.0.2.1", "a label is empty", "a.."),
        (".a A 192.0.2.1", "a label is empty", ".a"),
        ("a MX 10 b..c", "a label is empty", "b..c"),
        (f"{'a' * 64} A 192.0.2.1", "a label is longer than 63 octets", "a" * 64),
        (f"{'a.' * 127}b A 192.0.2.1", "the name is longer than 255 octets", f"{'a.' * 127}b"),
        (f"a CNAME {'a.' * 127}b", "the name is longer than 255 octets", f"{'a.' * 127}b"),
        (r"a\256 A 192.0.2.1", r"bad escape: \ and three digits up to 255, or \ and any other character", r"a\256"),
        ("bücher A 192.0.2.1", "the name is not ASCII: write it in its xn-- form", "bücher"),
        ("a CNAME bücher", "the name is not ASCII: write it in its xn-- form", "bücher"),
        (f'a TXT "x" "{"y" * 256}" z', "string too long", "y" * 256),
        ("a DS 1 8 2 wxyz", "Non-hexadecimal digit found", "wxyz"),
        ("a MX 9999999999999999999999 ns", "9999999999999999999999 is not an unsigned 16-bit integer", "9" * 22),
        (f"a MX {'9' * 5000} ns", "number too long", "9" * 5000),
        (f"a {'9' * 5000} A 192.0.2.1", "number too long", "9" * 5000),
    ],
)
def test_a_bad_field_is_named_in_words(record: str, message: str, token: str) -> None:
    error = error_of(record + "\n")
    assert (error.message, error.token, error.line) == (message, token, LINE)


def test_rdata_that_fits_into_no_message_is_refused() -> None:
    strings = " ".join(['"' + "x" * 255 + '"'] * (MAX_RDATA_OCTETS // 256 + 1))
    error = error_of(f"a TXT {strings}\n")
    assert "fit into no message" in error.message
    assert (error.line, error.token) == (LINE, "TXT")


# The zone as a whole

@pytest.mark.parametrize(
    ("text", "line", "message", "token"),
    [
        ("www.example.net. A 192.0.2.1\n", 0, "out-of-zone data", "www.example.net. A"),
        ("org. A 192.0.2.1\n", 0, "out-of-zone data", "org. A"),
        ("notexample.org. A 192.0.2.1\n", 0, "out-of-zone data", "notexample.org. A"),
        ("$ORIGIN example.net.\nx A 192.0.2.1\n", 1, "out-of-zone data", "x.example.net. A"),
        ("@ SOA ns hostmaster 8 1 1 1 1\n", 0, "a zone has one SOA record", "example.org. SOA"),
        ("sub SOA ns hostmaster 8 1 1 1 1\n", 0, "SOA record below the apex", "sub.example.org. SOA"),
        ("example.net. SOA ns hostmaster 8 1 1 1 1\n", 0, "out-of-zone data", "example.net. SOA"),
        ("a CNAME b\na CNAME c\n", 1, "a name has one CNAME record", "a.example.org. CNAME"),
        ("a CNAME b\nx A 192.0.2.1\nA A 192.0.2.1\n", 2, "A beside a CNAME at test.zone:5", "A.example.org. A"),
        ("a A 192.0.2.1\na CNAME b\n", 1, "CNAME beside other data: A at test.zone:5", "a.example.org. CNAME"),
        ("@ CNAME b\n", 0, "CNAME beside other data: SOA at test.zone:2", "example.org. CNAME"),
        ("d DNAME e\nd DNAME f\n", 1, "a name has one DNAME record", "d.example.org. DNAME"),
        ("d DNAME e\nx.y.d A 192.0.2.1\n", 1, "data below the DNAME at d.example.org.", "x.y.d.example.org. A"),
        ("x.d A 192.0.2.1\nd DNAME e\n", 0, "data below the DNAME at d.example.org.", "x.d.example.org. A"),
        ("@ DNAME e.\n", -1, "data below the DNAME at example.org.", "ns.example.org. A"),
    ],
)
def test_what_cannot_stand_in_a_zone_is_refused_with_its_line(text: str, line: int, message: str, token: str) -> None:
    error = error_of(text)
    assert error.message.startswith(message)
    assert (error.line, error.token) == (LINE + line, token)


@pytest.mark.parametrize("neutral", ["RRSIG A 8 2 300 20300101000000 20200101000000 1 example.org. aaaa", "NSEC b A"])
def test_signatures_may_stand_beside_a_cname(neutral: str) -> None:
    for text in (f"a CNAME b\na {neutral}\n", f"a {neutral}\na CNAME b\n"):
        assert len(read(HEAD + text, ORIGIN, "z", None).rrsets) == 5


def test_a_zone_needs_a_soa_at_its_apex() -> None:
    error = error_of("@ 60 NS ns.test.\n", head="")
    assert (error.line, error.message) == (1, "no SOA record at example.org.: a zone needs one")


def test_a_zone_needs_an_ns_at_its_apex() -> None:
    error = error_of("\n@ 60 SOA ns.test. h.test. 1 2 3 4 5\nsub 60 NS ns.test.\n", head="")
    assert (error.line, error.token) == (2, "example.org. SOA")
    assert error.message == "no NS record at example.org.: a zone needs one"


def test_a_record_needs_a_ttl_from_somewhere() -> None:
    error = error_of("@ NS ns.test.\n@ 60 SOA ns.test. h.test. 1 2 3 4 5\n", head="")
    assert (error.line, error.message) == (1, "no TTL: give one here, or $TTL before the first record")


@pytest.mark.parametrize("text", ["www A 192.0.2.1\n", "@ 60 SOA a. b. 1 2 3 4 5\n"])
def test_without_any_origin_a_relative_name_is_refused(text: str) -> None:
    with pytest.raises(ZoneFileError, match=r"z:1: relative name without an origin: begin with \$ORIGIN"):
        read(text, None, "z", None)


def test_without_any_origin_and_soa_the_file_is_refused() -> None:
    with pytest.raises(ZoneFileError, match="z:1: no SOA record: a zone needs one"):
        read("", None, "z", None)


# $INCLUDE

def test_errors_in_an_included_file_name_that_file_and_its_line() -> None:
    error = error_of("$INCLUDE sub/a\n", {"sub/a": "\n\nx A 192.0.2\n"})
    assert (error.path, error.line, error.token) == ("sub/a", 3, "192.0.2")


def test_errors_behind_an_include_name_the_including_file_again() -> None:
    error = error_of("$INCLUDE a\nx A 192.0.2\n", {"a": "y A 192.0.2.1\n\n\n\n\n\n\n"})
    assert (error.path, error.line) == ("test.zone", LINE + 1)


def test_records_behind_an_include_clash_where_they_stand() -> None:
    error = error_of("$INCLUDE a\nx A 192.0.2.1\nx CNAME y\n", {"a": "\n\n\n\n\n\n\ny A 192.0.2.1\n"})
    assert str(error).startswith("test.zone:7: CNAME beside other data: A at test.zone:6 ")


def test_what_clashes_over_files_names_both_places() -> None:
    error = error_of("x A 192.0.2.1\n$INCLUDE a\n", {"a": "\nx CNAME y\n"})
    assert str(error) == "a:2: CNAME beside other data: A at test.zone:5 (near 'x.example.org. CNAME')"


def test_out_of_zone_data_of_an_include_is_found() -> None:
    error = error_of("$INCLUDE a example.net.\n", {"a": "x A 192.0.2.1\n"})
    assert (error.path, error.line) == ("a", 1)


@pytest.mark.parametrize(
    ("text", "message", "token"),
    [
        ("$INCLUDE nope\n", "cannot read nope: ", "nope"),
        ("$INCLUDE\n", "the line ends too early: a field is missing", "$INCLUDE"),
        ("$INCLUDE a b c\n", "more fields than the record has", "c"),
        ("$INCLUDE a b..c\n", "a label is empty", "b..c"),
    ],
)
def test_an_include_that_cannot_be_followed_is_an_error_where_it_stands(text: str, message: str, token: str) -> None:
    error = error_of(text, {"a": ""})
    assert error.message.startswith(message)
    assert (error.path, error.line, error.token) == ("test.zone", LINE, token)


def test_an_include_that_is_no_text_is_an_error_where_it_stands() -> None:
    def open_include(path: str) -> str:
        return b"\xff\xfe".decode("utf-8")

    with pytest.raises(ZoneFileError, match=r"z:5: cannot read a: .*utf-8"):
        read(HEAD + "$INCLUDE a\n", ORIGIN, "z", open_include)


def test_includes_may_be_forbidden() -> None:
    error = error_of("x A 192.0.2.1\n$INCLUDE a\n")
    assert (error.line, error.message) == (LINE + 1, "$INCLUDE is not allowed here")


def test_a_file_that_includes_itself_ends_in_an_error() -> None:
    error = error_of("$INCLUDE a\n", {"a": "$INCLUDE a\n"})
    assert "deep" in error.message
    assert (error.path, error.line) == ("a", 1)


def test_a_parenthesis_that_an_include_leaves_open_does_not_reach_out_of_it() -> None:
    error = error_of("$INCLUDE a\nx A 192.0.2.1 )\n", {"a": "y A ( 192.0.2.1\n"})
    assert (error.path, error.line, error.token) == ("a", 1, "(")


# $GENERATE

@pytest.mark.parametrize(
    ("text", "message", "token"),
    [
        ("$GENERATE 1-x h$ A 192.0.2.1\n", "not a range", "1-x"),
        ("$GENERATE 5-1 h$ A 192.0.2.1\n", "not a range", "5-1"),
        ("$GENERATE 1-5/0 h$ A 192.0.2.1\n", "not a range", "1-5/0"),
        ("$GENERATE - h$ A 192.0.2.1\n", "not a range", "-"),
        ("$GENERATE\n", "not a range", "$GENERATE"),
        ("$GENERATE 1-3\n", "$GENERATE, which takes one word of RDATA: the line ends too early", "1-3"),
        ("$GENERATE 1-3 h$ FOO x\n", "$GENERATE, which takes one word of RDATA: no known type", "FOO"),
        ("$GENERATE 1-3 h$ A 192.0.2.$$\n", "$GENERATE, which takes one word of RDATA: malformed", "192.0.2.$$"),
        ("$GENERATE 1-3 h$ A 192.0.2.$ x\n", "more fields than the record has", "x"),
        ("$GENERATE 1-3 h$ MX 10 x\n", "$GENERATE, which takes one word of RDATA", "10"),
        (f"$GENERATE 1-{MAX_GENERATED + 1} h$ A 192.0.2.1\n", f"$GENERATE makes more than {MAX_GENERATED} names",
         f"1-{MAX_GENERATED + 1}"),
        ("$GENERATE 0-99999999999 h$ A 192.0.2.1\n", "$GENERATE makes more than", "0-99999999999"),
        ("$GENERATE 1-3 h$.example.net. A 192.0.2.1\n", "out-of-zone data", "h1.example.net. A"),
    ],
)
def test_a_bad_generate_directive_is_named(text: str, message: str, token: str) -> None:
    error = error_of(text)
    assert error.message.startswith(message)
    assert (error.line, error.token) == (LINE, token)


def test_records_of_one_file_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masterfile, "MAX_RECORDS", 5)
    assert len(read(HEAD + "a A 192.0.2.1\nb A 192.0.2.1\n", ORIGIN, "z", None).rrsets) == 5
    error = error_of("a A 192.0.2.1\nb A 192.0.2.1\nc A 192.0.2.1\n")
    assert (error.line, error.message) == (LINE + 2, "more than 5 records")
