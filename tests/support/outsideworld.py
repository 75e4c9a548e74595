"""The world outside of a cluster: a root of our own, what is below it, and two resolvers that ask their way down.

    with Namespace() as host, OutsideWorld(host, directory) as world:
        ... world.resolvers[0].address ...           # Unbound, on a host of its own at the end of a cable
        world.resolvers[0].kill()                    # SIGKILL
        world.resolvers[0].start()

NSD serves the root and all else, on one more host, that only the resolvers reach. Example names and addresses
(RFC 2606, 5737, 3849) are all that there is. Not here: who asks (tests/clients).
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
from contextlib import ExitStack
from ipaddress import ip_address
from pathlib import Path
from typing import Self

import dns.message

from tests.support.namespaces import End, Namespace, connect
from tests.support.peers import PATIENCE, configure_nsd

ROOT_SERVER, SERVER, INTERNET = "192.0.2.1", "192.0.2.2", "192.0.2.0/24"
WWW_4, WWW_6 = "203.0.113.80", "2001:db8::80"
FRESH = "203.0.113.90"  # of all names below fresh.example.org, each of which somebody can ask for as the first one
INTRANET = "203.0.113.10"
CROWD = sorted(f"203.0.113.{n}" for n in range(100, 200))  # more than 1232 octets
MULTITUDE = sorted(f"198.51.{n // 250}.{n % 250}" for n in range(300))  # more than 4096
NOVEL = ["x" * 250] * 20  # strings of a TXT record: more than 4096 octets as well
STALE = "203.0.113.66"  # of names below stale.example.org, which live for a second

_SOA = "@ 86400 SOA ns.org. hostmaster.org. 1 3600 600 86400 60\n"
_ROOT_ZONE = f"""$TTL 86400
. SOA a.root. hostmaster.root. 1 3600 600 86400 60
. NS a.root.
a.root. A {ROOT_SERVER}
org. NS ns.org.
ns.org. A {SERVER}
net. NS ns.org. ; which knows nothing of it
113.0.203.in-addr.arpa. NS ns.org.
8.b.d.0.1.0.0.2.ip6.arpa. NS ns.org.
"""
_ORG_ZONE = f"""{_SOA}$TTL 86400
@ NS ns
ns A {SERVER}
example NS ns
other NS ns
"""
_EXAMPLE_ZONE = (
    f"""{_SOA}$TTL 300
@ NS ns.org.
www A {WWW_4}
www AAAA {WWW_6}
four A {WWW_4}
alias CNAME alias-2
alias-2 CNAME alias-3.other.org.
astray CNAME nowhere
lost CNAME www.example.net.
@ MX 10 mx1
@ MX 20 mx2
mx1 A 203.0.113.25
text TXT "v=spf1 -all"
_sip._tcp SRV 10 5 5060 sip
intranet.corp A {INTRANET}
*.fresh A {FRESH}
*.stale 1 A {STALE}
"""
    + "".join(f"crowd A {address}\n" for address in CROWD)
    + "".join(f"multitude A {address}\n" for address in MULTITUDE)
    + "novel TXT "
    + " ".join(f'"{one}"' for one in NOVEL)
    + "\n"
)
_OTHER_ZONE = f"{_SOA}$TTL 300\n@ NS ns.org.\nalias-3 CNAME www.example.org.\n"


def _reverse_zone(origin: str, address: str) -> str:
    labels = ip_address(address).reverse_pointer.removesuffix(f".{origin}")
    return f"{_SOA}$TTL 300\n@ NS ns.org.\n{labels} PTR www.example.org.\n"


_ZONES = {
    "org": _ORG_ZONE,
    "example.org": _EXAMPLE_ZONE,
    "other.org": _OTHER_ZONE,
    "113.0.203.in-addr.arpa": _reverse_zone("113.0.203.in-addr.arpa", WWW_4),
    "8.b.d.0.1.0.0.2.ip6.arpa": _reverse_zone("8.b.d.0.1.0.0.2.ip6.arpa", WWW_6),
}


_COUNTING = """table inet counting {
    counter replies {}
    chain output { type filter hook output priority 0; oifname cluster udp sport 53 counter name replies; }
}
"""
# A port that is closed is told of each time, not once a second.
_REFUSE_ALWAYS = "for file in ipv4/icmp_ratelimit ipv6/icmp/ratelimit; do echo 0 >/proc/sys/net/$file; done"


class Daemon:
    """A server on such a host."""

    def __init__(self, host: Namespace, command: list[str], log: Path) -> None:
        self._command = [*host.prefix, *command]
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it, if it does not run."""
        if self._process is None:
            environment = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin"}
            with self._log.open("ab") as out:
                self._process = subprocess.Popen(
                    self._command, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out
                )

    def kill(self) -> None:
        """Let it end by SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE)
            self._process = None

    def stop(self) -> None:
        """Let it, and what it has started, end."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(PATIENCE)
            self._process = None

    def log(self) -> str:
        """What it said."""
        return self._log.read_text(errors="replace")


