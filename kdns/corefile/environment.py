"""Environment variables in a Corefile: `{$NAME}` and `{%NAME%}`, anywhere in a word.

Rules, those of CoreDNS: a variable that is not set is an empty text; a value is never split into several words and
never read as a brace. Unlike CoreDNS, a value is not searched for further references, so it cannot loop.
The environment is a mapping handed in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from kdns.corefile.errors import CorefileError
from kdns.corefile.lexer import Token, quote

_REFERENCE = re.compile(r"\{%(?P<percent>.+?)%\}|\{\$(?P<dollar>[^}]+)\}", re.DOTALL)


def expand(tokens: list[Token], environment: Mapping[str, str]) -> list[Token]:
    """The tokens with every reference replaced by its value.

    Raises CorefileError for a word that could not be written back into a Corefile.
    """
    return [_expand(token, environment) if token.is_word else token for token in tokens]


def _expand(token: Token, environment: Mapping[str, str]) -> Token:
    text = _REFERENCE.sub(lambda found: environment.get(found["percent"] or found["dollar"], ""), token.text)
    try:
        write(text)
    except ValueError as error:
        hint = ": look at the values of its variables" if _REFERENCE.search(token.text) else ""
        raise CorefileError(token.position, f"this word cannot be used: {error}{hint}") from None
    return token if text == token.text else replace(token, text=text)


def write(word: str) -> str:
    """`word` as a Corefile writes it, so that it is read back as it is. Raises ValueError where no text does that."""
    if _REFERENCE.search(word):
        raise ValueError("it holds a reference to an environment variable")
    return quote(word)
