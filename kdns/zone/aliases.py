"""Chains of aliases (RFC 1034 section 4.3.2 step 3a, RFC 6604): which are followed, and what they are answered with.

The rcode is that of the chain's last name (RFC 6604 section 3), and so is the denial. A chain that ends in a name
which cannot be resolved, or is refused, is that as a whole. One that runs in a circle is answered once round with
NOERROR (as Knot and NSD do); so is one longer than MAX_ALIASES, as far as it was followed (Knot's way, which stops
earlier; NSD has no bound). Not here: what a name is answered with (kdns.zone.lookup), who answers for it
(kdns.answer.steps).
"""

from __future__ import annotations

from kdns.wire.iana import Rcode
from kdns.zone.model import Lookup

# Aliases followed for one question. No resolver follows more (Unbound 11, BIND 16), and without a bound one question
# could be made to cost as much as a zone has CNAMEs.
MAX_ALIASES = 16

_FAILURES = frozenset((Rcode.SERVFAIL, Rcode.REFUSED))


def is_followed(target: bytes, names: tuple[bytes, ...]) -> bool:
    """Whether an alias is followed to this name. names: those that led to it, the one that was asked for first."""
    return target not in names and len(names) <= MAX_ALIASES


def joined(chain: Lookup, end: Lookup) -> Lookup:
    """What is answered with some aliases, and what the name has that the last of them leads to."""
    if end.rcode in _FAILURES:
        return end._replace(lasting=False)
    return end._replace(
        # A DNAME may have been used before.
        answer=(*chain.answer, *(rrset for rrset in end.answer if rrset not in chain.answer)),
        authoritative=chain.authoritative,
        depends=tuple(dict.fromkeys((*chain.depends, *end.depends))),
        lasting=chain.lasting and end.lasting,
        note=end.note or chain.note,
    )
