"""Kubernetes objects from JSON, or from what YAML gave, to the packed values of kdns.kube.objects.

Objects that the API server would refuse raise InvalidObject. What is allowed there but cannot become DNS data is left
out with a remark. Not here: lists and files (kdns.kube.manifests).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, NamedTuple, TypeVar, cast

import msgspec

from kdns.kube import api
from kdns.kube.columns import NO_LABEL, HostSorter
from kdns.kube.names import (
    V4_OCTETS,
    V6_OCTETS,
    alias_target,
    is_object_label,
    parse_address,
    parse_addresses,
    parse_any_address,
    wire_label,
)
from kdns.kube.objects import (
    SERVICE_NAME_LABEL,
    Change,
    ContainerPort,
    EndpointSlice,
    Key,
    Namespace,
    Pod,
    Service,
    Tombstone,
    describe,
    labels_text,
    port_order,
    service_key,
)
from kdns.kube.problem import InvalidObject
from kdns.wire.name import InvalidName
from kdns.zone.subtree import Port

# Values that many objects share (port lists, keys, label sets of replicas). Past this many the table starts anew,
# which costs only sharing: enough for several times the 10,000 services that a cluster is meant to have at most.
SHARED_VALUES_MAX = 1 << 16
PORT_MAX = 65535
TRIGGER_ANNOTATION = "endpoints.kubernetes.io/last-change-trigger-time"

_FAMILIES = {"IPv4": V4_OCTETS, "IPv6": V6_OCTETS}
_BOTH_FAMILIES = (V4_OCTETS, V6_OCTETS)

_T = TypeVar("_T")


class Keep(NamedTuple):
    """What to keep beyond what every answer depends on: 8 MB more, of 19, for 10,000 services with 150,000 endpoints.

    labels: labels of Services and EndpointSlices, for a label selector. pod_names: for endpoints named by their Pod.
    draining: endpoints that are terminating and still serving, for headless services that have no others.
    """

    labels: bool = True
    pod_names: bool = True
    draining: bool = True


KEEP_ALL = Keep()


class ObjectDecoder:
    """Decodes objects; those of one decoder share the values they have in common."""

    def __init__(self, keep: Keep = KEEP_ALL) -> None:
        self._keep = keep
        self.keeps_pod_names = keep.pod_names
        self._shared: dict[Any, Any] = {}

    def decode_json(self, kind: str, data: bytes | msgspec.Raw, remarks: list[str]) -> Change:
        """One object of a kind that is answered from, as the API writes it.

        Gives a Tombstone for an object that no answer can depend on; says why in `remarks`.
        Raises InvalidObject, and msgspec.DecodeError where the JSON is broken.
        """
        try:
            return self.pack(kind, _READERS[kind].decoder.decode(data), remarks)
        except msgspec.ValidationError as error:
            raise InvalidObject(_readable(kind, error)) from None

    def decode_plain(self, kind: str, value: object, remarks: list[str]) -> Change:
        """As decode_json, from dicts, lists, strings and numbers."""
        try:
            return self.pack(kind, msgspec.convert(value, api_type(kind)), remarks)
        except msgspec.ValidationError as error:
            raise InvalidObject(_readable(kind, error)) from None

    def pack(self, kind: str, read: api.ApiObject, remarks: list[str]) -> Change:
        """As decode_json, from what was read already; `read` is of `api_type(kind)`."""
        key = self.key_of(kind, read.metadata)
        found: list[str] = []
        try:
            return _READERS[kind].pack(self, key, read, found)
        except ValueError as error:
            raise InvalidObject(f"{describe(key)}: {error}") from None
        finally:
            if found:
                remarks += [f"{describe(key)}: {remark}" for remark in found]

    def key_of(self, kind: str, meta: api.ObjectMeta | None) -> Key:
        """The key of an object. Raises InvalidObject if it has no name."""
        if meta is None or not meta.name:
            raise InvalidObject(f"{kind} without metadata.name")
        namespace = self.share(meta.namespace or "default") if _READERS[kind].namespaced else ""
        return self.share((self.share(kind), namespace, meta.name))

    def share(self, value: _T) -> _T:
        """An equal value that was seen before, or this one."""
        if len(self._shared) > SHARED_VALUES_MAX:
            self._shared.clear()
        return cast("_T", self._shared.setdefault(value, value))

    def is_draining(self, conditions: api.EndpointConditions | None) -> bool:
        """Whether an endpoint that is not ready is terminating, still serving, and to be kept for that."""
        return bool(self._keep.draining and conditions and conditions.terminating and conditions.serving is not False)

    def kept_labels(self, meta: api.ObjectMeta | None) -> str:
        """The labels of a Service or EndpointSlice, "" if they are not to be kept."""
        return self.labels(meta.labels) if meta and self._keep.labels else ""

    def pod_label(self, target: api.ObjectReference | None) -> bytes:
        """The wire label of an endpoint's Pod; b"\\0" if it has none or it is not to be kept.

        A Pod's name may have dots or 253 characters, and is no label then.
        """
        if not self.keeps_pod_names or target is None or target.kind != "Pod" or not target.name:
            return NO_LABEL
        return wire_label(target.name) or NO_LABEL

    def labels(self, labels: dict[str, str | None] | None) -> str:
        """A label set in text form. Raises ValueError for what no label may hold."""
        if not labels:
            return ""
        text = labels_text({name: value or "" for name, value in labels.items()})
        if text.count("=") != len(labels) or text.count(",") != len(labels) - 1:
            raise ValueError(f"labels {text!r}: neither '=' nor ',' may stand in a label")
        return self.share(text)


def trigger_time(meta: api.ObjectMeta | None) -> float | None:
    """When what an EndpointSlice tells of happened, by the unix clock; None if it does not say."""
    text = (meta.annotations or {}).get(TRIGGER_ANNOTATION) if meta else None
    try:
        return datetime.fromisoformat(text).timestamp() if text else None
    except (ValueError, OverflowError):  # an annotation may be anything
        return None


def _pack_namespace(decoder: ObjectDecoder, key: Key, read: api.ApiObject, remarks: list[str]) -> Change:
    if not is_object_label(key[2]):
        return _no_dns_name(key, "name", key[2], remarks)
    return Namespace(key, decoder.labels(_meta(read).labels))


def _pack_service(decoder: ObjectDecoder, key: Key, read: api.Service, remarks: list[str]) -> Change:
    for what, label in (("namespace", key[1]), ("name", key[2])):
        if not is_object_label(label):
            return _no_dns_name(key, what, label, remarks)
    spec = read.spec or api.ServiceSpec()
    headless, addresses = _cluster_addresses(spec, remarks)
    external_name = _external_name(spec, remarks)
    if not (headless or addresses or external_name):
        remarks.append("no clusterIP, so it has no address (kdns invents none; the API server allocates them)")
    ports = sorted(dict.fromkeys(_service_ports(spec, remarks)), key=lambda pair: port_order(pair[0]))
    return Service(
        key=key,
        labels=decoder.kept_labels(read.metadata),
        headless=headless,
        addresses=addresses,
        ports=decoder.share(tuple(port for port, _ in ports)),
        external_name=external_name,
        selector="" if external_name else decoder.labels(spec.selector),
        targets=decoder.share(tuple(target for _, target in ports)),
        families=_families(spec, addresses),
        publish_not_ready=bool(spec.publish_not_ready_addresses),
    )


def _cluster_addresses(spec: api.ServiceSpec, remarks: list[str]) -> tuple[bool, tuple[bytes, ...]]:
    """Whether the service is headless, and its ClusterIPs."""
    if spec.type == "ExternalName":
        return False, ()
    texts = spec.cluster_ips or [spec.cluster_ip or ""]
    if "None" in texts or spec.cluster_ip == "None":
        return True, ()
    return False, _addresses(texts, remarks)


def _addresses(texts: Iterable[str], remarks: list[str]) -> tuple[bytes, ...]:
    return tuple(dict.fromkeys(parse_any_address(text, remarks) for text in texts if text))


def _external_name(spec: api.ServiceSpec, remarks: list[str]) -> str:
    if spec.type != "ExternalName":
        return ""
    if not spec.external_name:
        raise ValueError("type ExternalName without spec.externalName")
    try:
        alias_target(spec.external_name)
    except InvalidName as error:
        remarks.append(str(error))
    return spec.external_name


def _families(spec: api.ServiceSpec, addresses: tuple[bytes, ...]) -> tuple[int, ...]:
    """As the EndpointSlice controller decides: ipFamilies, else those of the ClusterIPs, else both."""
    named = {_FAMILIES[family] for family in spec.ip_families or () if family in _FAMILIES}
    return tuple(sorted(named or {len(address) for address in addresses})) or _BOTH_FAMILIES


def _service_ports(spec: api.ServiceSpec, remarks: list[str]) -> Iterable[tuple[Port, int | str]]:
    for port in spec.ports or ():
        if not 0 < port.port <= PORT_MAX:
            raise ValueError(f"port {port.port} is not in 1..{PORT_MAX}")
        packed = _port(port.name, port.protocol, port.port, remarks)
        if packed is not None:
            yield packed, port.target_port or port.port


def _pack_slice(decoder: ObjectDecoder, key: Key, read: api.EndpointSlice, remarks: list[str]) -> Change:
    octets = _FAMILIES.get(read.address_type or "")
    if octets is None:
        return _not_addresses(key, read.address_type, remarks)
    owner = (_meta(read).labels or {}).get(SERVICE_NAME_LABEL)
    if not owner:
        remarks.append(f"no label {SERVICE_NAME_LABEL}, so it belongs to no Service")
        return Tombstone(key)
    found = _sorted_out(decoder, read.endpoints or (), octets, remarks)
    return EndpointSlice(
        key=key,
        labels=decoder.kept_labels(read.metadata),
        service=decoder.share(service_key(key[1], owner)),
        octets=octets,
        ports=decoder.share(tuple(sorted(set(_slice_ports(read, remarks)), key=port_order))),
        **found.columns(),
    )


def _not_addresses(key: Key, address_type: str | None, remarks: list[str]) -> Tombstone:
    if address_type != "FQDN":
        raise ValueError(f"addressType {address_type!r} is neither IPv4 nor IPv6")
    remarks.append("addressType FQDN is ignored: it has no meaning for DNS")
    return Tombstone(key)


def _sorted_out(
    decoder: ObjectDecoder, endpoints: Iterable[api.Endpoint], octets: int, remarks: list[str]
) -> HostSorter:
    found = HostSorter()
    nameless: list[str] = []  # addresses of ready endpoints that have no label, as nearly all are
    for endpoint in endpoints:
        conditions = endpoint.conditions
        # "nil should be interpreted as true" (discovery/v1, EndpointConditions.ready)
        is_ready = conditions is None or conditions.ready is not False
        if not is_ready:
            found.unready.update(parse_address(text, octets, remarks) for text in endpoint.addresses or ())
            if not decoder.is_draining(conditions):
                continue
        elif not (endpoint.hostname or decoder.keeps_pod_names):
            nameless += endpoint.addresses or ()
            continue
        hosts = found.ready if is_ready else found.draining
        hostname = _hostname(endpoint.hostname, remarks) if endpoint.hostname else NO_LABEL
        pod = decoder.pod_label(endpoint.target_ref)
        for text in endpoint.addresses or ():
            hosts.add((parse_address(text, octets, remarks), hostname, pod))
    found.ready.update((address, NO_LABEL, NO_LABEL) for address in parse_addresses(nameless, octets, remarks))
    return found


def _hostname(text: str, remarks: list[str]) -> bytes:
    label = wire_label(text)
    if label is None:
        remarks.append(f"hostname {text!r} is no DNS label: the endpoint is named by its address")
    return label or NO_LABEL


def _slice_ports(read: api.EndpointSlice, remarks: list[str]) -> Iterable[Port]:
    for port in read.ports or ():
        # A port without number stands for all ports: no SRV record can say that.
        if port.port is None:
            continue
        if not 0 < port.port <= PORT_MAX:
            remarks.append(f"port {port.port} is left out: not in 1..{PORT_MAX}")
            continue
        packed = _port(port.name, port.protocol, port.port, remarks)
        if packed is not None:
            yield packed


def _port(name: str | None, protocol: str | None, number: int, remarks: list[str]) -> Port | None:
    protocol_label = wire_label(protocol or "TCP")
    if protocol_label is None:
        remarks.append(f"port {number} is left out: protocol {protocol!r} is no DNS label")
        return None
    name_label = wire_label(name) if name else b""
    if name_label is None:
        remarks.append(f"port {number} is served without name: {name!r} is no DNS label")
    return Port((name_label or b"")[1:], protocol_label[1:], number)


def _pack_pod(decoder: ObjectDecoder, key: Key, read: api.Pod, remarks: list[str]) -> Change:
    if not is_object_label(key[1]):
        return _no_dns_name(key, "namespace", key[1], remarks)
    spec, status = read.spec or api.PodSpec(), read.status or api.PodStatus()
    return Pod(
        key=key,
        labels=decoder.labels(_meta(read).labels),
        addresses=_pod_addresses(status, remarks),
        ports=decoder.share(tuple(_container_ports(spec))),
        hostname=spec.hostname or "",
        subdomain=decoder.share(spec.subdomain or ""),
        phase=decoder.share(status.phase or ""),
        ready=any(condition.type == "Ready" and condition.status == "True" for condition in status.conditions or ()),
        terminating=_meta(read).deletion_timestamp is not None,
    )


def _pod_addresses(status: api.PodStatus, remarks: list[str]) -> tuple[bytes, ...]:
    texts = [pod_ip.ip for pod_ip in status.pod_ips or () if pod_ip.ip] or [status.pod_ip or ""]
    return _addresses(texts, remarks)


def _container_ports(spec: api.PodSpec) -> Iterable[ContainerPort]:
    """Named ports of containers, then of sidecars, in the order in which a targetPort is looked up."""
    sidecars = [container for container in spec.init_containers or () if container.restart_policy == "Always"]
    for container in (*(spec.containers or ()), *sidecars):
        for port in container.ports or ():
            if port.name:
                yield ContainerPort(port.name, (port.protocol or "TCP").lower().encode(), port.container_port)


def _no_dns_name(key: Key, what: str, text: str, remarks: list[str]) -> Tombstone:
    remarks.append(f"ignored: {what} {text!r} is no DNS label in lower case")
    return Tombstone(key)


def _meta(read: api.ApiObject) -> api.ObjectMeta:
    return read.metadata or api.ObjectMeta()


def _readable(kind: str, error: msgspec.ValidationError) -> str:
    """msgspec's "Expected `int`, got `str` - at `$.spec.ports[0].port`" with the place first."""
    what, _, place = str(error).partition(" - at `$")
    return f"{kind}{' ' if place else ''}{place.strip('.`')}: {what.replace('`', '').replace(' | null', '')}"


