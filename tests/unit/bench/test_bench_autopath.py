"""bench.autopath: what counts and what answers in it."""

from __future__ import annotations

import dns.message
import dns.rcode
import pytest

from bench.autopath import LOOKUPS, Bench, Cost, _answer, _told


@pytest.mark.parametrize(("name", "rrtype", "rcode", "count"), [
    ("www1.example.org", "A", "NOERROR", 1), ("www1.example.org", "AAAA", "NOERROR", 1),
    ("www1.example.org", "MX", "NOERROR", 0), ("no1.example.org", "A", "NXDOMAIN", 0),
    ("www1.example.org.corp.example", "A", "NXDOMAIN", 0),
])
def test_the_world_outside_has_the_names_that_exist(name: str, rrtype: str, rcode: str, count: int) -> None:
    query = dns.message.make_query(name, rrtype)
    reply = dns.message.from_wire(_answer(query))
    assert query.is_response(reply)
    assert (dns.rcode.to_text(reply.rcode()), len(reply.answer)) == (rcode, count)


def test_the_names_of_a_kind_exist_or_do_not() -> None:
    for _, exists, names in LOOKUPS:
        assert {name.startswith("www") for name in names} == {exists}


def test_the_most_queries_and_the_middle_time_are_told() -> None:
    assert _told([Cost(2, 0, 1.0), Cost(8, 2, 9.0), Cost(4, 1, 2.04)]) == ["8", "2", "2.0"]


def test_a_lookup_with_the_wrong_end_stops_the_measurement() -> None:
    bench = Bench(is_inside=False)
    assert bench.cost(lambda _: True, "www1.example.org", True)[:2] == (0, 0)
    with pytest.raises(RuntimeError, match="must not have an address"):
        bench.cost(lambda _: True, "no1.example.org", False)
