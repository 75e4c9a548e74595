"""Kubeconfigs: which files, which context, and where it is said, so that a mistake is told with file and line.

The rules are kubectl's: of several files joined by ":", those that do not exist are passed over; of entries with one
name the first counts, and so does the first `current-context`; a relative path starts at the file that it stands in.

Not here: what a cluster and a user mean as credentials, which the `kubernetes` package knows
(kdns.server.kubernetes_loader). It tells no lines, and takes the last `current-context`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import yaml

from kdns.server.textfile import UnreadableError, read_text

SEPARATOR = ":"

_SECTIONS = {"clusters": "cluster", "users": "user", "contexts": "context"}
_CERTIFICATE_PATHS = ("certificate-authority", "client-certificate", "client-key")
_NULL = "tag:yaml.org,2002:null"
_CLUSTER_TEXTS = ("server", "certificate-authority", "certificate-authority-data", "tls-server-name", "proxy-url")
_CERTIFICATE_TEXTS = ("client-certificate", "client-certificate-data", "client-key", "client-key-data")
_USER_TEXTS = (*_CERTIFICATE_TEXTS, "token", "tokenFile", "username", "password")
_PATHS = (*_CERTIFICATE_PATHS, "tokenFile")


class AccessError(Exception):
    """There is no way to an API server before the operator has mended something; the text says where and what."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A cluster, a user or a context: what it says, and where. lines: of its keys."""

    name: str
    path: str
    line: int
    values: Mapping[str, Any]
    lines: Mapping[str, int]

    def place(self, *keys: str) -> str:
        """Where the first of the keys that it has stands, or else itself: file:line."""
        return f"{self.path}:{next((self.lines[key] for key in keys if key in self.lines), self.line)}"

    def text(self, key: str) -> str:
        """A value that must be text; "" for none. Raises AccessError."""
        value = self.values.get(key)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise AccessError(f"{self.place(key)}: `{key}` must be text: put it in quotes")
        return value

    @property
    def plugin(self) -> str:
        """The command that gets a user's credentials, "" for none."""
        return str(self.values["exec"].get("command", "")) if isinstance(self.values.get("exec"), dict) else ""


@dataclass(frozen=True, slots=True)
class Kubeconfig:
    """One context of one or several files.

    cluster, user: with absolute paths. files: all that was read or is referred to, but for tokens: if none of them
    has changed, there is nothing new to know.
    """

    context: str
    cluster: Entry
    user: Entry
    files: tuple[str, ...]

    @property
    def referred(self) -> tuple[tuple[str, str], ...]:
        """The files of certificates and keys that it needs, each with where it is named."""
        return tuple(
            (entry.place(key), entry.text(key))
            for entry in (self.cluster, self.user)
            for key in _CERTIFICATE_PATHS
            if entry.text(key) and not entry.text(f"{key}-data")  # which comes before a file
        )

    @property
    def server(self) -> str:
        """The URL of the API server."""
        return self.cluster.text("server").rstrip("/")

    @property
    def runs_plugin(self) -> bool:
        """Whether credentials come from an exec plugin; a token that is given goes before it."""
        return bool(self.user.plugin) and not self.user.text("token") and not self.user.text("tokenFile")

    def __str__(self) -> str:
        return f"{self.cluster.path} (context {self.context})"


def read_kubeconfig(paths: str, context: str = "", place: str = "") -> Kubeconfig:
    """Read a context, the current one if none is named. Raises AccessError.

    paths: one, or several joined by ":". place: where the context is named, if not in these files.
    """
    files = [_File(path) for path in _existing(paths)]
    name = context or next((file.current_context for file in files if file.current_context), "")
    contexts = _merged(files, "contexts")
    if not name:
        raise AccessError(f"{files[0].path}: no `current-context`: set one, or name a context{_choice(contexts)}")
    if name not in contexts:
        where = " and ".join(file.path for file in files)
        what = f"{place}: no context `{name}` in {where}" if place else f"{where}: no context `{name}`"
        raise AccessError(f"{what}{_choice(contexts)}")
    cluster = _named(_merged(files, "clusters"), contexts[name], "cluster")
    user = _user(_merged(files, "users"), contexts[name])
    _check_cluster(cluster)
    _check_user(user)
    referred = [entry.text(key) for entry in (cluster, user) for key in _CERTIFICATE_PATHS]
    return Kubeconfig(name, cluster, user, (*(file.path for file in files), *filter(None, referred)))


