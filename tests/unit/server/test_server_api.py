"""kdns.server.api: a cluster that is followed over real sockets, without the processes around it."""

from __future__ import annotations

import select
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kdns.corefile import Kubernetes, Position, TlsFiles, parse_selector
from kdns.kube.snapshot import Snapshot
from kdns.observe.status import Word
from kdns.server.api import ApiSource, access_of
from kdns.server.apiclient import ApiAccess, ApiClient, connect_to
from kdns.server.birth import Former
from kdns.server.feed import Scope
from kdns.server.sources import schema_options
from kdns.server.status import Origin, SourceStatus
from kdns.wire.name import from_text
from kdns.zone.delta import LACKS_ENDPOINTS, LACKS_NAMESPACES, LACKS_SERVICES
from tests.support.fakeapi import kubeconfig
from tests.support.fakeapi.builders import endpoint_slice, headless, namespace, port, service
from tests.support.fakeapi.faults import Reply
from tests.support.fakeapi.server import FakeApiServer

ZONE = from_text("cluster.local")
PATIENCE = 20.0
EVERYTHING = LACKS_SERVICES | LACKS_ENDPOINTS | LACKS_NAMESPACES


class Following:
    """A source and what came of its turns, as control takes them: when something is readable or due."""

    def __init__(
        self, client: ApiClient, kubernetes: Kubernetes | None = None, former_serial: int | None = None
    ) -> None:
        kubernetes = kubernetes or Kubernetes((ZONE,))
        options, now = schema_options(kubernetes), time.monotonic()
        self.source = ApiSource(0, kubernetes, options, client, former_serial, now, former_serial)
        words = memoryview(bytearray(8 * len(Word))).cast("q")
        self.status = SourceStatus(Origin("cluster.local.", True), words)
        self.whats: list[str] = []
        self.news: list[str] = []
        self.remarks: list[str] = []
        self.errors: list[str] = []
        self.turns = 0

    def keep(self, snapshot: Snapshot | None) -> None:
        self.source.keep(snapshot, time.monotonic(), time.time())

    def until(self, is_so: Any) -> None:
        deadline = time.monotonic() + PATIENCE
        while not is_so():
            now = time.monotonic()
            assert now < deadline, (self.whats, self.news, self.remarks, self.errors)
            select.select([self.source], [], [], max(0.0, min(self.source.wake_at - now, 0.5)))
            reading = self.source.turn(time.monotonic(), time.time())
            self.turns += 1
            self.whats += [reading.what] if reading.scope is not None else []
            self.news += reading.news
            self.remarks += reading.remarks
            self.errors += reading.errors
            self.source.report(self.status)

    def until_whole(self) -> None:
        self.until(lambda: not self.source.lacks)

    def owners(self) -> set[bytes]:
        return {one.owner for part in self.source.image() for one in part.subtrees}


@pytest.fixture
def api() -> Iterator[FakeApiServer]:
    with FakeApiServer() as server:
        server.control.apply(
            namespace("shop"),
            service("shop", "web", [port(80)]),
            headless("shop", "db", [port(5432)]),
            endpoint_slice("shop", "db-1", "db", ["10.0.0.1"], [port(5432)]),
        )
        yield server


@pytest.fixture
def access(api: FakeApiServer, tmp_path: Path) -> ApiAccess:
    pair = api.certificates.client
    for name, content in (("cert", pair.chain), ("key", pair.key), ("ca", api.ca)):
        (tmp_path / name).write_bytes(content)
    return ApiAccess("", "", api.url, str(tmp_path / "cert"), str(tmp_path / "key"), str(tmp_path / "ca"))


