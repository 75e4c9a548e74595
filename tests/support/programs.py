"""Programs from Debian's packages that some tests need: skipped loudly without them, failed where they must be."""

from __future__ import annotations

import os
import shutil

import pytest


def require(*programs: str) -> None:
    """Skip the test if a program is missing; fail it where KDNS_TEST_PEERS=required says that none may be."""
    missing = [program for program in programs if shutil.which(program) is None]
    if not missing:
        return
    reason = f"needs {', '.join(missing)} (Debian: nsd, knot, bind9-dnsutils, curl, procps, shellcheck)"
    if os.environ.get("KDNS_TEST_PEERS") == "required":
        pytest.fail(reason)
    pytest.skip(reason)
