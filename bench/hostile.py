"""A million mutated packets against one kdns worker: does it go on answering, and does its memory stay flat?

    python -m bench.hostile [--packets 1000000] [--seed 1]

Prints the PSS of all processes before, at each tenth and after, the rate, and what became of the packets. The exit
status is 1 if a reply broke a rule, anything got SERVFAIL, the log tells of a bug, or memory grew by more than
GROWTH_OCTETS_MAX in the second half. `tests/hostile` runs the same with fewer packets.
"""

from __future__ import annotations

import argparse
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from struct import unpack

from bench import processes
from bench.mutations import HEADER_OCTETS, packets, seeds
from bench.peers import ADDRESS, ROOT, free_port
from bench.wire import TYPES, encode_query, parse_reply

WINDOW = 64  # packets between two probes: their replies fit into a socket's receive buffer
PATIENCE = 10.0
REPLY_OCTETS_MAX = 1232  # kdns's cap
GROWTH_OCTETS_MAX = 4 << 20
SERVFAIL = 2
QR = 0x80  # in the third octet
PROBE = "probe.invalid"  # in no zone: REFUSED, and like no mutated packet
ZONES = (ROOT / "zones" / "example.org.zone", ROOT / "zones" / "shop.yaml")
NAMES = (
    "www.example.org", "web.example.org", "example.org", "any.apps.example.org", "host.lab.example.org",
    "absent.example.org", "_tcp.example.org", "svc.cluster.local", "cluster.local", "dns-version.cluster.local",
    "absent.shop.svc.cluster.local", "10-1-1-1.shop.pod.cluster.local", "ns.dns.cluster.local", "10.in-addr.arpa",
)  # fmt: skip


@dataclass
class Outcome:
    """What became of packets: replies by rcode, and how many got none. `faults` are replies that broke a rule."""

    sent: int = 0
    rcodes: Counter[int] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    @property
    def dropped(self) -> int:
        """Packets without a reply."""
        return self.sent - self.rcodes.total()

    def note(self, packet: bytes | None, reply: bytes) -> None:
        """Count a reply to `packet`, None if it is to none that may be answered."""
        fault = "a reply to nothing" if packet is None else _fault(packet, reply)
        if fault:
            self.faults.append(f"{fault}: {packet.hex() if packet else ''} got {reply.hex()}")
        self.rcodes[reply[3] & 15] += 1


def _fault(packet: bytes, reply: bytes) -> str:
    """The rule that a reply broke, "" for none."""
    if not reply[2] & 0x80 or (reply[2] ^ packet[2]) & 0x78:
        return "QR or opcode is wrong"
    if len(reply) > REPLY_OCTETS_MAX:
        return "longer than the cap"
    try:
        parse_reply(reply)
        return "" if _end(reply) == len(reply) else "no DNS message: it ends elsewhere"
    except (ValueError, IndexError) as error:
        return f"no DNS message: {error}"


def _end(reply: bytes) -> int:
    """Where the last record ends, as the counts say."""
    questions, *records = unpack(">4H", reply[4:HEADER_OCTETS])
    at = HEADER_OCTETS
    for _ in range(questions):
        at = _name_end(reply, at) + 4
    for _ in range(sum(records)):
        at = _name_end(reply, at) + 10
        at += reply[at - 2] << 8 | reply[at - 1]
    return at


def _name_end(reply: bytes, at: int) -> int:
    while 0 < reply[at] < 0xC0:
        at += reply[at] + 1
    return at + (2 if reply[at] else 1)


