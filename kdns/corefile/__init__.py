"""The configuration language: CoreDNS's Corefile, from text (or flags) to an immutable model and back to text.

Pure: files for `import` and the environment are handed in as a callable and a mapping. The stages, each a module:
lexer, environment, imports, parser (generic statements), directives (their meaning), model, printer. What is said of
the whole process, outside of the language, is in settings.
"""

from kdns.corefile.build import parse_corefile
from kdns.corefile.errors import CorefileError, Position
from kdns.corefile.flags import from_flags, with_kubeconfig
from kdns.corefile.imports import Read
from kdns.corefile.lexer import decode
from kdns.corefile.model import (
    Bind,
    Consolidate,
    Corefile,
    Errors,
    Health,
    HttpAddress,
    Kubernetes,
    Listener,
    Log,
    LogLevel,
    PodMode,
    Prometheus,
    Ready,
    ResponseClass,
    ServerBlock,
    ZoneFile,
)
from kdns.corefile.plugins import TlsFiles
from kdns.corefile.printer import print_corefile
from kdns.corefile.selector import Selector, SelectorError, parse_selector
from kdns.corefile.settings import Condition, LogFormat, ReadyWhen, Settings, read_settings

__all__ = [
    "Bind",
    "Condition",
    "Consolidate",
    "Corefile",
    "CorefileError",
    "Errors",
    "Health",
    "HttpAddress",
    "Kubernetes",
    "Listener",
    "Log",
    "LogFormat",
    "LogLevel",
    "PodMode",
    "Position",
    "Prometheus",
    "Read",
    "Ready",
    "ReadyWhen",
    "ResponseClass",
    "Selector",
    "SelectorError",
    "ServerBlock",
    "Settings",
    "TlsFiles",
    "ZoneFile",
    "decode",
    "from_flags",
    "parse_corefile",
    "parse_selector",
    "print_corefile",
    "read_settings",
    "with_kubeconfig",
]
