"""Invariants of the configuration language: any text is understood or refused, and printing loses nothing."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import example, given
from hypothesis import strategies as st

from kdns.corefile import (
    Corefile,
    CorefileError,
    Selector,
    SelectorError,
    Settings,
    decode,
    from_flags,
    parse_corefile,
    parse_selector,
    print_corefile,
    read_settings,
    with_kubeconfig,
)
from kdns.corefile.directives import COREDNS_ORDER
from kdns.corefile.duration import MAX_NANOSECONDS, format_duration, parse_duration
from kdns.corefile.environment import write
from kdns.corefile.flags import KUBECONFIG_FLAG
from kdns.corefile.lexer import Kind, lex
from kdns.corefile.selector import Operator, Requirement
from kdns.corefile.settings import SETTING_NAMES
from kdns.wire.name import ROOT
from tests.support.configurations import (
    LABEL_KEYS,
    LABEL_VALUES,
    NANOSECONDS,
    SELECTORS,
    SETS,
    corefiles,
    outcome,
)

ENVIRONMENT = {"A": "example.org", "B": "", "C": '"', "D": "{", "E": "a b", "F": "{$A}", "G": "x\\"}

# Fragments that, strung together, reach deep into the grammar far more often than arbitrary characters do.
WORDS = """
manifests pods ttl labels namespaces namespace_labels fallthrough ignore empty_service noendpoints consolidate
kubeconfig endpoint https://a:1 tls "" startup_timeout apiserver_qps terminating serving lameduck :8080 [::1]:1
stacktrace class minDuration except reload import insecure denial round_robin show_first a=b !c,d in (x) 5 30s 512
/etc/resolv.conf 192.0.2.1:53 tls://192.0.2.1%a.test success verify 10% max_fails health_check no_rec domain next
name regex suffix answer auto value (.*)\\.a {1}.b ttl 30-300 edns0 nsid unset rcode NXDOMAIN IN A ANY match
{{.Name}} net type to * block @kubernetes failover policy sequential ederror authority
example.org example.net:53 . :1053 10.0.0.0/23 2001:db8::/33 dns://a tls://b 127.0.0.1 ::1 lo (s) s # ,
{common} {remote} {/x} {$A} {$B} {$C} {%D%} {$E} {$F} {$G} \\ \\" "
"""
SHAPES = [
    " { ",
    " {\n",
    "\n}",
    "}",
    "\n",
    "\n",
    "\r\n",
    " ",
    " ",
    '"a b"',
    '"\\""',
    "\\\n",
    "\ufeff",
    "\0",
    "\t",
    "ü",
]
STARTS = [". {\n", "kubernetes a {\n manifests m\n", "kubernetes a {\n", "health {\n", "log ", "bind ", "file f "]
STARTS += ["forward . 192.0.2.1 {\n", "cache 30 {\n", "hosts {\n", "rewrite name ", "rewrite {\n", "acl {\n"]
STARTS += ["template IN A {\n", "rewrite ttl ", "reload ", "transfer {\n to ", "autopath "]
FRAGMENTS = st.sampled_from([*COREDNS_ORDER, *WORDS.split(), *SHAPES, *STARTS])
PIECES = st.lists(FRAGMENTS, max_size=40)
TEXTS = st.one_of(st.text(), PIECES.map("".join), PIECES.map(" ".join))


def read(pattern: str) -> list[tuple[str, str]]:
    """A world of files in which each file imports another one of the same name, one level up."""
    return [(pattern, f"import ../{pattern}x\n")] if len(pattern) < 80 else []


@given(TEXTS)
@example("a\\")
@example("a {\n log . \x85\n}")
@example("::ffff:0:0/96 fe80::%1/64 {\n}")
def test_any_text_is_a_corefile_that_prints_to_itself_or_a_corefile_error(text: str) -> None:
    found = outcome(lambda: parse_corefile(text, read=read, environment=ENVIRONMENT), CorefileError)
    if isinstance(found, Corefile):
        assert parse_corefile(print_corefile(found)) == found
    else:
        assert str(found) == f"{found.file}:{found.line}:{found.column}: {found.message}"
        assert min(found.line, found.column, len(found.message)) >= 1


@given(st.binary())
def test_any_octets_are_text_or_a_corefile_error(data: bytes) -> None:
    found = outcome(lambda: decode(data, "Corefile"), CorefileError)
    if isinstance(found, str):
        assert found.encode() == data.removeprefix(b"\xef\xbb\xbf")
    else:
        assert min(found.line, found.column) >= 1


@given(st.text())
def test_positions_of_tokens_point_at_them(text: str) -> None:
    tokens = outcome(lambda: lex(text, "Corefile"), CorefileError)
    if isinstance(tokens, CorefileError):
        return
    lines = text.removeprefix("\ufeff").split("\n")
    for token in tokens:
        rest = lines[token.position.line - 1][token.position.column - 1 :]
        assert rest.startswith('"' if token.kind is Kind.QUOTED else token.text)


@given(st.text())
def test_a_word_that_can_be_written_is_read_back(word: str) -> None:
    written = outcome(lambda: write(word), ValueError)
    if isinstance(written, str):
        assert [token.text for token in lex(written, "Corefile")] == [word]


@given(corefiles())
def test_parsing_what_was_printed_gives_the_same_model(corefile: Corefile) -> None:
    printed = print_corefile(corefile)
    assert parse_corefile(printed) == corefile
    assert print_corefile(parse_corefile(printed)) == printed


@given(NANOSECONDS)
def test_parsing_a_formatted_duration_gives_the_same_time(nanoseconds: int) -> None:
    assert parse_duration(format_duration(nanoseconds)) == nanoseconds


@given(st.one_of(st.text(), st.text("0123456789.hmsunµ")))
def test_any_text_is_a_duration_in_range_or_a_value_error(text: str) -> None:
    found = outcome(lambda: parse_duration(text), ValueError)
    assert 0 <= found <= MAX_NANOSECONDS if isinstance(found, int) else text in str(found)


@given(SELECTORS)
def test_parsing_a_written_selector_gives_the_same_selector(selector: Selector) -> None:
    assert parse_selector(str(selector)) == selector


@given(st.one_of(st.text(), st.text("ab=!,()<> /")))
def test_any_text_is_a_selector_or_a_selector_error_with_an_offset_inside_it(text: str) -> None:
    found = outcome(lambda: parse_selector(text), SelectorError)
    if isinstance(found, Selector):
        assert parse_selector(str(found)) == found
    else:
        assert 0 <= found.offset <= len(text)


@given(SELECTORS, st.dictionaries(LABEL_KEYS, LABEL_VALUES, max_size=3))
def test_a_selector_matches_when_each_requirement_does(selector: Selector, labels: dict[str, str]) -> None:
    assert selector.matches(labels) == all(Selector((one,)).matches(labels) for one in selector.requirements)


OPPOSITES = {Operator.IN: Operator.NOT_IN, Operator.EXISTS: Operator.ABSENT}


@given(LABEL_KEYS, st.sampled_from(list(OPPOSITES)), SETS, st.dictionaries(LABEL_KEYS, LABEL_VALUES, max_size=3))
def test_opposite_requirements_never_agree(
    key: str, operator: Operator, values: tuple[str, ...], labels: dict[str, str]
) -> None:
    one, other = Requirement(key, operator, values), Requirement(key, OPPOSITES[operator], values)
    for found in (labels, {**labels, key: values[0]}):
        assert one.matches(found) != other.matches(found)


FLAG_TEXTS = st.lists(
    st.one_of(st.text(), st.sampled_from([":53", "127.0.0.1:1", "[::1]:2", "a.zone", "b=c"])), max_size=3
)


@given(FLAG_TEXTS, FLAG_TEXTS, FLAG_TEXTS, st.booleans())
def test_any_flags_are_a_corefile_that_prints_to_itself_or_a_corefile_error(
    listen: list[str], manifests: list[str], zones: list[str], is_watched: bool
) -> None:
    found = outcome(lambda: from_flags(listen, manifests, zones, is_watched=is_watched), CorefileError)
    if isinstance(found, Corefile):
        assert found.blocks[0].zones == (ROOT,)
        assert parse_corefile(print_corefile(found)) == found
    else:
        assert found.file in ("--listen", "--manifests", "--zones")


@given(corefiles(), st.text())
def test_a_kubeconfig_is_put_exactly_where_a_watched_cluster_names_none(corefile: Corefile, path: str) -> None:
    found = outcome(lambda: with_kubeconfig(corefile, path, KUBECONFIG_FLAG), CorefileError)
    if isinstance(found, CorefileError):
        assert found.file == "--kubeconfig"
        return
    assert parse_corefile(print_corefile(found)) == found
    for before, after in zip(corefile.blocks, found.blocks, strict=True):
        if before.kubernetes is not None and before.kubernetes.is_in_cluster:
            assert after == replace(before, kubernetes=replace(before.kubernetes, kubeconfig=path))
        else:
            assert after == before


SETTING_TEXTS = st.dictionaries(
    st.sampled_from(SETTING_NAMES),
    st.one_of(st.text(), st.sampled_from(["5", "30s", "0", "whole", "fresh=1m", "fresh=0", "fresh=x", "/a:/b"])),
)


@given(SETTING_TEXTS)
def test_any_flags_and_variables_are_settings_or_an_error_that_names_one_of_them(texts: dict[str, str]) -> None:
    variables = {"KUBECONFIG" if name == "kubeconfig" else f"KDNS_{name.upper()}": texts[name] for name in texts}
    by_flag = outcome(lambda: read_settings(texts, {}), CorefileError)
    by_variable = outcome(lambda: read_settings({}, variables), CorefileError)
    if isinstance(by_flag, CorefileError):
        assert by_flag.file.removeprefix("--").replace("-", "_") in texts
    if isinstance(by_variable, CorefileError):
        assert by_variable.file in variables
    if isinstance(by_flag, Settings) and isinstance(by_variable, Settings):
        assert replace(by_flag, kubeconfig="") == replace(by_variable, kubeconfig="")


# The same words in another form must mean the same.
LINE_STARTS = st.sampled_from(["\n", "\n\n", "\r\n\t", ' # a comment "{\n  ', "\n#\\\n"])
GAPS = st.sampled_from([" ", "\t", "  ", "\u00a0", " \\\n", " \\\r\n  "])


@given(corefiles(), st.data())
def test_layout_and_comments_change_nothing(corefile: Corefile, data: st.DataObject) -> None:
    text = ""
    for token in lex(print_corefile(corefile), "Corefile"):
        gap = data.draw(LINE_STARTS if token.starts_line else GAPS)
        text += gap + (write(token.text) if token.is_word else token.text)
    assert parse_corefile(text) == corefile


@given(corefiles())
def test_words_from_the_environment_mean_what_they_mean_in_the_text(corefile: Corefile) -> None:
    environment: dict[str, str] = {}
    text = ""
    for token in lex(print_corefile(corefile), "Corefile"):
        name = f"V{len(environment)}"
        environment[name] = token.text
        text += ("\n" if token.starts_line else " ") + (f'"{{${name}}}"' if token.is_word else token.text)
    assert parse_corefile(text, environment=environment) == corefile


@given(corefiles())
def test_a_corefile_spread_over_imported_files_says_the_same(corefile: Corefile) -> None:
    files = {f"part{i}": print_corefile(Corefile((block,))) for i, block in enumerate(corefile.blocks)}
    text = "".join(f"import {name}\n" for name in files)
    spread = parse_corefile(text, read=lambda path: [(path, files[path])])
    assert spread == corefile
    assert spread.sources == ("Corefile", *files)


@given(corefiles())
def test_a_corefile_made_of_snippets_says_the_same(corefile: Corefile) -> None:
    text = ""
    for i, block in enumerate(corefile.blocks):
        keys, _, body = print_corefile(Corefile((block,))).partition("{\n")
        text += f"(s{i}) {{\n{body}\n{keys}{{\n import s{i}\n}}\n"
    assert parse_corefile(text) == corefile
