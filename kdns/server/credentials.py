"""What proves to an API server who we are, and to us who it is: from files, or from a kubeconfig's user.

    FileSource          a service account (token and CA), or the Corefile's `tls`; read anew for each connection
    KubeconfigSource    what the `kubernetes` package makes of a kubeconfig, exec plugins included
    Keyring             one of them for all streams of a cluster: however many ask at once, it is loaded once

Private keys stay in memory. What is logged of an error holds no token, unless an exec plugin writes one to its
standard error, which is shown as kubectl shows it: it says what is wrong. Not here: what a kubeconfig may say
(kdns.server.kubeconfig), where to connect to (kdns.server.apiclient).
"""

from __future__ import annotations

import json
import math
import os
import re
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from kdns.server.kubeconfig import AccessError, Kubeconfig
from kdns.server.textfile import UnreadableError, read_text
from kdns.server.watch import stamps

GRACE_SECONDS = 2.0  # the loader ends itself in time; this much later it is ended
EXPIRY_MARGIN_SECONDS = 10.0  # a server looks at the time when a request comes, not while it is answered
COMPLAINT_CHARACTERS = 500  # of what a plugin says on its standard error

_LOADER = str(Path(__file__).with_name("kubernetes_loader.py"))
_AUTHORIZATION = re.compile(r"[!-~]+( [!-~]+)*")


class CredentialsError(Exception):
    """Credentials cannot be had now; the text says whose fault that is."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What one connection is made with.

    authorization: the header's value, "" for none. ca, certificate, key: PEM; no `ca` means the system's.
    expires: unix time.
    """

    authorization: str = field(default="", repr=False)
    ca: str = ""
    certificate: str = ""
    key: str = field(default="", repr=False)
    expires: float = math.inf

    def is_same_proof(self, other: Credentials) -> bool:
        """Whether a server that refuses the one refuses the other."""
        return replace(self, expires=other.expires) == other


@dataclass(frozen=True, slots=True)
class Origins:
    """Where certificates come from, for the log: a path, or file:line."""

    ca: str = "the system's certificates"
    certificate: str = "no client certificate"


class Source(Protocol):
    """Where credentials come from."""

    def load(self, is_forced: bool) -> Credentials:
        """The present ones. is_forced: the last ones were refused. Raises CredentialsError."""

    def prepare(self) -> Credentials | None:
        """What must be there from the start, which a token's file need not; None if a plugin is to be asked.

        Raises CredentialsError.
        """


@dataclass(frozen=True, slots=True)
class FileSource:
    """Files of the given paths, "" for none. They are small, connections are rare, and some are rotated."""

    token: str = ""
    ca: str = ""
    certificate: str = ""
    key: str = ""

    def load(self, is_forced: bool) -> Credentials:
        """Read them. Raises CredentialsError."""
        return Credentials(
            authorization=bearer(self.token) if self.token else "",
            ca=_contents(self.ca) if self.ca else "",
            certificate=_contents(self.certificate) if self.certificate else "",
            key=_contents(self.key) if self.key else "",
        )

    def prepare(self) -> Credentials:
        """All but the token. Raises CredentialsError."""
        return replace(self, token="").load(is_forced=False)


class KubeconfigSource:
    """The user of a kubeconfig's context.

    Kept until its files change, it expires, or what an exec plugin gave is refused. Only a `tokenFile` is read for
    each connection. read: reads the kubeconfig, or raises AccessError. seconds: how long an exec plugin may take.
    """

    def __init__(self, read: Callable[[], Kubeconfig], server: str, seconds: float) -> None:
        self._read_kubeconfig = read
        self._server = server
        self._seconds = seconds
        self._kubeconfig: Kubeconfig | None = None
        self._stamps: object = None
        self._kept = Credentials(expires=-math.inf)

    def load(self, is_forced: bool) -> Credentials:
        """The present ones. Raises CredentialsError."""
        kubeconfig = self._kubeconfig
        if kubeconfig is None or not self._is_good(kubeconfig, is_forced):
            kubeconfig = self._load()
        token_file = kubeconfig.user.text("tokenFile")
        return replace(self._kept, authorization=bearer(token_file)) if token_file else self._kept

    def prepare(self) -> Credentials | None:
        """All but the token, unless a plugin has to be run for it. Raises CredentialsError."""
        if self._read().runs_plugin:
            return None
        self._load()
        return self._kept

    def _is_good(self, kubeconfig: Kubeconfig, is_forced: bool) -> bool:
        if is_forced and kubeconfig.runs_plugin:
            return False
        return time.time() < self._kept.expires - EXPIRY_MARGIN_SECONDS and stamps(kubeconfig.files) == self._stamps

    def _load(self) -> Kubeconfig:
        self._kubeconfig = None
        kubeconfig = self._read()
        found = stamps(kubeconfig.files)
        self._kept = ask_package(kubeconfig, self._seconds)
        self._kubeconfig, self._stamps = kubeconfig, found
        return kubeconfig

    def _read(self) -> Kubeconfig:
        try:
            kubeconfig = self._read_kubeconfig()
        except AccessError as error:
            raise CredentialsError(str(error)) from None
        for place, path in kubeconfig.referred:
            _contents(path, f"{place}: ")
        if kubeconfig.server != self._server:
            # Credentials of one cluster are not for another one's server.
            raise CredentialsError(f"{kubeconfig}: `server` is now {kubeconfig.server}: restart kdns to follow it")
        return kubeconfig


