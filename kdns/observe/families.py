"""Metrics: names, kinds, labels and texts, and the buckets of histograms.

`coredns_*` are those of CoreDNS that dashboards and alerts are made of, so that they go on working; their `view` is
always "", as kdns has none. What kdns alone tells is `kdns_*`. Not here: values (kdns.observe.tally), the text format
(kdns.observe.exposition), the figures of a cluster (kdns.observe.status).
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Kind(Enum):
    """Prometheus's kinds. The samples of a histogram are told bucket by bucket, see Sample."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Family(NamedTuple):
    """One metric. bounds: the upper bounds of a histogram's buckets, but for the last, which has none."""

    kind: Kind
    help: str
    labels: tuple[str, ...]
    bounds: tuple[float, ...] = ()


SINGLE, SUM = -1, -2


class Sample(NamedTuple):
    """One value, or for a histogram one part of it: the count of one bucket alone, or the sum of what was observed.

    labels: the values, in the order of the family's labels. bucket: its number; SINGLE where there are none, SUM for
    the sum: in nanoseconds for what is told in seconds, so that it is added up without loss.
    """

    name: str
    labels: tuple[str, ...] = ()
    bucket: int = SINGLE

# 0.25 ms doubled 15 times, CoreDNS's for whatever takes time.
TIME_BOUNDS = tuple(0.00025 * 2**power for power in range(16))
SIZE_BOUNDS = (0.0, 100.0, 200.0, 300.0, 400.0, 511.0, 1023.0, 2047.0, 4095.0, 8291.0, 16e3, 32e3, 48e3, 64e3)
# 1 ms doubled 19 times: from a change in the cluster to the answer.
PROGRAMMING_BOUNDS = tuple(0.001 * 2**power for power in range(20))

REQUESTS = "coredns_dns_requests_total"
RESPONSES = "coredns_dns_responses_total"
DO_REQUESTS = "coredns_dns_do_requests_total"
DURATION = "coredns_dns_request_duration_seconds"
REQUEST_SIZE = "coredns_dns_request_size_bytes"
RESPONSE_SIZE = "coredns_dns_response_size_bytes"
PANICS = "coredns_panics_total"
BUILD_INFO = "coredns_build_info"
PLUGIN_ENABLED = "coredns_plugin_enabled"
HEALTH_DURATION = "coredns_health_request_duration_seconds"
HEALTH_FAILURES = "coredns_health_request_failures_total"
RELOAD_FAILED = "coredns_reload_failed_total"
RELOAD_VERSION = "coredns_reload_version_info"
HOSTS_ENTRIES = "coredns_hosts_entries"
HOSTS_TIME = "coredns_hosts_reload_timestamp_seconds"
CACHE_ENTRIES = "coredns_cache_entries"
CACHE_REQUESTS = "coredns_cache_requests_total"
CACHE_HITS = "coredns_cache_hits_total"
CACHE_MISSES = "coredns_cache_misses_total"
CACHE_PREFETCHES = "coredns_cache_prefetch_total"
CACHE_STALE = "coredns_cache_served_stale_total"
CACHE_EVICTIONS = "coredns_cache_evictions_total"
FORWARD_BROKEN = "coredns_forward_healthcheck_broken_total"
FORWARD_REJECTED = "coredns_forward_max_concurrent_rejects_total"
PROXY_DURATION = "coredns_proxy_request_duration_seconds"
PROXY_PROBES_FAILED = "coredns_proxy_healthcheck_failures_total"
PROXY_REUSED = "coredns_proxy_conn_cache_hits_total"
PROXY_OPENED = "coredns_proxy_conn_cache_misses_total"
PROGRAMMING = "coredns_kubernetes_dns_programming_duration_seconds"
ACL_ALLOWED = "coredns_acl_allowed_requests_total"
ACL_BLOCKED = "coredns_acl_blocked_requests_total"
ACL_FILTERED = "coredns_acl_filtered_requests_total"
ACL_DROPPED = "coredns_acl_dropped_requests_total"
TEMPLATE_MATCHES = "coredns_template_matches_total"
AUTOPATH_SUCCESS = "coredns_autopath_success_total"

