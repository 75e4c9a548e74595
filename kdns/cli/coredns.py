"""What CoreDNS's command line has and `argparse` has not: words as Go's `flag` takes them, -plugins, -pidfile.

    -quiet=true     -p=53     --conf FILE

Go takes a value behind `=` for flags that are on or off, and never one that is joined to a flag's letter: `-pidfil x`
is no `-p idfil`. Not here: the flags themselves (kdns.cli.main).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

_SWITCHES = frozenset(("quiet", "version", "plugins"))
# strconv.ParseBool
_ON = frozenset(("1", "t", "T", "true", "TRUE", "True"))
_OFF = frozenset(("0", "f", "F", "false", "FALSE", "False"))
_SWITCH = re.compile(r"--?(?P<name>[a-z]+)=(?P<value>.*)")
_JOINED = re.compile(r"-p[^=]")


class FlagError(ValueError):
    """A word that is no flag; the message says which."""


def words_of(words: Iterable[str], known: frozenset[str]) -> list[str]:
    """The same words, as `argparse` takes them. known: all flags with their dashes. Raises FlagError."""
    found = []
    for word in words:
        switch = _SWITCH.fullmatch(word)
        if switch and switch["name"] in _SWITCHES:
            found += _switched(switch["name"], switch["value"])
        elif _JOINED.match(word) and word.partition("=")[0] not in known:
            raise FlagError(f"flag provided but not defined: {word}; the port is -p PORT")
        else:
            found.append(word)
    return found


def _switched(name: str, value: str) -> list[str]:
    if value in _ON:
        return [f"-{name}"]
    if value in _OFF:
        return []
    raise FlagError(f"invalid boolean value {value!r} for -{name}")


def plugin_list(directives: Iterable[str]) -> str:
    """What -plugins prints."""
    plugins = "".join(f"  dns.{name}\n" for name in sorted(directives))
    return f"Server types:\n  dns\n\nCaddyfile loaders:\n  default\n  flag\n\nOther plugins:\n{plugins}"


@contextmanager
def pid_file(path: str, on_trouble: Callable[[str], None]) -> Iterator[None]:
    """The number of this process is in a file for as long as this lasts.

    That it cannot be written is told, and no reason to end, as in CoreDNS.
    """
    try:
        if path:
            with open(path, "w", encoding="ascii") as file:
                file.write(f"{os.getpid()}\n")
    except OSError as error:
        on_trouble(f"-pidfile: cannot write {path}: {error.strerror}; a container's root is often read-only: mount a"
                   " directory for it, or leave -pidfile out")
        path = ""
    writer = os.getpid()
    try:
        yield
    finally:
        if path and os.getpid() == writer:  # and no child that was forked meanwhile
            _remove(path, on_trouble)


def _remove(path: str, on_trouble: Callable[[str], None]) -> None:
    try:
        os.remove(path)
    except OSError as error:
        on_trouble(f"-pidfile: cannot remove {path}: {error.strerror}")
