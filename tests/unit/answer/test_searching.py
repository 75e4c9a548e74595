"""`autopath` as a Corefile has it: a pod's search list is walked in one go, over the cluster and names outside."""

from __future__ import annotations

import msgspec
import pytest

from kdns.answer.outside import Pending
from kdns.corefile import CorefileError
from kdns.observe.families import AUTOPATH_SUCCESS, RESPONSES
from kdns.wire.iana import EDE
from kdns.wire.outside import Source, Told
from tests.support.corefiles import answered, dig, served_by
from tests.support.engines import Served
from tests.support.forwarding import SHED, answering
from tests.support.messages import Answer, mixed_case, opt, query
from tests.support.shop import SUBTREES
from tests.support.subtrees import alias, service

SUFFIX = "shop.svc.cluster.local"
WWW = f"www.example.org.{SUFFIX}"
ADDRESS = "www.example.org. 300 A 192.0.2.80"


def pods(*lines: str, resolv_conf: str = "", more: str = "", autopath: str = "autopath @kubernetes") -> Served:
    body = "\n".join((autopath, "kubernetes cluster.local in-addr.arpa", *lines, "forward . 192.0.2.53", "cache"))
    return served_by(f". {{\n{body}\n}}\n{more}", *SUBTREES, resolv_conf=resolv_conf)


def public(name: str, qtype: int) -> list[str] | None:
    """The world outside: www.example.org has an address, no other name exists."""
    return None if name != "www.example.org." else [ADDRESS] if qtype == 1 else []


def test_a_name_outside_is_answered_in_one_round_trip() -> None:
    served = pods()
    reply, asked = dig(served, WWW, outside=public)
    assert asked == ["www.example.org."]
    assert reply.answer == [f"{WWW}. 5 CNAME www.example.org.", ADDRESS]
    assert (reply.rcode, reply.question) == ("NOERROR", f"{WWW}. IN A")
    assert dig(served, WWW, "AAAA", public)[0].answer == [f"{WWW}. 5 CNAME www.example.org."]


def test_without_the_directive_the_client_walks_its_list_itself() -> None:
    served = pods(autopath="")
    reply, asked = dig(served, WWW, outside=public)
    assert (reply.rcode, asked) == ("NXDOMAIN", [])


def test_what_the_cluster_has_is_answered_as_without_the_directive() -> None:
    plain, walking = pods(autopath=""), pods()
    below = [f"{name}.{SUFFIX}" for name in ("web", "nope", "db-0.db", "db-9.db", "_x._tcp.web", "nobody", "in")]
    for qname in (*below, SUFFIX, "cluster.local", "www.example.org.none.svc.cluster.local"):
        one, other = plain.dig(qname, edns=opt()), walking.dig(qname, edns=opt())
        assert (one.rcode, sorted(one.answer), one.soa, one.ede) == (
            other.rcode, sorted(other.answer), other.soa, other.ede)
        assert one.flags == other.flags


def test_replies_for_what_the_cluster_has_are_kept() -> None:
    served = pods()
    served.dig(f"web.{SUFFIX}")
    assert served.kept == 1
    served.apply(service("web.shop", "10.0.0.9"))
    assert served.dig(f"web.{SUFFIX}").rdata == ["10.0.0.9"]


def test_a_service_of_another_namespace_needs_nobody_outside() -> None:
    served = pods()
    reply, asked = dig(served, "web.shop.default.svc.cluster.local")
    assert asked == []
    assert reply.rdata == ["web.shop.svc.cluster.local.", "10.0.0.1"]
    served.apply(service("web.shop", "10.0.0.9"))
    assert dig(served, "web.shop.default.svc.cluster.local")[0].rdata[-1] == "10.0.0.9"


def test_a_service_that_comes_to_exist_is_answered_at_once() -> None:
    served = pods()
    assert dig(served, WWW, outside=public)[0].rdata[-1] == "192.0.2.80"
    served.apply(service("org.shop", "10.0.0.8"))
    reply, asked = dig(served, f"org.{SUFFIX}", outside=public)
    assert (reply.rdata, asked) == (["10.0.0.8"], [])


