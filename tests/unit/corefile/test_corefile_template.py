"""The directive `template`: sections, groups, Go's templates as far as they go; and what is refused."""

from __future__ import annotations

import pytest

from kdns.corefile import CorefileError, parse_corefile, print_corefile
from kdns.corefile.plugins import Template
from kdns.wire.name import ROOT, from_text

ORG = from_text("example.org")


def templates(text: str) -> tuple[Template, ...]:
    corefile = parse_corefile(f"example.org {{\n{text}\n}}")
    assert parse_corefile(print_corefile(corefile)) == corefile
    return corefile.blocks[0].templates


def refusal(text: str) -> str:
    with pytest.raises(CorefileError) as caught:
        parse_corefile(f"example.org {{\n{text}\n}}")
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("template ANY ANY", Template(None, None, (ORG,))),
        ("template in aaaa a.test", Template(1, 28, (from_text("a.test"),))),
        ("template CH TXT .", Template(3, 16, (ROOT,))),
        ("template IN A {\n rcode NXDOMAIN\n}", Template(1, 1, (ORG,), rcode=3)),
        ("template IN A {\n ederror 21\n}", Template(1, 1, (ORG,), extended_error=(21, ""))),
        ('template IN A {\n ederror 15 "by policy"\n}', Template(1, 1, (ORG,), extended_error=(15, "by policy"))),
        ("template IN A {\n fallthrough\n}", Template(1, 1, (ORG,), fallthrough=(ROOT,))),
        (
            'template IN A {\n match "^a-(?P<n>.)" "^b-(?P<n>.)"\n match ^c-(?P<n>.)\n'
            ' answer "{{ .Name }} 60 IN A 10.0.0.{{ .Group.n }}" "{{.Name}} 60 IN A 10.0.1.{{index .Match 1}}"\n'
            ' authority "{{ .Zone }} 60 {{ .Class }} SOA ns.{{ .Zone }} x. (1 60 60 60 60)"\n'
            ' additional "ns.example.org. 60 IN {{ .Type }} 192.0.2.1"\n}',
            Template(
                1,
                1,
                (ORG,),
                ("^a-(?P<n>.)", "^b-(?P<n>.)", "^c-(?P<n>.)"),
                ("{{ .Name }} 60 IN A 10.0.0.{{ .Group.n }}", "{{.Name}} 60 IN A 10.0.1.{{index .Match 1}}"),
                ("{{ .Zone }} 60 {{ .Class }} SOA ns.{{ .Zone }} x. (1 60 60 60 60)",),
                ("ns.example.org. 60 IN {{ .Type }} 192.0.2.1",),
            ),
        ),
    ],
)
def test_what_is_said_is_read_and_printed(text: str, expected: Template) -> None:
    assert templates(text) == (expected,)


@pytest.mark.parametrize(("action", "message"), [
    ("parseInt .Group.a 16 8", ""), ("parseInt (index .Match 1) 2 64", ""),
    ("parseInt .Group.a 99 8", "`parseInt` takes a base"), ("parseInt .Group.a 16 65", "`parseInt` takes a base"),
    ("parseInt .Group.b 16 8", "each `match` must have a group"), ("parseInt .Nope 16 8", "kdns knows"),
])
def test_numbers_are_read_from_groups_that_there_are(action: str, message: str) -> None:
    text = f'template IN A {{\n match ^(?P<a>.)\n answer "a. 60 IN A 1.2.3.{{{{ {action} }}}}"\n}}'
    if message:
        assert message in refusal(text)
    else:
        assert len(templates(text)[0].answer) == 1


@pytest.mark.parametrize("field", [
    ".Remote", ".Message.Id", ".Question.Name", ".Question.Qtype", ".Question.Qclass",
    r".Meta \"kubernetes/client-namespace\"",
])
def test_the_data_that_coredns_documents_are_taken_without_any_expression(field: str) -> None:
    [found] = templates(f'template IN TXT {{\n answer "a. 60 IN TXT {{{{ {field} }}}}"\n}}')
    assert found.answer == ("a. 60 IN TXT {{ " + field.replace("\\", "") + " }}",)