DROPPED = "kdns_dns_dropped_total"
SEND_FAILURES = "kdns_dns_send_failures_total"
KDNS_RESPONSES = "kdns_dns_responses_total"
UDP_DROPS = "kdns_udp_receive_drops_total"
UDP_QUEUE = "kdns_udp_receive_queue_bytes"
UDP_BUFFER = "kdns_udp_receive_buffer_bytes"
SHED = "kdns_forward_shed_total"
UNASKED = "kdns_forward_unasked_total"
JOINED = "kdns_forward_joined_total"
STRANGERS = "kdns_forward_strangers_total"
IN_FLIGHT = "kdns_forward_in_flight"
UPSTREAM_DOWN = "kdns_forward_upstream_down"
CLIENT_ASKED = "kdns_forward_client_questions"
CLIENT_SHED = "kdns_forward_client_shed"
NAMESPACE_REQUESTS = "kdns_namespace_requests_total"
FAILED_READS = "kdns_file_read_failures_total"
COOKIES = "kdns_cookies_total"
RATE_LIMITED = "kdns_rrl_total"
SNAPSHOT_TIME = "kdns_snapshot_timestamp_seconds"
CPU_TIME = "process_cpu_seconds_total"
MEMORY = "process_resident_memory_bytes"
FDS_OPEN = "process_open_fds"
FDS_MAX = "process_max_fds"
START_TIME = "process_start_time_seconds"



