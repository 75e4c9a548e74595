"""What kubelet and Prometheus do: GET requests to a kdns under test, each on a connection of its own."""

from __future__ import annotations

import http.client
import re
import time

from prometheus_client.parser import text_string_to_metric_families

from tests.server.serving import PATIENCE, Server, rest_between_looks


def http_port(server: Server, path: str, after: int = 0) -> int:
    """The port where a path is served, as the log says it."""
    line = server.wait_for(rf"{path}\b.* served on ", after)
    found = re.search(r":(\d+) \(HTTP\)", line)
    assert found
    return int(found[1])


def get(port: int, path: str, host: str = "127.0.0.1") -> tuple[int, str]:
    """Status and body."""
    connection = http.client.HTTPConnection(host, port, timeout=PATIENCE)
    try:
        connection.request("GET", path)
        reply = connection.getresponse()
        return reply.status, reply.read().decode()
    finally:
        connection.close()


def wait_until(port: int, path: str, status: int) -> str:
    """Ask until the status is this, and return the body."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found, body = get(port, path)
        if found == status:
            return body
        rest_between_looks()
    raise AssertionError(f"{path} says {found}: {body}")


def scrape(port: int) -> dict[str, float]:
    """The sums of all series of each name."""
    sums: dict[str, float] = {}
    for family in text_string_to_metric_families(get(port, "/metrics")[1]):
        for sample in family.samples:
            sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
    return sums


def wait_for_metric(port: int, name: str, value: float) -> dict[str, float]:
    """Scrape until a sum is this, and return all sums."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        sums = scrape(port)
        if sums.get(name, 0.0) == value:
            return sums
        rest_between_looks()
    raise AssertionError(f"{name} is {sums.get(name)} and not {value}")
