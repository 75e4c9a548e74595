"""`rewrite`: what becomes of a question, and of the reply to it."""

from __future__ import annotations

from struct import pack

import dns.rdata
import dns.rdataclass
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.answer.pattern import PatternError
from kdns.answer.rewrite import Rewriter, Rewritten
from kdns.wire.iana import Rcode, RRType
from kdns.wire.name import MAX_NAME_OCTETS, from_text, join, to_text
from kdns.wire.rules import (
    AnswerField,
    AnswerRewrite,
    ClassRewrite,
    CnameRewrite,
    EdnsRemoval,
    MatchKind,
    NameMatch,
    NameRewrite,
    RcodeRewrite,
    RewriteRule,
    TtlRewrite,
    TypeRewrite,
)
from kdns.zone.hosts import HostsEntry, HostsSpec, hosts_zones
from kdns.zone.model import Denial, Lookup
from kdns.zone.rrset import RRset
from tests.support.messages import AAAA, ANY, CNAME, MX, NS, PTR, SOA, SRV, TXT, A
from tests.support.subtrees import packed

IN, CH = 1, 3
ADDRESS = packed("192.0.2.1")


def name(kind: str, pattern: str, to: str, *answers: AnswerRewrite, auto: bool = False,
         stop: bool = True) -> NameRewrite:
    return NameRewrite(NameMatch(MatchKind(kind), pattern), to, auto, answers, stop)


def rewrite(asked: str, *rules: RewriteRule, qtype: int = A, qclass: int = IN) -> Rewritten | None:
    return Rewriter(rules).rewrite(from_text(asked), qtype, qclass)


def done(asked: str, *rules: RewriteRule, qtype: int = A, qclass: int = IN) -> Rewritten:
    rewritten = rewrite(asked, *rules, qtype=qtype, qclass=qclass)
    assert rewritten is not None
    return rewritten


def new_name(asked: str, *rules: RewriteRule) -> str:
    rewritten = rewrite(asked, *rules)
    return to_text(rewritten.qname) if rewritten else ""


def address(owner: str, ttl: int = 30) -> RRset:
    return RRset(from_text(owner), A, ttl, (ADDRESS,))


def target(owner: str, to: str, rrtype: int = CNAME) -> RRset:
    return RRset(from_text(owner), rrtype, 30, (from_text(to),))


def owners(found: Lookup) -> list[str]:
    return [to_text(rrset.owner) for rrset in found.answer]


@pytest.mark.parametrize(("kind", "pattern", "to", "asked", "new"), [
    ("exact", "a.example.", "b.example.", "a.example", "b.example."),
    ("exact", "a.example.", "b.example.", "x.a.example", ""),
    ("prefix", "old.", "new.", "old.example", "new.example."),
    ("prefix", "old.", "new.", "older.example", ""),
    ("suffix", ".example.org.", ".svc.cluster.local.", "a.b.example.org", "a.b.svc.cluster.local."),
    ("suffix", "example.org.", "example.net.", "myexample.org", "myexample.net."),
    ("suffix", ".example.org.", ".example.net.", "example.org", ""),
    ("substring", ".eu.", ".us.", "a.eu.b.eu.example", "a.us.b.us.example."),
    ("substring", ".eu.", ".us.", "a.europe.example", ""),
    ("regex", r"(.*)-(us-west-1)\.coredns\.rocks", "{1}.service.{2}.consul.", "ftp-us-west-1.coredns.rocks",
     "ftp.service.us-west-1.consul."),
    ("regex", r"^api\.(.+)\.$", "{1}.", "api.example.org", "example.org."),
    ("regex", r"^api\.(.+)$", "{0}x.", "api.example.org", "api.example.org.x."),
    ("regex", r"nope", "x.", "api.example.org", ""),
    ("regex", r"(a)?(b)\.", "{1}y{2}.example.", "b.c", "yb.example."),
])
def test_names_that_match_become_what_the_rule_says(kind: str, pattern: str, to: str, asked: str, new: str) -> None:
    assert new_name(asked, name(kind, pattern, to)) == new


def test_a_question_that_no_rule_holds_for_is_left_alone() -> None:
    assert rewrite("a.example", name("exact", "b.example.", "c.example."), TypeRewrite(AAAA, A)) is None


def test_type_and_class_are_rewritten_and_the_name_stays() -> None:
    typed = done("a.example", TypeRewrite(ANY, RRType.HINFO), qtype=ANY)
    assert (typed.qname, typed.qtype, typed.qclass) == (from_text("a.example"), RRType.HINFO, IN)
    classed = done("a.example", ClassRewrite(CH, IN), qclass=CH)
    assert (classed.qtype, classed.qclass) == (A, IN)


