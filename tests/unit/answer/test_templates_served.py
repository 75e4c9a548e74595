"""`template` as a Corefile has it, in the place where CoreDNS asks it: before hosts, clusters and zone files."""

from __future__ import annotations

import pytest

from kdns.answer.outside import Pending
from kdns.answer.template import ANSWERS_KEPT
from kdns.corefile import CorefileError
from kdns.wire.iana import EDE
from tests.support.corefiles import dig, served_by
from tests.support.engines import Served
from tests.support.forwarding import answering
from tests.support.messages import Answer, opt, query
from tests.support.shop import SUBTREES

IP = r'match (^|[.])ip-(?P<a>[0-9]*)-(?P<b>[0-9]*)-(?P<c>[0-9]*)-(?P<d>[0-9]*)[.]example[.]$'
ANSWER = 'answer "{{ .Name }} 60 IN A {{ .Group.a }}.{{ .Group.b }}.{{ .Group.c }}.{{ .Group.d }}"'


def block(*lines: str, zones: str = ".", rest: str = "") -> Served:
    return served_by(f"{zones} {{\n" + "\n".join(lines) + f"\nkubernetes cluster.local\n{rest}\n}}\n", *SUBTREES)


# The examples of CoreDNS's documentation


def test_everything_does_not_exist() -> None:
    served = block("template ANY ANY {\nrcode NXDOMAIN\n}")
    for qtype in ("A", "MX", "TYPE1000"):
        assert served.dig("www.example.com", qtype).rcode == "NXDOMAIN"


def test_a_top_level_domain_that_never_is() -> None:
    served = block('template ANY ANY invalid {\nrcode NXDOMAIN\n'
                   'authority "invalid. 60 {{ .Class }} SOA ns.invalid. hostmaster.invalid. (1 60 60 60 60)"\n'
                   'ederror 21 "Blocked according to RFC2606"\n}')
    reply = served.dig("web.invalid", edns=opt())
    assert (reply.rcode, reply.soa, reply.ede) == (
        "NXDOMAIN", "invalid. 60 1 60", [(21, "Blocked according to RFC2606")])
    assert "AA" in reply.flags
    assert served.dig("web.shop.svc.cluster.local").rdata == ["10.0.0.1"]


def test_addresses_that_names_tell() -> None:
    served = block(f"template IN A example {{\n{IP}\n{ANSWER}\nfallthrough\n}}")
    assert served.dig("a.ip-10-95-12-8.example").answer == ["a.ip-10-95-12-8.example. 60 A 10.95.12.8"]
    assert served.dig("www.example").rcode == "REFUSED"  # passed on, and nothing else has it
    assert served.dig("ip-10-95-12-8.example", "AAAA").rcode == "REFUSED"


def test_numbers_of_another_base() -> None:
    served = block('template IN A example {\n'
                   r'match "^ip0a(?P<b>[a-f0-9]{2})(?P<c>[a-f0-9]{2})(?P<d>[a-f0-9]{2})[.]example[.]$"' "\n"
                   'answer "{{ .Name }} 60 IN A 10.{{ parseInt .Group.b 16 8 }}.{{ parseInt .Group.c 16 8 }}.'
                   '{{ parseInt .Group.d 16 8 }}"\nfallthrough\n}')
    assert served.dig("ip0a5f0c09.example").rdata == ["10.95.12.9"]


