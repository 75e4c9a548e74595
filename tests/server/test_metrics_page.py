"""/metrics of a kdns that watches and forwards: what docs/metrics.md promises, and figures that follow queries.

One server for all: a watched cluster and a scripted upstream at one port, and at another one a block that logs, with
errors consolidated. All questions are asked at once; the tests look at what the page and the log say afterwards.
"""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import dns.edns
import dns.message
import dns.query
import dns.rrset
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.server.probing import get, wait_for_metric
from tests.server.serving import PATIENCE, Server, free_port
from tests.server.watched import NOBODY, WEB, Shop, rows, shop_api
from tests.support.fakeapi.server import FakeApiServer
from tests.support.promlint import promlint
from tests.support.upstreamserver import Asked, ScriptedUpstream

DOCUMENTED = re.findall(
    r"^\| `(\w+)` \| ", (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(), re.MULTILINE
)
NXDOMAIN, SERVFAIL = 3, 2
SOA = "ns.example.org. host.example.org. 1 3600 600 86400 60"
PROGRAMMING = "coredns_kubernetes_dns_programming_duration_seconds"
GUARDED = "www.guarded.test"
COREFILE = """
.:{port} {{
    bind 127.0.0.1
    errors
    health 127.0.0.1:{http}
    ready 127.0.0.1:{http}
    prometheus 127.0.0.1:{http}
    reload
    kubernetes cluster.local in-addr.arpa {{
        {access}
    }}
    hosts /etc/hosts hosts.example {{
        192.0.2.77 www.hosts.example
        fallthrough
    }}
    forward . 127.0.0.1:{upstream}
    cache 30
}}
.:{logged} {{
    bind 127.0.0.1
    errors {{
        consolidate 1m "no upstream" warning show_first
    }}
    log . "local={{local}} {{common}}"
    forward . 127.0.0.1:{upstream}
    forward dead.test 127.0.0.1:{closed} {{
        max_fails 1
    }}
}}
guarded.test:{guarded} {{
    bind 127.0.0.1
    acl {{
        block type TXT
        filter type MX
        drop type SRV
    }}
    template IN A {{
        answer "{{{{ .Name }}}} 60 IN A 192.0.2.5"
    }}
}}
zone.test:{guarded} {{
    bind 127.0.0.1
    autopath {search}
    file {zone}
}}
"""
ZONE = "@ 60 SOA ns host 1 2 3 4 5\n@ 60 NS ns\nns 60 A 192.0.2.1\n"


RATE, BURST = 60, 80


def script(asked: Asked) -> bytes:
    """Names beginning with no, bad and big do not exist, fail, and need TCP; the rest has an address."""
    name = asked.name.lower()
    if name.startswith("no"):
        reply = dns.message.from_wire(asked.rcode(NXDOMAIN))
        reply.authority.append(dns.rrset.from_text("example.org.", 60, "IN", "SOA", SOA))
        return reply.to_wire()
    if name.startswith("bad"):
        return asked.rcode(SERVFAIL)
    if name.startswith("big") and not asked.tcp:
        return asked.truncated()
    return asked.answer("192.0.2.1", ttl=600)


@dataclass(frozen=True)
class Scraped:
    """What the page said when all was counted, and the log."""

    page: str
    values: dict[tuple[str, ...], float]
    log: Sequence[dict[str, object]]
    where: str  # the label `server` of the first port
    logged: str
    guarded: str
    upstream: str

    def total(self, name: str, *labels: str) -> float:
        """The sum of the series of a name that have these label values."""
        return sum(value for key, value in self.values.items() if key[0] == name and set(labels) <= set(key[1:]))

    def series(self, name: str, *labels: str) -> dict[tuple[str, ...], float]:
        """The values by the other labels, these in the order of their names."""
        found = {key[1:]: value for key, value in self.values.items() if key[0] == name and set(labels) <= set(key)}
        return {tuple(one for one in key if one not in labels): value for key, value in found.items() if value}


def _ask(port: int, name: str, qtype: str = "A", times: int = 1, **how: object) -> None:
    for _ in range(times):
        query = dns.message.make_query(name, qtype, **how)  # type: ignore[arg-type]
        dns.query.udp(query, "127.0.0.1", port=port, timeout=PATIENCE)


def _change_endpoints(api: FakeApiServer) -> None:
    """Of the headless service, three seconds after the pods."""
    changed = rows("10.0.0.1", "10.0.0.9")
    triggered = datetime.fromtimestamp(time.time() - 3, UTC).isoformat()
    changed["metadata"]["annotations"] = {"endpoints.kubernetes.io/last-change-trigger-time": triggered}
    api.control.apply(changed)


def _ask_all(server: Server, logged: int) -> int:
    """Returns how many questions there were."""
    port = server.port
    _ask(port, WEB, times=3)
    server.ask(WEB, tcp=True)
    _ask(port, NOBODY, "AAAA")
    _ask(port, WEB, want_dnssec=True)
    _ask(port, "www.example.org", times=6)
    _ask(port, "no.example.org", times=2)
    _ask(port, "big.example.org")
    _ask(port, "big2.example.org")
    _ask(logged, "www.example.org", times=2, id=4711)
    _ask(logged, "no.example.org", id=4711)
    for at in range(5):
        _ask(logged, f"h{at}.dead.test")
    return 16 + 8


def _ask_guarded(port: int) -> int:
    """Returns how many replies there were."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(dns.message.make_query(GUARDED, "SRV").to_wire(), ("127.0.0.1", port))
    _ask(port, GUARDED, times=2)
    _ask(port, GUARDED, "TXT")
    _ask(port, GUARDED, "MX", times=2)
    for cookie in (b"c" * 8, b"c" * 24, b"short"):
        _ask(port, GUARDED, use_edns=0, options=[dns.edns.GenericOption(10, cookie)])
    for name in ("ns.zone.test.zone.test", "no.such.zone.test", "ns.zone.test"):
        _ask(port, name)
    return 11 + _exceed(port)


def _exceed(port: int) -> int:
    """Ask more than RATE at once, from a network of its own. Of those over it, every second one is answered."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.1.1", 0))
        sock.settimeout(PATIENCE)
        for _ in range(BURST):
            sock.sendto(dns.message.make_query(GUARDED, "A").to_wire(), ("127.0.0.1", port))
        passed = slipped = 0
        while passed + 2 * slipped < BURST:
            is_truncated = sock.recv(512)[2] & 2
            slipped, passed = (slipped + 1, passed) if is_truncated else (slipped, passed + 1)
    assert slipped
    return passed + slipped


