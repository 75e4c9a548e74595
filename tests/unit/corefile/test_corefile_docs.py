"""docs/config.md is executed: each of its Corefiles parses, and it names each directive and option there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kdns.corefile import from_flags, parse_corefile, print_corefile
from kdns.corefile.cluster import _OPTIONS, _REFUSED
from kdns.corefile.directives import COREDNS_ORDER, DIRECTIVES
from kdns.corefile.logformat import PLACEHOLDERS

TEXT = (Path(__file__).parents[3] / "docs" / "config.md").read_text(encoding="utf-8")
COREFILES = re.findall(r"^```corefile\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
FILES = {
    "conf.d/common.conf": [("conf.d/common.conf", "any\nbufsize 1400\n")],
    "conf.d/*.zones": [("conf.d/a.zones", "a.test {\n whoami\n}\n"), ("conf.d/b.zones", "b.test {\n whoami\n}\n")],
}
ENVIRONMENT = {"DNS_PORT": "1053", "DNS_ADDRESS": "127.0.0.1"}


@pytest.mark.parametrize("text", COREFILES, ids=lambda text: text.splitlines()[0])
def test_each_corefile_in_the_documentation_parses_and_prints_to_the_same_model(text: str) -> None:
    corefile = parse_corefile(text, read=lambda pattern: FILES[pattern], environment=ENVIRONMENT)
    assert parse_corefile(print_corefile(corefile)) == corefile


def test_the_documentation_has_an_example_of_each_directive_and_option() -> None:
    examples = "\n".join(COREFILES)
    missing = [name for name in [*DIRECTIVES, *_OPTIONS] if not re.search(rf"^\s+{name}\b", examples, re.MULTILINE)]
    assert missing == []


def test_the_table_of_coredns_directives_names_each_of_them_once() -> None:
    table = TEXT.partition("where kdns stands")[2].partition("Options of")[0]
    rows = re.findall(r"^\| ([a-z0-9_, ]+) \| (?:as|not)", table, re.MULTILINE)
    assert sorted(name for row in rows for name in row.split(", ")) == sorted(COREDNS_ORDER)
    assert sorted(rows[0].split(", ")) == sorted(DIRECTIVES)


def test_the_documentation_names_each_placeholder_and_each_refused_option() -> None:
    assert [name for name in PLACEHOLDERS if f"`{name}`" not in TEXT] == []
    needs_api_server = [name for name, why in _REFUSED.items() if "API server" in why]
    assert [name for name in needs_api_server if f"`{name}`" not in TEXT] == []


def test_the_flags_of_the_documentation_are_the_corefile_beside_them() -> None:
    flags = from_flags(["127.0.0.1:1053"], ["shop.yaml"], ["zones/example.org.zone"])
    beside = next(text for text in COREFILES if "kubernetes" in text and "errors" in text and "5300" not in text)
    assert print_corefile(flags) == beside
