"""A small cluster with a Service of each kind, and its replies twice: as they are made, and as they are kept."""

from __future__ import annotations

from tests.support.engines import Served
from tests.support.messages import Answer
from tests.support.subtrees import alias, headless, host_sets, service

WEB = "web.shop.svc.cluster.local"
SUBTREES = (
    service("web.shop", "10.0.0.1", "2001:db8::1", hosts=host_sets("10.1.0.9")),
    headless("db.shop", "10.1.0.1=db-0 10.1.0.2=db-1 10.1.0.3"),
    headless("crowd.shop", " ".join(f"10.2.{at >> 8}.{at & 255}" for at in range(300))),
    headless("nobody.shop"),
    service("pending.shop", note="the Service has no clusterIP yet"),
    alias("out.shop", "www.example.org"),
    alias("in.shop", WEB),
    alias("dangling.shop", "nope.shop.svc.cluster.local"),
    alias("loop.shop", "loop.shop.svc.cluster.local"),
)


def twice(served: Served, octets: bytes, tcp: bool = False) -> list[Answer]:
    """The replies of an empty table, and then of one that may have kept the first."""
    served.responder.publish()
    replies = [served.ask(octets, tcp), served.ask(octets, tcp)]
    assert replies[0] is not None
    assert replies[1] is not None
    return [Answer(reply) for reply in replies if reply]


def same(one: Answer, other: Answer) -> bool:
    return (one.rcode, one.flags, one.sections(), one.payload, one.ede, one.question) == (
        other.rcode, other.flags, other.sections(), other.payload, other.ede, other.question,
    )