@pytest.fixture
def following(access: ApiAccess) -> Iterator[Following]:
    found = Following(connect_to(access))
    yield found
    found.source.close()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failure it is tried again soon."""
    monkeypatch.setattr("kdns.kube.backoff.FIRST_DELAY", 0.02)


def test_a_cluster_becomes_whole_and_is_followed(api: FakeApiServer, following: Following) -> None:
    assert following.source.lacks == EVERYTHING
    following.until_whole()
    assert {b"\x03web\x04shop\x03svc", b"\x02db\x04shop\x03svc"} <= following.owners()
    assert following.whats[-1] == "Services, EndpointSlices and Namespaces known"
    api.control.apply(service("shop", "till", [port(80)]))
    following.until(lambda: following.whats[-1] == "1 services changed, 0 removed")
    assert following.errors == following.remarks == []


@pytest.mark.usefixtures("hasty")
def test_the_status_says_what_is_known(api: FakeApiServer, following: Following) -> None:
    api.control.fault(Reply("503"), "endpointslices")
    following.until(lambda: following.source.lacks == LACKS_ENDPOINTS)
    status = following.status
    assert (status[Word.KINDS], status[Word.LACKS]) == (EVERYTHING, LACKS_ENDPOINTS)
    assert (status[Word.IS_SYNCED], status[Word.IS_FROM_SNAPSHOT]) == (0, 0)
    assert status.stale_since_ns is not None
    following.until_whole()
    assert status[Word.FAILED_STATUS] == 1
    following.until(lambda: status.stale_since_ns is None)
    assert status[Word.IS_SYNCED] == 1
    assert (status[Word.SERVICES], status[Word.ENDPOINT_SLICES], status[Word.PODS]) == (3, 2, 0)
    assert (status[Word.IMAGES] in (2, 3), status[Word.DELTAS], status[Word.RELISTS]) == (True, 0, 0)


def test_connections_that_are_refused_are_counted_and_told_once(api: FakeApiServer, following: Following) -> None:
    api.kill()
    following.until(lambda: following.status[Word.FAILED_REFUSED] >= 3)
    assert len(following.remarks) == 1
    assert following.remarks[0].startswith("cluster.local.: ")
    assert "connection refused" in following.remarks[0]


def test_a_source_that_waits_is_not_due_all_the_time(api: FakeApiServer, following: Following) -> None:
    """A wake_at in the past would keep control's CPU busy."""
    api.kill()
    following.until(lambda: following.status[Word.FAILED_REFUSED] >= 3)
    assert following.turns < 50
    assert following.source.wake_at > time.monotonic()


def test_the_time_of_the_start_and_of_silence_are_told(api: FakeApiServer, access: ApiAccess) -> None:
    one = Following(connect_to(access), Kubernetes((ZONE,), startup_timeout_ns=50_000_000))
    began = time.monotonic()
    assert not one.source.is_late(began)
    one.until_whole()
    assert one.source.is_late(began + 0.06)
    assert not one.source.is_silent(one.source.heard_at)
    assert one.source.is_silent(one.source.heard_at + 0.06)
    one.source.close()


@pytest.mark.usefixtures("hasty")
def test_an_api_server_that_fails_has_told_nothing(api: FakeApiServer, following: Following) -> None:
    began = following.source.heard_at
    for plural in ("services", "endpointslices", "namespaces"):
        api.control.fault(Reply("500"), plural, times=2)
    following.until(lambda: following.status[Word.FAILED_STATUS] >= 6)
    assert following.source.heard_at == began
    assert following.source.is_silent(began + following.source.startup_timeout)
    following.until_whole()
    assert following.source.heard_at > began


@pytest.mark.usefixtures("hasty")
def test_nothing_is_kept_before_it_is_known_of_which_cluster_but_what_was_there_stays(
    api: FakeApiServer, following: Following, access: ApiAccess
) -> None:
    taken = taken_once_whole(following)
    following.source.close()
    for snapshot in (None, taken):
        api.control.fault(Reply("500"), "namespaces", on="list", times=None)
        second = Following(connect_to(access))
        second.keep(snapshot)
        second.until(lambda one=second: one.source.is_confirmed)
        assert not second.source.is_identified
        assert second.source.has_snapshot is (snapshot is not None)
        assert second.source.snapshot(time.monotonic(), time.time()) == snapshot
        api.control.clear_faults()
        second.until(lambda one=second: one.source.is_identified)
        assert taken_now(second.source).cluster == taken.cluster
        second.source.close()


def test_what_a_snapshot_says_is_there_at_once_and_given_back_until_it_is_confirmed(
    api: FakeApiServer, following: Following, access: ApiAccess
) -> None:
    taken = taken_once_whole(following)
    following.source.close()

    second = Following(connect_to(access))
    second.keep(taken)
    assert second.source.lacks == 0
    assert taken_now(second.source) == taken
    assert second.source.serial == second.source.restored_serial == taken.serial
    assert second.source.unconfirmed == EVERYTHING
    assert second.owners() == following.owners()
    second.until(lambda: second.status[Word.IS_FROM_SNAPSHOT] == 1)
    second.until(lambda: second.source.is_confirmed)
    assert second.status[Word.IS_FROM_SNAPSHOT] == 0
    assert second.status[Word.LISTS] == 0
    assert second.source.unconfirmed == 0
    again = taken_now(second.source)
    assert again.cluster == taken.cluster
    assert again.taken_at >= taken.taken_at
    second.source.close()


