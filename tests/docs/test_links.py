"""Every link between pages of the documentation leads to a file, and to a heading in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("docs", "bench", "deploy", "zones", "kdns")
PAGES = sorted({ROOT / "README.md"}.union(*((ROOT / room).rglob("*.md") for room in ROOMS)))
LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def prose(page: Path) -> str:
    return FENCED.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """The anchors of the headings, as GitHub makes them."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        anchor = re.sub(r"[^\w -]", "", plain.strip().lower()).replace(" ", "-")
        number = 0
        while (name := f"{anchor}-{number}" if number else anchor) in found:
            number += 1
        found.add(name)
    return found


def wrong_links(page: Path) -> list[str]:
    """What a page links to that is not there."""
    wrong = []
    for target in LINK.findall(prose(page)):
        if "://" in target:
            continue
        path, _, heading = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        if not linked.exists() or (heading and heading not in anchors(linked)):
            wrong.append(target)
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page: Path) -> None:
    assert wrong_links(page) == []


def test_every_page_of_docs_is_linked_from_the_readme() -> None:
    readme = set(LINK.findall(prose(ROOT / "README.md")))
    linked = {target.partition("#")[0] for target in readme}
    assert {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")} <= linked


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A `b`, c\n# A `b`, c\n[1](#a-b-c) [2](#a-b-c-1) [3](page.md#a-b) [4](other.md) [5](https://x.y/)\n")
    assert wrong_links(page) == ["page.md#a-b", "other.md"]
