"""Aliases whose target another directive or server block answers: as if the client had asked for it."""

from __future__ import annotations

import pytest

from kdns.answer.engine import FileSource, HostsSource
from kdns.answer.guarded import GuardedResponder
from kdns.answer.outside import Pending
from kdns.wire.iana import EDE
from kdns.wire.outside import Told
from kdns.zone.delta import ZoneDelta
from kdns.zone.hosts import parse_hosts, rrsets_of
from tests.support.corefiles import answered, served_by
from tests.support.engines import Served, zone_file
from tests.support.forwarding import answering
from tests.support.messages import Answer, opt, query
from tests.support.subtrees import alias, packed, service

TARGETS = {
    "hosts": "db.corp.test", "file": "file.zone.test", "gone": "nope.zone.test", "stub": "a.stub.test",
    "template": "web.tpl.test", "renamed": "rw.old.test", "chained": "x.cn.tpl.test", "public": "out.example.test",
    "nowhere": "x.closed.test", "failing": "fail.example.test", "secret": "www.secret.test",
    "filtered": "www.dim.test", "dropped": "www.mute.test", "there": "back.zone.test",
}
SUBTREES = [service("web.shop", "10.0.0.1"), *(alias(f"{name}.shop", target) for name, target in TARGETS.items())]
ZONE = ("zone.test", """\
file A 192.0.2.98
back CNAME public.shop.svc.cluster.local.
loop CNAME loop.tpl.test.
hidden CNAME www.secret.test.
_x._tcp SRV 0 0 80 file
""")
ACL = """
acl secret.test {
    allow net 192.0.2.99
    block
}
acl dim.test {
    filter
}
acl mute.test {
    drop
}
"""
BLOCKS = """
.:53 {
    %s
    template IN A cn.tpl.test {
        answer "{{ .Name }} 60 IN CNAME web.tpl.test."
    }
    template IN A loop.tpl.test {
        answer "{{ .Name }} 60 IN CNAME loop.zone.test."
    }
    template IN A tpl.test {
        answer "{{ .Name }} 60 IN A 192.0.2.44"
    }
    rewrite name exact rw.old.test out.example.test
    rewrite ttl suffix .example.test. 7
    kubernetes cluster.local
    forward . 192.0.2.1
}
closed.test:53 {
    any
}
zone.test:53 {
    file zone.test.zone
}
stub.test:53 {
    forward . 192.0.2.2
}
corp.test:53 {
    hosts {
        192.0.2.66 db.corp.test
    }
}
"""
FILE, HOSTS = 1, 2  # sources
ALLOWED, OTHER = packed("192.0.2.99"), packed("198.51.100.7")


def outside(name: str, qtype: int) -> Told | list[str] | None:
    return Told(0, 2, 0, b"", (0, 0, 0)) if name.startswith("fail") else [f"{name} 100 A 192.0.2.5"]


def served(*lines: str, blocks: str = BLOCKS) -> Served:
    one = served_by(blocks % "\n".join(lines), *SUBTREES, files=[ZONE], resolv_conf="")
    publish_hosts(one, "192.0.2.66 db.corp.test\n")
    return one


def publish_hosts(one: Served, text: str) -> None:
    source = one.engine.new_source(HOSTS)
    assert isinstance(source, HostsSource)
    source.load(ZoneDelta(HOSTS, 1, True, tuple(rrsets_of(parse_hosts(text, "hosts").entries))))
    one.engine.publish_source(HOSTS, source)


def publish_file(one: Served, text: str) -> None:
    source = one.engine.new_source(FILE)
    assert isinstance(source, FileSource)
    source.load(zone_file(text, "zone.test", FILE))
    one.engine.publish_source(FILE, source)


PLAIN = served()
WATCHED = served(ACL)
WALKING = served(ACL, "autopath @kubernetes")


def dig(one: Served, qname: str, qtype: str = "A") -> tuple[Answer, list[str]]:
    return answered(one, query(qname, qtype, edns=opt()), outside)


def dig_as(one: Served, client: bytes, qname: str) -> Answer | None:
    outcome = one.responder.respond(query(qname, edns=opt()), (client, 5353), False)
    while isinstance(outcome, Pending):
        name = Answer(b"\0\0\x80\0\0\1\0\0\0\0\0\0" + outcome.ask.question).question.split()[0]
        outcome = outcome.finish(answering(outcome.ask, f"{name} 100 A 192.0.2.5", keep=60))
    return Answer(outcome) if outcome is not None else None


@pytest.mark.parametrize(("name", "expected"), [
    ("hosts", ["db.corp.test. 3600 A 192.0.2.66"]),
    ("file", ["file.zone.test. 3600 A 192.0.2.98"]),
    ("stub", ["a.stub.test. 100 A 192.0.2.5"]),
    ("template", ["web.tpl.test. 60 A 192.0.2.44"]),
    ("renamed", ["rw.old.test. 100 A 192.0.2.5"]),
    ("chained", ["x.cn.tpl.test. 60 CNAME web.tpl.test.", "web.tpl.test. 60 A 192.0.2.44"]),
    ("public", ["out.example.test. 7 A 192.0.2.5"]),
    ("there", ["back.zone.test. 3600 CNAME public.shop.svc.cluster.local.",
               "public.shop.svc.cluster.local. 5 CNAME out.example.test.", "out.example.test. 7 A 192.0.2.5"]),
    ("nowhere", []),
])
def test_the_records_of_the_target_stand_behind_the_alias(name: str, expected: list[str]) -> None:
    for _ in range(2):
        reply, _asked = dig(PLAIN, f"{name}.shop.svc.cluster.local")
        assert reply.rcode == "NOERROR"
        assert reply.answer == [f"{name}.shop.svc.cluster.local. 5 CNAME {TARGETS[name]}.", *expected]


