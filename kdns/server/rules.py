"""`rewrite`, `template` and `autopath` as a Corefile has them, to what the answering side takes.

Each rule is compiled once here, so that one which cannot be is refused with its place before anything is served. Not
here: their meaning (kdns.answer.rewrite, kdns.answer.template, kdns.answer.autopath).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from kdns.answer.autopath import AutopathSpec, search_domains
from kdns.answer.pattern import PatternError
from kdns.answer.rewrite import Rewriter
from kdns.answer.template import Templates, TemplateSpec
from kdns.corefile import CorefileError, Position, ServerBlock
from kdns.corefile.plugins import Template
from kdns.server.textfile import UnreadableError
from kdns.wire.rules import RewriteRule
from kdns.zone.recordtext import parse_record

RESOLV_CONF = "/etc/resolv.conf"  # the node's, as the kubelet hands it on

# The text of a file. Raises UnreadableError.
Read = Callable[[str], str]


def rewrite_rules(block: ServerBlock) -> tuple[RewriteRule, ...]:
    """The rules of a block. Raises CorefileError."""
    for rewrite in block.rewrite:
        _try(rewrite.position, partial(Rewriter, (rewrite.rule,)))
    return tuple(rewrite.rule for rewrite in block.rewrite)


def template_specs(block: ServerBlock) -> tuple[TemplateSpec, ...]:
    """The templates of a block. Raises CorefileError."""
    made = tuple(map(_template, block.templates))
    for said, spec in zip(block.templates, made, strict=True):
        _try(said.position, partial(Templates, (spec,), parse_record))
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


def _try(position: Position, compile_one: Callable[[], object]) -> None:
    try:
        compile_one()
    except PatternError as error:
        raise CorefileError(position, f"kdns cannot serve this: {error}") from None


def _template(template: Template) -> TemplateSpec:
    return TemplateSpec(
        template.zones, template.rrclass, template.rrtype, template.match, template.answer, template.authority,
        template.additional, template.rcode, template.extended_error, template.fallthrough or (),
    )