class _File:
    """One kubeconfig, read. Raises AccessError."""

    def __init__(self, path: str) -> None:
        self.path = path
        text = _contents(path)
        try:
            self._loader = yaml.SafeLoader(text)
            root = self._loader.get_single_node()
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            where = f"{path}:{mark.line + 1}" if mark else path
            raise AccessError(f"{where}: not YAML: {error.problem}") from None
        except yaml.YAMLError as error:
            raise AccessError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
        if not isinstance(root, yaml.MappingNode):
            raise AccessError(f"{path}: not a kubeconfig, but empty or something else")
        self._root = root

    @property
    def current_context(self) -> str:
        for key, value in self._root.value:
            if key.value == "current-context" and isinstance(value, yaml.ScalarNode):
                return str(value.value)
        return ""

    def entries(self, section: str) -> Iterator[Entry]:
        """The entries of a section, in order."""
        for key, value in self._root.value:
            if key.value != section or value.tag == _NULL:
                continue
            if not isinstance(value, yaml.SequenceNode):
                raise AccessError(f"{self._place(value)}: `{section}` must be a list")
            for item in value.value:
                yield self._entry(item, _SECTIONS[section])

    def _entry(self, item: yaml.Node, kind: str) -> Entry:
        parts = {key.value: value for key, value in item.value} if isinstance(item, yaml.MappingNode) else {}
        name, body = parts.get("name"), parts.get(kind)
        if not isinstance(name, yaml.ScalarNode):
            raise AccessError(f"{self._place(item)}: a {kind} without a name")
        if not isinstance(body, yaml.MappingNode):
            return Entry(name.value, self.path, item.start_mark.line + 1, {}, {})
        try:
            values = self._loader.construct_document(body)
        except yaml.YAMLError as error:
            raise AccessError(f"{self._place(body)}: {' '.join(str(error).split())}") from None
        lines = {str(key.value): key.start_mark.line + 1 for key, _ in body.value}
        return Entry(name.value, self.path, item.start_mark.line + 1, _absolute(values, self.path), lines)

    def _place(self, node: yaml.Node) -> str:
        return f"{self.path}:{node.start_mark.line + 1}"


def _existing(paths: str) -> list[str]:
    named = [os.path.abspath(os.path.expanduser(path)) for path in paths.split(SEPARATOR) if path]
    found = [path for path in named if os.path.exists(path)]
    if not found:
        raise AccessError(f"{' and '.join(named) or repr(paths)}: no such kubeconfig")
    return found


def _contents(path: str) -> str:
    try:
        return read_text(path)
    except UnreadableError as error:
        raise AccessError(f"{path}: cannot read the kubeconfig: {error}") from None


def _merged(files: list[_File], section: str) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    for file in files:
        for entry in file.entries(section):
            found.setdefault(entry.name, entry)
    return found


def _choice(contexts: Mapping[str, Entry]) -> str:
    return f"; there are {', '.join(sorted(contexts))}" if contexts else "; there are none"


def _named(entries: Mapping[str, Entry], context: Entry, kind: str) -> Entry:
    """The entry that a context names."""
    name = context.text(kind)
    if not name:
        raise AccessError(f"{context.place()}: context `{context.name}` names no {kind}")
    if name not in entries:
        raise AccessError(f"{context.place(kind)}: context `{context.name}` names {kind} `{name}`, which is missing")
    return entries[name]


def _user(users: Mapping[str, Entry], context: Entry) -> Entry:
    """The user of a context; an API server may be open to anybody."""
    if not context.text("user"):
        return replace(context, values={}, lines={})
    return _named(users, context, "user")


def _check_cluster(cluster: Entry) -> None:
    for key in _CLUSTER_TEXTS:
        cluster.text(key)
    if not cluster.text("server"):
        raise AccessError(f"{cluster.place()}: cluster `{cluster.name}` names no `server`")
    if cluster.values.get("insecure-skip-tls-verify"):
        raise AccessError(
            f"{cluster.place('insecure-skip-tls-verify')}: `insecure-skip-tls-verify` is not accepted, for anybody on"
            " the way could then say what the cluster's names mean: put the cluster's CA into"
            " `certificate-authority-data` instead, and a name that its certificate has into `tls-server-name`"
        )


def _check_user(user: Entry) -> None:
    for key in _USER_TEXTS:
        user.text(key)
    if user.values.get("auth-provider"):
        raise AccessError(f"{user.place('auth-provider')}: `auth-provider` is out of use: use an `exec` plugin")
    if "exec" in user.values and not user.plugin:
        raise AccessError(f"{user.place('exec')}: `exec` needs a `command`")


def _absolute(values: Mapping[str, Any], path: str) -> dict[str, Any]:
    """What an entry says, with paths from the root instead of from its file."""
    directory = os.path.dirname(path)
    found = {key: _joined(directory, value) if key in _PATHS else value for key, value in values.items()}
    plugin = found.get("exec")
    if isinstance(plugin, dict) and "/" in str(plugin.get("command", "")):  # one without is looked for in PATH
        found["exec"] = {**plugin, "command": _joined(directory, plugin["command"])}
    return found


def _joined(directory: str, value: object) -> object:
    return os.path.join(directory, value) if isinstance(value, str) and value else value
