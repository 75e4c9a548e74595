"""The directive `autopath`: the search list of a resolv.conf is walked by the server.

    autopath [ZONES...] PATH|@kubernetes

In: statements. Out: plugins.Autopath, and back to lines. Not here: that `@kubernetes` needs a cluster in the same
server block (directives.py).
"""

from __future__ import annotations

from kdns.corefile.environment import write
from kdns.corefile.errors import CorefileError
from kdns.corefile.options import some_arguments
from kdns.corefile.parser import Statement
from kdns.corefile.plugins import Autopath
from kdns.corefile.zones import parse_zones, zone_words

FROM_KUBERNETES = "@kubernetes"


def parse_autopath(statement: Statement, block_zones: tuple[bytes, ...]) -> Autopath:
    """`autopath [ZONES...] PATH|@kubernetes`. Raises CorefileError."""
    *names, source = some_arguments(statement, "the path of a resolv.conf, or @kubernetes")
    zones = parse_zones(tuple(names)) or block_zones
    if source.text == FROM_KUBERNETES:
        return Autopath(zones, from_kubernetes=True, position=statement.position)
    if source.text.startswith("@"):
        raise CorefileError(source.position, f"`{source.text}`: a search list comes from a file, or from @kubernetes")
    return Autopath(zones, source.text, position=statement.position)


def print_autopath(autopath: Autopath, block_zones: tuple[bytes, ...]) -> list[str]:
    """The line of the directive."""
    source = FROM_KUBERNETES if autopath.from_kubernetes else write(autopath.resolv_conf)
    return [" ".join(["autopath", *zone_words(autopath.zones, block_zones), source])]