def time_bucket(took_ns: int) -> int:
    """Which bucket of TIME_BOUNDS takes a time: they double, so that it is the number of bits."""
    bits = ((took_ns - 1) // _TIME_UNIT_NS).bit_length() if took_ns > 0 else 0
    return bits if bits < len(TIME_BOUNDS) else len(TIME_BOUNDS)


_TIME_UNIT_NS = round(TIME_BOUNDS[0] * 1e9)
_WHERE = ("server", "zone", "view")
_CACHE = ("server", "zones", "view")
_CACHE_TYPE = ("server", "type", "zones", "view")
_UPSTREAM = ("proxy_name", "to")


def _counter(text: str, *labels: str) -> Family:
    return Family(Kind.COUNTER, text, labels)


def _gauge(text: str, *labels: str) -> Family:
    return Family(Kind.GAUGE, text, labels)


def _histogram(text: str, bounds: tuple[float, ...], *labels: str) -> Family:
    return Family(Kind.HISTOGRAM, text, labels, bounds)


COREDNS: dict[str, Family] = {
    BUILD_INFO: _gauge("1, with the version of what stands in for CoreDNS.", "version", "revision", "goversion"),
    PANICS: _counter("Queries that kdns failed to answer by a mistake of its own; the log has each."),
    PLUGIN_ENABLED: _gauge("1 for each directive of a server block that takes part in answering.", *_WHERE, "name"),
    REQUESTS: _counter("Queries by zone, transport, address family and type.", *_WHERE, "proto", "family", "type"),
    RESPONSES: _counter("Replies by zone, response code and directive that made them.", *_WHERE, "rcode", "plugin"),
    DO_REQUESTS: _counter("Queries with the DO bit.", *_WHERE),
    DURATION: _histogram("Time from reading a query to its reply.", TIME_BOUNDS, *_WHERE),
    REQUEST_SIZE: _histogram("Size of queries.", SIZE_BOUNDS, *_WHERE, "proto"),
    RESPONSE_SIZE: _histogram("Size of replies.", SIZE_BOUNDS, *_WHERE, "proto"),
    RELOAD_FAILED: _counter("Changed configurations that could not be used."),
    RELOAD_VERSION: _gauge("1, with the hash of the configuration in use.", "hash", "value"),
    HEALTH_DURATION: _histogram("Time from a connection to the answer to its request for /health.", TIME_BOUNDS),
    HEALTH_FAILURES: _counter("Requests for /health that could not be answered."),
    HOSTS_ENTRIES: _gauge("Names and addresses in hosts files."),
    HOSTS_TIME: _gauge("When the hosts files were read last."),
    CACHE_ENTRIES: _gauge("Replies in the cache of the forwarder; workers keep some of them, too.", *_CACHE_TYPE),
    CACHE_REQUESTS: _counter("Questions to the cache.", *_CACHE),
    CACHE_HITS: _counter("Questions that the cache answered.", *_CACHE_TYPE),
    CACHE_MISSES: _counter("Questions that the cache did not answer.", *_CACHE),
    CACHE_PREFETCHES: _counter("Replies asked for anew before they expired.", *_CACHE),
    CACHE_STALE: _counter("Questions answered from what has expired.", *_CACHE),
    CACHE_EVICTIONS: _counter("Replies that made room for others.", *_CACHE_TYPE),
    FORWARD_BROKEN: _counter("Questions for which all upstreams were down."),
    FORWARD_REJECTED: _counter("Questions refused, as more than `max_concurrent` were in flight."),
    PROXY_DURATION: _histogram("Time that upstreams took to answer.", TIME_BOUNDS, *_UPSTREAM, "rcode"),
    PROXY_PROBES_FAILED: _counter("Health checks that failed.", *_UPSTREAM),
    PROXY_REUSED: _counter("Questions sent over a connection that there was.", *_UPSTREAM, "proto"),
    PROXY_OPENED: _counter("Questions for which a connection had to be made.", *_UPSTREAM, "proto"),
    ACL_ALLOWED: _counter("Queries that `acl` has looked at and let pass.", "server", "view"),
    ACL_BLOCKED: _counter("Queries that `acl` has refused.", *_WHERE),
    ACL_FILTERED: _counter("Queries that `acl` has answered with nothing.", *_WHERE),
    ACL_DROPPED: _counter("Queries that `acl` has left without a reply.", *_WHERE),
    TEMPLATE_MATCHES: _counter("Replies that `template` has made, without SERVFAIL.", *_WHERE, "class", "type"),
    AUTOPATH_SUCCESS: _counter("Queries that `autopath` answered with another name of the search path.", "server"),
    PROGRAMMING: _histogram(
        "Time from a change of endpoints to its being answered by all workers.", PROGRAMMING_BOUNDS, "service_kind"
    ),
}

KDNS: dict[str, Family] = {
    KDNS_RESPONSES: _counter(
        "Replies sent, by transport, query type and response code.", "proto", "type", "rcode"
    ),
    DROPPED: _counter("Messages that got no reply: too short for a header, or replies themselves."),
    SEND_FAILURES: _counter("Replies that the kernel did not take."),
    UDP_DROPS: _counter("Queries that the kernel dropped, as too many waited to be read.", "address"),
    UDP_QUEUE: _gauge("Memory of the queries that wait to be read now.", "address"),
    UDP_BUFFER: _gauge("Memory that waiting queries may take.", "address"),
    SHED: _counter("Questions for outside refused under overload, or prefetches left undone.", "reason"),
    UNASKED: _counter("Questions for outside that no forwarder was there for, or that it has not answered."),
    JOINED: _counter("Questions that waited for the answer to the same question of another client."),
    STRANGERS: _counter("Messages from an upstream's address that answer no question; somebody may be guessing."),
    IN_FLIGHT: _gauge("Messages to upstreams that wait for their answers."),
    UPSTREAM_DOWN: _gauge("1 while an upstream is taken for dead, else 0.", "to"),
    CLIENT_ASKED: _gauge("Questions for outside of the clients that ask most, see below.", "client"),
    CLIENT_SHED: _gauge("Those of them that were refused, by the client's own limit or by everybody's.", "client"),
    NAMESPACE_REQUESTS: _counter("Queries for names in a namespace that exist, estimated, see below.", "namespace"),
    FAILED_READS: _counter(
        "Times that changed hosts files, zone files or manifests could not be used; the last data stays.", "source"
    ),
    COOKIES: _counter("Queries with a DNS cookie, where there is a secret for them.", "verdict"),
    RATE_LIMITED: _counter("Queries over the rate limit: told to use TCP, or left without a reply.", "outcome"),
    SNAPSHOT_TIME: _gauge("When the snapshot of the clusters was written last, by the unix clock."),
}
# What Prometheus's clients tell of their process, of all processes of kdns.
PROCESS: dict[str, Family] = {
    CPU_TIME: _counter("CPU time of all processes, of those that have ended, too."),
    MEMORY: _gauge("Memory of all processes; what they share counts once."),
    FDS_OPEN: _gauge("Open file descriptors of the process that has most."),
    FDS_MAX: _gauge("Open file descriptors that each process may have."),
    START_TIME: _gauge("When kdns was started, by the unix clock."),
}
ALL = COREDNS | KDNS | PROCESS
# Told even while nothing has happened: an alert on their rate needs a first value.
ALWAYS = (PANICS, RELOAD_FAILED, DROPPED, SEND_FAILURES, UNASKED)
