"""kdns.server.labels: what is counted goes by the names that CoreDNS gives listeners and zones."""

from __future__ import annotations

import pytest

from kdns.corefile import parse_corefile
from kdns.observe.families import RESPONSES, Sample
from kdns.observe.tally import Making, Tally
from kdns.server.assembly import Plan, assemble
from kdns.server.labels import labels_of
from kdns.wire.name import from_text

CLUSTER, EXAMPLE = from_text("cluster.local"), from_text("example.org")


def _plan(text: str) -> Plan:
    return assemble(parse_corefile(text, "Corefile"), lambda _: (), lambda: ())


def test_a_block_without_bind_is_the_server_of_its_port() -> None:
    labels = labels_of(_plan(".:53 {\n whoami\n}\n"))
    assert [server.label for server in labels.layout.servers] == ["dns://:53"]
    assert labels.layout.zones[0] == "."


@pytest.mark.parametrize(("host", "label"), [("127.0.0.1", "dns://127.0.0.1:5300"), ("::1", "dns://[::1]:5300")])
def test_a_bound_block_is_named_with_its_address(host: str, label: str) -> None:
    labels = labels_of(_plan(f".:5300 {{\n bind {host}\n whoami\n}}\n"))
    assert [server.label for server in labels.layout.servers] == [label]


def test_blocks_of_one_port_are_one_server_with_the_zones_of_all() -> None:
    labels = labels_of(_plan("cluster.local in-addr.arpa {\n whoami\n}\nexample.org {\n whoami\n}\n"))
    (zones,) = labels.zones
    assert [labels.layout.zones[zones[apex]] for apex in (CLUSTER, EXAMPLE)] == ["cluster.local.", "example.org."]
    assert sorted(zones.values()) == [0, 1, 2] == sorted(labels.layout.servers[0].zones)


def test_a_block_with_two_addresses_has_one_number_for_its_zone_and_two_names() -> None:
    labels = labels_of(_plan("example.org {\n bind 127.0.0.1 127.0.0.2\n whoami\n}\n"))
    assert len(labels.layout.servers) == 2
    (first, second) = labels.zones
    assert first[EXAMPLE] == second[EXAMPLE]
    words = [0] * labels.layout.words
    tally = Tally(labels.layout, words)
    cell = tally.cell(first[EXAMPLE], Making(1, 0, "whoami"))
    for listener in (0, 1):
        tally.meter(listener, False, 4).counts[cell] += 1
    tally.fold()
    told = {sample for sample in labels.layout.samples(words) if sample.name == RESPONSES}
    assert told == {
        Sample(RESPONSES, (f"dns://127.0.0.{at}:53", "example.org.", "", "NOERROR", "whoami")) for at in (1, 2)
    }


def test_the_same_zone_on_two_ports_is_told_apart() -> None:
    labels = labels_of(_plan("example.org:53 {\n whoami\n}\nexample.org:54 {\n whoami\n}\n"))
    assert [server.label for server in labels.layout.servers] == ["dns://:53", "dns://:54"]
    assert labels.zones[0][EXAMPLE] != labels.zones[1][EXAMPLE]
