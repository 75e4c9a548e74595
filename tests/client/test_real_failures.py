"""Real replicas that are killed, stopped, cut off, restarted and scaled under load: a short form of the benchmark."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from bench.client_real import LOST_MOST, SCENARIOS, Tally
from tests.support.namespaces import require_namespaces

SECONDS = 3.0


@pytest.fixture(scope="module")
def tallies() -> dict[str, Tally]:
    require_namespaces()
    command = [sys.executable, "-m", "bench.client_real", "--seconds", str(SECONDS), "--kind", "mixed", "--json"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ran.stdout, ran.stderr
    found = [Tally(**json.loads(line)) for line in ran.stdout.splitlines()]
    return {tally.scenario: tally for tally in found}


@pytest.mark.root
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_no_idempotent_call_fails_and_no_other_is_processed_twice(tallies: dict[str, Tally], scenario: str) -> None:
    tally = tallies[scenario]
    assert tally.calls == 500 * SECONDS
    assert (tally.failed, tally.astray, tally.twice) == (0, 0, 0), tally
    assert tally.lost <= LOST_MOST.get(scenario, tally.lost), tally
    assert tally.left_over == []
