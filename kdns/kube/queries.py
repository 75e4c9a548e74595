"""The requests of the list and watch protocol (Kubernetes API concepts; KEP-3157 for watch lists): the query of each.

Not here: when which is made (kdns.kube.reflector).
"""

from __future__ import annotations

from kdns.kube.request import Resource

Query = tuple[tuple[str, str], ...]


def watch_list_query(resource: Resource, timeout_seconds: int) -> Query:
    """All objects as of now, as initial events, and then what changes. Without a resource version "now" is what a
    quorum of etcd says: never older than what was known before, and never a version that this server has not yet.
    """
    initial = (("sendInitialEvents", "true"), ("resourceVersionMatch", "NotOlderThan"))
    return (*_watch(timeout_seconds), *initial, *_selectors(resource))


def watch_query(resource: Resource, resource_version: str, timeout_seconds: int) -> Query:
    """What has changed since this version, and what changes."""
    return (*_watch(timeout_seconds), ("resourceVersion", resource_version), *_selectors(resource))


def list_query(resource: Resource, limit: int, token: str) -> Query:
    """A page of the objects as of now, or the one that a token continues with; all in one if `limit` is 0."""
    paging = (("limit", str(limit)),) if limit else ()
    onwards = (("continue", token),) if token else ()
    return (*paging, *onwards, *_selectors(resource))


def probe_query() -> Query:
    """One object, whichever: what is of interest is the version of the list."""
    return (("limit", "1"),)


def _watch(timeout_seconds: int) -> Query:
    return (("watch", "1"), ("allowWatchBookmarks", "true"), ("timeoutSeconds", str(timeout_seconds)))


def _selectors(resource: Resource) -> Query:
    pairs = (("labelSelector", resource.label_selector), ("fieldSelector", resource.field_selector))
    return tuple(pair for pair in pairs if pair[1])
