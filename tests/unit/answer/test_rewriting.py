"""`rewrite` as a Corefile has it: the question goes on as another one, and the reply is to the one that was asked."""

from __future__ import annotations

import pytest

from kdns.corefile import CorefileError
from kdns.wire.iana import EDE
from kdns.wire.outside import Source
from tests.support.corefiles import answered, dig, served_by
from tests.support.engines import Served
from tests.support.forwarding import answering
from tests.support.messages import AD, CD, DO, RD, mixed_case, opt, query
from tests.support.shop import SUBTREES, WEB
from tests.support.subtrees import alias, headless, owner, service

CLUSTER = "kubernetes cluster.local in-addr.arpa"
ZONE = """\
www A 192.0.2.80
www A 192.0.2.81
mail MX 10 www
ftp.service.us-west-1.consul.example A 192.0.2.21
short 5 A 192.0.2.5
schmoogle A 192.0.2.6
coredns.rocks-a A 192.0.2.9
srv SRV 0 0 80 www
"""


def block(*lines: str, forward: bool = False, cluster: str = CLUSTER, files: bool = True) -> Served:
    body = [*lines, cluster, *(["file example.org example.org"] if files else []),
            *(["forward . 192.0.2.53"] if forward else [])]
    corefile = ". {\n" + "\n".join(body) + "\n}\n"
    return served_by(corefile, *SUBTREES, files=[("example.org", ZONE)] if files else [])


def records(served: Served, qname: str, qtype: str = "A") -> list[str]:
    """Asked twice, for what is kept must say the same."""
    first, second = served.dig(qname, qtype), served.dig(qname, qtype)
    assert first.question == second.question == f"{qname}. IN {qtype}"
    assert (first.rcode, sorted(first.answer)) == (second.rcode, sorted(second.answer))
    return sorted(first.answer)


# The forms of CoreDNS's documentation


@pytest.mark.parametrize(("rule", "qname", "expected"), [
    ("rewrite name old.example.com web.shop.svc.cluster.local", "old.example.com", ["old.example.com. 5 A 10.0.0.1"]),
    ("rewrite name exact old.example.com web.shop.svc.cluster.local.", "old.example.com",
     ["old.example.com. 5 A 10.0.0.1"]),
    ("rewrite name prefix legacy- w", "legacy-eb.shop.svc.cluster.local", []),
    ("rewrite name suffix .schmoogle.com. .example.org.", "www.schmoogle.com",
     ["www.schmoogle.com. 3600 A 192.0.2.80", "www.schmoogle.com. 3600 A 192.0.2.81"]),
    ("rewrite name suffix .schmoogle.com. .example.org. answer auto", "www.schmoogle.com",
     ["www.schmoogle.com. 3600 A 192.0.2.80", "www.schmoogle.com. 3600 A 192.0.2.81"]),
    ("rewrite name substring .eu. .org.", "www.example.eu", [
        "www.example.eu. 3600 A 192.0.2.80", "www.example.eu. 3600 A 192.0.2.81"]),
    (r"rewrite name regex (.*)-(us-west-1)\.coredns\.rocks {1}.service.{2}.consul.example.example.org answer name "
     r"(.*)\.service\.(us-west-1)\.consul\.example\.example\.org {1}-{2}.coredns.rocks",
     "ftp-us-west-1.coredns.rocks", ["ftp-us-west-1.coredns.rocks. 3600 A 192.0.2.21"]),
    ("rewrite {\n name regex (.*)-(us-west-1)\\.coredns\\.rocks {1}.service.{2}.consul.example.example.org\n"
     " answer auto\n}", "ftp-us-west-1.coredns.rocks", ["ftp-us-west-1.coredns.rocks. 3600 A 192.0.2.21"]),
    ("rewrite stop {\n name suffix .coredns.rocks .example.org answer auto\n}", "www.coredns.rocks",
     ["www.coredns.rocks. 3600 A 192.0.2.80", "www.coredns.rocks. 3600 A 192.0.2.81"]),
    ("rewrite continue name a.test b.test\nrewrite name b.test short.example.org", "a.test",
     ["a.test. 5 A 192.0.2.5"]),
    ("rewrite name a.test b.test\nrewrite name b.test short.example.org", "a.test", []),
    ("rewrite ttl suffix .example.org. 30-300", "short.example.org", ["short.example.org. 30 A 192.0.2.5"]),
    ("rewrite ttl suffix .example.org. 30-300", "www.example.org",
     ["www.example.org. 300 A 192.0.2.80", "www.example.org. 300 A 192.0.2.81"]),
    ("rewrite continue ttl exact a.test. 7\nrewrite name a.test short.example.org", "a.test",
     ["a.test. 7 A 192.0.2.5"]),
    ("rewrite edns0 subnet unset", "short.example.org", ["short.example.org. 5 A 192.0.2.5"]),
])
def test_the_forms_of_a_rule(rule: str, qname: str, expected: list[str]) -> None:
    assert records(block(rule), qname) == expected


