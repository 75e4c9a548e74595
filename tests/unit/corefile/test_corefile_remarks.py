"""kdns.corefile.remarks: what is told of a rule that hardly anybody means, and what is advised instead."""

from __future__ import annotations

import pytest

from kdns.corefile import parse_corefile
from kdns.corefile.remarks import remarks
from tests.support.corefiles import dig, served_by


def told(*lines: str) -> tuple[str, ...]:
    body = "".join(f"    rewrite {line}\n" for line in lines)
    return remarks(parse_corefile(f". {{\n{body}}}\n", "Corefile"))


@pytest.mark.parametrize(
    ("line", "instead"),
    [
        ("name prefix foo- bar-", "`regex ^foo-(.*)\\.$ bar-{1}`, else `prefix foo-.`"),
        ("name substring midd mooo", "`regex ^(.*)midd(.*)\\.$ {1}mooo{2}`, else `substring midd.`"),
        ("continue name prefix a.b c", "`regex ^a\\.b(.*)\\.$ c{1}`, else `prefix a.b.`"),
        ("name prefix a*+ c", "`regex ^a\\*\\+(.*)\\.$ c{1}`, else `prefix a*+.`"),
        ("ttl prefix foo- 30", "`regex ^foo-(.*)\\.$`, else `prefix foo-.`"),
        ("rcode substring x NXDOMAIN NOERROR", "`regex ^(.*)x(.*)\\.$`, else `substring x.`"),
        ("cname prefix foo- a.test", "`regex ^foo-(.*)\\.$`, else `prefix foo-.`"),
    ],
)
def test_a_part_of_a_name_without_its_last_dot_is_told_with_what_to_write(line: str, instead: str) -> None:
    (remark,) = told(line)
    assert remark.startswith("Corefile:2:5: `")
    assert "gets a last dot, as in CoreDNS" in remark
    assert remark.endswith(f"write {instead}")


@pytest.mark.parametrize(
    "line",
    ["name prefix foo. bar.", "name substring .a. .b.", "name a.test b.test", "name suffix .a.test .b.test",
     "name regex ^foo-(.*)\\.$ bar-{1}", "type ANY HINFO", "ttl suffix .a.test 30", "edns0 nsid unset"],
)  # fmt: skip
def test_what_may_well_be_meant_is_not_told(line: str) -> None:
    assert told(line) == ()


def test_each_rule_is_told_once_with_its_own_place() -> None:
    first, second = told("name prefix foo- bar-", "type ANY HINFO", "name prefix foo- bar-")
    assert (first.partition(" ")[0], second.partition(" ")[0]) == ("Corefile:2:5:", "Corefile:4:5:")
    corefile = parse_corefile(". a.test:54 {\n rewrite name prefix foo- bar-\n}\n", "Corefile")
    assert len(corefile.blocks) == 2
    assert len(remarks(corefile)) == 1


@pytest.mark.parametrize(
    ("line", "asked"), [("name prefix foo- bar-", "foo-1.a.test"), ("name substring midd mooo", "a-midd-b.a.test")]
)
def test_what_is_advised_answers_names_that_go_on_behind_the_text(line: str, asked: str) -> None:
    advice = told(line)[0].partition("write `")[2].partition("`")[0]
    assert told(f"name {advice}") == ()
    zone = ("a.test", "bar-1 A 192.0.2.1\na-mooo-b A 192.0.2.1\n")
    answered = [
        dig(served_by(f". {{\n rewrite {rule} \n file db a.test\n}}\n", files=[zone]), asked)[0]
        for rule in (line, f"name {advice}")
    ]
    assert [answer.rcode for answer in answered] == ["NXDOMAIN", "NOERROR"]
    assert answered[1].answer


def test_further_urls_of_an_api_server_are_told_of() -> None:
    text = ". {\n    kubernetes cluster.local {\n        endpoint https://192.0.2.1 https://192.0.2.2\n    }\n}\n"
    corefile = parse_corefile(text, "Corefile")
    (remark,) = remarks(corefile)
    assert remark.startswith("Corefile:2:5: `endpoint` uses the first URL, https://192.0.2.1, as CoreDNS does")
    assert remark.endswith("and not https://192.0.2.2")
    cluster = corefile.blocks[0].kubernetes
    assert cluster is not None
    assert cluster.endpoint == "https://192.0.2.1"
