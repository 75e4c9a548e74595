"""`kdns`: which command it is, and what becomes of errors that are the user's.

    kdns serve ...          answer queries (kdns.cli.serve)
    kdns -conf Corefile     the same, as CoreDNS is started
    kdns check PATH...      say what is wrong with files (kdns.cli.check)
    kdns version

Exit status: 0 done, 1 an error of the user's, 2 wrong usage or an extra that is missing. Nothing of the server is
imported before the command is known, so that a plain install can say which extra it lacks.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from kdns import __version__
from kdns.cli.coredns import FlagError, plugin_list, words_of

EXIT_ERROR = 1
EXIT_USAGE = 2
# What kdns[server] brings, by the name that is imported.
_SERVER_MODULES = frozenset(("dns", "dnslib", "kubernetes", "msgspec", "prometheus_client", "uvloop", "yaml"))
_COREDNS_P = frozenset(("-pidfile", "-plugins"))  # flags that begin like -p
_HELP = frozenset(("-h", "--help"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line, without the name of the program; returns the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or (words[0].startswith("-") and words[0] not in _HELP):
        words.insert(0, "serve")
    parser = make_parser()
    try:
        words = words_of(words, _COREDNS_P) if words[0] == "serve" else words
    except FlagError as error:
        parser.error(str(error))
    options = parser.parse_args(words)
    try:
        return _run(options)
    except ModuleNotFoundError as error:
        return _explain_missing(options.command, error)
    except BrokenPipeError:
        # Whoever read our output has had enough; the interpreter must not find out once more when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_ERROR
    except KeyboardInterrupt:
        return EXIT_ERROR


def _run(options: argparse.Namespace) -> int:
    if getattr(options, "version", False):
        return print_version()
    if getattr(options, "plugins", False):
        return _print_plugins()
    status = int(_COMMANDS[options.command](options))
    sys.stdout.flush()
    return status


def make_parser() -> argparse.ArgumentParser:
    """The command line; CoreDNS's flags keep their single dash, and take two as well."""
    parser = argparse.ArgumentParser(prog="kdns", description="DNS for Kubernetes services.", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_serve(commands.add_parser("serve", help="answer DNS queries", allow_abbrev=False))
    check = commands.add_parser("check", help="say what is wrong with manifests, zone files and Corefiles")
    check.add_argument("paths", nargs="+", metavar="PATH", help="a file, or a directory of them")
    commands.add_parser("version", help="print the version")
    return parser


def print_version() -> int:
    """What CoreDNS's -version prints, about us."""
    system, python = platform.system().lower(), platform.python_implementation()
    print(f"kdns-{__version__}\n{system}/{platform.machine()}, {python} {platform.python_version()}")
    return 0


def _print_plugins() -> int:
    directives = import_module("kdns.corefile.directives").DIRECTIVES
    print(plugin_list(directives), flush=True)
    return 0


def _add_serve(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Answer DNS queries. What is served is read from -conf, else from the flags, else from ./Corefile, else it is"
        " the cluster of KUBECONFIG or the one around this pod; without any of them it is a demo on 127.0.0.1:1053."
    )
    corefile = parser.add_argument_group("from a Corefile, as CoreDNS is started")
    corefile.add_argument("-conf", "--conf", metavar="FILE", help="Corefile to read")
    corefile.add_argument(
        "-dns.port", "--dns.port", "-p", dest="dns_port", type=_port, metavar="PORT",
        help="port where the Corefile, or --listen, names none",
    )
    corefile.add_argument("-pidfile", "--pidfile", default="", metavar="FILE", help="file to write our process ID to")
    corefile.add_argument("-plugins", "--plugins", action="store_true", help="print the directives that are known")
    corefile.add_argument("-quiet", "--quiet", action="store_true", help="log nothing that is as it should be")
    corefile.add_argument("-version", "--version", action="store_true", help="print the version")
    flags = parser.add_argument_group("without a Corefile")
    flags.add_argument(
        "--listen", action="append", default=[], metavar="ADDRESS:PORT", help="repeatable; default :53"
    )
    flags.add_argument(
        "--manifests", action="extend", nargs="+", default=[], metavar="PATH",
        help="Kubernetes objects: files, directories, patterns; `kubectl get -o json` output too",
    )
    flags.add_argument(
        "--zones", action="extend", nargs="+", default=[], metavar="PATH",
        help="zone files: ORIGIN.zone, or ORIGIN=PATH",
    )
    flags.add_argument(
        "--kubeconfig", metavar="PATH",
        help="cluster to watch; with a Corefile, where that names none (KUBECONFIG)",
    )
    _add_settings(parser.add_argument_group("a cluster that is watched"))
    _add_limits(parser.add_argument_group("clients, and the log"))
    parser.add_argument("--print-corefile", action="store_true", help="print what would be served, and end")
    parser.add_argument(
        "--workers", type=_workers, default=os.environ.get("KDNS_WORKERS") or None, metavar="N",
        help="processes that answer; default: what CPUs and memory allow, at most 4 (KDNS_WORKERS)",
    )


def _add_settings(group: argparse._ArgumentGroup) -> None:
    """Texts, read by kdns.corefile.settings, where the variables are read, too."""
    group.add_argument(
        "--snapshot", metavar="PATH", help="file to keep the cluster in, and to start from (KDNS_SNAPSHOT)"
    )
    group.add_argument(
        "--snapshot-max-age", metavar="DURATION", help="default 24h; an older one is not used (KDNS_SNAPSHOT_MAX_AGE)"
    )
    group.add_argument(
        "--ready-when", metavar="POLICY",
        help="whole (default), synced, serving, fresh=DURATION: what /ready waits for (KDNS_READY_WHEN)",
    )
    group.add_argument(
        "--negative-ttl", metavar="SECONDS",
        help="how long a denial may be kept, default 5, at most `ttl` (KDNS_NEGATIVE_TTL)",
    )
    group.add_argument(
        "--lameduck", metavar="DURATION",
        help="how long to answer on after SIGTERM; default: what `health` says (KDNS_LAMEDUCK)",
    )


def _add_limits(group: argparse._ArgumentGroup) -> None:
    """Texts, too."""
    group.add_argument(
        "--cookie-secret", metavar="PATH",
        help="file with the secret of DNS cookies, the same for all instances; without it there are none"
        " (KDNS_COOKIE_SECRET)",
    )
    group.add_argument("--log-format", metavar="FORMAT", help="text (default) or json (KDNS_LOG_FORMAT)")
    group.add_argument(
        "--client-queries", metavar="N",
        help="questions for outside that one client may have under way, default 512; each worker takes an equal share"
        " of them, rounded up (KDNS_CLIENT_QUERIES)",
    )
    group.add_argument(
        "--rrl", metavar="N",
        help="replies a second over UDP to the clients of one network; default 0, no limit (KDNS_RRL)",
    )


def _serve(options: argparse.Namespace) -> int:
    return int(import_module("kdns.cli.serve").run(options))


def _check(options: argparse.Namespace) -> int:
    return int(import_module("kdns.cli.check").run(options.paths))


_COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "serve": _serve,
    "check": _check,
    "version": lambda _: print_version(),
}


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 1 << 16:
        raise argparse.ArgumentTypeError(f"{text} is not a port: 1 to 65535")
    return int(text)


def _workers(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= 64:
        raise argparse.ArgumentTypeError(f"{text} is not a number of workers: 1 to 64")
    return int(text)


def _explain_missing(command: str, error: ModuleNotFoundError) -> int:
    module = (error.name or "").partition(".")[0]
    if module not in _SERVER_MODULES:
        raise error
    print(f"kdns {command} needs `{module}`, which is not installed: pip install 'kdns[server]'", file=sys.stderr)
    return EXIT_USAGE
