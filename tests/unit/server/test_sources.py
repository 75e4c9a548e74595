"""kdns.server.sources: what a reading of some files changes, and what stays when one of them is broken or gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdns.corefile import Kubernetes, PodMode, ZoneFile, parse_selector
from kdns.server.assembly import ClusterPlan, FilePlan
from kdns.server.feed import Scope
from kdns.server.files import Events
from kdns.server.reading import DELTA_SUBTREES_MAX, Reading
from kdns.server.sources import (
    FileSource,
    ManifestSource,
    Source,
    explain,
    make_source,
    schema_options,
    soa_serial,
)
from kdns.server.watch import stamps
from kdns.wire.name import from_text
from tests.server.serving import service, zone

LOCAL, ORG = from_text("cluster.local"), from_text("example.org")
SERIAL = 1_700_000_000


def owner(name: str) -> bytes:
    return from_text(f"{name}.shop.svc")[:-1]


def read(source: Source, *paths: Path, first: bool = False, **events: object) -> Reading:
    """Let a source read these files as they are now."""
    happened = Events(read=[str(path) for path in paths])
    for kind, value in events.items():
        setattr(happened, kind, value)
    looked = source.paths()
    return source.read(looked, happened, stamps(looked), SERIAL, first)


def owners(source: Source) -> set[bytes]:
    return {subtree.owner for part in source.image() for subtree in part.subtrees}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "a.yaml").write_text(service("web", "10.0.0.1"))
    return tmp_path


@pytest.fixture
def cluster(directory: Path) -> ManifestSource:
    source = make_source(0, ClusterPlan(Kubernetes((LOCAL,), manifests=(str(directory),))))
    assert isinstance(source, ManifestSource)
    reading = read(source, directory / "a.yaml", first=True)
    assert (reading.scope, reading.errors) == (None, [])
    return source


def test_the_first_reading_is_the_image(cluster: ManifestSource, directory: Path) -> None:
    parts = list(cluster.image())
    assert parts[0].reset
    assert {part.serial for part in parts} == {SERIAL}
    assert owners(cluster) == {owner("web")}
    assert cluster.holds(str(directory / "a.yaml"))


def test_a_changed_file_is_one_delta(cluster: ManifestSource, directory: Path) -> None:
    (directory / "a.yaml").write_text(service("web", "10.0.0.2") + service("api", "10.0.0.3"))
    reading = read(cluster, directory / "a.yaml")
    assert reading.scope is Scope.DELTA
    (delta,) = reading.parts
    assert {subtree.owner for subtree in delta.subtrees} == {owner("web"), owner("api")}
    assert delta.serial == SERIAL + 1
    assert "2 services changed" in reading.what


def test_files_that_were_not_due_are_not_read(cluster: ManifestSource, directory: Path) -> None:
    (directory / "b.yaml").write_text("broken: [")
    reading = read(cluster)
    assert (reading.scope, reading.errors, reading.unchanged) == (None, [], [])


def test_many_changes_are_an_image(cluster: ManifestSource, directory: Path) -> None:
    (directory / "a.yaml").write_text("".join(service(f"s{at}", "10.0.0.1") for at in range(DELTA_SUBTREES_MAX + 1)))
    reading = read(cluster, directory / "a.yaml")
    assert reading.scope is Scope.IMAGE
    assert len(owners(cluster)) == DELTA_SUBTREES_MAX + 1


def test_a_broken_file_keeps_its_data_and_is_broken_until_it_is_repaired(
    cluster: ManifestSource, directory: Path
) -> None:
    path = directory / "a.yaml"
    path.write_text("kind: [")
    reading = read(cluster, path)
    assert reading.scope is None
    (error,) = reading.errors
    assert error.startswith(f"{path}:")
    assert cluster.broken == {str(path): error}
    assert owners(cluster) == {owner("web")}
    path.write_text(service("web", "10.0.0.1"))
    assert read(cluster, path).unchanged == [str(path)]
    assert cluster.broken == {}


def test_a_good_file_is_taken_while_another_one_is_broken(cluster: ManifestSource, directory: Path) -> None:
    (directory / "b.yaml").write_text(service("api", "10.0.0.2"))
    (directory / "c.yaml").write_text("kind: [")
    reading = read(cluster, directory / "b.yaml", directory / "c.yaml")
    assert len(reading.errors) == 1
    assert reading.scope is Scope.DELTA
    assert owners(cluster) == {owner("web"), owner("api")}


def test_of_two_files_with_the_same_object_the_one_that_was_there_stays(
    cluster: ManifestSource, directory: Path
) -> None:
    (directory / "b.yaml").write_text(service("web", "10.0.0.9"))
    (directory / "c.yaml").write_text(service("api", "10.0.0.2"))
    reading = read(cluster, directory / "b.yaml", directory / "c.yaml")
    (error,) = reading.errors
    assert str(directory / "b.yaml") in error
    assert str(directory / "a.yaml") in error
    assert owners(cluster) == {owner("web"), owner("api")}
    assert not cluster.holds(str(directory / "b.yaml"))


def test_an_object_may_move_between_two_files_that_change_together(
    cluster: ManifestSource, directory: Path
) -> None:
    (directory / "a.yaml").write_text(service("api", "10.0.0.2"))
    (directory / "b.yaml").write_text(service("web", "10.0.0.1"))
    reading = read(cluster, directory / "a.yaml", directory / "b.yaml")
    assert reading.errors == []
    (delta,) = reading.parts
    assert [subtree.owner for subtree in delta.subtrees] == [owner("api")]


def test_a_file_that_vanished_keeps_its_data_until_another_one_says_the_same_objects(
    cluster: ManifestSource, directory: Path
) -> None:
    (directory / "b.yaml").write_text(service("other", "10.0.0.2"))
    read(cluster, directory / "b.yaml")
    gone = [str(directory / "a.yaml"), str(directory / "b.yaml")]
    for path in gone:
        Path(path).unlink()
    read(cluster, vanished=gone)
    assert owners(cluster) == {owner("web"), owner("other")}
    (directory / "c.yaml").write_text(service("web", "10.0.0.7"))
    reading = read(cluster, directory / "c.yaml")
    assert reading.errors == []
    assert owners(cluster) == {owner("web"), owner("other")}  # only the file that is in the way gave way
    assert not cluster.holds(gone[0])
    assert cluster.holds(gone[1])


def test_a_renamed_file_takes_its_data_along(cluster: ManifestSource, directory: Path) -> None:
    (directory / "a.yaml").rename(directory / "z.yaml")
    renamed = {str(directory / "a.yaml"): str(directory / "z.yaml")}
    reading = read(cluster, directory / "z.yaml", renamed=renamed)
    assert (reading.errors, reading.unchanged) == ([], [str(directory / "z.yaml")])
    assert cluster.holds(str(directory / "z.yaml"))
    assert not cluster.holds(str(directory / "a.yaml"))


def test_a_file_that_changes_while_it_is_read_is_unread(cluster: ManifestSource, directory: Path) -> None:
    path = directory / "a.yaml"
    looked = stamps([str(path)])
    path.write_text(service("web", "10.0.0.22222"))
    reading = cluster.read({str(path)}, Events(read=[str(path)]), looked, SERIAL, False)
    assert (reading.scope, reading.errors) == (None, [])
    assert cluster.unread == {str(path)}
    path.write_text(service("web", "10.0.0.2"))
    assert read(cluster, path).scope is Scope.DELTA
    assert cluster.unread == set()


def test_remarks_are_made_once(cluster: ManifestSource, directory: Path) -> None:
    path = directory / "b.yaml"
    text = "apiVersion: v1\nkind: Service\nmetadata: {name: late, namespace: shop}\nspec: {ports: [{port: 80}]}\n"
    path.write_text(text)
    assert any(f"{path}:1" in remark and "clusterIP" in remark for remark in read(cluster, path).remarks)
    path.write_text(text + "# again\n")
    assert read(cluster, path).remarks == []


def test_kinds_that_no_answer_depends_on_are_counted(cluster: ManifestSource, directory: Path) -> None:
    (directory / "b.yaml").write_text("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n")
    assert read(cluster, directory / "b.yaml").errors == []
    assert cluster.ignored() == "1 Deployment"


def test_the_options_of_the_block_reach_the_schema() -> None:
    options = schema_options(
        Kubernetes(
            (LOCAL,), pods=PodMode.VERIFIED, namespaces=("shop",), labels=parse_selector("a=b"), noendpoints=True,
            ignore_empty_service=True, endpoint_pod_names=True, namespace_labels=parse_selector("c"),
            manifests=("shop.yaml",), terminating_serving=True,
        )
    )
    assert options.namespaces == frozenset({"shop"})
    assert options.labels_match is not None
    assert options.labels_match({"a": "b"})
    assert not options.labels_match({})
    assert options.namespace_matches is not None
    assert options.namespace_matches({"c": ""})
    assert (options.noendpoints, options.ignore_empty_service, options.endpoint_pod_names) == (True, True, True)
    assert options.verified_pods
    assert options.terminating_serving
    assert not options.namespaces_exist  # a manifest says which there are
    assert schema_options(Kubernetes((LOCAL,))).namespaces is None


def test_an_api_server_selects_by_labels_itself_and_listed_namespaces_are_not_asked_for() -> None:
    options = schema_options(Kubernetes((LOCAL,), namespaces=("shop",), labels=parse_selector("a=b")))
    assert options.labels_match is None
    assert options.namespaces_exist


# Zone files


@pytest.fixture
def zone_path(tmp_path: Path) -> Path:
    path = tmp_path / "example.org.zone"
    path.write_text(zone(1, "www A 192.0.2.1"))
    return path


@pytest.fixture
def file(zone_path: Path) -> FileSource:
    source = make_source(3, FilePlan(ZoneFile(str(zone_path), (ORG,)), ORG))
    assert isinstance(source, FileSource)
    assert read(source, zone_path, first=True).errors == []
    return source


def test_a_zone_files_image_starts_with_a_reset_and_is_whole(file: FileSource) -> None:
    parts = list(file.image())
    assert [part.reset for part in parts] == [True] + [False] * (len(parts) - 1)
    assert {part.source for part in parts} == {3}
    rrsets = [rrset for part in parts for rrset in part.rrsets]
    assert soa_serial(rrsets) == 1
    assert len(rrsets) == 4


def test_a_large_zone_is_published_in_small_parts(file: FileSource, zone_path: Path) -> None:
    zone_path.write_text(zone(2, *(f"h{at} A 192.0.2.1" for at in range(1000))))
    reading = read(file, zone_path)
    assert reading.scope is Scope.SOURCE
    parts = list(reading.parts)
    assert max(len(part.rrsets) for part in parts) <= 64
    assert sum(len(part.rrsets) for part in parts) == 1003
    assert "serial 2" in reading.what


@pytest.mark.parametrize(("serial", "warned"), [(1, True), (2, False), (0, True), (2**31, False)])
def test_a_change_without_a_higher_serial_is_warned_of(
    file: FileSource, zone_path: Path, serial: int, warned: bool
) -> None:
    zone_path.write_text(zone(serial, "www A 192.0.2.2"))
    reading = read(file, zone_path)
    assert reading.scope is Scope.SOURCE
    assert any("SOA serial" in remark for remark in reading.remarks) == warned


def test_the_same_records_are_no_change(file: FileSource, zone_path: Path) -> None:
    zone_path.write_text("; a remark\n" + zone(1, "www A 192.0.2.1"))
    reading = read(file, zone_path)
    assert (reading.scope, reading.unchanged) == (None, [str(zone_path)])


def test_a_broken_zone_file_keeps_its_data(file: FileSource, zone_path: Path) -> None:
    before = list(file.image())
    zone_path.write_text(zone(2, "www A nonsense"))
    reading = read(file, zone_path)
    assert reading.scope is None
    assert reading.errors[0].startswith(f"{zone_path}:5")
    assert list(file.image()) == before
    zone_path.write_text(zone(2, "www A 192.0.2.5"))
    assert read(file, zone_path).scope is Scope.SOURCE
    assert file.broken == {}


def test_an_included_file_is_one_of_the_sources_paths_even_if_it_is_broken(
    file: FileSource, zone_path: Path
) -> None:
    hosts = zone_path.with_name("hosts")
    hosts.write_text("www A nonsense\n")
    zone_path.write_text(zone(2, "$INCLUDE hosts"))
    assert read(file, zone_path).errors[0].startswith(f"{hosts}:1")
    assert str(hosts) in file.paths()
    hosts.write_text("www A 192.0.2.8\n")
    assert read(file, hosts).scope is Scope.SOURCE


def test_a_zone_file_that_is_not_to_be_watched_says_so(zone_path: Path) -> None:
    assert not make_source(0, FilePlan(ZoneFile(str(zone_path), (ORG,), reload_ns=0), ORG)).is_watched
    assert make_source(0, FilePlan(ZoneFile(str(zone_path), (ORG,)), ORG)).is_watched


def test_sources_are_named_by_their_zones(cluster: ManifestSource, file: FileSource, zone_path: Path) -> None:
    assert str(cluster) == "cluster.local."
    assert str(file) == "example.org."
    assert file.origins == str(zone_path)
    assert file.ignored() == ""


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (FileNotFoundError(2, "No such file or directory"), "a: no such file or directory"),
        (UnicodeDecodeError("utf-8", b"one\ntwo\xff", 7, 8, "invalid"), "a:2: octet 0xff is not UTF-8"),
        (ValueError("a:1: as it is"), "a:1: as it is"),
    ],
)
def test_errors_are_explained_with_their_place(error: Exception, text: str) -> None:
    assert explain("a", error) == text
