"""kdns as our Deployment runs it: user 65532, NET_BIND_SERVICE and nothing else, a root that cannot be written to.

The image is made here (tests.support.image) and run as a container runtime would run it (tests.support.pods), on port
53 of a network of its own. Not here: seccomp's RuntimeDefault profile, which a container runtime brings.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dns.message
import dns.query
import pytest

from deploy.image.assemble import CAPABILITY, CAPABILITY_ATTRIBUTE, USER_ID
from tests.server.serving import PATIENCE, Server, replace, service
from tests.support.image import Image, make_image
from tests.support.pods import NOTHING, PodNamespace, add_setpriv, as_pod, kdns_in_pod, require_pods

COREFILE = """\
.:53 {
    errors
    health
    ready
    prometheus :9153
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        manifests /etc/coredns/shop.yaml
        pods insecure
    }
}
"""
ONLY_NET_BIND_SERVICE = f"{1 << 10:016x}"
NONE = f"{0:016x}"
MOUNTED_AT = "/etc/coredns"
# What a process may have open for writing: memory, and ways to talk to other processes.
MEMORY_OR_TALK = re.compile(r"/memfd:|socket:|pipe:|anon_inode:|/dev/null$|/dev/zero$")
# A line of strace's, which a call of another process may have cut short: `<unfinished ...>`.
OPENING = re.compile(r"\b(?P<call>open|openat|openat2|creat)\((?:[^,\"]*, )?\"(?P<path>[^\"]*)\"(?P<flags>[^)]*)")
WRITING = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|O_APPEND|O_TMPFILE")
CHANGING = re.compile(
    r"\b(?:mkdir|rmdir|rename|unlink|link|symlink|chmod|chown|lchown|fchmod|fchown|truncate|ftruncate|mknod|utime"
    r"|setxattr)\w*\("
)


@dataclass
class Place:
    """The image, a network, and the directory that is mounted at /etc/coredns."""

    image: Image
    host: PodNamespace
    configuration: Path
    directory: Path

    def start(self, *before: str) -> Server:
        """Start kdns with CoreDNS's arguments, and wait until it is ready. before: what it is run under."""
        prefix = as_pod(self.host, self.image, {self.configuration: MOUNTED_AT})
        arguments = ("-conf", f"{MOUNTED_AT}/Corefile", "--workers", 2)
        server = Server(arguments, self.directory, 53, prefix=kdns_in_pod([*before, *prefix], self.image))
        server.wait_for(r"\] ready: ")
        return server

    def addresses(self, qname: str, *, tcp: bool = False) -> list[str]:
        """What is answered in there."""
        query = dns.message.make_query(qname, "A")
        with self.host.tcp() if tcp else self.host.udp() as sock:
            if tcp:
                sock.settimeout(PATIENCE)
                sock.connect(("127.0.0.1", 53))
                reply = dns.query.tcp(query, "127.0.0.1", timeout=PATIENCE, sock=sock)
            else:
                reply = dns.query.udp(query, "127.0.0.1", timeout=PATIENCE, sock=sock)
        return sorted(rdata.to_text() for rrset in reply.answer for rdata in rrset)

    def offer(self, **addresses: str) -> None:
        """Write the Services that there are."""
        replace(self.configuration / "shop.yaml", "".join(service(*pair) for pair in addresses.items()))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    require_pods()
    directory = tmp_path_factory.mktemp("pod")
    configuration = directory / "configuration"
    configuration.mkdir(mode=0o755)
    (configuration / "Corefile").write_text(COREFILE)
    image = make_image(directory)
    add_setpriv(image)
    with PodNamespace() as host:
        yield Place(image, host, configuration, directory)


@pytest.fixture
def pod(place: Place) -> Iterator[Server]:
    place.offer(web="10.96.0.1")
    server = place.start()
    yield server
    server.kill()


def processes(server: Server) -> dict[str, int]:
    """All processes of a kdns by name."""
    return {"kdns": server.process.pid, **server.children()}


