"""With any of `rewrite`, `template` and `autopath` in a block, a client gets an answer to what it has asked.

The question comes back as it was sent, the answer's aliases start at it, what is kept says the same as what is made
anew, and whatever the cluster has is answered as without `autopath`.
"""

from __future__ import annotations

import dns.message
import dns.rdatatype
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kdns.wire.outside import Told
from tests.support.corefiles import answered, served_by
from tests.support.engines import Served
from tests.support.messages import mixed_case, opt, query
from tests.support.shop import SUBTREES

RULES = (
    "rewrite name suffix .test. .shop.svc.cluster.local. answer auto",
    "rewrite continue name suffix .corp. .example.org. answer auto",
    "rewrite name regex ^(.*)\\.prod\\.$ {1}.shop.svc.cluster.local",
    "rewrite name exact www.example.org web.shop.svc.cluster.local",
    "rewrite name substring .cluster. .cluster.",
    "rewrite continue ttl suffix . 3-9",
    "rewrite cname suffix .example.org. .example.net.",
    "rewrite type MX A",
    "rewrite continue type TXT A",
    "rewrite rcode suffix .test. NXDOMAIN NOERROR",
    'template IN A tpl {\nanswer "{{ .Name }} 5 IN A 192.0.2.7"\n}',
    'template IN A alias {\nanswer "{{ .Name }} 5 IN CNAME web.shop.svc.cluster.local."\n}',
    'template ANY ANY {\nmatch ^blocked\nrcode NXDOMAIN\nfallthrough\n}',
    "autopath @kubernetes",
    "whoami",
    "any",
)
LABELS = (
    "web", "db", "db-0.db", "out", "in", "crowd", "nope", "www.example.org", "_http._tcp.web", "blocked", "a.b",
)
ENDS = (
    "shop.svc.cluster.local", "default.svc.cluster.local", "cluster.local", "test", "corp", "prod", "tpl", "alias",
    "example.org", "web.shop.svc.cluster.local",
)
NAMES = st.tuples(st.sampled_from(LABELS), st.sampled_from(ENDS)).map(".".join)
TYPES = st.sampled_from(["A", "AAAA", "SRV", "MX", "TXT", "CNAME", "ANY"])
BLOCKS = st.sets(st.sampled_from(RULES)).map(lambda chosen: [rule for rule in RULES if rule in chosen])
FAILED = Told(0, 2, 0, b"", (0, 0, 0))
RELAXED = settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=60)


def block(lines: list[str]) -> Served:
    body = "\n".join((*lines, "kubernetes cluster.local", "forward . 192.0.2.53"))
    return served_by(f". {{\n{body}\n}}\n", *SUBTREES, resolv_conf="search corp.example\n")


def outside(name: str, qtype: int) -> Told | list[str] | None:
    """Names below example.org and example.net exist; some are aliases, some fail."""
    if "_" in name:
        return FAILED
    if not name.endswith(("example.org.", "example.net.")):
        return None
    if name.startswith("db"):
        return [f"{name} 60 CNAME edge.example.org.", "edge.example.org. 60 A 192.0.2.80"]
    return [f"{name} 60 A 192.0.2.80"] if qtype == 1 else []


def assert_is_to(message: dns.message.Message) -> None:
    at = message.question[0].name
    for rrset in message.answer:
        assert rrset.name == at, message
        if rrset.rdtype == dns.rdatatype.CNAME:
            at = rrset[0].target


@RELAXED
@given(BLOCKS, st.lists(st.tuples(NAMES, TYPES), min_size=1, max_size=4), st.sampled_from([b"", opt()]),
       st.booleans())
def test_the_reply_is_to_the_question_as_it_was_sent_whatever_was_made_of_it(
    lines: list[str], questions: list[tuple[str, str]], edns: bytes, tcp: bool
) -> None:
    served = block(lines)
    for qname, qtype in (*questions, *questions):
        message = query(mixed_case(qname), qtype, edns=edns)
        reply, _ = answered(served, message, outside, tcp)
        end = 12 + len(qname) + 6
        assert reply.wire[12:end] == message[12:end]
        assert_is_to(dns.message.from_wire(reply.wire, one_rr_per_rrset=True))


@RELAXED
@given(BLOCKS, NAMES, TYPES, st.lists(NAMES, max_size=3))
def test_what_was_asked_before_changes_nothing(lines: list[str], qname: str, qtype: str, before: list[str]) -> None:
    used, fresh = block(lines), block(lines)
    for name in (*before, qname):
        answered(used, query(name, qtype), outside, tcp=True)
    one, other = (answered(served, query(qname, qtype), outside, tcp=True)[0] for served in (used, fresh))
    assert (one.rcode, sorted(one.answer), one.flags) == (other.rcode, sorted(other.answer), other.flags)


@RELAXED
@given(BLOCKS.map(lambda lines: [line for line in lines if not line.startswith("autopath")]), NAMES, TYPES)
def test_what_exists_is_answered_as_without_autopath(lines: list[str], qname: str, qtype: str) -> None:
    plain, walking = block(lines), block([*lines, "autopath @kubernetes"])
    one, other = (answered(served, query(qname, qtype), outside, tcp=True)[0] for served in (plain, walking))
    if one.rcode != "NXDOMAIN":
        assert (one.rcode, sorted(one.answer), one.flags) == (other.rcode, sorted(other.answer), other.flags)
