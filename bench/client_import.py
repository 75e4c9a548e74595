"""What does `import kdns.client` cost beyond `import asyncio`? Fresh processes, medians.

    python -m bench.client_import [--rounds 15]

`import kdns.client` itself imports names when they are first used; the line with `Balancer` and `Resolver` is what an
app pays. Baseline in the same run: `import asyncio`. The goal is 40 ms beyond it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from statistics import median

from bench.processes import machine_line

GOAL_MS = 40.0
PROGRAMS = {
    "import kdns.client": "import kdns.client",
    "Balancer and Resolver": "from kdns.client import Balancer, Resolver",
    "the blocking twins": "from kdns.client import BlockingBalancer, BlockingResolver",
}
_TIMED = "import asyncio, time; start = time.perf_counter(); {}; print(time.perf_counter() - start)"


def milliseconds(statement: str) -> float:
    """Of a statement in a fresh process that has asyncio."""
    ran = subprocess.run([sys.executable, "-c", _TIMED.format(statement)], capture_output=True, text=True, check=True)
    return 1000 * float(ran.stdout)


def main() -> int:
    """Print a line for each; the exit status says whether the goal is met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    print(machine_line())
    whole = "import time; start = time.perf_counter(); import asyncio; print(time.perf_counter() - start)"
    times = [
        1000 * float(subprocess.run([sys.executable, "-c", whole], capture_output=True, text=True, check=True).stdout)
        for _ in range(options.rounds)
    ]
    print(f"{'import asyncio':22} {median(times):6.1f} ms")
    is_bad = False
    for name, statement in PROGRAMS.items():
        taken = median(milliseconds(statement) for _ in range(options.rounds))
        is_bad |= taken > GOAL_MS
        print(f"{name:22} {taken:6.1f} ms beyond it (goal {GOAL_MS:.0f})")
    return int(is_bad)


if __name__ == "__main__":
    sys.exit(main())
