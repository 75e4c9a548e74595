"""The format of snapshots, what is refused and with which words, and what a loaded one costs."""

from __future__ import annotations

import gc
import math
import tracemalloc
from collections.abc import Callable
from hashlib import blake2b
from typing import Any

import msgspec
import pytest

from kdns import __version__
from kdns.kube.decode import ObjectDecoder
from kdns.kube.objects import EndpointSlice, Object, Service, Tombstone
from kdns.kube.request import Notice, Severity
from kdns.kube.snapshot import (
    FORMAT_VERSION,
    FUTURE_TOLERANCE_SECONDS,
    PART_OBJECTS_MAX,
    PART_OCTETS,
    Section,
    Snapshot,
    SnapshotError,
    choose,
    decode,
    encode,
    foreign,
    layout_of,
)
from tests.unit.kube.builders import endpoint, namespace, piece, pod, recorded_lists, service

HERE = "https://10.0.0.1:6443, all namespaces"
ELSEWHERE = "https://10.9.9.9:6443, namespaces shop"
NOW = 1_800_000_000.0
DAY = 86400.0
MAGIC = b"\x89kdns\r\n\x1a"
PRELUDE = MAGIC + FORMAT_VERSION.to_bytes(4, "big")
TRAILER_OCTETS = 48


def snapshot(*objects: Object, fingerprint: str = HERE, taken_at: float = NOW, cluster: str = "uid-1") -> Snapshot:
    return Snapshot(fingerprint, cluster, taken_at, (Section("/api/v1/services", "4711", objects),))


def written(*snapshots: Snapshot) -> bytes:
    return b"".join(encode(snapshots))


def sealed(before: bytes) -> bytes:
    length = len(before) + TRAILER_OCTETS
    return before + blake2b(before, digest_size=32).digest() + length.to_bytes(8, "big") + b"kdns-end"


def framed(*values: Any) -> bytes:
    """Frames as a forger or another version would write them, whole and with the right checksum."""
    bodies = [msgspec.msgpack.encode(value) for value in values]
    return sealed(PRELUDE + b"".join(len(body).to_bytes(4, "big") + body for body in bodies))


def header(sources: int = 1) -> list[Any]:
    """The header that this version writes."""
    whole = written()
    start = len(PRELUDE) + 4
    found = msgspec.msgpack.decode(whole[start:-TRAILER_OCTETS])
    return [*found[:2], sources]


def refusal(data: bytes) -> str:
    with pytest.raises(SnapshotError) as caught:
        decode(data)
    return str(caught.value)


# What is written is what is read


def test_a_snapshot_of_every_kind_of_object_is_read_as_it_was_written() -> None:
    one = Snapshot(
        HERE,
        "uid-1",
        NOW,
        (
            Section("/api/v1/namespaces", "1", (namespace("shop", team="a"),)),
            Section("/api/v1/services", "2", (service("web", clusterIP="10.96.0.1", ports=[{"port": 80}]),)),
            Section(
                "/apis/discovery.k8s.io/v1/endpointslices",
                "3",
                (piece("web-1", endpoint("10.0.0.1", pod="web-0"), endpoint("10.0.0.2", ready=False)),),
            ),
            Section("/api/v1/pods?labelSelector=a%3Db", "4", (pod("web-0", "10.0.0.1", "fd00::1"),)),
        ),
    )
    assert decode(written(one)) == (one,)


@pytest.mark.parametrize("serial", [None, 0, 1, 2**32 - 1])
def test_the_serial_that_it_was_answered_with_is_kept(serial: int | None) -> None:
    one = Snapshot(HERE, "uid", NOW, (), serial)
    assert decode(written(one)) == (one,)


def test_what_a_real_cluster_told_is_read_as_it_was_written() -> None:
    by_kind: dict[type, list[Any]] = {}
    for one in recorded_lists():
        by_kind.setdefault(type(one), []).append(one)
    sections = [Section(kind.__name__, "9", tuple(of)) for kind, of in by_kind.items() if kind is not Tombstone]
    whole = Snapshot(HERE, "", NOW, tuple(sections))
    assert len(sections) == 4
    assert decode(written(whole)) == (whole,)