def test_several_templates_keep_their_order() -> None:
    found = templates("template IN A a.test\ntemplate IN A b.test\ntemplate IN A a.test")
    assert [one.zones for one in found] == [(from_text(f"{name}.test"),) for name in "aba"]


def test_the_whole_match_is_there_without_any_expression() -> None:
    (found,) = templates('template IN CNAME {\n answer "{{ index .Match 0 }} 60 IN CNAME a.test."\n}')
    assert found.match == ()


def record(text: str, match: str = "") -> str:
    return f"template IN A {{\n answer \"{text}\"\n{match}\n}}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("template", "2:1: `template` needs CLASS TYPE [ZONES...]"),
        ("template IN", "2:1: `template` needs CLASS and TYPE"),
        ("template XX A", "2:10: `XX` is not a class: IN, CH or HS"),
        ("template IN AA", "2:13: `AA` is not a type of records"),
        ("template IN A {\n match (a\n}", "3:8: `(a` cannot be used as a regular expression: this `(`"),
        ("template IN A {\n match\n}", "3:2: `match` needs at least one regular expression"),
        ("template IN A {\n rcode NOPE\n}", "3:8: `NOPE` is no rcode that can stand here"),
        ("template IN A {\n rcode BADVERS\n}", "3:8: `BADVERS` is no rcode that can stand here"),
        ("template IN A {\n ederror 65536\n}", "3:10: a number from 0 to 65535 expected"),
        ("template IN A {\n ederror 1 two words\n}", "3:16: `ederror` takes CODE [REASON]: put the reason in quotes"),
        ("template IN A {\n upstream\n}", "3:2: `template` has no option `upstream`"),
        ("template IN A {\n answer a.test. 60 IN A 192.0.2.1\n}", "3:9: `a.test.` is no record: put the whole"),
        ("template IN A {\n answer {{ .Name }} 60\n}", "3:9: this `{{` is never closed: put the whole record"),
        (record("a. 60 IN A }} 192.0.2.1"), "3:21: this `}}` closes nothing"),
        (record("a. 60 IN A {{ index .Match 100 }}"), "3:21: `{{ index .Match 100 }}`: each `match` must have that"),
        (record("{{ .Nane }} 60 IN A 192.0.2.1"), "3:10: `{{ .Nane }}`: kdns knows .Name, .Type"),
        (record("a. 60 IN A {{ .Message }}"), "3:21: `{{ .Message }}`: of the message kdns has `{{ .Message.Id }}`"),
        (record("{{ if .Remote }} 60 IN A x"), "3:10: `{{ if .Remote }}`: kdns fills in data and runs no programs"),
        (record("a. 60 IN A {{ printf .Remote }}"), "3:21: `{{ printf .Remote }}`: write the text as it is"),
        (record("a. 60 IN A {{ parseFloat .Group.a }}"), "3:21: `{{ parseFloat .Group.a }}`: kdns knows"),
        (record("a. 60 IN A {{ .Group.a }}"), "3:21: `{{ .Group.a }}`: each `match` must have a group `(?P<a>...)`"),
        (record("a. 60 IN A {{ index .Match 1 }}"), "3:21: `{{ index .Match 1 }}`: each `match` must have that many"),
        (
            record("a. 60 IN A {{ .Group.a }}", "match (?P<a>x)\nmatch (?P<b>y)"),
            "3:21: `{{ .Group.a }}`: each `match` must have a group",
        ),
        (
            record("a. 60 IN A {{ index .Match 2 }}", "match (x)(y)\nmatch (z)"),
            "3:21: `{{ index .Match 2 }}`: each `match` must have that many groups `( )`; one has 1",
        ),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(text: str, message: str) -> None:
    assert refusal(text).startswith(f"Corefile:{message}")
