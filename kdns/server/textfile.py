"""Small text files that say who may ask an API server: kubeconfigs, tokens, certificates.

Not here: zone files and manifests (kdns.server.sources), Corefiles (kdns.cli.configuration).
"""

from __future__ import annotations

OCTETS_MAX = 4 << 20  # a token has 1 kB, a bundle of all the world's CAs 250 kB, a kubeconfig 10 kB for each cluster


class UnreadableError(Exception):
    """A file cannot be read; the text says why, and not which file."""


def read_text(path: str) -> str:
    """All of a file. Raises UnreadableError."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(OCTETS_MAX + 1)
    except OSError as error:
        raise UnreadableError(error.strerror or str(error)) from None
    except UnicodeDecodeError:
        raise UnreadableError("not UTF-8") from None
    if len(text) > OCTETS_MAX:
        raise UnreadableError(f"too large, over {OCTETS_MAX >> 20} MiB")
    return text
