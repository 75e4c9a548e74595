"""docs/install.md and docs/threat-model.md name what there is: files, overlays, limits in the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deploy import render
from tests.support.dotted import look_up

ROOT = Path(__file__).parents[2]
INSTALL = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
THREATS = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
LIMITS = sorted(set(re.findall(r"`(kdns(?:\.\w+)+)`", THREATS)))


def test_the_threat_model_names_limits() -> None:
    assert len(LIMITS) > 20


@pytest.mark.parametrize("path", LIMITS)
def test_every_limit_that_the_threat_model_names_is_in_the_code(path: str) -> None:
    assert look_up(path) is not None


def test_what_is_not_in_the_code_is_found_out() -> None:
    with pytest.raises(AttributeError):
        look_up("kdns.server.tcp.TcpLimits.nothing")


def test_every_file_that_is_named_exists() -> None:
    named = set(re.findall(r"\b((?:deploy|docs|tests)/[\w./*-]*\w)", INSTALL + THREATS))
    assert len(named) > 5
    for name in named:
        assert list(ROOT.glob(name.replace("/NAME", ""))), name


def test_every_overlay_is_described() -> None:
    for name in render.names():
        assert name in INSTALL


def test_the_image_has_one_name_everywhere() -> None:
    images = set(re.findall(r"\bkdns:\d[\w.]*", INSTALL + (ROOT / "deploy" / "kind" / "try.sh").read_text()))
    for name in render.names():
        images |= set(re.findall(r"image: (kdns:\S+)", (render.RENDERED / f"{name}.yaml").read_text()))
    assert images == {"kdns:0.1.0"}