def test_stop_ends_the_list_and_continue_goes_on_with_what_was_made() -> None:
    first = name("suffix", ".one.", ".two.", stop=False)
    second = name("suffix", ".two.", ".three.")
    third = name("suffix", ".three.", ".four.")
    assert new_name("a.one", first, second, third) == "a.three."
    assert new_name("a.two", first, second, third) == "a.three."
    assert new_name("a.three", first, second, third) == "a.four."


def test_a_rule_that_does_not_hold_does_not_stop() -> None:
    assert new_name("a.one", name("exact", "x.", "y."), name("exact", "a.one.", "b.")) == "b."


def test_several_fields_are_rewritten_by_rules_that_continue() -> None:
    rewritten = done("a.one", name("exact", "a.one.", "b.one.", stop=False), TypeRewrite(A, AAAA))
    assert (to_text(rewritten.qname), rewritten.qtype) == ("b.one.", AAAA)


@pytest.mark.parametrize("to", ["..", f"{'x' * 64}.example.", "a..b.", "b\u00fccher.", "x." * 128])
def test_what_is_no_name_is_a_failure_that_says_why(to: str) -> None:
    rewritten = done("a.example", name("exact", "a.example.", to))
    assert rewritten.failure.startswith("the question was rewritten to what is no name: ")
    assert rewritten.qname == from_text("a.example")


def test_to_take_an_option_away_changes_nothing_but_may_be_the_last_rule() -> None:
    type_rule = TypeRewrite(A, AAAA)
    assert done("a.example", EdnsRemoval(8), type_rule).qtype == A
    assert done("a.example", EdnsRemoval(8, stop=False), type_rule).qtype == AAAA


def test_the_record_at_the_rewritten_name_gets_the_asked_name_even_without_auto() -> None:
    rewritten = done("a.example", name("suffix", ".example.", ".test."))
    found = rewritten.reverter.revert(Lookup(0, (address("a.test"),)))
    assert owners(found) == ["a.example."]


def test_a_chain_of_aliases_starts_at_the_asked_name() -> None:
    rewritten = done("a.example", name("exact", "a.example.", "b.test."))
    found = rewritten.reverter.revert(Lookup(0, (target("b.test", "c.other"), address("c.other"))))
    assert owners(found) == ["a.example.", "c.other."]


def test_auto_rewrites_names_in_rdata_and_below() -> None:
    rewritten = done("_http._tcp.a.example", name("suffix", ".example.", ".test.", auto=True))
    srv = RRset(from_text("_http._tcp.a.test"), SRV, 5, (pack(">3H", 0, 100, 80) + from_text("host.a.test"),))
    found = rewritten.reverter.revert(Lookup(0, (srv,), additional=(address("host.a.test"),)))
    assert found.answer[0].rdatas[0].endswith(from_text("host.a.example"))
    assert found.additional[0].owner == from_text("host.a.example")


def test_auto_of_an_exact_match_needs_no_word_and_covers_names_below() -> None:
    rewritten = done("a.example", name("exact", "a.example.", "b.test."))
    mx = RRset(from_text("b.test"), MX, 5, (pack(">H", 10) + from_text("mail.b.test"),))
    found = rewritten.reverter.revert(Lookup(0, (mx,)))
    assert found.answer[0].rdatas == (pack(">H", 10) + from_text("mail.a.example"),)


def test_answer_name_is_for_owners_and_answer_value_for_rdata() -> None:
    rule = name(
        "regex", r"^(.*)\.one\.$", "{1}.two.",
        AnswerRewrite(AnswerField.NAME, r"^(.*)\.two\.$", "{1}.shown."),
        AnswerRewrite(AnswerField.VALUE, r"^(.*)\.two\.$", "{1}.hidden."),
    )
    found = done("a.one", rule).reverter.revert(Lookup(0, (target("a.two", "b.two"), address("b.two"))))
    assert owners(found) == ["a.shown.", "b.shown."]
    assert found.answer[0].rdatas == (from_text("b.hidden"),)


def test_rules_are_undone_in_reverse_order() -> None:
    rules = name("suffix", ".one.", ".two.", auto=True, stop=False), name("suffix", ".two.", ".three.", auto=True)
    found = done("a.one", *rules).reverter.revert(Lookup(0, (target("a.three", "b.three"), address("b.three"))))
    assert owners(found) == ["a.one.", "b.one."]


