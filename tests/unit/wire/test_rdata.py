"""Where names stand in RDATA, checked against dnspython's own encoding of each type."""

from __future__ import annotations

import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import pytest

from kdns.wire.name import from_text
from kdns.wire.rdata import COMPRESSIBLE, SRV_TARGET_AT, TARGET_AT, name_at

EXAMPLES = {
    "NS": "ns.example.org.",
    "CNAME": "www.example.org.",
    "PTR": "host.example.org.",
    "MX": "10 mail.example.org.",
    "SOA": "ns.example.org. hostmaster.example.org. 1 2 3 4 5",
    "SRV": "1 2 80 web.example.org.",
    "SVCB": "1 svc.example.org. port=53",
    "HTTPS": "1 svc.example.org. alpn=h2",
}


def rdata(rrtype: str) -> bytes:
    wire = dns.rdata.from_text(dns.rdataclass.IN, rrtype, EXAMPLES[rrtype]).to_wire()
    assert wire is not None
    return wire


@pytest.mark.parametrize("rrtype", sorted(map(int, COMPRESSIBLE)))
def test_names_that_may_be_compressed_stand_where_the_table_says(rrtype: int) -> None:
    text = dns.rdatatype.to_text(dns.rdatatype.RdataType.make(rrtype))
    skip, count = COMPRESSIBLE[rrtype]
    at, wire = skip, rdata(text)
    names = []
    for _ in range(count):
        names.append(name_at(wire, at))
        at += len(names[-1])
    expected = [part for part in EXAMPLES[text].split() if part.endswith(".")]
    assert names == [from_text(one) for one in expected]


@pytest.mark.parametrize("rrtype", sorted(map(int, TARGET_AT)))
def test_targets_stand_where_the_table_says(rrtype: int) -> None:
    text = dns.rdatatype.to_text(dns.rdatatype.RdataType.make(rrtype))
    target = next(part for part in EXAMPLES[text].split() if part.endswith("."))
    assert name_at(rdata(text), TARGET_AT[rrtype]) == from_text(target)


def test_only_types_of_rfc_1035_are_compressed() -> None:
    assert all(rrtype <= 16 for rrtype in COMPRESSIBLE)


def test_a_srv_target_stands_behind_priority_weight_and_port() -> None:
    assert TARGET_AT[33] == SRV_TARGET_AT == 6


def test_a_name_is_cut_out_at_its_root_label() -> None:
    assert name_at(b"xx\x01a\x00yy", 2) == b"\x01a\x00"
    assert name_at(b"\0", 0) == b"\0"
