"""The fixture `serve`, for tests of what the documentation shows."""

from __future__ import annotations

from tests.server.conftest import serve

__all__ = ["serve"]
