"""kdns.observe.sampling: namespaces that exist, exact while there are few queries, close when there are many."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.observe.sampling import (
    NAMESPACE_WORDS,
    NAMESPACES,
    SAMPLES,
    NamespaceSampler,
    counts_of,
    namespace_of,
)
from kdns.wire.name import from_text
from tests.support.messages import query

APEXES = frozenset((from_text("cluster.local"), from_text("in-addr.arpa")))


def reply(name: str, rcode: int = 0) -> bytes:
    return query(name, flags=0x8500 | rcode)


def _sampler() -> tuple[NamespaceSampler, list[int]]:
    words = [0] * NAMESPACE_WORDS
    return NamespaceSampler(APEXES, words, Random(1)), words


def _pass(sampler: NamespaceSampler, replies: list[bytes]) -> None:
    """As a server does with a batch."""
    sampler.left -= len(replies)
    while sampler.left < 0:
        sampler.take(replies[len(replies) + sampler.left])


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("web.shop.svc.cluster.local", b"shop"),
        ("WEB.Shop.SVC.cluster.LOCAL", b"shop"),
        ("_http._tcp.web.shop.svc.cluster.local", b"shop"),
        ("shop.svc.cluster.local", b"shop"),
        ("10-0-0-1.shop.pod.cluster.local", b"shop"),
        ("svc.cluster.local", None),
        ("cluster.local", None),
        ("ns.dns.cluster.local", None),
        ("www.example.org", None),
        ("1.0.0.10.in-addr.arpa", None),
        (".", None),
    ],
)
def test_a_name_is_in_the_namespace_before_svc_or_pod(name: str, found: bytes | None) -> None:
    assert namespace_of(reply(name), APEXES) == found


def test_names_that_do_not_exist_are_in_none() -> None:
    assert namespace_of(reply("web.shop.svc.cluster.local", rcode=3), APEXES) is None


@given(st.binary(max_size=60))
def test_any_octets_are_a_namespace_or_none(octets: bytes) -> None:
    namespace_of(octets, APEXES)


def test_while_there_are_few_queries_each_one_counts() -> None:
    sampler, words = _sampler()
    for _ in range(4):
        for size in (1, 5, 2):
            _pass(sampler, [reply("web.shop.svc.cluster.local")] * size)
        _pass(sampler, [reply("api.kube-system.svc.cluster.local"), b"", reply("www.example.org")])
        sampler.fold()
    assert counts_of(words) == {b"shop": 32, b"kube-system": 4}


def test_many_queries_are_told_by_few_samples_and_in_the_end_right() -> None:
    sampler, words = _sampler()
    rng = Random(7)
    names = [reply(f"web.ns{at}.svc.cluster.local") for at in range(4)]
    sent: Counter[int] = Counter()
    looked = 0
    take = sampler.take

    def count(octets: bytes) -> None:
        nonlocal looked
        looked += 1
        take(octets)

    sampler.take = count  # type: ignore[method-assign]
    for _ in range(60):
        for _ in range(100):
            batch = rng.choices(range(4), (50, 30, 15, 5), k=40)
            sent.update(batch)
            _pass(sampler, [names[at] for at in batch])
        sampler.fold()
    counts = counts_of(words)
    assert looked < 60 * 4 * SAMPLES
    assert sum(counts.values()) == pytest.approx(sent.total(), rel=0.1)
    for at in range(3):
        assert counts[b"ns%d" % at] == pytest.approx(sent[at], rel=0.2)


def test_more_namespaces_than_there_is_room_for_never_go_back_and_never_too_low() -> None:
    sampler, words = _sampler()
    before: dict[bytes, int] = {}
    sent: Counter[bytes] = Counter()
    rng = Random(3)
    for _ in range(400):
        name = b"ns%d" % min(rng.randrange(2 * NAMESPACES), rng.randrange(2 * NAMESPACES))
        sent[name] += 1
        _pass(sampler, [reply(f"web.{name.decode()}.svc.cluster.local")])
        sampler.fold()  # so that each one is looked at
        counts = counts_of(words)
        assert len(counts) <= NAMESPACES
        for one, count in counts.items():
            assert count >= sent[one]
            assert count >= before.get(one, 0)
        before |= counts
    assert sum(counts_of(words).values()) == 400


def test_a_worker_that_follows_goes_on() -> None:
    sampler, words = _sampler()
    _pass(sampler, [reply("web.shop.svc.cluster.local")] * 3)
    sampler.fold()
    later = NamespaceSampler(APEXES, words, Random(2))
    _pass(later, [reply("web.shop.svc.cluster.local"), reply("web." + "x" * 63 + ".svc.cluster.local")])
    later.fold()
    assert counts_of(words) == {b"shop": 4, b"x" * 63: 1}
