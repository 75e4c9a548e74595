"""Commands run as the container of our Deployment is, without a container runtime: `unshare`, `chroot`, `setpriv`.

    with PodNamespace() as host:                         # a network of its own
        prefix = as_pod(host, image, {corefile: "/etc/coredns/Corefile"})
        subprocess.Popen([*prefix, *image.command, "serve", ...])

What a runtime does at the start of a pod with `runAsNonRoot`, `readOnlyRootFilesystem`, `drop: [ALL]`,
`add: [NET_BIND_SERVICE]` and `allowPrivilegeEscalation: false` is done in the same order: the bounding set is cut,
the user changed with the permitted capabilities kept, new privileges forbidden, the program executed. That keeps a
file capability, for it is no new privilege, and loses all others. Root is needed, for the user is a real one.
"""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from deploy.image.assemble import USER_ID, copy_file, copy_libraries
from tests.support.image import Image
from tests.support.namespaces import Namespace

NET_BIND_SERVICE = "-all,+net_bind_service"
NOTHING = "-all"
_PROGRAMS = {"chroot": "coreutils", "ip": "iproute2", "ldd": "libc-bin", "nsenter": "util-linux",
             "setpriv": "util-linux", "unshare": "util-linux"}  # fmt: skip
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def require_pods(**programs: str) -> None:
    """Skip the test where there can be none; fail it where KDNS_TEST_PEERS=required says that it may not be.

    programs: what else it needs, each with its Debian package.
    """
    wanted = {**_PROGRAMS, **programs}
    missing = sorted(f"{name} (Debian: {wanted[name]})" for name in wanted if shutil.which(name, path=_PATH) is None)
    reason = f"needs {', '.join(missing)}" if missing else ""
    if os.geteuid() != 0:
        reason = "needs root: what a container runtime does before it is not root any more is done here"
    elif not missing:
        tried = subprocess.run(["unshare", "--mount", "--net", "true"], capture_output=True, text=True)
        reason = f"needs namespaces: {tried.stderr.strip()}" if tried.returncode else ""
    if reason and os.environ.get("KDNS_TEST_PEERS") == "required":
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)


class PodNamespace(Namespace):
    """A network of its own with root's own user namespace, in which user 65532 exists."""

    def __init__(self) -> None:
        self._counter, theirs = socket.socketpair()
        self._counter.settimeout(20.0)
        porter = Path(__file__).with_name("porter.py")
        self._porter = subprocess.Popen(
            ["unshare", "--net", sys.executable, "-S", str(porter), str(theirs.fileno())],
            pass_fds=(theirs.fileno(),),
        )
        theirs.close()
        assert self._counter.recv(2) == b"up"
        self.run("ip", "link", "set", "lo", "up")

    @property
    def prefix(self) -> list[str]:
        return ["nsenter", "--net", "--target", str(self.pid), "--"]


def add_setpriv(image: Image) -> None:
    """Put the one program into the image that runs in it before kdns does."""
    setpriv = Path(shutil.which("setpriv", path=_PATH) or "setpriv")
    copy_file(setpriv, image.root)
    copy_libraries(image.root, [setpriv])


def as_pod(
    host: PodNamespace,
    image: Image,
    mounts: Mapping[Path, str],
    bounding_set: str = NET_BIND_SERVICE,
    environment: Mapping[str, str] | None = None,
) -> list[str]:
    """What stands before a command to have it run so.

    mounts: what is out here, and where it is in the container, read-only; the image has all those places.
    """
    root = image.root
    places = {**mounts, Path("/dev"): "/dev"}
    steps = [f"mount --bind '{root}' '{root}'", f"mount -t proc proc '{root}/proc'"]
    for path, place in places.items():
        steps += [f"mount --bind '{path}' '{root}{place}'", f"mount -o remount,bind,ro '{root}{place}'"]
    steps.append(f"mount -o remount,bind,ro '{root}'")
    chroot, setpriv = (shutil.which(name, path=_PATH) for name in ("chroot", "setpriv"))
    privileges = f"--reuid {USER_ID} --regid {USER_ID} --clear-groups --bounding-set {bounding_set} --no-new-privs"
    variables = shlex.join(f"{name}={value}" for name, value in (environment or {}).items())
    become = f"cd /; exec env -i {variables} {chroot} '{root}' {setpriv} {privileges} \"$@\""
    return [*host.prefix, "unshare", "--mount", "sh", "-euc", "; ".join([*steps, become]), "as-pod"]


def kdns_in_pod(prefix: list[str], image: Image) -> list[str]:
    """A prefix for tests.server.serving.Server: the image's own kdns is run instead of the `python -m kdns` there."""
    return ["sh", "-c", f'shift 2; exec {shlex.join([*prefix, *image.command])} "$@"']
