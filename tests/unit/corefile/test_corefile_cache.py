"""The directive `cache`: limits, prefetch, stale answers, zones; bounds are CoreDNS's."""

from __future__ import annotations

import pytest

from kdns.corefile import CorefileError, parse_corefile, print_corefile
from kdns.corefile.plugins import Cache
from kdns.wire.name import ROOT, from_text

SECOND = 10**9
ORG = from_text("example.org")


def cache(text: str) -> Cache:
    corefile = parse_corefile(f"example.org {{\n{text}\n}}")
    assert parse_corefile(print_corefile(corefile)) == corefile
    found = corefile.blocks[0].cache
    assert found is not None
    return found


def refusal(text: str) -> str:
    with pytest.raises(CorefileError) as caught:
        parse_corefile(f"example.org {{\n{text}\n}}")
    return str(caught.value)


def test_the_defaults_are_those_of_coredns_but_for_the_least_ttl() -> None:
    assert cache("cache") == Cache((ORG,))
    assert cache("cache") == Cache((ORG,), 9984, 3600, 0, 9984, 1800, 0, servfail_ns=5 * SECOND)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cache 30", Cache((ORG,), success_ttl=30, denial_ttl=30)),
        ("cache 30 . example.net", Cache((ROOT, from_text("example.net")), success_ttl=30, denial_ttl=30)),
        ("cache example.net", Cache((from_text("example.net"),))),
        ("cache 30.", Cache((from_text("30"),))),
        ("cache {\n success 5000\n}", Cache((ORG,), success_capacity=5000)),
        ("cache 60 {\n success 5000\n}", Cache((ORG,), success_capacity=5000, success_ttl=60, denial_ttl=60)),
        ("cache {\n success 5000 60\n}", Cache((ORG,), success_capacity=5000, success_ttl=60)),
        ("cache {\n denial 10 60 5\n}", Cache((ORG,), denial_capacity=1024, denial_ttl=60, denial_min_ttl=5)),
        ("cache 30 {\n denial 9984 5\n}", Cache((ORG,), success_ttl=30, denial_ttl=5)),
        ("cache {\n prefetch 3\n}", Cache((ORG,), prefetch_amount=3)),
        ("cache {\n serve_stale 0 verify 1s\n}", Cache((ORG,))),
        ("cache {\n success 9984 30 60\n}", Cache((ORG,), success_ttl=30, success_min_ttl=30)),
        (
            "cache {\n prefetch 3 2m 25%\n}",
            Cache((ORG,), prefetch_amount=3, prefetch_ns=120 * SECOND, prefetch_percent=25),
        ),
        ("cache {\n serve_stale\n}", Cache((ORG,), stale_ns=3600 * SECOND)),
        ("cache {\n serve_stale 10m immediate\n}", Cache((ORG,), stale_ns=600 * SECOND)),
        ("cache {\n serve_stale 10m verify\n}", Cache((ORG,), stale_ns=600 * SECOND, is_stale_verified=True)),
        (
            "cache {\n serve_stale 1h verify 200ms\n}",
            Cache((ORG,), stale_ns=3600 * SECOND, is_stale_verified=True, verify_timeout_ns=SECOND // 5),
        ),
        ("cache {\n servfail 0\n}", Cache((ORG,), servfail_ns=0)),
        ("cache {\n disable success\n}", Cache((ORG,), disabled_success=(ROOT,))),
        (
            "cache {\n disable denial a.test\n disable denial b.test\n}",
            Cache((ORG,), disabled_denial=(from_text("a.test"), from_text("b.test"))),
        ),
        ("cache {\n keepttl\n}", Cache((ORG,), keepttl=True)),
    ],
)
def test_what_is_said_is_read_and_printed(text: str, expected: Cache) -> None:
    assert cache(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cache 0", "2:7: a number from 1 to 2147483647 expected, not `0`"),
        ("cache -1", "2:7: a number from 1 to 2147483647 expected, not `-1`"),
        ("cache\ncache", "3:1: `cache` is already given at Corefile:2:1"),
        ("cache {\n success\n}", "3:2: `success` needs CAPACITY [TTL [MINTTL]]"),
        ("cache {\n success many\n}", "3:10: a number from 0 to 10000000 expected, not `many`"),
        ("cache {\n success 1 0\n}", "3:12: a number from 1 to 2147483647 expected, not `0`"),
        ("cache {\n denial 1 2 1 0\n}", "3:15: `denial` takes CAPACITY [TTL [MINTTL]]"),
        ("cache {\n prefetch 1 1m 10\n}", "3:16: a percentage ends in %, as in 10%, not `10`"),
        ("cache {\n prefetch 1 1m 9%\n}", "3:16: a number from 10 to 90 expected, not `9`"),
        ("cache {\n serve_stale 1h later\n}", "3:17: one of immediate, verify expected, not `later`"),
        ("cache {\n serve_stale 1h immediate 1s\n}", "3:27: only verify takes a TIMEOUT"),
        ("cache {\n servfail 301s\n}", "3:11: failures are kept for 5 minutes at most"),
        ("cache {\n disable all\n}", "3:10: one of success, denial expected, not `all`"),
        ("cache {\n disable\n}", "3:2: `disable` needs success or denial, and zones"),
        ("cache {\n keepttl 5\n}", "3:10: `keepttl` takes no argument"),
        ("cache {\n sucess 5\n}", "3:2: `cache` has no option `sucess`: did you mean `success`?"),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(text: str, message: str) -> None:
    assert refusal(text).startswith(f"Corefile:{message}")