def test_the_other_direction_and_several_sections() -> None:
    served = block(
        'template IN PTR in-addr.arpa {\n'
        r'match ^(?P<d>[0-9]*)[.](?P<c>[0-9]*)[.](?P<b>[0-9]*)[.]10[.]in-addr[.]arpa[.]$' '\n'
        'answer "{{ .Name }} 60 IN PTR ip-10-{{ .Group.b }}-{{ .Group.c }}-{{ .Group.d }}.example."\n}',
        f'template IN MX example {{\n{IP}\nanswer "{{{{ .Name }}}} 60 IN MX 10 {{{{ .Name }}}}"\n'
        f'additional "{{{{ .Name }}}} 60 IN A {{{{ .Group.a }}}}.{{{{ .Group.b }}}}.{{{{ .Group.c }}}}.'
        '{{ .Group.d }}"\n'
        'authority "example. 60 IN NS ns0.example."\nauthority "example. 60 IN NS ns1.example."\n}',
    )
    assert served.dig("8.12.95.10.in-addr.arpa", "PTR").rdata == ["ip-10-95-12-8.example."]
    reply = served.dig("ip-10-95-12-8.example", "MX")
    assert reply.rdata == ["10 ip-10-95-12-8.example."]
    assert reply.additional == ["ip-10-95-12-8.example. 60 A 10.95.12.8"]
    assert sorted(reply.authority) == ["example. 60 NS ns0.example.", "example. 60 NS ns1.example."]


# Their place


def test_a_template_comes_before_the_cluster_and_is_not_cut_off_by_its_denials() -> None:
    served = block('template IN A cluster.local {\nmatch ^gone\nanswer "{{ .Name }} 5 A 192.0.2.7"\nfallthrough\n}')
    for qname in ("nope.shop.svc.cluster.local", "nope.shop.svc.cluster.local", "gone.shop.svc.cluster.local"):
        expected = ["192.0.2.7"] if qname.startswith("gone") else []
        assert served.dig(qname).rdata == expected
    assert served.dig("web.shop.svc.cluster.local").rdata == ["10.0.0.1"]
    assert not served.responder.table.denials


def test_a_template_elsewhere_leaves_denials_shared() -> None:
    served = block("template ANY ANY invalid {\nrcode NXDOMAIN\n}")
    for at in range(3):
        assert served.dig(f"n{at}.shop.svc.cluster.local").rcode == "NXDOMAIN"
    assert len(served.responder.table.denials) == 1


def test_a_template_is_asked_for_what_rewrite_made_of_the_question() -> None:
    served = block('template IN A tpl {\nanswer "{{ .Name }} 5 IN A 192.0.2.7"\n}',
                   "rewrite name suffix .test. .tpl. answer auto")
    assert served.dig("a.test").answer == ["a.test. 5 A 192.0.2.7"]


def test_a_class_of_its_own() -> None:
    served = block('template CH ANY {\nrcode REFUSED\n}', 'template CH TXT version {\nrcode NXDOMAIN\n}')
    assert served.dig("version.bind", "TXT", qclass=3).ede == []
    assert served.dig("web.shop.svc.cluster.local").rdata == ["10.0.0.1"]


def test_a_record_that_cannot_be_made_is_servfail_with_why() -> None:
    served = block(f"template IN A example {{\n{IP}\n{ANSWER}\n}}")
    for qname, text in (("ip-1-2-3-999.example", "cannot be made"), ("www.example", "no expression")):
        reply = served.dig(qname, edns=opt())
        assert (reply.rcode, reply.ede[0][0]) == ("SERVFAIL", EDE.OTHER)
        assert text in reply.ede[0][1]


@pytest.mark.parametrize("lines", [
    'match "(a"', 'match \\pL', 'answer "{{ if .Remote }} 5 IN A 192.0.2.1"', 'answer "{{ .Nope }} 5 IN A 192.0.2.1"',
    'match ^(?P<a>.)\nanswer "{{ .Name }} 5 IN A 1.2.3.{{ parseInt .Group.a 99 8 }}"',
    'match ^(?P<a>.)\nanswer "{{ .Name }} 5 IN A 1.2.3.{{ parseInt .Group.b 16 8 }}"',
])
def test_what_cannot_be_served_is_refused_with_its_place(lines: str) -> None:
    with pytest.raises(CorefileError, match=r"^Corefile:[2-5]:"):
        block(f"template IN A {{\n{lines}\n}}")


# Aliases


