"""The zone model that lookup works on, whatever a zone is made of (RFC 1034 section 4.2, RFC 4592, RFC 9499).

`Zone.find` says what stands at a name; `kdns.zone.lookup` makes the answer of it. A zone file
(kdns.zone.masterzone) and a cluster (kdns.zone.cluster) differ in nothing else. Not here: how zones change
(kdns.zone.delta).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple, Protocol

from kdns.zone.rrset import RRset

RRsets = Mapping[int, RRset]
Dependency = tuple[int, bytes]  # source index and key; what a reply was made of, and so what makes it wrong
NO_RRSETS: RRsets = {}


class Kind(Enum):
    """What stands at a name."""

    NODE = "node"  # the name owns records
    EMPTY = "empty"  # an empty non-terminal: exists, owns nothing (RFC 4592 section 2.2.2)
    WILDCARD = "wildcard"  # the name does not exist and a wildcard answers for it (RFC 4592 section 3.3.1)
    CUT = "cut"  # the name is at or below a zone cut; `rrsets` are those of the cut (RFC 1034 section 4.2.1)
    DNAME = "dname"  # the name is below a DNAME; `rrsets` are those of its owner (RFC 6672 section 2.3)
    ABSENT = "absent"  # the name does not exist
    UNKNOWN = "unknown"  # nobody has told us yet what stands here: it is neither answered nor denied


class Found(NamedTuple):
    """The answer of `Zone.find`.

    owner: the name whose rrsets these are (the wildcard, cut or DNAME where kind says so), folded.
    depends: the source and the key under which it announces a change of what stands here.
    negative_ttl: an own TTL for a denial of this name, else None for the zone's.
    lasting: False where the name was computed from the question (pod names, absent names): a reply made of it
        is never kept, so that random names cannot push out what is asked for often.
    note: why a negative answer is what it is, or what there is none for, for the reply's EDE (RFC 8914); "" for none.
    """

    kind: Kind
    rrsets: RRsets
    owner: bytes
    depends: Dependency
    negative_ttl: int | None = None
    lasting: bool = True
    note: str = ""


class Zone(Protocol):
    """A zone as lookup sees it; `apex` is folded. All names passed in are folded and at or below the apex."""

    @property
    def apex(self) -> bytes:
        """The name of the zone."""

    @property
    def serial(self) -> int:
        """The SOA serial of what is served now."""

    @property
    def soa(self) -> RRset:
        """The SOA record, with the serial of now; its rrset TTL is that of a positive answer."""

    @property
    def negative_ttl(self) -> int:
        """TTL of a denial: min(SOA TTL, SOA MINIMUM) for a zone file (RFC 2308 section 5)."""

    def find(self, qname: bytes) -> Found:
        """What stands at this name."""

    def denies(self, qname: bytes) -> int | None:
        """The TTL of the denial if `find` would say ABSENT, told faster; None: ask `find`.

        Unlike `find` it is asked before the query is parsed: `qname` ends like the apex and is otherwise any octets.
        """

    def addresses(self, name: bytes) -> tuple[RRset, ...]:
        """The A and AAAA rrsets of a name of this zone, glue below a cut included; () if there are none."""


class Denial(NamedTuple):
    """The SOA that a negative answer carries (RFC 2308 section 3) and the TTL it carries there."""

    zone: Zone
    ttl: int


class Lookup(NamedTuple):
    """What to answer, before it is bytes (RFC 1034 section 4.3.2).

    answer, authority, additional: rrsets in order; the SOA of a denial is not among them.
    rcode: SERVFAIL for a name that is UNKNOWN, or an alias that leads to one; nothing else is said then.
    denial: set for NODATA and NXDOMAIN.
    authoritative: the AA bit; clear for a referral.
    glue: `additional` is in-domain glue of a referral, so that cutting it needs TC (RFC 9471).
    depends: all that this answer was made of.
    lasting, note: as in Found.
    leads_to: the folded name that the last alias leads to, if it is yet to be followed; else b"".
    """

    rcode: int
    answer: tuple[RRset, ...] = ()
    authority: tuple[RRset, ...] = ()
    additional: tuple[RRset, ...] = ()
    denial: Denial | None = None
    authoritative: bool = True
    glue: bool = False
    depends: tuple[Dependency, ...] = ()
    lasting: bool = True
    note: str = ""
    leads_to: bytes = b""