def test_the_search_domains_of_the_node_are_asked_in_their_order_and_one_at_a_time() -> None:
    served = pods(resolv_conf="search corp.example eu.example\n")
    reply, asked = dig(served, WWW, outside=public)
    assert asked == ["www.example.org.corp.example.", "www.example.org.eu.example.", "www.example.org."]
    assert reply.rdata[-1] == "192.0.2.80"
    reply, asked = dig(served, WWW, outside=lambda name, _: [f"{name} 9 A 192.0.2.9"])
    assert asked == ["www.example.org.corp.example."]
    assert reply.rdata == ["www.example.org.corp.example.", "192.0.2.9"]


def makers(served: Served) -> dict[tuple[str, str], int]:
    """Replies by rcode and by the directive that is told to have made them, and successes of `autopath`."""
    found = {(rcode, plugin): count for (*_, rcode, plugin), count in served.counting.told(RESPONSES).items()}
    successes = served.counting.told(AUTOPATH_SUCCESS)
    return found | {("success", server): count for (server,), count in successes.items()}


@pytest.mark.parametrize(
    ("qname", "told"),
    [
        (WWW, {("NOERROR", "autopath"): 1, ("success", "0"): 1}),  # by its own name, outside
        ("web.shop.default.svc.cluster.local", {("NOERROR", "autopath"): 1, ("success", "0"): 1}),
        (f"no.such.{SUFFIX}", {("NXDOMAIN", "autopath"): 1}),
        (f"web.{SUFFIX}", {("NOERROR", "kubernetes"): 1}),  # there is no walk
        (f"nope.{SUFFIX}", {("NXDOMAIN", "kubernetes"): 1}),
        ("www.example.org", {("NOERROR", "forward"): 1}),
        ("not.example.org", {("NXDOMAIN", "forward"): 1}),
    ],
)
def test_what_was_found_on_a_walk_counts_as_a_success(qname: str, told: dict[tuple[str, str], int]) -> None:
    served = pods()
    dig(served, qname, outside=public)
    assert makers(served) == told


def test_a_name_found_with_the_search_list_of_a_file_is_a_success_too() -> None:
    served = file_of()
    reply, asked = dig(served, "www.example.org.one.test", outside=public)
    assert (reply.rcode, asked[-1]) == ("NOERROR", "www.example.org.")
    assert makers(served) == {("NOERROR", "autopath"): 1, ("success", "0"): 1}
    dig(served, "no.such.one.test", outside=public)
    assert makers(served)["NXDOMAIN", "forward"] == 1, "it was asked outside, and denied there"


@pytest.mark.parametrize("resolv_conf", ["", "search corp.example\n"])
def test_where_no_name_exists_the_asked_one_is_denied_by_the_cluster(resolv_conf: str) -> None:
    reply, asked = dig(pods(resolv_conf=resolv_conf), f"no.such.{SUFFIX}")
    assert asked[-1] == "no.such."
    assert (reply.rcode, reply.soa, reply.answer) == ("NXDOMAIN", "cluster.local. 5 1000 5", [])
    assert "AA" in reply.flags


def test_a_name_that_cannot_be_resolved_is_servfail_at_once() -> None:
    served = pods(resolv_conf="search corp.example\n")
    failed = Told(0, 2, 0, b"", (0, 0, 0), source=Source.FAILURE, ede=EDE.NETWORK_ERROR, text="dead")
    reply, asked = answered(served, query(WWW, edns=opt()), lambda *_: failed)
    assert (reply.rcode, asked) == ("SERVFAIL", ["www.example.org.corp.example."])
    assert reply.ede == [(EDE.NETWORK_ERROR, "dead")]


def test_shed_in_the_middle_it_is_servfail() -> None:
    pending = pods(resolv_conf="search corp.example\n").pend(query(WWW))
    following = pending.finish(answering(pending.ask, rcode="NXDOMAIN"))
    assert isinstance(following, Pending)
    reply = following.finish(SHED)
    assert isinstance(reply, bytes)
    assert Answer(reply).rcode == "SERVFAIL"