def _values(page: str) -> dict[tuple[str, ...], float]:
    """By name and label values, those in the order of their names."""
    return {
        (one.name, *(value for _, value in sorted(one.labels.items()))): one.value
        for family in text_string_to_metric_families(page)
        for one in family.samples
    }


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    directory = tmp_path_factory.mktemp("metrics")
    port, logged, guarded, http, closed = (free_port() for _ in range(5))
    (directory / "secret").write_text("00112233445566778899aabbccddeeff\n")
    (directory / "secret").chmod(0o600)
    servers: list[Server] = []

    def serve(*arguments: object, port: int, workers: int, **_: object) -> Server:
        servers.append(Server(("serve", "--workers", workers, *arguments), directory, port))
        servers[-1].wait_for('"message": "ready: ')
        return servers[-1]

    try:
        with shop_api() as api, ScriptedUpstream(script) as upstream:
            api.control.patch("services", "shop", "db", {"spec": {"selector": {"app": "db"}}})
            shop = Shop(serve, directory, api)
            ports = {"port": port, "logged": logged, "guarded": guarded, "http": http, "closed": closed}
            (directory / "zone").write_text(ZONE)
            (directory / "search").write_text("search zone.test\n")
            files = {"access": shop.access(), "zone": directory / "zone", "search": directory / "search"}
            shop.corefile.write_text(COREFILE.format(**files, **ports, upstream=upstream.port))
            flags = ("--snapshot", directory / "kept", "--log-format", "json")
            flags += ("--cookie-secret", directory / "secret", "--rrl", RATE)
            server = shop.start("-conf", shop.corefile, *flags, port=port, workers=1)
            _change_endpoints(api)
            (directory / "zone").write_text(ZONE + "www A nonsense\n")
            assert get(http, "/health") == (200, "OK")
            asked = _ask_all(server, logged) + _ask_guarded(guarded)
            wait_for_metric(http, "coredns_dns_requests_total", asked)
            wait_for_metric(http, "coredns_proxy_request_duration_seconds_count", 4 + 3)
            wait_for_metric(http, f"{PROGRAMMING}_count", 1)
            wait_for_metric(http, "kdns_file_read_failures_total", 1)
            page = get(http, "/metrics")[1]
            names = [f"dns://127.0.0.1:{one}" for one in (port, logged, guarded)]
            assert server.stop() == 0
            log = [json.loads(line) for line in server.lines]
            yield Scraped(page, _values(page), log, *names, f"127.0.0.1:{upstream.port}")
    finally:
        for one in servers:
            one.kill()