def status(pid: int) -> dict[str, str]:
    """What the kernel says of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def writable(pid: int) -> list[str]:
    """What a process has open for writing."""
    found = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        flags = Path(f"/proc/{pid}/fdinfo/{descriptor.name}").read_text().split("flags:")[1].split()[0]
        if int(flags, 8) & os.O_ACCMODE != os.O_RDONLY:
            found.append(os.readlink(descriptor))
    return found


def test_the_images_own_interpreter_has_the_capability_and_no_other_file_has_one(place: Place) -> None:
    with_one = {
        path: os.getxattr(path, CAPABILITY_ATTRIBUTE)
        for path in place.image.root.rglob("*")
        if path.is_file() and not path.is_symlink() and CAPABILITY_ATTRIBUTE in os.listxattr(path)
    }
    assert with_one == {place.image.interpreter: CAPABILITY}


def test_every_process_has_the_one_capability_and_can_get_no_other(pod: Server) -> None:
    found = processes(pod)
    assert {"kdns", "kdns-control", "kdns-worker-0", "kdns-worker-1"} <= set(found)
    for name, pid in found.items():
        said = status(pid)
        users = {*said["Uid"].split(), *said["Gid"].split()}
        capabilities = [said[field] for field in ("CapPrm", "CapEff", "CapBnd")]
        assert users == {str(USER_ID)}, name
        assert said["Groups"] == "", name
        assert said["NoNewPrivs"] == "1", name
        assert capabilities == [ONLY_NET_BIND_SERVICE] * 3, name
        assert [said["CapInh"], said["CapAmb"]] == [NONE, NONE], name


def test_it_answers_on_port_53_over_udp_and_tcp_follows_changes_and_reloads(place: Place, pod: Server) -> None:
    assert place.addresses("web.shop.svc.cluster.local") == ["10.96.0.1"]
    assert place.addresses("web.shop.svc.cluster.local", tcp=True) == ["10.96.0.1"]
    mark = pod.mark()
    place.offer(web="10.96.0.2")
    pod.wait_for("visible:", after=mark)
    assert place.addresses("web.shop.svc.cluster.local") == ["10.96.0.2"]
    mark = pod.mark()
    replace(place.configuration / "Corefile", COREFILE.replace("pods insecure", "pods disabled"))
    pod.send(signal.SIGHUP)
    pod.wait_for("reloaded", after=mark)
    assert place.addresses("web.shop.svc.cluster.local") == ["10.96.0.2"]
    assert place.addresses("1-2-3-4.shop.pod.cluster.local") == []
    replace(place.configuration / "Corefile", COREFILE)
    assert pod.stop() == 0


def test_a_killed_worker_is_replaced_with_the_same_privileges(place: Place, pod: Server) -> None:
    before = pod.children()["kdns-worker-0"]
    os.kill(before, signal.SIGKILL)
    after = pod.wait_for_child("kdns-worker-0", other_than=before)
    assert place.addresses("web.shop.svc.cluster.local") == ["10.96.0.1"]
    assert status(after)["CapEff"] == ONLY_NET_BIND_SERVICE
    assert status(after)["Uid"].split() == [str(USER_ID)] * 4


def test_the_root_is_read_only_and_nothing_but_memory_and_sockets_is_open_for_writing(pod: Server) -> None:
    # The test's own standard error is a pipe; its standard output is the terminal or file that pytest has.
    inherited = {os.readlink(f"/proc/self/fd/{descriptor}") for descriptor in (0, 1)}
    for name, pid in processes(pod).items():
        assert os.statvfs(f"/proc/{pid}/root").f_flag & os.ST_RDONLY, name
        other = [what for what in writable(pid) if not MEMORY_OR_TALK.search(what) and what not in inherited]
        assert other == [], name


def test_no_system_call_so_much_as_tries_to_write_a_file(place: Place, tmp_path: Path) -> None:
    require_pods(strace="strace")
    place.offer(web="10.96.0.1")
    trace = tmp_path / "trace"
    calls = "trace=%file,ftruncate,fchmod,fchown"
    kdns = place.start("strace", "-f", "-qq", "-s", "256", "-e", calls, "-o", str(trace))
    mark = kdns.mark()
    place.offer(web="10.96.0.2", till="10.96.0.3")
    kdns.wait_for("visible:", after=mark)
    assert place.addresses("till.shop.svc.cluster.local") == ["10.96.0.3"]
    supervisor = int(Path(f"/proc/{kdns.process.pid}/task/{kdns.process.pid}/children").read_text().split()[0])
    mark = kdns.mark()
    os.kill(supervisor, signal.SIGHUP)
    kdns.wait_for("reloaded", after=mark)
    os.kill(supervisor, signal.SIGTERM)
    assert kdns.wait() == 0
    kdns.kill()
    lines = calls_of_kdns(trace.read_text(), place.image.command[0])
    opened = [found.groupdict() for line in lines if (found := OPENING.search(line))]
    assert len(opened) > 100, "the trace shows that it reads its modules"
    assert [line for line in lines if writes(line)] == []


@pytest.mark.parametrize(
    ("line", "is_writing"),
    [
        ('7 openat(AT_FDCWD, "/etc/a", O_RDONLY|O_CLOEXEC) = 3', False),
        ('7 openat(AT_FDCWD, "/a", O_WRONLY|O_CREAT|O_EXCL, 0666) = -1 EROFS (Read-only file system)', True),
        ('7 openat(4, "a", O_RDWR <unfinished ...>', True),
        ('7 creat("/a", 0644) = 3', True),
        ('7 unlinkat(4, "a", 0) = 0', True),
        ('7 rename("/a", "/b" <unfinished ...>', True),
        ("7 ftruncate(5, 4096) = 0", False),
        ('7 readlink("/proc/self/exe", "/x"..., 4096) = 2', False),
    ],
)
def test_what_writes_is_told_from_what_does_not(line: str, is_writing: bool) -> None:
    assert writes(line) == is_writing


def writes(line: str) -> bool:
    """Whether a call of strace's would write to a file; but a memory file is given its size by ftruncate."""
    opening = OPENING.search(line)
    if opening:
        return opening["call"] == "creat" or WRITING.search(opening["flags"]) is not None
    return CHANGING.search(line) is not None and "ftruncate(" not in line