def test_a_prefix_takes_the_place_of_a_prefix() -> None:
    served = block("rewrite name prefix legacy. web.")
    assert records(served, "legacy.shop.svc.cluster.local") == ["legacy.shop.svc.cluster.local. 5 A 10.0.0.1"]


def test_one_type_is_answered_as_another() -> None:
    served = block("rewrite type AAAA A")
    assert records(served, "short.example.org", "AAAA") == ["short.example.org. 5 A 192.0.2.5"]
    assert block("rewrite type ANY HINFO").dig("short.example.org", "ANY").answer == []


def test_one_class_is_answered_as_another() -> None:
    served = block("rewrite class CH IN")
    reply = served.dig("short.example.org", qclass=3)
    assert (reply.question, reply.rcode) == ("short.example.org. CH A", "NOERROR")
    assert len(reply.wire) == 12 + 23 + 16
    assert served.dig("short.example.org", qclass=4).rcode == "REFUSED"
    assert block().dig("short.example.org", qclass=3).ede == []


def test_an_rcode_is_answered_as_another() -> None:
    served = block("rewrite rcode suffix .example.org. NXDOMAIN REFUSED")
    assert served.dig("nope.example.org").rcode == "REFUSED"
    assert served.dig("nope.shop.svc.cluster.local").rcode == "NXDOMAIN"


def test_names_in_records_are_rewritten_back_too() -> None:
    served = block("rewrite name suffix .shop.example. .example.org. answer auto")
    assert records(served, "mail.shop.example", "MX") == ["mail.shop.example. 3600 MX 10 www.shop.example."]
    value = block(r"rewrite name regex ^(.*)\.shop\.example\.$ {1}.example.org answer name (.*)\.example\.org "
                  r"{1}.shop.example answer value (.*)\.example\.org {1}.other.example")
    assert records(value, "mail.shop.example", "MX") == ["mail.shop.example. 3600 MX 10 www.other.example."]


def test_an_alias_may_lead_elsewhere() -> None:
    served = block("rewrite cname exact www.example.org. short.example.org.", files=True)
    assert records(block(), "in.shop.svc.cluster.local") == [
        "in.shop.svc.cluster.local. 5 CNAME web.shop.svc.cluster.local.", "web.shop.svc.cluster.local. 5 A 10.0.0.1",
    ]
    assert records(served, "out.shop.svc.cluster.local") == [
        "out.shop.svc.cluster.local. 5 CNAME short.example.org.", "short.example.org. 5 A 192.0.2.5",
    ]


# The reply


@pytest.mark.parametrize("edns", [b"", opt(), opt(flags=DO)])
@pytest.mark.parametrize("tcp", [False, True])
def test_the_question_of_the_reply_is_the_one_that_was_sent(edns: bytes, tcp: bool) -> None:
    served = block("rewrite name suffix .shop.example. .shop.svc.cluster.local. answer auto")
    for qname in ("web.shop.example", "nope.shop.example", "crowd.shop.example"):
        for _ in range(2):
            message = query(mixed_case(qname), edns=edns)
            reply = served.ask(message, tcp)
            assert reply is not None
            assert reply[12 : 12 + len(qname) + 6] == message[12 : 12 + len(qname) + 6]


def test_rotated_addresses_have_the_asked_name() -> None:
    served = block("rewrite name crowd.test db.shop.svc.cluster.local")
    firsts = set()
    for _ in range(6):
        reply = served.dig("crowd.test")
        assert sorted(reply.answer) == [f"crowd.test. 5 A 10.1.0.{at}" for at in (1, 2, 3)]
        firsts.add(reply.answer[0])
    assert len(firsts) == 3


def test_addresses_of_a_name_made_by_an_expression_are_whole() -> None:
    served = block(r"rewrite name regex ^x\.test\.$ db.shop.svc.cluster.local answer name ^db\..* other.example")
    for _ in range(4):
        assert sorted(served.dig("x.test").answer) == [f"other.example. 5 A 10.1.0.{at}" for at in (1, 2, 3)]


