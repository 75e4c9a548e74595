"""The file of `--cookie-secret`: what DNS cookies are made and checked with (RFC 7873), one for all instances.

    one secret a line, 32 to 64 hexadecimal digits: the first makes and checks cookies, a second one only checks

That is NSD's file. To change the secret without a cookie becoming bad: add the new one as the second line everywhere,
then swap the lines everywhere, then, an hour later, take the old one away. Empty lines do not count. It is read when
kdns starts, and at each reload (SIGHUP). Not here: cookies (kdns.wire.cookie).
"""

from __future__ import annotations

from kdns.corefile import CorefileError, Position
from kdns.wire.cookie import MAX_SECRET_OCTETS, MIN_SECRET_OCTETS, Secrets

FILE_OCTETS_MAX = 4096  # more is another file; one of two secrets has at most 130
_HOW = (
    f"write {2 * MIN_SECRET_OCTETS} to {2 * MAX_SECRET_OCTETS} hexadecimal digits,"
    " as `openssl rand -hex 16` makes them"
)


def read_secrets(path: str) -> Secrets:
    """Read the file. Raises CorefileError; what the file holds is never told."""
    try:
        with open(path, "rb") as file:
            octets = file.read(FILE_OCTETS_MAX + 1)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise CorefileError(Position(path), f"the cookie secret cannot be read: {reason}") from None
    if len(octets) > FILE_OCTETS_MAX:
        raise CorefileError(Position(path), f"this is no cookie secret, but a large file: {_HOW}")
    return parse_secrets(octets, path)


def parse_secrets(octets: bytes, path: str) -> Secrets:
    """The secrets that a file with these octets holds. Raises CorefileError."""
    lines = [(number, line.strip()) for number, line in enumerate(octets.split(b"\n"), 1) if line.strip()]
    if not lines:
        raise CorefileError(Position(path), f"the file holds no cookie secret: {_HOW}")
    if len(lines) > 2:
        place = Position(path, lines[2][0], 1)
        raise CorefileError(place, "a third secret: give the one in use, and one that is accepted beside it")
    return Secrets(*(_secret(line, Position(path, number, 1)) for number, line in lines))


def _secret(line: bytes, place: Position) -> bytes:
    try:
        secret = bytes.fromhex(line.decode("ascii"))
    except ValueError:
        raise CorefileError(place, f"this is no cookie secret: {_HOW}") from None
    if not MIN_SECRET_OCTETS <= len(secret) <= MAX_SECRET_OCTETS:
        fault = "short" if len(secret) < MIN_SECRET_OCTETS else "long"
        raise CorefileError(place, f"the cookie secret is too {fault}: {_HOW}")
    return secret