class Sender:
    """Sends packets to one worker and tells their replies: a probe behind each window says when all have come."""

    def __init__(self, port: int) -> None:
        self._socket = socket.socket(type=socket.SOCK_DGRAM)
        self._socket.settimeout(PATIENCE)
        self._socket.connect((ADDRESS, port))
        self._probe = encode_query(PROBE, "A", 0)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def send(self, stream: Iterable[bytes], outcome: Outcome) -> None:
        """Send all of them. Raises TimeoutError if the server stops answering."""
        stream = iter(stream)
        while window := list(islice(stream, WINDOW)):
            self._send_window(window, outcome)

    def _send_window(self, window: list[bytes], outcome: Outcome) -> None:
        waiting: dict[bytes, list[bytes]] = {}
        for packet in window:
            self._socket.send(packet)
            if len(packet) >= HEADER_OCTETS and not packet[2] & QR:
                waiting.setdefault(packet[:2], []).append(packet)
        self._socket.send(self._probe)
        outcome.sent += len(window)
        for reply in self._replies():
            candidates = waiting.get(reply[:2])
            outcome.note(candidates.pop(0) if candidates else None, reply)

    def _replies(self) -> Iterator[bytes]:
        """Replies up to the probe's. One worker answers in order."""
        while True:
            reply = self._socket.recv(65535)
            if reply[12:] == self._probe[12:]:
                return
            yield reply


@contextmanager
def _kdns(directory: Path) -> Iterator[tuple[int, subprocess.Popen[bytes], Path]]:
    port, log = free_port(), directory / "log"
    zone, manifest = map(str, ZONES)
    command = [sys.executable, "-m", "kdns", "serve", "--workers", "1", "--listen", f"{ADDRESS}:{port}"]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*command, "--zones", f"example.org={zone}", "--manifests", manifest], stderr=out, cwd=ROOT
        )
    try:
        deadline = time.monotonic() + PATIENCE
        while b"] ready: " not in log.read_bytes():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(log.read_text())
            time.sleep(0.02)
        yield port, process, log
    finally:
        process.terminate()
        process.wait(PATIENCE)


def valid_queries() -> list[bytes]:
    """What the mutations start from."""
    names = [encode_query(name, "A", 0)[12:-4] for name in NAMES]
    return seeds(names, (*TYPES.values(), 65, 255, 252))


def _run(packets_total: int, seed: int) -> int:
    with tempfile.TemporaryDirectory(prefix="kdns-hostile-") as directory, _kdns(Path(directory)) as started:
        port, process, log = started
        sender, outcome = Sender(port), Outcome()
        stream = packets(seed, valid_queries(), packets_total)
        pids = processes.tree(process.pid)
        memory = [processes.pss_octets(pids)]
        print(f"{processes.machine_line()}\nPSS before: {memory[0] >> 10} KiB", flush=True)
        begun = time.monotonic()
        for tenth in range(1, 11):
            sender.send(islice(stream, packets_total // 10), outcome)
            memory.append(processes.pss_octets(pids))
            print(f"PSS after {tenth * 10:3} %: {memory[-1] >> 10} KiB", flush=True)
        seconds = time.monotonic() - begun
        sender.close()
        _report(outcome, seconds)
        text = log.read_text()
    complaints = [line for line in text.splitlines() if "kdns bug" in line or "Traceback" in line]
    for line in (*outcome.faults[:10], *complaints[:10]):
        print(line)
    grown = memory[-1] - memory[len(memory) // 2]
    failed = outcome.faults or complaints or outcome.rcodes[SERVFAIL] or grown > GROWTH_OCTETS_MAX
    print(f"grown in the second half: {grown >> 10} KiB; {'FAILED' if failed else 'passed'}")
    return 1 if failed else 0


def _report(outcome: Outcome, seconds: float) -> None:
    print(f"{outcome.sent} packets in {seconds:.1f} s, {outcome.sent / seconds:.0f}/s, sender and server together")
    print(f"answered {outcome.rcodes.total()}, dropped {outcome.dropped}")
    for rcode, count in sorted(outcome.rcodes.items()):
        print(f"  rcode {rcode:2}: {count}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.hostile", description=__doc__.splitlines()[0])
    parser.add_argument("--packets", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    return _run(options.packets, options.seed)


if __name__ == "__main__":
    sys.exit(main())
