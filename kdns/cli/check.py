"""`kdns check PATH...`: everything that is wrong or odd about manifests, zone files and Corefiles, a line for each.

    shop.yaml:12:3: what is wrong
    shop.yaml:40: warning: what looks wrong

What a Corefile names is checked with it; all manifests of a command line are one cluster, as in one directory.
Exit status 1 if anything is wrong, 0 if it is only odd.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from errno import EINVAL

from kdns.cli.configuration import read_corefile
from kdns.corefile import CorefileError, Kubernetes, ServerBlock, TlsFiles
from kdns.corefile.flags import CLUSTER_ZONES, ZONE_SUFFIX
from kdns.corefile.model import DEFAULT_PORT
from kdns.server.assembly import ClusterPlan, SourcePlan, assemble
from kdns.server.files import Events
from kdns.server.interfaces import interface_addresses, machine_addresses
from kdns.server.kubeconfig import AccessError, read_kubeconfig
from kdns.server.process import EXIT_ERROR, EXIT_OK
from kdns.server.reading import Reading
from kdns.server.sources import explain, make_source, read_text
from kdns.server.watch import MANIFEST_SUFFIXES, FileMoved, contents, stamps
from kdns.wire.name import InvalidName, from_text
from kdns.zone import masterfile
from kdns.zone.masterfile import ZoneFileError

SNIFF_OCTETS = 4096  # the beginning of a file of unknown name shows what it is, if anything does
_DB_PREFIX = "db."  # BIND's habit: db.example.org
_SOA = re.compile(rb"\sSOA\s", re.IGNORECASE)
_MANIFEST = re.compile(rb"^\s*[{\[]\s*\"|^\s*\"?(apiVersion|kind)\"?\s*:", re.MULTILINE)
_COREFILE = re.compile(rb"^[^;#\n]*\{\s*$", re.MULTILINE)


# A zone file that begins with $ORIGIN says itself which zone it is, whatever its name.
_ORIGIN_FIRST = re.compile(r"(?:[ \t]*(?:;[^\n]*)?\n|\$TTL[^\n]*\n)*\$ORIGIN\s", re.IGNORECASE)


class FileKind(Enum):
    """What a file is."""

    MANIFEST = "manifest"
    ZONE = "zone file"
    COREFILE = "Corefile"


@dataclass(slots=True)
class Findings:
    """What was found."""

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    files: set[str] = field(default_factory=set)

    def add(self, reading: Reading) -> None:
        """Take over what a source had to say."""
        self.errors += reading.errors
        self.warnings += reading.remarks


def run(paths: Sequence[str]) -> int:
    """Check, print, and return the exit status."""
    findings = check(paths)
    for error in dict.fromkeys(findings.errors):
        print(error)
    for warning in dict.fromkeys(findings.warnings):
        print(_as_warning(warning))
    errors, warnings = len(set(findings.errors)), len(set(findings.warnings))
    sys.stdout.flush()
    files = _count(len(findings.files), "file")
    print(f"{files}: {_count(errors, 'error')}, {_count(warnings, 'warning')}", file=sys.stderr)
    return EXIT_ERROR if errors else EXIT_OK


def check(paths: Iterable[str]) -> Findings:
    """Check files and directories."""
    findings = Findings()
    by_kind: dict[FileKind, list[str]] = {kind: [] for kind in FileKind}
    for path in _all_files(paths):
        findings.files.add(path)
        try:
            kind = recognise(path)
        except OSError as error:
            findings.errors.append(explain(path, error))
            continue
        if kind is None:
            message = "neither a manifest nor a zone file nor a Corefile, by its name and its beginning"
            findings.errors.append(f"{path}: {message}")
        else:
            by_kind[kind].append(path)
    for kind, found in by_kind.items():
        if found:
            _CHECKS[kind](found, findings)
    return findings


def recognise(path: str) -> FileKind | None:
    """What a file is, by its name, or else by how it begins. Raises OSError."""
    if _origin_and_path(path)[0] is not None:
        return FileKind.ZONE
    _refuse_irregular(path)
    name = os.path.basename(path)
    with contents(path) as data:
        beginning = bytes(data[:SNIFF_OCTETS])
    if name.endswith(MANIFEST_SUFFIXES):
        return FileKind.MANIFEST
    if name.endswith(ZONE_SUFFIX) or name.startswith(_DB_PREFIX):
        return FileKind.ZONE
    if name.startswith("Corefile") or name.endswith((".corefile", ".Corefile")):
        return FileKind.COREFILE
    return next((kind for kind, pattern in _SIGNS if pattern.search(beginning)), None)


def _refuse_irregular(path: str) -> None:
    """To open a FIFO would be to wait for somebody to write to it."""
    if os.path.exists(path) and not os.path.isfile(path):
        raise OSError(EINVAL, "not a regular file")


_SIGNS = ((FileKind.ZONE, _SOA), (FileKind.MANIFEST, _MANIFEST), (FileKind.COREFILE, _COREFILE))


def _all_files(paths: Iterable[str]) -> list[str]:
    """The files named, and those in directories named that could be meant; hidden ones are not."""
    found: list[str] = []
    for path in paths:
        if not os.path.isdir(path):
            found.append(path)
            continue
        names = (name for name in sorted(os.listdir(path)) if not name.startswith("."))
        inside = [os.path.join(path, name) for name in names]
        found += [file for file in inside if os.path.isfile(file) and recognise(file) is not None]
    return list(dict.fromkeys(found))


def _check_manifests(paths: list[str], findings: Findings) -> None:
    kubernetes = Kubernetes(CLUSTER_ZONES, manifests=tuple(paths))
    _check_source(0, ClusterPlan(kubernetes), findings)


def _check_source(index: int, plan: SourcePlan, findings: Findings) -> None:
    """Read a source as control would, once. No API server is asked: only the files that lead to it are looked at."""
    if isinstance(plan, ClusterPlan) and plan.kubernetes.is_watched:
        _check_access(plan.kubernetes, findings)
        return
    source = make_source(index, plan)
    paths = source.paths()
    seen = stamps(paths)
    missing = [path for path, stamp in seen.items() if stamp is None]
    if not source.is_optional:
        findings.errors += [f"{path}: no such file" for path in sorted(missing)]
    findings.files |= paths - set(missing) if source.is_optional else paths
    if isinstance(plan, ClusterPlan) or source.is_optional or not missing:
        events = Events(read=[path for path in sorted(paths) if seen[path] is not None])
        findings.add(source.read(paths, events, seen, serial=0, first=True))


def _check_access(kubernetes: Kubernetes, findings: Findings) -> None:
    """Check the files that say how to reach an API server, as far as that goes without reaching for it."""
    tls, referred = kubernetes.tls, list[tuple[str, str]]()
    if tls is not None:
        referred = [("", path) for path in (tls.certificate, tls.key, tls.ca) if path]
    if kubernetes.kubeconfig:
        place = str(kubernetes.context_position)
        try:
            kubeconfig = read_kubeconfig(kubernetes.kubeconfig, kubernetes.context, place)
        except AccessError as error:
            findings.errors.append(str(error))
            return
        findings.files |= set(kubeconfig.files)
        referred = [(f"{place}: ", path) for place, path in kubeconfig.referred]
    for place, path in referred:
        _check_readable(path, findings, place)


def _check_readable(path: str, findings: Findings, place: str) -> None:
    """place: where it is named, to be told before what is wrong."""
    findings.files.add(path)
    try:
        _refuse_irregular(path)
        with open(path, "rb"):
            pass
    except OSError as error:
        findings.errors.append(place + explain(path, error))


def _check_zones(paths: list[str], findings: Findings) -> None:
    for named in paths:
        origin, path = _origin_and_path(named)
        try:
            text = read_text(path)
            zone = masterfile.read(text, origin or _origin(path, text), path, read_text)
        except (ZoneFileError, OSError, UnicodeError, FileMoved) as error:
            findings.errors.append(explain(path, error))
        else:
            findings.warnings += map(str, zone.warnings)


def _origin_and_path(named: str) -> tuple[bytes | None, str]:
    """`ORIGIN=PATH` as `serve --zones` takes it, unless there is a file of that very name."""
    origin, equals, path = named.partition("=")
    if not equals or os.path.exists(named):
        return None, named
    try:
        return from_text(origin).lower(), path
    except InvalidName:
        return None, named


def _origin(path: str, text: str) -> bytes | None:
    """The zone that a file is named for; None if what stands in it has to tell."""
    if _ORIGIN_FIRST.match(text):
        return None
    name = os.path.basename(path)
    origin = name.removeprefix(_DB_PREFIX) if name.startswith(_DB_PREFIX) else name.removesuffix(ZONE_SUFFIX)
    if origin == name:
        return None
    try:
        return from_text(origin).lower()
    except InvalidName:
        return None


def _check_corefiles(paths: list[str], findings: Findings) -> None:
    for path in paths:
        try:
            corefile = read_corefile(path, DEFAULT_PORT)
            plan = assemble(corefile, interface_addresses, machine_addresses)
        except CorefileError as error:
            findings.errors.append(str(error))
            continue
        findings.warnings += plan.remarks
        for block in corefile.blocks:
            _check_named(block, findings)
        for index, source in enumerate(plan.sources):
            _check_source(index, source, findings)


def _check_named(block: ServerBlock, findings: Findings) -> None:
    """The files without which a name outside could not be asked for."""
    named = [(path, forward.position) for forward in block.forward for path in forward.files]
    for forward in block.forward:
        tls = forward.tls or TlsFiles("", "", "")
        named += [(path, forward.position) for path in (tls.certificate, tls.key, tls.ca) if path]
    if block.autopath and block.autopath.resolv_conf:
        named.append((block.autopath.resolv_conf, block.autopath.position))
    for path, position in named:
        _check_readable(path, findings, f"{position}: ")


_CHECKS: dict[FileKind, Callable[[list[str], Findings], None]] = {
    FileKind.MANIFEST: _check_manifests,
    FileKind.ZONE: _check_zones,
    FileKind.COREFILE: _check_corefiles,
}


def _as_warning(text: str) -> str:
    """`path:line: message` to `path:line: warning: message`."""
    where, colon, message = text.partition(": ")
    return f"{where}: warning: {message}" if colon else f"warning: {text}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
