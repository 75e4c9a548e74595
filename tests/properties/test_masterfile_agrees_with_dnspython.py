"""What is read from a master file is, record by record, what dns.zone.from_text reads, wherever that one is right.

It is not where data is out of zone or a CNAME stands beside other data: it drops them in silence, and such texts are
not made here. Whatever the text, reading ends in a zone or a ZoneFileError.
"""

from __future__ import annotations

import re

import dns.name
import dns.rdatatype
import dns.zone
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kdns.wire.name import from_text
from kdns.zone.masterfile import MasterFile, ZoneFileError, read
from tests.support.zonetext import HEAD

ORIGIN = from_text("example.org")
Rows = set[tuple[bytes, int, int, bytes]]

label = st.text("abZ09-_", min_size=1, max_size=8)
relative = st.lists(label, min_size=1, max_size=3).map(".".join)
target = st.one_of(relative, relative.map("{}.example.net.".format), st.just("@"))
ttl = st.sampled_from(["", "0", "60", "1h", "2W", "1h30m5s"])
octet = st.integers(0, 255)
word = st.text("abc\u00fc ;()\\\"'", max_size=12).map(lambda s: '"' + re.sub(r'(["\\])', r"\\\1", s) + '"')
hexed = st.binary(max_size=20).map(lambda data: rf"\# {len(data)} {data.hex()}")

rdata = st.one_of(
    st.builds("A 192.0.2.{}".format, octet),
    st.builds("AAAA 2001:db8::{:x}".format, octet),
    st.builds("MX {} {}".format, octet, target),
    st.builds("SRV {} 0 {} {}".format, octet, octet, target),
    st.builds("NS {}".format, target),
    st.builds("PTR {}".format, target),
    st.lists(word, min_size=1, max_size=3).map(lambda words: "TXT ( " + "\n ".join(words) + " ) ; c"),
    st.builds("CAA 0 issue {}".format, word),
    st.builds("HTTPS {} . alpn=h2".format, st.integers(1, 9)),
    st.builds("TYPE65280 {}".format, hexed),
    st.builds("TLSA 3 1 1 {}".format, st.binary(min_size=32, max_size=32).map(bytes.hex)),
)
owner = st.one_of(relative, relative.map("{}.example.org.".format))
record = st.builds("{} {} {} {}\n".format, owner, ttl, st.sampled_from(["", "IN", "in"]), rdata)
blank = st.builds("  {} {}\n".format, ttl, rdata)
other = st.sampled_from(["\n", "; comment\n", "   \n", "$TTL 90\n", "$ORIGIN sub.example.org.\n", "$ORIGIN deeper\n"])
generate = st.builds("$GENERATE {}-{} g$.{} A 192.0.2.$\n".format, st.integers(0, 3), st.integers(3, 9), label)
texts = st.lists(st.one_of(record, record, record, blank, other, generate), max_size=12).map("".join)


def rows_of(found: MasterFile) -> Rows:
    return {(r.owner.lower(), r.rrtype, r.ttl, data) for r in found.rrsets for data in r.rdatas}


def oracle(text: str) -> Rows:
    zone = dns.zone.from_text(text, dns.name.from_text("example.org."), relativize=False, check_origin=True)
    return {
        (owner.to_digestable(), int(rdataset.rdtype), rdataset.ttl, one.to_wire() or b"")
        for owner, rdataset in zone.iterate_rdatasets()
        for one in rdataset
    }


@settings(max_examples=300)
@given(texts)
def test_the_records_are_those_that_dnspython_reads(text: str) -> None:
    """Names are folded in rdata here: of two records that differ in case only, the two keep different ones."""
    ours = read(HEAD + text, ORIGIN, "z", None)
    assert {(o, t, ttl, d.lower()) for o, t, ttl, d in rows_of(ours)} == {
        (o, t, ttl, d.lower()) for o, t, ttl, d in oracle(HEAD + text)
    }


@settings(max_examples=200)
@given(texts, st.integers(0, 20))
def test_an_error_names_the_line_of_the_bad_record_wherever_it_stands(text: str, at: int) -> None:
    whole = text.splitlines(keepends=True)
    before, after = "".join(whole[: at % (len(whole) + 1)]), "".join(whole[at % (len(whole) + 1) :])
    assume(error_of(HEAD + before, ORIGIN) is None)  # else it was cut in the middle of a record
    error = error_of(HEAD + before + "bad A 192.0.2.x\n" + after, ORIGIN)
    assert error is not None
    assert (error.line, error.token) == ((HEAD + before).count("\n") + 1, "192.0.2.x")


TYPES = ["A", "AAAA", "MX", "TXT", "SOA", "NS", "CNAME", "DNAME", "SRV", "HTTPS", "LOC", "WKS", "RRSIG", "TYPE65280"]
DIRECTIVES = ["$TTL", "$ORIGIN", "$INCLUDE", "$GENERATE", "$", "1-3", "1-99999999999", "192.0.2.1", "h$", "${0,9,d}"]
FIELDS = ["@", "www", "*", "IN", "CH", "60", "1h", "10", "-1", "9" * 30, "ns", "example.net.", "..", "::1"]
SPECIAL = ["(", ")", '"', '"x y"', ";", "\\", r"\#", r"\300", "4", "0a000001", "alpn=", "\u00fc", "\x00", "\ufeff"]
SPACE = ["\n", "\n ", "\r\n", "\t", " "]
fragments = st.lists(st.sampled_from([*TYPES, *DIRECTIVES, *FIELDS, *SPECIAL, *SPACE]), max_size=25)


@settings(max_examples=500)
@given(fragments, st.booleans(), st.booleans(), st.booleans())
def test_any_text_is_a_zone_or_a_zone_file_error(words: list[str], spaced: bool, headed: bool, named: bool) -> None:
    text = (HEAD if headed else "") + (" " if spaced else "").join(words)
    error = error_of(text, ORIGIN if named else None)
    if error is not None:
        assert 1 <= error.line <= text.replace("\r\n", "\n").replace("\r", "\n").count("\n") + 1
        assert error.message
        assert str(error).startswith(f"{error.path}:{error.line}: ")


def error_of(text: str, origin: bytes | None) -> ZoneFileError | None:
    try:
        found = read(text, origin, "z", lambda path: "x A 192.0.2.1\n")
    except ZoneFileError as error:
        return error
    assert all(rrset.rdatas and 0 <= rrset.ttl < 2**31 for rrset in found.rrsets)
    return None