def test_resources_without_objects_and_clusters_without_resources_are_kept() -> None:
    some = (snapshot(), Snapshot(ELSEWHERE, "", NOW, ()), snapshot(service(), fingerprint="c"))
    assert decode(written(*some)) == some
    assert decode(written()) == ()


@pytest.mark.parametrize("count", [1, PART_OBJECTS_MAX - 1, PART_OBJECTS_MAX, PART_OBJECTS_MAX + 1, 1000])
def test_sections_of_any_size_are_read_whole(count: int) -> None:
    one = snapshot(*(namespace(f"ns-{at}") for at in range(count)))
    assert decode(written(one)) == (one,)


def test_no_chunk_has_more_than_the_objects_that_it_may() -> None:
    small = namespace("a")
    octets = len(msgspec.msgpack.encode(small))
    chunks = list(encode([snapshot(*[small] * 1000)]))
    assert max(map(len, chunks)) <= PART_OBJECTS_MAX * octets + 7
    assert len(chunks) >= 1000 / PART_OBJECTS_MAX


def test_a_chunk_ends_with_the_object_that_makes_it_too_large() -> None:
    large = piece("a", *(f"10.0.{at >> 8}.{at & 255}" for at in range(1000)), of="web")
    octets = len(msgspec.msgpack.encode(large))
    chunks = list(encode([snapshot(*[large] * 100)]))
    assert max(map(len, chunks)) < PART_OCTETS + octets
    assert decode(b"".join(chunks)) == (snapshot(*[large] * 100),)


def test_chunks_are_made_one_by_one_and_the_objects_are_not_looked_at_before() -> None:
    class Watched(tuple[Any, ...]):
        seen = 0

        def __iter__(self) -> Any:
            for one in super().__iter__():
                Watched.seen += 1
                yield one

    objects = Watched(namespace(f"ns-{at}") for at in range(1000))
    chunks = encode([Snapshot(HERE, "", NOW, (Section("r", "1", objects),))])
    for _ in range(5):  # prelude, header, source, section, the first part
        next(chunks)
    assert Watched.seen == PART_OBJECTS_MAX


# What is refused, and why


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "it is empty"),
        (b"apiVersion: v1\nkind: List\n", "it is no snapshot of kdns"),
        (bytes(4096), "it is no snapshot of kdns"),
        (MAGIC[:3], "it is cut short: it has 3 octets"),
        (PRELUDE[:-1], "it is cut short: it has 11 octets"),
        (PRELUDE, "it is cut short: its end is not there after 12 octets"),
        (PRELUDE + bytes(400), "it is cut short: its end is not there after 412 octets"),
        (
            MAGIC + (FORMAT_VERSION + 1).to_bytes(4, "big") + bytes(99),
            f"it was written by a later kdns: format {FORMAT_VERSION + 1}, and this kdns reads {FORMAT_VERSION}",
        ),
        (
            MAGIC + bytes(4) + bytes(99),
            f"it was written by an older kdns: format 0, and this kdns reads {FORMAT_VERSION}",
        ),
    ],
)
def test_what_is_no_snapshot_is_refused_with_the_reason(data: bytes, why: str) -> None:
    assert refusal(data) == why


def test_a_snapshot_that_a_transfer_took_for_text_is_refused() -> None:
    assert refusal(written(snapshot(service())).replace(b"\r\n", b"\n")) == "it is no snapshot of kdns"


def test_every_truncation_is_refused_as_one() -> None:
    whole = written(snapshot(service("web", clusterIP="10.96.0.1"), service("api")))
    assert all("cut short" in refusal(whole[:octets]) for octets in range(1, len(whole)))


@pytest.mark.parametrize("more", [b"x", b"\n", bytes(1000), PRELUDE])
def test_what_was_appended_to_a_file_is_told_as_that(more: bytes) -> None:
    whole = b"".join(encode([]))
    sizes = f"it has {len(whole + more)} octets, and its end is after {len(whole)}"
    assert refusal(whole + more) == f"it is damaged: {sizes}: something was appended to it"


def test_octets_lost_in_the_middle_are_told_from_a_missing_end() -> None:
    whole = written(snapshot(service()))
    found = refusal(whole[:100] + whole[110:])
    assert found == f"it is damaged: it has {len(whole) - 10} octets and should have {len(whole)}"