def test_a_snapshot_that_is_behind_what_others_answer_is_listed_anew_and_no_serial_goes_back(
    api: FakeApiServer, following: Following, access: ApiAccess
) -> None:
    taken = taken_once_whole(following)
    assert taken.serial is not None
    second = Following(connect_to(access), former_serial=taken.serial + 5)
    second.keep(taken)
    assert (second.source.serial, second.source.restored_serial) == (taken.serial + 6, taken.serial)
    second.until(lambda: second.source.is_confirmed)
    assert second.status[Word.LISTS] == 3
    second.source.close()


def test_what_is_published_is_announced_for_whoever_comes_after(following: Following) -> None:
    following.until(lambda: following.source.lacks == EVERYTHING)
    assert following.status.published is None
    following.source.announce(following.status)
    assert following.status.published == Former(EVERYTHING, 0)
    following.until_whole()
    following.source.announce(following.status)
    assert following.status.published == Former(0, following.source.serial or -1)


def taken_now(source: ApiSource) -> Snapshot:
    found = source.snapshot(time.monotonic(), time.time())
    assert found is not None
    return found


def taken_once_whole(following: Following) -> Snapshot:
    """A snapshot of all that there is, with the cluster's identity."""
    following.keep(None)
    following.until(lambda: following.source.is_confirmed)
    following.until(lambda: following.source.is_identified)
    return taken_now(following.source)


def test_what_is_not_whole_is_no_snapshot(following: Following) -> None:
    following.keep(None)
    assert following.source.snapshot(time.monotonic(), time.time()) is None


def test_a_snapshot_of_stale_data_is_as_old_as_they_are(api: FakeApiServer, following: Following) -> None:
    following.keep(None)
    following.until(lambda: following.source.is_confirmed)
    api.kill()
    following.until(lambda: following.status.stale_since_ns is not None)
    taken = following.source.snapshot(time.monotonic() + 3600, time.time() + 3600)
    assert taken is not None
    assert abs(taken.taken_at - time.time()) < 60


def test_a_fingerprint_is_of_what_is_asked_for_and_kept(access: ApiAccess) -> None:
    options: list[dict[str, Any]] = [
        {},
        {"namespaces": ("shop",)},
        {"labels": parse_selector("team=red")},
        {"noendpoints": True},
        {"endpoint_pod_names": True},
        {"terminating_serving": True},
    ]
    found = [Following(connect_to(access), Kubernetes((ZONE,), **one)).source for one in options]
    assert len({one.fingerprint for one in found}) == len(options)
    assert found[0].fingerprint == f"{access.endpoint} (namespaces, services, endpointslices)"
    for one in found:
        one.close()


def test_inside_a_pod_the_service_account_is_the_way(api: FakeApiServer, tmp_path: Path) -> None:
    account = kubeconfig.write_service_account(tmp_path / "serviceaccount", api.ca)
    environment = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(api.port)}
    following = Following(connect_to(ApiAccess(), environment=environment, service_account=str(account)))
    following.until_whole()
    assert following.source.origins == api.url
    api.control.set_token("rotated", "kubernetes-admin")
    (account / "token").write_text("rotated")
    api.control.set_token("admin-token")
    api.control.end_watches()
    api.control.apply(service("shop", "till", [port(80)]))
    following.until(lambda: following.whats[-1] == "1 services changed, 0 removed")
    assert following.errors == []
    following.source.close()


def test_a_block_names_the_way_to_its_api_server() -> None:
    assert access_of(Kubernetes((ZONE,))) == ApiAccess()
    tls = TlsFiles("cert", "key", "ca")
    assert access_of(Kubernetes((ZONE,), endpoint="https://here", tls=tls)) == ApiAccess(
        "", "", "https://here", "cert", "key", "ca"
    )
    assert access_of(Kubernetes((ZONE,), kubeconfig="config", context="one")) == ApiAccess("config", "one")
    named = Kubernetes((ZONE,), kubeconfig="config", context="one", context_position=Position("Corefile", 3, 27))
    assert access_of(named) == ApiAccess("config", "one", context_place="Corefile:3:27")


def test_a_source_is_named_by_its_zones(following: Following) -> None:
    assert str(following.source) == "cluster.local."
    assert following.source.ignored() == ""


def test_many_services_at_once_are_an_image(
    api: FakeApiServer, following: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    following.until_whole()
    monkeypatch.setattr("kdns.server.reading.DELTA_SUBTREES_MAX", 0)
    api.control.apply(service("shop", "till", [port(80)]))
    reading = None
    while reading is None or reading.scope is None:
        select.select([following.source], [], [], 0.5)
        reading = following.source.turn(time.monotonic(), time.time())
    assert reading.scope is Scope.IMAGE