def test_an_alias_is_followed_into_the_cluster_and_into_other_templates() -> None:
    served = block('template IN ANY test {\nanswer "{{ .Name }} 60 IN CNAME web.shop.svc.cluster.local."\n}',
                   'template IN A twice {\nanswer "{{ .Name }} 60 IN CNAME {{ .Name }}test."\n}',
                   'template IN A round {\nanswer "{{ .Name }} 60 IN CNAME {{ .Name }}"\n}')
    assert served.dig("a.test").answer == [
        "a.test. 60 CNAME web.shop.svc.cluster.local.", "web.shop.svc.cluster.local. 5 A 10.0.0.1"]
    assert served.dig("a.test", "CNAME").rdata == ["web.shop.svc.cluster.local."]
    assert served.dig("a.twice").rdata == ["a.twice.test.", "web.shop.svc.cluster.local.", "10.0.0.1"]
    assert served.dig("a.round").rdata == ["a.round."]


def test_an_alias_to_outside_waits_for_it() -> None:
    served = block('template IN A test {\nanswer "{{ .Name }} 60 IN CNAME www.example.net."\n}',
                   rest="forward . 192.0.2.53")
    reply, asked = dig(served, "a.test", outside=lambda *_: ["www.example.net. 30 A 192.0.2.1"])
    assert asked == ["www.example.net."]
    assert reply.rdata == ["www.example.net.", "192.0.2.1"]
    assert dig(served, "a.test")[0].rcode == "NXDOMAIN"


# What is kept


def test_names_made_up_at_random_take_no_place_among_kept_replies() -> None:
    served = block('template IN A test {\nanswer "{{ .Name }} 5 IN A 192.0.2.7"\n}')
    for at in range(50):
        assert served.dig(f"n{at}.test").rdata == ["192.0.2.7"]
    assert served.kept == 0
    assert ANSWERS_KEPT < 65536


def test_the_question_is_echoed_as_it_was_sent() -> None:
    served = block('template IN A test {\nanswer "{{ .Name }} 5 IN A 192.0.2.7"\n}')
    message = query(b"\x05HeLLo\x04TeST\x00")
    reply = served.ask(message)
    assert reply is not None
    assert reply[12:28] == message[12:28]


# What depends on who asks


def test_a_reply_that_names_the_client_is_kept_nowhere() -> None:
    served = block('template IN A test {\nanswer "{{ .Name }} 60 IN A {{ .Remote }}"\n}', "cache 30")
    for last in (1, 2, 1):
        reply = served.responder.respond(query("a.test"), (bytes((192, 0, 2, last)), 5353), False)
        assert isinstance(reply, bytes)
        assert Answer(reply).rdata == [f"192.0.2.{last}"]
    assert served.kept == 0


def test_an_alias_made_of_the_client_leads_each_one_elsewhere() -> None:
    served = block('template IN A who {\nanswer "{{ .Name }} 60 IN CNAME {{ .Remote }}.out."\n}',
                   rest="forward . 192.0.2.53\ncache 30")
    for last in (1, 2, 1):
        pending = served.responder.respond(query("a.who"), (bytes((192, 0, 2, last)), 5353), False)
        assert isinstance(pending, Pending)
        reply = pending.finish(answering(pending.ask, f"192.0.2.{last}.out. 30 A 198.51.100.{last}"))
        assert isinstance(reply, bytes)
        assert Answer(reply).rdata == [f"192.0.2.{last}.out.", f"198.51.100.{last}"]
    assert served.kept == 0


def test_the_letters_of_the_question_are_those_that_were_sent_unless_rewrite_has_made_another() -> None:
    served = block('template IN TXT test {\nanswer "x.test. 5 IN TXT {{ .Question.Name }}"\n}',
                   "rewrite name suffix .old. .test.")
    for qname, letters in ((b"\x01A\x04TesT\x00", "A.TesT."), (b"\x01a\x04tESt\x00", "a.tESt."),
                           (b"\x01A\x03OLD\x00", "a.test.")):
        reply = served.ask(query(qname, "TXT"))
        assert reply is not None
        assert Answer(reply).rdata == [f'"{letters}"']