def test_a_changed_octet_is_refused_as_damage() -> None:
    whole = bytearray(written(snapshot(service("web", clusterIP="10.96.0.1"))))
    at = whole.index(bytes((10, 96, 0, 1)))
    whole[at + 3] = 2
    assert refusal(bytes(whole)) == "it is damaged: its content does not match its checksum"


def test_a_block_that_the_disk_lost_is_refused_as_damage() -> None:
    whole = written(snapshot(*(namespace(f"ns-{at}") for at in range(2000))))
    assert len(whole) > 3 * 4096
    assert "checksum" in refusal(whole[:4096] + bytes(4096) + whole[8192:])


def test_objects_of_other_fields_are_refused_with_the_version_that_wrote_them() -> None:
    found = refusal(framed(["9.9.9", "other", 0]))
    assert found == (
        f"it was written by kdns 9.9.9, whose objects have other fields than those of {__version__}"
    )


def test_the_layout_tells_other_fields_and_other_types_of_fields() -> None:
    class One(msgspec.Struct):
        name: str

    layout = layout_of(One)

    class Two(msgspec.Struct):
        name: bytes

    class Three(msgspec.Struct):
        name: str
        more: int

    Two.__name__ = Three.__name__ = "One"
    assert len({layout, layout_of(Two), layout_of(Three)}) == 3
    assert layout == layout_of(One)


class Leaf(msgspec.Struct):
    name: str


class Branch(msgspec.Struct):
    leaves: tuple[Leaf, ...] | None


def test_the_layout_covers_what_the_fields_are_made_of(monkeypatch: pytest.MonkeyPatch) -> None:
    layout = layout_of(Branch)
    assert layout == layout_of(Branch, Leaf)
    monkeypatch.setitem(Leaf.__annotations__, "name", "bytes")
    assert layout != layout_of(Branch)


HEAD = [HERE, "uid", NOW, 1, 7]
NAMESPACE = ["r", "Namespace", "1", 1]
ONE = [[["Namespace", "", "shop"], ""]]


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ([], "less follows than it says"),
        ([header()], "less follows than it says"),
        ([header(), HEAD, NAMESPACE], "less follows than it says"),
        ([header(), HEAD, NAMESPACE, []], "less follows than it says"),
        ([header(), HEAD, NAMESPACE, ONE * 2], "more follows than it says"),
        ([header(), HEAD, NAMESPACE, ONE, ONE], "more follows than it says"),
        ([header(), HEAD, ["r", "Secret", "1", 1], ONE], "nothing is known of objects of kind 'Secret'"),
        ([header(), HEAD, ["r", "", "1", 1], ONE], "nothing is known of objects of kind ''"),
        ([header(), HEAD, NAMESPACE, [[["Namespace", ""], ""]]], "what it says cannot be read"),
        ([header(), HEAD, ["r", "Service", "1", 1], ONE], "what it says cannot be read"),
        ([header(), [HERE, "uid", math.nan, 0, 7]], "it was taken at no time"),
        ([header(), [HERE, "uid", math.inf, 0, None]], "it was taken at no time"),
        ([header(2**60), HEAD], "less follows than it says"),
        ([{"writer": "x"}], "what it says cannot be read"),
    ],
)
def test_what_contradicts_itself_is_refused_though_its_checksum_is_right(values: list[Any], why: str) -> None:
    assert why in refusal(framed(*values))


def test_the_examples_above_are_read_where_they_are_right() -> None:
    (found,) = decode(framed(header(), HEAD, NAMESPACE, ONE))
    assert found == Snapshot(HERE, "uid", NOW, (Section("r", "1", (namespace("shop"),)),), 7)


@pytest.mark.parametrize(
    "body",
    [
        b"\x91" * 100_000,  # deeper than any stack
        b"\xdd\xff\xff\xff\xff",  # an array of four thousand million items
        b"\x91\x92\x93\xc6\xff\xff\xff\xff",  # octets that do not follow
        b"\x91\x92\x93\xa1\xff\xa0\xa0\xa0",  # no UTF-8
        b"\xc1",  # no MessagePack
        b"",
    ],
)
def test_hostile_octets_are_refused_and_cost_nothing(body: bytes) -> None:
    start = framed(header(), HEAD, NAMESPACE)[:-TRAILER_OCTETS]
    assert "it says" in refusal(sealed(start + len(body).to_bytes(4, "big") + body))
    deep = framed()[:-TRAILER_OCTETS]
    assert "it says" in refusal(sealed(deep + len(body).to_bytes(4, "big") + body))


