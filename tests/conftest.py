"""Settings of all tests: how hard hypothesis tries. `HYPOTHESIS_PROFILE=thorough` tries harder."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

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
