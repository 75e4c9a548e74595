"""Records with gaps: what may stand in braces, and where in the text what may not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.zone.gaps import Field, Gap, GapError, Group, Number, Value, parse_gaps
from tests.support.configurations import outcome


@pytest.mark.parametrize(("inside", "value"), [
    (".Name", Field("Name")), (" .Type ", Field("Type")), (" .Class", Field("Class")), ("\n.Zone\t", Field("Zone")),
    (" index .Match 0 ", Group(0)), ("index  .Match\t12", Group(12)), (" .Group.a_1 ", Group("a_1")),
    (" index .Match 100 ", Group(100)), (" parseInt .Group.x 16 8 ", Number(Group("x"), 16, 8)),
    ("parseInt (index .Match 1)  2 64", Number(Group(1), 2, 64)),
    ("parseInt ( .Name ) 36 1", Number(Field("Name"), 36, 1)), (" .Remote ", Field("Remote")),
    ("parseInt .Remote 10 8", Number(Field("Remote"), 10, 8)),
    (".Question.Name", Field("Question.Name")), (".Question.Qtype", Field("Question.Qtype")),
    (".Question.Qclass", Field("Question.Qclass")), (".Message.Id", Field("Message.Id")),
    ('.Meta "kubernetes/client-namespace"', Field("Meta")), (".Meta `x`", Field("Meta")), ('.Meta ""', Field("Meta")),
])
def test_what_stands_in_braces_is_read(inside: str, value: Value) -> None:
    text = f"{{{{{inside}}}}}"
    assert parse_gaps(f"a {text} b") == ("a ", Gap(2, text, value), " b")


def test_a_text_may_have_many_gaps_or_none() -> None:
    assert parse_gaps("{{.Name}}{{.Name}}}") == (
        "", Gap(0, "{{.Name}}", Field("Name")), "", Gap(9, "{{.Name}}", Field("Name")), "}",
    )
    assert parse_gaps("{ }") == ("{ }",)


@pytest.mark.parametrize(("text", "offset", "message"), [
    ("a {{ .Nmae }}", 2, "`{{ .Nmae }}`: kdns knows .Name, .Type"),
    ("a {{ .Name }} {{ printf .Name }}", 14, "`{{ printf .Name }}`: write the text as it is"),
    ("{{ if .Remote }}x{{ end }}", 0, "a `match` of its own for each case"),
    ("{{ range .Match }}", 0, "runs no programs"), ("{{ len .Name }}", 0, "runs no programs"),
    ("{{ .Message.Question }}", 0, "`{{ .Message.Id }}` alone"), ("{{ .Message }}", 0, "`{{ .Message.Id }}` alone"),
    ("{{ .Question.Nope }}", 0, "one of .Question.Name"), ("{{ .Meta }}", 0, "the name in quotes"),
    ('{{ .Meta "a" "b" }}', 0, "the name in quotes"), ("{{ $x }}", 0, "kdns knows"),
    ("{{ parseInt .Question.Qtype 10 16 }}", 0, "`.Question.Qtype` is a number"),
    ("{{ .Remotes }}", 0, "kdns knows"), ("{{ .Name | len }}", 0, "kdns knows"),
    ("{{- .Name -}}", 0, "without `-`"), ("{{}}", 0, "`{{}}`: kdns knows"), ("{{ .Group.1 }}", 0, "the group's name"),
    ("{{ index .Match }}", 0, "kdns knows"), ("{{ index .Match 12345 }}", 0, "kdns knows"),
    ("{{ .Group }}", 0, "the group's name"), ("{{ .Match }}", 0, "the group's number"),
    ("{{ parseInt .Name 1 8 }}", 0, "a base of 2 to 36"), ("{{ parseInt .Name 37 8 }}", 0, "a base of 2 to 36"),
    ("{{ parseInt .Name 16 0 }}", 0, "1 to 64 bits"), ("{{ parseInt .Name 16 65 }}", 0, "1 to 64 bits"),
    ("{{ parseInt .Nope 16 8 }}", 0, "kdns knows"), ("{{ parseInt (.Name 16 8 }}", 0, "kdns knows"),
    ("{{ parseInt (parseInt .Name 16 8) 10 8 }}", 0, "kdns knows"), ("{{ parseInt () 10 8 }}", 0, "kdns knows"),
    ("a {{ .Name", 2, "this `{{` is never closed"), ("{{ .Name }} }}", 12, "this `}}` closes nothing"),
    ("}} {{ .Name }}", 0, "this `}}` closes nothing"),
])
def test_what_cannot_be_filled_is_refused_with_its_place(text: str, offset: int, message: str) -> None:
    with pytest.raises(GapError) as caught:
        parse_gaps(text)
    assert caught.value.offset == offset
    assert message in str(caught.value)


@given(st.text(alphabet="{} .NameGroupindexMatchparseInt()0123x", max_size=60))
def test_any_text_is_read_whole_or_refused(text: str) -> None:
    found = outcome(lambda: parse_gaps(text), GapError)
    if isinstance(found, GapError):
        assert 0 <= found.offset < len(text)
    else:
        assert "".join(part.text if isinstance(part, Gap) else part for part in found) == text
