"""kdns.server.guarding: what guards count outlives the worker, and goes by listener and zone."""

from __future__ import annotations

from random import Random

from kdns.answer.engine import Engine
from kdns.answer.guard import UNPROTECTED, Asker
from kdns.answer.guarded import GuardedResponder
from kdns.corefile import parse_corefile
from kdns.observe.families import ACL_ALLOWED, ACL_BLOCKED, ACL_DROPPED, Sample
from kdns.observe.tally import Tally
from kdns.server.assembly import assemble
from kdns.server.guarding import GuardTally
from kdns.server.labels import labels_of
from kdns.wire.iana import RRType
from kdns.wire.name import from_text

COREFILE = """
open.test:53 {
    whoami
}
one.test:54 two.test:54 {
    acl two.test {
        block type TXT
        drop type SRV
    }
    whoami
}
"""
WWW, CLIENT = from_text("www.two.test"), Asker(b"\x7f\0\0\1", False)


def _no_failure(error: Exception, _: bytes) -> None:
    raise error


def test_counts_are_added_to_those_of_the_worker_before() -> None:
    plan = assemble(parse_corefile(COREFILE, "Corefile"), lambda _: (), lambda: ())
    labels = labels_of(plan)
    words = [0] * labels.guards.words
    for _ in range(2):  # a worker, and the one that takes its slot
        tally = Tally(labels.layout, [0] * labels.layout.words)
        engine = Engine(plan.specification, tally, Random(1), _no_failure, protection=UNPROTECTED)
        told = GuardTally(labels.guards, engine, words)
        responder = engine.responder(1)
        assert isinstance(responder, GuardedResponder)
        site = responder._site(WWW)
        for qtype in (RRType.TXT, RRType.SRV, RRType.SRV, RRType.A):
            responder.guard.judge(site, CLIENT, WWW, qtype, None)
        told.fold()
        told.fold()  # counts nothing twice
    assert labels.guards.samples(words) == {
        Sample(ACL_BLOCKED, ("dns://:54", "two.test.", "")): 2,
        Sample(ACL_DROPPED, ("dns://:54", "two.test.", "")): 4,
        Sample(ACL_ALLOWED, ("dns://:54", "")): 2,
    }
