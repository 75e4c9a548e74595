"""The UDP server before a guarded responder: the short cut for what is kept is not taken past the guard."""

from __future__ import annotations

import pytest

from kdns.answer.acl import AclAction
from kdns.observe.querylog import Exchange
from kdns.server.udp import BATCH
from tests.support.guarding import HALF, NOBODY, SECRET, WEB, Guarded, against, cookie_of, ede_of, with_cookie
from tests.support.loopback import Server, ask, client
from tests.support.messages import Answer, opt, query

BLOCKED = "127.0.0.2"


@pytest.mark.parametrize("is_observed", [False, True])
@pytest.mark.parametrize("action", [AclAction.BLOCK, AclAction.FILTER, AclAction.DROP])
def test_what_is_kept_is_not_sent_to_who_is_not_to_have_it(action: AclAction, is_observed: bool) -> None:
    told: list[Exchange] = []
    one = Guarded(acl=against(action, BLOCKED))
    with (
        Server(one.responder, observer=told.append if is_observed else None) as server,
        client(server) as allowed,
        client(server, source=BLOCKED) as blocked,
    ):
        for qname in (WEB, NOBODY):
            octets = query(qname, edns=opt())
            assert len(ask(server, allowed, octets, octets)[1]) > len(octets)
            allowed.send(octets)
            replies = ask(server, blocked, octets, octets)
            assert len(replies) == (0 if action is AclAction.DROP else 2)
            for reply in map(Answer, replies):
                assert (reply.counts[1:], ede_of(reply)) == ((0, 0, 1), 15 if action is AclAction.BLOCK else 17)
            assert len(ask(server, allowed)) == 1
    assert len(told) == is_observed * (6 + (0 if action is AclAction.DROP else 4))


def test_each_query_of_a_batch_gets_its_own_cookie_or_none() -> None:
    one = Guarded(secret=SECRET)
    forms = (b"", opt(), with_cookie(), with_cookie(b"other..." + bytes(16)))
    with Server(one.responder) as server, client(server) as asker:
        for _ in range(2):
            for at in range(BATCH):
                asker.send(query((WEB, NOBODY)[at % 3 == 0], ident=at, edns=forms[at % 4]))
            assert server.run() == 1
            replies = [Answer(asker.recv(4096)) for _ in range(BATCH)]
            for at, reply in enumerate(replies):
                assert (reply.ident, reply.rcode) == (at, "NXDOMAIN" if at % 3 == 0 else "NOERROR")
                bodies = [cookie_of(reply)[:8]] if at % 4 > 1 else []
                assert bodies == [[], [], [HALF], [b"other..."]][at % 4]


def test_over_the_limit_there_is_silence_or_tc_between_the_replies_of_others() -> None:
    one = Guarded(rate=2)
    with Server(one.responder) as server, client(server) as asker, client(server, source="127.0.1.1") as other:
        for ident in range(6):
            asker.send(query(WEB, ident=ident))
        replies = [Answer(reply) for reply in ask(server, other, query(WEB))]
        assert [reply.rdata for reply in replies] == [["10.0.0.1"]]
        found = [Answer(reply) for reply in ask(server, asker)]
    assert [(reply.ident, "TC" in reply.flags) for reply in found] == [
        (0, False), (1, False), (2, True), (4, True),
    ]
