"""Names and addresses as Kubernetes objects spell them, to the forms that DNS has for them.

Labels are RFC 1123's (letters, digits, inner hyphens), which is what Kubernetes allows where a name can become a
DNS label. Not here: dashed labels (kdns.zone.addresses), whole names (kdns.wire.name).
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv6Address

from kdns.wire.name import ROOT, InvalidName, from_text

V4_OCTETS, V6_OCTETS = 4, 16

_LABEL = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?")
# Spelled out, so that int()'s tolerance for " 1", "+1" or "1_0" does not make an address of it.
_DECIMAL = {str(octet): octet for octet in range(256)}


def wire_label(text: str) -> bytes | None:
    """A folded wire label (length octet and text), or None if the text is no RFC 1123 label."""
    if _LABEL.fullmatch(text) is None:
        return None
    return bytes((len(text),)) + text.lower().encode()


def is_object_label(text: str) -> bool:
    """Whether this can be the name of a Service or Namespace: an RFC 1123 label in lower case."""
    return _LABEL.fullmatch(text) is not None and text == text.lower()


def parse_address(text: str, octets: int) -> bytes:
    """The packed address of the family that `octets` tells. Raises ValueError if the text is no such address."""
    try:
        return _parse_v4(text) if octets == V4_OCTETS else _parse_v6(text)
    except (KeyError, AddressValueError):
        raise ValueError(f"{text!r} is no IPv{4 if octets == V4_OCTETS else 6} address") from None


def parse_any_address(text: str) -> bytes:
    """The packed address of either family. Raises ValueError if the text is no IP address."""
    try:
        return _parse_v6(text) if ":" in text else _parse_v4(text)
    except (KeyError, AddressValueError):
        raise ValueError(f"{text!r} is no IP address") from None


def alias_target(external_name: str) -> bytes:
    """The absolute, folded wire name of an ExternalName. Raises InvalidName, saying why, if there is none."""
    if _is_address(external_name):
        raise InvalidName(f"externalName {external_name} is an IP address: a CNAME cannot point to it")
    try:
        name = from_text(external_name)
    except InvalidName as error:
        raise InvalidName(f"externalName {external_name!r} is no domain name: {error}") from None
    if name == ROOT:
        raise InvalidName(f"externalName {external_name!r} is the root")
    return name.lower()


def _is_address(text: str) -> bool:
    try:
        parse_any_address(text)
    except ValueError:
        return False
    return True


def _parse_v4(text: str) -> bytes:
    parts = text.split(".")
    if len(parts) != V4_OCTETS:
        raise AddressValueError
    try:
        return bytes(map(_DECIMAL.__getitem__, parts))
    except KeyError:
        # Kubernetes still reads "010.0.0.1" of old objects, as decimal.
        return bytes([_DECIMAL[part.lstrip("0") or "0"] if 0 < len(part) <= 3 else _DECIMAL[part] for part in parts])


def _parse_v6(text: str) -> bytes:
    if "%" in text:
        raise AddressValueError  # a scope is a matter of one host, not of the cluster
    return IPv6Address(text).packed