def test_the_page_has_all_that_is_documented_and_nothing_else(scraped: Scraped) -> None:
    told = set(re.findall(r"^# TYPE (\w+) ", scraped.page, re.MULTILINE))
    assert sorted(told) == sorted(DOCUMENTED)
    assert promlint(scraped.page) == []


def test_requests_go_by_transport_family_and_type(scraped: Scraped) -> None:
    # The other labels: family, proto, type, view, zone.
    assert scraped.series("coredns_dns_requests_total", scraped.where) == {
        ("1", "udp", "A", "", "."): 14,
        ("1", "tcp", "A", "", "."): 1,
        ("1", "udp", "AAAA", "", "."): 1,
    }
    assert scraped.total("coredns_dns_requests_total", scraped.logged) == 8
    assert scraped.total("coredns_dns_do_requests_total", scraped.where) == 1


def test_replies_go_by_rcode_and_who_made_them(scraped: Scraped) -> None:
    # plugin, rcode, view, zone
    assert scraped.series("coredns_dns_responses_total", scraped.where) == {
        ("kubernetes", "NOERROR", "", "."): 5,
        ("kubernetes", "NXDOMAIN", "", "."): 1,
        ("forward", "NOERROR", "", "."): 3,
        ("cache", "NOERROR", "", "."): 5,
        ("forward", "NXDOMAIN", "", "."): 1,
        ("cache", "NXDOMAIN", "", "."): 1,
    }
    assert scraped.series("coredns_dns_responses_total", scraped.logged) == {
        ("forward", "NOERROR", "", "."): 2,
        ("forward", "NXDOMAIN", "", "."): 1,
        ("forward", "SERVFAIL", "", "."): 5,
    }


@pytest.mark.parametrize("what", ["request_duration_seconds", "request_size_bytes", "response_size_bytes"])
def test_histograms_have_as_many_observations_as_there_were_requests(scraped: Scraped, what: str) -> None:
    for where, count in ((scraped.where, 16), (scraped.logged, 8)):
        assert scraped.total(f"coredns_dns_{what}_count", where) == count
        assert scraped.total(f"coredns_dns_{what}_bucket", where, "+Inf") == count


def test_sizes_are_those_of_the_messages(scraped: Scraped) -> None:
    cluster = 3 * 44 + 47 + 55  # web, nobody, and web with an OPT record
    outside = 6 * 33 + 2 * 32 + 33 + 34
    sums = "coredns_dns_request_size_bytes_sum"
    assert scraped.total(sums, scraped.where, "udp") == cluster + outside
    assert scraped.total(sums, scraped.where, "tcp") == 44
    assert 0 < scraped.total("coredns_dns_request_duration_seconds_sum", scraped.where) < PATIENCE


def test_hits_and_misses_are_those_of_clients_wherever_a_reply_was_kept(scraped: Scraped) -> None:
    counts = {name: scraped.total(f"coredns_cache_{name}_total") for name in ("requests", "hits", "misses")}
    assert counts == {"requests": 10, "hits": 6, "misses": 4}
    hits = scraped.series("coredns_cache_hits_total", scraped.where)
    assert hits == {("success", "", "."): 5, ("denial", "", "."): 1}
    assert scraped.series("coredns_cache_entries", scraped.where) == {("success", "", "."): 3, ("denial", "", "."): 1}


