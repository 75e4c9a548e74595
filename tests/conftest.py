"""Settings of all tests: how hard hypothesis tries. `HYPOTHESIS_PROFILE=thorough` tries harder."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

# The modules that take longest, first: at the end one of them would keep a single process busy. Most of their time is
# waiting, so that three processes suit two cores.
LONG = (
    "test_cuts", "test_watched_snapshot", "test_start", "test_api_connections", "test_recorded_watch",
    "test_permanent_failure", "test_same_answers_as_peers", "test_reload", "test_watching", "test_watched_takeover",
    "test_watched_processes", "test_processes", "test_watched_outage", "test_forwarding",
    "test_server_apiclient_credentials", "test_reload_by_itself", "test_incremental_equals_rebuilt",
    "test_a_day_of_troubles", "test_default_corefiles", "test_upstream_death", "test_watched_start",
)  # fmt: skip

# Not derandomized: each run looks elsewhere. A failure prints what reproduces it.
settings.register_profile(
    "quick",
    deadline=None,
    max_examples=40,
    derandomize=False,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("thorough", settings.get_profile("quick"), max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

_PLACE = {name: at for at, name in enumerate(LONG)}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long modules first, the others as they come."""
    items.sort(key=lambda item: _PLACE.get(item.path.stem, len(LONG)))