# What a loaded one costs


def test_loaded_objects_share_what_decoded_ones_share() -> None:
    ports = [{"name": "http", "port": 80}]
    objects = (
        service("web", selector={"app": "web"}, ports=ports, labels={"team": "a"}),
        service("api", selector={"app": "web"}, ports=ports, labels={"team": "a"}),
    )
    slices = (piece("web-1", "10.0.0.1", ports=ports), piece("web-2", "10.0.0.2", ports=ports))
    (found,) = decode(written(Snapshot(HERE, "", NOW, (Section("s", "1", objects), Section("e", "1", slices)))))
    web, api = found.sections[0].objects
    one, two = found.sections[1].objects
    assert isinstance(web, Service)
    assert isinstance(api, Service)
    assert isinstance(one, EndpointSlice)
    assert isinstance(two, EndpointSlice)
    assert one.service is two.service is web.key
    assert web.key[0] is api.key[0]
    assert web.key[1] is api.key[1] is one.key[1]
    assert web.ports is api.ports is one.ports is two.ports
    assert web.targets is api.targets
    assert web.selector is api.selector
    assert web.labels is api.labels


SERVICES = 400
ENDPOINTS = 15


def _cluster(decoder: ObjectDecoder) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """A small cluster as it comes from an API server, each name in it a string of its own."""
    services = [
        {
            "metadata": {"name": f"web-{at}", "namespace": f"shop-{at % 20}", "labels": {"app": f"web-{at}"}},
            "spec": {"clusterIP": f"10.96.{at >> 8}.{at & 255}", "ports": [{"name": "http", "port": 80}]},
        }
        for at in range(SERVICES)
    ]
    slices = [
        {
            "metadata": {
                "name": f"web-{at}-x7k2p",
                "namespace": f"shop-{at % 20}",
                "labels": {"app": f"web-{at}", "kubernetes.io/service-name": f"web-{at}"},
            },
            "addressType": "IPv4",
            "endpoints": [
                endpoint(f"10.{at >> 8}.{at & 255}.{n}", pod=f"web-{at}-{n:08x}") for n in range(ENDPOINTS)
            ],
            "ports": [{"name": "http", "port": 8080}],
        }
        for at in range(SERVICES)
    ]

    def read(kind: str, one: Any) -> Any:
        return decoder.decode_json(kind, msgspec.json.encode(one), [])

    return tuple(read("Service", one) for one in services), tuple(read("EndpointSlice", one) for one in slices)


def _octets_of(make: Callable[[], Any]) -> tuple[Any, int, int]:
    """What is made, the octets that it keeps, and those that making it takes at most."""
    gc.collect()
    tracemalloc.start()
    try:
        made = make()
        gc.collect()
        return made, *tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()


def test_a_loaded_cluster_takes_no_more_memory_than_one_that_the_api_server_told() -> None:
    (services, slices), told, _ = _octets_of(lambda: _cluster(ObjectDecoder()))
    data = written(Snapshot(HERE, "", NOW, (Section("s", "1", services), Section("e", "1", slices))))
    found, loaded, _ = _octets_of(lambda: decode(data))
    assert [one.objects for one in found[0].sections] == [services, slices]
    assert loaded <= told * 1.02


def test_loading_takes_little_more_than_the_objects_and_the_file() -> None:
    services, slices = _cluster(ObjectDecoder())
    data = written(Snapshot(HERE, "", NOW, (Section("s", "1", services), Section("e", "1", slices))))
    _, kept, peak = _octets_of(lambda: decode(data))
    assert peak <= kept + len(data)


def test_writing_takes_no_memory_that_grows_with_the_cluster() -> None:
    services, slices = _cluster(ObjectDecoder())
    whole = Snapshot(HERE, "", NOW, (Section("s", "1", services), Section("e", "1", slices)))
    octets, _, peak = _octets_of(lambda: sum(map(len, encode([whole]))))
    assert octets > 2 * PART_OCTETS
    assert peak < 3 * PART_OCTETS