def test_the_asked_name_comes_back_through_rules_with_auto_and_without() -> None:
    rules = name("suffix", ".one.", ".two.", stop=False), name("prefix", "a.", "b.", auto=True)
    assert owners(done("a.one", *rules).reverter.revert(Lookup(0, (address("b.two"),)))) == ["a.one."]
    assert owners(done("a.one", *rules[::-1]).reverter.revert(Lookup(0, (address("b.one"),)))) == ["a.one."]


def test_names_that_are_not_rewritten_keep_their_letter_case() -> None:
    rewritten = done("a.example", name("suffix", ".example.", ".test.", auto=True))
    mixed = RRset(b"\x01a\x04TEST\0", CNAME, 5, (b"\x05Other\x03ORG\0",))
    [rrset] = rewritten.reverter.revert(Lookup(0, (mixed,))).answer
    assert rrset.owner == from_text("a.example")
    assert rrset.rdatas == (b"\x05Other\x03ORG\0",)


def test_a_name_that_would_be_none_stays_as_it_is() -> None:
    rule = name("exact", "a.example.", "b.test.", AnswerRewrite(AnswerField.VALUE, ".*", "{0}." + "x" * 64 + "."))
    found = done("a.example", rule).reverter.revert(Lookup(0, (target("b.test", "c.test"),)))
    assert found.answer[0].rdatas == (from_text("c.test"),)


@pytest.mark.parametrize(("rrtype", "text", "new"), [
    ("CNAME", "x.test.", "x.example."), ("DNAME", "x.test.", "x.example."), ("NS", "x.test.", "x.example."),
    ("MX", "10 x.test.", "10 x.example."), ("SRV", "0 1 80 x.test.", "0 1 80 x.example."),
    ("NAPTR", '1 2 "s" "SIP+D2U" "" x.test.', '1 2 "s" "SIP+D2U" "" x.example.'),
    ("SOA", "x.test. y.test. 1 2 3 4 5", "x.example. y.test. 1 2 3 4 5"),
    ("PTR", "x.test.", "x.test."), ("TXT", '"x.test."', '"x.test."'), ("A", "192.0.2.1", "192.0.2.1"),
])
def test_names_are_found_in_the_rdata_of_the_types_that_coredns_rewrites(rrtype: str, text: str, new: str) -> None:
    rdata = dns.rdata.from_text(dns.rdataclass.IN, rrtype, text)
    wire = rdata.to_wire()
    assert wire is not None
    rewritten = done("a.example", name("suffix", ".example.", ".test.", auto=True))
    changed = rewritten.reverter.rdata(int(rdata.rdtype), wire)
    assert str(dns.rdata.from_wire(dns.rdataclass.IN, rdata.rdtype, changed, 0, len(changed))) == new


@pytest.mark.parametrize(("ttl", "bounds", "new"), [
    (5, (30, 60), 30), (90, (30, 60), 60), (45, (30, 60), 45), (7, (0, 0), 0),
])
def test_ttls_are_brought_between_the_bounds(ttl: int, bounds: tuple[int, int], new: int) -> None:
    rewritten = done("a.example", TtlRewrite(NameMatch(MatchKind.SUFFIX, ".example."), *bounds))
    reply = Lookup(0, (address("a.example", ttl),), additional=(address("b.example", ttl),))
    found = rewritten.reverter.revert(reply)
    assert [rrset.ttl for rrset in (*found.answer, *found.additional)] == [new, new]


def test_the_ttl_of_a_denial_is_rewritten_too() -> None:
    zone = hosts_zones(0, HostsSpec((from_text("example"),)), ()).zones[from_text("example")]
    rewritten = done("a.example", TtlRewrite(NameMatch(MatchKind.SUFFIX, ".example."), 30, 60))
    found = rewritten.reverter.revert(Lookup(Rcode.NXDOMAIN, denial=Denial(zone, 5)))
    assert found.denial == Denial(zone, 30)
    assert found.authority == ()


def test_a_soa_that_is_renamed_is_written_out_and_the_reply_is_not_kept() -> None:
    zone = hosts_zones(0, HostsSpec((from_text("test"),)), [HostsEntry(ADDRESS, ())]).zones[from_text("test")]
    rewritten = done("a.b.example", name("suffix", "example.", "test.", auto=True))
    found = rewritten.reverter.revert(Lookup(Rcode.NXDOMAIN, denial=Denial(zone, 5)))
    [soa] = found.authority
    assert (soa.owner, soa.rrtype, soa.ttl, soa.rdatas) == (from_text("example"), SOA, 5, zone.soa.rdatas)
    assert found.denial is None
    assert not found.lasting


