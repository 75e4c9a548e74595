"""kdns with a `reload` that looks all the time, for tests that cannot wait for CoreDNS's least interval of 2 seconds.

    serve("-conf", path, listen=False, port=port, prefix=HASTY)

Started as a prefix, it takes the place of the command that it is put in front of. Whatever the Corefile says of
`reload`, it is looked at each INTERVAL_SECONDS, and a change counts when the next look finds it again.
"""

from __future__ import annotations

import sys
from random import Random

from kdns.cli.configuration import choose
from kdns.cli.main import make_parser
from kdns.observe.logs import Log
from kdns.server.assembly import Plan, assemble
from kdns.server.interfaces import interface_addresses, machine_addresses
from kdns.server.reloading import ConfigurationWatch, Pace
from kdns.server.sizing import Bound
from kdns.server.supervisor import Supervisor

HASTY = (sys.executable, "-m", "tests.server.hasty")
INTERVAL_SECONDS = 0.05


def run(words: list[str]) -> int:
    """Serve as `kdns serve` with these words does."""
    options = make_parser().parse_args(words)
    configuration = choose(options)
    watch = ConfigurationWatch(configuration.read, Random(), lambda _: Pace(INTERVAL_SECONDS, 0.0))

    def load() -> Plan:
        return assemble(watch.load(), interface_addresses, machine_addresses, configuration.settings)

    return Supervisor(load, Bound(options.workers, "--workers"), Log(), watch).run()


if __name__ == "__main__":
    sys.exit(run(sys.argv[sys.argv.index("kdns") + 1 :]))
