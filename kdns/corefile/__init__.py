"""The configuration language: CoreDNS's Corefile, from text (or flags) to an immutable model and back to text.

Pure: files for `import` and the environment are handed in as a callable and a mapping. The stages, each a module:
lexer, environment, imports, parser (generic statements), directives (their meaning), model, printer.
"""

from kdns.corefile.build import parse_corefile
from kdns.corefile.errors import CorefileError, Position
from kdns.corefile.flags import from_flags
from kdns.corefile.imports import Read
from kdns.corefile.lexer import decode
from kdns.corefile.model import (
    Bind,
    Consolidate,
    Corefile,
    Errors,
    Kubernetes,
    Listener,
    Log,
    LogLevel,
    PodMode,
    ResponseClass,
    ServerBlock,
    ZoneFile,
)
from kdns.corefile.printer import print_corefile
from kdns.corefile.selector import Selector, SelectorError, parse_selector

__all__ = [
    "Bind",
    "Consolidate",
    "Corefile",
    "CorefileError",
    "Errors",
    "Kubernetes",
    "Listener",
    "Log",
    "LogLevel",
    "PodMode",
    "Position",
    "Read",
    "ResponseClass",
    "Selector",
    "SelectorError",
    "ServerBlock",
    "ZoneFile",
    "decode",
    "from_flags",
    "parse_corefile",
    "parse_selector",
    "print_corefile",
]
