"""What the language has and nothing serves yet: refused with its place, and the documentation says which it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdns.corefile import CorefileError, parse_corefile
from kdns.server.assembly import PENDING, assemble

DIRECTIVES = Path(__file__).parents[3] / "docs" / "directives.md"
COREFILE = ". {{\n    whoami\n    {line}\n}}\n"
LINES = {
    "hosts { fallthrough_unsupported }": "hosts {\n        fallthrough\n        fallthrough_unsupported\n    }",
}


def plan(text: str) -> None:
    assemble(parse_corefile(text), lambda _: [], list)


def test_every_pending_directive_is_tried() -> None:
    assert set(LINES) == set(PENDING)


@pytest.mark.parametrize("name", LINES)
def test_a_directive_that_is_not_served_is_refused_with_its_place(name: str) -> None:
    with pytest.raises(CorefileError, match=r"^Corefile:3:5: kdns does not serve `") as refused:
        plan(COREFILE.format(line=LINES[name]))
    assert f"`{name}` yet" in str(refused.value)


def test_the_documentation_says_what_is_not_served() -> None:
    text = DIRECTIVES.read_text(encoding="utf-8").partition("not served yet:**")[2].partition("\n\n")[0]
    for name in PENDING:
        for word in name.strip("{} ").replace("{", " ").split():
            assert word in text, name
