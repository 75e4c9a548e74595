"""What is told of one source of answers: a word for each figure, and the metrics that show them.

Control writes the words into memory shared with the supervisor (kdns.server.status), which exposes them
(kdns.observe.exposition). A new figure is a word here and a line in METRICS.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import NamedTuple

from kdns.zone.delta import LACKS_ENDPOINTS, LACKS_NAMESPACES, LACKS_PODS, LACKS_SERVICES

# Names of the kinds by their bits in KINDS and LACKS: their plurals in the API.
KINDS = {
    LACKS_SERVICES: "services",
    LACKS_ENDPOINTS: "endpointslices",
    LACKS_NAMESPACES: "namespaces",
    LACKS_PODS: "pods",
}


class Word(IntEnum):
    """Where a figure stands in the row of its source. All are 0 at first."""

    KINDS = 0  # the kinds of objects that a cluster is made of: bits of kdns.zone.delta.LACKS_..., never none
    LACKS = 1  # those of them that are not known wholly
    IS_LOADED = 2  # something was published of it
    IS_SYNCED = 3  # its API server said once, itself, that it is whole
    IS_FROM_SNAPSHOT = 4  # what is answered comes from a snapshot, which the API server has not confirmed yet
    STALE_SINCE_NS = 5  # by CLOCK_MONOTONIC, negative for times before the machine started; 0: it is current
    VISIBLE_GENERATION = 6  # the last one that every worker has acknowledged
    SERVICES = 7
    ENDPOINT_SLICES = 8
    NAMESPACES = 9
    PODS = 10
    HELD_ENDPOINTS = 11  # endpoints that vanished while ready, and are answered for a moment longer
    DELTAS = 12
    IMAGES = 13
    LISTS = 14
    RELISTS = 15
    WATCHES = 16
    FAILED_REFUSED = 17  # from here on: requests that came to nothing, by kdns.kube.request.Fault
    FAILED_UNREACHABLE = 18
    FAILED_TIMEOUT = 19
    FAILED_BROKEN = 20
    FAILED_TLS = 21
    FAILED_CREDENTIALS = 22
    FAILED_MALFORMED = 23
    FAILED_STATUS = 24  # ... and those that the API server answered with an error
    SERIAL = 25  # one more than the SOA serial of what is published of an API server; 0: nothing was
    LACKING_NAMESPACES = 26  # in how many of the namespaces LACKS is so; 0: in the whole cluster
    HOSTS_NAMES = 27  # names of a hosts file, and of the lines in the Corefile
    HOSTS_READ_AT = 28  # unix time when the file was read last; 0: it never was
    FAILED_READS = 29  # of its files: what was to be read could not be, or had a mistake


class StatusMetric(NamedTuple):
    """One metric: `kdns_cluster_<name>`, with `_total` for a counter.

    words: the word of each value of `label`; without a label one word, of the value "".
    """

    name: str
    help: str
    is_counter: bool
    words: Mapping[str, Word]
    label: str = ""


# How many objects there are of a kind.
OBJECTS = {
    LACKS_SERVICES: Word.SERVICES,
    LACKS_ENDPOINTS: Word.ENDPOINT_SLICES,
    LACKS_NAMESPACES: Word.NAMESPACES,
    LACKS_PODS: Word.PODS,
}

METRICS = (
    StatusMetric(
        "from_snapshot",
        "1 while the answers come from a snapshot on disk that the API server has not confirmed yet.",
        False,
        {"": Word.IS_FROM_SNAPSHOT},
    ),
    StatusMetric(
        "held_endpoints",
        "Endpoints that vanished while they were ready, and are answered for a moment longer.",
        False,
        {"": Word.HELD_ENDPOINTS},
    ),
    StatusMetric(
        "visible_generation",
        "The last change that every worker answers from.",
        False,
        {"": Word.VISIBLE_GENERATION},
    ),
    StatusMetric("deltas", "Changes sent to the workers as such.", True, {"": Word.DELTAS}),
    StatusMetric("images", "Times that everything was sent to the workers anew.", True, {"": Word.IMAGES}),
    StatusMetric("lists", "Lists that the API server was asked for, with the first ones.", True, {"": Word.LISTS}),
    StatusMetric(
        "relists",
        "Lists that were needed because a watch could not go on where it had ended.",
        True,
        {"": Word.RELISTS},
    ),
    StatusMetric("watches", "Watches that were opened.", True, {"": Word.WATCHES}),
    StatusMetric(
        "failures",
        "Requests to the API server that came to nothing.",
        True,
        {
            "refused": Word.FAILED_REFUSED,
            "unreachable": Word.FAILED_UNREACHABLE,
            "timeout": Word.FAILED_TIMEOUT,
            "broken": Word.FAILED_BROKEN,
            "tls": Word.FAILED_TLS,
            "credentials": Word.FAILED_CREDENTIALS,
            "malformed": Word.FAILED_MALFORMED,
            "status": Word.FAILED_STATUS,
        },
        "reason",
    ),
)

# Words that only grow: a control that follows another one goes on counting where that one stopped.
COUNTERS = frozenset(
    (Word.FAILED_READS, *(word for metric in METRICS if metric.is_counter for word in metric.words.values()))
)


def kinds_in(mask: int) -> list[str]:
    """The names of the kinds whose bits are set."""
    return [name for bit, name in KINDS.items() if mask & bit]