def test_nothing_of_a_walk_is_kept() -> None:
    served = pods()
    for _ in range(2):
        pending = served.pend(query(WWW))
        pending.finish(msgspec.structs.replace(answering(pending.ask, ADDRESS), keep=300))
    dig(served, f"no.such.{SUFFIX}")
    assert served.kept == 0
    assert not served.responder.table.denials


@pytest.mark.parametrize("edns", [b"", opt()])
@pytest.mark.parametrize("tcp", [False, True])
def test_the_question_is_echoed_as_it_was_sent(edns: bytes, tcp: bool) -> None:
    message = query(mixed_case(WWW), edns=edns)
    reply, _ = answered(pods(), message, public, tcp)
    assert reply.wire[12 : 12 + len(WWW) + 6] == message[12 : 12 + len(WWW) + 6]
    assert reply.has_edns == bool(edns)


# Server blocks, and other directives


def test_a_stub_domain_is_asked_of_its_own_upstreams() -> None:
    served = pods(more="corp.test {\nforward . 192.0.2.54\n}\n")
    pending = served.pend(query(f"wiki.corp.test.{SUFFIX}"))
    assert pending.ask.group == 1


def test_a_name_that_its_block_refuses_ends_the_walk_with_the_denial() -> None:
    served = pods(more="closed.test {\n}\n")
    reply, asked = dig(served, f"a.closed.test.{SUFFIX}")
    assert (reply.rcode, asked) == ("NXDOMAIN", [])


def test_a_name_of_the_walk_is_rewritten_as_if_the_client_had_asked_for_it() -> None:
    served = pods("rewrite name www.example.org web.shop.svc.cluster.local", "rewrite ttl regex . 9")
    reply, asked = dig(served, WWW, outside=public)
    assert (reply.answer[1:], asked) == (["www.example.org. 9 A 10.0.0.1"], [])
    assert dig(served, f"other.example.org.{SUFFIX}")[1] == ["other.example.org."]


def test_ttls_on_the_walk_are_those_of_the_name_by_itself() -> None:
    served = pods("rewrite ttl suffix .example.org. 7")
    assert dig(served, "www.example.org", outside=public)[0].answer == ["www.example.org. 7 A 192.0.2.80"]
    assert dig(served, WWW, outside=public)[0].answer[1:] == ["www.example.org. 7 A 192.0.2.80"]


def test_an_extended_error_of_a_template_is_told() -> None:
    served = pods('template ANY ANY test {\nrcode NXDOMAIN\nederror 15 policy\n}', "rewrite cname a.test b.test")
    assert served.dig("a.test", edns=opt()).ede == [(15, "policy")]


def test_a_name_of_a_template_is_found_in_the_walk() -> None:
    served = pods('template IN A test {\nanswer "{{ .Name }} 60 IN A 192.0.2.7"\n}')
    reply, asked = dig(served, f"a.b.test.{SUFFIX}")
    assert (reply.rdata, asked) == (["a.b.test.", "192.0.2.7"], [])


def test_an_alias_of_the_cluster_that_leads_outside_is_found_in_the_walk() -> None:
    served = pods()
    reply, asked = dig(served, "out.shop.default.svc.cluster.local", outside=public)
    assert asked == ["www.example.org."]
    assert reply.rdata == ["out.shop.svc.cluster.local.", "www.example.org.", "192.0.2.80"]


def test_an_alias_that_leads_nowhere_is_passed_over() -> None:
    served = pods()
    reply, asked = dig(served, "out.shop.default.svc.cluster.local")
    assert asked == ["www.example.org.", "out.shop."]
    assert (reply.rcode, reply.answer) == ("NXDOMAIN", [])


def test_what_rewrite_made_of_the_question_is_walked_and_the_reply_is_to_the_asked_name() -> None:
    served = pods("rewrite name suffix .pod. .shop.svc.cluster.local. answer auto")
    reply, asked = dig(served, "www.example.org.pod", outside=public)
    assert asked == ["www.example.org."]
    assert reply.answer == ["www.example.org.pod. 5 CNAME www.example.org.", ADDRESS]


