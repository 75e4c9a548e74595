"""What control serves from files: for each source their last good data, and the change that a new reading makes.

A broken file keeps its last good data, and so does one that vanished or was emptied. A file that was renamed
takes its data along; one that vanished gives way where another file says the same objects. Reads files, through
kdns.server.watch; does not watch them. Not here: clusters that an API server tells of (kdns.server.api).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence

from kdns.corefile import Kubernetes, PodMode
from kdns.kube.manifest_set import ManifestSet
from kdns.kube.manifests import Manifest, parse_manifest
from kdns.kube.objects import Change
from kdns.kube.problem import ManifestError
from kdns.kube.schema import SchemaOptions
from kdns.kube.store import ClusterStore
from kdns.observe.status import Word
from kdns.server.assembly import FilePlan, HostsPlan, SourcePlan
from kdns.server.feed import Scope
from kdns.server.files import Events, Stamp
from kdns.server.reading import Reading
from kdns.server.status import SourceStatus
from kdns.server.watch import FileMoved, contents, expand
from kdns.wire.iana import RRType
from kdns.wire.name import to_text
from kdns.zone import masterfile
from kdns.zone.delta import ZoneDelta, is_ahead
from kdns.zone.hosts import HostsEntry, parse_hosts, rrsets_of
from kdns.zone.masterfile import MasterFile, ZoneFileError
from kdns.zone.rrset import RRset

ZONE_PART_RRSETS = 64  # decoded and applied in a fraction of a millisecond

Stamps = Mapping[str, Stamp | None]


class ManifestSource:
    """A cluster read from manifests.

    former_serial: the serial that clients have seen last, whoever published it.
    is_optional: whether kdns starts without what its files say.
    broken: for each file that could not be used last, why. unread: files that changed while they were read.
    """

    def __init__(self, index: int, kubernetes: Kubernetes, former_serial: int | None) -> None:
        self.is_watched = True
        self.is_optional = False
        self.broken: dict[str, str] = {}
        self.unread: set[str] = set()
        self._patterns = kubernetes.manifests
        self._zones = kubernetes.zones
        self._options = schema_options(kubernetes)
        self._set = ManifestSet()
        self._store = ClusterStore(index, self._options, former_serial)
        self._held: set[str] = set()  # files whose data is served
        self._gone: set[str] = set()  # those of them that do not exist any more
        self._told: set[str] = set()

    def __str__(self) -> str:
        return " ".join(map(to_text, self._zones))

    @property
    def origins(self) -> str:
        """Where the data comes from, as configured."""
        return " ".join(self._patterns) or "no manifests"

    def paths(self) -> set[str]:
        """The files there are now, and those that should be there."""
        return {path for pattern in self._patterns for path in expand(pattern)}

    @property
    def serial(self) -> int | None:
        """The serial of what was published last."""
        return self._store.serial

    def holds(self, path: str) -> bool:
        """Whether data of this file is served."""
        return path in self._held

    def image(self) -> Iterator[ZoneDelta]:
        """The whole, in parts."""
        return self._store.image()

    def read(self, paths: set[str], events: Events, stamps: Stamps, serial: int, first: bool) -> Reading:
        """Read those of `paths` that are due.

        serial: wanted for the change. first: nothing is published yet, so that there is nothing to change.
        """
        reading = Reading()
        manifests = self._parse(paths.intersection(events.read), stamps, reading)
        moved = {old for old, new in events.renamed.items() if old in self._held and new in manifests}
        gone = self._held.intersection((*events.vanished, *events.renamed)) - moved
        self._gone = (self._gone | gone) - manifests.keys()
        changes = self._merge(manifests, moved, reading)
        if first:
            self._store.load(changes, serial)
        else:
            delta = self._store.apply(changes, serial)
            if delta is not None:
                reading.change(delta)
        if manifests:
            self._remark(reading)
        if reading.scope is None:
            reading.unchanged = sorted(manifests.keys() - self.broken.keys())
        return reading

    def ignored(self) -> str:
        """The kinds of objects that no answer depends on, counted; "" if there are none."""
        return ", ".join(f"{count} {kind}" for kind, count in sorted(self._set.ignored.items()))

    def _parse(self, due: set[str], stamps: Stamps, reading: Reading) -> dict[str, Manifest]:
        parsed: dict[str, Manifest] = {}
        for path in sorted(due):
            try:
                with contents(path, stamps[path]) as data:
                    parsed[path] = parse_manifest(path, data, self._options.keep)
            except FileMoved:
                self.unread.add(path)
                parsed.pop(path, None)
                continue
            except (ManifestError, OSError) as error:
                self._refuse(path, error, reading)
            self.unread.discard(path)
        return parsed

    def _refuse(self, path: str, error: Exception, reading: Reading) -> None:
        self.broken[path] = explain(path, error)
        reading.errors.append(self.broken[path])

    def _merge(self, manifests: dict[str, Manifest], moved: set[str], reading: Reading) -> list[Change]:
        """Take files in: all at once, so that objects may move between them, or else each one that can be."""
        if not manifests:
            return []
        try:
            return self._update({**dict.fromkeys(moved), **manifests})
        except ManifestError:
            return [change for path in manifests for change in self._merge_one(path, manifests[path], reading)]

    def _merge_one(self, path: str, manifest: Manifest, reading: Reading) -> list[Change]:
        try:
            return self._update({path: manifest})
        except ManifestError as error:
            self._refuse(path, error, reading)
            return []

    def _update(self, manifests: Mapping[str, Manifest | None]) -> list[Change]:
        """Update the set; files that are gone give way where they hold the same objects. Raises ManifestError."""
        gone = sorted(self._gone)
        refusal: ManifestError | None = None
        for dropped in ([], *([path] for path in gone), gone):
            update = {**dict.fromkeys(dropped), **manifests}
            try:
                changes = self._set.update_all(update)
            except ManifestError as error:
                refusal = refusal or error
            else:
                self._note(update)
                return changes
        assert refusal is not None
        raise refusal

    def _note(self, update: Mapping[str, Manifest | None]) -> None:
        """Remember which files the set holds now."""
        for path, manifest in update.items():
            self.broken.pop(path, None)
            self._gone.discard(path)
            (self._held.discard if manifest is None else self._held.add)(path)

    def _remark(self, reading: Reading) -> None:
        """Tell what looks wrong, each remark once."""
        remarks = list(dict.fromkeys(map(str, self._set.problems())))
        new = [remark for remark in remarks if remark not in self._told]
        self._told = set(remarks)
        reading.remarks += new


class FileSource:
    """A zone file, and the files that it includes. `broken` and `unread` as in ManifestSource."""

    def __init__(self, index: int, plan: FilePlan) -> None:
        self.is_watched = plan.file.is_watched
        self.is_optional = False
        self.broken: dict[str, str] = {}
        self.unread: set[str] = set()
        self.origins = plan.file.path
        self._index = index
        self._apex = plan.apex
        self._includes: set[str] = set()
        self._rrsets: tuple[RRset, ...] = ()

    def __str__(self) -> str:
        return to_text(self._apex)

    def paths(self) -> set[str]:
        """The file and what it included last."""
        return {self.origins, *self._includes}

    def holds(self, path: str) -> bool:
        """Whether data of this file is served."""
        return bool(self._rrsets) and path in self.paths()

    def image(self) -> Iterator[ZoneDelta]:
        """The whole, in parts."""
        for start in range(0, len(self._rrsets), ZONE_PART_RRSETS):
            part = self._rrsets[start : start + ZONE_PART_RRSETS]
            yield ZoneDelta(self._index, reset=start == 0, rrsets=part)

    def read(self, paths: set[str], events: Events, stamps: Stamps, serial: int, first: bool) -> Reading:
        """As ManifestSource.read; a zone file has its own serial."""
        reading = Reading()
        if not paths.intersection(events.read):
            return reading
        self.unread.clear()
        try:
            zone = self._read(stamps)
        except FileMoved:
            self.unread.add(self.origins)
        except (ZoneFileError, OSError, UnicodeError) as error:
            self.broken[self.origins] = explain(self.origins, error)
            reading.errors.append(self.broken[self.origins])
        else:
            self.broken.clear()
            reading.remarks += map(str, zone.warnings)
            self._take(zone, first, reading)
        return reading

    def ignored(self) -> str:
        """Nothing in a zone file is ignored."""
        return ""

    def _read(self, stamps: Stamps) -> MasterFile:
        includes: set[str] = set()

        def open_include(path: str) -> str:
            includes.add(path)
            return read_text(path)

        try:
            text = read_text(self.origins, stamps.get(self.origins))
            return masterfile.read(text, self._apex, self.origins, open_include)
        finally:
            # Those of a broken file too: the mistake may be in one of them.
            self._includes = includes

    def _take(self, zone: MasterFile, first: bool, reading: Reading) -> None:
        before, self._rrsets = self._rrsets, zone.rrsets
        if first or before == self._rrsets:
            reading.unchanged = [self.origins]
            return
        if not before:  # broken until now
            reading.scope, reading.what = Scope.IMAGE, f"{len(self._rrsets)} rrsets"
            return
        old, new = soa_serial(before), soa_serial(self._rrsets)
        reading.what = f"serial {new}, {len(self._rrsets)} rrsets"
        reading.scope, reading.parts = Scope.SOURCE, self.image()
        if not is_ahead(new, old):
            reading.remarks.append(
                f"{self.origins}: the records changed, but the SOA serial {new} is not above {old}:"
                " secondaries and caches may not notice; raise it with each change"
            )


class HostsSource:
    """A hosts file and the lines of a Corefile. `broken` and `unread` as in ManifestSource.

    The file may be missing, or not be readable: it holds nothing until it can be read.
    """

    def __init__(self, index: int, plan: HostsPlan) -> None:
        hosts = plan.hosts
        self.is_watched = hosts.reload_ns != 0
        self.is_optional = True
        self.broken: dict[str, str] = {}
        self.unread: set[str] = set()
        self._index = index
        self._path = hosts.path
        self._place = hosts.position
        self._is_missing_told = False
        self._inline = tuple(HostsEntry(entry.address, entry.names) for entry in hosts.inline)
        self._entries: tuple[HostsEntry, ...] | None = None  # of the file, once it has been read
        self._serial = 1
        self._read_at = 0

    def __str__(self) -> str:
        return f"hosts {self._path}".strip()

    @property
    def origins(self) -> str:
        """Where the data comes from."""
        said = (self._path if self._entries is not None else "", "the Corefile" if self._inline else "")
        return " and ".join(filter(None, said)) or "no file"

    def paths(self) -> set[str]:
        """The file."""
        return {self._path} if self._path else set()

    def holds(self, path: str) -> bool:
        """Whether data of this file is served."""
        return self._entries is not None and path == self._path

    def image(self) -> Iterator[ZoneDelta]:
        """The whole, in parts: one at the least, for to know that there is nothing is to know."""
        rrsets = tuple(rrsets_of((*self._inline, *(self._entries or ()))))
        for start in range(0, max(1, len(rrsets)), ZONE_PART_RRSETS):
            part = rrsets[start : start + ZONE_PART_RRSETS]
            yield ZoneDelta(self._index, self._serial, start == 0, part)

    def read(self, paths: set[str], events: Events, stamps: Stamps, serial: int, first: bool) -> Reading:
        """As ManifestSource.read; `serial` is that of denials."""
        reading = Reading()
        if first and self._path and stamps.get(self._path) is None:
            self._tell_missing(reading)
        if not paths.intersection(events.read):
            return reading
        self.unread.clear()
        try:
            with contents(self._path, stamps.get(self._path)) as data:
                said = parse_hosts(str(data, "utf-8", "replace"), self._path)
        except FileMoved:
            self.unread.add(self._path)
        except OSError as error:
            self.broken[self._path] = explain(self._path, error)
            reading.errors.append(self.broken[self._path])
        else:
            self.broken.clear()
            self._read_at = int(time.time())
            reading.remarks += map(str, said.remarks)
            self._take(said.entries, serial, first, reading)
        return reading

    def ignored(self) -> str:
        """What is ignored has been remarked on."""
        return ""

    def report(self, status: SourceStatus) -> None:
        """Say how many names there are, and when the file was read."""
        status[Word.HOSTS_NAMES] = sum(len(entry.names) for entry in (*self._inline, *(self._entries or ())))
        status[Word.HOSTS_READ_AT] = self._read_at

    def _tell_missing(self, reading: Reading) -> None:
        """Remark, once, that there is no file, and where it was looked for."""
        if self._is_missing_told:
            return
        self._is_missing_told = True
        place = f"{self._place}: " if self._place.file else ""
        left = "only what the Corefile says" if self._inline else "nothing"
        until = "until it is there" if self.is_watched else "until it is there and the configuration is read again"
        reading.remarks.append(
            f"{place}{os.path.abspath(self._path)}: no such hosts file, or it cannot be reached:"
            f" {left} is answered {until}; create it, or correct the path"
        )

    def _take(self, entries: tuple[HostsEntry, ...], serial: int, first: bool, reading: Reading) -> None:
        before, self._entries = self._entries, entries
        if before == entries:
            reading.unchanged = [self._path]
            return
        self._serial = serial if is_ahead(serial, self._serial) else self._serial + 1
        if not first:
            reading.scope, reading.parts = Scope.SOURCE, self.image()
            reading.what = f"{sum(len(entry.names) for entry in entries)} names"


Source = ManifestSource | FileSource | HostsSource


def make_source(index: int, plan: SourcePlan, former_serial: int | None = None) -> Source:
    """The source that reads the files of a plan."""
    if isinstance(plan, FilePlan):
        return FileSource(index, plan)
    if isinstance(plan, HostsPlan):
        return HostsSource(index, plan)
    return ManifestSource(index, plan.kubernetes, former_serial)


def time_of_change(paths: set[str], stamps: Stamps) -> int:
    """The unix time of the last change of these files: the serial to publish what they say under."""
    found = (stamps.get(path) for path in paths)
    return max((stamp.mtime_ns // 10**9 for stamp in found if stamp is not None), default=0)


def schema_options(kubernetes: Kubernetes) -> SchemaOptions:
    """What the schema is to be told of a `kubernetes` block."""
    return SchemaOptions(
        namespaces=frozenset(kubernetes.namespaces) if kubernetes.namespaces else None,
        namespace_matches=kubernetes.namespace_labels.matches if kubernetes.namespace_labels else None,
        # An API server sends only what the selector matches.
        labels_match=kubernetes.labels.matches if kubernetes.labels and not kubernetes.is_watched else None,
        noendpoints=kubernetes.noendpoints,
        ignore_empty_service=kubernetes.ignore_empty_service,
        endpoint_pod_names=kubernetes.endpoint_pod_names,
        verified_pods=kubernetes.pods is PodMode.VERIFIED,
        terminating_serving=kubernetes.terminating_serving,
        namespaces_exist=kubernetes.is_watched,
    )


def soa_serial(rrsets: Sequence[RRset]) -> int:
    """The serial of a zone (RFC 1035 section 3.3.13: five numbers of 32 bits, the serial first, end the RDATA)."""
    soa = next(rrset for rrset in rrsets if rrset.rrtype == RRType.SOA)
    return int.from_bytes(soa.rdatas[0][-20:-16], "big")


def read_text(path: str, wanted: Stamp | None = None) -> str:
    """A zone file's text. Raises OSError, UnicodeError, and FileMoved as `contents` does."""
    with contents(path, wanted) as data:
        return str(data, "utf-8")


def explain(path: str, error: Exception) -> str:
    """An error as `path:line: message`, as far as it knows more than the path."""
    if isinstance(error, OSError):
        return f"{path}: {(error.strerror or str(error)).lower()}"
    if isinstance(error, UnicodeDecodeError):
        line = error.object[: error.start].count(b"\n") + 1
        return f"{path}:{line}: octet {error.object[error.start]:#04x} is not UTF-8"
    return str(error)
