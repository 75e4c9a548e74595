"""/metrics of a running kdns: clean, and right over workers that die and configurations that change."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.server.conftest import Serve
from tests.server.probing import get, scrape, wait_for_metric
from tests.server.serving import Server, free_port, service
from tests.support.promlint import promlint

WEB = "web.shop.svc.cluster.local"


class Site:
    """A cluster in a Corefile with metrics."""

    def __init__(self, directory: Path) -> None:
        self.port, self.http = free_port(), free_port()
        self.corefile = directory / "Corefile.test"
        (directory / "shop.yaml").write_text(service("web", "10.0.0.1"))
        self.write("errors", "loadbalance")

    def write(self, *directives: str) -> None:
        cluster = "kubernetes cluster.local {\n manifests shop.yaml\n }"
        metrics = f"prometheus 127.0.0.1:{self.http}"
        lines = "\n    ".join(("bind 127.0.0.1", metrics, *directives, cluster))
        self.corefile.write_text(f".:{self.port} {{\n    {lines}\n}}\n")

    def serve(self, serve: Serve) -> Server:
        return serve("-conf", self.corefile, listen=False, port=self.port)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def _samples(port: int, name: str) -> list[tuple[dict[str, str], float]]:
    families = text_string_to_metric_families(get(port, "/metrics")[1])
    return [(sample.labels, sample.value) for family in families for sample in family.samples if sample.name == name]


def test_the_page_is_clean_and_says_what_runs(serve: Serve, site: Site) -> None:
    server = site.serve(serve)
    assert server.addresses(WEB) == ["10.0.0.1"]
    wait_for_metric(site.http, "coredns_dns_requests_total", 1)
    assert promlint(get(site.http, "/metrics")[1]) == []
    enabled = {labels["name"] for labels, value in _samples(site.http, "coredns_plugin_enabled") if value == 1}
    assert enabled == {"errors", "kubernetes", "loadbalance", "prometheus"}
    ((where, _), *_) = _samples(site.http, "coredns_plugin_enabled")
    assert (where["server"], where["zone"], where["view"]) == (f"dns://127.0.0.1:{site.port}", ".", "")
    ((build, one),) = _samples(site.http, "coredns_build_info")
    assert (build["version"].startswith("kdns-"), one) == (True, 1)


def test_requests_and_replies_go_by_the_names_of_coredns(serve: Serve, site: Site) -> None:
    server = site.serve(serve)
    server.ask(WEB)
    server.ask(WEB, tcp=True)
    server.ask("none.shop.svc.cluster.local", "AAAA")
    wait_for_metric(site.http, "coredns_dns_requests_total", 3)
    told = _samples(site.http, "coredns_dns_requests_total")
    requests = {(labels["proto"], labels["type"]): value for labels, value in told}
    assert requests == {("udp", "A"): 1, ("tcp", "A"): 1, ("udp", "AAAA"): 1}
    replies: dict[str, float] = {}
    for labels, value in _samples(site.http, "coredns_dns_responses_total"):
        replies[labels["rcode"]] = replies.get(labels["rcode"], 0) + value
    assert replies == {"NOERROR": 2, "NXDOMAIN": 1}


def test_counters_go_on_over_workers_that_die_and_reloads(serve: Serve, site: Site) -> None:
    server = site.serve(serve)
    total = 0
    for round_ in range(3):
        for _ in range(8):
            server.ask(WEB)
        total += 8
        wait_for_metric(site.http, "coredns_dns_requests_total", total)
        mark = server.mark()
        if round_ == 0:
            victim = server.children()["kdns-worker-0"]
            os.kill(victim, signal.SIGKILL)
            server.wait_for("worker 0 .*restarted", after=mark)
            server.wait_for_child("kdns-worker-0", other_than=victim)
        else:
            server.send(signal.SIGHUP)
            server.wait_for("reloaded", after=mark)
        assert scrape(site.http)["coredns_dns_requests_total"] == total


def test_queries_that_nobody_had_time_to_read_are_told(serve: Serve, site: Site) -> None:
    server = site.serve(serve)
    labels = {"address": f"127.0.0.1:{site.port}"}
    assert _samples(site.http, "kdns_udp_receive_drops_total") == [(labels, 0)]
    ((_, room),) = _samples(site.http, "kdns_udp_receive_buffer_bytes")
    assert room > 0
    assert server.addresses(WEB) == ["10.0.0.1"]


def test_each_answer_to_a_probe_is_timed(serve: Serve, site: Site) -> None:
    site.write(f"health 127.0.0.1:{site.http}")
    site.serve(serve)
    assert "coredns_health_request_duration_seconds_count" not in scrape(site.http)
    for _ in range(3):
        assert get(site.http, "/health") == (200, "OK")
    sums = scrape(site.http)
    assert sums["coredns_health_request_duration_seconds_count"] == 3
    assert 0 < sums["coredns_health_request_duration_seconds_sum"] < 60
    assert sums["coredns_health_request_failures_total"] == 0


def test_what_all_processes_use_is_told(serve: Serve, site: Site) -> None:
    site.serve(serve)
    sums = scrape(site.http)
    assert sums["process_cpu_seconds_total"] > 0
    assert sums["process_resident_memory_bytes"] > 10 << 20
    assert 0 < sums["process_open_fds"] < sums["process_max_fds"]


def test_a_snapshot_that_is_not_there_is_not_told_of_and_one_that_is_has_its_time(
    serve: Serve, site: Site, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    serve("-conf", site.corefile, "--snapshot", kept, listen=False, port=site.port)
    assert "kdns_snapshot_timestamp_seconds" not in scrape(site.http)
    kept.write_bytes(b"")
    os.utime(kept, (0, 1_700_000_000))
    assert scrape(site.http)["kdns_snapshot_timestamp_seconds"] == 1_700_000_000