class Keyring:
    """The credentials of one cluster, and the TLS settings that go with them. Used by many threads.

    While one thread loads them, which may take as long as an exec plugin does, the others wait for what it gets.
    """

    def __init__(self, source: Source, origins: Origins) -> None:
        self.origins = origins
        self._source = source
        self._loading = threading.Lock()
        self._loads = 0
        self._last: Credentials | CredentialsError = CredentialsError("not loaded")
        self._making = threading.Lock()
        self._made_from: Credentials | None = None
        self._tls: ssl.SSLContext | None = None

    def current(self) -> Credentials:
        """What to connect with now. Raises CredentialsError."""
        return self._load(None)

    def refreshed(self, refused: Credentials) -> Credentials:
        """What to try once more with, after a 401. Raises CredentialsError."""
        last = self._last
        if isinstance(last, Credentials) and last != refused:
            return last  # another thread was refused, too, and has been here
        return self._load(refused)

    def tls(self, credentials: Credentials) -> ssl.SSLContext:
        """TLS settings that verify the server. Raises CredentialsError."""
        made_from = replace(credentials, authorization="", expires=math.inf)
        with self._making:
            if self._tls is None or made_from != self._made_from:
                self._tls, self._made_from = tls_context(credentials, self.origins), made_from
            return self._tls

    def _load(self, refused: Credentials | None) -> Credentials:
        seen = self._loads
        with self._loading:
            if self._loads == seen or self._last == refused:
                self._last = self._ask(is_forced=refused is not None)
                self._loads += 1
            last = self._last
        if isinstance(last, CredentialsError):
            raise CredentialsError(str(last))
        return last

    def _ask(self, is_forced: bool) -> Credentials | CredentialsError:
        try:
            return self._source.load(is_forced)
        except CredentialsError as error:
            return CredentialsError(str(error))


def tls_context(credentials: Credentials, origins: Origins) -> ssl.SSLContext:
    """TLS as a client that believes nobody unseen. Raises CredentialsError.

    Not ssl.create_default_context: from Python 3.13 on it refuses CAs without some extensions, as old clusters have.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # which verifies certificate and name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.hostname_checks_common_name = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # an intermediate CA may be all that a cluster gives away
    context.set_alpn_protocols(["http/1.1"])
    try:
        if credentials.ca:
            context.load_verify_locations(cadata=credentials.ca)
        else:
            context.load_default_certs()
    except (ssl.SSLError, ValueError):
        raise CredentialsError(f"{origins.ca}: not CA certificates in PEM form") from None
    if credentials.certificate:
        try:
            _load_pair(context, credentials)
        except ssl.SSLError as error:
            reason = (error.reason or "not in PEM form").replace("_", " ").lower()
            raise CredentialsError(f"{origins.certificate}: no client certificate with its key: {reason}") from None
    return context


def _load_pair(context: ssl.SSLContext, credentials: Credentials) -> None:
    """Give OpenSSL a certificate and its key; it takes only files, so they get one that is nowhere."""
    with os.fdopen(os.memfd_create("kdns-client-certificate"), "wb") as file:
        file.write(f"{credentials.certificate}\n{credentials.key}\n".encode())
        file.flush()
        # A password that is wrong: without one, OpenSSL asks for it on the terminal.
        context.load_cert_chain(f"/proc/self/fd/{file.fileno()}", password="")


def ask_package(kubeconfig: Kubeconfig, seconds: float) -> Credentials:
    """What the `kubernetes` package makes of a cluster and a user. Raises CredentialsError."""
    user = dict(kubeconfig.user.values)
    if user.pop("tokenFile", None):  # the package would read it once and for all, and prefer `token`
        user.pop("token", None)
        user.pop("exec", None)
    question = {"cluster": dict(kubeconfig.cluster.values), "user": user, "seconds": seconds}
    who = f"{kubeconfig}: exec plugin `{kubeconfig.user.plugin}`" if kubeconfig.runs_plugin else str(kubeconfig)
    answer = _run_loader(json.dumps(question, default=str).encode(), seconds)
    if answer is None:
        raise CredentialsError(f"{who}: no credentials within {seconds:g} s")
    if "error" in answer:
        raise CredentialsError(f"{who}: {_one_line(answer['error'])}")
    return Credentials(
        authorization=_checked(answer["authorization"].strip(), who),
        ca=answer["ca"],
        certificate=answer["certificate"],
        key=answer["key"],
        expires=math.inf if answer["expires"] is None else answer["expires"],
    )


def _run_loader(question: bytes, seconds: float) -> dict[str, Any] | None:
    """Run the loader, in a process group with all that it starts. None if it takes too long."""
    with subprocess.Popen(
        [sys.executable, "-P", _LOADER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            output, complaint = process.communicate(question, seconds + GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return None
    if process.returncode == -signal.SIGKILL:
        return None
    try:
        answer: dict[str, Any] = json.loads(output)
    except ValueError:
        lines = complaint.decode(errors="replace").strip().splitlines()
        return {"error": f"the loader ended with status {process.returncode}: {lines[-1] if lines else 'no word'}"}
    return answer


def bearer(path: str) -> str:
    """The header for the token in a file. Raises CredentialsError."""
    token = _contents(path).strip()
    if not token:
        raise CredentialsError(f"{path}: the token file is empty")
    return _checked(f"Bearer {token}", path)


def _contents(path: str, place: str = "") -> str:
    try:
        return read_text(path)
    except UnreadableError as error:
        raise CredentialsError(f"{place}{path}: cannot be read: {error}") from None


def _checked(authorization: str, where: str) -> str:
    """A header's value that holds nothing else. Raises CredentialsError."""
    if authorization and not _AUTHORIZATION.fullmatch(authorization):
        raise CredentialsError(f"{where}: the token has characters in it that no token has")
    return authorization


def _one_line(text: object) -> str:
    line = " ".join(str(text).split())
    return line if len(line) <= COMPLAINT_CHARACTERS else line[:COMPLAINT_CHARACTERS] + " ..."