def test_upstreams_are_told_by_rcode_and_connections(scraped: Scraped) -> None:
    count = "coredns_proxy_request_duration_seconds_count"
    assert scraped.series(count, "forward", scraped.upstream) == {("NOERROR",): 5, ("NXDOMAIN",): 2}
    connections = "coredns_proxy_conn_cache"
    assert scraped.series(f"{connections}_misses_total", "forward", scraped.upstream) == {("tcp",): 1}
    assert scraped.series(f"{connections}_hits_total", "forward", scraped.upstream) == {("tcp",): 1}
    assert scraped.total("kdns_forward_upstream_down", scraped.upstream) == 0
    assert scraped.total("kdns_forward_upstream_down") == 1
    assert scraped.total("coredns_forward_healthcheck_broken_total") > 0
    assert scraped.total("kdns_forward_client_questions", "127.0.0.1") >= 7


def test_a_change_of_a_headless_service_is_timed_from_its_trigger(scraped: Scraped) -> None:
    assert scraped.total(f"{PROGRAMMING}_count", "headless_with_selector") == 1
    assert 3 <= scraped.total(f"{PROGRAMMING}_sum") < PATIENCE
    assert scraped.total(f"{PROGRAMMING}_bucket", "2.048") == 0


def test_namespaces_of_names_that_exist_are_told(scraped: Scraped) -> None:
    assert scraped.series("kdns_namespace_requests_total") == {("shop",): 5}


def test_each_query_is_logged_once_with_its_rcode_and_time(scraped: Scraped) -> None:
    told = [one for one in scraped.log if one.get("id") == 4711]
    assert [one["rcode"] for one in told] == ["NOERROR", "NOERROR", "NXDOMAIN"]
    line = re.compile(
        r'local=127\.0\.0\.1 127\.0\.0\.1:\d+ - 4711 "A IN (www|no)\.example\.org\. udp 3[23] false 512" '
        r"(NOERROR|NXDOMAIN) qr,rd,ra \d+ (0\.\d+)s"
    )
    for one in told:
        found = line.fullmatch(str(one["message"]))
        assert found, one["message"]
        assert (one["level"], one["proto"], one["do"]) == ("info", "udp", False)
        assert 0 < float(found[3]) == one["duration_seconds"] < PATIENCE


def test_errors_are_logged_and_many_alike_are_one_line(scraped: Scraped) -> None:
    told = [(one["level"], one["message"]) for one in scraped.log if "plugin/errors" in str(one["message"])]
    assert told == [
        ("warning", "plugin/errors: 2 h0.dead.test. A: no upstream answered"),
        ("warning", "plugin/errors: 5 errors like 'no upstream' occurred in last 1m0s"),
    ]


def test_acl_is_told_by_what_it_did(scraped: Scraped) -> None:
    def told(what: str) -> dict[tuple[str, ...], float]:
        return scraped.series(f"coredns_acl_{what}_requests_total", scraped.guarded)

    # view, zone
    assert told("dropped") == {("", "guarded.test."): 1}
    assert told("blocked") == {("", "guarded.test."): 1}
    assert told("filtered") == {("", "guarded.test."): 2}
    assert told("allowed") == {("",): 2 + 3 + BURST}


def test_cookies_are_told_by_verdict(scraped: Scraped) -> None:
    assert scraped.series("kdns_cookies_total") == {("new",): 1, ("bad",): 1, ("malformed",): 1}


def test_what_is_over_the_rate_is_slipped_and_dropped_by_turns(scraped: Scraped) -> None:
    told = scraped.series("kdns_rrl_total")
    assert 0 < told["slipped",] - told.get(("dropped",), 0) + 1 <= 2
    passed = BURST - sum(told.values())
    assert RATE <= passed < BURST


def test_what_autopath_has_found_is_told(scraped: Scraped) -> None:
    assert scraped.series("coredns_autopath_success_total") == {(scraped.guarded,): 1}


def test_templates_are_told_by_type(scraped: Scraped) -> None:
    passed = BURST - sum(scraped.series("kdns_rrl_total").values())
    told = scraped.series("coredns_template_matches_total", scraped.guarded)
    assert told == {("IN", "A", "", "guarded.test."): 2 + 2 + passed}  # class, type, view, zone


def test_a_zone_file_with_a_mistake_is_told(scraped: Scraped) -> None:
    assert scraped.series("kdns_file_read_failures_total") == {("zone.test.",): 1}
