"""The directive `rewrite`: questions, and what is answered to them, become others.

    rewrite [stop|continue] name [exact|prefix|suffix|substring|regex] FROM TO [answer ...]...
        answer auto | answer name FROM TO | answer value FROM TO
    rewrite [stop|continue] type|class FROM TO
    rewrite [stop|continue] ttl [exact|...] NAME SECONDS|MIN-MAX
    rewrite [stop|continue] rcode [exact|...] NAME FROM TO
    rewrite [stop|continue] cname [exact|...] FROM TO
    rewrite [stop|continue] edns0 local unset CODE | nsid unset | subnet unset

The words may also stand in braces, a field and each `answer` on a line of its own; it is one rule all the same.
In: statements. Out: plugins.Rewrite, and back to lines.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import singledispatch

from kdns.corefile.environment import write
from kdns.corefile.errors import CorefileError, Position, nearest
from kdns.corefile.goregex import parse_regex
from kdns.corefile.lexer import Token
from kdns.corefile.mnemonics import (
    HIGHEST_PLAIN_RCODE,
    class_word,
    parse_class,
    parse_rcode,
    parse_type,
    rcode_word,
    type_word,
)
from kdns.corefile.options import number
from kdns.corefile.parser import Statement
from kdns.corefile.plugins import MAX_TTL, Rewrite
from kdns.corefile.posix import spelled_out
from kdns.wire.name import InvalidName, from_text
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

_MODES = {"stop": True, "continue": False}
_KINDS = {kind.value: kind for kind in MatchKind}
_GROUP = re.compile(r"\{([0-9]{1,3})\}")
_RANGE = re.compile(r"([0-9]{0,10})-([0-9]{0,10})")
_NSID, _SUBNET = 3, 8  # EDNS options (RFC 5001, RFC 7871)
_MAX_CODE = 65535
_NO_SETTING = "kdns adds no options to queries, and sends none of a client's on: it can only `unset` one"
_NO_REVERT = "there is nothing to revert of an option that was taken away: leave `revert` out"


def parse_rewrite(statement: Statement) -> Rewrite:
    """`rewrite [MODE] FIELD ...`, in one line or in braces. Raises CorefileError."""
    words = _words(statement)
    is_stop = True
    if words and words[0].text.lower() in _MODES:
        is_stop = _MODES[words[0].text.lower()]
        words = words[1:]
    if not words:
        raise CorefileError(statement.position, "`rewrite` needs what to rewrite, as in `rewrite name FROM TO`")
    field, *rest = words
    read = _FIELDS.get(field.text.lower())
    if read is None:
        raise CorefileError(field.position, _unknown_field(field.text))
    return Rewrite(replace(read(field, rest), stop=is_stop), statement.position)


def print_rewrite(rewrite: Rewrite) -> list[str]:
    """The line of the directive."""
    mode = [] if rewrite.rule.stop else ["continue"]
    return [" ".join(["rewrite", *mode, *_rule_words(rewrite.rule)])]


def _words(statement: Statement) -> list[Token]:
    """All words of the rule, those in braces behind those on the line."""
    words = list(statement.arguments)
    for line in statement.body or ():
        if line.body is not None:
            raise CorefileError(line.position, f"`{line.name.text}` takes no `{{ }}`")
        words += [line.name, *line.arguments]
    for word in words:
        if not word.text:
            message = "an argument of `rewrite` is empty: is the environment variable in it set?"
            raise CorefileError(word.position, message)
    return words


def _unknown_field(text: str) -> str:
    if text == "answer":
        return "`answer` stands behind a `name` rule, as in `rewrite name suffix FROM TO answer auto`"
    return f"`rewrite` knows no `{text}`{nearest(text, _FIELDS)}"


def _exactly(count: int, field: Token, words: Sequence[Token], what: str) -> None:
    if len(words) != count:
        at = words[count].position if len(words) > count else field.position
        raise CorefileError(at, f"`rewrite {field.text}` takes {what}")


def _kind(words: Sequence[Token], plain: int) -> tuple[MatchKind, Sequence[Token]]:
    """How names are compared, and the words behind; `plain`: how many words there are where it is left out."""
    if len(words) > plain and words[0].text.lower() in _KINDS:
        return _KINDS[words[0].text.lower()], words[1:]
    return MatchKind.EXACT, words


def _match(kind: MatchKind, argument: Token) -> NameMatch:
    if kind is MatchKind.REGEX:
        parse_regex(argument)
        return NameMatch(kind, spelled_out(argument.text))
    text = _dotted(argument)
    if kind is MatchKind.EXACT:
        _refuse_bad_name(text, argument.position)
    return NameMatch(kind, text, is_dot_added=not argument.text.endswith("."))


def _dotted(argument: Token) -> str:
    """As names are compared: lower case, with the last dot."""
    if not argument.text.isascii():
        raise CorefileError(argument.position, f"`{argument.text}` is not ASCII: write names in their xn-- form")
    text = argument.text.lower()
    return text if text.endswith(".") else f"{text}."


def _refuse_bad_name(text: str, position: Position) -> None:
    try:
        from_text(text)
    except InvalidName as error:
        raise CorefileError(position, f"`{text}` is no name: {error}") from None


def _replacement(argument: Token, pattern: Token) -> str:
    """A text with `{1}` for the groups of a regular expression, which has to have them."""
    groups = parse_regex(pattern).groups
    for found in _GROUP.finditer(argument.text):
        if int(found[1]) > groups:
            message = f"`{found.group()}`: `{pattern.text}` has {groups} groups; write `( )` around what it is to be"
            raise CorefileError(argument.position, message)
    return _dotted(argument)


def _name(field: Token, words: Sequence[Token]) -> NameRewrite:
    kind, words = _kind(words, 2)
    if len(words) < 2:
        raise CorefileError(field.position, "`rewrite name` takes [exact|prefix|suffix|substring|regex] FROM TO")
    pattern, to, *options = words
    match = _match(kind, pattern)
    target = _replacement(to, pattern) if kind is MatchKind.REGEX else _dotted(to)
    if kind is MatchKind.EXACT:
        _refuse_bad_name(target, to.position)
    is_auto, answers = _answers(options)
    if is_auto and any(answer.field is AnswerField.NAME for answer in answers):
        message = "`answer auto` and `answer name` exclude each other: keep one of them"
        raise CorefileError(options[0].position, message)
    return NameRewrite(match, target, is_auto or kind is MatchKind.EXACT, answers)


def _answers(words: Sequence[Token]) -> tuple[bool, tuple[AnswerRewrite, ...]]:
    """`answer auto`, `answer name FROM TO`, `answer value FROM TO`; `answer` may be left out from the second on."""
    if words and words[0].text != "answer":
        raise CorefileError(words[0].position, f"nothing but `answer` can stand here, not `{words[0].text}`")
    is_auto, answers = False, list[AnswerRewrite]()
    while words:
        at = words[0].position
        words = words[1:] if words[0].text == "answer" else words
        what, words = (words[0].text, words[1:]) if words else ("", words)
        if what == "auto":
            is_auto = True
            continue
        if what not in ("name", "value") or len(words) < 2:
            raise CorefileError(at, "`answer` takes auto, or name FROM TO, or value FROM TO")
        if words[0].text == "auto":
            raise CorefileError(words[0].position, f"`answer {what}` takes FROM TO; what you mean is `answer auto`")
        answers.append(AnswerRewrite(AnswerField(what), words[0].text, _replacement(words[1], words[0])))
        words = words[2:]
    return is_auto, tuple(answers)


def _type(field: Token, words: Sequence[Token]) -> TypeRewrite:
    _exactly(2, field, words, "two types, FROM TO")
    old, new = map(parse_type, words)
    return TypeRewrite(old, new)


def _class(field: Token, words: Sequence[Token]) -> ClassRewrite:
    _exactly(2, field, words, "two classes, FROM TO")
    old, new = map(parse_class, words)
    return ClassRewrite(old, new)


def _ttl(field: Token, words: Sequence[Token]) -> TtlRewrite:
    kind, words = _kind(words, 2)
    _exactly(2, field, words, "[exact|prefix|suffix|substring|regex] NAME SECONDS, or MIN-MAX for SECONDS")
    minimum, maximum = _bounds(words[1])
    return TtlRewrite(_match(kind, words[0]), minimum, maximum)


def _bounds(argument: Token) -> tuple[int, int]:
    """`30`, `30-300`, `30-`, `-300`."""
    found = _RANGE.fullmatch(argument.text)
    if found is None:
        return (number(argument, 0, MAX_TTL),) * 2
    low = number(replace(argument, text=found[1] or "0"), 0, MAX_TTL)
    high = number(replace(argument, text=found[2] or str(MAX_TTL)), 0, MAX_TTL)
    if low > high or argument.text == "-":
        message = f"`{argument.text}` is no range of seconds: write it as in 30-300, 30- or -300"
        raise CorefileError(argument.position, message)
    return low, high


def _rcode(field: Token, words: Sequence[Token]) -> RcodeRewrite:
    kind, words = _kind(words, 3)
    _exactly(3, field, words, "[exact|prefix|suffix|substring|regex] NAME FROM TO")
    return RcodeRewrite(_match(kind, words[0]), parse_rcode(words[1]), parse_rcode(words[2], HIGHEST_PLAIN_RCODE))


def _cname(field: Token, words: Sequence[Token]) -> CnameRewrite:
    kind, words = _kind(words, 2)
    _exactly(2, field, words, "[exact|prefix|suffix|substring|regex] FROM TO")
    match = _match(kind, words[0])
    return CnameRewrite(match, _replacement(words[1], words[0]) if kind is MatchKind.REGEX else _dotted(words[1]))


def _edns0(field: Token, words: Sequence[Token]) -> EdnsRemoval:
    if len(words) < 2 or words[0].text.lower() not in _EDNS_OPTIONS:
        raise CorefileError(field.position, "`rewrite edns0` takes local unset CODE, nsid unset, or subnet unset")
    option, action, *rest = words
    if action.text.lower() != "unset":
        raise CorefileError(action.position, f"`edns0 {option.text} {action.text}`: {_NO_SETTING}")
    if rest and rest[-1].text == "revert":
        raise CorefileError(rest[-1].position, _NO_REVERT)
    code = _EDNS_OPTIONS[option.text.lower()]
    if code is not None:
        _exactly(0, field, rest, f"no more than {option.text} unset")
        return EdnsRemoval(code)
    _exactly(1, field, rest, "local unset CODE")
    return EdnsRemoval(_code(rest[0]))


def _code(argument: Token) -> int:
    """A number as Go reads it: 65280, or 0xff00."""
    if not re.fullmatch(r"0[xX][0-9a-fA-F]{1,4}", argument.text):
        return number(argument, 0, _MAX_CODE)
    return int(argument.text, 16)


# A name, and the code of its option; None: it is given.
_EDNS_OPTIONS: dict[str, int | None] = {"local": None, "nsid": _NSID, "subnet": _SUBNET}
_FIELDS: dict[str, Callable[[Token, Sequence[Token]], RewriteRule]] = {
    "name": _name,
    "type": _type,
    "class": _class,
    "ttl": _ttl,
    "rcode": _rcode,
    "cname": _cname,
    "edns0": _edns0,
}


@singledispatch
def _rule_words(rule: RewriteRule) -> list[str]:
    raise TypeError(f"{rule!r} is no rule of `rewrite`")


@_rule_words.register
def _(rule: NameRewrite) -> list[str]:
    auto = ["answer auto"] if rule.is_auto and rule.match.kind is not MatchKind.EXACT else []
    answers = [f"answer {one.field.value} {write(one.pattern)} {write(one.to)}" for one in rule.answers]
    return ["name", *_match_words(rule.match), write(rule.to), *auto, *answers]


@_rule_words.register
def _(rule: TypeRewrite) -> list[str]:
    return ["type", type_word(rule.old), type_word(rule.new)]


@_rule_words.register
def _(rule: ClassRewrite) -> list[str]:
    return ["class", class_word(rule.old), class_word(rule.new)]


@_rule_words.register
def _(rule: TtlRewrite) -> list[str]:
    seconds = str(rule.minimum) if rule.minimum == rule.maximum else f"{rule.minimum}-{rule.maximum}"
    return ["ttl", *_match_words(rule.match), seconds]


@_rule_words.register
def _(rule: RcodeRewrite) -> list[str]:
    return ["rcode", *_match_words(rule.match), rcode_word(rule.old), rcode_word(rule.new)]


@_rule_words.register
def _(rule: CnameRewrite) -> list[str]:
    return ["cname", *_match_words(rule.match), write(rule.to)]


@_rule_words.register
def _(rule: EdnsRemoval) -> list[str]:
    names = {_NSID: "nsid", _SUBNET: "subnet"}
    return ["edns0", names[rule.code], "unset"] if rule.code in names else ["edns0", "local", "unset", str(rule.code)]


def _match_words(match: NameMatch) -> list[str]:
    return [match.kind.value, write(match.pattern)]
