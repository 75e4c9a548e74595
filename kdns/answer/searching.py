"""`autopath` at work: the walk over names of zones and names outside, one after the other.

    asked name -> looked up like any other; denied?
      -> each name of the walk (kdns.answer.autopath) -> first that exists: the asked name is an alias of it
                                                      -> for outside: Pending, and the walk goes on if it is denied

Each name is answered as if the client had asked for it: by the server block that takes it, and by all its directives.
One at a time, in the client's order: a name is asked outside only if the client would have come to it. What a block
refuses ends the walk with the denial that it began with: the client walks on itself. Not here: which names those are
(kdns.answer.autopath), looking a name up (kdns.answer.steps).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from kdns.answer.autopath import AutopathSpec, Outward, Search, begin, walk
from kdns.answer.case import Case
from kdns.answer.outcome import Answered, Form, Leads, Outcome, behind, through
from kdns.wire.iana import Rcode
from kdns.zone.model import Lookup

# What the walk makes of a name that is neither answered nor denied, and the denial of a walk that began outside.
_REFUSED = Lookup(Rcode.REFUSED)
_DENIED_OUTSIDE = Lookup(Rcode.NXDOMAIN)


class Searcher:
    """Walks for the queries of one responder.

    asked: what comes of the question of a case. target: what comes of a name, as if the client had asked for it.
    """

    def __init__(self, asked: Callable[[Case], Outcome], target: Callable[[Case, bytes], Outcome]) -> None:
        self._asked = asked
        self._target = target

    def search(self, case: Case, spec: AutopathSpec) -> Outcome:
        """What comes of a question."""
        query, outcome = case.query, self._asked(case)
        if isinstance(outcome, Leads):
            search = begin(spec, None, query.qname, query.qtype, _DENIED_OUTSIDE)
            return outcome if search is None else through(outcome, partial(self._unless_denied, case, search))
        if outcome is None:
            return None
        found = outcome.found
        search = begin(spec, found.denial.zone if found.denial else None, query.qname, query.qtype, found)
        return outcome if search is None else self._walk(case, search, outcome)

    def _unless_denied(self, case: Case, search: Search, answered: Answered | None) -> Outcome:
        """What was told of the name that was asked, if it exists; else the walk begins."""
        if answered is None or answered.found.rcode != Rcode.NXDOMAIN:
            return answered
        return self._walk(case, search, answered)

    def _walk(self, case: Case, search: Search, denied: Answered) -> Outcome:
        """Go on until a name exists, or one is for outside. denied: what is answered if none exists."""
        outcomes: list[Outcome] = []

        def look(name: bytes) -> Lookup | None:
            outcome = self._target(case._replace(names=()), name)
            outcomes.append(outcome)
            if isinstance(outcome, Leads):
                return None
            return outcome.found if outcome and outcome.form is Form.WHOLE else _REFUSED

        met = walk(search, look)
        last = outcomes[-1] if outcomes else None
        if isinstance(met, Outward) and isinstance(last, Leads):
            return through(last._replace(recurses=True), partial(self._met, case, met, denied))
        if not isinstance(met, Lookup) or met.rcode == Rcode.NXDOMAIN:
            maker = denied.maker if denied.told is not None else "autopath"
            return denied._replace(found=denied.found._replace(lasting=False), maker=maker)
        return Answered(met, last.ede if isinstance(last, Answered) else None, "autopath")

    def _met(self, case: Case, outward: Outward, denied: Answered, answered: Answered | None) -> Outcome:
        """What the walk makes of a name of which something was told: it goes on if that does not exist."""
        if answered is not None and answered.found.rcode == Rcode.NXDOMAIN:
            return self._walk(case, outward.rest, denied)
        if answered is None or (answered.told is None and answered.found.rcode == Rcode.REFUSED):
            return denied
        return behind(outward.chain, answered, "autopath")._replace(maker="autopath")
