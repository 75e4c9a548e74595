"""The directives `errors` and `log`."""

from __future__ import annotations

import pytest

from kdns.corefile import (
    Consolidate,
    CorefileError,
    Errors,
    Log,
    LogLevel,
    ResponseClass,
    parse_corefile,
    print_corefile,
)
from kdns.corefile.logformat import (
    COMBINED_LOG_FORMAT,
    COMMON_LOG_FORMAT,
    PLACEHOLDERS,
    expand_format,
    shorten_format,
)
from kdns.corefile.logs import MAX_PATTERN
from kdns.wire.name import ROOT, from_text

SECOND = 10**9
DENIAL, ERROR, SUCCESS = (
    frozenset({kind}) for kind in (ResponseClass.DENIAL, ResponseClass.ERROR, ResponseClass.SUCCESS)
)
ORG, NET = from_text("example.org"), from_text("example.net")


def logs(lines: str) -> tuple[Log, ...]:
    return parse_corefile(f". {{\n{lines}\n}}\n").blocks[0].log


def errors(lines: str) -> Errors | None:
    return parse_corefile(f". {{\n{lines}\n}}\n").blocks[0].errors


def refusal(lines: str) -> str:
    with pytest.raises(CorefileError) as caught:
        logs(lines)
    return str(caught.value)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("log", Log()),
        ("log .", Log()),
        ("log {\n}", Log()),
        ("log example.org", Log((ORG,))),
        ("log Example.org. example.net", Log((ORG, NET))),
        ("log {common}", Log()),
        ("log . {common}", Log()),
        ("log . {combined}", Log(format=COMBINED_LOG_FORMAT)),
        ("log example.org example.net {combined}", Log((ORG, NET), COMBINED_LOG_FORMAT)),
        ('log . "{proto} Request: {name} {type} {>id}"', Log(format="{proto} Request: {name} {type} {>id}")),
        ('log "{common} {local}"', Log(format=COMMON_LOG_FORMAT + " {local}")),
        ("log {\n class all\n}", Log()),
        ("log {\n class denial\n}", Log(classes=DENIAL)),
        ("log {\n class denial error\n}", Log(classes=DENIAL | ERROR)),
        (
            "log {\n class denial\n class success\n}",
            Log(classes=DENIAL | SUCCESS),
        ),
        ("log {\n class all denial\n}", Log()),
        (
            "log {\n class error\n minDuration 1s\n}",
            Log(classes=ERROR, min_duration_ns=SECOND),
        ),
        ("log {\n minDuration 0\n}", Log(min_duration_ns=0)),
        ("log 192.0.2.0/24", Log((from_text("2.0.192.in-addr.arpa"),))),
    ],
)
def test_log_lines(line: str, expected: Log) -> None:
    assert logs(line) == (expected,)
    whole = parse_corefile(f".\n{line}")
    assert parse_corefile(print_corefile(whole)) == whole


def test_log_may_be_given_several_times_and_keeps_its_order() -> None:
    assert logs("log example.org\nlog example.net {combined}") == (Log((ORG,)), Log((NET,), COMBINED_LOG_FORMAT))


def test_a_format_may_spell_json() -> None:
    (log,) = logs(r'log . "{\"client\":\"{remote}\",\"n\":{\"a\":1}}"')
    assert log.format == '{"client":"{remote}","n":{"a":1}}'


def test_metadata_labels_are_let_through() -> None:
    assert expand_format("{/kubernetes/client-pod} {/view}") == "{/kubernetes/client-pod} {/view}"


def test_each_placeholder_of_the_common_format_is_known() -> None:
    assert expand_format("{combined}") == COMBINED_LOG_FORMAT
    assert expand_format(" ".join(sorted(PLACEHOLDERS))) == " ".join(sorted(PLACEHOLDERS))