class _Reader(NamedTuple):
    """How objects of one kind are read."""

    api_versions: tuple[str, ...]
    namespaced: bool
    decoder: msgspec.json.Decoder[Any]
    pack: Callable[[ObjectDecoder, Key, Any, list[str]], Change]


_DISCOVERY = ("discovery.k8s.io/v1", "discovery.k8s.io/v1beta1")
_READERS = {
    "Namespace": _Reader(("v1",), False, msgspec.json.Decoder(api.ApiObject), _pack_namespace),
    "Service": _Reader(("v1",), True, msgspec.json.Decoder(api.Service), _pack_service),
    "EndpointSlice": _Reader(_DISCOVERY, True, msgspec.json.Decoder(api.EndpointSlice), _pack_slice),
    "Pod": _Reader(("v1",), True, msgspec.json.Decoder(api.Pod), _pack_pod),
}


def api_type(kind: str) -> type[api.ApiObject]:
    """What an object of a kind that is answered from is read as."""
    return cast("type[api.ApiObject]", _READERS[kind].decoder.type)


def is_answered_from(kind: str, api_version: str) -> bool:
    """Whether answers depend on objects of this kind. Other API groups have kinds of the same names."""
    reader = _READERS.get(kind)
    return reader is not None and api_version in reader.api_versions


def kinds_answered_from() -> frozenset[str]:
    """The kinds that answers depend on."""
    return frozenset(_READERS)
