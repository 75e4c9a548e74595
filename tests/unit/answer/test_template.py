"""`template`: which template answers, and what stands in the gaps of its records."""

from __future__ import annotations

from typing import Any

import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.answer.pattern import PatternError
from kdns.answer.template import ParseRecord, Sender, Templated, Templates, TemplateSpec
from kdns.wire.iana import Rcode, RRType
from kdns.wire.name import ROOT, from_text, join, to_text
from kdns.zone.gaps import GapError
from kdns.zone.recordtext import parse_record
from kdns.zone.rrset import RRset
from tests.support.messages import AAAA, ANY, PTR, A
from tests.support.subtrees import packed

ORG = from_text("example.org")
IN, CH = 1, 3
SENDER = Sender(packed("192.0.2.99"), 4711, from_text("WwW.example.org"))
IP = r"^ip-(?P<a>[0-9]+)-(?P<b>[0-9]+)-(?P<c>[0-9]+)-(?P<d>[0-9]+)\.example\.org\.$"
SOA = "example.org. 60 IN SOA ns.example.org. hostmaster.example.org. 1 3600 600 86400 60"


def ask(name: str | bytes, *specs: TemplateSpec, qtype: int = A, qclass: int = IN,
        reader: ParseRecord = parse_record, sender: Sender = SENDER) -> Templated | None:
    qname = name if isinstance(name, bytes) else from_text(name)
    return Templates(specs, reader).answer(qname, qtype, qclass, sender)


def answered(name: str | bytes, *specs: TemplateSpec, qtype: int = A) -> list[str]:
    templated = ask(name, *specs, qtype=qtype)
    assert templated is not None
    assert templated.found.rcode == Rcode.NOERROR, templated.found.note
    return [shown(rrset) for rrset in templated.found.answer]


def shown(rrset: RRset) -> str:
    values = " ".join(
        ".".join(map(str, rdata)) if rrset.rrtype == A else rdata[1:].decode("latin-1") for rdata in rrset.rdatas
    )
    rrtype = dns.rdatatype.to_text(dns.rdatatype.RdataType(rrset.rrtype))
    return f"{to_text(rrset.owner)} {rrset.ttl} {rrtype} {values}"


def template(answer: str | tuple[str, ...] = "{{ .Name }} 60 IN A 192.0.2.1", *match: str,
             zones: tuple[bytes, ...] = (ORG,), **rest: Any) -> TemplateSpec:
    answers = (answer,) if isinstance(answer, str) else answer
    return TemplateSpec(zones, match=match, answer=answers, **rest)


def failure(templated: Templated | None) -> str:
    assert templated is not None
    assert templated.found.rcode == Rcode.SERVFAIL
    assert not templated.found.authoritative
    return templated.found.note


def test_without_an_expression_every_name_of_the_zones_is_answered() -> None:
    assert answered("a.b.example.org", template()) == ["a.b.example.org. 60 A 192.0.2.1"]
    assert ask("a.example.net", template()) is None


def test_named_and_numbered_groups_stand_in_gaps() -> None:
    by_name = template("{{ .Name }} 60 IN A {{ .Group.a }}.{{ .Group.b }}.{{ .Group.c }}.{{ .Group.d }}", IP)
    numbers = "{{index .Match 1}}.{{ index .Match 2 }}.{{ index .Match 3 }}.{{index .Match  4}}"
    by_number = template("{{.Name}} 60 IN A " + numbers, IP)
    expected = ["ip-10-1-2-3.example.org. 60 A 10.1.2.3"]
    assert answered("ip-10-1-2-3.example.org", by_name) == expected
    assert answered("ip-10-1-2-3.example.org", by_number) == expected


def test_all_fields_of_the_question_stand_in_gaps() -> None:
    fields = "{{ .Type }} {{ .Class }} {{ .Zone }} {{ index .Match 0 }}"
    spec = template('{{ .Name }} 5 IN TXT "' + fields + '"', "a.")
    assert answered("a.example.org", spec) == ["a.example.org. 5 TXT A IN example.org. a."]


def test_the_zone_is_the_longest_of_the_template_that_the_name_is_in() -> None:
    spec = template('{{ .Name }} 5 IN TXT "{{ .Zone }}"', zones=(ROOT, ORG))
    assert answered("a.example.org", spec) == ["a.example.org. 5 TXT example.org."]
    assert answered("a.example.net", spec) == ["a.example.net. 5 TXT ."]