class Recursive:
    """A resolver of the world outside: Unbound, on a host with two cables.

    number: 1 or 2. near: where it is asked from. addresses: IPv4 and IPv6.
    """

    def __init__(self, number: int, near: Namespace, internet: Namespace, directory: Path) -> None:
        self.addresses = f"10.77.{number}.53", f"fd77:{number}::53"
        self._near = near
        self._host = Namespace(beside=near)
        connect(
            near,
            self._host,
            near=End(f"outside-{number}", (f"10.77.{number}.1/24", f"fd77:{number}::1/64")),
            far=End("cluster", (f"{self.addresses[0]}/24", f"{self.addresses[1]}/64")),
        )
        connect(
            internet,
            self._host,
            near=End(f"resolver-{number}", (f"10.78.{number}.1/24",)),
            far=End("internet", (f"10.78.{number}.53/24",)),
        )
        self._host.nft(_COUNTING)
        self._host.run("sh", "-c", _REFUSE_ALWAYS)
        self._host.ip(f"route add {INTERNET} via 10.78.{number}.1\n")
        config = directory / f"unbound-{number}.conf"
        config.write_text(_unbound(directory, self.addresses))
        self._daemon = Daemon(
            self._host, ["unbound", "-d", "-c", str(config)], directory / f"unbound-{number}.log"
        )

    def wait_until_ready(self) -> None:
        """Wait until it answers a name of the world."""
        query = dns.message.make_query("www.example.org", "A")
        deadline = time.monotonic() + PATIENCE
        with self._near.udp() as sock:
            sock.connect((self.addresses[0], 53))
            while not _answers(sock, query):
                assert time.monotonic() < deadline, self._daemon.log()

    def replies(self) -> int:
        """How many it has sent so far, over UDP."""
        found = re.search(r"packets (\d+)", self._host.run("nft", "list", "counter", "inet", "counting", "replies"))
        assert found is not None
        return int(found[1])

    def kill(self) -> None:
        """SIGKILL: what is sent to it is refused by its host."""
        self._daemon.kill()

    def start(self) -> None:
        """Start it again, with an empty cache."""
        self._daemon.start()
        self.wait_until_ready()

    def unplug(self) -> None:
        """Take the cable off at the far end: nobody tells the near one that what it sends gets nowhere."""
        self._host.ip("link set cluster down\n")

    def plug(self) -> None:
        """Put the cable back."""
        self._host.ip(  # a link that goes down forgets its addresses of IPv6
            f"link set cluster up\naddress replace {self.addresses[1]}/64 dev cluster nodad\n"
        )
        self.wait_until_ready()

    def silence(self) -> None:
        """Have what comes to it dropped."""
        self._host.nft("table inet silence { chain input { type filter hook input priority 0; policy drop; }; }\n")

    def hear(self) -> None:
        """Have it let in again."""
        self._host.nft("delete table inet silence\n")
        self.wait_until_ready()

    def close(self) -> None:
        """End it."""
        self._daemon.kill()
        self._host.close()


class OutsideWorld:
    """See the module's docstring."""

    def __init__(self, host: Namespace, directory: Path) -> None:
        self._stack = ExitStack()
        directory.mkdir()
        internet = self._stack.enter_context(Namespace(beside=host))
        internet.ip("".join(f"address add {address}/32 dev lo\n" for address in (ROOT_SERVER, SERVER)))
        self._serve(internet, directory / "root", ROOT_SERVER, {".": _ROOT_ZONE})
        self._serve(internet, directory / "world", SERVER, _ZONES)
        self.resolvers = tuple(self._resolver(number, host, internet, directory) for number in (1, 2))

    def __enter__(self) -> Self:
        try:
            for resolver in self.resolvers:
                resolver.wait_until_ready()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    def _serve(self, host: Namespace, directory: Path, address: str, zones: dict[str, str]) -> None:
        directory.mkdir()
        files = {origin: directory / f"zone-{number}" for number, origin in enumerate(zones)}
        for origin, file in files.items():
            file.write_text(zones[origin])
        command = ["nsd", *configure_nsd(directory, 53, files, address)]
        self._stack.callback(Daemon(host, command, directory / "log").stop)

    def _resolver(self, number: int, host: Namespace, internet: Namespace, directory: Path) -> Recursive:
        resolver = Recursive(number, host, internet, directory)
        self._stack.callback(resolver.close)
        return resolver


def _unbound(directory: Path, addresses: tuple[str, str]) -> str:
    """As Debian ships it, but for its root, and for the example addresses, which it would answer itself."""
    hints = directory / "root.hints"
    hints.write_text(f". 3600000 NS a.root.\na.root. 3600000 A {ROOT_SERVER}\n")
    interfaces = "".join(f"  interface: {address}\n" for address in addresses)
    ours = "".join(f'  local-zone: "{origin}" nodefault\n' for origin in _ZONES if origin.endswith("arpa"))
    return (
        f"server:\n{interfaces}  access-control: 0.0.0.0/0 allow\n  access-control: ::/0 allow\n"
        f'  root-hints: {hints}\n  module-config: "iterator"\n{ours}'
        f'  chroot: ""\n  username: ""\n  directory: {directory}\n  pidfile: ""\n  use-syslog: no\n'
        "remote-control:\n  control-enable: no\n"
    )


def _answers(sock: socket.socket, query: dns.message.Message) -> bool:
    sock.settimeout(0.05)
    try:
        sock.send(query.to_wire())
        return len(dns.message.from_wire(sock.recv(4096)).answer) > 0
    except OSError:
        time.sleep(0.005)  # what is refused is refused at once
        return False
