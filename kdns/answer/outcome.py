"""What comes of a question before it is a reply: an answer, a name that is for outside, or nothing.

    Answered    found here, or made of what a server outside has told
    Leads       waits for an answer from outside, which then goes through `layers`, the inner ones first
    None        nothing in this server answers for the name

A layer makes something else of an outcome: the records of an alias come before it (`behind`), `rewrite` rewrites it
back, `autopath` goes on to the next name. Whether that is now or after something was told is all the same to it.
Not here: who answers (kdns.answer.steps), replies (kdns.answer.replying, kdns.answer.outside).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from typing import NamedTuple

from kdns.answer.site import Site
from kdns.wire.iana import EDE, Rcode
from kdns.wire.outside import Told
from kdns.zone.aliases import joined
from kdns.zone.model import Lookup

CHAIN_RCODES = frozenset((Rcode.NOERROR, Rcode.NXDOMAIN))

# Why a question is told nothing: rcode, EDE code and text.
Refusal = tuple[int, int, str]

_UNRESOLVED = Lookup(Rcode.SERVFAIL, authoritative=False, lasting=False)
_ALIAS_OF_NOTHING = (EDE.OTHER, "the name that the alias leads to cannot be resolved")


class Form(Enum):
    """Of what form the reply is."""

    WHOLE = "whole"
    TRUNCATED = "truncated"  # nothing but TC
    SILENCE = "silence"


class Answered(NamedTuple):
    """An answer. ede: its EDE code and text, instead of the note of what was found.

    maker: the directive that has made it, one of kdns.observe.tally.MAKERS. told: what servers outside have said,
    where it is made of that.
    """

    found: Lookup
    ede: tuple[int, str] | None = None
    maker: str = ""
    told: Told | None = None
    form: Form = Form.WHOLE


class Leads(NamedTuple):
    """A question (folded name, type, class) for outside, and what becomes of what is told.

    site: the one that forwards it. exists: the name is an empty non-terminal here, and so is not denied whatever is
    told. lasting: the reply may be kept. recurses: it is we who want to know, whatever the client's RD bit says.
    """

    site: Site
    question: bytes
    exists: bool
    lasting: bool
    recurses: bool = False
    layers: tuple[Layer, ...] = ()


Outcome = Answered | Leads | None
Layer = Callable[[Answered | None], Outcome]


def through(outcome: Outcome, layer: Layer) -> Outcome:
    """What a layer makes of an outcome, once that is there."""
    if isinstance(outcome, Leads):
        return outcome._replace(layers=(*outcome.layers, layer))
    return layer(outcome)


def through_all(outcome: Outcome, layers: Iterable[Layer]) -> Outcome:
    """The same for layers in order."""
    for layer in layers:
        outcome = through(outcome, layer)
    return outcome


def refused(refusal: Refusal, maker: str = "") -> Answered:
    """The answer that tells nothing, and why."""
    rcode, code, text = refusal
    return Answered(Lookup(rcode, authoritative=False, lasting=False), (code, text), maker)


def followed(outcome: Outcome, chain: Lookup, maker: str) -> Outcome:
    """The outcome for the name that some aliases lead to, with them before it."""
    if isinstance(outcome, Leads):
        outcome = outcome._replace(recurses=True)
    return through(outcome, lambda answered: behind(chain, answered, maker))


def behind(chain: Lookup, answered: Answered | None, maker: str) -> Answered:
    """Some aliases, and the answer for the name that they lead to; where nothing answers, they stand alone.

    What servers outside refuse, or say in other codes, is a name that cannot be resolved.
    """
    if answered is None:
        return Answered(chain._replace(leads_to=b""), maker=maker)
    if answered.told is not None and answered.found.rcode not in CHAIN_RCODES:
        return answered._replace(found=_UNRESOLVED, ede=answered.ede or _ALIAS_OF_NOTHING)
    own = answered.maker if answered.told is not None or answered.found.rcode == Rcode.REFUSED else maker
    return answered._replace(found=joined(chain, answered.found), maker=own)


def not_kept(answered: Answered | None) -> Outcome:
    """The same, for this client alone."""
    return answered and answered._replace(found=answered.found._replace(lasting=False))
