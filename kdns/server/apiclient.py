"""The way to an API server: which one, and a request sent to it, as the Corefile, the flags or the pod around us say.

    ApiAccess -> connect_to -> ApiClient -> send: one connection for each request, its response not read yet

What is wrong for good is an AccessError of `connect_to`; what may mend itself is a Failure of each request.

In a cluster, access is two variables and two files, and those are read here. A kubeconfig is read by
kdns.server.kubeconfig and made credentials of by the `kubernetes` package, in a process of its own.
Credentials are never sent over http://. Redirects are not followed: a 3xx is an answer like another. Proxies are
those of kubeconfigs (`proxy-url`); the environment's are not looked at.

Not here: reading responses (kdns.server.streams), what to ask for (kdns.kube.reflector).
"""

from __future__ import annotations

import os
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from urllib.parse import SplitResult, quote, unquote, urlencode, urlsplit

from kdns import __version__
from kdns.kube.request import Failure, Request
from kdns.server.credentials import (
    Credentials,
    CredentialsError,
    FileSource,
    Keyring,
    KubeconfigSource,
    Origins,
    Source,
)
from kdns.server.dialing import Cancelled, Connection, Limits, Proxy, authority, dial, tunnel
from kdns.server.failures import failure_of
from kdns.server.kubeconfig import AccessError, Entry, read_kubeconfig

HOST_VARIABLE = "KUBERNETES_SERVICE_HOST"
PORT_VARIABLE = "KUBERNETES_SERVICE_PORT"
SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
DEFAULT_PORTS = {"https": 443, "http": 80}

__all__ = ["AccessError", "ApiAccess", "ApiClient", "Limits", "RequestFailed", "connect_to"]

_PRINTABLE = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True)
class ApiAccess:
    """How to reach an API server: a kubeconfig, or an endpoint, or neither of them: the cluster around us.

    kubeconfig: a path, or several joined by ":". context: no name is the current one. endpoint: a URL.
    certificate, key, ca: paths of PEM files, for an endpoint. context_place: where the context is named, if it is.
    """

    kubeconfig: str = ""
    context: str = ""
    endpoint: str = ""
    certificate: str = ""
    key: str = ""
    ca: str = ""
    context_place: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go.

    path: what goes before theirs, "" or "/k8s/clusters/one". name: what the server's certificate must be for.
    """

    scheme: str
    host: str
    port: int
    path: str = ""
    name: str = ""
    proxy: Proxy | None = None

    def __str__(self) -> str:
        return f"{self.scheme}://{authority(self.host, self.port)}{self.path}"


class RequestFailed(Exception):
    """A request came to nothing, and `failure` says why."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.text)
        self.failure = failure


class ApiClient:
    """One API server and the credentials for it. Used by many threads.

    server: its URL, for the log. keyring: None for http://, over which nothing secret is sent.
    """

    def __init__(self, target: Target, keyring: Keyring | None, limits: Limits) -> None:
        self.server = str(target)
        self.limits = limits
        self._target = target
        self._keyring = keyring

    def credentials(self) -> Credentials:
        """What to send the next request with. Raises RequestFailed."""
        with self.failing():
            return self._keyring.current() if self._keyring else Credentials()

    def refreshed(self, refused: Credentials) -> Credentials:
        """What to send it with once more, after a 401. Raises RequestFailed."""
        with self.failing():
            return self._keyring.refreshed(refused) if self._keyring else refused

    def send(self, request: Request, credentials: Credentials, cancel: int) -> Connection:
        """Send a request on a new connection; the answer is to be read from it. Raises RequestFailed and Cancelled.

        cancel: an eventfd that ends all waiting.
        """
        connection = self._connect(cancel)
        try:
            with self.failing():
                if self._keyring:
                    tls = self._keyring.tls(credentials)
                    connection.start_tls(tls, self._target.name, self.limits.connect)
                connection.send(self._octets(request, credentials), self.limits.send)
        except BaseException:
            connection.close()
            raise
        return connection

    @contextmanager
    def failing(self, place: str = "") -> Iterator[None]:
        """Have what goes wrong raise RequestFailed. place: other than the server."""
        try:
            yield
        except (Cancelled, RequestFailed):
            raise
        except Exception as error:
            origins = self._keyring.origins if self._keyring else Origins()
            raise RequestFailed(failure_of(error, place or self.server, origins)) from error

    def _connect(self, cancel: int) -> Connection:
        target, proxy = self._target, self._target.proxy
        if proxy is None:
            with self.failing():
                return dial(target.host, target.port, cancel, self.limits)
        with self.failing(f"{proxy}, to reach {self.server}"):
            connection = dial(proxy.host, proxy.port, cancel, self.limits)
            try:
                tunnel(connection, proxy, target.host, target.port, self.limits)
            except BaseException:
                connection.close()
                raise
            return connection

    def _octets(self, request: Request, credentials: Credentials) -> bytes:
        query = f"?{urlencode(request.query, quote_via=quote)}" if request.query else ""
        secret = f"Authorization: {credentials.authorization}\r\n" if credentials.authorization else ""
        return (
            f"GET {self._target.path}{quote(request.path)}{query} HTTP/1.1\r\n"
            f"Host: {authority(self._target.host, self._target.port)}\r\n"
            f"{secret if self._keyring else ''}"
            "Accept: application/json\r\n"
            f"User-Agent: kdns/{__version__}\r\n\r\n"
        ).encode("ascii")