def test_numbers_of_another_base_are_made_decimal() -> None:
    hexed = r"^(?P<a>[0-9a-z]+)-(?P<b>[0-9a-z]+)\.example\.org\.$"
    text = "{{ .Name }} 5 IN A 10.0.{{ parseInt .Group.a 16 8 }}.{{ parseInt (index .Match 2) 16 8 }}"
    spec = template(text, hexed)
    assert answered("ff-0a.example.org", spec) == ["ff-0a.example.org. 5 A 10.0.255.10"]
    assert "'100' is no number of 8 bits" in failure(ask("100-1.example.org", spec))
    assert "'x' is no number of 8 bits" in failure(ask("x-1.example.org", spec))


def test_digits_that_only_python_takes_for_a_number_are_none() -> None:
    spec = template("{{ .Name }} 5 IN A 10.0.0.{{ parseInt (index .Match 1) 10 8 }}", r"^(.*)\.example")
    for label in (b"1_0", b"+1", b" 1", b"1" * 63, b"\xff"):
        assert failure(ask(join([label, b"example", b"org"]), spec))
    assert answered("10.example.org", spec) == ["10.example.org. 5 A 10.0.0.10"]


def test_the_first_expression_that_is_found_gives_the_groups() -> None:
    spec = template('{{ .Name }} 5 IN TXT "{{ .Group.x }}"', r"^(?P<x>a)\.", r"^(?P<x>[ab])(.*)")
    assert answered("a.example.org", spec) == ["a.example.org. 5 TXT a"]
    assert answered("b.example.org", spec) == ["b.example.org. 5 TXT b"]


def test_type_and_class_have_to_suit_and_any_suits_all() -> None:
    spec = template(rrtype=A, rrclass=IN)
    assert ask("a.example.org", spec) is not None
    assert ask("a.example.org", spec, qtype=AAAA) is None
    assert ask("a.example.org", spec, qclass=CH) is None
    assert ask("a.example.org", spec, qtype=ANY) is not None
    assert ask("a.example.org", template(), qtype=AAAA, qclass=CH) is not None


def test_the_type_of_the_template_stands_for_any() -> None:
    spec = template('{{ .Name }} 5 IN TXT "{{ .Type }} {{ .Class }}"', rrtype=PTR, rrclass=IN)
    assert answered("a.example.org", spec, qtype=ANY) == ["a.example.org. 5 TXT PTR IN"]


def test_a_name_that_no_expression_matches_is_servfail_or_goes_on() -> None:
    strict = template("{{ .Name }} 5 IN A 192.0.2.1", "^x")
    lenient = template("{{ .Name }} 5 IN A 192.0.2.2", "^x", fallthrough=(ROOT,))
    last = template("{{ .Name }} 5 IN A 192.0.2.3")
    assert "no expression" in failure(ask("a.example.org", strict, last))
    assert answered("a.example.org", lenient, last) == ["a.example.org. 5 A 192.0.2.3"]
    assert ask("a.example.org", lenient) is None
    assert answered("x.example.org", lenient, last) == ["x.example.org. 5 A 192.0.2.2"]


def test_fallthrough_is_for_the_zones_it_names() -> None:
    spec = template("{{ .Name }} 5 IN A 192.0.2.1", "^x", fallthrough=(from_text("sub.example.org"),))
    assert ask("a.sub.example.org", spec) is None
    assert failure(ask("a.example.org", spec))


def test_a_reply_has_all_sections_an_rcode_and_an_extended_error() -> None:
    address = "x.example.org. 5 IN A 192.0.2.9"
    spec = TemplateSpec((ORG,), rcode=Rcode.NXDOMAIN, authority=(SOA,), additional=(address,), ede=(15, "blocked"))
    templated = ask("a.example.org", spec)
    assert templated is not None
    assert templated.ede == (15, "blocked")
    found = templated.found
    assert (found.rcode, found.answer, found.authoritative, found.lasting) == (Rcode.NXDOMAIN, (), True, False)
    assert [rrset.rrtype for rrset in found.authority] == [RRType.SOA]
    assert [shown(rrset) for rrset in found.additional] == ["x.example.org. 5 A 192.0.2.9"]


def test_an_rcode_of_servfail_answers_nothing_else() -> None:
    assert failure(ask("a.example.org", template(rcode=Rcode.SERVFAIL))) == "the template says so"


def test_records_of_one_owner_and_type_are_one_rrset_with_the_least_ttl() -> None:
    spec = template(tuple(f"{{{{ .Name }}}} {ttl} IN A 192.0.2.{end}" for ttl, end in ((60, 1), (30, 2), (60, 1))))
    assert answered("a.example.org", spec) == ["a.example.org. 30 A 192.0.2.1 192.0.2.2"]


@pytest.mark.parametrize("text", [
    "{{ .Name }} IN A 300.0.2.1", "{{ .Name }} IN A", "", "{{ .Name }} IN BOGUS x",
    "{{ .Name }} IN A {{ .Group.nope }}", "{{ .Name }} IN A {{ index .Match 7 }}",
])
def test_a_record_that_cannot_be_made_is_servfail_and_says_why(text: str) -> None:
    assert failure(ask("a.example.org", template(text))).startswith("a record of the template cannot be made: ")


