"""A list in pages (Kubernetes API concepts, "Retrieving large results sets in chunks").

In: the body of each page. Out: what to ask for next, and the version of the whole.

A token lives for 5 min, or until the API server restarts, and a list may take longer: it begins anew then, the second
time in one piece, as client-go's pager does at once. That ends in any case, but takes the memory of the whole. The
other token that an API server offers continues with the objects of a later time: a watch from the version of the
first pages may be refused, and one from the later version would miss what happened to their objects in between.

Not here: watch lists (kdns.kube.reflector), items (kdns.kube.intake).
"""

from __future__ import annotations

import msgspec

from kdns.kube.events import Unreadable, read_page
from kdns.kube.queries import Query, list_query
from kdns.kube.request import Resource

# Objects on the first page, until it is known how large they are; then as many as PAGE_OCTETS hold, within bounds.
# kubectl asks for 500, which are 15 MB of slices of 100 endpoints: as much again as all that kdns keeps of 2,500.
FIRST_LIMIT = 100
LIMIT_MIN, LIMIT_MAX = 5, 500
PAGE_OCTETS = 4 << 20
PAGE_OCTETS_MAX = 64 << 20  # beyond this a page is not read, but asked for with fewer objects
SHRINK = 10  # times fewer
# Of a list in one piece, which is the last resort: over the 1.5 GB of a kind that Kubernetes is meant for at most.
LIST_OCTETS_MAX = 2 << 30
EXPIRIES_MAX = 2  # of lists in pages, in a row: then it is asked for in one piece


class Pager:
    """The pages of one list, and then of the next. version: of the list, "" before its first page."""

    def __init__(self) -> None:
        self._limit = FIRST_LIMIT
        self._expiries = 0
        self.begin()

    def begin(self) -> None:
        """A list is to come; what came of another is void."""
        self._is_whole = self._expiries >= EXPIRIES_MAX
        self._body = bytearray()
        self.token = ""
        self.version = ""

    def query(self, resource: Resource) -> Query:
        """The query of the next page. What came of it before is void."""
        self._body = bytearray()
        return list_query(resource, 0 if self._is_whole else self._limit, self.token)

    def feed(self, block: bytes) -> None:
        """Octets of the page."""
        self._body += block

    @property
    def is_too_large(self) -> bool:
        """Whether the page is larger than it may be."""
        return len(self._body) > (LIST_OCTETS_MAX if self._is_whole else PAGE_OCTETS_MAX)

    def shrink(self) -> bool:
        """Ask for a smaller page. False if it cannot be smaller."""
        if self._is_whole or self._limit <= LIMIT_MIN:
            return False
        self._limit = max(LIMIT_MIN, self._limit // SHRINK)
        return True

    def items(self) -> list[msgspec.Raw]:
        """The items of the page, now that it is whole; `token` is of the next, "" if it was the last.

        Raises Unreadable.
        """
        body, self._body = self._body, bytearray()
        page = read_page(body)
        if not page.resource_version:
            raise Unreadable("a list without resourceVersion")
        if page.token and page.token == self.token:
            raise Unreadable("a list that continues with the same page")
        # All pages are of the first one's time. Were they not, its version is the one that misses nothing.
        self.version = self.version or page.resource_version
        self.token = page.token
        items = page.items or []
        if items:
            self._limit = min(LIMIT_MAX, max(LIMIT_MIN, len(items) * PAGE_OCTETS // len(body)))
        return items

    def expire(self) -> None:
        """The token is worth nothing any more."""
        self._expiries += 1

    def forgive(self) -> None:
        """Lists come to an end again, or asking for them in one piece does not help."""
        self._expiries = 0
