"""Addresses as names: dashed labels (Kubernetes DNS specification 1.1.0), reverse names (RFC 1035 3.5, RFC 3596).

An address is packed: 4 or 16 octets. Only the canonical spelling of an address is a name: one address has one dashed
label and one reverse name.
"""

from __future__ import annotations

from ipaddress import AddressValueError, IPv4Address, IPv6Address

IN_ADDR = b"\x07in-addr\x04arpa\x00"
IP6 = b"\x03ip6\x04arpa\x00"

_V4_MAPPED = bytes(10) + b"\xff\xff"  # RFC 4291 section 2.5.5.2
_DASHED_OCTETS = {text: packed for packed, text in enumerate(str(n).encode() for n in range(256))}
_NIBBLES = {digit: value for value, digit in enumerate(b"0123456789abcdef")}


def dashed(address: bytes) -> bytes:
    """The label (without length octet) that names an address: 10-0-0-1, 2001-db8--1, and 10--0 for 10::."""
    if len(address) == 4:
        return b"%d-%d-%d-%d" % tuple(address)
    if address.startswith(_V4_MAPPED):  # Python 3.13 and later write these with dots
        return b"--ffff-%x-%x" % (int.from_bytes(address[12:14]), int.from_bytes(address[14:]))
    text = str(IPv6Address(address)).replace(":", "-").encode()
    return text + b"0" if text.endswith(b"-") else text


def dashed_label(address: bytes) -> bytes:
    """`dashed` as a wire label, length octet included."""
    return _label(dashed(address))


def undashed(label: bytes) -> bytes | None:
    """The packed address that a folded label names, None if it names none."""
    parts = label.split(b"-")
    if len(parts) == 4 and all(part in _DASHED_OCTETS for part in parts):
        return bytes(map(_DASHED_OCTETS.__getitem__, parts))
    if len(parts) < 3:
        return None
    try:
        packed = IPv6Address(label.decode("ascii").replace("-", ":")).packed
    except (AddressValueError, UnicodeDecodeError):
        return None
    return packed if dashed(packed) == label else None


def address_text(address: bytes) -> str:
    """A packed address as people write it."""
    return str(IPv4Address(address) if len(address) == 4 else IPv6Address(address))


def reverse_name(address: bytes) -> bytes:
    """The name that owns the PTR records of an address."""
    if len(address) == 4:
        return b"".join(_label(b"%d" % octet) for octet in reversed(address)) + IN_ADDR
    return b"".join(b"\x01" + digit.to_bytes() for digit in reversed(address.hex().encode())) + IP6


def parse_reverse(labels: list[bytes], octets: int) -> str | None:
    """Labels left of in-addr.arpa or ip6.arpa to the hex digits of the address, the first ones first.

    octets: 4 or 16. Fewer labels than an address has give the digits of a prefix; None: these name no prefix.
    """
    if octets == 16:
        digits = b"".join(reversed(labels))
        whole = len(digits) == len(labels) <= 32 and all(d in _NIBBLES for d in digits)
        return digits.decode() if whole else None
    if len(labels) > 4 or not all(label in _DASHED_OCTETS for label in labels):
        return None
    return "".join(f"{_DASHED_OCTETS[label]:02x}" for label in reversed(labels))


def _label(text: bytes) -> bytes:
    return len(text).to_bytes() + text
