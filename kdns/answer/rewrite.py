"""Questions rewritten before they are answered, and replies rewritten back (CoreDNS's `rewrite`).

    rewritten = rewriter.rewrite(qname, qtype, qclass)           None: no rule holds
    found = rewritten.reverter.revert(lookup(... rewritten.qname, rewritten.qtype ...))

Rules hold in order, each for what the ones before have made of the question; the first that holds and says `stop` is
the last. Names are compared as text, folded and with the last dot, as in CoreDNS: a suffix may begin within a label.
A regular expression is searched for anywhere in the text, and what it gives is the whole new name.

The reply is rewritten back in the reverse order. The records at the rewritten name get the name that was asked for in
any case: CoreDNS does this only with `answer auto`, and without it sends what no resolver takes. `auto` also rewrites
names below that name, names in RDATA and, for a suffix, every name with the new suffix. `answer name` and
`answer value` are expressions for owners and for names in RDATA. A name that would not be one stays as it is.

A rule that makes something that is no name (a label of 64 octets) ends in SERVFAIL, and `failure` says why.
Not here: the rules as values (kdns.wire.rules), whether an expression means here what it means in Go (whoever reads
the configuration), messages of upstreams (their records come as rrsets too).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

from kdns.answer.pattern import Pattern
from kdns.wire.iana import RRClass, RRType
from kdns.wire.name import InvalidName, from_text, to_text
from kdns.wire.rdata import name_at
from kdns.wire.rules import (
    AnswerField,
    AnswerRewrite,
    ClassRewrite,
    CnameRewrite,
    EdnsRemoval,
    MatchKind,
    NameMatch,
    NameRewrite,
    RcodeRewrite,
    RewriteRule,
    TtlRewrite,
    TypeRewrite,
)
from kdns.zone.model import Denial, Lookup
from kdns.zone.rrset import RRset


class Rewritten(NamedTuple):
    """A question as rewritten, and how to make the reply one to the question that was asked.

    failure: why there is no question to answer, but SERVFAIL; "" if there is.
    """

    qname: bytes
    qtype: int
    qclass: int
    reverter: Reverter
    failure: str = ""


class Redirection(NamedTuple):
    """An answer cut off at an alias that now leads elsewhere: the answer so far, and what to look up for the rest."""

    answer: tuple[RRset, ...]
    target: bytes


class Rewriter:
    """The rules of one site, compiled once. Raises PatternError for an expression that is none."""

    def __init__(self, rules: Iterable[RewriteRule]) -> None:
        rules = tuple(rules)
        self._rules: list[tuple[_Rule, bool]] = [(_compile(rule), rule.stop) for rule in rules]
        self._matches = tuple(_names_of(rule) for rule in rules)

    def may_hold_below(self, apex: bytes) -> bool:
        """Whether any rule may change what is answered to a question of class IN for a name at or below this one.

        Rules that change no denial do not count.
        """
        text = to_text(apex)
        return any(match is not None and _may_match_below(match, text) for match in self._matches)

    def rewrite(self, qname: bytes, qtype: int, qclass: int) -> Rewritten | None:
        """Rewrite a question, its name folded; None if no rule holds."""
        question = _Question(to_text(qname), qtype, qclass)
        steps: list[_Step] = []
        holds = False
        for rule, stop in self._rules:
            outcome = rule(question)
            if outcome is None:
                continue
            holds = True
            question = outcome.question
            steps[:0] = outcome.steps
            if stop:
                break
        return _rewritten(qname, question, tuple(steps)) if holds else None


_EVERY_NAME = NameMatch(MatchKind.SUFFIX, "")


def _names_of(rule: RewriteRule) -> NameMatch | None:
    """For which names a rule may change a denial; None for no name."""
    if isinstance(rule, EdnsRemoval | CnameRewrite):
        return None
    if isinstance(rule, ClassRewrite):
        return _EVERY_NAME if rule.old == RRClass.IN else None
    return _EVERY_NAME if isinstance(rule, TypeRewrite) else rule.match


def _may_match_below(match: NameMatch, apex: str) -> bool:
    """By their texts alone; where those do not tell it may."""
    if match.kind is MatchKind.EXACT:
        return match.pattern.endswith(apex)
    if match.kind is MatchKind.SUFFIX:
        return match.pattern.endswith(apex) or apex.endswith(match.pattern)
    return True


def _rewritten(asked: bytes, question: _Question, steps: tuple[_Step, ...]) -> Rewritten:
    try:
        qname = from_text(question.name).lower()
    except InvalidName as error:
        failure = f"the question was rewritten to what is no name: {error}"
        return Rewritten(asked, question.qtype, question.qclass, Reverter(()), failure)
    return Rewritten(qname, question.qtype, question.qclass, Reverter(steps))


# Rules, compiled


class _Question(NamedTuple):
    name: str
    qtype: int
    qclass: int


_TextMap = Callable[[str], str]


class _Step(NamedTuple):
    """One thing that is done to a reply; what is None it leaves alone. cname: the new target, or the same one."""

    owner: _TextMap | None = None
    value: _TextMap | None = None
    ttl: Callable[[int], int] | None = None
    rcode: Callable[[int], int] | None = None
    cname: _TextMap | None = None


class _Outcome(NamedTuple):
    """What a rule that holds does."""

    question: _Question
    steps: tuple[_Step, ...] = ()


_Rule = Callable[[_Question], _Outcome | None]
_Matcher = Callable[[str, str], str | None]  # the text and what to make of it, to the new text; None: no match


def _compile(rule: RewriteRule) -> _Rule:
    return _COMPILERS[type(rule)](rule)


def _name_rule(rule: NameRewrite) -> _Rule:
    replace = _matcher(rule.match)
    answers = tuple(map(_answer_step, rule.answers))
    is_auto = rule.is_auto or rule.match.kind is MatchKind.EXACT
    is_suffix = rule.match.kind is MatchKind.SUFFIX

    def apply(question: _Question) -> _Outcome | None:
        name = replace(question.name, rule.to)
        if name is None:
            return None
        back = partial(_with_suffix, rule.to, rule.match.pattern) if is_suffix else partial(
            _at_or_below, name, question.name
        )
        at_least = _Step(owner=partial(_at, name, question.name))
        steps = (_Step(owner=back, value=back), *answers) if is_auto else (*answers, at_least)
        return _Outcome(question._replace(name=name), steps)

    return apply


def _type_rule(rule: TypeRewrite) -> _Rule:
    return lambda question: _Outcome(question._replace(qtype=rule.new)) if question.qtype == rule.old else None


def _class_rule(rule: ClassRewrite) -> _Rule:
    return lambda question: _Outcome(question._replace(qclass=rule.new)) if question.qclass == rule.old else None


def _ttl_rule(rule: TtlRewrite) -> _Rule:
    return _reply_rule(rule.match, _Step(ttl=lambda ttl: min(max(ttl, rule.minimum), rule.maximum)))


def _rcode_rule(rule: RcodeRewrite) -> _Rule:
    return _reply_rule(rule.match, _Step(rcode=lambda rcode: rule.new if rcode == rule.old else rcode))


def _cname_rule(rule: CnameRewrite) -> _Rule:
    """Holds for every question: what it matches is in the reply."""
    replace = _matcher(rule.match)

    def redirect(target: str) -> str:
        name = replace(target, rule.to)
        return target if name is None else name

    return lambda question: _Outcome(question, (_Step(cname=redirect),))


def _edns_rule(_rule: EdnsRemoval) -> _Rule:
    """Holds for every question and does nothing: no option of a client is sent on, taken away or not."""
    return _Outcome


def _reply_rule(match: NameMatch, step: _Step) -> _Rule:
    replace = _matcher(match)
    return lambda question: None if replace(question.name, "") is None else _Outcome(question, (step,))


_COMPILERS: dict[type, Callable[..., _Rule]] = {
    NameRewrite: _name_rule,
    TypeRewrite: _type_rule,
    ClassRewrite: _class_rule,
    TtlRewrite: _ttl_rule,
    RcodeRewrite: _rcode_rule,
    CnameRewrite: _cname_rule,
    EdnsRemoval: _edns_rule,
}


# Texts


def _matcher(match: NameMatch) -> _Matcher:
    if match.kind is MatchKind.REGEX:
        return partial(_by_regex, Pattern(match.pattern))
    return partial(_MATCHERS[match.kind], match.pattern)


def _exact(pattern: str, text: str, to: str) -> str | None:
    return to if text == pattern else None


def _prefix(pattern: str, text: str, to: str) -> str | None:
    return to + text[len(pattern) :] if text.startswith(pattern) else None


def _suffix(pattern: str, text: str, to: str) -> str | None:
    return text[: len(text) - len(pattern)] + to if text.endswith(pattern) else None


def _substring(pattern: str, text: str, to: str) -> str | None:
    return text.replace(pattern, to) if pattern in text else None


_MATCHERS: dict[MatchKind, Callable[[str, str, str], str | None]] = {
    MatchKind.EXACT: _exact,
    MatchKind.PREFIX: _prefix,
    MatchKind.SUFFIX: _suffix,
    MatchKind.SUBSTRING: _substring,
}

_GROUP = re.compile(r"\{(\d{1,2})\}")


def _by_regex(pattern: Pattern, text: str, to: str) -> str | None:
    """What `to` says of the groups; one that the expression has not stays as it is written."""
    groups = pattern.search(text)
    if groups is None:
        return None
    return _GROUP.sub(lambda one: groups[int(one[1])] if int(one[1]) < len(groups) else one[0], to)


def _answer_step(rule: AnswerRewrite) -> _Step:
    pattern = Pattern(rule.pattern)

    def rewrite(text: str) -> str:
        name = _by_regex(pattern, text, rule.to)
        return text if name is None else name

    return _Step(owner=rewrite) if rule.field is AnswerField.NAME else _Step(value=rewrite)


def _at(old: str, new: str, text: str) -> str:
    return new if text == old else text


def _at_or_below(old: str, new: str, text: str) -> str:
    if text == old:
        return new
    return text[: len(text) - len(old)] + new if text.endswith("." + old) else text


def _with_suffix(old: str, new: str, text: str) -> str:
    return text[: len(text) - len(old)] + new if text.endswith(old) else text


# Replies

# Types of which a name in RDATA is rewritten, as in CoreDNS, and where it starts. NAPTR has its own rule.
_VALUE_AT: dict[int, int] = {
    RRType.CNAME: 0,
    RRType.DNAME: 0,
    RRType.NS: 0,
    RRType.SOA: 0,
    RRType.MX: 2,
    RRType.SRV: 6,
}
_NAPTR_STRINGS_AT, _NAPTR_STRINGS = 4, 3


class Reverter:
    """Makes a reply to the rewritten question one to the question that was asked."""

    def __init__(self, steps: tuple[_Step, ...]) -> None:
        self._owners = tuple(step.owner for step in steps if step.owner)
        self._values = tuple(step.value for step in steps if step.value)
        self._ttls = tuple(step.ttl for step in steps if step.ttl)
        self._rcodes = tuple(step.rcode for step in steps if step.rcode)
        self._cnames = tuple(step.cname for step in steps if step.cname)

    @property
    def redirects(self) -> bool:
        """Whether an alias may be made to lead elsewhere."""
        return len(self._cnames) > 0

    def owner(self, name: bytes) -> bytes:
        """An owner of the reply. What is not rewritten keeps its letter case."""
        return _mapped(name, self._owners)

    def rdata(self, rrtype: int, rdata: bytes) -> bytes:
        """The RDATA of a record, well-formed and uncompressed."""
        at = _naptr_name_at(rdata) if rrtype == RRType.NAPTR else _VALUE_AT.get(rrtype)
        if at is None or not self._values:
            return rdata
        name = name_at(rdata, at)
        return rdata[:at] + _mapped(name, self._values) + rdata[at + len(name) :]

    def ttl(self, ttl: int) -> int:
        """The TTL of a record."""
        for change in self._ttls:
            ttl = change(ttl)
        return ttl

    def rcode(self, rcode: int) -> int:
        """The rcode."""
        for change in self._rcodes:
            rcode = change(rcode)
        return rcode

    def rrset(self, rrset: RRset) -> RRset:
        """An rrset of any section."""
        rdatas = tuple(dict.fromkeys(self.rdata(rrset.rrtype, rdata) for rdata in rrset.rdatas))
        return RRset(self.owner(rrset.owner), rrset.rrtype, self.ttl(rrset.ttl), rdatas)

    def revert(self, found: Lookup) -> Lookup:
        """What was found for the rewritten question, as what is to be answered."""
        reverted = found._replace(
            rcode=self.rcode(found.rcode),
            answer=tuple(map(self.rrset, found.answer)),
            authority=tuple(map(self.rrset, found.authority)),
            additional=tuple(map(self.rrset, found.additional)),
        )
        return self._denied(reverted, found.denial) if found.denial else reverted

    def redirected(self, found: Lookup) -> Redirection | None:
        """The first alias of the answer that a `cname` rule leads elsewhere; None if there is none.

        Asked before `revert`: its answer, and that of a lookup of its target, are one answer to be reverted.
        """
        for at, rrset in enumerate(found.answer if self._cnames else ()):
            if rrset.rrtype != RRType.CNAME:
                continue
            target = _mapped(rrset.rdatas[0], self._cnames)
            if target != rrset.rdatas[0]:
                alias = RRset(rrset.owner, rrset.rrtype, rrset.ttl, (target,))
                return Redirection((*found.answer[:at], alias), target.lower())
        return None

    def _denied(self, found: Lookup, denial: Denial) -> Lookup:
        """The SOA of a denial is the zone's own, unless a name in it changes.

        Written out it cannot get the serial of a later moment: then the reply must not be kept.
        """
        soa, ttl = denial.zone.soa, self.ttl(denial.ttl)
        changed = self.rrset(soa)
        if (changed.owner, changed.rdatas) == (soa.owner, soa.rdatas):
            return found._replace(denial=Denial(denial.zone, ttl))
        written = RRset(changed.owner, changed.rrtype, ttl, changed.rdatas)
        return found._replace(authority=(*found.authority, written), denial=None, lasting=False)


def _mapped(name: bytes, changes: tuple[_TextMap, ...]) -> bytes:
    if not changes:
        return name
    before = text = to_text(name.lower())
    for change in changes:
        text = change(text)
    if text == before:
        return name
    try:
        return from_text(text).lower()
    except InvalidName:
        return name


def _naptr_name_at(rdata: bytes) -> int:
    """Order and preference, three strings, and the name (RFC 3403 section 4.1)."""
    at = _NAPTR_STRINGS_AT
    for _ in range(_NAPTR_STRINGS):
        at += rdata[at] + 1
    return at
