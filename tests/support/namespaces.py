"""Network namespaces, each a host of its own; root is not needed where the kernel has user namespaces.

    with Namespace() as here, Namespace(beside=here) as there:
        connect(here, there, mtu=1500)               # 192.0.2.1 here, 192.0.2.2 there
        there.nft(DROP_ALL)
        with here.tcp() as sock: ...                 # a socket in it, used from out here
        subprocess.Popen([*here.prefix, "ping", ...])

Nothing in them reaches the machine's own network. They end with the processes in them, and with the test.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Self

import pytest

HERE, THERE = "192.0.2.1", "192.0.2.2"  # of a pair (RFC 5737: addresses that nobody has)
LINK_HERE, LINK_THERE = "link-here", "link-there"
_PATIENCE = 20.0
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"  # which a user's PATH often lacks
_ENVIRONMENT = {**os.environ, "PATH": _PATH}
_UNSHARE = ("unshare", "--user", "--map-root-user", "--net")
_DEBIAN = {"ip": "iproute2", "nft": "nftables", "nsenter": "util-linux", "unshare": "util-linux"}


def require_namespaces(*programs: str) -> None:
    """Skip the test if there can be no namespaces; fail it where KDNS_TEST_PEERS=required says that it may not be.

    programs: what else it needs, by the names of their Debian packages if those are others: `nft`, `unbound`.
    """
    wanted = ("ip", "nsenter", "unshare", *programs)
    missing = [one for one in wanted if shutil.which(one, path=_PATH) is None]
    reason = f"needs {', '.join(missing)} (Debian: {' '.join(sorted({_DEBIAN.get(one, one) for one in missing}))})"
    if not missing:
        tried = subprocess.run([*_UNSHARE, "ip", "link"], env=_ENVIRONMENT, capture_output=True, text=True)
        if not tried.returncode:
            return
        reason = f"needs network namespaces: {tried.stderr.strip()}"
    if os.environ.get("KDNS_TEST_PEERS") == "required":
        pytest.fail(reason)
    pytest.skip(reason)


class Namespace:
    """One host: a loopback interface, and what `connect` gives it. beside: one that shares its user namespace."""

    def __init__(self, beside: Namespace | None = None) -> None:
        self._counter, theirs = socket.socketpair()
        self._counter.settimeout(_PATIENCE)
        enter = [*beside.prefix, "unshare", "--net"] if beside else [*_UNSHARE]
        porter = Path(__file__).with_name("porter.py")
        self._porter = subprocess.Popen(
            [*enter, sys.executable, "-S", str(porter), str(theirs.fileno())],
            pass_fds=(theirs.fileno(),),
            env=_ENVIRONMENT,
        )
        theirs.close()
        assert self._counter.recv(2) == b"up"
        self.run("ip", "link", "set", "lo", "up")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """Of a process in it."""
        return self._porter.pid

    @property
    def prefix(self) -> list[str]:
        """What stands before a command to have it run in here, as the process that is started."""
        return ["nsenter", "--user", "--net", "--preserve-credentials", "--target", str(self.pid), "--"]

    def run(self, *command: str, text: str = "") -> str:
        """Run a command, and return what it prints."""
        done = subprocess.run(
            [*self.prefix, *command], env=_ENVIRONMENT, input=text, capture_output=True, text=True, timeout=_PATIENCE
        )
        if done.returncode:
            raise AssertionError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
        return done.stdout

    def ip(self, commands: str) -> None:
        """Run what `ip` is to do, a line each."""
        self.run("ip", "-batch", "-", text=commands)

    def nft(self, rules: str) -> None:
        """Add rules to those that there are."""
        self.run("nft", "-f", "-", text=rules)

    def udp(self) -> socket.socket:
        """A socket in here."""
        return self._socket(socket.SOCK_DGRAM)

    def tcp(self) -> socket.socket:
        """A socket in here, not connected."""
        return self._socket(socket.SOCK_STREAM)

    def close(self) -> None:
        """Let go of it."""
        self._counter.close()
        self._porter.wait(_PATIENCE)

    def _socket(self, kind: int) -> socket.socket:
        self._counter.send(bytes([kind]))
        _, (descriptor,), _, _ = socket.recv_fds(self._counter, 1, 1)
        return socket.socket(fileno=descriptor)


class End(NamedTuple):
    """One end of a cable: the name of the link, and its addresses with the lengths of their prefixes."""

    link: str
    addresses: tuple[str, ...]


NEAR_END, FAR_END = End(LINK_HERE, (f"{HERE}/24",)), End(LINK_THERE, (f"{THERE}/24",))


def connect(
    here: Namespace,
    there: Namespace,
    mtu: int = 1500,
    near: End = NEAR_END,
    far: End = FAR_END,
) -> None:
    """Lay a cable between two hosts that are beside each other."""
    here.run("ip", "link", "add", near.link, "type", "veth", "peer", "name", far.link, "netns", str(there.pid))
    for host, end in ((here, near), (there, far)):
        # nodad: nobody else can have an address of IPv6 here, and to find that out takes a second or two.
        added = "".join(
            f"address add {one} dev {end.link}{' nodad' if ':' in one else ''}\n" for one in end.addresses
        )
        host.ip(f"{added}link set {end.link} mtu {mtu} up\n")


def with_file(path: Path, at: str) -> Sequence[str]:
    """What stands before a command, after `prefix`, to have it find another file at a place."""
    mount = 'mount --bind "$0" "$1" && shift && exec "$@"'
    return ("unshare", "--mount", "sh", "-c", mount, str(path), at)