def test_what_is_rewritten_is_asked_as_rewritten() -> None:
    assert dig(served(), "renamed.shop.svc.cluster.local")[1] == ["out.example.test."]


def test_a_target_that_does_not_exist_in_another_block_is_nxdomain_with_its_soa() -> None:
    reply, _ = dig(PLAIN, "gone.shop.svc.cluster.local")
    assert (reply.rcode, reply.soa[:9]) == ("NXDOMAIN", "zone.test")
    assert reply.answer == ["gone.shop.svc.cluster.local. 5 CNAME nope.zone.test."]


def test_a_target_that_cannot_be_resolved_is_servfail() -> None:
    reply, _ = dig(PLAIN, "failing.shop.svc.cluster.local")
    assert (reply.rcode, reply.answer) == ("SERVFAIL", [])


def test_a_circle_through_two_blocks_is_answered_once_round() -> None:
    reply, _ = dig(PLAIN, "loop.zone.test")
    assert (reply.rcode, len(reply.answer)) == ("NOERROR", 2)


@pytest.mark.parametrize("qname", [
    "secret.shop.svc.cluster.local", "hidden.zone.test", "www.secret.test", "x.cname.test",
])
def test_what_a_client_may_not_ask_for_no_alias_tells_it(qname: str) -> None:
    one = served(ACL, "rewrite cname exact out.example.test. www.secret.test.",
                 'template IN A cname.test {\nanswer "{{ .Name }} 60 IN CNAME www.secret.test."\n}')
    for client in (OTHER, ALLOWED, OTHER, ALLOWED):
        reply = dig_as(one, client, qname)
        assert reply is not None
        if client == ALLOWED:
            assert (reply.rcode, reply.answer[-1]) == ("NOERROR", "www.secret.test. 100 A 192.0.2.5")
        else:
            assert (reply.rcode, reply.answer, reply.ede[0][0]) == ("REFUSED", [], EDE.BLOCKED)
    redirected = dig_as(one, OTHER, "public.shop.svc.cluster.local")
    assert redirected is not None
    assert redirected.rcode == "REFUSED"


def test_a_filtered_target_is_empty_and_a_dropped_one_is_silence() -> None:
    reply = dig_as(WATCHED, OTHER, "filtered.shop.svc.cluster.local")
    assert reply is not None
    assert (reply.rcode, reply.ede[0][0]) == ("NOERROR", EDE.FILTERED)
    assert reply.answer == ["filtered.shop.svc.cluster.local. 5 CNAME www.dim.test."]
    assert dig_as(WATCHED, OTHER, "dropped.shop.svc.cluster.local") is None


def test_what_an_alias_is_kept_from_is_counted() -> None:
    one = served(ACL)
    dig_as(one, OTHER, "secret.shop.svc.cluster.local")
    assert isinstance(one.responder, GuardedResponder)
    counts = dict(zip(map(str, one.responder.guard.counted), one.responder.guard.counts, strict=True))
    assert sum(count for what, count in counts.items() if "'block'" in what) == 1


@pytest.mark.parametrize("name", ["www.secret.test", "www.mute.test"])
def test_a_walk_ends_at_what_the_client_may_not_ask_for(name: str) -> None:
    walked = f"{name}.shop.svc.cluster.local"
    for client in (ALLOWED, OTHER, ALLOWED):
        reply = dig_as(WALKING, client, walked)
        assert reply is not None
        if client == ALLOWED and "secret" in name:
            assert reply.answer == [f"{walked}. 5 CNAME {name}.", f"{name}. 100 A 192.0.2.5"]
        else:
            assert (reply.rcode, reply.answer) == ("NXDOMAIN", [])


def test_additional_records_are_for_who_may_ask_for_them() -> None:
    spec = BLOCKS.replace("zone.test:53 {", "zone.test:53 {\nacl file.zone.test {\nallow net 192.0.2.99\nblock\n}")
    one = served(blocks=spec)
    for client, count in ((ALLOWED, 1), (OTHER, 0), (ALLOWED, 1)):
        outcome = one.responder.respond(query("_x._tcp.zone.test", "SRV"), (client, 53), False)
        assert isinstance(outcome, bytes)
        assert len(Answer(outcome).additional) == count


def test_a_change_of_the_other_block_drops_what_followed_an_alias_there() -> None:
    one = served()
    assert dig(one, "file.shop.svc.cluster.local")[0].answer[-1] == "file.zone.test. 3600 A 192.0.2.98"
    publish_file(one, "file A 192.0.2.97\n")
    assert dig(one, "file.shop.svc.cluster.local")[0].answer[-1] == "file.zone.test. 3600 A 192.0.2.97"
    assert dig(one, "hosts.shop.svc.cluster.local")[0].answer[-1] == "db.corp.test. 3600 A 192.0.2.66"
    publish_hosts(one, "192.0.2.67 db.corp.test\n")
    assert dig(one, "hosts.shop.svc.cluster.local")[0].answer[-1] == "db.corp.test. 3600 A 192.0.2.67"
