"""The snapshot on disk: written as the cluster changes, and answered from at a start without an API server."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pytest

from kdns.kube.snapshot import Snapshot, decode, encode
from tests.server.serving import Server
from tests.server.watched import (
    DB,
    DB_ADDRESSES,
    HTTP,
    NOBODY,
    WEB,
    WEB_ADDRESS,
    Repeated,
    Shop,
    is_ready,
    outcome,
    rows,
    sample,
    shop_api,
    wait_until,
    wait_until_answered,
)
from tests.support.fakeapi.builders import service
from tests.support.fakeapi.faults import Cut, Reply

TILL = "till.shop.svc.cluster.local"
BOTH = " ".join(DB_ADDRESSES)
DAY = 24 * 3600.0


@pytest.fixture
def kept(shop: Shop) -> Shop:
    """A shop whose snapshot has been written, by a kdns that has ended since."""
    server = serve(shop)
    assert server.stop() == 0
    assert shop.snapshot.exists()
    shop.api.control.forget_requests()
    return shop


def serve(shop: Shop, *flags: object, options: tuple[str, ...] = (), is_ready: bool = True) -> Server:
    return shop.serve("--snapshot", shop.snapshot, *flags, options=options, timeout="500ms", is_ready=is_ready)


def read(path: Path) -> Snapshot:
    (one,) = decode(path.read_bytes())
    return one


def names(snapshot: Snapshot) -> set[str]:
    return {one.key[2] for section in snapshot.sections for one in section.objects}


def rewrite(path: Path, **changes: object) -> None:
    one = read(path)
    fields = {name: changes.get(name, getattr(one, name)) for name in one.__dataclass_fields__}
    path.write_bytes(b"".join(encode([Snapshot(**fields)])))


def kube_system(shop: Shop) -> str:
    found = {one["metadata"]["name"]: one["metadata"]["uid"] for one in shop.api.control.objects("namespaces")}
    return str(found["kube-system"])


def test_it_is_written_once_the_cluster_is_known_and_at_the_end_again(shop: Shop) -> None:
    server = serve(shop)
    server.wait_for(r"snapshot .*: written: \d+ octets")
    first = read(shop.snapshot)
    assert {"web", "db-1", "shop"} <= names(first)
    assert first.cluster == kube_system(shop)
    assert abs(first.taken_at - time.time()) < 60
    assert os.stat(shop.snapshot).st_mode & 0o777 == 0o600
    mark = server.mark()
    shop.api.control.apply(service("shop", "till", HTTP))
    server.wait_for("visible:", after=mark)
    assert server.stop() == 0
    assert "till" in names(read(shop.snapshot))  # though a write is not due yet
    assert os.listdir(shop.directory).count(shop.snapshot.name) == 1


def test_a_start_without_an_api_server_answers_from_it_and_says_so(kept: Shop) -> None:
    kept.api.kill()
    server = serve(kept)
    server.wait_for(r"snapshot .*: used for .*objects, \d+s old")
    assert outcome(server, WEB) == WEB_ADDRESS
    assert outcome(server, DB) == BOTH
    assert outcome(server, "1.0.0.10.in-addr.arpa", "PTR") == "db-0.db.shop.svc.cluster.local."
    assert outcome(server, NOBODY) == "NXDOMAIN"
    assert sample(server, "kdns_cluster_from_snapshot") == 1
    assert sample(server, "kdns_cluster_staleness_seconds") > 0
    assert is_ready(server)
    server.wait_for("which cluster it is cannot be told yet: .*connection refused")
    assert sample(server, "kdns_cluster_failures_total") >= 1


def test_readiness_may_ask_for_more_than_a_snapshot(kept: Shop) -> None:
    kept.api.kill()
    server = serve(kept, "--ready-when", "synced")
    assert not is_ready(server)
    kept.api.start()
    wait_until(lambda: is_ready(server), True)
    assert sample(server, "kdns_cluster_from_snapshot") == 0


def test_watches_go_on_from_where_it_was_taken(kept: Shop) -> None:
    kept.api.control.apply(service("shop", "till", HTTP, clusterIP="10.96.0.30"))
    server = serve(kept)
    wait_until_answered(server, TILL, "10.96.0.30")
    wait_until(lambda: sample(server, "kdns_cluster_from_snapshot"), 0)
    requests = kept.api.control.requests()
    assert [(one["purpose"], one["path"]) for one in requests[:1]] == [("list", "/api/v1/namespaces")]
    assert requests[0]["query"] == {"fieldSelector": "metadata.name=kube-system"}
    assert {one["purpose"] for one in requests[1:]} == {"watch"}
    assert sample(server, "kdns_cluster_lists_total") == 0


def outrun(shop: Shop) -> tuple[Server, int]:
    """A kdns that knows of a service more than its snapshot, whose API server is gone; and where its log is."""
    server = serve(shop)
    server.wait_for("written")
    mark = server.mark()
    shop.api.control.apply(service("shop", "till", HTTP, clusterIP="10.96.0.30"))
    server.wait_for("visible:", after=mark)
    shop.api.kill()
    assert "till" not in names(read(shop.snapshot))
    return server, server.mark()


def test_a_reload_does_not_go_back_to_one_that_is_older_than_what_is_answered(shop: Shop) -> None:
    server, mark = outrun(shop)
    with Repeated(server, TILL) as till, Repeated(server, WEB) as web:
        server.send(signal.SIGHUP)
        server.wait_for("has told nothing for 0.5 s, and the snapshot is older than what is answered", after=mark)
        server.wait_for("reload failed, the old configuration stays", after=mark)
    assert till.seen == {"10.96.0.30"}
    assert web.seen == {WEB_ADDRESS}


def test_a_control_that_died_does_not_go_back_to_one_that_is_older_either(shop: Shop) -> None:
    server, mark = outrun(shop)
    with Repeated(server, TILL) as till:
        os.kill(server.children()["kdns-control"], signal.SIGKILL)
        server.wait_for("not heard of again since control was restarted", after=mark)
        shop.api.start()
        server.wait_for("current again", after=mark)
    assert till.seen == {"10.96.0.30"}


def serial(server: Server) -> int:
    (found,) = server.ask("cluster.local", "SOA").answer[0]
    return int(found.serial)


def test_the_serial_does_not_go_back_over_a_start_from_it(shop: Shop) -> None:
    server = serve(shop)
    for at in range(9):  # more than one a second: the serial is ahead of the clock
        mark = server.mark()
        shop.api.control.apply(service("shop", "till", HTTP, clusterIP=f"10.96.0.{30 + at}"))
        server.wait_for("visible:", after=mark)
    before = serial(server)
    assert server.stop() == 0
    shop.api.kill()
    server = serve(shop)
    assert serial(server) == before
    shop.api.start()
    shop.api.control.apply(service("shop", "till", HTTP, clusterIP="10.96.0.99"))
    wait_until_answered(server, TILL, "10.96.0.99")
    assert serial(server) > before


def test_a_store_that_was_restored_from_a_backup_meanwhile_is_listed_anew(shop: Shop) -> None:
    before = shop.api.control.rv()
    shop.api.control.apply(service("shop", "till", HTTP, clusterIP="10.96.0.30"))
    server = serve(shop)
    assert outcome(server, TILL) == "10.96.0.30"
    assert server.stop() == 0
    shop.api.control.rollback(before)
    server = serve(shop)
    wait_until_answered(server, TILL, "NXDOMAIN")
    assert outcome(server, WEB) == WEB_ADDRESS
    server.wait_for(rf"\[WARNING\] .*has gone back from resource version \d+ to {before}")


def test_what_is_refused_is_why_none_is_written_and_that_is_told(shop: Shop) -> None:
    shop.api.control.fault(Reply("403"), "endpointslices", on="any", times=None)
    server = serve(shop)
    server.wait_for(r"\[WARNING\] snapshot .*: nothing is written of .*, whose EndpointSlices are refused")
    assert server.stop() == 0
    assert not shop.snapshot.exists()


def test_versions_that_are_too_old_are_listed_anew_without_a_gap(kept: Shop) -> None:
    kept.api.control.apply(service("shop", "till", HTTP, clusterIP="10.96.0.30"))
    kept.api.control.delete("services", "shop", "docs")
    kept.api.control.expire()
    server = serve(kept)
    with Repeated(server, WEB) as web:
        wait_until_answered(server, TILL, "10.96.0.30")
        wait_until_answered(server, "docs.shop.svc.cluster.local", "NXDOMAIN")
    assert web.seen == {WEB_ADDRESS}


def test_another_cluster_is_noticed_and_nothing_of_the_former_is_answered(kept: Shop) -> None:
    old = kube_system(kept)
    kept.api.kill()
    server = serve(kept)
    assert outcome(server, WEB) == WEB_ADDRESS
    with shop_api(seed=2, port=kept.api.port) as other:
        other.control.fault(Cut("stall"), "services", times=1)
        other.control.delete("endpointslices", "shop", "db-1")
        line = server.wait_for("the snapshot is of another cluster")
        assert line.startswith("[ERROR] cluster.local. in-addr.arpa.: ")
        assert old in line
        wait_until_answered(server, WEB, "UNKNOWN")
        assert sample(server, "kdns_cluster_from_snapshot") == 0
        assert not is_ready(server)
        assert server.stop() == 0
        assert read(kept.snapshot).cluster == old  # nothing that is whole has been known since
        server = serve(kept)
        wait_until_answered(server, DB, "NXDOMAIN")
        assert server.stop() == 0
    assert read(kept.snapshot).cluster not in ("", old)


def test_where_the_cluster_may_not_be_known_everything_is_listed_anew(kept: Shop) -> None:
    """Resource versions mean nothing unless it is sure that the store is the same."""
    kept.api.control.fault(Reply("403"), "namespaces", on="list", times=None)
    server = serve(kept)
    wait_until(lambda: sample(server, "kdns_cluster_from_snapshot"), 0)
    assert [one["purpose"] for one in kept.api.control.requests()].count("watchlist") == 3
    assert outcome(server, WEB) == WEB_ADDRESS
    assert server.stop() == 0
    assert read(kept.snapshot).cluster == ""


def test_where_the_cluster_is_not_told_for_ever_all_is_followed_nevertheless(kept: Shop) -> None:
    kept.api.control.fault(Reply("500"), "namespaces", on="list", times=None)
    kept.api.control.apply(service("shop", "till", HTTP, clusterIP="10.96.0.30"))
    server = serve(kept)
    with Repeated(server, WEB) as web:
        wait_until_answered(server, TILL, "10.96.0.30")
    assert web.seen == {WEB_ADDRESS}
    wait_until(lambda: sample(server, "kdns_cluster_staleness_seconds"), 0)
    assert [one["purpose"] for one in kept.api.control.requests()].count("watchlist") == 3
    server.wait_for("the API server has not told 3 times which cluster it is")
    assert server.stop() == 0
    assert "till" not in names(read(kept.snapshot)), "it is not known to be of the same cluster"
    assert read(kept.snapshot).cluster == kube_system(kept)


def test_reloads_write_nothing_that_is_written(shop: Shop) -> None:
    server = serve(shop)
    server.wait_for("written")
    before = os.stat(shop.snapshot)
    for _ in range(3):
        mark = server.mark()
        server.send(signal.SIGHUP)
        server.wait_for("reloaded:", after=mark)
    after = os.stat(shop.snapshot)
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    mark = server.mark()
    shop.api.control.apply(service("shop", "till", HTTP))
    server.wait_for("visible:", after=mark)
    assert server.stop() == 0
    assert "till" in names(read(shop.snapshot))


def test_one_that_is_damaged_is_refused_and_nothing_else_breaks(kept: Shop) -> None:
    data = bytearray(kept.snapshot.read_bytes())
    data[len(data) // 2] ^= 1
    kept.snapshot.write_bytes(data)
    server = serve(kept)
    assert "it is damaged: its content does not match its checksum: starting without it" in server.log
    assert outcome(server, WEB) == WEB_ADDRESS
    assert server.stop() == 0
    assert "web" in names(read(kept.snapshot))


@pytest.mark.parametrize(
    ("flags", "options", "why"),
    [
        (("--snapshot-max-age", "1ms"), (), r"it is \d+s old, and the limit is 0s"),
        ((), ("labels team=red",), "it was written with another configuration"),
    ],
)
def test_one_that_does_not_suit_is_not_used(
    kept: Shop, flags: tuple[str, ...], options: tuple[str, ...], why: str
) -> None:
    kept.api.kill()
    server = serve(kept, *flags, options=options)
    assert re.search(rf"\[WARNING\] snapshot .*: not used for .*: {why}", server.log)
    assert outcome(server, WEB) == "UNKNOWN"
    assert sample(server, "kdns_cluster_from_snapshot") == 0


def test_it_is_not_written_over_with_less(kept: Shop) -> None:
    """What is known half, or not at all, is nothing to start from."""
    before = kept.snapshot.read_bytes()
    kept.api.control.fault(Reply("503"), "endpointslices", times=None)
    server = serve(kept, options=("labels team=red",))
    assert outcome(server, "red.shop.svc.cluster.local") == "UNKNOWN"
    assert server.stop() == 0
    assert kept.snapshot.read_bytes() == before


def test_a_kdns_that_is_killed_leaves_one_that_is_whole(shop: Shop) -> None:
    server = serve(shop)
    server.wait_for("written")
    mark = server.mark()
    shop.api.control.apply(rows(*DB_ADDRESSES, "10.0.0.3"))
    server.wait_for("visible:", after=mark)
    server.stop(signal.SIGKILL)
    assert "web" in names(read(shop.snapshot))


def test_a_path_that_cannot_be_written_is_told_and_costs_no_answer(shop: Shop) -> None:
    server = shop.serve("--snapshot", shop.directory / "missing" / "snapshot")
    server.wait_for(r"\[ERROR\] snapshot .*it cannot be written: No such file or directory")
    assert outcome(server, WEB) == WEB_ADDRESS
    assert server.stop() == 0