def test_transfers_other_classes_and_aliases_themselves_are_left_alone() -> None:
    served = pods()
    assert served.dig(WWW, "CNAME").rcode == "NXDOMAIN"
    assert served.dig(WWW, "AXFR").rcode == "REFUSED"
    assert served.dig(WWW, qclass=3).rcode == "REFUSED"


def test_a_cluster_that_is_not_known_yet_says_servfail() -> None:
    served = pods()
    served.apply(lacks=1)
    assert served.dig(WWW).rcode == "SERVFAIL"


def test_denials_are_still_shared_outside_the_zones_of_the_directive() -> None:
    served = pods(autopath="autopath cluster.local @kubernetes")
    for at in range(3):
        assert served.dig(f"{at}.9.9.10.in-addr.arpa", "PTR").rcode == "NXDOMAIN"
    assert len(served.responder.table.denials) == 1


# The search list of a file


def file_of(resolv_conf: str = "search one.test two.test\n") -> Served:
    return pods(autopath="autopath /etc/resolv.conf", resolv_conf=resolv_conf)


def test_a_name_below_the_first_search_domain_of_a_file_is_walked() -> None:
    reply, asked = dig(file_of(), "www.example.org.one.test", outside=public)
    assert asked == ["www.example.org.one.test.", "www.example.org.two.test.", "www.example.org."]
    assert reply.answer == ["www.example.org.one.test. 5 CNAME www.example.org.", ADDRESS]


def test_the_denial_that_was_told_is_the_answer_if_no_name_exists() -> None:
    served = file_of()

    def denied(name: str, _: int) -> Told:
        return answering(served.pend(query(name)).ask, rcode="NXDOMAIN", authority=[f"{name} 60 SOA a. b. 1 2 3 4 5"])

    reply, asked = dig(served, "no.such.one.test", outside=denied)
    assert asked == ["no.such.one.test.", "no.such.two.test.", "no.such."]
    assert (reply.rcode, reply.soa, reply.answer) == ("NXDOMAIN", "no.such.one.test. 60 1 5", [])


def test_a_name_that_exists_below_the_first_search_domain_is_itself() -> None:
    reply, asked = dig(file_of(), "www.example.one.test", outside=lambda name, _: [f"{name} 9 A 192.0.2.1"])
    assert (reply.answer, asked) == (["www.example.one.test. 9 A 192.0.2.1"], ["www.example.one.test."])


@pytest.mark.parametrize("qname", ["www.example.org.two.test", "www.one.test", "example.org"])
def test_other_names_are_answered_as_they_are(qname: str) -> None:
    assert dig(file_of(), qname)[1] == [f"{qname}."]


def test_a_file_that_cannot_be_read_is_refused_with_its_place() -> None:
    with pytest.raises(CorefileError, match=r"^Corefile:2:1: `autopath` cannot read /nowhere: "):
        served_by(". {\nautopath /nowhere\nwhoami\n}\n")


def test_a_bug_in_the_middle_of_a_walk_is_servfail(monkeypatch: pytest.MonkeyPatch) -> None:
    served = pods(resolv_conf="search corp.example\n")
    failures: list[Exception] = []
    monkeypatch.setattr(served.responder._outside, "_on_failure", lambda error, _: failures.append(error))
    pending = served.pend(query(WWW))
    monkeypatch.setattr(served.responder._steps._searcher, "_target", None)
    reply = pending.finish(answering(pending.ask, rcode="NXDOMAIN"))
    assert isinstance(reply, bytes)
    assert Answer(reply).rcode == "SERVFAIL"
    assert len(failures) == 1


def test_an_alias_service_can_be_made_and_unmade_beside_a_walk() -> None:
    served = pods()
    served.apply(alias("to.shop", "www.example.org"))
    assert dig(served, f"to.{SUFFIX}", outside=public)[0].rdata == ["www.example.org.", "192.0.2.80"]
