"""The query mix: always the same, in the shares it states, and about names that are there, or are not, as meant."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from bench.cluster import Cluster, Size, build
from bench.queries import MIX, NAME_TEXT_MAX, questions, write_queries
from bench.zonefiles import service_records

SIZE = Size(namespaces=5, services=200, endpoints=3000, external_name=0.1)
COUNT = 4000
Question = tuple[str, str]


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    return build(SIZE)


@pytest.fixture(scope="module")
def asked(cluster: Cluster) -> list[Question]:
    return list(questions(cluster, COUNT, seed=7))


@pytest.fixture(scope="module")
def owners(cluster: Cluster) -> set[str]:
    return {owner for service in cluster.services for owner, _, _ in service_records(cluster, service)}


def test_the_same_arguments_give_the_same_questions_and_another_seed_others(
    cluster: Cluster, asked: list[Question]
) -> None:
    assert list(questions(cluster, COUNT, seed=7)) == asked
    assert list(questions(cluster, COUNT, seed=8)) != asked


def test_the_weights_of_the_mix_are_percentages() -> None:
    assert sum(weight for _, weight, _ in MIX) == 100


def test_search_path_misses_have_the_share_that_the_mix_states_and_do_not_exist(
    asked: list[Question], owners: set[str]
) -> None:
    ours = (".svc.cluster.local", ".arpa")
    misses = [name for name, _ in asked if name.count("cluster.local") > 1 or not name.endswith(ours)]
    assert not owners & set(misses)
    assert 0.1 < len(misses) / COUNT < 0.25
    assert any(name.endswith(".svc.cluster.local.svc.cluster.local") for name in misses)


def test_all_other_questions_are_about_names_that_exist_unless_nobody_is_ready(
    cluster: Cluster, asked: list[Question], owners: set[str]
) -> None:
    empty_headless = {s.fqdn for s in cluster.services if s.kind == "Headless"} - owners
    outside = ("github.com", "docker.io", "amazonaws.com", "example.com")
    for name, _ in asked:
        is_miss = name.count("cluster.local") > 1 or any(part in name for part in outside)
        assert is_miss or name in owners or name.endswith(tuple(empty_headless)), name


def test_most_aaaa_questions_are_about_names_with_ipv4_only(cluster: Cluster, asked: list[Question]) -> None:
    single_stack = {service.fqdn for service in cluster.services if service.families == ("IPv4",)}
    aaaa = [name for name, rtype in asked if rtype == "AAAA" and name.count("cluster.local") == 1]
    assert sum(name in single_stack for name in aaaa) > len(aaaa) / 2


def test_every_type_of_the_mix_is_asked_for(asked: list[Question]) -> None:
    types = Counter(rtype for _, rtype in asked)
    assert set(types) == {"A", "AAAA", "SRV", "PTR"}
    assert types["A"] > types["AAAA"] > types["SRV"] > types["PTR"] > 0


def test_no_question_is_too_long_to_send(asked: list[Question]) -> None:
    assert max(len(name) for name, _ in asked) <= NAME_TEXT_MAX


def test_skew_makes_a_few_services_popular(cluster: Cluster, asked: list[Question]) -> None:
    skewed = Counter(name for name, _ in questions(cluster, COUNT, seed=7, skew=1.2))
    even = Counter(name for name, _ in asked)
    assert skewed.most_common(1)[0][1] > 3 * even.most_common(1)[0][1]


def test_a_cluster_of_one_service_can_be_asked_too() -> None:
    tiny = build(Size(namespaces=1, services=1, endpoints=2, headless=0, external_name=0, dual_stack=0, seed=1))
    assert len(list(questions(tiny, 200, seed=1))) == 200


def test_the_file_holds_one_question_a_line(cluster: Cluster, asked: list[Question], tmp_path: Path) -> None:
    write_queries(cluster, tmp_path / "queries", COUNT, seed=7)
    lines = (tmp_path / "queries").read_text().splitlines()
    assert [tuple(line.split()) for line in lines] == asked