def connect_to(
    access: ApiAccess,
    limits: Limits | None = None,
    environment: Mapping[str, str] = os.environ,
    service_account: str = SERVICE_ACCOUNT,
) -> ApiClient:
    """Find out how to reach an API server; it is not asked yet. Raises AccessError.

    With a kubeconfig this takes a quarter of a second of CPU, for the `kubernetes` package. An exec plugin is run
    only when the first request is sent.
    """
    limits = limits or Limits()
    if access.kubeconfig:
        return _by_kubeconfig(access, limits)
    if access.endpoint:
        return _by_endpoint(access, limits)
    return _in_cluster(environment, service_account, limits)


def _by_kubeconfig(access: ApiAccess, limits: Limits) -> ApiClient:
    read = partial(read_kubeconfig, access.kubeconfig, access.context, access.context_place)
    found = read()
    cluster, user = found.cluster, found.user
    target = replace(_target(found.server, cluster.place("server")), proxy=_proxy(cluster))
    target = replace(target, name=cluster.text("tls-server-name") or target.name)
    origins = Origins()
    if cluster.text("certificate-authority-data") or cluster.text("certificate-authority"):
        origins = replace(origins, ca=cluster.place("certificate-authority-data", "certificate-authority"))
    if found.runs_plugin:
        origins = replace(origins, certificate=f"that of the exec plugin, {user.place('exec')}")
    elif user.text("client-certificate-data") or user.text("client-certificate"):
        origins = replace(origins, certificate=user.place("client-certificate-data", "client-certificate"))
    source = KubeconfigSource(read, found.server, limits.load)
    return _client(target, source, origins, limits)


def _by_endpoint(access: ApiAccess, limits: Limits) -> ApiClient:
    source = FileSource(ca=access.ca, certificate=access.certificate, key=access.key)
    origins = Origins(access.ca or Origins().ca, access.certificate or Origins().certificate)
    return _client(_target(access.endpoint, "endpoint"), source, origins, limits)


def _in_cluster(environment: Mapping[str, str], service_account: str, limits: Limits) -> ApiClient:
    host, port = environment.get(HOST_VARIABLE, ""), environment.get(PORT_VARIABLE, "")
    has_account = os.path.isdir(service_account)
    if not host and not has_account:
        raise AccessError(
            f"not in a cluster: {HOST_VARIABLE} is not set, and there is no {service_account}: name a kubeconfig,"
            " with --kubeconfig PATH or with `kubeconfig PATH` in the `kubernetes` block"
        )
    if not host or not port:
        raise AccessError(f"{HOST_VARIABLE} and {PORT_VARIABLE} are not both set, as they are in a pod: set them")
    if not has_account:
        raise AccessError(f"no service account in {service_account}: set `automountServiceAccountToken: true`")
    source = FileSource(token=f"{service_account}/token", ca=f"{service_account}/ca.crt")
    url = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    return _client(_target(url, f"{HOST_VARIABLE}, {PORT_VARIABLE}"), source, Origins(ca=source.ca), limits)


def _client(target: Target, source: Source, origins: Origins, limits: Limits) -> ApiClient:
    """A client, if what it needs is there. Raises AccessError."""
    if target.scheme == "http":
        return ApiClient(target, None, limits)
    keyring = Keyring(source, origins)
    try:
        ready = source.prepare()
        if ready is not None:
            keyring.tls(ready)
    except CredentialsError as error:
        raise AccessError(str(error)) from None
    return ApiClient(target, keyring, limits)


def _target(url: str, where: str) -> Target:
    """What a URL says. Raises AccessError."""
    parts, port = _split(url, where, tuple(DEFAULT_PORTS))
    if parts.username or parts.password:
        raise AccessError(f"{where}: no user and no password belong into a server's URL")
    host = parts.hostname or ""
    return Target(parts.scheme, host, port or DEFAULT_PORTS[parts.scheme], parts.path.rstrip("/"), name=host)


def _proxy(cluster: Entry) -> Proxy | None:
    """What a cluster's `proxy-url` says. Raises AccessError."""
    url = cluster.text("proxy-url")
    if not url:
        return None
    parts, port = _split(url, cluster.place("proxy-url"), ("http",))
    authorization = ""
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = f"Basic {b64encode(pair.encode()).decode()}"
    return Proxy(parts.hostname or "", port or DEFAULT_PORTS["http"], authorization)


def _split(url: str, where: str, schemes: tuple[str, ...]) -> tuple[SplitResult, int | None]:
    """The parts of a URL, and its port if it says one. Raises AccessError, which shows no password."""
    shown = url.rpartition("@")[2]
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise AccessError(f"{where}: `{shown}`: {error}") from None
    if parts.scheme not in schemes or not parts.hostname or parts.query or parts.fragment:
        wanted = " or ".join(f"{scheme}://HOST:PORT" for scheme in schemes)
        raise AccessError(f"{where}: `{shown}` is not {wanted}")
    if not _PRINTABLE.fullmatch(url):
        raise AccessError(f"{where}: `{shown}` has characters in it that no URL has")
    return parts, port
