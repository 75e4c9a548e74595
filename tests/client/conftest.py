"""Servers for the tests of the client that need a real one."""

from __future__ import annotations

from tests.server.conftest import serve

__all__ = ["serve"]