# Choosing


def test_a_snapshot_that_is_young_and_asked_for_is_used_and_said_to_be() -> None:
    one = snapshot(service("web"), service("api"), taken_at=NOW - 3723)
    chosen = choose([one], [HERE], NOW, DAY)
    assert chosen.snapshots == {HERE: one}
    assert chosen.notices == [Notice(Severity.INFO, f"used for {HERE}: 2 objects, 1h2m old")]


def test_a_snapshot_is_used_up_to_the_age_limit_and_not_after() -> None:
    assert choose([snapshot(taken_at=NOW - DAY)], [HERE], NOW, DAY).snapshots
    chosen = choose([snapshot(taken_at=NOW - DAY - 61)], [HERE], NOW, DAY)
    assert not chosen.snapshots
    why = f"not used for {HERE}, which starts without it: it is 24h1m old, and the limit is 24h0m"
    assert chosen.notices == [Notice(Severity.WARNING, why)]


def test_a_snapshot_from_the_future_is_used_within_what_clocks_differ_by_and_not_beyond() -> None:
    near = snapshot(taken_at=NOW + FUTURE_TOLERANCE_SECONDS)
    chosen = choose([near], [HERE], NOW, DAY)
    assert chosen.snapshots == {HERE: near}
    assert chosen.notices[0].text.endswith("0 objects, 0s old")
    chosen = choose([snapshot(taken_at=NOW + FUTURE_TOLERANCE_SECONDS + 1)], [HERE], NOW, DAY)
    assert not chosen.snapshots
    assert chosen.notices == [
        Notice(
            Severity.WARNING,
            f"not used for {HERE}, which starts without it: it was taken 5m1s in the future, so its age cannot be"
            " told; the clock of this machine is wrong, or was when it was written",
        )
    ]


def test_a_cluster_that_is_asked_for_in_another_way_starts_without_its_snapshot_and_others_with_theirs() -> None:
    here, third = snapshot(service()), snapshot(fingerprint="third")
    chosen = choose([here, third], [ELSEWHERE, HERE], NOW, DAY)
    assert chosen.snapshots == {HERE: here}
    refused, used = chosen.notices
    assert refused == Notice(
        Severity.WARNING,
        f"not used for {ELSEWHERE}, which starts without it:"
        f" it was written with another configuration, for {HERE}, third",
    )
    assert used.severity is Severity.INFO


def test_clusters_of_one_file_grow_old_each_on_its_own() -> None:
    old, young = snapshot(taken_at=NOW - 2 * DAY), snapshot(fingerprint=ELSEWHERE, taken_at=NOW - 5)
    chosen = choose([old, young], [HERE, ELSEWHERE], NOW, DAY)
    assert chosen.snapshots == {ELSEWHERE: young}
    assert [one.severity for one in chosen.notices] == [Severity.WARNING, Severity.INFO]


def test_two_sources_that_ask_for_the_same_share_one_snapshot_and_one_line() -> None:
    chosen = choose([snapshot()], [HERE, HERE], NOW, DAY)
    assert list(chosen.snapshots) == [HERE]
    assert len(chosen.notices) == 1


def test_a_file_of_no_cluster_is_of_no_use() -> None:
    (notice,) = choose([], [HERE], NOW, DAY).notices
    assert notice.text.endswith("it was written with another configuration, for no cluster")


def test_a_snapshot_of_another_cluster_is_foreign_and_both_are_named() -> None:
    assert foreign(snapshot(cluster="uid-1"), "uid-2") == (
        "the snapshot is of another cluster (its kube-system has UID uid-1, here it has uid-2):"
        " it is dropped, and nothing is answered before the API server has told everything"
    )


@pytest.mark.parametrize(("then", "now"), [("uid-1", "uid-1"), ("", "uid-1"), ("uid-1", ""), ("", "")])
def test_a_snapshot_of_the_same_cluster_or_of_one_that_is_unknown_is_not_foreign(then: str, now: str) -> None:
    assert foreign(snapshot(cluster=then), now) == ""
