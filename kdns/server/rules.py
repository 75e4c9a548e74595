"""`rewrite`, `template` and `autopath` as a Corefile has them, to what the answering side takes.

Each rule is compiled once here, so that one which cannot be is refused with its place before anything is served. Not
here: their meaning (kdns.answer.rewrite, kdns.answer.template, kdns.answer.autopath).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, singledispatch
from typing import Protocol

from kdns.answer import rewrite as rules
from kdns.answer.autopath import AutopathSpec, search_domains
from kdns.answer.pattern import PatternError
from kdns.answer.rewrite import Rewriter
from kdns.answer.template import Templates, TemplateSpec
from kdns.corefile import CorefileError, Position, ServerBlock, plugins
from kdns.server.textfile import UnreadableError
from kdns.zone.recordtext import parse_record

RESOLV_CONF = "/etc/resolv.conf"  # the node's, as the kubelet hands it on

# The text of a file. Raises UnreadableError.
Read = Callable[[str], str]


class _Placed(Protocol):
    @property
    def position(self) -> Position: ...


def rewrite_rules(block: ServerBlock) -> tuple[rules.RewriteRule, ...]:
    """The rules of a block. Raises CorefileError."""
    made = tuple(map(_rule, block.rewrite))
    for said, rule in zip(block.rewrite, made, strict=True):
        _try(said, partial(Rewriter, (rule,)))
    return made


def template_specs(block: ServerBlock) -> tuple[TemplateSpec, ...]:
    """The templates of a block. Raises CorefileError."""
    made = tuple(map(_template, block.templates))
    for said, spec in zip(block.templates, made, strict=True):
        _try(said, partial(Templates, (spec,), parse_record))
    return made


def autopath_spec(block: ServerBlock, read: Read) -> AutopathSpec | None:
    """Whose search list is walked. Raises CorefileError.

    With `@kubernetes` a node without a resolv.conf has no search domains of its own.
    """
    autopath = block.autopath
    if autopath is None:
        return None
    path = RESOLV_CONF if autopath.from_kubernetes else autopath.resolv_conf
    try:
        text = read(path)
    except UnreadableError as error:
        if not autopath.from_kubernetes:
            raise CorefileError(autopath.position, f"`autopath` cannot read {path}: {error}") from None
        text = ""
    return AutopathSpec(autopath.zones, search_domains(text), own=autopath.from_kubernetes)


def _try(said: _Placed, compile_one: Callable[[], object]) -> None:
    try:
        compile_one()
    except PatternError as error:
        raise CorefileError(said.position, f"kdns cannot serve this: {error}") from None


def _template(template: plugins.Template) -> TemplateSpec:
    return TemplateSpec(
        template.zones, template.rrclass, template.rrtype, template.match, template.answer, template.authority,
        template.additional, template.rcode, template.extended_error, template.fallthrough or (),
    )


def _match(match: plugins.NameMatch) -> rules.NameMatch:
    return rules.NameMatch(rules.MatchKind(match.kind.value), match.pattern)


@singledispatch
def _rule(rule: plugins.RewriteRule) -> rules.RewriteRule:
    raise TypeError(f"{rule!r} is no rule of `rewrite`")


@_rule.register
def _(rule: plugins.NameRewrite) -> rules.RewriteRule:
    answers = tuple(
        rules.AnswerRewrite(rules.AnswerField(one.field.value), one.pattern, one.to) for one in rule.answers
    )
    return rules.NameRewrite(_match(rule.match), rule.to, rule.is_auto, answers, rule.stop)


@_rule.register
def _(rule: plugins.TypeRewrite) -> rules.RewriteRule:
    return rules.TypeRewrite(rule.old, rule.new, rule.stop)


@_rule.register
def _(rule: plugins.ClassRewrite) -> rules.RewriteRule:
    return rules.ClassRewrite(rule.old, rule.new, rule.stop)


@_rule.register
def _(rule: plugins.TtlRewrite) -> rules.RewriteRule:
    return rules.TtlRewrite(_match(rule.match), rule.minimum, rule.maximum, rule.stop)


@_rule.register
def _(rule: plugins.RcodeRewrite) -> rules.RewriteRule:
    return rules.RcodeRewrite(_match(rule.match), rule.old, rule.new, rule.stop)


@_rule.register
def _(rule: plugins.CnameRewrite) -> rules.RewriteRule:
    return rules.CnameRewrite(_match(rule.match), rule.to, rule.stop)


@_rule.register
def _(rule: plugins.EdnsRemoval) -> rules.RewriteRule:
    return rules.EdnsRemoval(rule.code, rule.stop)
