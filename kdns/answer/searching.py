"""`autopath` at work: the walk over names of zones and names outside, one after the other.

    asked name -> looked up like any other; denied?
      -> each name of the walk (kdns.answer.autopath) -> first that exists: the asked name is an alias of it
                                                      -> for outside: Pending, and the walk goes on if it is denied

Each name is answered as if the client had asked for it: by the server block that takes it, and by all its directives.
One at a time, in the client's order: a name is asked outside only if the client would have come to it. What a block
refuses, and a name that `rewrite` changes, ends the walk with the denial that it began with: the client walks on
itself. Not here: which names those are, looking a name up (kdns.answer.steps).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from kdns.answer.autopath import AutopathSpec, Search, aliased, begin, walk
from kdns.answer.case import Case, Leads, Probe
from kdns.answer.outside import Pending
from kdns.answer.table import Entry
from kdns.wire.iana import Rcode
from kdns.wire.outside import Told
from kdns.zone.model import Lookup

# What the walk makes of a name that is neither answered nor denied, and the denial of a walk that began outside.
_REFUSED = Lookup(Rcode.REFUSED)
_DENIED_OUTSIDE = Lookup(Rcode.NXDOMAIN)

# What comes of a query once something was told of it.
Later = bytes | Pending


class Searcher:
    """Walks for the queries of one responder.

    probe: what a name is answered with, None for the name that was asked. answer: the reply that says what was found,
    and why (EDE). pend: the query waits for what it leads to; pend_searched: so it does on a walk. later: carries on
    with a query; what it gives if that gives nothing.

    What comes of a walk counts as made by `autopath`, whoever knew the name; all else as if there were none.
    """

    def __init__(
        self,
        probe: Callable[[Case, bytes | None], Probe],
        answer: Callable[[Case, Lookup, tuple[int, str] | None], Entry],
        pend: Callable[[Case, Leads], Pending],
        pend_searched: Callable[[Case, Leads], Pending],
        later: Callable[[Case, Callable[[], Entry | Pending | None], Callable[[], Later]], Later],
    ) -> None:
        self._probe = probe
        self._answer = answer
        self._pend = pend
        self._pend_searched = pend_searched
        self._later = later

    def search(self, case: Case, spec: AutopathSpec, qname: bytes, qtype: int) -> Entry | Pending | None:
        """The answer to a question; None if it is to be refused."""
        probe = self._probe(case, None)
        if probe.found is not None:
            zone = probe.found.denial.zone if probe.found.denial else None
            search = begin(spec, zone, qname, qtype, probe.found)
            if search is None:
                return self._answer(case._replace(maker=probe.maker), probe.found, probe.ede)
            return self._walk(case, search)
        if probe.leads is None:
            return None
        pending = self._pend(case, probe.leads)
        search = begin(spec, None, qname, qtype, _DENIED_OUTSIDE)
        return pending if search is None else self._unless_denied(case, pending, search, None)

    def _walk(
        self, case: Case, search: Search, denied: Callable[[], Later] | None = None
    ) -> Entry | Pending | None:
        """Go on until a name exists, or one is for outside.

        denied: gives the denial that was told of the name that was asked, if it was told: then the walk gives None
        if no name exists.
        """
        leads: list[Leads] = []

        def look(name: bytes) -> Lookup | None:
            probe = self._probe(case, name)
            if probe.leads is None:
                return probe.found or _REFUSED
            leads.append(probe.leads)
            return None

        outcome = walk(search, look)
        if isinstance(outcome, Lookup):
            is_told = search.denial is _DENIED_OUTSIDE and outcome.rcode == Rcode.NXDOMAIN
            return None if is_told else self._answer(case._replace(maker="autopath"), outcome, None)
        [lead] = leads
        chain = outcome.chain if lead.chain is None else aliased(search.asked, outcome.chain.leads_to, lead.chain)
        pending = self._pend_searched(case, lead._replace(chain=chain))
        return self._unless_denied(case, pending, outcome.rest, denied)

    def _unless_denied(
        self, case: Case, pending: Pending, rest: Search, denied: Callable[[], Later] | None
    ) -> Pending:
        """The same, but the walk goes on if what is told is that the name does not exist."""

        def finish(told: Told) -> Later:
            if told.rcode != Rcode.NXDOMAIN:
                return pending.finish(told)
            otherwise = denied or partial(pending.finish, told)
            return self._later(case, lambda: self._walk(case, rest, otherwise), otherwise)

        return pending._replace(finish=finish)
