"""Whom an upstream over TLS must prove to be: the certificates of a `forward` line's `tls`, or the system's.

Files are read again when they change, at the next connection. Not here: whose name the certificate must bear
(kdns.server.upstream_stream).
"""

from __future__ import annotations

import ssl
from typing import NamedTuple

from kdns.server.credentials import CredentialsError, FileSource, Origins, tls_context
from kdns.server.watch import stamps

ALPN = "dot"  # RFC 7858's protocol in IANA's registry


class TrustFiles(NamedTuple):
    """Paths, "" for none: no client certificate; the system's authorities."""

    certificate: str = ""
    key: str = ""
    ca: str = ""


NO_FILES = TrustFiles()


class Trust:
    """TLS settings of one set of files, as of now."""

    def __init__(self, files: TrustFiles) -> None:
        self._files = files
        self._made_from: object = None
        self._context: ssl.SSLContext | None = None

    def __call__(self) -> ssl.SSLContext:
        """The settings. Raises ssl.SSLError, whose text says which file is at fault."""
        found = stamps(path for path in self._files if path)
        if self._context is None or found != self._made_from:
            self._context, self._made_from = self._make(), found
        return self._context

    def _make(self) -> ssl.SSLContext:
        files = self._files
        system = Origins()
        origins = Origins(files.ca or system.ca, files.certificate or system.certificate)
        try:
            credentials = FileSource(ca=files.ca, certificate=files.certificate, key=files.key).prepare()
            context = tls_context(credentials, origins)
        except CredentialsError as error:
            raise ssl.SSLError(str(error)) from None
        context.set_alpn_protocols([ALPN])
        return context