def test_a_gap_that_nothing_can_fill_is_refused_at_once() -> None:
    with pytest.raises(GapError, match="kdns knows"):
        Templates([template("{{ .Nmae }} IN A 192.0.2.1")], parse_record)


def test_an_expression_that_is_none_is_refused_at_once() -> None:
    with pytest.raises(PatternError):
        Templates([template("x", "(")], parse_record)


def test_a_record_is_read_once_for_the_same_text() -> None:
    read: list[str] = []

    def reader(text: str) -> RRset:
        read.append(text)
        return parse_record(text)

    templates = Templates([template("static.example.org. 5 IN A 192.0.2.1")], reader)
    for name in ("a", "b", "c"):
        templates.answer(from_text(f"{name}.example.org"), A, IN, SENDER)
    assert read == ["static.example.org. 5 IN A 192.0.2.1"]


# What a reply says of its query


def said(text: str, *, qtype: int = A, sender: Sender = SENDER, **rest: Any) -> bytes:
    """What stands in the gaps of a text."""
    templated = ask("www.example.org", template(f'x.example.org. 60 IN TXT "{text}"', **rest), qtype=qtype,
                    sender=sender)
    assert templated is not None
    assert templated.found.rcode == Rcode.NOERROR, templated.found.note
    return templated.found.answer[0].rdatas[0][1:]


@pytest.mark.parametrize(("text", "filled"), [
    ("{{ .Remote }}", b"192.0.2.99"), ("{{ .Message.Id }}", b"4711"), ("{{ .Name }}", b"www.example.org."),
    ("{{ .Question.Name }}", b"WwW.example.org."), ("{{ .Question.Qtype }}", b"1"), ("{{ .Question.Qclass }}", b"1"),
    ("<{{ .Meta `kubernetes/client-namespace` }}>", b"<>"),
])
def test_a_reply_may_say_who_has_asked_and_how(text: str, filled: bytes) -> None:
    assert said(text) == filled


def test_an_address_is_written_as_people_do() -> None:
    assert said("{{ .Remote }}", sender=SENDER._replace(address=packed("2001:db8::7"))) == b"2001:db8::7"


def test_a_question_of_any_is_printed_as_it_was_asked_where_its_type_is_the_template_s() -> None:
    assert said("{{ .Type }} {{ .Question.Qtype }}", qtype=ANY, rrtype=A) == b"A 255"


def test_an_address_that_is_no_number_is_servfail() -> None:
    assert "is no number of 8 bits" in failure(ask("a.example.org", template("a. 5 TXT {{ parseInt .Remote 10 8 }}")))


@pytest.mark.parametrize("gap", ["{{ .Remote }}", "{{ .Message.Id }}", "{{ .Question.Name }}"])
@pytest.mark.parametrize("section", ["answer", "authority", "additional"])
def test_what_depends_on_the_query_is_made_anew_for_each(gap: str, section: str) -> None:
    text = f'x.example.org. 60 IN TXT "{gap}"'
    records: dict[str, Any] = {section: (text,)}
    templates = Templates([TemplateSpec((ORG,), **records)], parse_record)
    other = Sender(packed("192.0.2.100"), 4712, from_text("wWw.example.org"))
    told = [templates.answer(from_text("www.example.org"), A, IN, one) for one in (SENDER, other, SENDER)]
    assert told[0] == told[2] != told[1]


def test_what_does_not_depend_on_the_query_is_made_once_beside_what_does() -> None:
    templates = Templates([
        template("{{ .Remote }}.example.org. 5 IN A 192.0.2.1", zones=(from_text("who.example.org"),)),
        template("{{ .Name }} 5 IN A 192.0.2.1"),
    ], parse_record)
    first, second = (templates.answer(from_text("a.example.org"), A, IN, SENDER) for _ in range(2))
    assert first is second


@given(st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=3))
def test_a_name_of_any_octets_is_the_owner_of_its_record(labels: list[bytes]) -> None:
    qname = join([label.lower() for label in labels])[:-1] + ORG
    templated = ask(qname, template())
    assert templated is not None
    assert [rrset.owner for rrset in templated.found.answer] == [qname], templated.found.note


@given(st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=3))
def test_groups_of_any_octets_never_make_more_than_one_record(labels: list[bytes]) -> None:
    qname = join([label.lower() for label in labels])[:-1] + ORG
    templated = ask(qname, template('x.example.org. 5 IN TXT "{{ index .Match 1 }}"', r"^(.*)\.example\.org\.$"))
    assert templated is not None
    assert sum(len(rrset.rdatas) for rrset in templated.found.answer) <= 1
