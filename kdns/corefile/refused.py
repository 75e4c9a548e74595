"""Directives of CoreDNS that kdns does not have, and what to do instead: one table, repeated in the documentation."""

from __future__ import annotations

from collections.abc import Mapping

_PLAIN_DNS = "kdns serves plain DNS over UDP and TCP: remove the line, and put a proxy that speaks it before kdns"
_OWN_SIZES = "kdns sizes and bounds itself: remove the line"
_CLOUD = "export the zone to a zone file and serve that with `file`, or `forward` the zone to the provider's servers"
_NO_SIGNING = "kdns signs nothing: `forward` the zone to a server that does"

REFUSED: Mapping[str, str] = {
    "root": "write the paths of the other directives in full, or start kdns in that directory",
    "metadata": "kdns has no metadata: remove the line; the access log shows `-` for its labels",
    "geoip": "kdns does not look up where clients are: remove the line",
    "cancel": "no query in kdns waits longer than 5 seconds: remove the line",
    "tls": _PLAIN_DNS,
    "proxyproto": "kdns takes no addresses from a proxy: remove the line, and let clients reach it directly",
    "quic": _PLAIN_DNS,
    "grpc_server": _PLAIN_DNS,
    "https": _PLAIN_DNS,
    "https3": _PLAIN_DNS,
    "timeouts": _OWN_SIZES,
    "multisocket": "kdns has a socket for each of its workers: remove the line, and say `--workers N`",
    "pprof": "it profiles programs in Go: remove the line, and look at `prometheus`",
    "trace": "kdns sends no traces: remove the line, and look at `prometheus` and `log`",
    "dnstap": "kdns does not speak dnstap: remove the line, and use `log`",
    "local": "remove the line; `template IN A localhost` answers such names where somebody asks for them",
    "dns64": "`forward` to a resolver that does DNS64 (RFC 6147), and remove the line",
    "tsig": "kdns has no TSIG: limit `transfer` and `acl` by address",
    "header": "kdns sets the flags of its replies as the RFCs say: remove the line",
    "dnssec": _NO_SIGNING,
    "route53": _CLOUD,
    "azure": _CLOUD,
    "clouddns": _CLOUD,
    "k8s_external": "kdns has no names for external addresses: list them in `hosts` or in a zone file",
    "auto": "name each zone file with `file`: kdns reads a changed file by itself",
    "secondary": "kdns fetches no zones: let the primary write a zone file for `file`, or `forward` the zone to it",
    "etcd": "write the names to a zone file for `file`, or `forward` the zone to who serves them",
    "grpc": "kdns forwards over plain DNS and over TLS: use `forward`",
    "erratic": "it is for tests of clients: remove the line",
    "on": "kdns runs no commands: leave that to whoever starts it",
    "sign": _NO_SIGNING,
    "view": "make a server block for each group of clients on an address of its own (`bind`), or use `acl`",
    "nomad": "`forward` the zone to a server that knows Nomad, such as Consul",
    "shed": "kdns limits each client by itself, see `--client-queries`: remove the line",
}
"""Name to what to do instead; with `directives.DIRECTIVES` this is all of CoreDNS."""
