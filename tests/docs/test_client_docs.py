"""docs/client.md is true: its code runs against kdns, its tables are those of the code, its log lines are logged."""

from __future__ import annotations

import ast
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import kdns.client
from kdns.client import logs, options
from kdns.client.endpoint import Endpoint
from kdns.client.place import Place
from kdns.client.target import parse_target
from tests.server.serving import Server

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs/client.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def rows(heading: str) -> list[list[str]]:
    """The cells of the table under a heading."""
    part = TEXT.split(f"{heading}\n", 1)[1].split("\n#", 1)[0]
    lines = [line for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_each_program_runs_and_ends_well(number: int, serve: Callable[..., Server]) -> None:
    server = serve("--manifests", ROOT / "zones/shop.yaml", "--zones", ROOT / "zones/example.org.zone")
    program = BLOCKS[number].replace("127.0.0.1:1053", f"127.0.0.1:{server.port}")
    command = [sys.executable, "-W", "error", "-c", program]
    ran = subprocess.run(
        command, capture_output=True, text=True, timeout=30, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert ran.returncode == 0, ran.stderr
    assert all(" is out for " in line for line in ran.stderr.splitlines()), ran.stderr


def option_classes() -> dict[str, dict[str, str]]:
    """Every option of every class, with its default as it is written."""
    tree = ast.parse((ROOT / "kdns/client/options.py").read_text())
    found = {}
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name != "Policy":
            fields = [line for line in node.body if isinstance(line, ast.AnnAssign)]
            found[node.name] = {ast.unparse(line.target): default(line.value) for line in fields}
    return found


def default(value: ast.expr | None) -> str:
    if value is None:
        return "required"
    text = ast.unparse(value)
    made = re.fullmatch(r"field\(default_factory=(\w+)\)", text)
    return f"`{made[1]}()`" if made else f"`{text}`"


@pytest.mark.parametrize("name", option_classes())
def test_the_tables_have_every_option_and_its_default(name: str) -> None:
    assert {row[0].strip("`"): row[1] for row in rows(f"### {name}")} == option_classes()[name]


@pytest.mark.parametrize("name", option_classes())
def test_every_option_has_a_reason(name: str) -> None:
    assert all(row[2] for row in rows(f"### {name}"))


def test_every_policy_is_in_the_table() -> None:
    named = {re.findall(r"`(\w+)`", row[0])[0] for row in rows("## Balancing")}
    assert named == {policy.name for policy in options.Policy}


def test_every_name_that_can_be_imported_is_explained() -> None:
    assert [name for name in kdns.client.__all__ if not re.search(rf"\b{name}\b", TEXT)] == []


@pytest.mark.parametrize("row", rows("## Targets"), ids=lambda row: row[0])
def test_targets_are_read_as_the_table_says(row: list[str]) -> None:
    text = row[0].strip("`")
    place = Place("ns", "cluster.local" if "cluster.local" in text else "domain")
    target = parse_target(text, lambda: place)
    name = re.search(r"`(.*)`", row[1])
    if row[1].startswith("SRV"):
        assert target.is_srv
        assert name is None or target.name == name[1].lower()
    elif row[1] == "nothing":
        assert target.endpoints
    else:
        assert str(target.port) == row[2]


def test_the_log_lines_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "kdns.client")
    endpoint = Endpoint("10.0.0.1", 80)
    logs.ejected(
        "web.shop:http", endpoint, "no connection: ConnectionRefusedError: [Errno 111] Connection refused", 0.5
    )
    logs.returned("web.shop:http", endpoint)
    logs.panic("web.shop:http", 1, 4)
    shown = TEXT.split("```text\n", 1)[1].split("```", 1)[0]
    assert shown.splitlines() == [record.getMessage() for record in caplog.records]


def test_the_commands_of_the_figures_exist() -> None:
    modules = set(re.findall(r"python -m (bench\.\w+)", TEXT))
    assert modules
    assert all((ROOT / f"{module.replace('.', '/')}.py").exists() for module in modules)
