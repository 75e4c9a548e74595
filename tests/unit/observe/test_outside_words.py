"""kdns.observe.outside: the words of the forwarder are CoreDNS's metrics."""

from __future__ import annotations

from kdns.observe import families
from kdns.observe.families import ALL, Kind, Sample
from kdns.observe.outside import GAUGES, GROUP_WORDS, Group, GroupWord, samples

GROUPS = (Group("dns://:53", "."), Group("dns://:53", "example.org.,example.net."))


def _words(**of: int) -> list[int]:
    words = [0] * GROUP_WORDS
    for name, value in of.items():
        words[GroupWord[name]] = value
    return words


def test_each_word_is_told_once_and_by_its_family() -> None:
    for word in GroupWord:
        told = samples(GROUPS[:1], _words(**{word.name: 7}))
        ((sample, _),) = ((sample, value) for sample, value in told.items() if value)
        family = ALL[sample.name]
        assert len(sample.labels) == len(family.labels)
        assert (family.kind is Kind.GAUGE) == (word in GAUGES)
    assert len(samples(GROUPS[:1], _words())) == GROUP_WORDS


def test_groups_are_told_apart_by_server_and_zones() -> None:
    words = _words(CACHE_HITS_SUCCESS=3, CACHE_ENTRIES_DENIAL=2) + _words(CACHE_HITS_SUCCESS=4, CACHE_MISSES=1)
    told = samples(GROUPS, words)
    assert told[Sample("coredns_cache_hits_total", ("dns://:53", "success", ".", ""))] == 3
    assert told[Sample("coredns_cache_hits_total", ("dns://:53", "success", "example.org.,example.net.", ""))] == 4
    assert told[Sample("coredns_cache_misses_total", ("dns://:53", "example.org.,example.net.", ""))] == 1
    assert told[Sample("coredns_cache_entries", ("dns://:53", "denial", ".", ""))] == 2


def test_what_coredns_tells_without_labels_is_the_sum_of_all_groups() -> None:
    words = _words(ALL_UPSTREAMS_DOWN=1, SHED_CLIENT=5) + _words(ALL_UPSTREAMS_DOWN=2)
    told = samples(GROUPS, words)
    assert told[Sample("coredns_forward_healthcheck_broken_total")] == 3
    assert told[Sample(families.SHED, ("dns://:53", "client", ".", ""))] == 5
