"""Names outside and the forwarders that are asked for them: what is written, and what is made of measurements."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import dns.zone
import pytest

from bench import forward, forwarders, outside
from bench.driver import Measurement
from bench.inputs import Inputs
from bench.report import Series
from kdns.corefile import parse_corefile
from kdns.corefile.plugins import Policy

ONE = Measurement(10.0, 99, 100_000, 500, 900, 0, 0, 0, 100, 80, 1)
INPUTS = Inputs(Path(), {}, Path())


@pytest.fixture(scope="module")
def zone(tmp_path_factory: pytest.TempPathFactory) -> dns.zone.Zone:
    path = outside.write_zone(tmp_path_factory.mktemp("zone") / "zone")
    return dns.zone.from_file(str(path), outside.ZONE)


def address(zone: dns.zone.Zone, name: str) -> str:
    return zone.find_rdataset(name.removesuffix(f".{outside.ZONE}"), "A")[0].to_text()


@pytest.mark.parametrize("number", [0, 1, outside.HOSTS - 1])
def test_what_is_expected_stands_in_the_zone(zone: dns.zone.Zone, number: int) -> None:
    assert address(zone, outside.host(number).name) == outside.host(number).answer
    assert address(zone, outside.unique(number, "*").name) == outside.unique(number, "anything").answer


def test_no_two_names_have_the_same_address(zone: dns.zone.Zone) -> None:
    found = [rdata.to_text() for _, _, rdata in zone.iterate_rdatas("A")]
    assert len(found) == outside.HOSTS + outside.WILDCARDS + 1
    assert len(set(found)) == len(found)


def test_a_name_that_does_not_exist_is_not_in_the_zone(zone: dns.zone.Zone) -> None:
    assert outside.gone(1).answer == outside.NXDOMAIN
    assert zone.get_node(outside.gone(1).name.removesuffix(f".{outside.ZONE}")) is None


def test_the_addresses_of_a_shifted_zone_are_no_others_of_the_first(tmp_path: Path, zone: dns.zone.Zone) -> None:
    shifted = dns.zone.from_file(str(outside.write_zone(tmp_path / "zone", 1 << 16)), outside.ZONE)
    plain = {address(zone, outside.unique(n, "*").name) for n in range(outside.WILDCARDS)}
    assert address(shifted, "*.w7") == outside.unique(7, shift=1 << 16).answer
    assert address(shifted, "*.w7") not in plain


def test_questions_are_lines_with_the_answer_as_third_word(tmp_path: Path) -> None:
    path = outside.write_questions(tmp_path / "q", [outside.host(3), outside.gone(1)])
    assert sorted(path.read_text().splitlines()) == [
        f"gone-1.{outside.ZONE} A NXDOMAIN",
        f"host-3.{outside.ZONE} A 10.200.0.4",
    ]


def test_the_corefile_for_kdns_is_one_that_kdns_takes(tmp_path: Path) -> None:
    forwarders.kdns(["127.0.0.1:5301", "127.0.0.1:5302"], "policy sequential").command(tmp_path, 5300, INPUTS)
    (block,) = parse_corefile((tmp_path / "Corefile").read_text()).blocks
    assert [one.port for one in block.forward[0].upstreams] == [5301, 5302]
    assert block.forward[0].policy is Policy.SEQUENTIAL


def test_what_is_missing_is_named_with_where_it_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwarders, "which", lambda program: None)
    monkeypatch.delenv("KDNS_BENCH_COREDNS", raising=False)
    peers, missing = forwarders.available("127.0.0.1:53")
    assert [peer.name for peer in peers] == ["kdns"]
    assert [line.split()[0] for line in missing] == ["unbound", "dnsmasq", "coredns"]
    assert "dnsmasq-base" in missing[1]


def series(server: str, cpu_us: float, **values: int) -> Series:
    return Series("misses-1000", "full", server, [replace(ONE, cpu_us=cpu_us, **values)])


def test_kdns_is_judged_by_its_ratio_to_the_yardstick_and_by_what_was_lost_or_wrong() -> None:
    rows = list(forward.verdicts([series("kdns", 80.0, lost=2), series("unbound", 20.0), series("nsd", 10.0)]))
    assert [(row[1], row[3]) for row in rows] == [("8.00 x", "MISSED"), ("2.00 ", "MISSED"), ("0.00 ", "ok")]


@pytest.mark.parametrize("missing", ["kdns", "nsd"])
def test_there_is_no_verdict_without_kdns_or_the_yardstick(missing: str) -> None:
    group = [series(name, 1.0) for name in ("kdns", "unbound", "nsd") if name != missing]
    assert list(forward.verdicts(group)) == []
