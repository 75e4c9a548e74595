"""Where this process is in the cluster: its own namespace and the cluster's domain, for targets that leave them out.

What the app says holds; else the first search entry of resolv.conf of the form `NAMESPACE.svc.DOMAIN`, which kubelet
writes for pods with the usual dnsPolicy; else the service account's namespace file, which tells no domain. Not here:
what a target needs of it (kdns.client.target), name servers (kdns.client.servers).
"""

from __future__ import annotations

from typing import NamedTuple

from kdns.client.options import ResolverOptions

# A resolv.conf has a few lines; glibc reads 256 octets of each search list entry. What is longer is no such file.
FILE_OCTETS_MOST = 65536


class Place(NamedTuple):
    """namespace: our own. domain: of the cluster, lower case without the last dot. None: nothing tells."""

    namespace: str | None
    domain: str | None


def place_from(resolv_conf: str, namespace_file: str) -> Place:
    """What the two files say; either may be empty. The last `search` or `domain` line counts (resolv.conf(5))."""
    search: list[str] = []
    for line in resolv_conf.splitlines():
        words = line.split()
        if words and words[0] in ("search", "domain"):
            search = words[1:]
    for entry in search:
        labels = entry.rstrip(".").lower().split(".")
        if len(labels) > 2 and labels[1] == "svc" and all(labels):
            return Place(labels[0], ".".join(labels[2:]))
    return Place(namespace_file.strip() or None, None)


def find_place(options: ResolverOptions) -> Place:
    """Our place, by the options, then by the files that they name; a file that is not there says nothing."""
    found = Place(None, None)
    if options.domain is None or options.namespace is None:
        found = place_from(read_file(options.resolv_conf), read_file(options.namespace_file))
    domain = options.domain.rstrip(".").lower() if options.domain is not None else found.domain
    return Place(options.namespace.lower() if options.namespace else found.namespace, domain)


def read_file(path: str) -> str:
    """Its text; "" if it cannot be read, which is so outside of a pod."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(FILE_OCTETS_MOST)
    except OSError:
        return ""
