"""What looks wrong in a configuration that is right: lines for the log and for `kdns check`, each with its place.

Now: `rewrite` with `prefix` or `substring` and a text without the last dot. As in CoreDNS it gets one, so that
`prefix foo-` holds for names that begin with `foo-.`, which hardly anybody means. And `endpoint`
with several URLs, of which the first is used, as in CoreDNS. Not here: errors.
"""

from __future__ import annotations

import re

from kdns.corefile.model import Corefile, Kubernetes
from kdns.corefile.plugins import Rewrite
from kdns.wire.rules import (
    CnameRewrite,
    MatchKind,
    NameMatch,
    NameRewrite,
    RcodeRewrite,
    RewriteRule,
    TtlRewrite,
)

# The expression that holds where the text without a dot was meant to, and what becomes of the rest of the name.
_EXPRESSIONS = {
    MatchKind.PREFIX: (r"^{pattern}(.*)\.$", "{to}{{1}}"),
    MatchKind.SUBSTRING: (r"^(.*){pattern}(.*)\.$", "{{1}}{to}{{2}}"),
}
_SPECIAL = re.compile(r"[][.*+?(){}|^$\\]")


def remarks(corefile: Corefile) -> tuple[str, ...]:
    """All of them, in the order of the text."""
    rewrites = [rewrite for block in corefile.blocks for rewrite in block.rewrite]
    clusters = [block.kubernetes for block in corefile.blocks if block.kubernetes]
    found = [*map(_never_meant, rewrites), *map(_unused, clusters)]
    return tuple(dict.fromkeys(filter(None, found)))


def _unused(cluster: Kubernetes) -> str:
    """What is to be said of a cluster; "" for nothing."""
    if not cluster.unused_endpoints:
        return ""
    others = ", ".join(cluster.unused_endpoints)
    return f"{cluster.position}: `endpoint` uses the first URL, {cluster.endpoint}, as CoreDNS does, and not {others}"


def _never_meant(rewrite: Rewrite) -> str:
    """What is to be said of a rule; "" for nothing."""
    rule = rewrite.rule
    if not isinstance(rule, NameRewrite | TtlRewrite | RcodeRewrite | CnameRewrite):
        return ""
    match = rule.match
    if not match.is_dot_added or match.kind not in _EXPRESSIONS:
        return ""
    kind, text = match.kind.value, match.pattern.removesuffix(".")
    return (
        f"{rewrite.position}: `{kind} {text}` gets a last dot, as in CoreDNS: it holds only where a label ends with"
        f" it; where more may follow, write `{_instead(rule, match)}`, else `{kind} {match.pattern}`"
    )


def _instead(rule: RewriteRule, match: NameMatch) -> str:
    pattern, to = _EXPRESSIONS[match.kind]
    text = _SPECIAL.sub(r"\\\g<0>", match.pattern.removesuffix("."))
    words = f"regex {pattern.format(pattern=text)}"
    return f"{words} {to.format(to=rule.to.removesuffix('.'))}" if isinstance(rule, NameRewrite) else words
