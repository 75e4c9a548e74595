"""The `kdns` command: `kdns serve`, `kdns check`, `kdns version`; also `python -m kdns`."""

from __future__ import annotations

import sys

from kdns.cli.main import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
