"""What the language has and nothing serves yet: refused with its place, and the documentation says which it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdns.corefile import CorefileError, Settings, parse_corefile
from kdns.server.assembly import PENDING, PENDING_SETTINGS, assemble

DIRECTIVES = Path(__file__).parents[3] / "docs" / "directives.md"
COREFILE = ". {{\n    whoami\n    {line}\n}}\n"
LINES = {
    "nsid": "nsid",
    "acl": "acl {\n        block\n    }",
    "rewrite": "rewrite name a.example b.example",
    "autopath": "autopath /etc/resolv.conf",
    "minimal": "minimal",
    "template": "template IN A {\n        rcode NXDOMAIN\n    }",
    "transfer": "transfer {\n        to *\n    }",
    "hosts": "hosts",
    "loop": "loop",
}


def plan(text: str, settings: Settings | None = None) -> None:
    corefile = parse_corefile(text)
    assemble(corefile, lambda _: [], list, settings or Settings())


def test_every_pending_directive_is_tried() -> None:
    assert set(LINES) == set(PENDING)


@pytest.mark.parametrize("name", LINES)
def test_a_directive_that_is_not_served_is_refused_with_its_place(name: str) -> None:
    with pytest.raises(CorefileError, match=r"^Corefile:3:5: kdns does not serve `") as refused:
        plan(COREFILE.format(line=LINES[name]))
    assert f"`{name}` yet" in str(refused.value)


def test_settings_that_are_not_served_are_refused() -> None:
    for settings in (Settings(cookie_secret="/etc/secret"), Settings(rrl=100)):
        with pytest.raises(CorefileError, match=r"^--[a-z-]+: kdns does not serve it yet"):
            plan(". {\n    whoami\n}\n", settings)


def test_the_documentation_says_what_is_not_served() -> None:
    text = DIRECTIVES.read_text(encoding="utf-8").partition("not served yet:**")[2].partition("\n\n")[0]
    for name in (*PENDING, *PENDING_SETTINGS):
        for word in name.strip("{} ").replace("{", " ").split():
            assert word in text, name