def test_an_rcode_is_rewritten_for_names_that_match() -> None:
    rule = RcodeRewrite(NameMatch(MatchKind.SUFFIX, ".example."), Rcode.SERVFAIL, Rcode.NXDOMAIN)
    reverter = done("a.example", rule).reverter
    assert reverter.revert(Lookup(Rcode.SERVFAIL)).rcode == Rcode.NXDOMAIN
    assert reverter.revert(Lookup(Rcode.REFUSED)).rcode == Rcode.REFUSED
    assert rewrite("a.other", rule) is None


def test_an_alias_that_leads_elsewhere_cuts_the_answer_off() -> None:
    rule = CnameRewrite(NameMatch(MatchKind.SUFFIX, ".cdn.net."), ".mirror.example.")
    answer = (target("a.example", "b.example"), target("b.example", "x.cdn.net"), address("x.cdn.net"))
    redirection = done("a.example", rule).reverter.redirected(Lookup(0, answer))
    assert redirection is not None
    assert redirection.target == from_text("x.mirror.example")
    assert redirection.answer == (answer[0], target("b.example", "x.mirror.example"))


def test_an_answer_without_such_an_alias_is_not_redirected() -> None:
    rule = CnameRewrite(NameMatch(MatchKind.EXACT, "x.cdn.net."), "mirror.example.")
    reverter = done("a.example", rule).reverter
    assert reverter.redirected(Lookup(0, (target("a.example", "y.cdn.net"),))) is None
    assert reverter.redirected(Lookup(0, (address("a.example"),))) is None
    other = done("a.example", TypeRewrite(A, A)).reverter
    assert other.redirected(Lookup(0, (target("a.example", "x.cdn.net"),))) is None


def test_an_expression_that_is_none_is_refused_when_it_is_compiled() -> None:
    with pytest.raises(PatternError):
        Rewriter([name("regex", "(", "x.")])


def test_a_name_written_with_escapes_beyond_the_bound_is_not_searched() -> None:
    odd = join([b"\xff" * 63] * 3)
    rule = name("regex", ".*", "caught.")
    assert len(to_text(odd)) > MAX_NAME_OCTETS
    assert Rewriter([rule]).rewrite(odd, A, IN) is None
    assert new_name("plain.example", rule) == "caught."


def test_a_group_that_the_expression_has_not_stays_as_it_is_written() -> None:
    rewritten = done("a.example", name("regex", "(a)", "x{7}{1}.example."))
    assert rewritten.qname == join([b"x{7}a", b"example"])


LABEL = st.sampled_from(["a", "b", "web", "example", "test", "x-y"])
NAME = st.lists(LABEL, min_size=1, max_size=4).map(lambda labels: ".".join(labels) + ".")
RULES = st.builds(
    lambda kind, pattern, to, auto, stop: name(kind, pattern, to, auto=auto, stop=stop),
    st.sampled_from(["exact", "prefix", "suffix", "substring"]), NAME, NAME, st.booleans(), st.booleans(),
)


@given(NAME, st.lists(RULES, min_size=1, max_size=4))
def test_reverting_what_was_rewritten_gives_the_asked_name(asked: str, rules: list[NameRewrite]) -> None:
    rewritten = rewrite(asked, *rules)
    if rewritten is None or rewritten.failure:
        return
    found = rewritten.reverter.revert(Lookup(0, (RRset(rewritten.qname, A, 5, (ADDRESS,)),)))
    assert found.answer[0].owner == from_text(asked)


@given(NAME, NAME, NAME, NAME)
def test_a_suffix_is_undone_for_every_name_that_has_the_new_one(left: str, other: str, old: str, new: str) -> None:
    rule = name("suffix", "." + old, "." + new, auto=True)
    rewritten = done(left + old, rule)
    reply = Lookup(0, (target(to_text(rewritten.qname), other + new), address(other + new)))
    found = rewritten.reverter.revert(reply)
    assert owners(found) == [left + old, other + old]
    assert found.answer[0].rdatas == (from_text(other + old),)


@given(st.binary(min_size=1, max_size=63), st.sampled_from([A, NS, PTR, TXT]), st.lists(RULES, max_size=3))
def test_any_name_is_rewritten_without_raising(label: bytes, qtype: int, rules: list[NameRewrite]) -> None:
    asked = join([label.lower(), b"example"])
    rewritten = Rewriter(rules).rewrite(asked, qtype, IN)
    assert rewritten is None or rewritten.failure or rewritten.reverter.owner(rewritten.qname) == asked
