"""Whatever the server blocks are: behind an alias stands what the same client gets when it asks for the target."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kdns.answer.engine import FileSource
from kdns.answer.outside import Pending
from kdns.wire.iana import EDE
from tests.support.corefiles import served_by
from tests.support.engines import Served, zone_file
from tests.support.forwarding import answering
from tests.support.messages import Answer, opt, query
from tests.support.subtrees import alias, packed, service

TARGETS = (
    "www.zone.test", "nope.zone.test", "alias.zone.test", "deep.zone.test", "a.tpl.test", "b.cn.test", "out.test",
    "old.test", "fail.test", "a.stub.test", "nope.stub.test", "x.closed.test", "web.shop.svc.cluster.local",
    "nope.shop.svc.cluster.local", "loop.cn.test",
)  # fmt: skip
ALIASES = {f"t{at}.shop.svc.cluster.local": target for at, target in enumerate(TARGETS)}
SUBTREES = [service("web.shop", "10.0.0.1"), *(alias(f"t{at}.shop", target) for at, target in enumerate(TARGETS))]
ZONE = "www A 192.0.2.1\nalias CNAME a.tpl.test.\ndeep CNAME t6.shop.svc.cluster.local.\n"
DIRECTIVES = (
    "acl zone.test {\nallow net 192.0.2.99\nblock type A\n}",
    "acl test {\ndrop net 198.51.100.0/24\n}",
    "acl tpl.test {\nfilter net 192.0.2.0/24\n}",
    "acl shop.svc.cluster.local stub.test {\nallow net 192.0.2.0/24\nfilter type AAAA\nblock type TXT\n}",
    "rewrite name exact old.test out.test",
    "rewrite name suffix .old.test. .zone.test. answer auto",
    "rewrite continue ttl suffix .test. 7",
    "rewrite rcode suffix .stub.test. NXDOMAIN NOERROR",
    "rewrite type TXT A",
    'template IN A cn.test {\nmatch ^b\nanswer "{{ .Name }} 60 IN CNAME www.zone.test."\nfallthrough\n}',
    'template IN A cn.test {\nmatch ^loop\nanswer "{{ .Name }} 60 IN CNAME loop.cn.test."\nfallthrough\n}',
    'template IN A tpl.test {\nanswer "{{ .Name }} 60 IN A 192.0.2.44"\n}',
    "autopath @kubernetes",
    "minimal",
)
LINES = st.sets(st.sampled_from(DIRECTIVES)).map(lambda chosen: [line for line in DIRECTIVES if line in chosen])
CLIENTS = st.sampled_from([packed("192.0.2.99"), packed("192.0.2.7"), packed("198.51.100.7")])
TYPES = st.sampled_from(["A", "AAAA", "TXT"])
QUESTIONS = st.lists(st.tuples(CLIENTS, st.sampled_from(sorted(ALIASES)), TYPES), min_size=1, max_size=6)
ZONES = ("www A 192.0.2.1\n", "www A 192.0.2.2\n", "alias A 192.0.2.3\nnope A 192.0.2.4\n", "www TXT x\n")
CHANGES = st.sampled_from((*ZONES, "Service"))
RELAXED = settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)


def blocks(main: list[str], zone: list[str], stub: list[str]) -> str:
    of_zone, of_stub = ([line for line in lines if "autopath" not in line] for lines in (zone, stub))
    return "\n".join((
        ".:53 {", *main, "kubernetes cluster.local", "forward . 192.0.2.53", "}",
        "zone.test:53 {", *of_zone, "file zone.test.zone", "}",
        "stub.test:53 {", *of_stub, "forward . 192.0.2.54", "}",
        "closed.test:53 {", "any", "}",
    ))  # fmt: skip


def ask(served: Served, client: bytes, qname: str, qtype: str) -> Answer | None:
    outcome = served.responder.respond(query(qname, qtype, edns=opt()), (client, 5353), True)
    while isinstance(outcome, Pending):
        name = Answer(b"\0\0\x80\0\0\1\0\0\0\0\0\0" + outcome.ask.question).question.split()[0]
        rcode = "SERVFAIL" if name.startswith("fail") else "NXDOMAIN" if name.startswith("nope") else "NOERROR"
        is_a = outcome.ask.question[-4:-2] == b"\0\1"
        records = [f"{name} 100 A 192.0.2.5"] if rcode == "NOERROR" and is_a else []
        outcome = outcome.finish(answering(outcome.ask, *records, rcode=rcode, keep=30))
    return None if outcome is None else Answer(outcome)


def expected(direct: Answer, own: str, target: str) -> tuple[str, list[str]]:
    if direct.rcode == "REFUSED" and direct.ede[0][0] == EDE.NOT_AUTHORITATIVE:
        return "NOERROR", [f"{own}. 5 CNAME {target}."]
    if direct.rcode in ("SERVFAIL", "REFUSED"):
        return direct.rcode, []
    return direct.rcode, [f"{own}. 5 CNAME {target}.", *direct.answer]


@settings(RELAXED, max_examples=60)
@given(LINES, LINES, LINES, QUESTIONS)
def test_behind_an_alias_stands_what_the_client_gets_for_the_target(
    main: list[str], zone: list[str], stub: list[str], questions: list[tuple[bytes, str, str]]
) -> None:
    main = [line for line in main if "shop.svc" not in line and line != "rewrite type TXT A"]  # on the alias itself
    served = served_by(blocks(main, zone, stub), *SUBTREES, files=[("zone.test", ZONE)], resolv_conf="")
    for client, own, qtype in (*questions, *questions):
        direct, behind = (ask(served, client, name, qtype) for name in (ALIASES[own], own))
        assert (direct is None) == (behind is None)
        if direct is not None and behind is not None:
            assert (behind.rcode, behind.answer) == expected(direct, own, ALIASES[own])


@settings(RELAXED, max_examples=20)
@given(LINES, LINES, st.lists(CHANGES, min_size=1, max_size=3), CLIENTS)
def test_what_is_kept_is_what_a_new_engine_says_after_any_change_of_another_block(
    main: list[str], zone: list[str], changes: list[str], client: bytes
) -> None:
    corefile, text, web = blocks(main, zone, []), ZONE, True
    used = served_by(corefile, *SUBTREES, files=[("zone.test", ZONE)], resolv_conf="")
    for change in changes:
        for own in ALIASES:
            ask(used, client, own, "A")
        if change in ZONES:
            text = change
            source = used.engine.new_source(1)
            assert isinstance(source, FileSource)
            source.load(zone_file(text, "zone.test", 1))
            for _ in used.engine.publish_source(1, source):
                pass
        elif web:
            used.apply(removed=[SUBTREES[0].owner])
            web = False
        else:
            used.apply(SUBTREES[0])
            web = True
        fresh = served_by(corefile, *SUBTREES[not web :], files=[("zone.test", text)], resolv_conf="")
        for own in ALIASES:
            one, other = ask(used, client, own, "A"), ask(fresh, client, own, "A")
            assert (one and (one.rcode, one.answer)) == (other and (other.rcode, other.answer))
