"""Targets: how an app names a service (docs/client.md has the table).

The grammar is strict, so that a name means one thing wherever it is read:

    HOST:NAME[/udp]           SRV _NAME._tcp.HOST; the port comes from DNS
    HOST:NUMBER               A and AAAA of HOST; the number is taken as it is
    dns:///NAME:NUMBER        A and AAAA of NAME, absolute as written
    srv://_port._proto.NAME   SRV of that, absolute as written
    static://A:PORT[*WEIGHT],...   no DNS at all

HOST is svc, svc.ns, svc.ns.svc, svc.ns.svc.DOMAIN or pod.svc.ns.svc[.DOMAIN], with or without the last dot (Kubernetes
DNS specification 1.1.0). Whatever is asked on the wire is absolute: no search list, no ndots. Not here: what the
names resolve to (kdns.client.resolution), where namespace and domain come from (kdns.client.place).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

from kdns.client.endpoint import Endpoint
from kdns.client.errors import TargetError
from kdns.client.place import Place
from kdns.client.servers import canonical, is_address

# RFC 1035 section 2.3.4: 255 octets on the wire are 253 characters of text.
NAME_CHARACTERS_MOST = 253
# A list of endpoints in one string; more belongs into DNS.
STATIC_MOST = 1000
WEIGHT_MOST = 65535  # as in a SRV record

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
# Names of absolute forms may be any host's, with underscores as in SRV owners.
_ANY_LABEL = re.compile(r"[a-z0-9_]([-a-z0-9_]{0,61}[a-z0-9_])?")
# Names of ports (RFC 6335 section 5.1): 15 characters at most, a letter among them, no two hyphens in a row.
_PORT_NAME = re.compile(r"(?=.{1,15}$)(?=.*[a-z])(?!.*--)[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_FORMS = "write svc:PORT, svc.ns:PORT, svc.ns.svc[.DOMAIN]:PORT, or dns:///NAME:NUMBER for any other host"


class Form(Enum):
    """Which of the forms a target has."""

    PORT_NAME = "port name"
    PORT_NUMBER = "port number"
    DNS = "dns"
    SRV = "srv"
    STATIC = "static"


class Target(NamedTuple):
    """How a target is understood.

    text: as given. name: asked for, absolute, lower case, with the last dot; "" for static. port: 0 where SRV tells
    it. read_as: for error messages. manifest: service, namespace and port of a Service that may have a ClusterIP.
    host: the name without `_port._proto`.
    """

    text: str
    form: Form
    name: str
    port: int
    is_srv: bool
    endpoints: tuple[Endpoint, ...]
    read_as: str
    manifest: tuple[str, str, str] | None = None
    host: str = ""


class _Host(NamedTuple):
    name: str
    service: str
    namespace: str
    is_pod: bool


def parse_target(text: str, place: Callable[[], Place]) -> Target:
    """Read a target. place: asked only where the target leaves out what it tells. Raises TargetError."""
    if not text.isascii():  # some letters beyond ASCII are ASCII when they are lower case, and another name then
        raise TargetError(f"{text!r} has characters that no name in a cluster has; {_FORMS}")
    scheme, separator, rest = text.partition("://")
    if not separator:
        return _service(text, place)
    reader = _READERS.get(scheme)
    if reader is None:
        raise TargetError(f"{text!r}: no such scheme as {scheme}://; {_FORMS}")
    return reader(text, rest)


def _service(text: str, place: Callable[[], Place]) -> Target:
    host_text, separator, port_text = text.rpartition(":")
    if not separator or not host_text:
        raise TargetError(f"{text!r} has no port; {_FORMS}")
    host = _host(text, host_text, place)
    manifest = None if host.is_pod else (host.service, host.namespace, port_text.lower().partition("/")[0])
    if port_text.isascii() and port_text.isdigit():
        number = _number(text, port_text)
        read_as = f"A and AAAA of {host.name}, port {number} as written"
        return Target(text, Form.PORT_NUMBER, host.name, number, False, (), read_as, manifest, host.name)
    port_name, _, protocol = port_text.lower().partition("/")
    if not _PORT_NAME.fullmatch(port_name) or protocol not in ("", "tcp", "udp") or port_text.endswith("/"):
        raise TargetError(f"{text!r}: {port_text!r} is neither a port's name, NAME/udp, nor a number; {_FORMS}")
    name = f"_{port_name}._{protocol or 'tcp'}.{host.name}"
    _check_length(text, name)
    return Target(text, Form.PORT_NAME, name, 0, True, (), f"SRV of {name}", manifest, host.name)


def _host(text: str, host: str, place: Callable[[], Place]) -> _Host:
    """The name of a service or of one of its pods, completed from our place."""
    labels = host.lower().removesuffix(".").split(".")
    if not all(map(_LABEL.fullmatch, labels)) or is_address(host):
        hint = "; for addresses write static://" if is_address(host.strip("[]")) else ""
        raise TargetError(f"{text!r}: {host!r} is no name of a Service; {_FORMS}{hint}")
    depth = _SHAPES.get(len(labels))
    if depth is not None and (depth < 0 or labels[depth] == "svc"):
        domain = None
    else:
        domain = _domain(text, place)
        suffix = ["svc", *domain.split(".")]
        if labels[-len(suffix) :] != suffix or len(labels) - len(suffix) not in (2, 3):
            raise TargetError(f"{text!r}: {host!r} is not below svc.{domain}; {_FORMS}")
        labels = labels[: len(labels) - len(suffix) + 1]
    if labels[-1] == "svc" and len(labels) > 2:
        labels = labels[:-1]
    if len(labels) == 1:
        labels = [labels[0], _namespace(text, place)]
    *pod, service, namespace = labels
    name = ".".join([*labels, "svc", domain or _domain(text, place)]) + "."
    _check_length(text, name)
    return _Host(name, service, namespace, bool(pod))


# How many labels leave the domain out, and which of them must be `svc` then; below 0: none.
_SHAPES = {1: -1, 2: -1, 3: 2, 4: 3}


def _namespace(text: str, place: Callable[[], Place]) -> str:
    namespace = place().namespace
    if namespace is None or not _LABEL.fullmatch(namespace):
        raise TargetError(
            f"{text!r} leaves the namespace out, and neither ResolverOptions(namespace=...), a search line of "
            "resolv.conf nor a service account tells it: write svc.ns:PORT"
        )
    return namespace


def _domain(text: str, place: Callable[[], Place]) -> str:
    domain = place().domain
    if not domain or not all(map(_LABEL.fullmatch, domain.split("."))):
        raise TargetError(
            f"{text!r} needs the cluster's domain, and neither ResolverOptions(domain=...) nor a search line "
            "NS.svc.DOMAIN of resolv.conf tells it: give one, or write dns:///NAME:NUMBER"
        )
    return domain


def _dns(text: str, rest: str) -> Target:
    if not rest.startswith("/"):
        raise TargetError(f"{text!r}: a server in dns:// is not supported; write dns:///NAME:NUMBER")
    host, separator, port_text = rest[1:].rpartition(":")
    if not separator or not (port_text.isascii() and port_text.isdigit()):
        raise TargetError(f"{text!r} has no port number: write dns:///NAME:NUMBER")
    name, number = _absolute(text, host), _number(text, port_text)
    return Target(text, Form.DNS, name, number, False, (), f"A and AAAA of {name}, port {number} as written", host=name)


def _srv(text: str, rest: str) -> Target:
    name = _absolute(text, rest)
    parts = name.split(".", 2)
    if len(parts) < 3 or not parts[2].strip(".") or not (parts[0].startswith("_") and parts[1].startswith("_")):
        raise TargetError(f"{text!r}: write srv://_port._proto.NAME")
    return Target(text, Form.SRV, name, 0, True, (), f"SRV of {name}", host=parts[2])


def _static(text: str, rest: str) -> Target:
    items = rest.split(",")
    if len(items) > STATIC_MOST:
        raise TargetError(f"{text[:40]!r}... lists more than {STATIC_MOST} endpoints")
    endpoints = tuple(_endpoint(text, item) for item in items)
    if len({endpoint.key for endpoint in endpoints}) < len(endpoints):
        raise TargetError(f"{text!r} lists an endpoint twice")
    return Target(text, Form.STATIC, "", 0, False, endpoints, "endpoints as listed")


def _endpoint(text: str, item: str) -> Endpoint:
    address, star, weight_text = item.partition("*")
    if address.startswith("["):
        host, _, port_text = address[1:].partition("]:")
    else:
        host, _, port_text = address.partition(":")
    weight = _weight(weight_text) if star else 1
    digits = port_text.isascii() and port_text.isdigit()
    if not is_address(host) or (":" in host) != address.startswith("[") or not digits or weight is None:
        raise TargetError(f"{text!r}: {item!r} is none of ADDRESS:PORT, [ADDRESS]:PORT, either with *WEIGHT")
    return Endpoint(canonical(host), _number(text, port_text), 0, weight)


def _weight(text: str) -> int | None:
    digits = text.isascii() and text.isdigit() and len(text) <= 5
    return int(text) if digits and int(text) <= WEIGHT_MOST else None


def _absolute(text: str, host: str) -> str:
    """A name as written, with its last dot."""
    name = host.lower().removesuffix(".")
    if not all(map(_ANY_LABEL.fullmatch, name.split("."))) or is_address(name):
        hint = ": for addresses write static://" if is_address(host.strip("[]")) else ""
        raise TargetError(f"{text!r}: {host!r} is no host name{hint}")
    _check_length(text, name)
    return f"{name}."


def _check_length(text: str, name: str) -> None:
    if len(name.removesuffix(".")) > NAME_CHARACTERS_MOST:
        raise TargetError(f"{text[:40]!r}...: the name is longer than {NAME_CHARACTERS_MOST} characters")


def _number(text: str, digits: str) -> int:
    number = int(digits) if len(digits) <= 5 and not digits.startswith("0") else 0
    if not 0 < number < 65536:
        raise TargetError(f"{text!r}: a port is a number from 1 to 65535, without zeros in front")
    return number


_READERS: dict[str, Callable[[str, str], Target]] = {"dns": _dns, "srv": _srv, "static": _static}