def test_a_name_that_would_be_none_is_servfail_with_why() -> None:
    served = block(f"rewrite name prefix a {'b' * 64}")
    reply = served.dig("a.test", edns=opt())
    assert (reply.rcode, reply.ede[0][0]) == ("SERVFAIL", EDE.OTHER)
    assert "no name" in reply.ede[0][1]


def test_a_question_that_becomes_one_for_a_transfer_is_refused() -> None:
    assert block("rewrite type A AXFR").dig("example.org").rcode == "REFUSED"


@pytest.mark.parametrize("rule", [r"rewrite name regex \pL x.test", "rewrite name regex (a x.test"])
def test_an_expression_that_cannot_be_served_is_refused_with_its_place(rule: str) -> None:
    with pytest.raises(CorefileError, match=r"^Corefile:2:"):
        block(rule)


# What is kept, and denied


def test_a_kept_reply_follows_the_cluster() -> None:
    served = block("rewrite name old.test web.shop.svc.cluster.local")
    assert records(served, "old.test") == ["old.test. 5 A 10.0.0.1"]
    kept = served.kept
    assert kept
    served.apply(service("web.shop", "10.0.0.77"))
    assert records(served, "old.test") == ["old.test. 5 A 10.0.0.77"]
    served.apply(removed=[owner("web.shop")])
    assert served.dig("old.test").rcode == "NXDOMAIN"
    served.apply(headless("web.shop", "10.9.9.9=a"))
    assert records(served, "old.test") == ["old.test. 5 A 10.9.9.9"]


@pytest.mark.parametrize("rule", [
    "rewrite name none.shop.svc.cluster.local web.shop.svc.cluster.local",
    "rewrite name suffix none.shop.svc.cluster.local. web.shop.svc.cluster.local.",
    "rewrite name regex ^n.ne\\. web.shop.svc.cluster.local",
    "rewrite name substring none web",
    "rewrite name prefix none. web.",
])
def test_a_name_is_not_denied_before_it_is_rewritten(rule: str) -> None:
    served = block(rule)
    for qname in ("nine.shop.svc.cluster.local", "nine.shop.svc.cluster.local", "nnne.shop.svc.cluster.local"):
        served.dig(qname)  # a denial that all names of this length could share
    assert served.dig("none.shop.svc.cluster.local").rdata == ["10.0.0.1"]


def test_denials_are_shared_where_no_rule_can_hold() -> None:
    def denials(*rules: str) -> int:
        served = block(*rules)
        for at in range(4):
            assert served.dig(f"n{at}.shop.svc.cluster.local").rcode == "NXDOMAIN"
        return len(served.responder.table.denials)

    assert denials() == 1
    assert denials("rewrite name a.example.org b.example.org", "rewrite name suffix .test. .example.org.") == 1
    assert denials("rewrite edns0 nsid unset", "rewrite class CH IN", "rewrite cname a.test b.test") == 1
    for rule in ("rewrite name substring a b", "rewrite type A AAAA", "rewrite ttl suffix .local. 7",
                 "rewrite name x.shop.svc.cluster.local y.test"):
        assert denials(rule) == 0, rule


def test_rules_of_one_block_are_not_for_another() -> None:
    served = served_by("example.org {\nfile example.org\nrewrite name a.test b.test\nrewrite ttl suffix . 9\n}\n"
                       "cluster.local {\nwhoami\n}\n", files=[("example.org", ZONE)])
    assert records(served, "short.example.org") == ["short.example.org. 9 A 192.0.2.5"]
    assert served.dig("a.test").rcode == "REFUSED"


def test_a_name_that_another_block_has_stays_in_this_one() -> None:
    served = served_by(". {\nrewrite name a.test short.example.org\nwhoami\n}\n"
                       "example.org {\nfile example.org\n}\n", files=[("example.org", ZONE)])
    reply = served.dig("a.test")
    assert [line.split()[0] for line in reply.additional] == ["a.test.", "_udp.a.test."]


# Names outside


def test_the_rewritten_name_is_asked_outside_and_its_answer_has_the_asked_one() -> None:
    served = block("rewrite name suffix .corp. .example.com. answer auto", forward=True)
    reply, asked = dig(served, "www.corp", outside=lambda *_: [
        "www.example.com. 300 CNAME edge.example.com.", "edge.example.com. 60 A 192.0.2.1",
    ])
    assert asked == ["www.example.com."]
    assert reply.answer == ["www.corp. 300 CNAME edge.corp.", "edge.corp. 60 A 192.0.2.1"]
    assert reply.flags == {"QR", "RD", "RA"}


