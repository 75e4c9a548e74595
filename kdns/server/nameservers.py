"""The servers that resolv.conf files name: read at the start, and again when they change.

A file that cannot be read, or that names nobody, takes nothing away: the servers that it named last stay. Polled, as
all files are (kdns.server.watch). Not here: what a resolv.conf may say (kdns.server.forwarding).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kdns.forward.values import UpstreamSpec
from kdns.server.files import Stamp
from kdns.server.forwarding import parse_resolv_conf
from kdns.server.textfile import UnreadableError, read_text
from kdns.server.watch import stamps

POLL_SECONDS = 1.0  # as often as the C library looks at its resolv.conf, give or take


class NameserverFiles:
    """Some resolv.conf files. warn: told what is wrong with them, once for each state of a file."""

    def __init__(self, paths: Sequence[str], warn: Callable[[str], None]) -> None:
        self._paths = paths
        self._warn = warn
        self._stamps: dict[str, Stamp | None] = {}
        self.servers: dict[str, tuple[UpstreamSpec, ...]] = dict.fromkeys(paths, ())

    def look(self) -> bool:
        """Read what has changed. Whether that changes the servers."""
        found = stamps(self._paths)
        changed = [path for path in self._paths if path not in self._stamps or self._stamps[path] != found[path]]
        self._stamps = found
        before = dict(self.servers)
        for path in changed:
            self._read(path)
        return self.servers != before

    def _read(self, path: str) -> None:
        stays = "; those that it named last are asked" if self.servers[path] else ": nobody is asked because of it"
        try:
            servers, remarks = parse_resolv_conf(read_text(path))
        except UnreadableError as error:
            self._warn(f"{path}: cannot be read: {error}{stays}")
            return
        for remark in remarks:
            self._warn(f"{path}:{remark}")
        if servers:
            self.servers[path] = servers
        else:
            self._warn(f"{path}: names no servers{stays}")