def calls_of_kdns(trace: str, command: str) -> list[str]:
    """What was called from the moment on when kdns was what ran."""
    lines = trace.splitlines()
    started = next(at for at, line in enumerate(lines) if f'execve("{command}"' in line and line.endswith("= 0"))
    return lines[started + 1 :]


def test_a_pod_that_may_not_have_the_capability_does_not_start(place: Place) -> None:
    """`drop: [ALL]` without `add: [NET_BIND_SERVICE]`: the kernel refuses to run the file."""
    prefix = as_pod(place.host, place.image, {place.configuration: MOUNTED_AT}, bounding_set=NOTHING)
    command = [*prefix, *place.image.command, "version"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 126
    assert "Operation not permitted" in done.stderr


def test_without_the_capability_port_53_is_refused_with_what_to_do(place: Place) -> None:
    os.removexattr(place.image.interpreter, CAPABILITY_ATTRIBUTE)
    try:
        place.offer(web="10.96.0.1")
        prefix = as_pod(place.host, place.image, {place.configuration: MOUNTED_AT})
        command = [*prefix, *place.image.command, "-conf", f"{MOUNTED_AT}/Corefile"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    finally:
        os.setxattr(place.image.interpreter, CAPABILITY_ATTRIBUTE, CAPABILITY)
    assert done.returncode == 1
    assert re.search(r"53\b.*permission|permission.*53\b", done.stderr, re.IGNORECASE)
    assert "Traceback" not in done.stderr