def test_a_kept_answer_of_outside_is_found_under_the_asked_name_and_ages() -> None:
    served = block("rewrite continue ttl suffix .corp. -40", "rewrite name www.corp www.example.com", forward=True)
    served.responder.tick(0)
    pending = served.pend(query("www.corp"))
    pending.finish(answering(pending.ask, "www.example.com. 300 A 192.0.2.1", keep=300))
    assert served.dig("www.corp").answer == ["www.corp. 40 A 192.0.2.1"]
    served.responder.tick(39)
    assert served.dig("www.corp").answer == ["www.corp. 1 A 192.0.2.1"]
    served.responder.tick(40)
    served.pend(query("www.corp"))


@pytest.mark.parametrize(("told", "expected"), [("NXDOMAIN", "NXDOMAIN"), ("SERVFAIL", "REFUSED")])
def test_an_rcode_of_outside_is_rewritten(told: str, expected: str) -> None:
    served = block("rewrite continue rcode exact www.corp SERVFAIL REFUSED", "rewrite name www.corp www.example.com",
                   forward=True)
    pending = served.pend(query("www.corp"))
    reply = answered(served, query("www.corp"), lambda *_: answering(
        pending.ask, rcode=told, source=Source.UPSTREAM))[0]
    assert reply.rcode == expected


def test_what_was_rewritten_is_not_said_to_be_authentic() -> None:
    served = block("rewrite name www.corp www.example.com", forward=True)
    message = query("www.corp", flags=RD | AD | CD)
    pending = served.pend(message)
    told = answering(pending.ask, "www.example.com. 9 A 192.0.2.1", flags="QR RD RA AD")
    assert "AD" not in answered(served, message, lambda *_: told)[0].flags


def test_a_malformed_answer_is_servfail() -> None:
    served = block("rewrite name www.corp www.example.com", forward=True)
    pending = served.pend(query("www.corp"))
    good = answering(pending.ask, "www.example.com. 9 CNAME x.example.com.")
    bad = type(good)(0, 0, 0x8000, good.body[:-2] + b"\xff\xff", good.counts, good.ttl_at, good.ttls)
    assert answered(served, query("www.corp"), lambda *_: bad)[0].rcode == "SERVFAIL"


def test_an_alias_of_ours_to_outside_is_rewritten_back_with_its_answer() -> None:
    served = block("rewrite name suffix .test. .shop.svc.cluster.local. answer auto", forward=True, files=False)
    reply, asked = dig(served, "out.test", outside=lambda *_: ["www.example.org. 60 A 192.0.2.1"])
    assert asked == ["www.example.org."]
    assert reply.answer == ["out.test. 5 CNAME www.example.org.", "www.example.org. 60 A 192.0.2.1"]


@pytest.mark.parametrize("target", ["short.example.org.", "elsewhere.example.net."])
def test_an_alias_in_an_answer_of_outside_may_lead_elsewhere(target: str) -> None:
    served = block(f"rewrite cname exact edge.example.com. {target}", forward=True)
    tellings = {
        "www.example.com.": ["www.example.com. 300 CNAME edge.example.com.", "edge.example.com. 60 A 192.0.2.1"],
        "elsewhere.example.net.": ["elsewhere.example.net. 50 A 192.0.2.99"],
    }
    for _ in range(2):
        reply, _ = dig(served, "www.example.com", outside=lambda name, _: tellings[name])
        assert reply.answer[0] == f"www.example.com. 300 CNAME {target}"
        assert reply.answer[1].startswith(target)
        assert len(reply.answer) == 2
        assert "AA" not in reply.flags  # the first alias is nobody's here


def test_an_alias_of_ours_may_lead_outside_elsewhere() -> None:
    served = block("rewrite cname exact www.example.org. www.example.net.", forward=True, files=False)
    reply, asked = dig(served, "out.shop.svc.cluster.local", outside=lambda *_: ["www.example.net. 60 A 192.0.2.1"])
    assert asked == ["www.example.net."]
    assert reply.answer == ["out.shop.svc.cluster.local. 5 CNAME www.example.net.", "www.example.net. 60 A 192.0.2.1"]


def test_a_change_of_the_cluster_drops_an_alias_that_was_rewritten() -> None:
    served = block("rewrite name old.test out.shop.svc.cluster.local", forward=True, files=False)
    served.responder.tick(0)
    pending = served.pend(query("old.test"))
    pending.finish(answering(pending.ask, "www.example.org. 60 A 192.0.2.1", keep=60))
    assert served.dig("old.test").rdata[-1] == "192.0.2.1"
    served.apply(alias("out.shop", WEB))
    assert served.dig("old.test").rdata[-1] == "10.0.0.1"
