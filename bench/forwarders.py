"""Starts what is compared as a forwarder: kdns, Unbound and dnsmasq, and CoreDNS if KDNS_BENCH_COREDNS names it.

All forward everything to one upstream and keep what they hear. They run as their packages ship them, but for one
process or thread that answers, no privileges to drop, and room for the names that come again.

Not here: servers of their own zones (bench.peers), which upstream it is.
"""

from __future__ import annotations

import getpass
import json
import os
import sys
from pathlib import Path

from bench.inputs import Inputs
from bench.peers import ADDRESS, Peer, found, which

CACHE_NAMES = 9984  # CoreDNS's and so kdns's; dnsmasq's own 150 would hold none of the names that come again
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"namespace": "shop", "name": "web"},
    "spec": {"clusterIP": "10.96.0.10", "clusterIPs": ["10.96.0.10"], "ports": [{"port": 80}]},
}
NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}


def kdns(upstreams: list[str], options: str = "", workers: int = 1) -> Peer:
    """kdns with the block of every default Corefile: a cluster, and `forward` for the rest. options: of `forward`."""

    def command(directory: Path, port: int, _: Inputs) -> list[str]:
        manifest, corefile = directory / "cluster.json", directory / "Corefile"
        manifest.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": [NAMESPACE, SERVICE]}))
        corefile.write_text(
            f".:{port} {{\n    bind {ADDRESS}\n    errors\n"
            f"    kubernetes cluster.local in-addr.arpa ip6.arpa {{\n        manifests {manifest}\n"
            f"        fallthrough in-addr.arpa ip6.arpa\n    }}\n"
            f"    forward . {' '.join(upstreams)} {{\n        {options}\n    }}\n    cache 3600\n}}\n"
        )
        return [sys.executable, "-m", "kdns", "serve", "-conf", str(corefile), "--workers", str(workers)]

    return Peer("kdns", command, (sys.executable, "-m", "kdns", "serve", "-version"))


def unbound(upstream: str) -> Peer:
    """Unbound with one thread; without DNSSEC, which nobody else here does."""

    def command(directory: Path, port: int, _: Inputs) -> list[str]:
        config = directory / "unbound.conf"
        config.write_text(
            f'server:\n  interface: {ADDRESS}@{port}\n  username: ""\n  chroot: ""\n  directory: "{directory}"\n'
            f'  pidfile: "{directory}/pid"\n  use-syslog: no\n  logfile: ""\n  do-daemonize: no\n  num-threads: 1\n'
            f'  module-config: "iterator"\n  do-not-query-localhost: no\nremote-control:\n  control-enable: no\n'
            f'forward-zone:\n  name: "."\n  forward-addr: {upstream.replace(":", "@")}\n'
        )
        return [found("unbound"), "-d", "-c", str(config)]

    return Peer("unbound", command, (which("unbound") or "unbound", "-V"))


def dnsmasq(upstream: str) -> Peer:
    """dnsmasq, which has one thread."""

    def command(directory: Path, port: int, _: Inputs) -> list[str]:
        config = directory / "dnsmasq.conf"
        config.write_text(
            f"port={port}\nlisten-address={ADDRESS}\nbind-interfaces\nno-resolv\nno-hosts\nkeep-in-foreground\n"
            f"user={getpass.getuser()}\npid-file={directory}/pid\nlog-facility=-\ncache-size={CACHE_NAMES}\n"
            f"server={upstream.replace(':', '#')}\n"
        )
        return [found("dnsmasq"), "-C", str(config)]

    return Peer("dnsmasq", command, (which("dnsmasq") or "dnsmasq", "--version"))


def coredns(upstream: str) -> Peer:
    """CoreDNS with one thread that runs Go code."""

    def command(directory: Path, port: int, _: Inputs) -> list[str]:
        corefile = directory / "Corefile"
        corefile.write_text(
            f".:{port} {{\n    bind {ADDRESS}\n    errors\n    forward . {upstream}\n    cache 3600\n}}\n"
        )
        return ["env", "GOMAXPROCS=1", os.environ["KDNS_BENCH_COREDNS"], "-conf", str(corefile)]

    return Peer("coredns", command, (os.environ.get("KDNS_BENCH_COREDNS", "coredns"), "-version"))


def available(upstream: str) -> tuple[list[Peer], list[str]]:
    """The forwarders that this machine can run, kdns first; and for each one missing, how it would be found."""
    peers, missing = [kdns([upstream])], []
    for name, make in (("unbound", unbound), ("dnsmasq", dnsmasq)):
        if which(name):
            peers.append(make(upstream))
        else:
            missing.append(f"{name} is left out: no such program (Debian's {name}{'-base' * (name == 'dnsmasq')})")
    if os.environ.get("KDNS_BENCH_COREDNS"):
        peers.append(coredns(upstream))
    else:
        missing.append("coredns is left out: KDNS_BENCH_COREDNS does not name its binary")
    return peers, missing
