"""`kdns serve`: from the command line to a running supervisor."""

from __future__ import annotations

import argparse
import sys
from random import Random

from kdns.cli.configuration import Configuration, choose
from kdns.cli.coredns import pid_file
from kdns.cli.demo import DEMO_HOST, DEMO_PORT, dig_lines
from kdns.corefile import CorefileError, print_corefile
from kdns.observe.logs import Log, LogForm
from kdns.server.assembly import Plan, assemble
from kdns.server.interfaces import interface_addresses, machine_addresses
from kdns.server.process import EXIT_ERROR, EXIT_OK
from kdns.server.reloading import ConfigurationWatch
from kdns.server.sizing import Bound, default_workers
from kdns.server.supervisor import Supervisor


def run(options: argparse.Namespace) -> int:
    """Serve as the options say; returns the exit status."""
    try:
        configuration = choose(options)
        if options.print_corefile:
            sys.stdout.write(print_corefile(configuration.read()))
            return EXIT_OK
    except CorefileError as error:
        print(error, file=sys.stderr)
        return EXIT_ERROR
    log = Log(quiet=options.quiet, form=LogForm(configuration.settings.log_format.value))
    _introduce(configuration, options, log)
    watch = ConfigurationWatch(configuration.read, Random())

    def load() -> Plan:
        return assemble(watch.load(), interface_addresses, machine_addresses, configuration.settings)

    workers = Bound(options.workers, "--workers") if options.workers else default_workers()
    with pid_file(options.pidfile, log.error):
        return Supervisor(load, workers, log, watch).run()


def _introduce(configuration: Configuration, options: argparse.Namespace, log: Log) -> None:
    """Say what is going to be served, and if it is the demo, what to ask it."""
    if not configuration.is_demo:
        log.info(f"configuration: {configuration.origin}")
        return
    log.info("no configuration named (-conf, --manifests, --zones, --kubeconfig, ./Corefile): serving the demo; try")
    for line in dig_lines(DEMO_HOST, options.dns_port or DEMO_PORT):
        log.info(f"    {line}")