def test_formats_with_a_shorthand_are_shortened() -> None:
    assert shorten_format(COMMON_LOG_FORMAT) == "{common}"
    assert shorten_format(COMBINED_LOG_FORMAT) == "{combined}"
    assert shorten_format("{name}") == "{name}"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("log . {remot}", "2:7: unknown placeholder `{remot}`: did you mean `{remote}`?"),
        ("log . {common} {rcode}", "2:7: the format is one word: put it in quotes"),
        ("log . {>ID}", "2:7: unknown placeholder `{>ID}`"),
        ("log . {when}", "2:7: unknown placeholder `{when}`"),
        ("log bad..name", "2:5: `bad..name` is no zone"),
        ("log {\n class\n}", "3:2: `class` needs at least one of all, denial, error, success"),
        ("log {\n class abracadabra\n}", "3:8: one of all, denial, error, success expected, not `abracadabra`"),
        ("log {\n unknown\n}", "3:2: `log` has no option `unknown`"),
        ("log {\n minduration 1s\n}", "3:2: `log` has no option `minduration`: did you mean `minDuration`?"),
        ("log {\n minDuration\n}", "3:2: `minDuration` needs a duration"),
        ("log {\n minDuration soon\n}", "3:14: `soon` is no duration"),
        ("log {\n minDuration 1s\n minDuration 2s\n}", "4:2: `minDuration` is already given at Corefile:3:2"),
    ],
)
def test_what_is_wrong_in_log_is_refused(line: str, message: str) -> None:
    assert message in refusal(line)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("errors", Errors()),
        ("errors stdout", Errors()),
        ("errors {\n}", Errors()),
        ("errors {\n stacktrace\n}", Errors(stacktrace=True)),
        ("errors {\n consolidate 30s ^Failed\n}", Errors((Consolidate(30 * SECOND, "^Failed"),))),
        (
            'errors stdout {\n consolidate 5m ".* i/o timeout$" warning\n consolidate 1s x debug show_first\n}',
            Errors(
                (
                    Consolidate(300 * SECOND, ".* i/o timeout$", LogLevel.WARNING),
                    Consolidate(SECOND, "x", LogLevel.DEBUG, True),
                )
            ),
        ),
        ("errors {\n consolidate 1s x show_first\n}", Errors((Consolidate(SECOND, "x", LogLevel.ERROR, True),))),
        ("errors {\n consolidate 1s x error\n}", Errors((Consolidate(SECOND, "x"),))),
        ("errors {\n consolidate 1s x info\n}", Errors((Consolidate(SECOND, "x", LogLevel.INFO),))),
    ],
)
def test_errors_lines(line: str, expected: Errors) -> None:
    assert errors(line) == expected
    whole = parse_corefile(f".\n{line}")
    assert parse_corefile(print_corefile(whole)) == whole


def test_without_the_directive_errors_are_not_logged() -> None:
    assert errors("whoami") is None


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("errors stderr", "2:8: errors go to stdout, not to `stderr`"),
        ("errors stdout stdout", "2:15: `errors` takes one argument, stdout"),
        ("errors\nerrors", "3:1: `errors` is already given at Corefile:2:1"),
        ("errors {\n unknown\n}", "3:2: `errors` has no option `unknown`"),
        ("errors {\n stacktrace on\n}", "3:13: `stacktrace` takes no argument"),
        ("errors {\n consolidate\n}", "3:2: `consolidate` needs a duration and a regular expression"),
        ("errors {\n consolidate 1s\n}", "3:2: `consolidate` takes DURATION REGEXP [LEVEL] [show_first]"),
        ("errors {\n consolidate 1s x info show_first y\n}", "3:2: `consolidate` takes DURATION REGEXP"),
        ("errors {\n consolidate 1 x\n}", "3:14: `1` is no duration"),
        ("errors {\n consolidate 0 x\n}", "3:14: errors cannot be consolidated over no time"),
        ("errors {\n consolidate 1s (x\n}", "3:17: `(x` is no regular expression"),
        ("errors {\n consolidate 1s [[:^alpha:]]\n}", "3:17: `[[:^alpha:]]` is no regular expression"),
        ("errors {\n consolidate 1s a{99999999999999}\n}", "is no regular expression"),
        ("errors {\n consolidate 1s " + "(" * 9000 + "a" + ")" * 900 + "\n}", "is no regular expression"),
        ("errors {\n consolidate 1s " + "a" * (MAX_PATTERN + 1) + "\n}", "longer than 10000 characters"),
        ("errors {\n consolidate 1s x loud\n}", "3:19: one of debug, info, warning, error expected, not `loud`"),
        ("errors {\n consolidate 1s x info first\n}", "3:24: show_first expected, not `first`"),
        ("errors {\n consolidate 1s x show_first info\n}", "3:30: show_first expected, not `info`"),
    ],
)
def test_what_is_wrong_in_errors_is_refused(line: str, message: str) -> None:
    assert message in refusal(line)


def test_the_default_scope_of_a_log_is_every_name() -> None:
    assert Log().names == (ROOT,)
