"""One resolution of a target: which questions, and what their replies make together; without IO.

A port's name is asked for as SRV (RFC 2782; Kubernetes DNS specification section 2.4.2); addresses come along in the
additional section, or are asked for. A port's number is asked for as A and AAAA. What is found is in the order that
priority and weight say. Not here: when it is done (kdns.client.memory), who asks (kdns.client.resolver).
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from random import Random
from typing import NamedTuple

from kdns.client.backend import Kind, Question, Reply, Service
from kdns.client.endpoint import Endpoint
from kdns.client.options import ResolverOptions
from kdns.client.order import order
from kdns.client.target import Target
from kdns.wire.iana import RRType

# SRV targets whose addresses did not come along and are asked for: a service of more pods than this needs a server
# that sends them, as kdns and CoreDNS do. The rest is left out.
HOSTS_MOST = 100

_SRV = int(RRType.SRV)
_FAMILIES = {
    "both": (int(RRType.A), int(RRType.AAAA)),
    "ipv4": (int(RRType.A),),
    "ipv6": (int(RRType.AAAA),),
}
_NO_SERVICE = "."


class Found(NamedTuple):
    """What a resolution came to.

    kind: ANSWER only with endpoints. ttl: seconds for which it holds; None: the replies did not tell. text: for people.
    """

    kind: Kind
    endpoints: tuple[Endpoint, ...]
    ttl: float | None
    text: str


class Resolution:
    """Ask what `start` and `told` return, and tell the replies, until `found` is not None."""

    def __init__(self, target: Target, options: ResolverOptions, rng: Random) -> None:
        self.found: Found | None = None
        self._target = target
        self._options = options
        self._rng = rng
        self._families = _FAMILIES[options.families]
        self._services: tuple[Service, ...] = ()
        self._srv_ttl: float | None = inf
        self._open: set[Question] = set()
        self._replies: dict[Question, Reply] = {}

    def start(self) -> list[Question]:
        """The first questions; none for endpoints that are listed."""
        target = self._target
        if not target.name:
            self.found = Found(Kind.ANSWER, order(target.endpoints, self._rng), inf, "listed")
            return []
        types: Iterable[int] = (_SRV,) if target.is_srv else self._families
        return self._ask(Question(target.name, rrtype) for rrtype in types)

    def told(self, question: Question, reply: Reply) -> list[Question]:
        """A reply, to one of the questions that are open; returns what is to be asked because of it."""
        if question not in self._open:
            return []
        self._open.remove(question)
        if question.rrtype == _SRV:
            return self._learn_services(reply)
        self._replies[question] = reply
        if not self._open:
            self._conclude()
        return []

    def _ask(self, questions: Iterable[Question]) -> list[Question]:
        fresh = list(questions)
        self._open.update(fresh)
        return fresh

    def _learn_services(self, reply: Reply) -> list[Question]:
        if reply.kind is not Kind.ANSWER:
            self.found = self._nothing(reply.kind, reply.ttl, reply.text)
            return []
        self._services = tuple(service for service in reply.services if service.target != _NO_SERVICE)
        if not self._services:
            self.found = self._nothing(Kind.NODATA, reply.ttl, 'SRV target "." (there is no such service)')
            return []
        self._srv_ttl = reply.ttl
        came_along = {address.owner for address in reply.addresses}
        for rrtype in self._families:
            self._replies[Question("", rrtype)] = Reply(Kind.ANSWER, (), reply.addresses, reply.ttl)
        missing = dict.fromkeys(one.target for one in self._services if one.target not in came_along)
        asked = self._ask(Question(host, rrtype) for host in list(missing)[:HOSTS_MOST] for rrtype in self._families)
        if not asked:
            self._conclude()
        return asked

    def _conclude(self) -> None:
        """All replies are there."""
        answers = [(question, reply) for question, reply in self._replies.items() if reply.kind is Kind.ANSWER]
        endpoints = self._from_services(answers) if self._target.is_srv else self._from_addresses(answers)
        failures = [reply for reply in self._replies.values() if reply.kind is Kind.FAILURE]
        if endpoints:
            ttl = _least([self._srv_ttl, *(reply.ttl for _, reply in answers)])
            if failures:  # one family, or one pod, is missing: soon again
                ttl = min(self._options.ttl_least, ttl if ttl is not None else inf)
            ordered = order(endpoints, self._rng, self._options.strict_rfc2782)
            self.found = Found(Kind.ANSWER, ordered, ttl, "")
        elif failures:
            self.found = self._nothing(Kind.FAILURE, None, failures[0].text)
        else:
            denials = [reply for reply in self._replies.values() if reply.kind is not Kind.ANSWER]
            kinds = {reply.kind for reply in denials}
            kind = Kind.NXDOMAIN if kinds == {Kind.NXDOMAIN} else Kind.NODATA
            text = denials[0].text if denials else "SRV records without addresses"
            self.found = self._nothing(kind, _least([reply.ttl for reply in denials]), text)

    def _from_addresses(self, answers: list[tuple[Question, Reply]]) -> list[Endpoint]:
        port = self._target.port
        found = {address.address: None for _, reply in answers for address in reply.addresses}
        return [Endpoint(address, port) for address in found]

    def _from_services(self, answers: list[tuple[Question, Reply]]) -> list[Endpoint]:
        by_owner: dict[str, dict[str, None]] = {}
        for question, reply in answers:
            for owner, address in reply.addresses:
                if self._is_wanted(address):
                    by_owner.setdefault(question.name or owner, {})[address] = None
        found: dict[tuple[str, int], Endpoint] = {}
        for priority, weight, port, host in self._services:
            for address in by_owner.get(host, ()):
                endpoint = Endpoint(address, port, priority, weight, host.removesuffix("."))
                known = found.get(endpoint.key)
                if known is None or priority < known.priority:
                    found[endpoint.key] = endpoint
        return list(found.values())

    def _is_wanted(self, address: str) -> bool:
        """What came along unasked may be of the other family."""
        return _FAMILY_OF[":" in address] in self._families

    def _nothing(self, kind: Kind, ttl: float | None, text: str) -> Found:
        said = text or kind.value
        if kind is Kind.NXDOMAIN or kind is Kind.NODATA:
            said = f"{said} ({self._target.text!r} was read as {self._target.read_as})"
        return Found(kind, (), ttl, said)


_FAMILY_OF = {False: int(RRType.A), True: int(RRType.AAAA)}


def _least(ttls: Iterable[float | None]) -> float | None:
    """The shortest; None if one is not known."""
    known = list(ttls)
    return None if not known or any(ttl is None for ttl in known) else min(ttl for ttl in known if ttl is not None)
