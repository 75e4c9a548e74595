"""No variety that a client can make up fills the table of kept replies, nor gets it a reply to another query."""

from __future__ import annotations

from itertools import product

import pytest

from kdns.wire.iana import RRType
from tests.support.engines import Served, files
from tests.support.messages import AD, CD, DO, RD, opt, query

ZONE = "www A 192.0.2.80\nalias CNAME www.example.com.\nodd TYPE65280 \\# 4 C0000201\nsub NS ns.example.com.\n"
TC, RA, Z, AA = 0x0200, 0x0080, 0x0040, 0x0400


@pytest.fixture
def served() -> Served:
    return files(("example.org", ZONE))


def test_types_without_a_name_are_answered_and_not_kept(served: Served) -> None:
    for name, qtype in product(("www", "alias", "odd", "sub"), range(60000, 60100)):
        assert served.dig(f"{name}.example.org", qtype).rcode == "NOERROR"
    assert served.dig("odd.example.org", 65280).rdata == [r"\# 4 c0000201"]
    assert served.kept == 0


def test_every_type_with_a_name_is_kept_once(served: Served) -> None:
    types = [qtype for qtype in RRType if served.dig("www.example.org", int(qtype)).rcode == "NOERROR"]
    assert served.kept == len(types)
    for qtype in types:
        served.dig("www.example.org", int(qtype))
    assert served.kept == len(types)


def test_flags_that_no_reply_copies_make_no_variety(served: Served) -> None:
    for odd in range(16):
        flags = sum(bit for at, bit in enumerate((TC, RA, Z, AA)) if odd >> at & 1)
        found = served.dig("www.example.org", flags=flags | odd)  # a query's rcode, too, means nothing
        assert (found.rcode, found.flags) == ("NOERROR", {"QR", "AA"})
    assert served.kept == 1


def test_flags_that_are_copied_are_copied_from_each_query(served: Served) -> None:
    for _ in range(2):
        for flags, copied in ((0, set()), (RD, {"RD"}), (CD, {"CD"}), (RD | CD | AD, {"RD", "CD"})):
            assert served.dig("www.example.org", flags=flags).flags == {"QR", "AA"} | copied
    assert served.kept == 4


def test_edns_flags_other_than_do_make_no_variety(served: Served) -> None:
    for flags in (0, 1, 0x4000, 0x7FFF):
        assert not served.dig("www.example.org", edns=opt(flags=flags)).dnssec_ok
        assert served.dig("www.example.org", edns=opt(flags=flags | DO)).dnssec_ok
    for upper in range(1, 9):
        assert served.dig("www.example.org", edns=opt(rcode=upper)).rcode == "NOERROR"
    assert served.kept == 2


@pytest.mark.parametrize("opcode", range(1, 16))
def test_an_opcode_that_is_not_served_is_repeated(served: Served, opcode: int) -> None:
    reply = served.ask(query("www.example.org", flags=opcode << 11 | RD))
    assert reply is not None
    assert reply[2:4] == (0x8000 | opcode << 11 | RD | 4).to_bytes(2)  # NOTIMP
