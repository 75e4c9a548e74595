"""The directives that are one line: `loop`, `reload`, `nsid`, `chaos` and `minimal`.

    loop
    reload [INTERVAL [JITTER]]
    nsid [DATA...]
    chaos [VERSION [AUTHORS...]]
    minimal

In: statements. Out: values of kdns.corefile.plugins, and back to lines.
"""

from __future__ import annotations

from kdns.corefile.duration import format_duration
from kdns.corefile.environment import write
from kdns.corefile.errors import CorefileError
from kdns.corefile.options import duration, no_arguments
from kdns.corefile.parser import Statement
from kdns.corefile.plugins import DEFAULT_JITTER_NS, DEFAULT_RELOAD_NS, Chaos, Loop, Minimal, Nsid, Reload

MIN_RELOAD_NS = 2 * 10**9  # CoreDNS's own limit, and so is the next one
MIN_JITTER_NS = 10**9
MAX_CHAOS_OCTETS = 255  # of a character-string (RFC 1035 section 3.3); CoreDNS cuts it there
MAX_NSID_OCTETS = 128  # it is to fit into every reply, and the smallest has 512 octets; CoreDNS has no limit


def parse_loop(statement: Statement) -> Loop:
    """`loop`. Raises CorefileError."""
    no_arguments(statement)
    return Loop(statement.position)


def parse_minimal(statement: Statement) -> Minimal:
    """`minimal`. Raises CorefileError."""
    no_arguments(statement)
    return Minimal(statement.position)


def parse_reload(statement: Statement) -> Reload:
    """`reload [INTERVAL [JITTER]]`. Raises CorefileError."""
    if len(statement.arguments) > 2:
        raise CorefileError(statement.arguments[2].position, "`reload` takes [INTERVAL [JITTER]]")
    interval_ns, jitter_ns = DEFAULT_RELOAD_NS, DEFAULT_JITTER_NS
    if statement.arguments:
        interval_ns = duration(statement.arguments[0])
        if interval_ns < MIN_RELOAD_NS:
            raise CorefileError(statement.arguments[0].position, "the interval of `reload` is 2s at least")
    if len(statement.arguments) > 1:
        jitter_ns = duration(statement.arguments[1])
        if 0 < jitter_ns < MIN_JITTER_NS:
            raise CorefileError(statement.arguments[1].position, "the jitter of `reload` is 1s at least, or 0")
    return Reload(interval_ns, min(jitter_ns, interval_ns // 2), statement.position)


def print_reload(reload: Reload) -> list[str]:
    """The line of the directive."""
    if (reload.interval_ns, reload.jitter_ns) == (DEFAULT_RELOAD_NS, DEFAULT_JITTER_NS):
        return ["reload"]
    return [f"reload {format_duration(reload.interval_ns)} {format_duration(reload.jitter_ns)}"]


def parse_nsid(statement: Statement) -> Nsid:
    """`nsid [DATA...]`. Raises CorefileError."""
    data = " ".join(argument.text for argument in statement.arguments)
    if len(data.encode()) > MAX_NSID_OCTETS:
        raise CorefileError(statement.arguments[0].position, f"`nsid` takes at most {MAX_NSID_OCTETS} octets")
    return Nsid(data, statement.position)


def parse_chaos(statement: Statement) -> Chaos:
    """`chaos [VERSION [AUTHORS...]]`. Raises CorefileError."""
    for argument in statement.arguments:
        if len(argument.text.encode()) > MAX_CHAOS_OCTETS:
            raise CorefileError(argument.position, f"a text of `chaos` has at most {MAX_CHAOS_OCTETS} octets")
    version, *authors = [argument.text for argument in statement.arguments] or [""]
    return Chaos(version, tuple(authors), statement.position)


def print_chaos(chaos: Chaos) -> list[str]:
    """The line of the directive."""
    words = (chaos.version, *chaos.authors) if chaos.version or chaos.authors else ()
    return [" ".join(["chaos", *map(write, words)])]


def print_nsid(nsid: Nsid) -> list[str]:
    """The line of the directive."""
    return [f"nsid {write(nsid.data)}" if nsid.data else "nsid"]
